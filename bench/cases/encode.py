"""A data set with rows instead of ids: each split is encoded by the ids in the training split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends import Ratings
from bench.datasets import Dataset, content_hash, permutation


@dataclass(frozen=True)
class EncodedData:
    """The three splits of a data set with users and items as row numbers.

    Attributes
    ----------
    train, validation, test
        Ratings; ``test`` is None if the data set has no test split.
    hash
        Hash of all their content.
    dropped
        How many rows were left out and why, in words; "" if none were.
    """

    train: Ratings
    validation: Ratings
    test: Ratings | None
    hash: str
    dropped: str


def encode(dataset: Dataset) -> EncodedData:
    """Encode a data set by the ids of its training split.

    Validation and test rows with a user or item that is not in the training split are dropped.
    """
    raw, split = dataset.raw, dataset.split
    # In random order, which is what solvers are promised. Input that happens to be sorted would
    # favour solvers that sort with NumPy, whose sort is fast on sorted input.
    shuffled = split.train[permutation(len(split.train), seed=0)]
    encoded_train = Ratings.from_arrays(*raw.take(shuffled)[:3])
    assert encoded_train.encoder is not None
    held_out = {"validation": raw.take(split.validation)}
    if split.test is not None:
        held_out["test"] = raw.take(split.test)
    elif dataset.official_test is not None:
        held_out["test"] = dataset.official_test

    notes = [f"{n} rows: {why}" for why, n in raw.dropped.items()]
    if split.note:
        notes.append(split.note)
    encoded_splits = {}
    for name, rows in held_out.items():
        encoded = encoded_train.encoder.encode_new(*rows[:3])
        encoded_splits[name] = _without_ids(encoded.ratings)
        if encoded.n_dropped:
            counts = f"{encoded.n_dropped} of {len(rows.ratings)}"
            notes.append(f"{counts} {name} rows have a user or item unseen in training")

    train, validation = _without_ids(encoded_train), encoded_splits["validation"]
    test = encoded_splits.get("test")
    arrays: list[NDArray[Any]] = []
    for ratings in (train, validation, test):
        if ratings is not None:
            arrays += [ratings.users, ratings.items, ratings.ratings.astype(np.float64)]
    return EncodedData(train, validation, test, content_hash(*arrays), "; ".join(notes))


def _without_ids(ratings: Ratings) -> Ratings:
    """Return the ratings without the raw ids, which neither workers nor solvers need."""
    return Ratings(ratings.users, ratings.items, ratings.ratings, ratings.n_users, ratings.n_items)
