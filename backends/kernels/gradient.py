"""The gradient of the squared error in one sweep over the ratings, and the momentum update.

The residual of a rating is used as soon as it is known, so neither residuals nor gathered rows are
ever written to memory. Each call does one thread's share of the rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.ratings import opposites_at, times_weights
from backends.kernels.llvm.rows import (
    add_to_opposite,
    dots,
    load_rows,
    plus_opposite,
    store_rows,
    zero_row,
)
from backends.kernels.llvm.tables import first_rating, load, prefetch, prefetch_to_write, store
from backends.kernels.llvm.traced import traced
from backends.kernels.llvm.vectors import times_or_zero, total, zeros_like

from ._jit import kernel

# How many ratings ahead an opposite row is requested from memory.
_PREFETCH_DISTANCE = 8

# The operations on ratings take one rating per stream, from a tuple of where the streams start.
# Here there is one stream, which starts at 0, so that positions in it are positions in the array.
_ONE_STREAM = (0,)


@kernel
def sweep(
    first: int,
    last: int,
    opposite_sums: NDArray[Any] | None,
    opposite_bias_sums: NDArray[Any],
    ends: NDArray[np.int64],
    ratings: NDArray[Any],
    rows: NDArray[Any],
    opposites: NDArray[Any],
    row_bias: NDArray[Any],
    opposite_bias: NDArray[Any],
    row_sums: NDArray[Any],
    row_bias_sums: NDArray[Any],
    row_vectors: tuple[int, ...],
    zero: float,
) -> float:
    """Sum residual times opposite row over the ratings of each of the rows ``first:last``.

    The residual is prediction minus target, times the weight if ratings are weighted.

    Parameters
    ----------
    opposite_sums, opposite_bias_sums
        Output: the same sums for the opposite side, to which this call adds; shapes (n_opposite,
        padded rank) and (n_opposite,). They belong to this thread alone, so no atomic additions are
        needed, and the result is the same in every run with as many threads. With None the opposite
        side gets no sums here: its gradient takes a second sweep, with the sides exchanged.
    ends
        Where the ratings of each row end, shape (n_rows,).
    ratings
        Grouped by row, shape (n_ratings,); see `layout`.
    rows, opposites
        Factors of the two sides, shapes (n_rows, padded rank) and (n_opposite, padded rank).
    row_bias, opposite_bias
        Shapes (n_rows,) and (n_opposite,).
    row_sums, row_bias_sums
        Output: the sums of residual times opposite row, shape (n_rows, padded rank), and of the
        residuals, shape (n_rows,), of which this call writes the rows ``first:last``.
    row_vectors
        See `layout.vector_parts`.
    zero
        0 in the precision of the tables.

    Returns
    -------
    float
        Sum of the weighted squared errors.
    """
    squared_error = 0.0
    for row in range(first, last):
        # The row and its sums stay in registers for all of the row's ratings.
        row_factors = load_rows(rows, (row,), row_vectors)
        sums, bias_sum = zero_row(rows, row_vectors), zero
        for n in range(first_rating(ends, row), ends[row]):
            sums, bias_sum, squared_error = _add_rating(
                n,
                row_factors,
                row_bias[row],
                sums,
                bias_sum,
                squared_error,
                opposite_sums,
                opposite_bias_sums,
                ratings,
                opposites,
                opposite_bias,
                row_vectors,
            )
        store_rows(row_sums, (row,), sums)
        row_bias_sums[row] = bias_sum
    return squared_error


@traced
def _add_rating(
    n: Any,
    row_factors: Any,
    row_bias: Any,
    sums: Any,
    bias_sum: Any,
    squared_error: Any,
    opposite_sums: Any,
    opposite_bias_sums: Any,
    ratings: Any,
    opposites: Any,
    opposite_bias: Any,
    row_vectors: Any,
) -> Any:
    """Add the n-th rating to the sums of its row, which are returned, and to the opposite sums."""
    # Opposite rows are in no order, so the processor cannot guess which is needed next.
    soon = opposites_at(ratings, _ONE_STREAM, n + _PREFETCH_DISTANCE)
    opposite = opposites_at(ratings, _ONE_STREAM, n)
    prefetch(opposites, soon, row_vectors)
    prediction = total(dots(row_factors, opposites, opposite)) + row_bias
    error = prediction + opposite_bias[opposite[0]] - ratings[n].target
    weighted = times_weights(error, ratings, _ONE_STREAM, n)
    sums = plus_opposite(sums, weighted, opposites, opposite)
    # The kernel is compiled anew for None, and without this branch.
    if opposite_sums is not None:
        prefetch_to_write(opposite_sums, soon, row_vectors)
        add_to_opposite(opposite_sums, opposite, weighted, row_factors)
        opposite_bias_sums[opposite[0]] += weighted
    return sums, bias_sum + weighted, squared_error + weighted * error


@kernel
def descend(
    first: int,
    last: int,
    now: NDArray[Any],
    after: NDArray[Any],
    velocity: NDArray[Any],
    sums: NDArray[Any],
    gradient_weight: float,
    penalty: NDArray[Any],
    momentum: float,
    rates: NDArray[Any],
    norms: NDArray[np.float64],
    row_vectors: tuple[int, ...],
) -> None:
    """Take a momentum step in the factors of the rows ``first:last`` of one side.

    With x a row, v its velocity and g = gradient_weight (sum + penalty x)::

        v <- momentum v + g
        after = x - rate v

    Parameters
    ----------
    now, after, velocity
        Factors before and after the step, and the velocity, which is updated in place: tables of
        shape (n_rows, padded rank).
    sums
        What `sweep` added up: a table like ``now``, or the tables of several threads below each
        other, shape (n_threads * n_rows, padded rank), which are added up here.
    gradient_weight
        Turns the sums into a gradient, 2 / N, times 1 - dampening.
    penalty, rates
        Of each row, shape (n_rows,).
    norms
        Output: squared norms of the rows of ``after``, shape (n_rows,).
    row_vectors
        See `layout.vector_parts`.
    """
    n_rows = len(now)
    for row in range(first, last):
        norm = zeros_like(load(now, row, 0))
        for vector in range(len(row_vectors)):
            gradient = _of_penalty(row, vector, now, penalty)
            for copy in range(row, len(sums), n_rows):
                gradient = gradient + load(sums, copy, vector)
            norm = _moved(
                row, vector, gradient_weight * gradient, now, after, velocity, momentum, rates, norm
            )
        norms[row] = total(norm)


@traced
def _of_penalty(row: Any, vector: Any, now: Any, penalty: Any) -> Any:
    """Return the gradient of the penalty for one vector of a row."""
    return penalty[row] * load(now, row, vector)


@traced
def _moved(
    row: Any,
    vector: Any,
    gradient: Any,
    now: Any,
    after: Any,
    velocity: Any,
    momentum: Any,
    rates: Any,
    norm: Any,
) -> Any:
    """Write one vector of a row's velocity and of the row; return the norm plus its squares."""
    # Not just 0 * v: at the first step, and after a restart, the velocity is undefined.
    v = gradient + times_or_zero(momentum, load(velocity, row, vector))
    store(velocity, row, vector, v)
    x = load(now, row, vector) - rates[row] * v
    store(after, row, vector, x)
    return norm + x * x
