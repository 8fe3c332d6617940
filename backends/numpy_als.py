"""Alternating least squares in NumPy, in batches of rows of similar numbers of ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends._engine.least_squares import Equations

from ._arrays import Float
from .alternating import AlternatingLeastSquares
from .factorizer import State
from .objective import Parameters, Penalties, rating_unit
from .ratings import Ratings


class Side(NamedTuple):
    """The ratings grouped by the rows of one side, and the penalties; see `Equations`."""

    offsets: NDArray[np.int64]
    opposites: NDArray[np.int32]
    targets: Float
    weights: Float | None
    penalty: Float
    bias_penalty: Float | None


class Table(NamedTuple):
    """One side of a model, in units: see `AlternatingState`."""

    factors: Float  # shape (n_rows, rank)
    bias: Float  # shape (n_rows,)


@dataclass(kw_only=True)
class AlternatingState(State):
    """The ratings by user and by item, and the tables after the last whole epoch.

    Ratings and biases are in units of ``unit``, and factors in units of its square root, so that
    nothing overflows whatever the rating scale is. Weights are in units of their mean.
    """

    mean: float
    unit: float
    users: Side
    items: Side
    done: tuple[Table, Table]


@dataclass(kw_only=True, eq=False)
class NumpyALS(AlternatingLeastSquares):
    """Alternating least squares in NumPy, batched over rows, by default in float64.

    An epoch updates both sides.
    """

    dtype: Literal["float32", "float64"] = "float64"

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> AlternatingState:
        """Group the ratings by user and by item."""
        number = np.dtype(self.dtype).type
        unit = rating_unit(train, initial.mean)
        weight_unit = train.summary.weight / len(train)
        targets = self.targets(train, initial) / number(unit)
        weights = None
        if train.weights is not None:
            weights = (train.weights / weight_unit).astype(self.dtype)
        of_users, of_items = self.objective.penalties(train)
        start = initial.in_units(unit)
        return AlternatingState(
            mean=initial.mean,
            unit=unit,
            users=self._side(
                train.users, train.items, targets, weights, of_users, unit, weight_unit
            ),
            items=self._side(
                train.items, train.users, targets, weights, of_items, unit, weight_unit
            ),
            done=(
                Table(start.user_factors, start.user_bias),
                Table(start.item_factors, start.item_bias),
            ),
        )

    def step(self, state: AlternatingState, n_epochs: int) -> float:
        """Alternate ``n_epochs`` times; return the training MSE after the last."""
        for _ in range(n_epochs):
            users, items = state.done
            users, _ = self._half_epoch(state.users, items, users, with_errors=False)
            items, squared_error = self._half_epoch(state.items, users, items, with_errors=True)
            # Only now does the epoch take effect: a Ctrl-C before leaves the last whole one.
            state.done = users, items
            state.epochs += 1
        return squared_error * state.unit * state.unit / len(state.users.targets)

    def parameters(self, state: AlternatingState) -> Parameters:
        """Return a copy of the last whole epoch's parameters, in rating units."""
        users, items = state.done
        in_units = Parameters(state.mean, users.bias, items.bias, users.factors, items.factors)
        return in_units.from_units(state.unit)

    def _side(
        self,
        rows: NDArray[np.int32],
        opposites: NDArray[np.int32],
        targets: Float,
        weights: Float | None,
        penalties: Penalties,
        unit: float,
        weight_unit: float,
    ) -> Side:
        """Group ratings by row."""
        order = np.argsort(rows, kind="stable")
        counts = np.bincount(rows, minlength=len(penalties.factors))
        penalty, bias_penalty = penalties.in_units(unit, weight_unit, self.dtype)
        return Side(
            offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            opposites=opposites[order],
            targets=targets[order],
            weights=None if weights is None else weights[order],
            penalty=penalty,
            bias_penalty=bias_penalty if self.solves_for_biases else None,
        )

    def _half_epoch(
        self, side: Side, opposites: Table, rows: Table, *, with_errors: bool
    ) -> tuple[Table, float]:
        """Solve for all rows of one side; rows without ratings keep their values.

        Returns
        -------
        table, squared_error
            The side, and the weighted sum of squared errors with it, in units; or 0.
        """
        fixed = rows.bias if self.bias == "fixed" else None
        equations = Equations(*side, *opposites, fixed)
        factors, bias, squared_error = rows.factors.copy(), rows.bias.copy(), 0.0
        for batch in equations.batches(np.arange(len(bias))):
            solved, squared_errors = equations.solve(batch, self.dtype, with_errors)
            factors[batch] = solved[:, -self.rank :]
            if self.solves_for_biases:
                bias[batch] = solved[:, 0]
            squared_error += float(squared_errors.sum())
        return Table(factors, bias), squared_error
