"""Sorting ratings by row on several threads, for the numba solvers. See `kernels.grouping`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from backends.kernels.grouping import (
    count,
    count_pairs,
    place,
    scatter,
    transpose,
)
from backends.kernels.layout import LOOK_AHEAD, keyed_dtype, ratings_dtype
from backends.ratings import Ratings

from .threads import RATINGS_PER_CALL, Threads

# Buckets of the first pass of a sort. As many cache lines are written to at a time, which the first
# level of the cache holds. A bucket of fewer ratings than this gains nothing over a single pass.
_MAX_BUCKETS = 64
_MIN_RATINGS_PER_BUCKET = 100_000


@dataclass(frozen=True)
class Counted:
    """One side of some ratings: the row of each rating, and how many ratings each row has.

    Attributes
    ----------
    rows
        Shape (n_ratings,).
    shares
        How many of each thread's share of the ratings belong to each row; shape (n_threads,
        n_rows).
    """

    rows: NDArray[np.int32]
    shares: NDArray[np.int64]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of ratings of each row, shape (n_rows,)."""
        total: NDArray[np.int64] = self.shares.sum(axis=0)
        return total


@dataclass(frozen=True)
class Blocks:
    """Ratings as a grid of cells: blocks of rows by blocks of opposite rows.

    They are sorted by block of rows, then by block of opposite rows, then by row. Ratings of one
    row in one cell keep the order in which they were given.

    Attributes
    ----------
    starts
        Where each cell starts, and where the last cell of its block of rows ends; shape
        (n_row_blocks, n_opposite_blocks + 1).
    ends
        Where the ratings of a row with a block of opposite rows end; shape (n_opposite_blocks,
        n_rows). They start where those of the row before end, and those of the first row of a block
        where the cell starts.
    ratings
        Records of opposite row, target and perhaps weight, shape (n_ratings,); see
        `kernels.layout`. A view of an array that is `LOOK_AHEAD` longer, which is as far as kernels
        read beyond the end.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    ratings: NDArray[Any]


def counted(threads: Threads, *sides: tuple[NDArray[np.int32], int]) -> list[Counted]:
    """Count the ratings of each row; a side is the row of each rating and the number of rows."""
    shares = [np.zeros((threads.n, n_rows), np.int64) for _, n_rows in sides]
    tables = [(rows, table) for (rows, _), table in zip(sides, shares, strict=True)]
    for pieces in threads.cut(len(sides[0][0])):
        calls = []
        for rows, table in tables:
            for thread, (first, last) in enumerate(pieces):
                calls.append((rows, first, last, table[thread]))
        threads.run(count, calls)
    return [Counted(rows, table) for rows, table in tables]


def row_weights(
    train: Ratings,
    users: Counted,
    items: Counted,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of the weights of each user's and each item's ratings, shapes (n_rows,).

    Without weights each rating weighs 1, and the sums are the counts.
    """
    if train.weights is None:
        return users.counts.astype(np.float64), items.counts.astype(np.float64)
    return train.user_weights(), train.item_weights()


def blocked(
    threads: Threads,
    side: Counted,
    opposite: Counted,
    train: Ratings,
    dtype: DTypeLike,
    mean: float,
    *,
    unit: float = 1.0,
    weight_unit: float = 1.0,
    bounds: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Blocks:
    """Sort ratings into the cells of a grid, and by row within a cell.

    Parameters
    ----------
    side, opposite
        The counts of ``train``: of the side whose rows the ratings are sorted by, and of the other.
    train
        The ratings.
    dtype, mean, unit, weight_unit
        Targets are (rating - mean) / unit and weights, if any, weight / weight_unit, in this
        precision. Both are products with a reciprocal, so the last bit may differ from a
        quotient's.
    bounds
        First row of each block, and one past the last row, of the side and of the opposite side; by
        default there is one block of each.
    """
    n, n_rows, n_opposite = len(train), side.shares.shape[1], opposite.shares.shape[1]
    row_bounds, opposite_bounds = bounds or (np.array([0, n_rows]), np.array([0, n_opposite]))
    n_blocks = len(opposite_bounds) - 1

    # First pass: each thread copies its share of the ratings to the buckets of their rows. A bucket
    # is later sorted by one call, so there are at least as many as threads, and none is too large.
    n_buckets = max(
        threads.n,
        min(_MAX_BUCKETS, n // _MIN_RATINGS_PER_BUCKET),
        -(-n // RATINGS_PER_CALL),
    )
    cuts = balanced_bounds(np.cumsum(side.counts), n_buckets)
    # The counts of rows add up to those of buckets, shape (n_threads, n_buckets).
    first = np.stack([side.shares[:, a:b].sum(axis=1) for a, b in pairwise(cuts)], axis=1)
    buckets = list(pairwise(_first_places(first).tolist()))
    # Each thread advances a row of `places` for each of its ratings. The rows are 16 numbers, two
    # cache lines, longer than needed: if they shared a line, threads would compete for it.
    places = np.zeros((threads.n, n_buckets + 16), np.int64)[:, :n_buckets]
    places[:] = first
    bucket = _block_of_each(cuts)
    weighted = train.weights is not None
    weights = np.empty(0) if train.weights is None else train.weights
    # Allocated here and not in a kernel, because NumPy asks the system for huge pages and numba
    # does not. With them, scattered writes miss the TLB less often.
    by_bucket = np.empty(n, keyed_dtype(dtype, weighted=weighted))
    per_unit, per_weight = 1 / unit, 1 / weight_unit
    for pieces in threads.cut(n):
        calls = [
            (
                piece_first,
                piece_last,
                side.rows,
                opposite.rows,
                train.ratings,
                weights,
                bucket,
                thread_places,
                mean,
                per_unit,
                per_weight,
                by_bucket,
            )
            for (piece_first, piece_last), thread_places in zip(pieces, places, strict=True)
        ]
        threads.run(scatter, calls)

    # Second pass: each bucket is sorted into cells and rows. `ends` is first counts, then the
    # places where ratings start; as `place` advances these past each rating, they become the ends.
    block = _block_of_each(opposite_bounds)
    if bounds:
        ends = np.zeros((n_blocks, n_rows), np.int64)
        threads.run(count_pairs, [(a, b, by_bucket, block, ends) for a, b in buckets])
    else:
        ends = side.counts[np.newaxis].copy()
    starts = _first_places_of_blocks(ends, row_bounds)
    result = _empty(n, ratings_dtype(dtype, weighted=weighted))
    threads.run(place, [(a, b, by_bucket, block, ends, result) for a, b in buckets])
    return Blocks(starts, ends, result)


def transposed(threads: Threads, by_row: Blocks, n_opposite: int) -> Blocks:
    """Return the ratings of a single block of rows, sorted by opposite row.

    It takes less memory than sorting the original ratings again: there are no buckets.
    """
    ends, ratings = by_row.ends[0], by_row.ratings
    # Each thread takes a range of rows with about as many ratings as any other, in several pieces.
    n_pieces = 1 + len(ratings) // RATINGS_PER_CALL
    bounds = balanced_bounds(ends, threads.n * n_pieces).tolist()
    # One entry per piece: a range of rows for each thread.
    pieces = [list(pairwise(bounds))[piece::n_pieces] for piece in range(n_pieces)]
    places = np.zeros((threads.n, n_opposite), np.int64)
    opposites = ratings["opposite"]
    starts = np.append(0, ends)
    for ranges in pieces:
        calls: list[tuple[Any, ...]] = [
            (opposites, starts[first], starts[last], thread_places)
            for (first, last), thread_places in zip(ranges, places, strict=True)
        ]
        threads.run(count, calls)
    offsets = _first_places(places)
    result = _empty(len(ratings), ratings.dtype)
    for ranges in pieces:
        calls = [
            (first, last, ends, ratings, thread_places, result)
            for (first, last), thread_places in zip(ranges, places, strict=True)
        ]
        threads.run(transpose, calls)
    return Blocks(offsets[[[0, -1]]], offsets[np.newaxis, 1:], result)


def _first_places(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn the counts of each thread into the places where its ratings of each key start.

    The places of a key are next to each other, first those of thread 0, then of thread 1, and so
    on. So each thread can copy its ratings without regard to the others, and the sort is stable.

    Parameters
    ----------
    counts
        Shape (n_threads, n_keys); overwritten by the places.

    Returns
    -------
    ndarray of int64, shape (n_keys + 1,)
        Where each key starts, and where the last one ends.
    """
    ends = np.cumsum(counts.T).reshape(counts.shape[::-1])
    np.subtract(ends.T, counts, out=counts)
    return np.append(0, ends[:, -1])


def _first_places_of_blocks(
    counts: NDArray[np.int64],
    key_bounds: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Turn the counts of `count_pairs` into the places where each pair of block and key starts.

    The places ascend by block of keys, within it by block of opposite rows, and within that by key.

    Parameters
    ----------
    counts
        Shape (n_blocks, n_keys); overwritten by the places.
    key_bounds
        First key of each block of keys, and one past the last key; shape (n_key_blocks + 1,).

    Returns
    -------
    ndarray of int64, shape (n_key_blocks, n_blocks + 1)
        Where each cell of the grid of blocks starts, and where the last cell of its row ends.
    """
    starts = np.zeros((len(key_bounds) - 1, len(counts) + 1), np.int64)
    place = 0
    for cells, (first, last) in zip(starts, pairwise(key_bounds), strict=True):
        of_keys = counts[:, first:last]
        np.cumsum(of_keys.sum(axis=1), out=cells[1:])
        cells += place
        ends = np.cumsum(of_keys).reshape(of_keys.shape)
        of_keys[:] = place + ends - of_keys
        place = cells[-1]
    return starts


def _empty(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return room for ``n`` ratings, with `LOOK_AHEAD` ratings of zeros beyond the end."""
    ratings = np.empty(n + LOOK_AHEAD, dtype)
    ratings[n:] = np.zeros(1, dtype)
    return ratings[:n]


def _block_of_each(bounds: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return the number of the block that each row is in, shape (n_rows,)."""
    return np.repeat(np.arange(len(bounds) - 1, dtype=np.uint16), np.diff(bounds))


def balanced_bounds(ends: NDArray[np.int64], n_blocks: int) -> NDArray[np.int64]:
    """Cut rows into ``n_blocks`` consecutive blocks of about the same total size.

    Parameters
    ----------
    ends
        Running total of the sizes of the rows, shape (n_rows,).

    Returns
    -------
    ndarray of int64, shape (n_blocks + 1,)
        First row of each block, and one past the last row.
    """
    before = np.append(0, ends)
    cuts = np.searchsorted(before, before[-1] * np.arange(1, n_blocks) / n_blocks)
    return np.concatenate(([0], cuts, [len(ends)])).astype(np.int64)
