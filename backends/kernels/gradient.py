"""The gradient of the squared error in one fused sweep over ratings grouped by user, and the momentum update."""

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from ._jit import parallel


@parallel
def sweep(
    bounds: NDArray[np.int64],
    offsets: NDArray[np.int64],
    items: NDArray[np.int32],
    targets: NDArray[Any],
    user_factors: NDArray[Any],
    item_factors: NDArray[Any],
    user_bias: NDArray[Any],
    item_bias: NDArray[Any],
    user_sums: NDArray[Any],
    item_sums: NDArray[Any],
) -> float:
    """Sum (rhat - r) times the opposite row, whose last column is 1, over the ratings; return the squared error.

    ``bounds`` cuts the users into one run per thread. ``user_sums`` has shape (n_users, rank + 1); ``item_sums`` has
    shape (threads, n_items, rank + 1), private to each thread, for the caller to add up: no atomics, one result for a
    given number of threads.
    """
    n_parts, rank = len(bounds) - 1, user_factors.shape[1]
    squared_error = np.zeros(n_parts)
    for part in prange(n_parts):
        mine = item_sums[part]
        mine[:] = 0
        total = 0.0
        for u in range(bounds[part], bounds[part + 1]):
            p, p_sum = user_factors[u], user_sums[u]
            p_sum[:] = 0
            for n in range(offsets[u], offsets[u + 1]):
                q, q_sum = item_factors[items[n]], mine[items[n]]
                error = user_bias[u] + item_bias[items[n]] - targets[n]
                for k in range(rank):
                    error += p[k] * q[k]
                for k in range(rank):
                    p_sum[k] += error * q[k]
                    q_sum[k] += error * p[k]
                p_sum[rank] += error
                q_sum[rank] += error
                total += error * error
        squared_error[part] = total
    return float(squared_error.sum())


@parallel
def descend(
    now: NDArray[Any],
    after: NDArray[Any],
    velocity: NDArray[Any],
    sums: NDArray[Any],
    column: int,
    gain: float,
    pull: NDArray[Any],
    momentum: float,
    step: NDArray[Any],
) -> None:
    """Set v = momentum v + gain (sum + pull x) and after = now - step v, for each row of a table.

    ``sums`` has shape (parts, n_rows, rank + 1): the parts are added up, columns from ``column`` on are used.
    """
    for row in prange(now.shape[0]):
        for k in range(now.shape[1]):
            total = pull[row] * now[row, k]
            for part in range(sums.shape[0]):
                total += sums[part, row, column + k]
            v = gain * total
            if momentum != 0:
                v += momentum * velocity[row, k]
            velocity[row, k] = v
            after[row, k] = now[row, k] - step[row] * v
