"""Counting sorts of ratings, O(n), for the kernels that sweep them row by row.

A sort by so many rows writes to more places at a time than the caches hold. So ratings go first to the bucket of their
row, a run of rows with its share of the ratings, and then, bucket by bucket, to their places.

Each call does one thread's part, but for those of `first_places` and `first_places_of_blocks`. All offsets are 64-bit:
there may be more than 2^31 ratings, though not so many users or items.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.ratings import copy_weight, others_at, prefetch_rating

from ._jit import kernel
from .layout import LOOK_AHEAD

_NEXT = 16  # ratings behind the last one of a bucket: a place to be asked for
_AHEAD = 32  # ratings between the request for a place and its use
_ONE = (0,)  # rating at a time


@kernel
def count(keys: NDArray[np.int32], first: int, last: int, counts: NDArray[np.int64]) -> None:
    """Count in ``counts`` how often each key occurs in ``keys[first:last]``."""
    for n in range(np.uint64(first), np.uint64(last)):
        counts[np.uint32(keys[n])] += 1


@kernel
def first_places(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn counts per (part, key) into the place of the part's first rating of the key; return the keys' offsets.

    Places run over the keys, and within a key over the parts. Offsets have shape (n_keys + 1,).
    """
    n_parts, n_keys = counts.shape
    offsets = np.empty(n_keys + 1, np.int64)
    place = 0
    for key in range(n_keys):
        offsets[key] = place
        for part in range(n_parts):
            n = counts[part, key]
            counts[part, key] = place
            place += n
    offsets[n_keys] = place
    return offsets


@kernel
def scatter(
    first: int,
    last: int,
    keys: NDArray[np.int32],
    others: NDArray[np.int32],
    ratings: NDArray[Any],
    weights: NDArray[Any],
    bucket: NDArray[np.uint16],
    places: NDArray[np.int64],
    mean: float,
    per_unit: float,
    per_weight: float,
    result: NDArray[Any],
) -> None:
    """Put the ratings ``first:last`` at the next places of their keys' buckets.

    Targets are (rating - mean) ``per_unit``. ``weights`` has one number per rating where ``result`` has weights, which
    are then weight ``per_weight``; otherwise it is not looked at. Factors, since LLVM may turn a division into one for
    some of the ratings, and which these are would depend on where a thread's share begins.
    """
    for n in range(np.uint64(first), np.uint64(last)):
        key = np.uint32(keys[n])
        to = np.uint64(places[bucket[key]])
        places[bucket[key]] += 1
        prefetch_rating(result, to + np.uint64(_NEXT))
        result[to].key = key
        result[to].other = others[n]
        result[to].target = (np.float64(ratings[n]) - mean) * per_unit
        copy_weight(result, to, weights, n, per_weight)


@kernel
def count_pairs(
    first: int, last: int, ratings: NDArray[Any], block: NDArray[np.uint16], counts: NDArray[np.int64]
) -> None:
    """Count in ``counts``, shape (n_blocks, n_keys), the ratings ``first:last`` by their key and the other's block."""
    for n in range(np.uint64(first), np.uint64(last)):
        counts[block[np.uint32(ratings[n].other)], np.uint32(ratings[n].key)] += 1


@kernel
def first_places_of_blocks(counts: NDArray[np.int64], key_bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Turn counts per (block, key) into first places; return where blocks start, shape (n_key_blocks, n_blocks + 1).

    Places run over the blocks of keys, within these over the blocks, and within these over the keys. The last column
    is where the last block ends.
    """
    n_blocks = len(counts)
    starts = np.empty((len(key_bounds) - 1, n_blocks + 1), np.int64)
    place = 0
    for mine in range(len(starts)):
        for b in range(n_blocks):
            starts[mine, b] = place
            for key in range(key_bounds[mine], key_bounds[mine + 1]):
                n = counts[b, key]
                counts[b, key] = place
                place += n
        starts[mine, n_blocks] = place
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
    """Put the ratings ``first:last`` at the next ``places``, shape (n_blocks, n_keys), of their key and block."""
    for n in range(np.uint64(first), np.uint64(last)):
        soon = min(n + np.uint64(_AHEAD), np.uint64(last - 1))
        key, b = np.uint32(ratings[soon].key), block[np.uint32(ratings[soon].other)]
        prefetch_rating(result, np.uint64(places[b, key]))
        key, b = np.uint32(ratings[n].key), block[np.uint32(ratings[n].other)]
        to = np.uint64(places[b, key])
        places[b, key] += 1
        result[to].other = ratings[n].other
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
    """Put the ratings of the rows ``first:last`` at the next ``places`` of their opposite rows.

    ``ends`` is where the ratings of each row end.
    """
    for row in range(first, last):
        for n in range(np.uint64(ends[row - 1] if row > 0 else 0), np.uint64(ends[row])):
            soon = others_at(ratings, _ONE, n + np.uint64(LOOK_AHEAD))[0]
            prefetch_rating(result, np.uint64(places[np.uint32(soon)]))
            other = np.uint32(ratings[n].other)
            to = np.uint64(places[other])
            places[other] += 1
            result[to].other = row
            result[to].target = ratings[n].target
            copy_weight(result, to, ratings, n, 1.0)
