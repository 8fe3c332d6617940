"""Ratings as they are in a file: ids as given, not yet encoded as row numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Integers of 64 bits, or categories of str; shape (n_ratings,).
Ids = NDArray[Any] | pd.Categorical
Duplicates = Literal["error", "last", "mean"]

NOTHING: Mapping[str, int] = MappingProxyType({})


HOW_TO_KEEP_ONE = "To keep one, give --duplicates last or mean"


class DuplicatePairs(ValueError):
    """Several rows rate the same pair of user and item."""


class RawRatings(NamedTuple):
    """Ratings with the ids of their file, not yet encoded; arrays of shape (n_ratings,)."""

    users: Ids
    items: Ids
    ratings: NDArray[Any]  # float32 or float64
    timestamps: NDArray[Any] | None = None  # integers or floats in the source's unit, or datetime64
    dropped: Mapping[str, int] = NOTHING  # reason -> number of rows of the source left out for it

    def take(self, rows: NDArray[np.integer[Any]]) -> RawRatings:
        """Return the given rows in the given order; `dropped` is copied."""
        times = None if self.timestamps is None else self.timestamps[rows]
        return RawRatings(
            self.users[rows], self.items[rows], self.ratings[rows], times, self.dropped
        )

    def dropping(self, why: str, n: int) -> RawRatings:
        """Return the same ratings, with ``n`` more rows counted as dropped for ``why``."""
        if not n:
            return self
        return self._replace(dropped={**self.dropped, why: self.dropped.get(why, 0) + n})

    def without_duplicates(self, policy: Duplicates = "last") -> RawRatings:
        """Return one rating for every (user, item) pair, in file order.

        Parameters
        ----------
        policy
            "last" keeps the last row of a pair; "mean" the first one, with the mean of the pair's
            ratings; "error" raises an error.

        Raises
        ------
        DuplicatePairs
            Under "error", if a pair occurs twice; the message names it.
        """
        if policy not in get_args(Duplicates):
            raise ValueError(f'duplicates must be "error", "last" or "mean", got {policy!r}')
        users, items = pd.factorize(self.users)[0], pd.factorize(self.items)[0]
        # One integer per pair: duplicates are then found in a single column.
        pairs = pd.Series(users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items)
        repeated = pairs.duplicated(keep="last" if policy == "last" else "first").to_numpy()
        if not repeated.any():
            return self
        if policy == "error":
            first = int(np.argmax(repeated))
            raise DuplicatePairs(
                f"{int(repeated.sum()):,} rows rate a pair of user and item that another row rates "
                f"too, the first is row {first + 1} of the ratings: user {self.users[first]}, item "
                f"{self.items[first]}"
            )
        raw = self
        if policy == "mean":
            ratings = pd.Series(self.ratings).groupby(pairs).transform("mean").to_numpy()
            raw = self._replace(ratings=ratings)
        rows = np.flatnonzero(~repeated)
        why = "a later row rates the same pair" if policy == "last" else "in the mean of the pair"
        return raw.take(rows).dropping(why, len(repeated) - len(rows))


def concatenated(first: Ids, second: Ids) -> Ids:
    """Return two columns of ids, one after the other, where text beside integers is str."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return np.concatenate([first, second])
    return pd.Categorical(
        np.concatenate([np.asarray(ids).astype(object) for ids in (first, second)])
    )
