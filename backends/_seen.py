"""Which items each user has rated: what `exclude_seen` leaves out of lists."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .ratings import Ratings


class SeenItems(NamedTuple):
    """Item rows that each user rated, in CSR form: ``items[offsets[u] : offsets[u + 1]]``."""

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]

    @classmethod
    def of(cls, ratings: Ratings) -> SeenItems:
        """Group the training pairs by user."""
        return _grouped(ratings.users, ratings.items, (ratings.n_users, ratings.n_items))

    def joined(self, users: NDArray[Any], items: NDArray[Any], shape: tuple[int, int]) -> SeenItems:
        """Return these and further pairs, for ``shape`` users and items."""
        before = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        whose = np.concatenate([before, users])
        return _grouped(whose, np.concatenate([self.items, items]), shape)

    def check(self, n_users: int, n_items: int) -> None:
        """Raise ValueError unless these are valid for ``n_users`` and ``n_items`` rows."""
        offsets, items = self
        fits = offsets.shape == (n_users + 1,) and items.ndim == 1
        fits = fits and offsets.dtype.kind == items.dtype.kind == "i"
        fits = fits and offsets[0] == 0 and offsets[-1] == len(items)
        if not (fits and (np.diff(offsets) >= 0).all()):
            raise ValueError("its lists of seen items do not fit its users")
        if len(items) and not (items.min() >= 0 and items.max() < n_items):
            raise ValueError("its lists of seen items name items that it does not have")

    def pairs(self, users: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return what some users have seen.

        Parameters
        ----------
        users
            Rows, shape (m,).

        Returns
        -------
        places : ndarray of int64, shape (n,)
            Of the user among ``users``.
        items : ndarray of int32, shape (n,)
        """
        starts = self.offsets[users]
        lengths = self.offsets[users + 1] - starts
        ends = np.cumsum(lengths)
        # Consecutive numbers for each user, which start where her items do.
        where = np.arange(ends[-1] if len(ends) else 0)
        where += np.repeat(starts - (ends - lengths), lengths)
        return np.repeat(np.arange(len(users)), lengths), self.items[where]


class SeenElsewhere(NamedTuple):
    """In place of `SeenItems`, where the training ratings stayed on a cluster."""

    item_counts: NDArray[np.int64]  # number of ratings of each item


def _grouped(users: NDArray[Any], items: NDArray[Any], shape: tuple[int, int]) -> SeenItems:
    """Group pairs by user; each pair once, in the order of the items."""
    from scipy.sparse import coo_array

    # A conversion counts; a sort would take ten times as long.
    by_user = coo_array((np.ones(len(users), np.int8), (users, items)), shape).tocsr()
    indices = by_user.indices.astype(np.int32, copy=False)
    return SeenItems(by_user.indptr.astype(np.int64), indices)
