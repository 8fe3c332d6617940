"""Counting sorts of ratings in O(n), for the kernels that visit them row by row.

A counting sort first counts how often each key (row) occurs; running totals of these counts are the
places where each key's ratings start; and then every rating is copied to the next place of its key.

With hundreds of thousands of rows that copying writes to more cache lines at a time than the caches
hold. So ratings are sorted in two passes: `scatter` copies each to the bucket of its row, a range
of rows with about as many ratings as any other bucket, and `place` sorts one bucket at a time,
whose places fit the cache.

Each call does one thread's share. All offsets are 64-bit: there may be more than 2^31 ratings,
though not so many users or items.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.ratings import copy_weight, prefetch_rating
from backends.kernels.llvm.tables import first_rating
from backends.kernels.llvm.traced import traced

from ._jit import kernel
from .layout import LOOK_AHEAD

# A bucket is filled in order: the place this many ratings behind the last one is requested, so that
# its cache line is there when it is written to.
_PREFETCH_BEHIND = 16

# How many ratings ahead the place of a rating is requested.
_PREFETCH_DISTANCE = 32


@kernel
def count(keys: NDArray[np.int32], first: int, last: int, counts: NDArray[np.int64]) -> None:
    """Add to ``counts``, shape (n_keys,), how often each key occurs in ``keys[first:last]``."""
    for n in range(first, last):
        _count_one(n, keys, counts)


@traced
def _count_one(n: Any, keys: Any, counts: Any) -> None:
    counts[keys[n]] += 1


@kernel
def scatter(
    first: int,
    last: int,
    keys: NDArray[np.int32],
    opposites: NDArray[np.int32],
    ratings: NDArray[Any],
    weights: NDArray[Any],
    bucket: NDArray[np.uint16],
    places: NDArray[np.int64],
    mean: float,
    per_unit: float,
    per_weight: float,
    result: NDArray[Any],
) -> None:
    """Copy the ratings ``first:last`` to the next places of their keys' buckets, as records.

    Parameters
    ----------
    keys, opposites, ratings, weights
        Of each rating, shape (n_ratings,). ``weights`` is not read if the records have no weights.
    bucket
        Of each key, shape (n_keys,).
    places
        The next free place of this thread in each bucket, shape (n_buckets,); advanced.
    mean, per_unit, per_weight
        A target is (rating - mean) * per_unit, a weight is weight * per_weight. They are factors
        because LLVM may turn a division into a multiplication for some of the ratings, and which
        ones would depend on where a thread's share begins.
    result
        Output, shape (n_ratings,), records of `layout.keyed_dtype`.
    """
    for n in range(first, last):
        _scatter_one(
            n,
            keys,
            opposites,
            ratings,
            weights,
            bucket,
            places,
            mean,
            per_unit,
            per_weight,
            result,
        )


@traced
def _scatter_one(
    n: Any,
    keys: Any,
    opposites: Any,
    ratings: Any,
    weights: Any,
    bucket: Any,
    places: Any,
    mean: Any,
    per_unit: Any,
    per_weight: Any,
    result: Any,
) -> None:
    key = keys[n]
    to = places[bucket[key]]
    places[bucket[key]] += 1
    prefetch_rating(result, to + _PREFETCH_BEHIND)
    copy = result[to]
    copy.key, copy.opposite = key, opposites[n]
    copy.target = (ratings[n] - mean) * per_unit
    copy_weight(result, to, weights, n, per_weight)


@kernel
def count_pairs(
    first: int,
    last: int,
    ratings: NDArray[Any],
    block: NDArray[np.uint16],
    counts: NDArray[np.int64],
) -> None:
    """Count the ratings ``first:last`` by the block of their opposite row and by their key.

    ``block`` is the block of each opposite row, and ``counts`` has shape (n_blocks, n_keys).
    """
    for n in range(first, last):
        _count_pair(n, ratings, block, counts)


@traced
def _count_pair(n: Any, ratings: Any, block: Any, counts: Any) -> None:
    counts[block[ratings[n].opposite], ratings[n].key] += 1


@kernel
def place(
    first: int,
    last: int,
    ratings: NDArray[Any],
    block: NDArray[np.uint16],
    places: NDArray[np.int64],
    result: NDArray[Any],
) -> None:
    """Copy the ratings ``first:last``, one bucket, to the next places of their block and key.

    ``places``, shape (n_blocks, n_keys), is advanced: at the end a place is where the ratings of
    its block and key end. A key is in one bucket only, so threads do not advance each other's
    places.
    """
    for n in range(first, last):
        soon = n + _PREFETCH_DISTANCE if n + _PREFETCH_DISTANCE < last else last - 1
        _place_one(n, soon, ratings, block, places, result)


@traced
def _place_one(n: Any, soon: Any, ratings: Any, block: Any, places: Any, result: Any) -> None:
    # Where a rating further on will go, approximately: its place may still advance until then.
    rating = ratings[soon]
    prefetch_rating(result, places[block[rating.opposite], rating.key])
    rating = ratings[n]
    block_and_key = block[rating.opposite], rating.key
    to = places[block_and_key]
    places[block_and_key] += 1
    copy = result[to]
    copy.opposite, copy.target = rating.opposite, rating.target
    copy_weight(result, to, ratings, n, 1.0)


@kernel
def transpose(
    first: int,
    last: int,
    ends: NDArray[np.int64],
    ratings: NDArray[Any],
    places: NDArray[np.int64],
    result: NDArray[Any],
) -> None:
    """Copy the ratings of the rows ``first:last`` to the next places of their opposite rows.

    Parameters
    ----------
    ends
        Where the ratings of each row end, shape (n_rows,).
    places
        The next free place of this thread for each opposite row, shape (n_opposite,); advanced.
    result
        Output: ratings grouped by opposite row, whose opposite row is the row they had here.
    """
    for row in range(first, last):
        for n in range(first_rating(ends, row), ends[row]):
            _transpose_one(row, n, ratings, places, result)


@traced
def _transpose_one(row: Any, n: Any, ratings: Any, places: Any, result: Any) -> None:
    # May lie in the next rows, or beyond the end, where `LOOK_AHEAD` ratings are zeros.
    prefetch_rating(result, places[ratings[n + LOOK_AHEAD].opposite])
    rating = ratings[n]
    to = places[rating.opposite]
    places[rating.opposite] += 1
    copy = result[to]
    copy.opposite, copy.target = row, rating.target
    copy_weight(result, to, ratings, n, 1.0)
