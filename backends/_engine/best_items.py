"""The items with the highest scores for each of many users: exactly those, and fast.

The score of an item is q . v + w, with the vector q of the user, and the vector v and the constant
w of the item. Products in float32 find a few candidates more than are asked for, and these are
scored again in float64. That settles a user's list if nothing that was left out can be better, by
the bound on the error of inner products in float32 (Higham 2002, "Accuracy and Stability of
Numerical Algorithms", section 3.1). Where it does not, as with many equal scores, all items are
scored in float64 for her.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .threads import Threads, one_blas_thread

# Scores that a thread computes at a time: users by items. They stay in the cache.
_USERS, _ITEMS = 64, 8192
_USERS_PER_CALL = 1024  # between two calls a Ctrl-C can be noticed
_SCORED_AGAIN = 1 << 21  # numbers of the vectors of candidates
_SPARE = 6  # candidates beyond those asked for
_GROUP = 32  # scores whose maximum is looked at before they are
_ROUNDING = 2.0**-24  # largest relative error of rounding to float32
# Products whose bound is beyond this might overflow.
_LARGEST = 1e37
_SMALLEST = float(np.finfo(np.float32).tiny)

# Takes the first user of a block and one past its last. Returns the places in the block, and the
# items, of what is in nobody's list; an item may occur twice.
Excluded = Callable[[int, int], tuple[NDArray[Any], NDArray[Any]]]


class ItemTable:
    """The items that lists are made of.

    Parameters
    ----------
    vectors
        Shape (n_items, rank), float32 or float64.
    constants
        Shape (n_items,).
    """

    def __init__(self, vectors: NDArray[Any], constants: NDArray[Any]) -> None:
        self._vectors = vectors
        self._constants = constants.astype(np.float64)
        n_items, rank = vectors.shape
        # Items are columns: one query is multiplied fastest so.
        self._table = np.empty((rank + 1, n_items), np.float32)
        with np.errstate(over="ignore"):  # `_is_final` finds out
            self._table[:rank], self._table[rank] = vectors.T, constants
        squares = np.einsum("nk,nk->n", vectors, vectors, dtype=np.float64)
        self._longest = float(np.sqrt(squares.max(initial=0)))
        self._largest = float(np.abs(self._constants).max(initial=0))

    def __len__(self) -> int:
        return len(self._vectors)

    def best(
        self,
        queries: NDArray[Any],
        n: int,
        excluded: Excluded | None = None,
        n_threads: int = 1,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the ``n`` items with the highest scores for each query, best first.

        Of items with equal scores those come first that have lower numbers.

        Parameters
        ----------
        queries
            Vectors of users, shape (m, rank).
        n
            Number of items.
        excluded
            See `Excluded`.
        n_threads
            Number of threads for more than one block of users.

        Returns
        -------
        items : ndarray of int32, shape (m, min(n, n_items))
            -1 where no item is left.
        scores : ndarray of float64, of the same shape
        """
        n = min(n, len(self))
        items = np.full((len(queries), n), -1, np.int32)
        scores = np.full((len(queries), n), -np.inf)

        # What is scored again, in float64, is small too where lists are long.
        n_users = max(1, min(_USERS, _SCORED_AGAIN // ((n + _SPARE) * self._vectors.shape[1])))

        def work(first: int, last: int) -> None:
            room = np.empty((min(n_users, last - first), min(_ITEMS, len(self))), np.float32)
            for start in range(first, last, n_users):
                stop = min(start + n_users, last)
                out = items[start:stop], scores[start:stop]
                self._fill(out, queries[start:stop], excluded and excluded(start, stop), room)

        if not n:
            return items, scores
        if len(queries) == 1:
            left_out = None if excluded is None else excluded(0, 1)[1]
            found, of_found = self.best_for_one(queries[0], n, left_out)
            items[0, : len(found)], scores[0, : len(found)] = found, of_found
            return items, scores
        if len(queries) <= _USERS:
            work(0, len(queries))
            return items, scores
        n_calls = max(n_threads, -(-len(queries) // _USERS_PER_CALL))
        bounds = [len(queries) * call // n_calls for call in range(n_calls + 1)]
        calls = [(a, b) for a, b in pairwise(bounds) if a < b]
        with one_blas_thread():
            Threads(n_threads).run(work, calls)
        return items, scores

    def _fill(
        self,
        out: tuple[NDArray[np.int32], NDArray[np.float64]],
        queries: NDArray[Any],
        excluded: tuple[NDArray[Any], NDArray[Any]] | None,
        room: NDArray[np.float32],
    ) -> None:
        """Write the lists of a block of users to ``out``; ``room`` is for their scores."""
        out_items, out_scores = out
        n = out_items.shape[1]
        items, rough = self._candidates(queries, n + _SPARE, excluded, room)
        exact = np.einsum(
            "uk,uck->uc", queries, self._vectors[items], dtype=np.float64
        ) + self._constants.take(items)
        exact[np.isneginf(rough)] = -np.inf
        order = np.lexsort((items, -exact), axis=-1)[:, :n]
        best = np.take_along_axis(exact, order, axis=1)
        found = np.take_along_axis(items, order, axis=1)
        out_scores[:] = best
        out_items[:] = np.where(np.isneginf(best), -1, found)
        if items.shape[1] == len(self):
            rough = np.full((len(queries), 1), -np.inf)  # nothing was left out
        lengths = np.sqrt(np.einsum("uk,uk->u", queries, queries, dtype=np.float64))
        for user in np.flatnonzero(~self._is_final(lengths, best[:, -1], rough.min(axis=1))):
            left_out = None if excluded is None else excluded[1][excluded[0] == user]
            first, of_first = self._in_float64(queries[user], n, left_out)
            out_items[user], out_scores[user] = -1, -np.inf
            out_items[user, : len(first)], out_scores[user, : len(first)] = first, of_first

    def best_for_one(
        self, query: NDArray[Any], n: int, left_out: NDArray[Any] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return what `best` does for a single query, in fewer steps.

        Parameters
        ----------
        query
            Vector of a user, shape (rank,).
        n
            Number of items.
        left_out
            Items that are not in the list.

        Returns
        -------
        items, scores
            Shapes (k,), where k is n, or less if fewer items are left.
        """
        length = math.sqrt(float(np.einsum("k,k->", query, query, dtype=np.float64)))
        if not self._fits(length):
            return self._in_float64(query, n, left_out)
        row = np.empty(len(self._table), np.float32)
        if query.dtype == self._vectors.dtype == np.float32:
            row[:-1], row[-1] = query, 1
            rough = row @ self._table
        else:
            with np.errstate(over="ignore", invalid="ignore"):  # `_is_final` finds out
                row[:-1], row[-1] = query, 1
                rough = row @ self._table
        if left_out is not None:
            rough[left_out] = -np.inf
        items = _largest_of_one(rough, n + _SPARE)
        of_items = rough[items]
        cut = float(of_items.min()) if len(items) < len(self) else -np.inf
        items = items[of_items > -np.inf]
        exact = np.einsum("nk,k->n", self._vectors[items], query, dtype=np.float64)
        exact += self._constants[items]
        order = np.lexsort((items, -exact))[:n]
        last = float(exact[order[-1]]) if len(order) == n else -np.inf
        if not self._is_final(length, last, cut):
            return self._in_float64(query, n, left_out)
        return items[order], exact[order]

    def _in_float64(
        self, query: NDArray[Any], n: int, left_out: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the best items for one user, and their scores, by those of all items."""
        scores = np.einsum("nk,k->n", self._vectors, query, dtype=np.float64) + self._constants
        left = np.arange(len(self))
        if left_out is not None:
            left = np.delete(left, left_out)
            scores = scores[left]
        if n < len(left):  # those from the n-th largest score on, however many are equal to it
            least = np.partition(scores, len(left) - n)[len(left) - n]
            is_among = scores >= least
            left, scores = left[is_among], scores[is_among]
        first = np.argsort(-scores, kind="stable")[:n]
        return left[first], scores[first]

    def _candidates(
        self,
        queries: NDArray[Any],
        n: int,
        excluded: tuple[NDArray[Any], NDArray[Any]] | None,
        room: NDArray[np.float32],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ``n`` best items by float32 in any order, and their scores, shapes (m, n)."""
        rows = np.empty((len(queries), len(self._table)), np.float32)
        with np.errstate(over="ignore"):  # `_is_final` finds out
            rows[:, :-1], rows[:, -1] = queries, 1
        parts = []
        for first in range(0, len(self), _ITEMS):
            table = self._table[:, first : first + _ITEMS]
            scores = room[: len(queries), : table.shape[1]]
            with np.errstate(over="ignore", invalid="ignore"):  # `_is_final` finds out
                np.matmul(rows, table, out=scores)
            if excluded is not None:
                users, items = excluded
                if len(self) > _ITEMS:
                    here = (items >= first) & (items < first + _ITEMS)
                    users, items = users[here], items[here] - first
                scores[users, items] = -np.inf
            places = _largest(scores, n)
            parts.append((places + first, np.take_along_axis(scores, places, axis=1)))
        if len(parts) == 1:
            return parts[0]
        items, scores = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
        places = _largest(scores, n)
        return np.take_along_axis(items, places, 1), np.take_along_axis(scores, places, 1)

    def _fits(self, length: Any) -> Any:
        """Return whether vectors of this length, their scores and the items' fit float32."""
        size = length * self._longest + self._largest
        return (size < _LARGEST) & (length < _LARGEST) & (self._longest < _LARGEST)

    def _is_final(self, length: Any, last: Any, cut: Any) -> Any:
        """Return whether no item that was left out belongs in a user's list.

        Parameters
        ----------
        length
            Of her vector. All arguments are numbers, or arrays of shape (m,).
        last
            Score of the last item in her list; -inf if that is not full.
        cut
            What no item that was left out exceeds in float32; -inf if all are excluded.
        """
        size = length * self._longest + self._largest
        # One rounding for each product, sum and cast; and products may be too small for float32.
        error = (self._vectors.shape[1] + 8) * (_ROUNDING * size + _SMALLEST)
        return self._fits(length) & ((cut == -np.inf) | (last > cut + error))


def _largest(scores: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Return the columns of the ``n`` largest of each row, in any order, shape (m, n).

    All scores are read once, for the maximum of each group of columns. The largest are in the
    groups with the largest maxima.
    """
    n_columns = scores.shape[1]
    if n >= n_columns:
        return np.broadcast_to(np.arange(n_columns), scores.shape)
    n_groups = n_columns // _GROUP
    if 4 * n > n_groups:
        return np.argpartition(scores, n_columns - n, axis=1)[:, n_columns - n :]
    # Group g has the columns g, g + n_groups, g + 2 * n_groups, ...: so maxima are of whole rows.
    in_groups = n_groups * _GROUP
    grouped = scores[:, :in_groups].reshape(len(scores), _GROUP, n_groups)
    maxima = grouped.max(axis=1)
    groups = np.argpartition(maxima, n_groups - n, axis=1)[:, n_groups - n :]
    columns = (groups[:, :, None] + np.arange(0, in_groups, n_groups)).reshape(len(scores), -1)
    if in_groups < n_columns:
        rest = np.arange(in_groups, n_columns)
        columns = np.hstack([columns, np.broadcast_to(rest, (len(scores), len(rest)))])
    found = np.take_along_axis(scores, columns, axis=1)
    largest = np.argpartition(found, found.shape[1] - n, axis=1)[:, -n:]
    return np.take_along_axis(columns, largest, axis=1)


def _largest_of_one(scores: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Return what `_largest` does for one row of scores, shape (n_columns,), in less time."""
    n_columns = len(scores)
    if n >= n_columns:
        return np.arange(n_columns)
    n_groups = n_columns // _GROUP
    if 4 * n > n_groups:
        return scores.argpartition(n_columns - n)[n_columns - n :]
    in_groups = n_groups * _GROUP
    maxima = scores[:in_groups].reshape(_GROUP, n_groups).max(axis=0)
    groups = maxima.argpartition(n_groups - n)[n_groups - n :]
    columns: NDArray[np.int64] = np.add.outer(np.arange(0, in_groups, n_groups), groups).reshape(-1)
    if in_groups < n_columns:
        columns = np.concatenate([columns, np.arange(in_groups, n_columns)])
    found = scores[columns]
    largest: NDArray[np.int64] = columns[found.argpartition(len(found) - n)[len(found) - n :]]
    return largest
