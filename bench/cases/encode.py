"""A data set as rows: the parts of its split, encoded by the ids of the training part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backends import Ratings
from bench.datasets import Dataset, content_hash, permutation


@dataclass(frozen=True)
class EncodedData:
    """The three parts as rows. ``hash`` stands for all of their content."""

    train: Ratings
    validation: Ratings
    test: Ratings | None
    hash: str
    dropped: str


def encode(dataset: Dataset) -> EncodedData:
    """Encode by the training rows' ids; rows of the other parts with an unseen user or item are dropped and counted."""
    raw, split = dataset.raw, dataset.split
    # In random order, as solvers are promised: sorted input would be a present to those that sort with NumPy.
    train = Ratings.from_arrays(*raw.take(split.train[permutation(len(split.train), seed=0)])[:3])
    assert train.encoder is not None
    parts: dict[str, Ratings | None] = {"test": None}
    notes = [f"{n} rows: {why}" for why, n in raw.dropped.items()] + [split.note] * bool(split.note)
    held_out = {"validation": raw.take(split.validation)}
    if split.test is not None:
        held_out["test"] = raw.take(split.test)
    elif dataset.official_test is not None:
        held_out["test"] = dataset.official_test
    for name, rows in held_out.items():
        encoded = train.encoder.encode_new(*rows[:3])
        parts[name] = _rows_only(encoded.ratings)
        if encoded.n_dropped:
            notes.append(
                f"{encoded.n_dropped} of {len(rows.ratings)} {name} rows have a user or item unseen in training"
            )
    plain, validation, test = _rows_only(train), parts["validation"], parts["test"]
    assert validation is not None
    arrays = [
        array
        for part in (plain, validation, test)
        if part is not None
        for array in (part.users, part.items, part.ratings.astype(np.float64))
    ]
    return EncodedData(plain, validation, test, content_hash(*arrays), "; ".join(notes))


def _rows_only(ratings: Ratings) -> Ratings:
    """Forget the raw ids: rows are what goes to a worker and what a solver sees."""
    return Ratings(ratings.users, ratings.items, ratings.ratings, ratings.n_users, ratings.n_items)
