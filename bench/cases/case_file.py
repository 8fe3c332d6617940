"""The arrays of a case as a file: written once by the runner, read by every worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backends import Ratings
from bench.text.files import written_whole

if TYPE_CHECKING:  # a worker reads files, and what it imports counts as its backend's: time, memory
    from .case import Case

_NAME = "case.npz"
_PARTS = ("train", "validation", "test")
_COLUMNS = ("users", "items", "ratings")


def write_case(folder: Path, case: Case) -> Path:
    """Write the arrays of a case, unless they are there, whole or not at all; return the path."""
    path = folder / _NAME
    if path.exists():
        return path
    data = case.data
    arrays: dict[str, Any] = {"shape": np.array([data.train.n_users, data.train.n_items])}
    for name in _PARTS:
        part = getattr(data, name)
        if part is not None:
            arrays |= {f"{name}_{column}": getattr(part, column) for column in _COLUMNS}
    with written_whole(path) as file:
        np.savez(file, **arrays)
    return path


def read_case(path: str) -> dict[str, Ratings]:
    """Return the parts that a case has, by name."""
    with np.load(path, allow_pickle=False) as stored:
        shape = tuple(int(n) for n in stored["shape"])
        return {
            name: Ratings(*(stored[f"{name}_{column}"] for column in _COLUMNS), *shape)
            for name in _PARTS
            if f"{name}_users" in stored
        }
