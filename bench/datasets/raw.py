"""Ratings as files have them: raw ids, not yet rows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NOTHING: Mapping[str, int] = MappingProxyType({})


class RawRatings(NamedTuple):
    """Rating triplets with ids as a file has them, not yet rows; arrays of shape (n_ratings,)."""

    users: NDArray[Any]  # integers or strings
    items: NDArray[Any]
    ratings: NDArray[Any]  # float32 or float64
    timestamps: NDArray[Any] | None = None  # integers or floats, in whatever unit the source has, or datetime64
    dropped: Mapping[str, int] = NOTHING  # why -> how many rows of the source are not here

    def take(self, rows: NDArray[np.integer[Any]]) -> RawRatings:
        """Return the given rows, in the given order; what was dropped stays on record."""
        times = None if self.timestamps is None else self.timestamps[rows]
        return RawRatings(self.users[rows], self.items[rows], self.ratings[rows], times, self.dropped)

    def dropping(self, why: str, n: int) -> RawRatings:
        """Return the same with ``n`` more rows on record as dropped, for the reason ``why``."""
        if not n:
            return self
        return self._replace(dropped={**self.dropped, why: self.dropped.get(why, 0) + n})

    def without_duplicates(self) -> RawRatings:
        """Keep the last rating of every (user, item) pair."""
        users, items = pd.factorize(self.users)[0], pd.factorize(self.items)[0]
        pairs = pd.Series(users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items)
        rows = np.flatnonzero(~pairs.duplicated(keep="last").to_numpy())
        return self.take(rows).dropping("a later row rates the same pair", len(pairs) - len(rows))
