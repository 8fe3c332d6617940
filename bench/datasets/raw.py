"""Ratings as files have them: raw ids, not yet rows."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray


class RawRatings(NamedTuple):
    """Rating triplets with ids as a file has them, not yet rows; three arrays of shape (n_ratings,)."""

    users: NDArray[Any]  # integers or strings
    items: NDArray[Any]
    ratings: NDArray[Any]  # float32 or float64

    def take(self, rows: NDArray[np.integer[Any]]) -> "RawRatings":
        """Return the given rows, in the given order."""
        return RawRatings(self.users[rows], self.items[rows], self.ratings[rows])

    def without_duplicates(self) -> "RawRatings":
        """Keep the last rating of every (user, item) pair."""
        users, items = pd.factorize(self.users)[0], pd.factorize(self.items)[0]
        pairs = pd.Series(users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items)
        return self.take(np.flatnonzero(~pairs.duplicated(keep="last").to_numpy()))
