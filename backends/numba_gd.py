"""Momentum gradient descent in numba: one fused sweep over the ratings per iteration. The kernels do the arithmetic."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from backends._engine.interrupt import checkpoint
from backends._engine.sorting import Blocks, balanced_bounds, blocked, counted, row_weights, transposed
from backends._engine.threads import WORK_PER_CALL, Threads, one_blas_thread
from backends.kernels.gradient import descend, sweep
from backends.kernels.layout import aligned_zeros, padded_table, vector_parts

from ._arrays import Float
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Parameters
from .ratings import Ratings

# Each thread adds up the items' gradients in a table of its own while these tables take less than this, together;
# beyond that they would fill the caches, and a second sweep, by item, costs less, and no more memory than the ratings.
_PRIVATE_BYTES = 64 * 2**20


@dataclass
class Table:
    """One side of a point: factors padded to whole vectors, biases, and the factors' squared norms."""

    factors: Float
    bias: Float
    norms: Float


@dataclass
class Sums:
    """What a sweep adds up for one side: one table, or one per thread below each other; also the velocity of a side."""

    factors: Float
    bias: Float


@dataclass(kw_only=True)
class NumbaDescent(DescentState):
    """The current and the trial point, the velocity and the sums, each for (users, items); and the ratings.

    ``by_item`` is there when items are swept too; without it, ``sums`` of the items has one table per thread.
    """

    threads: Threads
    rank: int
    mean: float
    now: tuple[Table, Table]
    trial: tuple[Table, Table]
    velocity: tuple[Sums, Sums]
    sums: tuple[Sums, Sums]
    by_user: Blocks
    by_item: Blocks | None

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute the sums that make the gradient, squared error and penalty at a point."""
        users, items = self.trial if at_trial else self.now
        user_sums, item_sums = self.sums
        if self.by_item:
            squared_error = self._sweep(self.by_user, users, items, user_sums, None)
            self._sweep(self.by_item, items, users, item_sums, None)
        else:
            item_sums.factors[:] = item_sums.bias[:] = 0
            squared_error = self._sweep(self.by_user, users, items, user_sums, item_sums)
        penalty = 0.0
        for rows, side in ((self.users, users), (self.items, items)):
            penalty += _dot(rows.penalty, side.norms)
            penalty += _dot(rows.bias_penalty, np.square(side.bias, dtype=np.float64))
        return squared_error, penalty

    def curvature(self) -> tuple[float, float]:
        """Mean over the ratings of |q_i|^2 and of |p_u|^2."""
        users, items = self.now
        return _dot(self.items.weight, items.norms) / self.n, _dot(self.users.weight, users.norms) / self.n

    def move(self, rates: Rates, momentum: float, gain: float) -> None:
        """Step to the trial point; see the base class."""
        number = self.now[0].factors.dtype.type
        scale, keep = number(gain * 2.0 / self.n), number(momentum)
        sides = ("user", self.users), ("item", self.items)
        for now, trial, velocity, sums, (side, rows) in zip(
            self.now, self.trial, self.velocity, self.sums, sides, strict=True
        ):
            shared = (
                *(now.factors, trial.factors, velocity.factors, sums.factors),
                *(scale, rows.penalty.astype(number), keep),
                rates.of_factors(side, rows.weight, rows.penalty).astype(number),
                *(trial.norms, vector_parts(now.factors)),
            )
            for runs in self.threads.cut(len(now.bias)):
                self.threads.run(descend, [(*run, *shared) for run in runs])
            if self.bias:
                pulled = rows.bias_penalty.astype(number) * now.bias
                gradient = scale * (sums.bias.reshape(-1, len(now.bias)).sum(axis=0) + pulled)
                velocity.bias = keep * velocity.bias + gradient if momentum else gradient
                rate = rates.of_biases(rows.weight, rows.bias_penalty).astype(number)
                trial.bias = now.bias - rate * velocity.bias

    def accept(self) -> None:
        """Swap the two points' buffers."""
        self.now, self.trial = self.trial, self.now

    def _sweep(self, ratings: Blocks, rows: Table, opposites: Table, sums: Sums, opposite_sums: Sums | None) -> float:
        """Add up one side's sums, or both; return the squared error."""
        n_threads, n_opposites = self.threads.n, len(opposites.bias)
        n_calls = math.ceil(len(ratings.ratings) * (self.rank + 16) / n_threads / WORK_PER_CALL)
        cuts = balanced_bounds(ratings.ends[0], n_threads * n_calls)
        runs = list(pairwise(cuts.tolist()))
        if opposite_sums:
            tables = [slice(n_opposites * thread, n_opposites * (thread + 1)) for thread in range(n_threads)]
            theirs: list[tuple[Float | None, Float]] = [
                (opposite_sums.factors[table], opposite_sums.bias[table]) for table in tables
            ]
        else:
            theirs = [(None, sums.bias)] * n_threads
        shared = (
            *(ratings.ends[0], ratings.ratings),
            *(rows.factors, opposites.factors, rows.bias, opposites.bias, sums.factors, sums.bias),
            *(vector_parts(rows.factors), rows.factors.dtype.type(0)),
        )
        squared_error = 0.0
        for call in range(n_calls):
            checkpoint()
            mine = zip(runs[call::n_calls], theirs, strict=True)
            squared_error += sum(self.threads.run(sweep, [(*run, *own, *shared) for run, own in mine]))
        return squared_error


@dataclass(kw_only=True, eq=False)
class NumbaGD(MomentumGD):
    """Momentum gradient descent in jitted per-rating kernels; see `MomentumGD` for the parameters.

    Beside the factors, which it holds five times and the items' once more per thread, it takes 20 bytes per rating in
    float32 while it sorts, and 8 afterwards; 16 where the items are too many to be held per thread. Weights are 8 bytes
    more while it sorts, and 4 (or 8) afterwards. Per thread also 8 bytes for each user and item while it sorts.
    """

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> NumbaDescent:
        """Group the ratings by user, and by item where the items' gradients are too large to be kept per thread."""
        threads = Threads(self.n_threads)
        sides = ((initial.user_factors, initial.user_bias), (initial.item_factors, initial.item_bias))
        now, trial = ((_table(*sides[0]), _table(*sides[1])) for _ in range(2))
        two_sweeps = threads.n * now[1].factors.nbytes > _PRIVATE_BYTES
        users, items = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
        weights = row_weights(train, users, items)  # before the sorted ratings take their memory
        by_user = blocked(threads, users, items, train, self.dtype, initial.mean)
        by_item = transposed(threads, by_user, train.n_items) if two_sweeps else None
        return NumbaDescent(
            threads=threads,
            rank=self.rank,
            mean=initial.mean,
            now=now,
            trial=trial,
            velocity=(_sums(now[0], 1), _sums(now[1], 1)),
            sums=(_sums(now[0], 1), _sums(now[1], 1 if two_sweeps else threads.n)),
            by_user=by_user,
            by_item=by_item,
            **self.descent_options(train, weights),
        )

    def parameters(self, state: NumbaDescent) -> Parameters:
        """Return a copy of the current point."""
        users, items = state.now
        factors = (side.factors[:, : self.rank] for side in (users, items))
        return Parameters(state.mean, users.bias, items.bias, *factors).astype(self.dtype)

    def threads(self) -> AbstractContextManager[None]:
        """Keep BLAS to one thread; the kernels' own are those of `Threads`."""
        return one_blas_thread()


def _table(factors: Float, bias: Float) -> Table:
    table = padded_table(factors)
    return Table(table, bias.copy(), np.einsum("nk,nk->n", table, table, dtype=np.float64))


def _sums(table: Table, copies: int) -> Sums:
    n_rows, n_columns = table.factors.shape
    number = table.factors.dtype
    return Sums(aligned_zeros(copies * n_rows, n_columns, number), np.zeros(copies * n_rows, number))


def _dot(a: Float, b: Float) -> float:
    return float(np.einsum("n,n->", a, b))
