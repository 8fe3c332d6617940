"""A file with the ratings of a case: written once by the runner, read by every worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends import Ratings
from bench.text.files import written_whole

if TYPE_CHECKING:  # only the runner needs it; a worker should not import more than necessary
    from .case import Case

_NAME = "case.npz"
_SPLITS = ("train", "validation", "test")
_COLUMNS = ("users", "items", "ratings")


def write_case(folder: Path, case: Case) -> Path:
    """Write the ratings of a case atomically, unless the file exists; return its path."""
    path = folder / _NAME
    if path.exists():
        return path
    data = case.data
    arrays: dict[str, Any] = {"shape": np.array([data.train.n_users, data.train.n_items])}
    for split in _SPLITS:
        ratings = getattr(data, split)
        if ratings is not None:
            arrays |= {f"{split}_{column}": getattr(ratings, column) for column in _COLUMNS}
    with written_whole(path) as file:
        np.savez(file, **arrays)
    return path


def read_case(path: str) -> dict[str, Ratings]:
    """Return the ratings of a case by split: "train", "validation" and, if it has one, "test"."""
    ratings = {}
    with np.load(path, allow_pickle=False) as stored:
        n_users, n_items = (int(n) for n in stored["shape"])
        for split in _SPLITS:
            if f"{split}_users" in stored:
                users, items, values = (stored[f"{split}_{column}"] for column in _COLUMNS)
                ratings[split] = Ratings(users, items, values, n_users, n_items)
    return ratings
