"""Alternating least squares in numba, row by row.

The rows of a side do not depend on each other: see `_engine.row_solver`, which solves for them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from backends._engine.row_solver import RowSolver, Side, Table
from backends._engine.sorting import blocked, counted, row_weights, transposed
from backends._engine.threads import Threads, one_blas_thread

from ._validation import check_choice, check_count
from .alternating import AlternatingLeastSquares
from .factorizer import State
from .objective import Parameters, rating_unit
from .ratings import Ratings


@dataclass(kw_only=True)
class AlternatingState(State):
    """The ratings by user and by item, and two sets of tables, each for (users, items).

    Ratings and biases are in units of ``unit``, and factors in units of its square root, so that
    nothing overflows whatever the rating scale is. Weights are in units of their mean.
    """

    solver: RowSolver
    mean: float
    unit: float
    sides: tuple[Side, Side]
    done: tuple[Table, Table]  # of the last whole epoch
    working: tuple[Table, Table]  # in which the next one is computed


@dataclass(kw_only=True, eq=False)
class NumbaALS(AlternatingLeastSquares):
    """Alternating least squares in numba kernels; an epoch updates both sides.

    An epoch takes rank^2 multiply-adds per rating and rank^3 / 6 per row, or with conjugate
    gradients about 4 rank (cg_steps + 2) per rating. Memory, beside the factors, which are held
    three times and by ``fit`` itself: 20 bytes per rating in float32 while ratings are sorted and
    16 afterwards; weights add 8 bytes while they are sorted and 8 afterwards. Where rows look
    singular in float32, float64 copies of theirs and of the other side's factors.

    Parameters
    ----------
    method
        "cholesky": each row is solved for exactly. "cg": a few steps of conjugate gradients from
        the row's last solution, which with many factors is faster.
    cg_steps
        Steps of conjugate gradients per row and half-epoch.
    """

    method: Literal["cholesky", "cg"] = "cholesky"
    cg_steps: int = 3

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_choice("method", self.method, ("cholesky", "cg"))
        check_count("cg_steps", self.cg_steps)

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> AlternatingState:
        """Sort the ratings by user and by item."""
        threads = Threads(self.n_threads)
        unit = rating_unit(train, initial.mean)
        weight_unit = train.summary.weight / len(train)
        users, items = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
        weights = row_weights(train, users, items)
        by_user = blocked(
            threads,
            users,
            items,
            train,
            self.dtype,
            initial.mean,
            unit=unit,
            weight_unit=weight_unit,
        )
        by_item = transposed(threads, by_user, train.n_items)
        solver = RowSolver(
            rank=self.rank,
            dtype=np.dtype(self.dtype),
            solves_for_biases=self.solves_for_biases,
            fixed_bias=self.bias == "fixed",
            cg_steps=self.cg_steps if self.method == "cg" else 0,
            threads=threads,
        )
        user_penalties, item_penalties = (
            penalties.in_units(unit, weight_unit, self.dtype)
            for penalties in self.objective.penalties_of(train, *weights)
        )
        start = initial.in_units(unit)
        tables = (
            solver.table(start.user_factors, start.user_bias),
            solver.table(start.item_factors, start.item_bias),
        )
        return AlternatingState(
            solver=solver,
            row_weights=weights,
            mean=initial.mean,
            unit=unit,
            sides=(solver.side(by_user, *user_penalties), solver.side(by_item, *item_penalties)),
            done=tables,
            working=(tables[0].copy(), tables[1].copy()),
        )

    def step(self, state: AlternatingState, n_epochs: int) -> float:
        """Alternate ``n_epochs`` times; return the training MSE after the last."""
        of_users, of_items = state.sides
        for _ in range(n_epochs):
            users, items = state.working
            before_users, before_items = state.done
            state.solver.solve(of_users, before_items, before_users, users, with_errors=False)
            squared_error = state.solver.solve(
                of_items, users, before_items, items, with_errors=True
            )
            # Only now does the epoch take effect: a Ctrl-C before leaves the last whole one.
            state.done, state.working = state.working, state.done
            state.epochs += 1
        return squared_error * state.unit * state.unit / len(state.sides[0].ratings.ratings)

    def parameters(self, state: AlternatingState) -> Parameters:
        """Return a copy of the last whole epoch's parameters, in rating units."""
        users, items = state.done
        in_units = Parameters(
            state.mean,
            users.bias,
            items.bias,
            users.factors[:, : self.rank],
            items.factors[:, : self.rank],
        )
        return in_units.from_units(state.unit)

    def threads(self) -> AbstractContextManager[None]:
        """Limit BLAS to one thread; the kernels run on the threads of the state."""
        return one_blas_thread()
