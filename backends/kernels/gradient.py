"""The gradient of the squared error in one fused sweep over ratings grouped by row, and the momentum update."""

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from ._jit import parallel
from .simd import add, load, multiply, prefetch, splat, store, subtract, total

_AHEAD = 8  # ratings between the request for an opposite row and its use


@parallel
def sweep(
    bounds: NDArray[np.int64],
    offsets: NDArray[np.int64],
    others: NDArray[np.int32],
    targets: NDArray[Any],
    rows: NDArray[Any],
    opposites: NDArray[Any],
    row_bias: NDArray[Any],
    opposite_bias: NDArray[Any],
    row_sums: NDArray[Any],
    row_bias_sums: NDArray[Any],
    opposite_sums: NDArray[Any] | None,
    opposite_bias_sums: NDArray[Any],
    parts: tuple[int, ...],
    zero: float,
) -> float:
    """Sum (rhat - r) times the opposite row over the ratings of each row; return the squared error.

    Parameters
    ----------
    bounds
        One run of rows per thread, shape (n_threads, 2).
    offsets, others, targets
        Ratings grouped by row; see `grouping.grouped`.
    rows, opposites
        Factors of both sides, in tables made of whole vectors.
    row_sums, row_bias_sums
        Receive the sums of the rows in ``bounds``, and of the errors alone.
    opposite_sums, opposite_bias_sums
        Where the opposite side's sums are added to: for each thread a table of its own, one below the other, for the
        caller to clear and to add up. No atomics, one result for a given number of threads. With None, a second sweep
        must be made with the sides swapped.
    parts
        As many as a row has vectors; see `sgd.blocks_pass`.
    zero
        0 in the precision of the tables.
    """
    n_threads, n_opposites = len(bounds), len(opposites)
    squared_error = np.zeros(n_threads)
    for thread in prange(n_threads):
        mine = thread * n_opposites
        last = offsets[bounds[thread, 1]] - 1
        sum_of_squares = 0.0
        for row in range(bounds[thread, 0], bounds[thread, 1]):
            nothing = splat(zero, load(rows, row, 0))
            for part in range(len(parts)):
                store(row_sums, row, part, nothing)
            errors = zero
            for n in range(np.uint64(offsets[row]), np.uint64(offsets[row + 1])):
                soon = np.int64(others[min(n + np.uint64(_AHEAD), np.uint64(last))])
                other = np.int64(others[n])
                dot = nothing
                for part in range(len(parts)):
                    prefetch(opposites, soon, part)
                    dot = add(dot, multiply(load(rows, row, part), load(opposites, other, part)))
                error = total(dot) + row_bias[row] + opposite_bias[other] - targets[n]
                errors += error
                sum_of_squares += error * error
                factor = splat(error, dot)
                for part in range(len(parts)):
                    own = add(load(row_sums, row, part), multiply(factor, load(opposites, other, part)))
                    store(row_sums, row, part, own)
                if opposite_sums is not None:
                    for part in range(len(parts)):
                        prefetch(opposite_sums, mine + soon, part)
                        theirs = add(load(opposite_sums, mine + other, part), multiply(factor, load(rows, row, part)))
                        store(opposite_sums, mine + other, part, theirs)
                    opposite_bias_sums[mine + other] += error
            row_bias_sums[row] = errors
        squared_error[thread] = sum_of_squares
    return float(squared_error.sum())


@parallel
def descend(
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
    """Set v = momentum v + gain (sum + pull x) and after = x - step v for each row; ``norms`` receives |after|^2.

    ``sums`` holds one table or several below each other, which are added up.
    """
    n_rows = len(now)
    for row in prange(n_rows):
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


@parallel
def descend_bias(
    now: NDArray[Any],
    after: NDArray[Any],
    velocity: NDArray[Any],
    sums: NDArray[Any],
    gain: float,
    pull: NDArray[Any],
    momentum: float,
    step: NDArray[Any],
) -> None:
    """Do as `descend` does for biases, one number a row."""
    n_rows = len(now)
    for row in prange(n_rows):
        gradient = pull[row] * now[row]
        for place in range(row, len(sums), n_rows):
            gradient += sums[place]
        v = gain * gradient
        if momentum != 0:
            v += momentum * velocity[row]
        velocity[row] = v
        after[row] = now[row] - step[row] * v
