"""Momentum gradient descent in numba: one fused sweep over the ratings per iteration. The kernels do the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ._interrupt import checkpoint
from ._numba import numba_threads
from .kernels.gradient import descend, descend_bias, sweep
from .kernels.grouping import balanced_bounds, grouped
from .kernels.simd import aligned_zeros, padded_table, vector_parts
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Float, Parameters
from .ratings import Ratings

# A kernel returns to Python after about this many multiply-adds of a thread, so that a Ctrl-C waits for less than
# half a second.
_WORK_PER_CALL = 5e8

# Each thread adds up the items' gradients in a table of its own while these tables take less than this, together;
# beyond that they would fill the caches, and a second sweep, by item, costs less, and no more memory than the ratings.
_PRIVATE_BYTES = 64 * 2**20


@dataclass
class Grouped:
    """Ratings grouped by the rows of one side.

    ``bounds`` has shape (n_calls, n_threads, 2): each call of the kernel sweeps one run of rows per thread.
    """

    bounds: NDArray[np.int64]
    offsets: NDArray[np.int64]
    others: NDArray[np.int32]
    targets: Float


@dataclass
class Table:
    """One side of a point: factors padded to whole vectors, biases, and the factors' squared norms."""

    factors: Float
    bias: Float
    norms: NDArray[np.float64]


@dataclass
class Sums:
    """What a sweep adds up for one side: one table, or one per thread below each other, for factors and biases."""

    factors: Float
    bias: Float


@dataclass(kw_only=True)
class NumbaDescent(DescentState):
    """The current and the trial point, the velocity and the sums, each for (users, items); and the ratings.

    ``by_item`` is there when items are swept too; without it, ``sums`` of the items has one table per thread.
    """

    rank: int
    mean: float
    now: tuple[Table, Table]
    trial: tuple[Table, Table]
    velocity: tuple[Table, Table]
    sums: tuple[Sums, Sums]
    by_user: Grouped
    by_item: Grouped | None
    user_count: NDArray[np.int64]
    item_count: NDArray[np.int64]

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute the sums that make the gradient, squared error and penalty at a point."""
        users, items = self.trial if at_trial else self.now
        user_sums, item_sums = self.sums
        if self.by_item:
            squared_error = _sweep(self.by_user, users, items, user_sums, None)
            _sweep(self.by_item, items, users, item_sums, None)
        else:
            item_sums.factors[:] = item_sums.bias[:] = 0
            squared_error = _sweep(self.by_user, users, items, user_sums, item_sums)
        penalty = self.user_weight @ (users.norms + np.square(users.bias, dtype=np.float64))
        penalty += self.item_weight @ (items.norms + np.square(items.bias, dtype=np.float64))
        return squared_error, float(penalty)

    def curvature(self) -> tuple[float, float]:
        """Mean over the ratings of |q_i|^2 and of |p_u|^2."""
        users, items = self.now
        return (
            float(self.item_count @ items.norms) / self.n_ratings,
            float(self.user_count @ users.norms) / self.n_ratings,
        )

    def move(self, rates: Rates, momentum: float, gain: float) -> None:
        """Step to the trial point; see the base class."""
        sides = (
            (self.user_weight, self.user_scale, rates.user_factors),
            (self.item_weight, self.item_scale, rates.item_factors),
        )
        number = self.now[0].factors.dtype.type
        scale, keep = number(gain * 2.0 / self.n_ratings), number(momentum)
        for now, trial, velocity, sums, (weight, row_scale, rate) in zip(
            self.now, self.trial, self.velocity, self.sums, sides, strict=True
        ):
            pull = (self.reg * weight).astype(number)
            descend(
                *(now.factors, trial.factors, velocity.factors, sums.factors),
                *(scale, pull, keep, (rate * row_scale).astype(number)),
                *(trial.norms, vector_parts(now.factors), number(0)),
            )
            if self.bias:
                step = (rates.bias * row_scale).astype(number)
                descend_bias(now.bias, trial.bias, velocity.bias, sums.bias, scale, pull, keep, step)

    def accept(self) -> None:
        """Swap the two points' buffers."""
        self.now, self.trial = self.trial, self.now


@dataclass(kw_only=True, eq=False)
class NumbaGD(MomentumGD):
    """Momentum gradient descent in jitted per-rating kernels; see `MomentumGD` for the parameters."""

    def prepare(self, train: Ratings, initial: Parameters) -> NumbaDescent:
        """Group the ratings by user, and by item where the items' gradients are too large to be kept per thread."""
        n_threads = numba.get_num_threads()
        sides = ((initial.user_factors, initial.user_bias), (initial.item_factors, initial.item_bias))
        now, trial, velocity = ((_table(*sides[0]), _table(*sides[1])) for _ in range(3))
        two_sweeps = n_threads * now[1].factors.nbytes > _PRIVATE_BYTES
        copies = 1 if two_sweeps else n_threads
        by_user = self._grouped(train.users, train.n_users, train.items, train, initial)
        by_item = self._grouped(train.items, train.n_items, train.users, train, initial) if two_sweeps else None
        return NumbaDescent(
            rank=self.rank,
            mean=initial.mean,
            now=now,
            trial=trial,
            velocity=velocity,
            sums=(_sums(now[0], 1), _sums(now[1], copies)),
            by_user=by_user,
            by_item=by_item,
            user_count=np.diff(by_user.offsets),
            item_count=train.item_counts(),
            **self.descent_options(train),
        )

    def parameters(self, state: NumbaDescent) -> Parameters:
        """Return a copy of the current point."""
        users, items = state.now
        factors = (np.ascontiguousarray(side.factors[:, : self.rank]) for side in (users, items))
        return Parameters(state.mean, users.bias.copy(), items.bias.copy(), *factors).astype(self.dtype)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Keep numba's threads to ``n_jobs``."""
        with numba_threads(self.n_threads):
            yield

    def _grouped(
        self, keys: NDArray[np.int32], n_keys: int, others: NDArray[np.int32], train: Ratings, initial: Parameters
    ) -> Grouped:
        n_threads = numba.get_num_threads()
        grouped_others, targets = np.empty_like(others), np.empty(len(train), self.dtype)
        offsets = grouped(keys, n_keys, others, train.ratings, initial.mean, 1.0, grouped_others, targets, n_threads)
        n_calls = math.ceil(len(train) * (self.rank + 16) / n_threads / _WORK_PER_CALL)
        cuts = balanced_bounds(np.diff(offsets), n_threads * n_calls)
        runs = np.stack([cuts[:-1], cuts[1:]], axis=1).reshape(n_threads, n_calls, 2)
        return Grouped(np.ascontiguousarray(runs.swapaxes(0, 1)), offsets, grouped_others, targets)


def _sweep(ratings: Grouped, rows: Table, opposites: Table, sums: Sums, opposite_sums: Sums | None) -> float:
    """Add up one side's sums, or both; return the squared error."""
    squared_error = 0.0
    for bounds in ratings.bounds:
        checkpoint()
        squared_error += sweep(
            *(bounds, ratings.offsets, ratings.others, ratings.targets),
            *(rows.factors, opposites.factors, rows.bias, opposites.bias, sums.factors, sums.bias),
            *(opposite_sums.factors if opposite_sums else None, opposite_sums.bias if opposite_sums else sums.bias),
            *(vector_parts(rows.factors), rows.factors.dtype.type(0)),
        )
    return squared_error


def _table(factors: Float, bias: Float) -> Table:
    table = padded_table(factors)
    return Table(table, bias.copy(), np.einsum("nk,nk->n", table, table, dtype=np.float64))


def _sums(table: Table, copies: int) -> Sums:
    n_rows, n_columns = table.factors.shape
    number = table.factors.dtype
    return Sums(aligned_zeros(copies * n_rows, n_columns, number), np.zeros(copies * n_rows, number))
