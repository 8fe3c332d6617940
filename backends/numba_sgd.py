"""Parallel per-rating SGD in numba: blocks of ratings, and epochs that take effect whole.

Users and items are cut into the same number of blocks, of about as many ratings each, and the
threads share the tasks of an epoch, each a cell of that grid or a part of one; see `kernels.epoch`.
The result depends on the ratings in their order, the seed and the parameters, but not on the number
of threads.

Within a cell the ratings are sorted by the side that has fewer rows: a row then has many ratings in
a cell, for which it stays in registers; see `kernels.sgd`. The kernels call that side the users. So
in data with fewer items than users, the kernels' users are the items.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends._engine.interrupt import checkpoint
from backends._engine.sorting import Blocks, balanced_bounds, blocked, counted, row_weights
from backends._engine.tasks import ClaimedTask, Counters, share_tasks
from backends._engine.threads import WORK_PER_CALL, Threads, one_blas_thread
from backends.kernels.epoch import do_tasks, n_counters, new_streams
from backends.kernels.layout import aligned_zeros, padded_table, vector_parts
from backends.kernels.sgd import group_size

from ._arrays import Float
from ._validation import check_count
from .factorizer import State
from .objective import Parameters, Penalties, rating_unit
from .per_rating import PerRatingSGD, fill_columns, fill_shares
from .ratings import Ratings

# An epoch goes around all blocks this many times, and takes an eighth of each cell's ratings each
# time. If the first epoch did each cell in full, the rows of a cell would settle on factors that
# fit each other and no other cell, and it would take an epoch or two to undo that.
_ROUNDS = 8

# With fewer ratings, claiming a task takes too long compared with doing it.
_MIN_RATINGS_PER_TASK = 6_000

# n blocks of users and n of items take at least n^2 times as many ratings.
_MIN_RATINGS_PER_CELL = 5_000

_COPY_TASKS_PER_THREAD = 2  # tasks in which the tables are copied

# Coming to another user, whose row must be loaded, takes as long as this many ratings. It happens
# once per user and cell. Blocks of users are balanced by ratings plus these.
_USER_CHANGE_COST = 2


@dataclass(kw_only=True)
class BlockedState(State):
    """The ratings in blocks, and two sets of tables.

    Ratings and biases are in units of ``unit``, and factors in units of its square root, so that
    learning rate and accumulators do not depend on the rating scale. Weights are in units of their
    mean.

    Attributes
    ----------
    exchanged
        Whether the users of the attributes below are the items, and the other way round.
    mean
        m of the objective.
    group
        How many ratings are processed at a time.
    user_bounds
        First user of each block, and one past the last user; shape (n_blocks + 1,).
    blocks
        The ratings; see `Blocks`.
    shares
        What a rating of weight 1 bears of the penalties of its user's factors and bias, shape
        (n_users, 2), and of its item's, shape (n_items, 2).
    done, working
        Two sets of tables: those of the last whole epoch, and those that the next one is computed
        in. Each is user factors, shape (n_users, padded rank), user columns, shape (n_users, 4),
        item factors and item columns; see `kernels.sgd.block_pass`.
    """

    threads: Threads
    exchanged: bool
    mean: float
    unit: float
    group: int
    user_bounds: NDArray[np.int64]
    blocks: Blocks
    shares: tuple[Float, Float]
    done: tuple[Float, ...]
    working: tuple[Float, ...]


@dataclass(kw_only=True, eq=False)
class NumbaSGD(PerRatingSGD):
    """Per-rating SGD in numba kernels; see `PerRatingSGD` for the learning rate.

    The model depends on the order of the ratings; `Ratings.canonical` gives one order to a set of
    ratings. Within a cell the ratings of a row are visited in the given order, unless a row has so
    many that they are visited at several places in turn.

    Memory, beside the factors, which are held four times: 20 bytes per rating in float32 while
    ratings are sorted and 8 afterwards (28 and 12 with weights); while they are sorted, 8 bytes per
    thread for each user and item; and 8 bytes per block for each row of the side that has fewer
    rows.

    Parameters
    ----------
    n_blocks
        Number of blocks of users, and of items, at most: n blocks need n^2 times 5,000 ratings. It
        decides in which order the ratings are visited, and so what the model is, whatever
        ``n_jobs`` is. No more threads than blocks are used.
    """

    n_blocks: int = 8

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_count("n_blocks", self.n_blocks)

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> BlockedState:
        """Sort the ratings into blocks, and copy the initial parameters into padded tables."""
        most_blocks = math.isqrt(len(train) // _MIN_RATINGS_PER_CELL)
        n_blocks = max(1, min(self.n_blocks, most_blocks))
        threads = Threads(min(self.n_threads, n_blocks))
        unit = rating_unit(train, initial.mean)
        weight_unit = train.summary.weight / len(train)
        counts = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
        weights = row_weights(train, *counts)
        penalties = self.objective.penalties_of(train, *weights)
        start = initial.in_units(unit)
        start_of = (
            (start.user_factors, start.user_bias),
            (start.item_factors, start.item_bias),
        )

        # From here on "users" are the kernels' users: the side that has fewer rows.
        exchanged = train.n_items < train.n_users
        side_order = (1, 0) if exchanged else (0, 1)
        users, items = (counts[side] for side in side_order)
        # A user without ratings is never loaded.
        user_cost = users.counts + _USER_CHANGE_COST * n_blocks * (users.counts > 0)
        user_bounds = balanced_bounds(np.cumsum(user_cost), n_blocks)
        item_bounds = balanced_bounds(np.cumsum(items.counts), n_blocks)
        tables: list[Float] = []
        shares: list[Float] = []
        for side in side_order:
            factors, bias = start_of[side]
            tables += [padded_table(factors), _columns(bias)]
            shares.append(_shares(penalties[side], weights[side], unit, factors.dtype))
        blocks = blocked(
            threads,
            users,
            items,
            train,
            self.dtype,
            initial.mean,
            unit=unit,
            weight_unit=weight_unit,
            bounds=(user_bounds, item_bounds),
        )
        working = [aligned_zeros(table.shape[0], table.shape[1], table.dtype) for table in tables]
        return BlockedState(
            threads=threads,
            row_weights=weights,
            exchanged=exchanged,
            mean=initial.mean,
            unit=unit,
            group=group_size(vector_parts(tables[0])),
            user_bounds=user_bounds,
            blocks=blocks,
            shares=(shares[0], shares[1]),
            done=tuple(tables),
            working=tuple(working),
        )

    def step(self, state: BlockedState, n_epochs: int) -> float:
        """Train ``n_epochs`` epochs.

        Returns
        -------
        float
            Mean squared error over the last epoch, of each rating before its step.
        """
        for _ in range(n_epochs):
            squared_error = self._epoch(state)
            # Only now does the epoch take effect. Until here a Ctrl-C leaves `done` as it was.
            state.done, state.working = state.working, state.done
            state.epochs += 1
        return squared_error * state.unit * state.unit / len(state.blocks.ratings)

    def parameters(self, state: BlockedState) -> Parameters:
        """Return a copy of the last whole epoch's parameters, in rating units."""
        tables = state.done[2:] + state.done[:2] if state.exchanged else state.done
        users, user_columns, items, item_columns = tables
        in_units = Parameters(
            state.mean,
            user_columns[:, 0],
            item_columns[:, 0],
            users[:, : self.rank],
            items[:, : self.rank],
        )
        return in_units.from_units(state.unit)

    def threads(self) -> AbstractContextManager[None]:
        """Limit BLAS to one thread; the kernels run on the threads of the state."""
        return one_blas_thread()

    def _epoch(self, state: BlockedState) -> float:
        """Visit every rating once, in the working tables; return the sum of squared errors."""
        n_blocks, users = len(state.blocks.starts), state.working[0]
        largest_cell = int(np.diff(state.blocks.starts).max())

        # How much is done between two chances to notice a Ctrl-C is limited by `WORK_PER_CALL`, in
        # multiply-adds: a rating is the rank and about 16 for the rest of its step. A copied byte
        # counts as one, since writing to memory for the first time is slow.
        work = largest_cell * (self.rank + 16)
        n_rounds = max(
            1,
            min(_ROUNDS, largest_cell // _MIN_RATINGS_PER_TASK),
            math.ceil(work / WORK_PER_CALL),
        )
        n_bytes = sum(table.nbytes for table in state.done)
        n_copies = max(
            _COPY_TASKS_PER_THREAD * state.threads.n,
            math.ceil(n_bytes / WORK_PER_CALL),
        )
        largest_task = max(work / n_rounds, n_bytes / n_copies)
        max_tasks = max(1, int(WORK_PER_CALL / largest_task))

        errors = np.zeros(n_rounds * n_blocks * n_blocks)
        group = (0,) * state.group
        number = users.dtype.type
        rule = tuple(map(number, (*self.rule, 1)))

        def do(claimed_task: ClaimedTask, counters: Counters, n_polls: int) -> int:
            result: int = do_tasks(
                max_tasks,
                claimed_task,
                counters,
                n_polls,
                n_copies,
                n_rounds,
                errors,
                state.done,
                state.working,
                state.shares,
                state.blocks.starts,
                state.user_bounds,
                state.blocks.ends,
                state.blocks.ratings,
                group,
                vector_parts(users),
                rule,
                *new_streams(),
            )
            return result

        share_tasks(state.threads, n_counters(n_blocks), do, checkpoint)
        return float(errors.sum())


def _columns(bias: Float) -> Float:
    """Return a table of bias, the two accumulators and the squared norm, shape (n_rows, 4).

    The norms stay zero: the kernels compute them.
    """
    table = aligned_zeros(len(bias), 4, bias.dtype)
    fill_columns(table, bias)
    return table


def _shares(penalties: Penalties, weights: Float, unit: float, dtype: np.dtype[Any]) -> Float:
    """Return what a rating of weight 1 bears of its row's penalties, shape (n_rows, 2)."""
    table = aligned_zeros(len(weights), 2, dtype)
    fill_shares(table, penalties, weights, unit)
    return table
