"""Explicit ratings as validated COO triplets, and the mapping between raw ids and rows.

What lives here: `Ratings` (what every solver is fitted on) and `RatingEncoder` (raw id <-> row). What does not: reading
files and splitting (`bench.datasets`), and any sorted form - solvers sort in ``prepare``, where it is timed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._columns import (
    Duplicates,
    checked_rows,
    checked_values,
    factorize,
    fixed_width,
    raw_ids,
    without_duplicates,
)
from .errors import RatingsError, UnknownIdError

if TYPE_CHECKING:
    import pandas as pd

_PART = 1 << 16  # ratings at a time: half a megabyte in float64, which stays in cache


@dataclass(frozen=True, eq=False, repr=False)
class Ratings:
    """Ratings r_ui as coordinate triplets: ``ratings[n]`` was given by row ``users[n]`` to row ``items[n]``.

    Use `from_frame` or `from_arrays` for raw ids; the constructor takes rows that are encoded already.

    Parameters
    ----------
    users, items
        Shape (n,), integer rows in ``[0, n_users)`` and ``[0, n_items)``; kept as int32.
    ratings
        Shape (n,), finite; float32 stays float32, everything else becomes float64.
    n_users, n_items
        Number of rows of the factor tables; 1 + the largest index when omitted (-1).
    encoder
        The raw ids of the rows; None when raw ids are the rows themselves.

    Raises
    ------
    RatingsError
        For mismatched lengths, indices that are not integers in range, or ratings that are not finite numbers.

    Notes
    -----
    The arrays are private copies and read-only, so what was validated stays valid. Duplicate pairs are looked for by
    `from_arrays` and `from_frame` only.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32] | NDArray[np.float64]
    n_users: int = -1
    n_items: int = -1
    encoder: RatingEncoder | None = None

    def __post_init__(self) -> None:
        ratings = checked_values(self.ratings)
        columns: dict[str, Any] = {"ratings": ratings}
        for name, size in (("users", "n_users"), ("items", "n_items")):
            rows, n_rows = checked_rows(getattr(self, name), getattr(self, size), name, size)
            if len(rows) != len(ratings):
                raise RatingsError(
                    f"{name} and ratings must have the same length, got {len(rows)} {name} and {len(ratings)} ratings"
                )
            columns |= {name: rows, size: n_rows}
        if self.encoder is not None and self.encoder.shape != (columns["n_users"], columns["n_items"]):
            raise RatingsError(
                f"the encoder knows {self.encoder.shape} users and items, the ratings have "
                f"({columns['n_users']}, {columns['n_items']}) rows"
            )
        for name, value in columns.items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.ratings)

    def __reduce__(self) -> tuple[type[Ratings], tuple[Any, ...]]:
        # Copies go through the constructor, so that they are read-only too.
        return Ratings, (self.users, self.items, self.ratings, self.n_users, self.n_items, self.encoder)

    def __repr__(self) -> str:
        return f"Ratings({len(self):,} ratings, {self.n_users:,} users x {self.n_items:,} items)"

    @classmethod
    def from_arrays(
        cls, users: ArrayLike, items: ArrayLike, ratings: ArrayLike, *, duplicates: Duplicates = "error"
    ) -> Ratings:
        """Ratings from raw ids, encoded by order of first appearance.

        Parameters
        ----------
        users, items
            Shape (n,), raw ids: integers of any size and sign, or strings.
        ratings
            Shape (n,), finite numbers.
        duplicates
            What to do with a (user, item) pair that occurs more than once: ``"error"``, keep the ``"last"`` rating,
            or the ``"mean"`` of its ratings (at the place of its first).

        Raises
        ------
        RatingsError
            For empty or mismatched input, ids that are missing, floats or of mixed types, non-finite ratings, and
            duplicates under the policy ``"error"``.
        """
        user_ids, item_ids, values = (
            raw_ids(users, "users"),
            raw_ids(items, "items"),
            checked_values(ratings),
        )
        if not len(user_ids) == len(item_ids) == len(values):
            raise RatingsError(
                f"users, items and ratings must have the same length, got {len(user_ids)}, {len(item_ids)} "
                f"and {len(values)}"
            )
        if not len(values):
            raise RatingsError("no ratings: users, items and ratings are empty; at least one rating is needed")
        user_ids, item_ids, values = without_duplicates(user_ids, item_ids, values, duplicates)
        user_rows, user_keys = factorize(user_ids)
        item_rows, item_keys = factorize(item_ids)
        return cls(user_rows, item_rows, values, len(user_keys), len(item_keys), RatingEncoder(user_keys, item_keys))

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        user: str = "user",
        item: str = "item",
        rating: str = "rating",
        duplicates: Duplicates = "error",
    ) -> Ratings:
        """Ratings from the columns of a data frame, which is left as it is; see `from_arrays`.

        Raises
        ------
        RatingsError
            For a column that the frame lacks, and as `from_arrays`.
        """
        missing = [name for name in (user, item, rating) if name not in frame.columns]
        if missing:
            raise RatingsError(
                f"the frame has no column {missing[0]!r}; it has {', '.join(map(repr, frame.columns))}. "
                "Name the columns by user=, item= and rating="
            )
        return cls.from_arrays(frame[user], frame[item], frame[rating], duplicates=duplicates)

    @cached_property
    def summary(self) -> Summary:
        """Range, mean and variance of the ratings, of which there must be one at least."""
        values, n = self.ratings, len(self.ratings)
        if not n:
            raise RatingsError("no ratings have no summary; at least one is needed")
        near = float(values[:_PART].mean(dtype=np.float64))  # a mean to start from, so that little cancels
        if not math.isfinite(near):  # their sum overflowed
            near = float(values[0])
        low, high, total, squares = values[0], values[0], 0.0, 0.0
        room = np.empty(min(n, _PART))
        for start in range(0, n, _PART):
            part = values[start : start + _PART]  # all that is asked of it is found in the cache
            low, high = min(low, part.min()), max(high, part.max())
            off_near = np.subtract(part, near, out=room[: len(part)], dtype=np.float64)
            total += float(off_near.sum())
            squares += float(np.einsum("n,n->", off_near, off_near))
        off = total / n
        variance = max(squares / n - off * off, 0.0) if squares < math.inf else math.inf
        return Summary(float(low), float(high), near + off, variance)

    def user_counts(self) -> NDArray[np.int64]:
        """Return the number of ratings of each user row, shape (n_users,)."""
        return np.bincount(self.users, minlength=self.n_users)

    def item_counts(self) -> NDArray[np.int64]:
        """Return the number of ratings of each item row, shape (n_items,)."""
        return np.bincount(self.items, minlength=self.n_items)


class Summary(NamedTuple):
    """Range, mean and variance of ratings."""

    low: float
    high: float
    mean: float
    variance: float


class EncodedRatings(NamedTuple):
    """What `RatingEncoder.encode_new` kept, and how many rows it dropped and why."""

    ratings: Ratings
    n_dropped: int
    n_unseen_user: int  # rows whose user is unseen
    n_unseen_item: int  # rows whose item is unseen; rows with both count in both


@dataclass(frozen=True, eq=False)
class RatingEncoder:
    """Raw ids of the rows: ``users[row]`` and ``items[row]``, in order of first appearance.

    Parameters
    ----------
    users, items
        Distinct raw ids, shapes (n_users,) and (n_items,), integers or strings.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    _indexes: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        import pandas as pd

        for axis in ("users", "items"):
            ids = fixed_width(raw_ids(getattr(self, axis), axis), axis)
            ids.flags.writeable = False
            object.__setattr__(self, axis, ids)
            index = pd.Index(ids)  # the hash table of the look-ups
            if not index.is_unique:
                raise RatingsError(f"{axis} must be distinct, got {ids[int(np.argmax(index.duplicated()))]!s} twice")
            self._indexes[axis] = index

    def __reduce__(self) -> tuple[type[RatingEncoder], tuple[Any, ...]]:
        return RatingEncoder, (self.users, self.items)

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items."""
        return len(self.users), len(self.items)

    def user_rows(self, users: ArrayLike) -> NDArray[np.int64]:
        """Return the row of each raw user id, shape (n,); -1 for ids not seen."""
        return self._lookup("users", users)

    def item_rows(self, items: ArrayLike) -> NDArray[np.int64]:
        """Return the row of each raw item id, shape (n,); -1 for ids not seen."""
        return self._lookup("items", items)

    def encode_new(self, users: ArrayLike, items: ArrayLike, ratings: ArrayLike) -> EncodedRatings:
        """Encode further ratings (validation, test); rows with an unseen user or item are dropped and counted.

        Raises
        ------
        RatingsError
            For mismatched lengths and for ids or ratings that `Ratings.from_arrays` would refuse.
        """
        user_rows, item_rows = self.user_rows(users), self.item_rows(items)
        values = checked_values(ratings)
        if not len(user_rows) == len(item_rows) == len(values):
            raise RatingsError(
                f"users, items and ratings must have the same length, got {len(user_rows)}, {len(item_rows)} "
                f"and {len(values)}"
            )
        seen = (user_rows >= 0) & (item_rows >= 0)
        users, items = user_rows[seen].astype(np.int32), item_rows[seen].astype(np.int32)
        kept = Ratings(users, items, values[seen], *self.shape, self)
        return EncodedRatings(kept, int((~seen).sum()), int((user_rows < 0).sum()), int((item_rows < 0).sum()))

    def _lookup(self, axis: Literal["users", "items"], ids: ArrayLike) -> NDArray[np.int64]:
        import pandas as pd

        rows: NDArray[np.int64] = self._indexes[axis].get_indexer(pd.Index(raw_ids(ids, axis)))
        return rows


def known_rows(rows: NDArray[np.int64], ids: ArrayLike, what: str) -> NDArray[np.int64]:
    """Return ``rows`` when none is -1; else raise an error that counts and names some of the unknown ids.

    Raises
    ------
    UnknownIdError
        When a row is -1.
    """
    unknown = rows < 0
    if unknown.any():
        names = list(dict.fromkeys(np.atleast_1d(np.asarray(ids))[unknown].tolist()))
        shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
        raise UnknownIdError(
            f"{len(names)} unknown {what} id{'s' if len(names) > 1 else ''} ({shown}): not in the training ratings. "
            'Drop them, or predict with unknown="mean"'
        )
    return rows
