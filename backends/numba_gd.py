"""Momentum gradient descent in numba: one sweep over the ratings per iteration.

A sweep visits the ratings user by user, and computes each residual and its share of the gradient of
both sides at once. The sums of a user stay in registers, but those of the items are all over
memory, and several threads add to the same item. So each thread has a table of items' sums to
itself; or, with so many items that these tables would be too large, a second sweep visits the
ratings item by item.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from backends._engine.interrupt import checkpoint
from backends._engine.sorting import (
    Blocks,
    balanced_bounds,
    blocked,
    counted,
    row_weights,
    transposed,
)
from backends._engine.threads import WORK_PER_CALL, Threads, one_blas_thread
from backends.kernels.gradient import descend, sweep
from backends.kernels.layout import aligned_zeros, padded_table, vector_parts

from ._arrays import Float
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Parameters
from .ratings import Ratings

# Largest total size of the threads' tables of items' sums, in bytes. Larger ones do not stay in the
# caches, and a second sweep is faster; it takes a copy of the ratings, sorted by item.
_PRIVATE_BYTES = 64 * 2**20


@dataclass
class Table:
    """One side of a point."""

    factors: Float  # shape (n_rows, padded rank), see `kernels.layout`
    bias: Float  # shape (n_rows,)
    norms: Float  # squared norms of the rows of factors, shape (n_rows,)


@dataclass
class Sums:
    """Sums of residuals for one side, or its velocity: of each row's factors and of its bias.

    There is one copy of all rows, or one per thread, each below the one before.
    """

    factors: Float  # shape (n_copies * n_rows, padded rank)
    bias: Float  # shape (n_copies * n_rows,)


@dataclass(kw_only=True)
class NumbaDescent(DescentState):
    """The two points, the velocity and the sums, each for (users, items), and the ratings.

    ``by_item`` is None if each thread has items' sums to itself; then ``sums`` of the items has a
    copy per thread. Otherwise it is the ratings for the second sweep.
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
        """Compute the sums of residuals at a point, its squared error and its penalty."""
        users, items = self.trial if at_trial else self.now
        user_sums, item_sums = self.sums
        if self.by_item:
            squared_error = self._sweep(self.by_user, users, items, user_sums, None)
            # The squared error of the second sweep is the same, but for rounding.
            self._sweep(self.by_item, items, users, item_sums, None)
        else:
            # A sweep overwrites the sums of its rows but adds to those of the opposite side.
            item_sums.factors[:] = item_sums.bias[:] = 0
            squared_error = self._sweep(self.by_user, users, items, user_sums, item_sums)
        penalty = 0.0
        for rows, side in ((self.users, users), (self.items, items)):
            penalty += _dot(rows.penalty, side.norms)
            penalty += _dot(rows.bias_penalty, np.square(side.bias, dtype=np.float64))
        return squared_error, penalty

    def curvature(self) -> tuple[float, float]:
        """Return the weighted mean over the ratings of |q_i|^2 and of |p_u|^2."""
        users, items = self.now
        item_curvature = _dot(self.items.weight, items.norms) / self.n
        user_curvature = _dot(self.users.weight, users.norms) / self.n
        return item_curvature, user_curvature

    def move(self, rates: Rates, momentum: float, gradient_weight: float) -> None:
        """Step to the trial point; see the base class."""
        number = self.now[0].factors.dtype.type
        # Sums and penalties times 2 / N make the gradient of J. All scalars are in the precision of
        # the tables: a float64 one would widen the kernel's arithmetic.
        scale, decay = number(gradient_weight * 2.0 / self.n), number(momentum)
        sides = ("user", self.users), ("item", self.items)
        for now, trial, velocity, sums, (side, rows) in zip(
            self.now, self.trial, self.velocity, self.sums, sides, strict=True
        ):
            factor_rates = rates.of_factors(side, rows.weight, rows.penalty).astype(number)
            shared = (
                now.factors,
                trial.factors,
                velocity.factors,
                sums.factors,
                scale,
                rows.penalty.astype(number),
                decay,
                factor_rates,
                trial.norms,
                vector_parts(now.factors),
            )
            for pieces in self.threads.cut(len(now.bias)):
                self.threads.run(descend, [(first, last, *shared) for first, last in pieces])
            # The same for the biases. They are one number per row, for which NumPy is fast enough.
            if self.bias:
                penalty = rows.bias_penalty.astype(number) * now.bias
                bias_sums = sums.bias.reshape(-1, len(now.bias)).sum(axis=0)
                gradient = scale * (bias_sums + penalty)
                velocity.bias = decay * velocity.bias + gradient if momentum else gradient
                rate = rates.of_biases(rows.weight, rows.bias_penalty).astype(number)
                trial.bias = now.bias - rate * velocity.bias

    def accept(self, fell: bool) -> None:
        """Swap the two points' buffers if J fell."""
        self.has_gradient = fell
        if fell:
            self.now, self.trial = self.trial, self.now

    def _sweep(
        self,
        ratings: Blocks,
        rows: Table,
        opposites: Table,
        sums: Sums,
        opposite_sums: Sums | None,
    ) -> float:
        """Visit all ratings, row by row; return the squared error.

        It computes the sums of one side, and with ``opposite_sums`` those of the other side too.
        """
        n_threads, n_opposites = self.threads.n, len(opposites.bias)
        # A rating takes the rank and about 16 multiply-adds; see `WORK_PER_CALL`.
        work = len(ratings.ratings) * (self.rank + 16) / n_threads
        n_calls = math.ceil(work / WORK_PER_CALL)
        # Ranges of rows with about as many ratings each: thread t does n_calls consecutive ones.
        cuts = balanced_bounds(ratings.ends[0], n_threads * n_calls)
        ranges = list(pairwise(cuts.tolist()))
        # For each thread the tables of the opposite side's sums that it adds to.
        private: list[tuple[Float | None, Float]] = []
        for thread in range(n_threads):
            if opposite_sums:
                copy = slice(n_opposites * thread, n_opposites * (thread + 1))
                private.append((opposite_sums.factors[copy], opposite_sums.bias[copy]))
            else:
                # Nothing is written to the second one: it only has the type that the kernel wants.
                private.append((None, sums.bias))
        shared = (
            ratings.ends[0],
            ratings.ratings,
            rows.factors,
            opposites.factors,
            rows.bias,
            opposites.bias,
            sums.factors,
            sums.bias,
            vector_parts(rows.factors),
            rows.factors.dtype.type(0),
        )
        squared_error = 0.0
        for call in range(n_calls):
            checkpoint()
            arguments = [
                (first, last, factor_sums, bias_sums, *shared)
                for (first, last), (factor_sums, bias_sums) in zip(
                    ranges[call::n_calls],
                    private,
                    strict=True,
                )
            ]
            squared_error += sum(self.threads.run(sweep, arguments))
        return squared_error


@dataclass(kw_only=True, eq=False)
class NumbaGD(MomentumGD):
    """Momentum gradient descent in numba kernels; see `MomentumGD` for the parameters.

    Memory, beside the factors, which are held five times, and those of the items once more per
    thread: 20 bytes per rating in float32 while ratings are sorted and 8 afterwards, or 16 with a
    second sweep by item; weights add 8 bytes while ratings are sorted and 4 (or 8) afterwards.
    While they are sorted, 8 bytes per thread for each user and item.
    """

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> NumbaDescent:
        """Sort the ratings by user, and by item too if the items' sums are too large per thread."""
        threads = Threads(self.n_threads)
        sides = (
            (initial.user_factors, initial.user_bias),
            (initial.item_factors, initial.item_bias),
        )
        now, trial = ((_table(*sides[0]), _table(*sides[1])) for _ in range(2))
        two_sweeps = threads.n * now[1].factors.nbytes > _PRIVATE_BYTES
        item_copies = 1 if two_sweeps else threads.n
        users, items = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
        # Summed here, before the sorted ratings take memory.
        weights = row_weights(train, users, items)
        by_user = blocked(threads, users, items, train, self.dtype, initial.mean)
        by_item = transposed(threads, by_user, train.n_items) if two_sweeps else None
        return NumbaDescent(
            threads=threads,
            rank=self.rank,
            mean=initial.mean,
            now=now,
            trial=trial,
            velocity=(_sums(now[0], 1), _sums(now[1], 1)),
            sums=(_sums(now[0], 1), _sums(now[1], item_copies)),
            by_user=by_user,
            by_item=by_item,
            **self.descent_options(train, weights),
        )

    def parameters(self, state: NumbaDescent) -> Parameters:
        """Return a copy of the current point."""
        users, items = state.now
        views = Parameters(
            state.mean,
            users.bias,
            items.bias,
            users.factors[:, : self.rank],
            items.factors[:, : self.rank],
        )
        return views.astype(self.dtype)

    def threads(self) -> AbstractContextManager[None]:
        """Limit BLAS to one thread; the kernels run on the threads of the state."""
        return one_blas_thread()


def _table(factors: Float, bias: Float) -> Table:
    """Return a point's side at the given factors and biases, which are copied."""
    table = padded_table(factors)
    return Table(table, bias.copy(), np.einsum("nk,nk->n", table, table, dtype=np.float64))


def _sums(table: Table, copies: int) -> Sums:
    """Return sums of zero for as many copies of the rows of a table."""
    n_rows, n_columns = table.factors.shape
    number = table.factors.dtype
    return Sums(
        aligned_zeros(copies * n_rows, n_columns, number),
        np.zeros(copies * n_rows, number),
    )


def _dot(a: Float, b: Float) -> float:
    return float(np.einsum("n,n->", a, b))
