"""One SGD epoch on several threads, with the same result on any number of threads.

Users are cut into ``n_blocks`` blocks, items into as many, so the ratings form a grid of
``n_blocks`` x ``n_blocks`` cells. In step s the users of block b meet the items of block (b + s) %
n_blocks: a diagonal of the grid, ``n_blocks`` tasks of which no two share a row of a table (Gemulla
et al. 2011, DSGD). After ``n_blocks`` steps every cell was visited once. An epoch makes
``n_rounds`` such rounds and takes 1 / n_rounds of a cell's ratings in each, since ratings that are
mixed better converge in fewer epochs.

A barrier after every step would make all threads wait for the slowest. Instead a task waits only
for the two tasks of the step before that used its block of users or its block of items. With more
blocks than threads these have usually ended when its turn comes (Zhuang et al. 2013, FPSGD, where a
thread picks a free cell at random; here the order of the tasks that touch a row is fixed, so the
result is too, for a given number of blocks).

Tasks are numbered in the order in which they are claimed::

    0 ... n_copies - 1            copy a share of the tables from ``done`` to ``working``
    n_copies + s * n_blocks + b   step s for the users of block b, 0 <= s < n_rounds * n_blocks

An epoch changes only the copies. One that is cancelled half-way leaves ``done`` as it was.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.columns import load_columns, store_columns
from backends.kernels.llvm.counters import increment, load_counter, wait_for
from backends.kernels.llvm.rows import load_rows, with_norms
from backends.kernels.llvm.tables import copy_rows, first_of
from backends.kernels.llvm.traced import traced
from backends.kernels.llvm.vectors import align_stack

from ._jit import inlined, kernel
from .sgd import Rule, block_pass

DONE, MORE, WAITING = range(3)  # what `do_tasks` returns
# The value of all counters once Python has cancelled an epoch: more than any epoch has tasks or
# steps, so that every wait ends and no further step starts.
CANCELLED = 1 << 62
NO_TASK = -1

# Counters, in their order: tasks claimed; copies made; then the steps that each block of users has
# finished, and behind these the steps that each block of items has finished.
_CLAIMED, _COPIED, _FINISHED = range(3)

Tables = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def n_counters(n_blocks: int) -> int:
    """Return how many counters the threads of an epoch share."""
    return _FINISHED + 2 * n_blocks


def new_streams() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return room for the starts of a group's streams, and for their current users.

    Only as many entries as a group has ratings are used. The arrays have 256 bytes so that those of
    two threads do not lie in one cache line, for which the threads would then compete.
    """
    return np.empty(32, np.int64), np.empty(32, np.int64)


@kernel
def do_tasks(
    max_tasks: int,
    claimed_task: NDArray[np.int64],
    counters: NDArray[np.int64],
    n_polls: int,
    n_copies: int,
    n_rounds: int,
    errors: NDArray[np.float64],
    done: Tables,
    working: Tables,
    shares: tuple[NDArray[Any], NDArray[Any]],
    starts: NDArray[np.int64],
    user_bounds: NDArray[np.int64],
    ends: NDArray[np.int64],
    ratings: NDArray[Any],
    group: tuple[int, ...],
    row_vectors: tuple[int, ...],
    rule: Rule,
    stream_starts: NDArray[np.int64],
    current_users: NDArray[np.int64],
) -> int:
    """Claim and do tasks on the calling thread.

    Every thread of the epoch calls this in a loop until it returns `DONE`.

    Parameters
    ----------
    max_tasks
        How many tasks to do before returning to Python, where a Ctrl-C is noticed.
    claimed_task
        Shape (1,), private to the thread: the task that it has claimed but not finished, or
        `NO_TASK`. The caller keeps it from call to call, since a call can return while its task
        has to wait, and makes a new one for each epoch.
    counters
        Shared by all threads, zero at the start of the epoch; shape (n, 8) with the n of
        `n_counters`: one cache line each, of which the first number counts, see
        `layout.new_counters`. Python cancels the epoch by setting them to `CANCELLED`.
    n_polls
        How many times to read a counter that is too low before returning `WAITING`.
    n_copies
        Number of tasks that share the copying of the tables.
    n_rounds
        How many times the epoch visits every cell.
    errors
        Output, shape (n_rounds * n_blocks * n_blocks,): each task writes its sum of squared errors
        to its own element, so that their total does not depend on who finishes first.
    done, working
        The tables of the last whole epoch, which are only read, and those that this epoch fills and
        trains: factors of the users, columns of the users, then the same of the items; see
        `block_pass`.
    shares
        Of users and of items; see `block_pass`.
    starts
        Shape (n_blocks, n_blocks + 1): cell (b, c), of the users of block b and the items of block
        c, is ``ratings[starts[b, c]:starts[b, c + 1]]``.
    user_bounds
        First user of each block, and one past the last user of all; shape (n_blocks + 1,).
    ends
        Shape (n_blocks, n_users): where in ``ratings`` those of a user with the items of a block
        end.
    ratings
        Shape (n_ratings,), cell by cell, and user by user within a cell; see `layout`.
    group
        One entry per rating that is processed at a time. Only its length is used. It is part of the
        tuple's type, so that loops over a group are unrolled.
    row_vectors
        See `layout.vector_parts`.
    rule
        See `block_pass`.
    stream_starts, current_users
        Room for what `block_pass` takes, private to the thread; see `new_streams`.

    Returns
    -------
    int
        `DONE`: no task is left to claim, though other threads may still be at theirs; or the epoch
        was cancelled. `MORE`: ``max_tasks`` are done. `WAITING`: the claimed task still depends on
        another thread's.
    """
    align_stack()
    n_blocks = len(starts)
    users = (working[0], working[1], shares[0])
    items = (working[2], working[3], shares[1])
    for _ in range(max_tasks):
        if claimed_task[0] == NO_TASK:
            claimed_task[0] = increment(counters, _CLAIMED)
        task = claimed_task[0] - n_copies
        if task >= len(errors):
            return DONE
        if task < 0:
            # The copies come first. They depend on nothing, and every later task waits for all.
            of_users = _share(len(working[0]), claimed_task[0], n_copies)
            of_items = _share(len(working[2]), claimed_task[0], n_copies)
            _copy(done, working, of_users, of_items)
            for item in range(of_items[0], of_items[1]):
                _renew_norm(item, working[2], working[3], row_vectors)
            increment(counters, _COPIED)
        else:
            step, user_block = task // n_blocks, task % n_blocks
            item_block = (user_block + step) % n_blocks
            round_number = step // n_blocks
            # Each block is used by exactly one task per step. So a block whose counter is at `step`
            # is done with all the steps before this one, and only this task touches its rows now.
            # Waiting cannot deadlock: tasks are claimed in order and wait only for earlier ones, so
            # the first unfinished task never waits, and its thread calls again until it is done.
            if not (
                wait_for(counters, np.int64(_COPIED), n_copies, n_polls)
                and wait_for(counters, _FINISHED + user_block, step, n_polls)
                and wait_for(counters, _FINISHED + n_blocks + item_block, step, n_polls)
            ):
                return WAITING
            # When the epoch is cancelled all counters are high, which also ends every wait above.
            if load_counter(counters, _CLAIMED) >= CANCELLED:
                return DONE
            # The cell is cut into len(group) streams of equal length, which are read side by side.
            # This round takes the positions first:last of every stream.
            start, end = _cell_bounds(starts, user_block, item_block)
            first_user, last_user = _bounds(user_bounds, user_block)
            ends_of_block = ends[item_block]
            stream_length = (end - start) // len(group)
            first = stream_length * round_number // n_rounds
            last = stream_length * (round_number + 1) // n_rounds
            for k in range(len(group)):
                stream_starts[k] = start + k * stream_length
                current_users[k] = _user_at(
                    ends_of_block, stream_starts[k] + first, first_user, last_user
                )
            # Fewer ratings than a group are left over by the division. They come in the last round.
            n_leftover = 0
            if round_number == n_rounds - 1:
                n_leftover = end - start - len(group) * stream_length
            errors[task] = block_pass(
                first,
                last,
                n_leftover,
                first_of(stream_starts, group),
                current_users,
                ends_of_block,
                ratings,
                users,
                items,
                row_vectors,
                rule,
            )
            # Incrementing publishes what the task wrote; see `llvm.counters`.
            increment(counters, _FINISHED + user_block)
            increment(counters, _FINISHED + n_blocks + item_block)
        claimed_task[0] = NO_TASK
    return MORE


@inlined
def _share(n_rows: int, share: int, n_shares: int) -> tuple[int, int]:
    """Return the first row of one of ``n_shares`` equal shares, and one past its last row."""
    return n_rows * share // n_shares, n_rows * (share + 1) // n_shares


@traced
def _copy(done: Any, working: Any, of_users: Any, of_items: Any) -> None:
    """Copy shares of the users' and of the items' rows, which are ranges of rows."""
    shares = of_users, of_users, of_items, of_items
    for table, to, (first, last) in zip(done, working, shares, strict=True):
        copy_rows(table, to, first, last)


@traced
def _bounds(starts: Any, block: Any) -> Any:
    """Return where a block starts and where the next one does."""
    return starts[block], starts[block + 1]


@traced
def _cell_bounds(starts: Any, user_block: Any, item_block: Any) -> Any:
    """Return where a cell starts, and one past its last rating."""
    return starts[user_block, item_block], starts[user_block, item_block + 1]


@traced
def _renew_norm(item: Any, factors: Any, columns: Any, row_vectors: Any) -> None:
    """Compute the squared norm of an item's row afresh, into the fourth column.

    During an epoch a norm is updated along with its row instead of being computed from it, so it
    collects rounding errors. Users' norms are computed whenever a user's row is loaded.
    """
    row = (item,)
    factors_of_item = load_rows(factors, row, row_vectors)
    store_columns(columns, row, with_norms(load_columns(columns, row), factors_of_item))


@inlined
def _user_at(ends: NDArray[np.int64], position: int, first: int, last: int) -> int:
    """Return the first user of ``first:last`` whose ratings end after ``position``, or ``last``.

    That is the user of the rating at ``position``, found by bisection: ``ends`` ascends.
    """
    while first < last:
        middle = (first + last) // 2
        if ends[middle] <= position:
            first = middle + 1
        else:
            last = middle
    return first
