"""Sorting ratings by row on several threads: what the numba backends share."""

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
    first_places,
    first_places_of_blocks,
    place,
    scatter,
    transpose,
)
from backends.kernels.layout import LOOK_AHEAD, keyed_dtype, ratings_dtype
from backends.ratings import Ratings

from .threads import RATINGS_PER_CALL, Threads

# Ratings go to their rows by way of so many buckets, whose places a cache holds; fewer are not worth one.
_BUCKETS = 64
_BUCKET = 100_000


@dataclass(frozen=True)
class Counted:
    """One side of some ratings: the row of each, and how many each row has in each thread's share of the ratings."""

    rows: NDArray[np.int32]
    shares: NDArray[np.int64]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Number of ratings of each row."""
        total: NDArray[np.int64] = self.shares.sum(axis=0)
        return total


@dataclass(frozen=True)
class Blocks:
    """Ratings by block of rows, within these by block of opposite rows, and within these by row, in the given order.

    ``starts`` has one row per block of rows: where its blocks start, and where the last ends. ``ends`` has shape
    (n_opposite_blocks, n_rows): where a row's ratings with a block of opposite rows end. They start where those of the
    row before end, or, for the first row of its block, where the block does. ``ratings`` are records of opposite row
    and target, see `kernels.layout`; a view, behind whose last one there must be `LOOK_AHEAD` more.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    ratings: NDArray[Any]


def counted(threads: Threads, *sides: tuple[NDArray[np.int32], int]) -> list[Counted]:
    """Count the ratings of each row, for sides of some ratings: the row of each, and how many rows there are."""
    shares = [np.zeros((threads.n, n_rows), np.int64) for _, n_rows in sides]
    tables = [(rows, table) for (rows, _), table in zip(sides, shares, strict=True)]
    for runs in threads.cut(len(sides[0][0])):
        threads.run(count, [(rows, *run, table[part]) for rows, table in tables for part, run in enumerate(runs)])
    return [Counted(*table) for table in tables]


def row_weights(train: Ratings, users: Counted, items: Counted) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of the weights of users' and of items' ratings, which are counted where all weigh 1."""
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
    """Sort ratings by row, in blocks.

    Parameters
    ----------
    train
        The ratings that were counted.
    dtype, mean, unit, weight_unit
        Targets are (rating - mean) / unit, and weights, where there are any, weight / weight_unit, of this type (by
        reciprocals, so that the last bit may be another).
    bounds
        Where the blocks of rows start and the last ends, and the same for the opposite rows; by default there is one of
        each.
    """
    n, n_rows, n_opposite = len(train), side.shares.shape[1], opposite.shares.shape[1]
    row_bounds, opposite_bounds = bounds or (np.array([0, n_rows]), np.array([0, n_opposite]))
    n_blocks = len(opposite_bounds) - 1

    n_buckets = max(threads.n, min(_BUCKETS, n // _BUCKET), -(-n // RATINGS_PER_CALL))
    cuts = balanced_bounds(np.cumsum(side.counts), n_buckets)
    first = np.stack([side.shares[:, a:b].sum(axis=1) for a, b in pairwise(cuts)], axis=1)
    buckets = list(pairwise(first_places(first).tolist()))
    # Each thread counts up a row of these for each rating: in one cache line, they would wait for each other.
    places = np.zeros((threads.n, n_buckets + 16), np.int64)[:, :n_buckets]
    places[:] = first
    bucket = _parts(cuts)
    # Allocated here because NumPy asks for huge pages, and numba does not: scattered writes then miss the TLB less.
    weighted = train.weights is not None
    weights = np.empty(0) if train.weights is None else train.weights
    by_bucket = np.empty(n, keyed_dtype(dtype, weighted=weighted))
    scales = mean, 1 / unit, 1 / weight_unit
    for runs in threads.cut(n):
        shares = zip(runs, places, strict=True)
        threads.run(
            scatter,
            [
                (*run, side.rows, opposite.rows, train.ratings, weights, bucket, mine, *scales, by_bucket)
                for run, mine in shares
            ],
        )

    ends, block = np.zeros((n_blocks, n_rows), np.int64), _parts(opposite_bounds)
    threads.run(count_pairs, [(*run, by_bucket, block, ends) for run in buckets])
    starts = first_places_of_blocks(ends, row_bounds)
    result = _empty(n, ratings_dtype(dtype, weighted=weighted))
    threads.run(place, [(*run, by_bucket, block, ends, result) for run in buckets])
    return Blocks(starts, ends, result)


def transposed(threads: Threads, by_row: Blocks, n_opposite: int) -> Blocks:
    """Group by opposite row the ratings of a single block: in less memory than another sort takes."""
    ends, ratings = by_row.ends[0], by_row.ratings
    n_pieces = 1 + len(ratings) // RATINGS_PER_CALL
    bounds = balanced_bounds(ends, threads.n * n_pieces).tolist()
    rows = [list(pairwise(bounds))[piece::n_pieces] for piece in range(n_pieces)]
    places = np.zeros((threads.n, n_opposite), np.int64)
    others = ratings["other"]
    starts = np.append(0, ends)
    for runs in rows:
        parts = zip(runs, places, strict=True)
        threads.run(count, [(others, starts[first], starts[last], mine) for (first, last), mine in parts])
    offsets = first_places(places)
    result = _empty(len(ratings), ratings.dtype)
    for runs in rows:
        threads.run(transpose, [(*run, ends, ratings, mine, result) for run, mine in zip(runs, places, strict=True)])
    return Blocks(offsets[[[0, -1]]], offsets[np.newaxis, 1:], result)


def _empty(n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return room for ratings, and for what kernels may read behind the last."""
    ratings = np.empty(n + LOOK_AHEAD, dtype)
    ratings[n:] = np.zeros(1, dtype)
    return ratings[:n]


def _parts(bounds: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return which part each of ``range(bounds[-1])`` is in."""
    return np.repeat(np.arange(len(bounds) - 1, dtype=np.uint16), np.diff(bounds))


def balanced_bounds(ends: NDArray[np.int64], n_parts: int) -> NDArray[np.int64]:
    """Cut ``range(len(ends))`` into ``n_parts`` runs of about the same size; shape (n_parts + 1,).

    ``ends`` is the size of all up to each, itself included.
    """
    before = np.append(0, ends)
    cuts = np.searchsorted(before, before[-1] * np.arange(1, n_parts) / n_parts)
    return np.concatenate(([0], cuts, [len(ends)])).astype(np.int64)
