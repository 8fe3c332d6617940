"""Per-rating stochastic gradient descent with one AdaGrad accumulator per row, over conflict-free blocks of ratings.

The step of a row is learning_rate / sqrt(its accumulator), and the accumulator adds up the mean squared gradient of
the row (Chin et al. 2015, "A learning-rate schedule for stochastic gradient methods to matrix factorization": LIBMF's
rule).
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from ._jit import parallel, serial


@serial
def blocked(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    targets: NDArray[Any],
    user_bounds: NDArray[np.int64],
    item_block: NDArray[np.int32],
    n_item_blocks: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """Sort ratings by (user block, item block, user), keeping their order within a user.

    Returns
    -------
    offsets, items, targets
        ``offsets`` has one entry per (user block, item block, user) in that order, and a last one:
        block (a, b) of the user block ``lo:hi`` starts at entry ``lo * n_item_blocks + b * (hi - lo)``.
    """
    n_users = user_bounds[-1]
    base = np.empty(n_users, np.int64)  # entry of (user, item block 0)
    width = np.empty(n_users, np.int64)  # entries from one item block to the next
    for a in range(len(user_bounds) - 1):
        lo, hi = user_bounds[a], user_bounds[a + 1]
        for u in range(lo, hi):
            base[u] = lo * n_item_blocks + (u - lo)
            width[u] = hi - lo
    offsets = np.zeros(n_users * n_item_blocks + 1, np.int64)
    for n in range(len(users)):
        u = users[n]
        offsets[base[u] + item_block[items[n]] * width[u] + 1] += 1
    for k in range(len(offsets) - 1):
        offsets[k + 1] += offsets[k]
    place = offsets[:-1].copy()
    sorted_items, sorted_targets = np.empty_like(items), np.empty_like(targets)
    for n in range(len(users)):
        u = users[n]
        entry = base[u] + item_block[items[n]] * width[u]
        at = place[entry]
        place[entry] = at + 1
        sorted_items[at] = items[n]
        sorted_targets[at] = targets[n]
    return offsets, sorted_items, sorted_targets


@parallel
def blocks_pass(
    user_bounds: NDArray[np.int64],
    item_block: NDArray[np.int64],
    share: NDArray[np.float64],
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    targets: NDArray[Any],
    user_table: NDArray[Any],
    item_table: NDArray[Any],
    user_pull: NDArray[Any],
    item_pull: NDArray[Any],
    learning_rate: float,
    bias_pull: float,
    bias: bool,
) -> float:
    """Update by one part of the ratings of each block (a, item_block[a]); return the sum of squared errors.

    No two of these blocks share a user or an item, so they run in parallel without locks and with one result. ``share``
    gives the part, as fractions of each block's users. A table row is: factors, bias, and the accumulators of both. The
    pulls are those of the factors; a bias is pulled ``bias_pull`` times as much.
    """
    n_blocks, rank = len(user_bounds) - 1, user_table.shape[1] - 3
    zero = learning_rate * 0
    one = zero + 1
    per_factor = one / rank
    squared_error = np.zeros(n_blocks)
    for a in prange(n_blocks):
        lo, n_rows = user_bounds[a], user_bounds[a + 1] - user_bounds[a]
        first = lo * n_blocks + item_block[a] * n_rows
        total = 0.0
        for row in range(int(n_rows * share[0]), int(n_rows * share[1])):
            p, p_pull = user_table[lo + row], user_pull[lo + row]
            for n in range(offsets[first + row], offsets[first + row + 1]):
                i = items[n]
                q, q_pull = item_table[i], item_pull[i]
                dot = zero
                for k in range(rank):
                    dot += p[k] * q[k]
                error = targets[n] - dot - p[rank] - q[rank]
                p_rate = learning_rate / sqrt(p[rank + 1])
                q_rate = learning_rate / sqrt(q[rank + 1])
                p_square, q_square = zero, zero
                for k in range(rank):
                    p_k, q_k = p[k], q[k]
                    p_step, q_step = error * q_k - p_pull * p_k, error * p_k - q_pull * q_k
                    p_square += p_step * p_step
                    q_square += q_step * q_step
                    p[k] = p_k + p_rate * p_step
                    q[k] = q_k + q_rate * q_step
                p[rank + 1] += p_square * per_factor
                q[rank + 1] += q_square * per_factor
                if bias:
                    p_step = error - bias_pull * p_pull * p[rank]
                    q_step = error - bias_pull * q_pull * q[rank]
                    p[rank] += learning_rate / sqrt(p[rank + 2]) * p_step
                    q[rank] += learning_rate / sqrt(q[rank + 2]) * q_step
                    p[rank + 2] += p_step * p_step
                    q[rank + 2] += q_step * q_step
                total += error * error
        squared_error[a] = total
    return float(squared_error.sum())
