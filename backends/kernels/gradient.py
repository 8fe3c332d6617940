"""The gradient of the squared error in one fused sweep over ratings grouped by row, and the momentum update.

Each call does one thread's part.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .simd import add, load, multiply, prefetch, splat, store, subtract, total

_AHEAD = 8  # ratings between the request for an opposite row and its use


@kernel
def sweep(
    first: int,
    last: int,
    opposite_sums: NDArray[Any] | None,
    opposite_bias_sums: NDArray[Any],
    offsets: NDArray[np.int64],
    others: NDArray[np.int32],
    targets: NDArray[Any],
    rows: NDArray[Any],
    opposites: NDArray[Any],
    row_bias: NDArray[Any],
    opposite_bias: NDArray[Any],
    row_sums: NDArray[Any],
    row_bias_sums: NDArray[Any],
    parts: tuple[int, ...],
    zero: float,
) -> float:
    """Sum (rhat - r) times the opposite row over the ratings of the rows ``first:last``; return the squared error.

    Parameters
    ----------
    opposite_sums, opposite_bias_sums
        Where the opposite side's sums are added to; of this thread alone, so no atomics are needed and the result is
        one for a given number of threads. With None, a second sweep must be made with the sides swapped.
    offsets, others, targets
        Ratings grouped by row.
    rows, opposites
        Factors of both sides, in tables made of whole vectors.
    row_sums, row_bias_sums
        Receive the sums of the rows, and of the errors alone.
    parts
        As many as a row has vectors; see `sgd.block_pass`.
    zero
        0 in the precision of the tables.
    """
    squared_error = 0.0
    final = np.uint64(max(offsets[last] - 1, 0))
    for row in range(first, last):
        nothing = splat(zero, load(rows, row, 0))
        for part in range(len(parts)):
            store(row_sums, row, part, nothing)
        errors = zero
        for n in range(np.uint64(offsets[row]), np.uint64(offsets[row + 1])):
            soon, other = np.int64(others[min(n + np.uint64(_AHEAD), final)]), np.int64(others[n])
            dot = nothing
            for part in range(len(parts)):
                prefetch(opposites, soon, part)
                dot = add(dot, multiply(load(rows, row, part), load(opposites, other, part)))
            error = total(dot) + row_bias[row] + opposite_bias[np.uint64(other)] - targets[n]
            errors += error
            squared_error += error * error
            factor = splat(error, dot)
            for part in range(len(parts)):
                own = add(load(row_sums, row, part), multiply(factor, load(opposites, other, part)))
                store(row_sums, row, part, own)
            if opposite_sums is not None:
                for part in range(len(parts)):
                    prefetch(opposite_sums, soon, part)
                    theirs = add(load(opposite_sums, other, part), multiply(factor, load(rows, row, part)))
                    store(opposite_sums, other, part, theirs)
                opposite_bias_sums[np.uint64(other)] += error
        row_bias_sums[row] = errors
    return squared_error


@kernel
def descend(
    first: int,
    last: int,
    now: NDArray[Any],
    after: NDArray[Any],
    velocity: NDArray[Any],
    sums: NDArray[Any],
    gain: float,
    pull: NDArray[Any],
    momentum: float,
    step: NDArray[Any],
    norms: NDArray[np.float64],
    parts: tuple[int, ...],
    zero: float,
) -> None:
    """Set v = momentum v + gain (sum + pull x), after = x - step v and norm = |after|^2 for the rows ``first:last``.

    ``sums`` holds one table or several below each other, which are added up.
    """
    n_rows = len(now)
    for row in range(first, last):
        norm = splat(zero, load(now, row, 0))
        for part in range(len(parts)):
            x = load(now, row, part)
            gradient = multiply(splat(pull[row], x), x)
            for place in range(row, len(sums), n_rows):
                gradient = add(gradient, load(sums, place, part))
            v = multiply(splat(gain, x), gradient)
            if momentum != 0:  # the velocity may be anything before the first step, and must not count after a restart
                v = add(v, multiply(splat(momentum, x), load(velocity, row, part)))
            store(velocity, row, part, v)
            x = subtract(x, multiply(splat(step[row], x), v))
            store(after, row, part, x)
            norm = add(norm, multiply(x, x))
        norms[row] = total(norm)
