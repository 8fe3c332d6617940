"""Per-rating stochastic gradient descent with one AdaGrad accumulator per row, over conflict-free blocks of ratings.

The rate of a row is learning_rate / sqrt(its accumulator). Its step is implicit in the penalty, p <- (p + rate e q) /
(1 + rate pull), so that no penalty is too strong for the rate. The accumulator adds up the squares of step over rate,
over a constant (Chin et al. 2015, "A learning-rate schedule for stochastic gradient methods to matrix factorization":
LIBMF's rule, which divides by the rank instead; with the constant, one learning rate serves all ranks).

A step on a row waits for the one before it, and most of a step is arithmetic on single numbers. So ratings are taken in
groups that share no user and no item: their steps are one vector. The ratings of a block, which go user by user, are
cut into runs of one length, and a group is one rating of each run, so that users' rows stay in registers for as long as
the users stay the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, part
from .columns import load_columns, numbers_of, split, store_columns
from .ratings import others_at, targets_at
from .rows import dots, load_rows, mixed, store_rows, with_norms
from .simd import align_stack, exchanged, joined, square_root, total, zeros_like
from .tables import all_distinct, first_of, prefetch_to_write

Side = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Rule = tuple[float, float, float, float, float]

_AHEAD = 4  # ratings of a run between the request for an item's row and its use
_REGISTERS = 16  # vectors of users' rows at a time: half of what AVX-512 has


def group_size(parts: tuple[int, ...]) -> int:
    """Return how many users to take at a time, 4 or 2: more would not fit the registers."""
    return 4 if 4 * len(parts) <= _REGISTERS else 2


@inlined
def _step(p: Any, columns: Any, pull: Any, items: Side, rows: tuple[int, ...], targets: Any, rule: Rule) -> Any:
    """Update by a group of ratings that share no row; return the users' rows and columns, and the squared errors.

    All that the steps need to know of the factors are p.q, p.p and q.q. With the error e, the step of p over its rate
    is d = (e q - pull p) / (1 + rate pull): d.d follows, and so does the new p.p. The norms are carried along.
    """
    factors, item_columns, item_pulls = items
    rate, bias_rate, accumulated, bias_pull, one = rule
    dot, theirs = dots(p, factors, rows), load_columns(item_columns, rows)
    error = targets - dot - (columns[0] + theirs[0])
    squared_error = error * error
    # From here on, users are the first half of a vector, and items the second.
    error, dot = joined(error, error), joined(dot, dot)
    bias, accumulator = joined(columns[0], theirs[0]), joined(columns[1], theirs[1])
    bias_accumulator, norm = joined(columns[2], theirs[2]), joined(columns[3], theirs[3])
    pull = joined(pull, numbers_of(item_pulls, rows))

    # The rate is that of the rule over the root. p becomes kept p + taken q, which is p + rate (forth q - back p).
    root = square_root(accumulator)
    inverse = one / (root + rate * pull)
    kept, forth, back = root * inverse, inverse * error, inverse * pull
    taken, opposite = rate * forth, exchanged(norm)
    p = mixed(p, factors, rows, kept, taken)
    square = forth * (forth * opposite - back * dot) - back * (forth * dot - back * norm)
    accumulator = accumulator + accumulated * (accumulator * square)
    # Not norm + rate (2 p.d + rate d.d): where little of p is left, nothing but rounding would be.
    cross = taken * dot
    norm = kept * (kept * norm + (cross + cross)) + taken * taken * opposite

    root, pull = square_root(bias_accumulator), bias_pull * pull
    inverse = one / (root + bias_rate * pull)
    step = inverse * (error - pull * bias)
    bias, step = bias + bias_rate * step, root * step
    bias_accumulator = bias_accumulator + step * step

    mine, theirs = split((bias, accumulator, bias_accumulator, norm))
    store_columns(item_columns, rows, theirs)
    return p, mine, squared_error


@part
def _one(
    user: int, place: int, ratings: NDArray[Any], users: Side, items: Side, parts: tuple[int, ...], rule: Rule
) -> float:
    """Update by one rating of a user; return its squared error."""
    factors, columns, pulls = users
    mine, start = (user,), (place,)
    p = load_rows(factors, mine, parts)
    p, after, square = _step(
        *(p, with_norms(load_columns(columns, mine), p), numbers_of(pulls, mine)),
        *(items, others_at(ratings, start, 0), targets_at(ratings, start, 0), rule),
    )
    store_rows(factors, mine, p)
    store_columns(columns, mine, after)
    squared_error: float = total(square)
    return squared_error


@part
def _advance(ends: NDArray[np.int64], held: NDArray[np.int64], starts: tuple[int, ...], n: int, last: int) -> int:
    """Set ``held`` to the users of the n-th ratings of the runs; return up to which n they stay, at most ``last``."""
    until = last
    for run in range(len(starts)):
        user = held[run]
        while ends[user] <= starts[run] + n:
            user += 1
        held[run] = user
        until = min(until, ends[user] - starts[run])
    return until


@part
def block_pass(
    first: int,
    last: int,
    rest: int,
    starts: tuple[int, ...],
    held: NDArray[np.int64],
    ends: NDArray[np.int64],
    ratings: NDArray[Any],
    users: Side,
    items: Side,
    parts: tuple[int, ...],
    rule: Rule,
) -> float:
    """Update by the ratings ``first:last`` of each run, group by group; return the sum of squared errors.

    Parameters
    ----------
    rest
        How many ratings that follow on the last run come after that, one by one.
    starts
        Where the runs start: as many as there are ratings to take at a time.
    held
        Of each run, the user of its first rating here, or one before that; overwritten.
    ends
        Where the block's ratings of each user end, which start where those of the user before end: shape (n_users,).
    ratings
        Of item and target; see `kernels.ratings`. Shape (n_ratings,).
    users, items
        Of each side the factors, a table; the rest of a row, shape (n_rows, 4): bias, accumulator of the factors,
        accumulator of the bias, and squared norm of the factors, which for a user need not be right; and what
        regularises the factors of a row, shape (n_rows,).
    parts
        As many as a row has vectors; see `tables`.
    rule
        Learning rates of factors and of biases; share of a factor row's squared gradient that its accumulator takes;
        how many times as much as the factors a bias is pulled; and 1, all in the precision of the tables.
    """
    align_stack()
    factors, columns, pulls = users
    last_user = np.int64(len(ends) - 1)
    squared_error: float = 0.0
    # Unsigned: a signed index costs a look at whether it is negative.
    n, end = np.uint64(first), np.uint64(last)
    while n < end:
        until = np.uint64(_advance(ends, held, starts, np.int64(n), last))
        rows = first_of(held, starts)
        together = all_distinct(rows)
        if together:
            p, pull = load_rows(factors, rows, parts), numbers_of(pulls, rows)
            mine = with_norms(load_columns(columns, rows), p)
            squares = zeros_like(pull)
            for run in range(len(starts)):
                prefetch_to_write(factors, (min(held[run] + 1, last_user),), parts)
            while n < until:
                soon = others_at(ratings, starts, n + np.uint64(_AHEAD))
                prefetch_to_write(items[0], soon, parts)
                prefetch_to_write(items[1], soon, (0,))
                others = others_at(ratings, starts, n)
                together = all_distinct(others)
                if not together:
                    break
                p, mine, each = _step(p, mine, pull, items, others, targets_at(ratings, starts, n), rule)
                squares = squares + each
                n += np.uint64(1)
            store_rows(factors, rows, p)
            store_columns(columns, rows, mine)
            squared_error += total(squares)
        if not together:
            for run in range(len(starts)):
                squared_error += _one(held[run], starts[run] + np.int64(n), ratings, users, items, parts, rule)
            n += np.uint64(1)
    user = held[len(starts) - 1]
    for place in range(starts[-1] + last, starts[-1] + last + rest):
        while ends[user] <= place:
            user += 1
        squared_error += _one(user, place, ratings, users, items, parts, rule)
    return squared_error
