"""Parallel per-rating SGD in numba: the blocks of ratings, epochs that take effect whole, and the tables' layout.

Users and items are cut into as many blocks, balanced by ratings, and threads share the tasks of an epoch, a block of
ratings or a part of one each; see `kernels.epoch`. The result depends on nothing but the ratings in their order, the
seed and the parameters: not on the number of threads. Within a block the ratings go row by row of the side that has
fewer rows, so that each has many ratings there: the row stays in registers for that long; but several rows go in
turn, see `kernels.sgd`. The kernels call that side the users, whichever it is.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backends._engine.interrupt import checkpoint
from backends._engine.sorting import Blocks, balanced_bounds, blocked, counted, row_weights
from backends._engine.tasks import share_tasks
from backends._engine.threads import WORK_PER_CALL, Threads, one_blas_thread
from backends.kernels.epoch import do_tasks, n_counters
from backends.kernels.layout import aligned_zeros, padded_table, vector_parts
from backends.kernels.sgd import group_size

from ._arrays import Float
from ._validation import check_count, check_fits, check_number
from .factorizer import Factorizer, State
from .objective import Parameters, Penalties, rating_unit
from .ratings import Ratings

# An epoch goes this many times around the blocks, a part of each at a time: in a first pass over whole blocks, users
# and items that do not meet would settle on factors of their own, which costs an epoch or two.
_ROUNDS = 8

# Ratings that are worth a task of their own.
_TASK = 6_000

# Ratings that are worth a block of users, and of items, more: n blocks of each take n^2 times as many.
_BLOCK = 5_000

_COPIES = 2  # per thread: tasks in which the tables are copied

# Ratings that take as long as going over to another user does, whose row must be loaded: counted for each block.
_NEXT_USER = 2

# Share of a row's squared gradient that its accumulator takes. A larger one forgets the learning rate sooner; with this
# one, rates from 0.1 to 0.2 serve ranks 1 to 512 on all data sets tried.
_ACCUMULATED = 1 / 16

# What the accumulators start from, in units: a row's first step is learning_rate over its root. A larger one slows the
# first epochs, a smaller one lets rows with few ratings run off; from 0.1 to 1 the twentieth epoch is the same.
_FIRST = 0.1

# Largest error that a step is made for, in root mean squares of the ratings: larger ones count as this one (gradient
# clipping). No rating on a scale of stars comes near it; one that is wrong by orders of magnitude diverges no fit.
_LONGEST = 10.0


@dataclass(kw_only=True)
class BlockedState(State):
    """Ratings in blocks, and two sets of tables: the last whole epoch's, and the one being worked on.

    Where there are fewer items than users, ``exchanged`` is True: the users of what follows are the items. A set is:
    user factors, padded to whole vectors, and for each user bias, accumulator of the factors, accumulator of the bias,
    and squared norm of the factors; then the same for the items. Ratings are in units of ``unit``, so biases are too,
    and factors are in units of its root: learning rate and accumulators then fit any rating scale.

    ``user_bounds`` is where the blocks of users start, and the last ends. ``group`` is how many ratings are taken at a
    time. ``shares``, shapes (n_users, 2) and (n_items, 2), is what each rating brings of the penalties of its user and
    of its item, of the factors and of the bias. Weights are in units of their mean.
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
class NumbaSGD(Factorizer):
    """Stochastic gradient descent, one rating at a time, with row-wise AdaGrad steps.

    Within a block, the ratings of a user (or of an item, where there are fewer items) are met in the order in which
    they were given, but those of one with so many that they are met at several places in turn. Beside the factors,
    which it holds four times, it takes 20 bytes per rating in float32 while it sorts, and 8 afterwards (28 and 12 where
    ratings have weights); per thread also 8 bytes for each user and each item while it sorts; per block 8 for each row
    of the side that has fewer.

    The model depends on the order of the ratings; `Ratings.canonical` makes it one for one set of them.

    Parameters
    ----------
    learning_rate
        Rate of a row, over the root of its accumulator, which adds up the row's own gradients.
    n_blocks
        How many blocks users, and items, are cut into; n^2 times 5,000 ratings are worth n blocks, so fewer ratings
        make fewer. It decides in which order the ratings are met, and so what the model is, whatever ``n_jobs`` is.
        More threads than blocks are not used.
    """

    patience: ClassVar[int] = 3

    learning_rate: float = 0.11
    n_blocks: int = 8

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_number("learning_rate", self.learning_rate, positive=True)
        check_fits("learning_rate", self.learning_rate, self.dtype)
        check_count("n_blocks", self.n_blocks)

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> BlockedState:
        """Sort the ratings into blocks."""
        n_blocks = max(1, min(self.n_blocks, math.isqrt(len(train) // _BLOCK)))
        threads = Threads(min(self.n_threads, n_blocks))
        unit, weight_unit = rating_unit(train, initial.mean), train.summary.weight / len(train)
        exchanged = train.n_items < train.n_users
        sides = [
            (train.users, train.n_users, initial.user_factors, initial.user_bias),
            (train.items, train.n_items, initial.item_factors, initial.item_bias),
        ]
        counts = counted(threads, *(side[:2] for side in sides))
        weights = row_weights(train, *counts)
        penalties = self.objective.penalties_of(train, *weights)
        in_turn = (1, 0) if exchanged else (0, 1)
        users, items = (counts[side] for side in in_turn)
        user_size = users.counts + _NEXT_USER * n_blocks * (users.counts > 0)
        bounds = [balanced_bounds(np.cumsum(size), n_blocks) for size in (user_size, items.counts)]
        tables: list[Float] = []
        shares: list[Float] = []
        for side in in_turn:
            factors, bias = sides[side][2:]
            number = factors.dtype.type
            if unit != 1:
                factors, bias = factors / number(math.sqrt(unit)), bias / number(unit)
            tables += [padded_table(factors), _columns(bias)]
            shares.append(_shares(penalties[side], weights[side], unit, factors.dtype))
        return BlockedState(
            threads=threads,
            row_weights=weights,
            exchanged=exchanged,
            mean=initial.mean,
            unit=unit,
            group=group_size(vector_parts(tables[0])),
            user_bounds=bounds[0],
            blocks=blocked(
                *(threads, users, items, train, self.dtype, initial.mean),
                unit=unit,
                weight_unit=weight_unit,
                bounds=(bounds[0], bounds[1]),
            ),
            shares=(shares[0], shares[1]),
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
        tables = state.done[2:] + state.done[:2] if state.exchanged else state.done
        users, user_columns, items, item_columns = tables
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
            *(n_copies, n_calls, errors, state.done, state.working, state.shares),
            *(state.blocks.starts, state.user_bounds, state.blocks.ends, state.blocks.ratings),
            *((0,) * state.group, vector_parts(users)),
            tuple(users.dtype.type(x) for x in (*rates, _ACCUMULATED, _LONGEST, 1)),
        )
        share_tasks(
            state.threads,
            n_counters(n_blocks),
            lambda hand, counters, n_looks: do_tasks(most, hand, counters, n_looks, *arguments),
            checkpoint,
        )
        return float(errors.sum())


def _columns(bias: Float) -> Float:
    """Bias, the two accumulators, and the squared norm, which is computed later, side by side."""
    table = aligned_zeros(len(bias), 4, bias.dtype)
    table[:, 0], table[:, 1:3] = bias, _FIRST
    return table


def _shares(penalties: Penalties, weights: Float, unit: float, dtype: np.dtype[Any]) -> Float:
    """Return what each rating brings of its row's penalties, in units, per weight; shape (n_rows, 2).

    None is so large that its product with a rate, or with a weight, overflows. The largest is about 1e15 in float32:
    what is left of a row then changes no prediction, so a larger one would not either.
    """
    table = aligned_zeros(len(weights), 2, dtype)
    largest = float(np.finfo(dtype).max ** 0.4)
    for column, penalty in enumerate((penalties.factors / unit, penalties.biases)):
        table[:, column] = np.minimum(penalty / np.where(weights > 0, weights, 1.0), largest)
    return table
