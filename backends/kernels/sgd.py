"""Per-rating stochastic gradient descent with one AdaGrad accumulator per row, over conflict-free blocks of ratings.

The rate of a row is learning_rate / sqrt(its accumulator). Its step is implicit in the penalty, p <- (p + rate e q) /
(1 + rate pull), so that no penalty is too strong for the rate. The accumulator adds up the squares of step over rate,
over a constant (Chin et al. 2015, "A learning-rate schedule for stochastic gradient methods to matrix factorization":
LIBMF's rule, which divides by the rank instead; with the constant, one learning rate serves all ranks).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import kernel
from .simd import add, divide, four, lane, load, load4, multiply, prefetch, splat, square_root, store, total

_AHEAD = 8  # ratings between the request for an item's row and its use


@kernel
def _dots(
    users: NDArray[Any], items: NDArray[Any], parts: tuple[int, ...], u: int, i: int
) -> tuple[float, float, float]:
    """Return p.q, p.p and q.q of two rows: all that the steps of both need to know of their factors.

    With the error e, a factor's step over its rate is (e q - pull p) / (1 + rate pull), and the square of e q - pull p
    summed over the row is e^2 q.q - 2 e pull p.q + pull^2 p.p.
    """
    p, q = load(users, u, 0), load(items, i, 0)
    pq, pp, qq = multiply(p, q), multiply(p, p), multiply(q, q)
    for part in range(1, len(parts)):
        p, q = load(users, u, part), load(items, i, part)
        pq, pp, qq = add(pq, multiply(p, q)), add(pp, multiply(p, p)), add(qq, multiply(q, q))
    return total(pq), total(pp), total(qq)


@kernel
def _step_extras(
    extras: tuple[NDArray[Any], NDArray[Any]],
    u: int,
    i: int,
    target: float,
    dots: tuple[float, float, float],
    rates: tuple[float, float],
    accumulated: float,
    bias_pull: float,
    one: float,
) -> tuple[float, float, float, float, float]:
    """Step the biases and accumulators of both rows of a rating.

    Returns
    -------
    keep_p, from_q, keep_q, from_p
        The factors' steps: p becomes keep_p p + from_q q, and q becomes keep_q q + from_p p.
    squared_error
        Before the steps.
    """
    dot, p_norm, q_norm = dots
    p_extra, q_extra = load4(extras[0], u, 0), load4(extras[1], i, 0)
    p_bias, q_bias, p_pull, q_pull = lane(p_extra, 0), lane(q_extra, 0), lane(p_extra, 3), lane(q_extra, 3)
    error = target - dot - p_bias - q_bias
    squared_error, cross = error * error, (error + error) * dot

    accumulators = four(lane(p_extra, 1), lane(q_extra, 1), lane(p_extra, 2), lane(q_extra, 2))
    # With rate = learning_rate / root: kept = 1 / (1 + rate pull), and a step is rate kept; in a single division.
    roots, row_rates = square_root(accumulators), four(rates[0], rates[0], rates[1], rates[1])
    pulls = four(p_pull, q_pull, bias_pull * p_pull, bias_pull * q_pull)
    inverse = divide(four(one, one, one, one), add(roots, multiply(row_rates, pulls)))
    kept, steps = multiply(roots, inverse), multiply(row_rates, inverse)
    p_keep, q_keep = lane(kept, 0), lane(kept, 1)

    p_step, q_step = error - lane(pulls, 2) * p_bias, error - lane(pulls, 3) * q_bias
    p_bias, q_bias = p_bias + lane(steps, 2) * p_step, q_bias + lane(steps, 3) * q_step
    p_step, q_step = lane(kept, 2) * p_step, lane(kept, 3) * q_step
    p_square = p_keep * p_keep * (squared_error * q_norm - p_pull * (cross - p_pull * p_norm))
    q_square = q_keep * q_keep * (squared_error * p_norm - q_pull * (cross - q_pull * q_norm))
    p_factors, q_factors = lane(p_extra, 1) + accumulated * p_square, lane(q_extra, 1) + accumulated * q_square
    store(extras[0], u, 0, four(p_bias, p_factors, lane(p_extra, 2) + p_step * p_step, p_pull))
    store(extras[1], i, 0, four(q_bias, q_factors, lane(q_extra, 2) + q_step * q_step, q_pull))
    return p_keep, lane(steps, 0) * error, q_keep, lane(steps, 1) * error, squared_error


@kernel
def _step_factors(
    users: NDArray[Any],
    items: NDArray[Any],
    parts: tuple[int, ...],
    u: int,
    i: int,
    steps: tuple[float, float, float, float, float],
) -> None:
    like = load(users, u, 0)
    keep_p, from_q, keep_q, from_p = (
        splat(steps[0], like),
        splat(steps[1], like),
        splat(steps[2], like),
        splat(steps[3], like),
    )
    for part in range(len(parts)):
        p, q = load(users, u, part), load(items, i, part)
        store(users, u, part, add(multiply(keep_p, p), multiply(from_q, q)))
        store(items, i, part, add(multiply(keep_q, q), multiply(from_p, p)))


@kernel
def block_pass(
    first: int,
    last: int,
    rating_users: NDArray[np.int32],
    rating_items: NDArray[np.int32],
    targets: NDArray[Any],
    users: NDArray[Any],
    user_extras: NDArray[Any],
    items: NDArray[Any],
    item_extras: NDArray[Any],
    parts: tuple[int, ...],
    rates: tuple[float, float],
    accumulated: float,
    bias_pull: float,
    one: float,
) -> float:
    """Update by the ratings ``first:last``, one after another; return the sum of squared errors.

    Parameters
    ----------
    users, items
        Tables of factors, made of whole vectors: shapes (n_users, padded rank) and (n_items, padded rank).
    user_extras, item_extras
        The rest of a row: bias, accumulator of the factors, accumulator of the bias, pull of the factors.
    parts
        A tuple as long as a row has vectors: its length is known when the kernel is compiled, its numbers are not used.
    rates
        Learning rates of factors and biases.
    accumulated
        Share of a factor row's squared gradient that its accumulator takes.
    bias_pull
        How many times as much as the factors a bias is pulled.
    one
        1 in the precision of the tables.
    """
    squared_error = 0.0
    extras = (user_extras, item_extras)
    # Unsigned: a signed index costs a look at whether it is negative.
    n, end, step = np.uint64(first), np.uint64(last), np.uint64(1)
    while n < end:
        for ahead in range(2):
            soon = np.int64(rating_items[min(n + np.uint64(_AHEAD + ahead), end - step)])
            for part in range(len(parts)):
                prefetch(items, soon, part)
            prefetch(item_extras, soon, 0)
        u, i = np.int64(rating_users[n]), np.int64(rating_items[n])
        after = min(n + step, end - step)
        v, j = np.int64(rating_users[after]), np.int64(rating_items[after])
        dots = _dots(users, items, parts, u, i)
        if u != v and i != j:
            # Nothing in common, so both at once: each is a chain of operations that wait for each other, and the
            # processor does not look far enough ahead to find the next by itself.
            next_dots = _dots(users, items, parts, v, j)
            steps = _step_extras(extras, u, i, targets[n], dots, rates, accumulated, bias_pull, one)
            next_steps = _step_extras(extras, v, j, targets[after], next_dots, rates, accumulated, bias_pull, one)
            _step_factors(users, items, parts, u, i, steps)
            _step_factors(users, items, parts, v, j, next_steps)
            squared_error += next_steps[4]
            n += step
        else:
            steps = _step_extras(extras, u, i, targets[n], dots, rates, accumulated, bias_pull, one)
            _step_factors(users, items, parts, u, i, steps)
        squared_error += steps[4]
        n += step
    return squared_error
