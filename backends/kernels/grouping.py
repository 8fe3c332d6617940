"""Counting sorts of ratings in O(n), for the kernels that visit them row by row.

A counting sort first counts how often each key (row) occurs; running totals of these counts are the
places where each key's ratings start; and then every rating is copied to the next place of its key.

With hundreds of thousands of rows that copying writes to more cache lines at a time than the caches
hold. So ratings are sorted in two passes: `scatter` copies each to the bucket of its row, a range
of rows with about as many ratings as any other bucket, and `place` sorts one bucket at a time,
whose places fit the cache.

Each call does one thread's share, except `first_places` and `first_places_of_blocks`, which run
once. All offsets are 64-bit: there may be more than 2^31 ratings, though not so many users or
items.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.ratings import copy_weight, opposites_at, prefetch_rating

from ._jit import kernel
from .layout import LOOK_AHEAD

# A bucket is filled in order: the place this many ratings behind the last one is requested, so that
# its cache line is there when it is written to.
_PREFETCH_BEHIND = 16

# How many ratings ahead the place of a rating is requested.
_PREFETCH_DISTANCE = 32

_ONE_STREAM = (0,)  # positions in the stream are positions in the array; see `gradient`


@kernel
def count(keys: NDArray[np.int32], first: int, last: int, counts: NDArray[np.int64]) -> None:
    """Add to ``counts``, shape (n_keys,), how often each key occurs in ``keys[first:last]``."""
    # Unsigned indices here and below, because a signed one is checked for counting from the end.
    for n in range(np.uint64(first), np.uint64(last)):
        counts[np.uint32(keys[n])] += 1


@kernel
def first_places(counts: NDArray[np.int64]) -> NDArray[np.int64]:
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
    n_threads, n_keys = counts.shape
    offsets = np.empty(n_keys + 1, np.int64)
    place = 0
    for key in range(n_keys):
        offsets[key] = place
        for thread in range(n_threads):
            # A running total, which leaves behind the total up to here in place of the count.
            n = counts[thread, key]
            counts[thread, key] = place
            place += n
    offsets[n_keys] = place
    return offsets


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
    for n in range(np.uint64(first), np.uint64(last)):
        key = np.uint32(keys[n])
        to = np.uint64(places[bucket[key]])
        places[bucket[key]] += 1
        prefetch_rating(result, to + np.uint64(_PREFETCH_BEHIND))
        result[to].key = key
        result[to].opposite = opposites[n]
        result[to].target = (np.float64(ratings[n]) - mean) * per_unit
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
    for n in range(np.uint64(first), np.uint64(last)):
        counts[block[np.uint32(ratings[n].opposite)], np.uint32(ratings[n].key)] += 1


@kernel
def first_places_of_blocks(
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
    n_blocks = len(counts)
    starts = np.empty((len(key_bounds) - 1, n_blocks + 1), np.int64)
    place = 0
    for key_block in range(len(starts)):
        for b in range(n_blocks):
            starts[key_block, b] = place
            for key in range(key_bounds[key_block], key_bounds[key_block + 1]):
                n = counts[b, key]
                counts[b, key] = place
                place += n
        starts[key_block, n_blocks] = place
    return starts


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
    for n in range(np.uint64(first), np.uint64(last)):
        # Where a rating further on will go, approximately: its place may still advance until then.
        soon = min(n + np.uint64(_PREFETCH_DISTANCE), np.uint64(last - 1))
        key, b = np.uint32(ratings[soon].key), block[np.uint32(ratings[soon].opposite)]
        prefetch_rating(result, np.uint64(places[b, key]))
        key, b = np.uint32(ratings[n].key), block[np.uint32(ratings[n].opposite)]
        to = np.uint64(places[b, key])
        places[b, key] += 1
        result[to].opposite = ratings[n].opposite
        result[to].target = ratings[n].target
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
        start = ends[row - 1] if row > 0 else 0
        for n in range(np.uint64(start), np.uint64(ends[row])):
            # May lie in the next rows, or beyond the end, where `LOOK_AHEAD` ratings are zeros.
            soon = opposites_at(ratings, _ONE_STREAM, n + np.uint64(LOOK_AHEAD))[0]
            prefetch_rating(result, np.uint64(places[np.uint32(soon)]))
            opposite = np.uint32(ratings[n].opposite)
            to = np.uint64(places[opposite])
            places[opposite] += 1
            result[to].opposite = row
            result[to].target = ratings[n].target
            copy_weight(result, to, ratings, n, 1.0)
