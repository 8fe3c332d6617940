"""Parallel per-rating SGD in numba: the blocks of ratings, epochs that take effect whole, and the tables' layout.

Users and items are cut into as many blocks, balanced by ratings, and threads share the tasks of an epoch, a block of
ratings or a part of one each; see `kernels.epoch`. The result depends on nothing but the ratings in their order, the
seed and the number of threads. Within a block the ratings go user by user, which keeps the user's row in registers, but
several users in turn; see `kernels.sgd`.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._checks import check_fits, check_number
from ._grouping import Blocks, blocked, counted
from ._interrupt import checkpoint
from ._tasks import share_tasks
from ._threads import WORK_PER_CALL, Threads, one_blas_thread
from .factorizer import Factorizer, State
from .kernels.epoch import do_tasks, n_counters
from .kernels.grouping import balanced_bounds
from .kernels.sgd import group_size
from .kernels.tables import aligned_zeros, padded_table, vector_parts
from .objective import Float, Parameters, rating_unit
from .ratings import Ratings

# An epoch goes this many times around the blocks, a part of each at a time: in a first pass over whole blocks, users
# and items that do not meet would settle on factors of their own, which costs an epoch or two.
_ROUNDS = 8

# Ratings that are worth a task of their own.
_TASK = 10_000

# Blocks of users, and of items, beside one per thread: a thread that is done finds another task to take.
_SPARE = 1

# Ratings that are worth a thread more: of n threads, n^2 times as many.
_BLOCK = 5_000

_COPIES = 2  # per thread: tasks in which the tables are copied

# Ratings that take as long as going over to another user does, whose row must be loaded: counted for each block.
_NEXT_USER = 2

# Share of a row's squared gradient that its accumulator takes. A larger one forgets the learning rate sooner; with this
# one, rates from 0.1 to 0.2 serve ranks 1 to 512 on all data sets tried.
_ACCUMULATED = 1 / 16


@dataclass(kw_only=True)
class BlockedState(State):
    """Ratings in blocks, and two sets of tables: the last whole epoch's, and the one being worked on.

    A set is: user factors, padded to whole vectors, and for each user bias, accumulator of the factors, accumulator of
    the bias, and squared norm of the factors; then the same for the items. Ratings are in units of ``unit``, so biases
    are too, and factors are in units of its root: learning rate and accumulators then fit any rating scale. The unit is
    a power of 4, so that changing to it and back is exact.

    ``user_bounds`` is where the blocks of users start, and the last ends. ``group`` is how many ratings are taken at a
    time. ``pulls`` is what regularises each user and each item.
    """

    threads: Threads
    mean: float
    unit: float
    group: int
    user_bounds: NDArray[np.int64]
    blocks: Blocks
    pulls: tuple[Float, Float]
    done: tuple[Float, ...]
    working: tuple[Float, ...]


@dataclass(kw_only=True, eq=False)
class NumbaSGD(Factorizer):
    """Stochastic gradient descent, one rating at a time, with row-wise AdaGrad steps.

    Within a block of items, the ratings of a user are met in the order in which they were given, but those of a user
    with so many that they are met at several places in turn. Beside the factors, which it holds four times, it takes
    20 bytes per rating in float32 while it sorts, and 8 afterwards; per thread also 8 bytes for each user and each item
    while it sorts; per block of items, of which there is one more than threads, 8 for each user.

    Parameters
    ----------
    learning_rate
        Step of a row before it has met any error; from then on it shrinks by the row's own gradients.
    """

    learning_rate: float = 0.15

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_number("learning_rate", self.learning_rate, positive=True)
        check_fits("learning_rate", self.learning_rate, self.dtype)

    def prepare(self, train: Ratings, initial: Parameters) -> BlockedState:
        """Sort the ratings into blocks."""
        threads = Threads(max(1, min(self.n_threads, math.isqrt(len(train) // _BLOCK))))
        unit = rating_unit(train, initial.mean)
        users, items = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
        counts = users.counts, items.counts
        n_blocks = threads.n + _SPARE if threads.n > 1 else 1
        user_bounds = balanced_bounds(np.cumsum(counts[0] + _NEXT_USER * n_blocks * (counts[0] > 0)), n_blocks)
        item_bounds = balanced_bounds(np.cumsum(counts[1]), n_blocks)
        tables: list[Float] = []
        pulls: list[Float] = []
        for count, factors, bias in zip(
            counts,
            (initial.user_factors, initial.item_factors),
            (initial.user_bias, initial.item_bias),
            strict=True,
        ):
            # Each rating carries its share of the row's penalty: reg w / n_row. In units, J is unit^2 times
            # [sum of squared errors + (reg / unit) w |factors|^2 + reg w bias^2].
            pull = self.reg / unit * self.objective.weights(count) / np.maximum(count, 1)
            pulls.append(np.minimum(pull, _strongest_pull(factors.dtype)).astype(factors.dtype))
            if unit != 1:
                factors, bias = factors / factors.dtype.type(math.sqrt(unit)), bias / unit
            tables += [padded_table(factors), _columns(bias)]
        return BlockedState(
            threads=threads,
            mean=initial.mean,
            unit=unit,
            group=group_size(vector_parts(tables[0])),
            user_bounds=user_bounds,
            blocks=blocked(
                *(threads, users, items, train.ratings, self.dtype, initial.mean, unit),
                bounds=(user_bounds, item_bounds),
            ),
            pulls=(pulls[0], pulls[1]),
            done=tuple(tables),
            working=tuple(aligned_zeros(table.shape[0], table.shape[1], table.dtype) for table in tables),
        )

    def step(self, state: BlockedState, n_epochs: int) -> float:
        """Pass ``n_epochs`` times over the ratings; return the mean squared error met during the last pass."""
        for _ in range(n_epochs):
            squared_error = self._epoch(state)
            state.done, state.working = state.working, state.done
            state.epochs += 1
        return squared_error * state.unit * state.unit / len(state.blocks.ratings)

    def parameters(self, state: BlockedState) -> Parameters:
        """Return a copy of the last whole epoch's parameters."""
        users, user_columns, items, item_columns = state.done
        number = users.dtype.type
        bias_unit, factor_unit = number(state.unit), number(math.sqrt(state.unit))
        return Parameters(
            state.mean,
            user_columns[:, 0] * bias_unit,
            item_columns[:, 0] * bias_unit,
            users[:, : self.rank] * factor_unit,
            items[:, : self.rank] * factor_unit,
        )

    def threads(self) -> AbstractContextManager[None]:
        """Keep BLAS to one thread; the kernels' own are those of `Threads`."""
        return one_blas_thread()

    def _epoch(self, state: BlockedState) -> float:
        """Pass once over the ratings, in the working tables; return the sum of squared errors."""
        n_blocks, users = len(state.blocks.starts), state.working[0]
        largest = int(np.diff(state.blocks.starts).max())
        work = largest * (self.rank + 16)
        n_calls = max(1, min(_ROUNDS, largest // _TASK), math.ceil(work / WORK_PER_CALL))
        size = sum(table.nbytes for table in state.done)  # a byte may take as long as a multiply-add: memory is new
        n_copies = max(_COPIES * state.threads.n, math.ceil(size / WORK_PER_CALL))
        most = max(1, int(WORK_PER_CALL / max(work / n_calls, size / n_copies)))
        errors = np.zeros(n_calls * n_blocks * n_blocks)
        rates = self.learning_rate, self.learning_rate if self.bias else 0
        arguments = (
            *(n_copies, n_calls, errors, state.done, state.working, state.pulls),
            *(state.blocks.starts, state.user_bounds, state.blocks.ends, state.blocks.ratings),
            *((0,) * state.group, vector_parts(users)),
            tuple(users.dtype.type(x) for x in (*rates, _ACCUMULATED, state.unit, 1)),
        )
        share_tasks(
            state.threads,
            n_counters(n_blocks),
            lambda hand, counters, n_looks: do_tasks(most, hand, counters, n_looks, *arguments),
            checkpoint,
        )
        return float(errors.sum())


def _columns(bias: Float) -> Float:
    """Bias, the two accumulators, which start at 1, and the squared norm, which is computed later, side by side."""
    table = aligned_zeros(len(bias), 4, bias.dtype)
    table[:, 0], table[:, 1:3] = bias, 1
    return table


def _strongest_pull(dtype: np.dtype[Any]) -> float:
    """Return a pull whose square times a squared norm, which the accumulators take, does not overflow.

    It is about 1e15 in float32: what is left of a row then changes no prediction, so a stronger one would not either.
    """
    return float(np.finfo(dtype).max ** 0.4)
