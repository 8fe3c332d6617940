"""A part of a data set for a quick look: all ratings of some users."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .catalog import Dataset
from .splits import Rows, permutation


def sample_users(dataset: Dataset, most: int, seed: int = 0) -> Dataset:
    """Return a data set with the ratings of as many users as have at most ``most`` together.

    Users are taken in a random order, at least one, with their rows of all parts of the split. The
    name says how many they are. A data set that is small enough is returned as it is.
    """
    raw, split = dataset.raw, dataset.split
    if len(raw.ratings) <= most:
        return dataset
    user_of_row, users = pd.factorize(raw.users)
    order = permutation(len(users), seed)
    totals = np.cumsum(np.bincount(user_of_row)[order])
    taken = order[: max(1, int(np.searchsorted(totals, most, side="right")))]
    is_taken = np.zeros(len(users), np.bool_)
    is_taken[taken] = True
    rows = np.flatnonzero(is_taken[user_of_row])

    def taken_rows(part: Rows) -> Rows:
        """Return the numbers that rows of a part of the split have now."""
        return np.searchsorted(rows, part[is_taken[user_of_row[part]]])

    test = dataset.official_test
    if test is not None:
        test = test.take(np.flatnonzero(pd.Series(test.users).isin(users[taken])))
    return Dataset(
        f"{dataset.name} ({len(taken)} of {len(users)} users)",
        raw.take(rows).dropping("of users outside the sample", len(raw.ratings) - len(rows)),
        split._replace(
            train=taken_rows(split.train),
            validation=taken_rows(split.validation),
            test=None if split.test is None else taken_rows(split.test),
            note=f"of the whole data: {split.note}" if split.note else "",
        ),
        test,
        dataset.reading,
    )
