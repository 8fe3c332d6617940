"""Per-rating stochastic gradient descent with one AdaGrad accumulator per row, over conflict-free blocks of ratings.

The rate of a row is learning_rate / sqrt(its accumulator). Its step is implicit in the penalty, p <- (p + rate e q) /
(1 + rate pull), so that no penalty is too strong for the rate. The accumulator adds up the squares of step over rate,
over a constant (Chin et al. 2015, "A learning-rate schedule for stochastic gradient methods to matrix factorization":
LIBMF's rule, which divides by the rank instead; with the constant, one learning rate serves all ranks).

A step on a row waits for the one before it, and most of a step is arithmetic on single numbers. So ratings are taken in
groups that share no user and no item: their steps are one vector, and their users' rows stay in registers for as long
as the users stay the same, which the order of the ratings provides for; see `grouping.block`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import inlined, kernel
from .columns import load_columns, numbers_of, split, store_columns
from .rows import dots, load_rows, mixed, store_rows, with_norms
from .simd import exchanged, joined, square_root, total, zeros_like
from .tables import all_distinct, prefetch, same_ids, some_ids, some_numbers

Ratings = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]
Side = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Rule = tuple[float, float, float, float, float]

_AHEAD = 16  # ratings between the request for an item's row and its use; for a user's, twice as many
_REGISTERS = 16  # vectors of users' rows at a time: half of what AVX-512 has


def group_size(parts: tuple[int, ...]) -> int:
    """Return how many users to take at a time, 4 or 2: more would not fit the registers."""
    return 4 if 4 * len(parts) <= _REGISTERS else 2


@inlined
def _step(p: Any, columns: Any, pull: Any, items: Side, rows: tuple[int, ...], targets: Any, rule: Rule) -> Any:
    """Update by a group of ratings that share no row; return the users' rows and columns, and the squared errors.

    All that the steps need to know of the factors are p.q, p.p and q.q: with the error e, a factor's step over its rate
    is (e q - pull p) / (1 + rate pull), and the square of e q - pull p summed over the row is e^2 q.q - 2 e pull p.q +
    pull^2 p.p. The norms p.p and q.q are carried along, as their steps follow from the same three.
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

    # With rate = learning rate / root: kept = 1 / (1 + rate pull), and a step is rate kept; in a single division.
    root = square_root(accumulator)
    inverse = one / (root + rate * pull)
    kept, taken = root * inverse, rate * inverse * error
    p = mixed(p, factors, rows, kept, taken)
    opposite, cross = exchanged(norm), error * dot
    square = error * error * opposite - pull * (cross + cross - pull * norm)
    accumulator = accumulator + accumulated * (kept * kept * square)
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


@kernel
def _one_by_one(
    first: int, last: int, ratings: Ratings, users: Side, items: Side, parts: tuple[int, ...], rule: Rule
) -> float:
    """Update by the ratings ``first:last``, one after another; return the sum of squared errors."""
    rating_users, rating_items, targets = ratings
    factors, columns, pulls = users
    squared_error = 0.0
    single = (0,)
    for n in range(np.uint64(first), np.uint64(last)):
        user, item = some_ids(rating_users, n, single), some_ids(rating_items, n, single)
        p = load_rows(factors, user, parts)
        p, mine, squares = _step(
            *(p, with_norms(load_columns(columns, user), p), numbers_of(pulls, user)),
            *(items, item, some_numbers(targets, n, single), rule),
        )
        store_rows(factors, user, p)
        store_columns(columns, user, mine)
        squared_error += total(squares)
    return squared_error


@kernel
def block_pass(
    first: int,
    last: int,
    ratings: Ratings,
    users: Side,
    items: Side,
    parts: tuple[int, ...],
    group: tuple[int, ...],
    rule: Rule,
) -> float:
    """Update by the ratings ``first:last``, as if one after another; return the sum of squared errors.

    Parameters
    ----------
    ratings
        Users, items and targets: each shape (n_ratings,).
    users, items
        Of each side the factors, a table; the rest of a row, shape (n_rows, 4): bias, accumulator of the factors,
        accumulator of the bias, and squared norm of the factors, which for a user need not be right; and what
        regularises the factors of a row, shape (n_rows,).
    parts
        As many as a row has vectors; see `tables`.
    group
        As many as there are ratings to take at a time.
    rule
        Learning rates of factors and of biases; share of a factor row's squared gradient that its accumulator takes;
        how many times as much as the factors a bias is pulled; and 1, all in the precision of the tables.
    """
    rating_users, rating_items, targets = ratings
    factors, columns, pulls = users
    squared_error: float = 0.0
    # Unsigned: a signed index costs a look at whether it is negative.
    n, end, size = np.uint64(first), np.uint64(last), np.uint64(len(group))
    while n + size <= end:
        held = some_ids(rating_users, n, group)
        together = all_distinct(held)
        if together:
            p, pull = load_rows(factors, held, parts), numbers_of(pulls, held)
            mine = with_norms(load_columns(columns, held), p)
            squares = zeros_like(pull)
            while n + size <= end and same_ids(rating_users, n, held):
                soon = min(n + np.uint64(_AHEAD), end - size)
                prefetch(items[0], some_ids(rating_items, soon, group), parts)
                prefetch(items[1], some_ids(rating_items, soon, group), (0,))
                soon = min(n + np.uint64(2 * _AHEAD), end - size)
                prefetch(factors, some_ids(rating_users, soon, group), parts)
                rows = some_ids(rating_items, n, group)
                together = all_distinct(rows)
                if not together:
                    break
                p, mine, each = _step(p, mine, pull, items, rows, some_numbers(targets, n, group), rule)
                squares = squares + each
                n += size
            store_rows(factors, held, p)
            store_columns(columns, held, mine)
            squared_error += total(squares)
        if not together:
            squared_error += _one_by_one(n, n + size, ratings, users, items, parts, rule)
            n += size
    squared_error += _one_by_one(n, end, ratings, users, items, parts, rule)
    return squared_error
