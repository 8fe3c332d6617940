"""The gradient of the squared error in one fused sweep over ratings grouped by row, and the momentum update.

Each call does one thread's part.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.ratings import others_at, times_weights
from backends.kernels.llvm.rows import add_to_opposite, dots, load_rows, plus_opposite, store_rows, zero_row
from backends.kernels.llvm.tables import load, prefetch, prefetch_to_write, store
from backends.kernels.llvm.vectors import total, zeros_like

from ._jit import kernel

_AHEAD = 8  # ratings between the request for an opposite row and its use
_ONE = (0,)  # rating at a time


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
    parts: tuple[int, ...],
    zero: float,
) -> float:
    """Sum w (rhat - r) times the opposite row over the ratings of the rows ``first:last``; return sum w (rhat - r)^2.

    Parameters
    ----------
    opposite_sums, opposite_bias_sums
        Where the opposite side's sums are added to; of this thread alone, so no atomics are needed and the result is
        one for a given number of threads. With None, a second sweep must be made with the sides swapped.
    ends, ratings
        Ratings grouped by row, and where those of each row end; see `layout`.
    rows, opposites
        Factors of both sides, in tables made of whole vectors.
    row_sums, row_bias_sums
        Receive the sums of the rows, and of the errors alone.
    parts
        As many as a row has vectors; see `layout.vector_parts`.
    zero
        0 in the precision of the tables.
    """
    squared_error = 0.0
    for row in range(first, last):
        # In registers: what is read or added up once per rating need not go through memory.
        mine, sums, errors = load_rows(rows, (row,), parts), zero_row(rows, parts), zero
        for n in range(np.uint64(ends[row - 1] if row > 0 else 0), np.uint64(ends[row])):
            soon, other = others_at(ratings, _ONE, n + np.uint64(_AHEAD)), others_at(ratings, _ONE, n)
            prefetch(opposites, soon, parts)
            dot = total(dots(mine, opposites, other))
            error = dot + row_bias[row] + opposite_bias[np.uint64(other[0])] - ratings[n].target
            weighted = times_weights(error, ratings, _ONE, n)
            errors += weighted
            squared_error += weighted * error
            sums = plus_opposite(sums, weighted, opposites, other)
            if opposite_sums is not None:
                prefetch_to_write(opposite_sums, soon, parts)
                add_to_opposite(opposite_sums, other, weighted, mine)
                opposite_bias_sums[np.uint64(other[0])] += weighted
        store_rows(row_sums, (row,), sums)
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
) -> None:
    """Set v = momentum v + gain (sum + pull x), after = x - step v and norm = |after|^2 for the rows ``first:last``.

    ``sums`` holds one table or several below each other, which are added up.
    """
    n_rows = len(now)
    for row in range(first, last):
        norm = zeros_like(load(now, row, 0))
        for part in range(len(parts)):
            x = load(now, row, part)
            gradient = pull[row] * x
            for place in range(row, len(sums), n_rows):
                gradient = gradient + load(sums, place, part)
            v = gain * gradient
            if momentum != 0:  # the velocity may be anything before the first step, and must not count after a restart
                v = v + momentum * load(velocity, row, part)
            store(velocity, row, part, v)
            x = x - step[row] * v
            store(after, row, part, x)
            norm = norm + x * x
        norms[row] = total(norm)
