"""Per-rating stochastic gradient descent with one AdaGrad accumulator per row, over conflict-free blocks of ratings.

The rule, for a rating of user p and item q with weight w, is

    e = clip(target - p . q - b - c)            larger errors count as the largest that a step is made for
    v = w / (1 + max(w - 1, 0) effect)          how often the step is made; effect is the share of e that one takes away
    rate = learning_rate / sqrt(a)              of each row, a its accumulator
    p <- (p + rate v e q) / (1 + rate v share)  and q likewise, both from the values before
    a <- a + s (v e)^2 |q|^2                    and the item's likewise, with |p|^2

and for the biases with accumulators of their own, 1 in place of |q|^2 and of s. The accumulators are AdaGrad's, one
per row (Chin et al. 2015, "A learning-rate schedule for stochastic gradient methods to matrix factorization": the rule
of LIBMF, where s is 1 / rank; with a constant, one learning rate serves all ranks). The step is implicit in the penalty
(composite mirror descent, Duchi et al. 2011), so that none is too strong for the rate; a row's share is its penalty
over the sum of the weights of its ratings, which so make up the penalty together. A weight of 100 is not a step of 100
times the length, which would overshoot, but about as much as 100 steps (importance-aware updates, Karampatziakis and
Langford 2011, here by a quotient); the weights are in units of their mean.

A step on a row waits for the one before it, and most of a step is arithmetic on single numbers. So ratings are taken in
groups that share no user and no item: their steps are one vector. The ratings of a block, which go user by user, are
cut into runs of one length, and a group is one rating of each run, so that users' rows stay in registers for as long as
the users stay the same.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.columns import load_columns, pairs_of, split, store_columns
from backends.kernels.llvm.ratings import by_importance, others_at, targets_at, times_weights
from backends.kernels.llvm.rows import dots, load_rows, mixed, store_rows, with_norms
from backends.kernels.llvm.tables import all_distinct, first_of, prefetch_to_write
from backends.kernels.llvm.vectors import align_stack, clipped, exchanged, joined, square_root, total, zeros_like

from ._jit import inlined, part

Side = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Rule = tuple[float, float, float, float, float]

_AHEAD = 4  # ratings of a run between the request for an item's row and its use
_REGISTERS = 16  # vectors of users' rows at a time: half of what AVX-512 has


def group_size(parts: tuple[int, ...]) -> int:
    """Return how many users to take at a time, 4 or 2: more would not fit the registers."""
    return 4 if 4 * len(parts) <= _REGISTERS else 2


@inlined
def _step(
    p: Any, columns: Any, shares: Any, items: Side, rows: tuple[int, ...], ratings: Any, starts: Any, n: Any, rule: Rule
) -> Any:
    """Update by a group of ratings that share no row; return the users' rows and columns, and the squared errors.

    All that the steps need to know of the factors are p.q, p.p and q.q. The new p.p follows from them, so the norms are
    carried along.
    """
    factors, item_columns, item_shares = items
    rate, bias_rate, accumulated, longest, one = rule
    dot, theirs = dots(p, factors, rows), load_columns(item_columns, rows)
    error = targets_at(ratings, starts, n) - dot - (columns[0] + theirs[0])
    squared_error = times_weights(error * error, ratings, starts, n)
    error = clipped(error, longest)
    # From here on, users are the first half of a vector, and items the second.
    error, dot = joined(error, error), joined(dot, dot)
    bias, accumulator = joined(columns[0], theirs[0]), joined(columns[1], theirs[1])
    bias_accumulator, norm = joined(columns[2], theirs[2]), joined(columns[3], theirs[3])
    their_shares = pairs_of(item_shares, rows)
    share, bias_share = joined(shares[0], their_shares[0]), joined(shares[1], their_shares[1])
    root, bias_root, opposite = square_root(accumulator), square_root(bias_accumulator), exchanged(norm)

    # How much of the error a step of weight 1 takes away. Without weights nobody asks, and LLVM leaves it out.
    effect = rate * opposite / root + bias_rate / bias_root
    effect = effect + exchanged(effect)
    error = by_importance(error, effect, ratings, starts, n)
    share = by_importance(share, effect, ratings, starts, n)
    bias_share = by_importance(bias_share, effect, ratings, starts, n)

    # The rate is that of the rule over the root: p becomes kept p + taken q.
    square = error * error
    inverse = one / (root + rate * share)
    kept, taken = root * inverse, (rate * inverse) * error
    p = mixed(p, factors, rows, kept, taken)
    accumulator = accumulator + accumulated * (square * opposite)
    cross = taken * dot
    norm = kept * (kept * norm + (cross + cross)) + taken * taken * opposite

    inverse = one / (bias_root + bias_rate * bias_share)
    bias = inverse * (bias_root * bias + bias_rate * error)
    bias_accumulator = bias_accumulator + square

    mine, theirs = split((bias, accumulator, bias_accumulator, norm))
    store_columns(item_columns, rows, theirs)
    return p, mine, squared_error


@part
def _one(
    user: int, place: int, ratings: NDArray[Any], users: Side, items: Side, parts: tuple[int, ...], rule: Rule
) -> float:
    """Update by one rating of a user; return its squared error."""
    factors, columns, shares = users
    mine, start, first = (user,), (place,), np.uint64(0)
    p = load_rows(factors, mine, parts)
    p, after, square = _step(
        *(p, with_norms(load_columns(columns, mine), p), pairs_of(shares, mine)),
        *(items, others_at(ratings, start, first), ratings, start, first, rule),
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
        Of item and target; see `layout`. Shape (n_ratings,).
    users, items
        Of each side the factors, a table; the rest of a row, shape (n_rows, 4): bias, accumulator of the factors,
        accumulator of the bias, and squared norm of the factors, which for a user need not be right; and the shares of
        the row's penalties that each of its ratings brings, of the factors and of the bias, shape (n_rows, 2).
    parts
        As many as a row has vectors; see `layout.vector_parts`.
    rule
        Learning rates of factors and of biases; share of a factor row's squared gradient that its accumulator takes;
        the largest error that a step is made for, larger ones count as this one; and 1, all in the precision of the
        tables.
    """
    align_stack()
    factors, columns, shares = users
    last_user = np.int64(len(ends) - 1)
    squared_error: float = 0.0
    # Unsigned: a signed index costs a look at whether it is negative.
    n, end = np.uint64(first), np.uint64(last)
    while n < end:
        until = np.uint64(_advance(ends, held, starts, np.int64(n), last))
        rows = first_of(held, starts)
        together = all_distinct(rows)
        if together:
            p, share = load_rows(factors, rows, parts), pairs_of(shares, rows)
            mine = with_norms(load_columns(columns, rows), p)
            squares = zeros_like(share[0])
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
                p, mine, each = _step(p, mine, share, items, others, ratings, starts, n, rule)
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
