"""Counting sorts of ratings, O(n), for the kernels that sweep them row by row.

Each call does one thread's part, but for that of `first_places`. All offsets are 64-bit: there may be more than 2^31
ratings, though not so many users or items.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel


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
def place(
    keys: NDArray[np.int32],
    others: NDArray[np.int32],
    ratings: NDArray[Any],
    first: int,
    last: int,
    places: NDArray[np.int64],
    mean: float,
    unit: float,
    grouped_others: NDArray[np.int32],
    targets: NDArray[Any],
) -> None:
    """Put the ratings ``first:last`` at their keys' next places: the other id, and (rating - mean) / unit."""
    for n in range(np.uint64(first), np.uint64(last)):
        key = np.uint32(keys[n])
        to = np.uint64(places[key])
        places[key] += 1
        grouped_others[to] = others[n]
        targets[to] = (np.float64(ratings[n]) - mean) / unit


@kernel
def block_sizes(
    first_user: int,
    last_user: int,
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    item_block: NDArray[np.int32],
    sizes: NDArray[np.int64],
) -> None:
    """Add to ``sizes`` how many ratings of some users fall into each block of items, shape (n_blocks,)."""
    for n in range(np.uint64(offsets[first_user]), np.uint64(offsets[last_user])):
        sizes[item_block[np.uint32(items[n])]] += 1


@kernel
def block(
    first_user: int,
    last_user: int,
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    targets: NDArray[Any],
    item_block: NDArray[np.int32],
    starts: NDArray[np.int64],
    n_turns: int,
    places: NDArray[np.int64],
    block_users: NDArray[np.int32],
    block_items: NDArray[np.int32],
    block_targets: NDArray[Any],
) -> None:
    """Sort ratings that are grouped by user into blocks, and within a block take some users in turn.

    Each step of SGD waits for the one before on the same user; with several users in turn the next ones need not. A
    block is cut into ``n_turns`` runs of equal size, and what is left over: first comes the first rating of each run,
    then the second of each, and so on.

    Parameters
    ----------
    starts
        Where the blocks of the thread's users start, and where the last ends: shape (n_blocks + 1,).
    places
        What `block_places` returns for the thread; kept up to date.
    block_users, block_items, block_targets
        Receive the ratings.
    """
    for u in range(first_user, last_user):
        for n in range(np.uint64(offsets[u]), np.uint64(offsets[u + 1])):
            item = items[n]
            b = np.uint32(item_block[np.uint32(item)])
            to = np.uint64(places[b, 0])
            places[b, 0] += places[b, 1]
            places[b, 2] -= 1
            if places[b, 2] == 0:
                run = (starts[b + 1] - starts[b]) // n_turns
                places[b, 3] += 1
                if places[b, 3] < n_turns:
                    places[b, 0], places[b, 2] = starts[b] + places[b, 3], run
                else:
                    places[b, 0], places[b, 1] = starts[b] + n_turns * run, 1
            block_users[to] = u
            block_items[to] = item
            block_targets[to] = targets[n]


def block_places(starts: NDArray[np.int64], n_turns: int) -> NDArray[np.int64]:
    """Return what `block` starts with, shape (n_user_blocks, n_item_blocks, 4).

    The four are: where the block's next rating goes, how far behind it the one after that goes, how many are left of
    this run, and which run it is.
    """
    n_users, n_items = len(starts), starts.shape[1] - 1
    run = np.diff(starts) // n_turns
    # Two rows more than needed keep threads, each with its block of users, out of each other's cache lines.
    places = np.zeros((n_users, n_items + 2, 4), np.int64)[:, :n_items]
    places[..., 0], places[..., 1] = starts[:, :-1], np.where(run > 0, n_turns, 1)
    places[..., 2] = np.where(run > 0, run, -1)  # -1: none is a run's last
    return places


def balanced_bounds(counts: NDArray[np.int64], n_parts: int) -> NDArray[np.int64]:
    """Cut ``range(len(counts))`` into ``n_parts`` runs with about the same sum of counts; shape (n_parts + 1,)."""
    before = np.concatenate(([0], np.cumsum(counts)))
    cuts = np.searchsorted(before, before[-1] * np.arange(1, n_parts) / n_parts)
    return np.concatenate(([0], cuts, [len(counts)])).astype(np.int64)
