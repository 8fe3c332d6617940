"""Ratings as they are in a file: ids as given, not yet encoded as row numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NOTHING: Mapping[str, int] = MappingProxyType({})


class RawRatings(NamedTuple):
    """Ratings with the ids of their file, not yet encoded; arrays of shape (n_ratings,)."""

    users: NDArray[Any]  # integers or strings
    items: NDArray[Any]  # integers or strings
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

    def without_duplicates(self) -> RawRatings:
        """Return the last rating of every (user, item) pair, in file order."""
        users, items = pd.factorize(self.users)[0], pd.factorize(self.items)[0]
        # One integer per pair: duplicates are then found in a single column.
        pairs = pd.Series(users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items)
        rows = np.flatnonzero(~pairs.duplicated(keep="last").to_numpy())
        n_dropped = len(pairs) - len(rows)
        return self.take(rows).dropping("a later row rates the same pair", n_dropped)
