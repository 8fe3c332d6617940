"""An SGD epoch on several threads: tasks that they take in turn, with a result that does not hang on who takes which.

Users and items are cut into as many blocks. In each step every block of users meets another block of items: as many
tasks, none sharing a row with another (Gemulla et al. 2011, DSGD). A task needs the tasks of the step before that had
its users or its items, and no others, so that a thread that is slow for a while holds up few; with a block more than
there are threads, there is one to take (Zhuang et al. 2013, FPSGD, whose order is by chance). Before all that, the
tables are copied: an epoch that is given up leaves no trace.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.kernels.llvm.counters import count, look_at, reaches
from backends.kernels.llvm.tables import first_of

from ._jit import kernel, part
from .sgd import Rule, block_pass

DONE, MORE, WAITING = range(3)
CALLED_OFF = 1 << 62

_TAKEN, _COPIED, _BLOCKS = range(3)  # counters: tasks that were taken, copies made, then the steps of each block
NOTHING = -1

Tables = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


def n_counters(n_blocks: int) -> int:
    """Return how many counters the threads of an epoch share."""
    return _BLOCKS + 2 * n_blocks


@kernel
def do_tasks(
    most: int,
    hand: NDArray[np.int64],
    counters: NDArray[np.int64],
    n_looks: int,
    n_copies: int,
    n_calls: int,
    errors: NDArray[np.float64],
    done: Tables,
    working: Tables,
    shares: tuple[NDArray[Any], NDArray[Any]],
    starts: NDArray[np.int64],
    user_bounds: NDArray[np.int64],
    ends: NDArray[np.int64],
    ratings: NDArray[Any],
    group: tuple[int, ...],
    parts: tuple[int, ...],
    rule: Rule,
) -> int:
    """Do tasks until there are no more, or ``most`` are done, or one has to wait for too long; return which it was.

    Parameters
    ----------
    hand
        The thread's own, shape (1,): the task that it has taken and not done, at first -1.
    counters
        Of the epoch, see `n_counters`; at `CALLED_OFF` the first one ends it.
    n_looks
        How often to look whether a task can begin before giving up for now.
    n_copies, n_calls
        In how many tasks the tables are copied; how often the blocks are gone around, a part of each at a time.
    errors
        Receives each task's sum of squared errors, shape (n_calls n_blocks n_blocks,).
    done, working
        Tables to copy, and where to; see `block_pass` for what they are. Users' factors and columns, then items'.
    starts, user_bounds, ends, ratings
        Ratings in blocks: where the blocks start, shape (n_blocks, n_blocks + 1); where the blocks of users start and
        the last ends; where each user's ratings in a block of items end, shape (n_blocks, n_users); the ratings.
    group
        As many as ratings are taken at a time.
    """
    n_blocks = len(starts)
    users, items = (working[0], working[1], shares[0]), (working[2], working[3], shares[1])
    # Longer than needed: those of two threads may lie in one cache line otherwise.
    held, runs = np.empty(32, np.int64), np.empty(32, np.int64)
    for _ in range(most):
        if hand[0] == NOTHING:
            hand[0] = count(counters, _TAKEN)
        task = hand[0] - n_copies
        if task >= len(errors):
            return DONE
        if task < 0:
            for table in range(len(done)):
                _copy(hand[0], n_copies, done[table], working[table])
            _renew_norms(hand[0], n_copies, working[2], working[3])
            count(counters, _COPIED)
        else:
            step, mine = divmod(task, n_blocks)
            theirs, call = (mine + step) % n_blocks, step // n_blocks
            # Each task before this one has been taken by a thread that will end it.
            for nth, wanted in ((_COPIED, n_copies), (_BLOCKS + mine, step), (_BLOCKS + n_blocks + theirs, step)):
                if not reaches(counters, nth, wanted, n_looks):
                    return WAITING
            if look_at(counters, _TAKEN) >= CALLED_OFF:
                return DONE
            start, end = starts[mine, theirs], starts[mine, theirs + 1]
            run = (end - start) // len(group)
            first, last = run * call // n_calls, run * (call + 1) // n_calls
            for k in range(len(group)):
                runs[k] = start + k * run
                held[k] = _user_at(ends[theirs], runs[k] + first, user_bounds[mine], user_bounds[mine + 1])
            rest = end - start - len(group) * run if call == n_calls - 1 else 0
            errors[task] = block_pass(
                *(first, last, rest, first_of(runs, group), held, ends[theirs], ratings, users, items, parts, rule)
            )
            count(counters, _BLOCKS + mine)
            count(counters, _BLOCKS + n_blocks + theirs)
        hand[0] = NOTHING
    return MORE


@part
def _copy(nth: int, n: int, table: NDArray[Any], to: NDArray[Any]) -> None:
    """Copy the nth of ``n`` shares of a table's rows."""
    for row in range(len(table) * nth // n, len(table) * (nth + 1) // n):
        for column in range(table.shape[1]):
            to[row, column] = table[row, column]


@part
def _renew_norms(nth: int, n: int, factors: NDArray[Any], columns: NDArray[Any]) -> None:
    """Compute the norms of a share of the rows anew: those carried along have their steps' rounding in them."""
    for row in range(len(factors) * nth // n, len(factors) * (nth + 1) // n):
        norm = factors.dtype.type(0)
        for column in range(factors.shape[1]):
            norm += factors[row, column] * factors[row, column]
        columns[row, 3] = norm


@part
def _user_at(ends: NDArray[np.int64], place: int, first: int, last: int) -> int:
    """Return the first of the users ``first:last`` whose ratings end behind a place; ``last`` where there is none."""
    while first < last:
        middle = (first + last) // 2
        if ends[middle] <= place:
            first = middle + 1
        else:
            last = middle
    return first
