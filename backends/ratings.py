"""Explicit ratings as validated COO triplets, and the mapping between raw ids and rows.

What lives here: `Ratings` (what every solver is fitted on) and `RatingEncoder` (raw id <-> row).
What does not: reading files and splitting (`bench.datasets`), and any sorted form - solvers sort in
``prepare``, where it is timed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._coding import Duplicates, check_policy
from ._columns import column_of
from ._encoding import encoded
from ._id_columns import IdColumn, id_column
from ._ids import RowIds, RowLabels, as_labels, distinct_ids, joined, look_up
from ._validation import check_number, checked_rows, checked_values, checked_weights
from .errors import RatingsError, UnknownIdError
from .tables import picked_columns

# Ratings that `summary` processes at a time: half a megabyte in float64, which stays in cache.
_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False, repr=False)
class Ratings:
    """Ratings as coordinate triplets: ``users[n]`` gave ``items[n]`` the rating ``ratings[n]``.

    Use `from_frame` or `from_arrays` for raw ids; the constructor takes rows that are encoded
    already.

    Parameters
    ----------
    users, items
        Shape (n,), integer rows in ``[0, n_users)`` and ``[0, n_items)``; stored as int32.
    ratings
        Shape (n,), finite; float32 stays float32, everything else becomes float64.
    n_users, n_items
        Number of users and items; by default 1 + the largest row.
    encoder
        Raw ids of the rows; None if raw ids are the rows themselves.
    weights
        Shape (n,), from 1e-9 to 1e9; stored as float64. None if every rating weighs 1. A rating of
        weight 2 counts like two ratings of weight 1 in the mean, in the rows' numbers of ratings
        and in the objective.

    Raises
    ------
    RatingsError
        For mismatched lengths, indices that are not integers in range, ratings that are not finite
        numbers, or weights that are not positive.

    Notes
    -----
    The arrays are private copies and read-only, so what was validated stays valid. Duplicate pairs
    are checked for by `from_arrays` and `from_frame` only.
    """

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    ratings: NDArray[np.float32] | NDArray[np.float64]
    n_users: int = -1
    n_items: int = -1
    encoder: RatingEncoder | None = None
    weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        ratings = checked_values(self.ratings)
        columns: dict[str, Any] = {"ratings": ratings}
        if self.weights is not None:
            columns["weights"] = checked_weights(self.weights, len(ratings))
        for name, size in (("users", "n_users"), ("items", "n_items")):
            rows, n_rows = checked_rows(getattr(self, name), getattr(self, size), name, size)
            if len(rows) != len(ratings):
                found = f"{len(rows)} {name} and {len(ratings)} ratings"
                raise RatingsError(f"{name} and ratings must have the same length, got {found}")
            columns |= {name: rows, size: n_rows}
        if self.encoder is not None and self.encoder.shape != (
            columns["n_users"],
            columns["n_items"],
        ):
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
        return Ratings, tuple(getattr(self, column.name) for column in fields(self))

    def __repr__(self) -> str:
        return f"Ratings({len(self):,} ratings, {self.n_users:,} users x {self.n_items:,} items)"

    @classmethod
    def from_arrays(
        cls,
        users: Any,
        items: Any,
        ratings: Any,
        *,
        weights: Any = None,
        duplicates: Duplicates = "error",
    ) -> Ratings:
        """Ratings from raw ids, encoded by order of first appearance.

        Each column is a sequence or an array of any library: a list, a NumPy array, masked or not,
        a pandas or polars series, a pandas ``Categorical`` or another extension array, an Arrow
        array, chunked or with a dictionary.

        Parameters
        ----------
        users, items
            Shape (n,), raw ids: integers that fit 64 bits, signed or not, or text. UUIDs and bytes
            in UTF-8 count as text, decimal numbers that are whole as integers.
        ratings
            Shape (n,), finite numbers.
        weights
            Shape (n,), positive numbers; None when every rating weighs 1.
        duplicates
            How to treat a (user, item) pair that occurs more than once. "error" raises. "last"
            keeps its last rating. "mean" keeps the weighted mean of its ratings, at the position of
            the first, with the mean of their weights.

        Raises
        ------
        RatingsError
            For empty or mismatched input, ids that are missing, floats or of mixed types,
            non-finite ratings, weights that are not positive, and duplicates under the policy
            ``"error"``.
        """
        user_ids, item_ids = id_column(users, "users"), id_column(items, "items")
        values = checked_values(column_of(ratings, "ratings"))
        if not len(user_ids) == len(item_ids) == len(values):
            raise _lengths_differ(len(user_ids), len(item_ids), len(values))
        if not len(values):
            raise RatingsError(
                "no ratings: users, items and ratings are empty; at least one rating is needed",
            )
        checked = None if weights is None else checked_weights(weights, len(values))
        check_policy(duplicates)
        rows, labels, values, checked = encoded(user_ids, item_ids, values, checked, duplicates)
        encoder = RatingEncoder.of_labels(*labels)
        return cls._of_checked(*rows, values, encoder, checked)

    @classmethod
    def _of_checked(
        cls,
        users: NDArray[np.int32],
        items: NDArray[np.int32],
        ratings: NDArray[Any],
        encoder: RatingEncoder,
        weights: NDArray[np.float64] | None,
    ) -> Ratings:
        """Return ratings of arrays that are checked and nobody else's, so without copies."""
        made = object.__new__(cls)
        n_users, n_items = encoder.shape
        columns = (users, items, ratings, n_users, n_items, encoder, weights)
        for column, value in zip(fields(cls), columns, strict=True):
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(made, column.name, value)
        return made

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str = "user",
        item: str = "item",
        rating: str = "rating",
        weight: str | None = None,
        duplicates: Duplicates = "error",
    ) -> Ratings:
        """Ratings from the columns of any table, which is left as it is; see `from_arrays`.

        Parameters
        ----------
        frame
            A data frame of pandas or polars, a pyarrow table, a DuckDB relation, a dict of columns,
            a list of (user, item, rating) tuples, a NumPy structured array, a SciPy sparse matrix:
            whatever `backends.to_arrow` takes.
        user, item, rating, weight
            Names of the columns.
        duplicates
            As in `from_arrays`.

        Raises
        ------
        RatingsError
            For what is no table, a column that it lacks or has twice, and as `from_arrays`.
        """
        names, arguments = [user, item, rating], "user=, item= and rating="
        if weight is not None:
            names, arguments = [*names, weight], "user=, item=, rating= and weight="
        columns = picked_columns(frame, names, arguments)
        weights = None if weight is None else columns[3]
        return cls.from_arrays(*columns[:3], weights=weights, duplicates=duplicates)

    def extended(self, more: Ratings) -> Ratings:
        """Return these ratings and more, of which a pair that is here already replaces the old one.

        Rows keep their numbers; further users and items follow in the order of ``more``. Of a pair
        that is there several times in ``more`` the last rating counts.

        Raises
        ------
        RatingsError
            For ids of the other kind, and where only one of both has weights.
        """
        return extended_by(self, more)[0]

    def take(self, rows: NDArray[Any]) -> Ratings:
        """Return the ratings at these positions, or where a mask is True, over the same rows."""
        columns = (self.users[rows], self.items[rows], self.ratings[rows])
        weights = None if self.weights is None else self.weights[rows]
        return Ratings(*columns, self.n_users, self.n_items, self.encoder, weights)

    def split(self, share: float = 0.1, seed: int = 0) -> tuple[Ratings, Ratings]:
        """Split off validation ratings at random; each user and item keeps a training rating.

        Parameters
        ----------
        share
            Share of the ratings to split off, between 0 and 1. It is rounded to whole ratings, and
            reduced if users and items would otherwise lose their last rating.
        seed
            Seed of the draws. They are raw integers, so a seed gives the same split with every
            version of NumPy.

        Returns
        -------
        train, validation
            With the same rows, and in the order of these ratings.

        Raises
        ------
        ValueError
            For a share that does not lie between 0 and 1, or that leaves nothing to validate on.
        """
        check_number("share", share, positive=True)
        if share >= 1:
            raise ValueError(f"share must be less than 1, got {share!r}")
        order = np.argsort(np.random.PCG64(seed).random_raw(len(self)), kind="stable")
        kept = np.zeros(len(self), bool)
        backwards = order[::-1]
        for rows, n_rows in ((self.users, self.n_users), (self.items, self.n_items)):
            first = np.full(n_rows, -1, np.intp)
            first[rows[backwards]] = backwards  # of several, the last assignment counts
            kept[first[first >= 0]] = True
        free = order[~kept[order]]
        wanted = round(share * len(self))
        if not min(wanted, len(free)):
            raise ValueError(
                f"{len(self)} ratings leave none to validate on: a share of {share:g} is {wanted}, "
                f"and {len(free)} are not the only one of a user or an item; "
                "give more ratings or a validation set of your own"
            )
        held_out = np.zeros(len(self), bool)
        held_out[free[:wanted]] = True
        return self.take(~held_out), self.take(held_out)

    def canonical(self) -> Ratings:
        """Return the same ratings in an order that does not depend on their present order.

        Rows are numbered by ascending raw id, and ratings are sorted by user, item, rating and
        weight. The result of `numba-sgd`, which visits ratings in the given order, and the initial
        model, which is drawn row by row, then depend on the set of ratings and the seed only. It
        takes about a second for five million ratings.
        """
        users, items, encoder = self.users, self.items, self.encoder
        if encoder is not None:
            by_id = encoder._orders()
            places = [np.empty(len(order), np.int32) for order in by_id]
            for place, order in zip(places, by_id, strict=True):
                place[order] = np.arange(len(order), dtype=np.int32)
            users, items = places[0][users], places[1][items]
            encoder = encoder._reordered(*by_id)
        weights = [] if self.weights is None else [self.weights]
        order = np.lexsort([*weights, self.ratings, items, users])
        return Ratings(
            users,
            items,
            self.ratings,
            self.n_users,
            self.n_items,
            encoder,
            self.weights,
        ).take(order)

    @cached_property
    def summary(self) -> Summary:
        """Range, mean and variance of the ratings, of which there must be one at least."""
        values, n = self.ratings, len(self.ratings)
        if not n:
            raise RatingsError("no ratings have no summary; at least one is needed")
        # Sums are over r - near, where `near` is a rough mean: the variance is a difference of mean
        # squares, which then loses little to rounding.
        near = float(values[:_CHUNK].mean(dtype=np.float64))
        if not math.isfinite(near):  # their sum overflowed
            near = float(values[0])
        low, high, total, squares, weight = values[0], values[0], 0.0, 0.0, 0.0
        room = np.empty(min(n, _CHUNK))
        for start in range(0, n, _CHUNK):
            part = values[start : start + _CHUNK]  # read several times, from the cache
            low, high = min(low, part.min()), max(high, part.max())
            off_near = np.subtract(part, near, out=room[: len(part)], dtype=np.float64)
            if self.weights is None:
                total += float(off_near.sum())
                squares += float(np.einsum("n,n->", off_near, off_near))
                weight += len(part)
            else:
                weights = self.weights[start : start + _CHUNK]
                total += float(np.einsum("n,n->", weights, off_near))
                squares += float(np.einsum("n,n,n->", weights, off_near, off_near))
                weight += float(weights.sum())
        off = total / weight
        variance = max(squares / weight - off * off, 0.0) if squares < math.inf else math.inf
        return Summary(float(low), float(high), near + off, variance, weight)

    def user_counts(self) -> NDArray[np.int64]:
        """Return the number of ratings of each user row, shape (n_users,)."""
        return np.bincount(self.users, minlength=self.n_users)

    def item_counts(self) -> NDArray[np.int64]:
        """Return the number of ratings of each item row, shape (n_items,)."""
        return np.bincount(self.items, minlength=self.n_items)

    def user_weights(self) -> NDArray[np.float64]:
        """Return the sum of the weights of each user's ratings, shape (n_users,).

        Without weights it is the number of ratings.
        """
        return np.bincount(self.users, self.weights, self.n_users).astype(np.float64, copy=False)

    def item_weights(self) -> NDArray[np.float64]:
        """Return the sum of the weights of each item's ratings, shape (n_items,).

        Without weights it is the number of ratings.
        """
        return np.bincount(self.items, self.weights, self.n_items).astype(np.float64, copy=False)


class Summary(NamedTuple):
    """Statistics of ratings; mean and variance are weighted."""

    low: float  # the smallest rating
    high: float  # the largest rating
    mean: float
    variance: float
    weight: float  # N, the sum of the weights; without weights the number of ratings


class EncodedRatings(NamedTuple):
    """What `RatingEncoder.encode_new` kept, and how many rows it dropped and why."""

    ratings: Ratings
    n_dropped: int
    n_unseen_user: int  # rows whose user is unseen
    n_unseen_item: int  # rows whose item is unseen; rows with both count in both


class RatingEncoder:
    """Raw ids of the rows: ``users[row]`` and ``items[row]``, in order of first appearance.

    Ids are integers or text, and users and items have one kind each. Text is held as offsets and
    UTF-8 bytes, so that a long id costs its own length alone.

    Parameters
    ----------
    users, items
        Distinct raw ids, shapes (n_users,) and (n_items,), as `Ratings.from_arrays` takes them.

    Raises
    ------
    RatingsError
        For an id that occurs twice, or that `Ratings.from_arrays` would refuse.
    """

    _users: RowLabels
    _items: RowLabels

    def __init__(self, users: Any, items: Any) -> None:
        self._users, self._items = distinct_ids(users, "users"), distinct_ids(items, "items")

    @classmethod
    def of_labels(cls, users: RowLabels, items: RowLabels) -> RatingEncoder:
        """Return the encoder of ids that are known to be distinct."""
        made = object.__new__(cls)
        made._users, made._items = users, items
        return made

    def __reduce__(self) -> tuple[type[RatingEncoder], tuple[Any, ...]]:
        return RatingEncoder, (self._users.values, self._items.values)

    def __repr__(self) -> str:
        users = f"{len(self._users):,} {self._users.kind} user ids"
        return f"RatingEncoder({users}, {len(self._items):,} {self._items.kind} item ids)"

    @property
    def users(self) -> NDArray[Any]:
        """All user ids, shape (n_users,), read-only: int64, uint64, or objects of type str.

        Text is made into Python strings at the first use, which takes memory; `user_ids` makes
        those of some rows.
        """
        return self._users.array()

    @property
    def items(self) -> NDArray[Any]:
        """All item ids, shape (n_items,), as `users`."""
        return self._items.array()

    @property
    def labels(self) -> tuple[RowLabels, RowLabels]:
        """The ids of user rows and item rows, for look-ups; backends need them only inside."""
        return self._users, self._items

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items."""
        return len(self._users), len(self._items)

    def user_ids(self, rows: ArrayLike) -> NDArray[Any]:
        """Return the raw ids of user rows, shape (n,); text as objects of type str.

        Raises
        ------
        RatingsError
            For what is no row.
        """
        return self._users.take(checked_rows(rows, len(self._users), "users", "n_users")[0])

    def item_ids(self, rows: ArrayLike) -> NDArray[Any]:
        """Return the raw ids of item rows, shape (n,); text as objects of type str.

        Raises
        ------
        RatingsError
            For what is no row.
        """
        return self._items.take(checked_rows(rows, len(self._items), "items", "n_items")[0])

    def user_rows(self, users: Any) -> NDArray[np.int64]:
        """Return the row of each raw user id, shape (n,); -1 for ids not seen.

        Raises
        ------
        RatingsError
            For ids of the other kind, and ids that `Ratings.from_arrays` would refuse.
        """
        rows: NDArray[np.int64] = look_up(self._users, users, "users")[1].astype(np.int64)
        return rows

    def item_rows(self, items: Any) -> NDArray[np.int64]:
        """Return the row of each raw item id, shape (n,); -1 for ids not seen.

        Raises
        ------
        RatingsError
            For ids of the other kind, and ids that `Ratings.from_arrays` would refuse.
        """
        rows: NDArray[np.int64] = look_up(self._items, items, "items")[1].astype(np.int64)
        return rows

    def same_rows(self, other: RatingEncoder) -> bool:
        """Return whether the other encoder gives the same rows to the same ids."""
        return self._users.equals(other._users) and self._items.equals(other._items)

    def encode_new(
        self,
        users: Any,
        items: Any,
        ratings: Any,
        weights: Any = None,
    ) -> EncodedRatings:
        """Encode more ratings; those with an unseen user or item are dropped and counted.

        Raises
        ------
        RatingsError
            For mismatched lengths, ids of the other kind, and for ids, ratings or weights that
            `Ratings.from_arrays` would refuse.
        """
        user_rows = look_up(self._users, users, "users")[1]
        item_rows = look_up(self._items, items, "items")[1]
        values = checked_values(column_of(ratings, "ratings"))
        if not len(user_rows) == len(item_rows) == len(values):
            raise _lengths_differ(len(user_rows), len(item_rows), len(values))
        seen = (user_rows >= 0) & (item_rows >= 0)
        checked = None if weights is None else checked_weights(weights, len(values))[seen]
        kept = Ratings._of_checked(user_rows[seen], item_rows[seen], values[seen], self, checked)
        return EncodedRatings(
            kept,
            int((~seen).sum()),
            int((user_rows < 0).sum()),
            int((item_rows < 0).sum()),
        )

    def _orders(self) -> list[NDArray[np.int64]]:
        """Return the rows of users and of items by ascending id."""
        return [self._users.order(), self._items.order()]

    def _reordered(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> RatingEncoder:
        """Return the encoder of the same ids in other orders."""
        return RatingEncoder.of_labels(self._users.reordered(users), self._items.reordered(items))


def extended_by(known: Ratings, more: Ratings) -> tuple[Ratings, int]:
    """Return `Ratings.extended`, and how many of its ratings, the last ones, are of ``more``."""
    if (known.weights is None) != (more.weights is None):
        has, lacks = ("new", "old") if known.weights is None else ("old", "new")
        raise RatingsError(f"the {has} ratings have weights, and the {lacks} ones do not")
    encoder, places = None, (more.users, more.items)
    sizes = max(known.n_users, more.n_users), max(known.n_items, more.n_items)
    if known.encoder is not None or more.encoder is not None:
        sides = zip(labels_of(known), labels_of(more), places, ("users", "items"), strict=True)
        labels, rows = [], []
        for old, new, numbers, what in sides:
            used, codes = np.unique(numbers, return_inverse=True)  # in the order of their rows
            together, of_used = joined(old, as_labels(new).reordered(used), what)
            labels.append(together)
            rows.append(of_used[codes])
        encoder = RatingEncoder.of_labels(labels[0], labels[1])
        places, sizes = (rows[0], rows[1]), encoder.shape
    pairs = places[0].astype(np.int64) * sizes[1] + places[1]
    last = len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1]
    last.sort()
    # Only old ratings of users who have new ones can be of the same pair.
    has_new = np.zeros(sizes[0], bool)
    has_new[places[0]] = True
    candidates = np.flatnonzero(has_new[known.users])
    old_pairs = known.users[candidates].astype(np.int64) * sizes[1] + known.items[candidates]
    kept = np.ones(len(known), bool)
    kept[candidates[np.isin(old_pairs, pairs)]] = False
    columns = (
        np.concatenate([known.users[kept], places[0][last]]),
        np.concatenate([known.items[kept], places[1][last]]),
        np.concatenate([known.ratings[kept], more.ratings[last]]),
    )
    weights = None
    if known.weights is not None and more.weights is not None:
        weights = np.concatenate([known.weights[kept], more.weights[last]])
    return Ratings(*columns, *sizes, encoder, weights), len(last)


def labels_of(ratings: Ratings) -> tuple[RowLabels | RowIds, RowLabels | RowIds]:
    """Return the ids of the users and of the items of ratings."""
    if ratings.encoder is None:
        return RowIds(ratings.n_users), RowIds(ratings.n_items)
    return ratings.encoder.labels


def _lengths_differ(n_users: int, n_items: int, n_ratings: int) -> RatingsError:
    return RatingsError(
        "users, items and ratings must have the same length, "
        f"got {n_users}, {n_items} and {n_ratings}"
    )


def known_rows(
    rows: NDArray[Any],
    ids: IdColumn,
    what: str,
    remedy: str = 'Drop them, or predict with unknown="mean"',
) -> NDArray[Any]:
    """Return ``rows`` if none is -1; otherwise raise an error that names unknown ids.

    ``remedy`` ends the message.

    Raises
    ------
    UnknownIdError
        When a row is -1.
    """
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        names = list(dict.fromkeys(ids.at(unknown)))
        shown = ", ".join(map(repr, names[:5]))
        if len(names) > 5:
            shown += ", ..."
        ids_word = "ids" if len(names) > 1 else "id"
        raise UnknownIdError(
            f"{len(names)} unknown {what} {ids_word} ({shown}): not in the training ratings. "
            f"{remedy}"
        )
    return rows
