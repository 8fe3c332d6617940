"""Per-rating stochastic gradient descent with one AdaGrad accumulator per row.

`plain_step` is the definition of what happens for one rating: read it first. The rest of this
module computes the same for several ratings at a time, one per lane of a vector.

The rule, and where it comes from:

- The learning rates are AdaGrad's with one accumulator per row of factors instead of one per factor
  (Chin et al. 2015, "A learning-rate schedule for stochastic gradient methods to matrix
  factorization": the rule of LIBMF, which accumulates 1 / rank of a row's squared gradient; here
  the share is the same for all ranks, so that one learning rate serves all).
- The penalty is applied after the step on the error, by dividing the row by 1 + rate * penalty
  instead of subtracting rate * penalty times the row (composite mirror descent, Duchi et al. 2011).
  So no penalty is too strong for the learning rate. Each rating applies the share of its row's
  penalty that its weight is of the sum of the row's weights.
- A rating of weight w is not a step of w times the length, which would overshoot for a large w. It
  changes the row about as much as w steps of weight 1 in a row (importance-aware updates,
  Karampatziakis and Langford 2011, here approximated by w / (1 + (w - 1) effect)).
- Errors are clipped, so a rating that is wrong by orders of magnitude cannot make a fit diverge.

A step on a row must wait for the one before it on the same row, and apart from a dot product and an
update of two rows a step is a chain of roots and divisions of single numbers, which mostly waits
for its own results. So ratings are processed in groups of 2 or 4 that share no user and no item,
and the numbers of a group become the lanes of one vector. The ratings of a cell (see `epoch`) are
sorted by user and cut into streams of equal length, one per lane; a group takes one rating from
each stream. While the users of the streams stay the same, their rows stay in registers.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.columns import load_columns, pairs_of, split, store_columns
from backends.kernels.llvm.ratings import by_importance, opposites_at, targets_at, times_weights
from backends.kernels.llvm.rows import dots, load_rows, store_rows, update_pairs, with_norms
from backends.kernels.llvm.tables import all_distinct, first_of, prefetch_to_write
from backends.kernels.llvm.traced import traced
from backends.kernels.llvm.vectors import (
    clipped,
    exchanged,
    joined,
    square_root,
    total,
    zeros_like,
)

from ._jit import inlined

Side = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Rule = tuple[float, float, float, float, float]

# How many ratings of a stream ahead an item's row is requested from memory.
_PREFETCH_DISTANCE = 4

# How many vector registers users' rows may fill. AVX-512 has 32; the others are for items' rows and
# results. With fewer registers than that, some rows are kept on the stack.
_REGISTERS = 16


class Row(NamedTuple):
    """The state of one user or item."""

    factors: NDArray[np.float64]  # shape (rank,)
    bias: float
    accumulator: float  # sum of shares of the squared gradients of the factors, positive
    bias_accumulator: float  # sum of the squared gradients of the bias, positive


class Shares(NamedTuple):
    """The part of its row's penalties that a rating of weight 1 applies."""

    factors: float
    bias: float


def plain_step(
    user: Row,
    item: Row,
    user_shares: Shares,
    item_shares: Shares,
    target: float,
    weight: float,
    rule: Rule,
) -> tuple[Row, Row, float]:
    """Return the user and the item after the step for one rating, and the error before the step.

    This is the definition of what the kernel computes. No solver calls it; the tests compare the
    kernel with it, rating by rating.

    Parameters
    ----------
    target
        The rating minus the mean, in units of `objective.rating_unit`.
    weight
        The rating's weight divided by the mean weight.
    rule
        As in `block_pass`.

    Returns
    -------
    user, item, squared_error
        The rows after the step, and the weighted squared error before it, which is not clipped.
    """
    rate, bias_rate, accumulated_share, max_error, _ = rule
    p, q = user.factors, item.factors
    error = target - float(p @ q) - (user.bias + item.bias)
    squared_error = weight * error**2
    error = max(-max_error, min(error, max_error))

    # To first order, a step of weight 1 changes the prediction by `effect` times the error. A step
    # of weight w > 1 is shortened so that, for an effect below 1, it never goes beyond the rating:
    # w effect / (1 + (w - 1) effect) < 1. So would w small steps, of which each sees the last.
    effect = 0.0
    for row, opposite in ((user, q), (item, p)):
        effect += rate * (opposite @ opposite) / row.accumulator**0.5
        effect += bias_rate / row.bias_accumulator**0.5
    importance = weight / (1 + max(weight - 1, 0) * effect)
    error *= importance

    def stepped(row: Row, opposite: NDArray[np.float64], shares: Shares) -> Row:
        row_rate = rate / row.accumulator**0.5
        row_bias_rate = bias_rate / row.bias_accumulator**0.5
        penalty, bias_penalty = importance * shares.factors, importance * shares.bias
        return Row(
            (row.factors + row_rate * error * opposite) / (1 + row_rate * penalty),
            (row.bias + row_bias_rate * error) / (1 + row_bias_rate * bias_penalty),
            row.accumulator + accumulated_share * error**2 * float(opposite @ opposite),
            row.bias_accumulator + error**2,
        )

    # Both sides step from the values before: neither sees the other's update.
    return stepped(user, q, user_shares), stepped(item, p, item_shares), squared_error


def group_size(row_vectors: tuple[int, ...]) -> int:
    """Return how many ratings to process together: 4 if their users' rows fit registers, else 2."""
    return 4 if 4 * len(row_vectors) <= _REGISTERS else 2


@traced
def _step(
    p: Any,
    user_columns: Any,
    user_shares: Any,
    squares: Any,
    items: Any,
    item_rows: Any,
    ratings: Any,
    stream_starts: Any,
    n: Any,
    rule: Any,
) -> Any:
    """Process the n-th rating of each stream, counted from 0. The vector form of `plain_step`.

    No two of the ratings may have the same user or the same item.

    With g ratings in the group, ``p`` is g rows of factors, and ``user_columns`` (bias,
    accumulator, bias accumulator, squared norm) and ``user_shares`` (factors, bias) are tuples of
    vectors of g lanes.

    Returns
    -------
    p, user_columns, squares
        The users' rows and columns after the step, which stay in registers, and ``squares`` plus
        the weighted squared errors before it, one per lane. The items are written to their tables.
    """
    # Of the factors, the numbers of a step need only p.q, |p|^2 and |q|^2. The new |p|^2 follows
    # from these, so the norms are kept as columns, and a step makes one dot product, not three.
    factors, item_columns, item_shares_table = items
    rate, bias_rate, accumulated_share, max_error, unit_value = rule
    dot, columns = dots(p, factors, item_rows), load_columns(item_columns, item_rows)
    error = targets_at(ratings, stream_starts, n) - dot - (user_columns[0] + columns[0])
    squares = squares + times_weights(error * error, ratings, stream_starts, n)
    error = clipped(error, max_error)

    # From here on a vector has 2 g lanes: first one per user, then one per item. Both sides need
    # the same arithmetic, and a division or a root takes as long for 2 g lanes as for g.
    error, dot = joined(error, error), joined(dot, dot)
    bias = joined(user_columns[0], columns[0])
    accumulator = joined(user_columns[1], columns[1])
    bias_accumulator = joined(user_columns[2], columns[2])
    norm = joined(user_columns[3], columns[3])
    item_shares = pairs_of(item_shares_table, item_rows)
    share = joined(user_shares[0], item_shares[0])
    bias_share = joined(user_shares[1], item_shares[1])
    root, bias_root = square_root(accumulator), square_root(bias_accumulator)
    opposite_norm = exchanged(norm)

    # The effect of a step is the sum of the effects of its user's and its item's update, which are
    # half a vector apart: `exchanged` swaps the halves.
    # Without weights `by_importance` does not use it, and LLVM removes its computation.
    effect = rate * opposite_norm / root + bias_rate / bias_root
    effect = effect + exchanged(effect)
    error = by_importance(error, effect, ratings, stream_starts, n)
    share = by_importance(share, effect, ratings, stream_starts, n)
    bias_share = by_importance(bias_share, effect, ratings, stream_starts, n)

    # The row's learning rate is rate / root. Multiplying the numerator and the denominator of
    # (p + (rate / root) error q) / (1 + (rate / root) share) by root gives shrink p + step q with a
    # single division. `update_pairs` writes the items' rows, from the same old p, and returns p.
    squared = error * error
    inverse = unit_value / (root + rate * share)
    shrink, step = root * inverse, (rate * inverse) * error
    p = update_pairs(p, factors, item_rows, shrink, step)
    accumulator = accumulator + accumulated_share * (squared * opposite_norm)
    # |shrink p + step q|^2 = shrink^2 |p|^2 + 2 shrink step p.q + step^2 |q|^2
    cross = step * dot
    norm = shrink * (shrink * norm + (cross + cross)) + step * step * opposite_norm

    # The bias is a factor whose opposite is 1.
    inverse = unit_value / (bias_root + bias_rate * bias_share)
    bias = inverse * (bias_root * bias + bias_rate * error)
    bias_accumulator = bias_accumulator + squared

    user_columns, columns = split((bias, accumulator, bias_accumulator, norm))
    store_columns(item_columns, item_rows, columns)
    return p, user_columns, squares


@traced
def _users_at(users: Any, rows: Any, row_vectors: Any) -> Any:
    """Return the rows, columns and shares of some users, as `_step` takes them."""
    factors, columns, shares = users
    p = load_rows(factors, rows, row_vectors)
    return p, with_norms(load_columns(columns, rows), p), pairs_of(shares, rows)


@traced
def _items_at(n: Any, ratings: Any, stream_starts: Any, items: Any, row_vectors: Any) -> Any:
    """Return the items of the n-th ratings of the streams; prefetch those that come soon."""
    factors, columns, _ = items
    soon = opposites_at(ratings, stream_starts, n + _PREFETCH_DISTANCE)
    prefetch_to_write(factors, soon, row_vectors)
    # Columns of a row, at most 32 bytes, are in one cache line.
    prefetch_to_write(columns, soon, (0,))
    return opposites_at(ratings, stream_starts, n)


@traced
def _step_alone(
    user: Any,
    position: Any,
    ratings: Any,
    users: Any,
    items: Any,
    row_vectors: Any,
    rule: Any,
) -> Any:
    """Take the rating at ``position``, a group of one; return its weighted squared error."""
    factors, columns, _ = users
    start = (position,)
    p, user_columns, shares = _users_at(users, (user,), row_vectors)
    p, user_columns, squares = _step(
        p,
        user_columns,
        shares,
        zeros_like(user_columns[0]),
        items,
        opposites_at(ratings, start, 0),
        ratings,
        start,
        0,
        rule,
    )
    store_rows(factors, (user,), p)
    store_columns(columns, (user,), user_columns)
    return total(squares)


@inlined
def _advance(
    ends: NDArray[np.int64],
    current_users: NDArray[np.int64],
    stream_starts: tuple[int, ...],
    n: int,
    last: int,
) -> int:
    """Set ``current_users`` to the users of the n-th ratings of the streams.

    Returns
    -------
    int
        The smallest position at which any stream comes to another user, at most ``last``.
    """
    until = last
    for k in range(len(stream_starts)):
        start, user = stream_starts[k], current_users[k]
        while ends[user] <= start + n:
            user += 1
        current_users[k] = user
        if ends[user] - start < until:
            until = ends[user] - start
    return until


@inlined
def block_pass(
    first: int,
    last: int,
    n_leftover: int,
    stream_starts: tuple[int, ...],
    current_users: NDArray[np.int64],
    ends: NDArray[np.int64],
    ratings: NDArray[Any],
    users: Side,
    items: Side,
    row_vectors: tuple[int, ...],
    rule: Rule,
) -> float:
    """Take the ratings at positions ``first:last`` of every stream, one group per position.

    Parameters
    ----------
    first, last
        Positions, counted from the start of each stream.
    n_leftover
        Number of ratings to take one at a time afterwards. They follow the last stream.
    stream_starts
        Where each stream starts in ``ratings``. Its length is the size of a group.
    current_users
        For each stream the user of its rating at ``first``, or an earlier user of the same block;
        overwritten. Shape (at least the number of streams,).
    ends
        Where the ratings of each user with this block of items end, shape (n_users,). They start
        where those of the user before end, or where the cell starts.
    ratings
        Records of an item, a target and, with weights, a weight, shape (n_ratings,); see `layout`.
        They go on beyond the last stream for as far as the prefetching reads ahead.
    users, items
        Three tables of each side, of which all but the last are trained:

        - factors, shape (n_rows, padded rank);
        - columns, shape (n_rows, 4): bias, accumulator of the factors, accumulator of the bias, and
          squared norm of the factors. A user's norm may be wrong: it is computed when the row is
          loaded;
        - shares, shape (n_rows, 2): the part of the penalties of the row's factors and of its bias
          that a rating of weight 1 applies.
    row_vectors
        A tuple with one entry per vector of a row; only its length is used, see
        `layout.vector_parts`.
    rule
        Five numbers in the precision of the tables: the learning rates of factors and of biases;
        the share of a factor row's squared gradient that its accumulator adds up; the largest error
        that is not clipped; and 1, so that no constant of another precision widens the arithmetic.

    Returns
    -------
    float
        Sum of the weighted squared errors, each before its step.
    """
    factors, columns, _ = users
    n_streams, last_user = len(stream_starts), np.int64(len(ends) - 1)
    squared_error: float = 0.0
    n = first
    while n < last or n_leftover > 0:
        n_alone = n_leftover
        if n < last:
            # One turn of this loop is a run of groups with the same users.
            until = _advance(ends, current_users, stream_starts, n, last)
            user_rows = first_of(current_users, stream_starts)
            together = all_distinct(user_rows)
            if together:
                p, user_columns, user_shares = _users_at(users, user_rows, row_vectors)
                squares = zeros_like(user_columns[0])
                # Ratings are sorted by user, so the next user of a stream most likely follows.
                for k in range(n_streams):
                    next_user = current_users[k] + 1 if current_users[k] < last_user else last_user
                    prefetch_to_write(factors, (next_user,), row_vectors)
                while n < until:
                    item_rows = _items_at(n, ratings, stream_starts, items, row_vectors)
                    together = all_distinct(item_rows)
                    if not together:
                        break
                    p, user_columns, squares = _step(
                        p,
                        user_columns,
                        user_shares,
                        squares,
                        items,
                        item_rows,
                        ratings,
                        stream_starts,
                        n,
                        rule,
                    )
                    n += 1
                # The users' rows go back to memory, where `_step_alone` or the next run reads them.
                store_rows(factors, user_rows, p)
                store_columns(columns, user_rows, user_columns)
                squared_error += total(squares)
            # Two of the group have the same user or item. So they are processed one after the
            # other, and each sees the step before it.
            n_alone = 0 if together else n_streams
        for k in range(n_alone):
            stream, position = k, stream_starts[k] + n
            if n == last:
                # The leftovers follow the last stream. Their first user is its last one, or a later
                # one.
                stream, position = n_streams - 1, stream_starts[-1] + last + k
                while ends[current_users[stream]] <= position:
                    current_users[stream] += 1
            squared_error += _step_alone(
                current_users[stream], position, ratings, users, items, row_vectors, rule
            )
        if n_alone > 0:
            if n == last:
                n_leftover = 0
            n += 1
    return squared_error
