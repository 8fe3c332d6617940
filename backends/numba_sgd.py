"""Parallel per-rating SGD in numba: the schedule of blocks, epochs that take effect whole, and the tables' layout.

Users and items are cut into as many blocks as there are threads, balanced by ratings. In each round every thread
takes another pair of blocks, none sharing a row with another (Gemulla et al. 2011, DSGD), so no locks are needed and
the result depends on nothing but seed and number of threads. Within a block the ratings go user by user, which keeps
the user's row in the nearest cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ._checks import check_number
from ._interrupt import checkpoint
from ._numba import numba_threads
from .factorizer import Factorizer, State
from .kernels.grouping import balanced_bounds, grouped
from .kernels.sgd import blocked, blocks_pass
from .objective import Float, Parameters, rating_unit
from .ratings import Ratings

# A kernel returns to Python after about this many multiply-adds, so that a Ctrl-C waits for less than half a second.
_WORK_PER_CALL = 5e8


@dataclass(kw_only=True)
class BlockedState(State):
    """Ratings in blocks, and two pairs of tables: the last whole epoch's, and the one being worked on.

    A table row is: factors, bias, accumulator of the factors, accumulator of the bias. Ratings are in units of
    ``unit``, so biases are too, and factors are in units of its root: learning rate and accumulators then fit any
    rating scale. The unit is a power of 4, so that changing to it and back is exact.
    """

    mean: float
    unit: float
    user_bounds: NDArray[np.int64]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    targets: Float
    user_pull: Float
    item_pull: Float
    done: tuple[Float, Float]
    working: tuple[Float, Float]


@dataclass(kw_only=True, eq=False)
class NumbaSGD(Factorizer):
    """Stochastic gradient descent, one rating at a time, with row-wise AdaGrad steps.

    Parameters
    ----------
    learning_rate
        Step of a row before it has met any error; from then on it shrinks by the row's own gradients.
    """

    learning_rate: float = 0.1

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_number("learning_rate", self.learning_rate, positive=True)

    def prepare(self, train: Ratings, initial: Parameters) -> BlockedState:
        """Sort the ratings into blocks."""
        n_blocks = numba.get_num_threads()
        user_count, item_count = train.user_counts(), train.item_counts()
        user_bounds, item_bounds = (
            balanced_bounds(user_count, n_blocks),
            balanced_bounds(item_count, n_blocks),
        )
        item_block = np.repeat(np.arange(n_blocks, dtype=np.int32), np.diff(item_bounds))
        # By item first: then the order within a user, and so the result, does not depend on the order of the rows.
        targets = self.targets(train, initial)
        unit = rating_unit(targets)
        targets /= targets.dtype.type(unit)
        by_item, users, targets = grouped(train.items, train.n_items, train.users, targets)
        items = np.repeat(np.arange(train.n_items, dtype=np.int32), np.diff(by_item))
        offsets, items, targets = blocked(users, items, targets, user_bounds, item_block, n_blocks)
        user_weight, item_weight = self.objective.row_weights(train)
        tables = (
            _table(initial.user_factors, initial.user_bias, unit),
            _table(initial.item_factors, initial.item_bias, unit),
        )
        return BlockedState(
            mean=initial.mean,
            unit=unit,
            user_bounds=user_bounds,
            offsets=offsets,
            items=items,
            targets=targets,
            # Each rating carries its share of the row's penalty: reg w / n_row. In units, J is unit^2 times
            # [sum of squared errors + (reg / unit) w |factors|^2 + reg w bias^2].
            user_pull=(self.reg / unit * user_weight / np.maximum(user_count, 1)).astype(self.dtype),
            item_pull=(self.reg / unit * item_weight / np.maximum(item_count, 1)).astype(self.dtype),
            done=tables,
            working=(tables[0].copy(), tables[1].copy()),
        )

    def step(self, state: BlockedState, n_epochs: int) -> float:
        """Pass ``n_epochs`` times over the ratings; return the mean squared error met during the last pass."""
        for _ in range(n_epochs):
            squared_error = self._epoch(state)
            state.done, state.working = state.working, state.done
            state.epochs += 1
            for done, working in zip(state.done, state.working, strict=True):
                np.copyto(working, done)
        return squared_error * state.unit**2 / len(state.items)

    def parameters(self, state: BlockedState) -> Parameters:
        """Return a copy of the last whole epoch's parameters."""
        users, items = state.done
        rank, number = self.rank, users.dtype.type
        bias_unit, factor_unit = number(state.unit), number(math.sqrt(state.unit))
        return Parameters(
            state.mean,
            users[:, rank] * bias_unit,
            items[:, rank] * bias_unit,
            users[:, :rank] * factor_unit,
            items[:, :rank] * factor_unit,
        )

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Keep numba's threads to ``n_jobs``."""
        with numba_threads(self.n_threads):
            yield

    def _epoch(self, state: BlockedState) -> float:
        n_blocks = len(state.user_bounds) - 1
        work = len(state.items) / n_blocks**2 * (self.rank + 8)  # of one block
        n_calls = max(1, int(np.ceil(work / _WORK_PER_CALL)))
        shares = np.linspace(0, 1, n_calls + 1)
        squared_error = 0.0
        for turn in range(n_blocks):
            item_block = (np.arange(n_blocks) + turn) % n_blocks
            for call in range(n_calls):
                checkpoint()
                squared_error += blocks_pass(
                    state.user_bounds,
                    item_block,
                    shares[call : call + 2],
                    state.offsets,
                    state.items,
                    state.targets,
                    *state.working,
                    state.user_pull,
                    state.item_pull,
                    state.targets.dtype.type(self.learning_rate),
                    state.targets.dtype.type(state.unit),
                    self.bias,
                )
        return squared_error


def _table(factors: Float, bias: Float, unit: float) -> Float:
    """Factors, bias and the two accumulators, which start at 1, side by side: what one rating touches lies together."""
    number, ones = factors.dtype.type, np.ones_like(bias)
    columns = [factors / number(math.sqrt(unit)), bias / number(unit), ones, ones]
    return np.ascontiguousarray(np.column_stack(columns))
