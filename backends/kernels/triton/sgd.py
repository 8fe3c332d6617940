"""Per-rating SGD without locks, many ratings at a time (Hogwild; Niu, Recht, Re, Wright 2011).

The step is `backends.kernels.sgd.plain_step`: row-wise AdaGrad.
"""

import triton
import triton.language as tl

# Rows are read from the cache that all multiprocessors share: their own would not see what others
# have written since.
SHARED = tl.constexpr(".cg")


# A variant for each remainder of these numbers would be compiled in the first fit of a new size.
@triton.jit(do_not_specialize=["n", "per_program"])
def sgd(
    factors: tl.tensor,
    columns: tl.tensor,
    shares: tl.tensor,
    users: tl.tensor,
    items: tl.tensor,
    targets: tl.tensor,
    weights: tl.tensor,
    squared_errors: tl.tensor,
    rule: tl.tensor,
    n: tl.tensor,
    per_program: tl.tensor,
    RANK: tl.constexpr,
    PADDED: tl.constexpr,
    WEIGHTED: tl.constexpr,
) -> None:
    """Take a step for each rating, ``per_program`` ratings per program, in the given order.

    Programs run at the same time and overwrite each other's rows, so a step may be lost.

    Parameters
    ----------
    factors
        Of all rows, to train, row-major, shape (n_rows, RANK), in any precision. What is computed
        is in that of ``columns``.
    columns
        Bias, accumulator and bias accumulator of each row, and a number that is not used, shape
        (n_rows, 4).
    shares
        What a rating of weight 1 bears of its row's penalties, shape (n_rows, 2).
    users, items
        Rows of each rating; those of items are counted behind the users; shape (n,).
    targets, weights
        Shape (n,). Weights are not read unless WEIGHTED.
    squared_errors
        Output: the weighted sum of the squared errors of a program's ratings, each before its step,
        shape (number of programs,).
    rule
        The first four numbers of the rule of `backends.kernels.sgd.plain_step`, shape (4,), in the
        precision of ``columns``. An argument that is a number would be rounded to float32.
    n, per_program
        Number of ratings, and of those of a program.
    RANK, PADDED
        Number of factors, and the power of two that it fits into.
    """
    rate = tl.load(rule)
    bias_rate = tl.load(rule + 1)
    accumulated_share = tl.load(rule + 2)
    max_error = tl.load(rule + 3)
    start = tl.program_id(0).to(tl.int64) * per_program
    k = tl.arange(0, PADDED)
    inside = k < RANK
    squares = tl.load(columns, cache_modifier=SHARED) * 0.0
    for at in range(start, tl.minimum(start + per_program, n)):
        u = tl.load(users + at).to(tl.int64)
        i = tl.load(items + at).to(tl.int64)
        p_cells = factors + u * RANK + k
        q_cells = factors + i * RANK + k
        p = tl.load(p_cells, mask=inside, other=0.0, cache_modifier=SHARED).to(squares.dtype)
        q = tl.load(q_cells, mask=inside, other=0.0, cache_modifier=SHARED).to(squares.dtype)
        b = tl.load(columns + 4 * u, cache_modifier=SHARED)
        c = tl.load(columns + 4 * i, cache_modifier=SHARED)
        u_sum = tl.load(columns + 4 * u + 1, cache_modifier=SHARED)
        i_sum = tl.load(columns + 4 * i + 1, cache_modifier=SHARED)
        u_bias_sum = tl.load(columns + 4 * u + 2, cache_modifier=SHARED)
        i_bias_sum = tl.load(columns + 4 * i + 2, cache_modifier=SHARED)
        pp = tl.sum(p * p)
        qq = tl.sum(q * q)
        error = tl.load(targets + at) - tl.sum(p * q) - (b + c)
        u_rate = rate / tl.sqrt(u_sum)
        i_rate = rate / tl.sqrt(i_sum)
        u_bias_rate = bias_rate / tl.sqrt(u_bias_sum)
        i_bias_rate = bias_rate / tl.sqrt(i_bias_sum)
        importance = 1.0
        if WEIGHTED:
            weight = tl.load(weights + at)
            squares += weight * error * error
            effect = u_rate * qq + i_rate * pp + u_bias_rate + i_bias_rate
            importance = weight / (1 + tl.maximum(weight - 1, 0.0) * effect)
        else:
            squares += error * error
        # Comparisons with NaN are false, so that one stays.
        error = tl.where(error > max_error, max_error, error)
        error = tl.where(error < -max_error, -max_error, error) * importance
        new_p = (p + u_rate * error * q) / (1 + u_rate * importance * tl.load(shares + 2 * u))
        new_q = (q + i_rate * error * p) / (1 + i_rate * importance * tl.load(shares + 2 * i))
        u_bias_share = importance * tl.load(shares + 2 * u + 1)
        i_bias_share = importance * tl.load(shares + 2 * i + 1)
        tl.store(p_cells, new_p.to(factors.dtype.element_ty), mask=inside)
        tl.store(q_cells, new_q.to(factors.dtype.element_ty), mask=inside)
        tl.store(columns + 4 * u, (b + u_bias_rate * error) / (1 + u_bias_rate * u_bias_share))
        tl.store(columns + 4 * i, (c + i_bias_rate * error) / (1 + i_bias_rate * i_bias_share))
        square = error * error
        tl.store(columns + 4 * u + 1, u_sum + accumulated_share * square * qq)
        tl.store(columns + 4 * i + 1, i_sum + accumulated_share * square * pp)
        tl.store(columns + 4 * u + 2, u_bias_sum + square)
        tl.store(columns + 4 * i + 2, i_bias_sum + square)
    tl.store(squared_errors + tl.program_id(0), squares)
