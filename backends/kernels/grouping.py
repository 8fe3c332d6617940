"""Counting sorts of ratings, O(n) and parallel, for the kernels that sweep them row by row.

All offsets are 64-bit: there may be more than 2^31 ratings, though not so many users or items.
"""

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from ._jit import parallel


@parallel
def counted(keys: NDArray[np.int32], n_keys: int, n_parts: int) -> NDArray[np.int64]:
    """Count how often each key occurs, shape (n_keys,); each thread counts one part of the keys."""
    counts = np.zeros((n_parts, n_keys), np.int64)
    for part in prange(n_parts):
        for n in range(len(keys) * part // n_parts, len(keys) * (part + 1) // n_parts):
            counts[part, keys[n]] += 1
    total: NDArray[np.int64] = counts.sum(axis=0)
    return total


@parallel
def grouped(
    keys: NDArray[np.int32],
    n_keys: int,
    others: NDArray[np.int32],
    ratings: NDArray[Any],
    mean: float,
    unit: float,
    grouped_others: NDArray[np.int32],
    targets: NDArray[Any],
    n_parts: int,
) -> NDArray[np.int64]:
    """Group ratings by key, keeping their order within a key.

    ``grouped_others`` and ``targets`` receive the other ids and (rating - mean) / unit. They are the caller's because
    NumPy asks for huge pages, and numba does not: scattered writes then miss the TLB less.

    Returns
    -------
    offsets
        The ratings of key k are at ``[offsets[k], offsets[k + 1])`` of the two.
    """
    n_ratings = len(keys)
    place = np.zeros((n_parts, n_keys), np.int64)
    for part in prange(n_parts):
        for n in range(n_ratings * part // n_parts, n_ratings * (part + 1) // n_parts):
            place[part, keys[n]] += 1
    offsets = np.empty(n_keys + 1, np.int64)
    at = 0
    for k in range(n_keys):
        offsets[k] = at
        for part in range(n_parts):
            count = place[part, k]
            place[part, k] = at
            at += count
    offsets[n_keys] = at
    for part in prange(n_parts):
        mine = place[part]
        for n in range(n_ratings * part // n_parts, n_ratings * (part + 1) // n_parts):
            to = mine[keys[n]]
            mine[keys[n]] = to + 1
            grouped_others[to] = others[n]
            targets[to] = (np.float64(ratings[n]) - mean) / unit
    return offsets


@parallel
def block_offsets(
    user_bounds: NDArray[np.int64], offsets: NDArray[np.int64], items: NDArray[np.int32], item_block: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return where each block (a, b) of ratings starts, in that order, and a last entry: shape (n_blocks^2 + 1,)."""
    n_blocks = len(user_bounds) - 1
    sizes = np.zeros((n_blocks, n_blocks), np.int64)
    for a in prange(n_blocks):
        mine = np.zeros(n_blocks, np.int64)  # apart from the other threads' counts, which lie in the same cache line
        for n in range(offsets[user_bounds[a]], offsets[user_bounds[a + 1]]):
            mine[item_block[items[n]]] += 1
        sizes[a] = mine
    starts = np.zeros(n_blocks * n_blocks + 1, np.int64)
    starts[1:] = np.cumsum(sizes)
    return starts


@parallel
def blocked(
    user_bounds: NDArray[np.int64],
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    targets: NDArray[Any],
    item_block: NDArray[np.int32],
    starts: NDArray[np.int64],
    block_users: NDArray[np.int32],
    block_items: NDArray[np.int32],
    block_targets: NDArray[Any],
) -> None:
    """Sort ratings that are grouped by user into blocks, and within a block take two users in turn.

    The last three arrays receive the result.

    Each step of SGD waits for the one before on the same user; with two users in turn the next can start meanwhile.
    The first half of a block goes to its even places, the second half to its odd ones.
    """
    n_blocks = len(user_bounds) - 1
    for a in prange(n_blocks):
        first = starts[a * n_blocks : (a + 1) * n_blocks]
        half = (starts[a * n_blocks + 1 : (a + 1) * n_blocks + 1] - first) // 2
        done = np.zeros(n_blocks, np.int64)
        for u in range(user_bounds[a], user_bounds[a + 1]):
            for n in range(offsets[u], offsets[u + 1]):
                b = item_block[items[n]]
                k = done[b]
                done[b] = k + 1
                if k < half[b]:
                    at = first[b] + 2 * k
                elif k < 2 * half[b]:
                    at = first[b] + 2 * (k - half[b]) + 1
                else:
                    at = first[b] + k
                block_users[at] = u
                block_items[at] = items[n]
                block_targets[at] = targets[n]


def balanced_bounds(counts: NDArray[np.int64], n_parts: int) -> NDArray[np.int64]:
    """Cut ``range(len(counts))`` into ``n_parts`` runs with about the same sum of counts; shape (n_parts + 1,)."""
    before = np.concatenate(([0], np.cumsum(counts)))
    cuts = np.searchsorted(before, before[-1] * np.arange(1, n_parts) / n_parts)
    return np.concatenate(([0], cuts, [len(counts)])).astype(np.int64)
