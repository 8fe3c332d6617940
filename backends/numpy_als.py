"""Alternating least squares in NumPy, in batches of rows of similar numbers of ratings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backends._engine.interrupt import checkpoint
from backends._engine.least_squares import pivot_tolerance, solve_normal_equations
from backends._engine.row_batches import padded_positions, row_batches

from ._arrays import Float
from .alternating import AlternatingLeastSquares
from .factorizer import State
from .objective import Parameters, Penalties, rating_unit
from .ratings import Ratings

# Numbers in a batch of design or Gram matrices. It bounds the memory; larger batches miss the
# cache.
_BATCH_ELEMENTS = 1 << 20


@dataclass
class Side:
    """The ratings grouped by the rows of one side.

    Attributes
    ----------
    offsets
        The ratings of row r are those from offsets[r] to offsets[r + 1]; shape (n_rows + 1,).
    opposites
        Opposite row of each rating, shape (n,).
    targets
        r - m, shape (n,).
    weights
        Of each rating, shape (n,); None if all weigh 1.
    penalty
        What is added to the diagonal of each row's normal equations, shape (n_rows, rank), or
        (n_rows, 1 + rank) with biases.
    batches
        The rows that have ratings, in batches of similar numbers of ratings.
    """

    offsets: NDArray[np.int64]
    opposites: NDArray[np.int32]
    targets: Float
    weights: Float | None
    penalty: Float
    batches: list[NDArray[np.int64]]


@dataclass(kw_only=True)
class AlternatingState(State):
    """The parameters after the last whole epoch, and the two sides."""

    now: Parameters
    users: Side
    items: Side
    n: float  # sum of the weights of all ratings
    unit: float  # see `objective.rating_unit`


@dataclass(kw_only=True, eq=False)
class NumpyALS(AlternatingLeastSquares):
    """Alternating least squares in NumPy, batched over rows, by default in float64.

    An epoch updates both sides.
    """

    dtype: Literal["float32", "float64"] = "float64"

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> AlternatingState:
        """Group the ratings by user and by item."""
        targets = self.targets(train, initial)
        weights = None if train.weights is None else train.weights.astype(self.dtype)
        users, items = (self._diagonals(penalties) for penalties in self.objective.penalties(train))
        return AlternatingState(
            now=initial,
            users=_side(train.users, train.items, targets, weights, users),
            items=_side(train.items, train.users, targets, weights, items),
            n=train.summary.weight,
            unit=rating_unit(train, initial.mean),
        )

    def step(self, state: AlternatingState, n_epochs: int) -> float:
        """Alternate ``n_epochs`` times; return the training MSE after the last."""
        for _ in range(n_epochs):
            x = state.now
            q, c = x.item_factors, x.item_bias
            p, b, _ = self._half_epoch(state.users, q, c, x.user_factors, x.user_bias, state.unit)
            q, c, squared_error = self._half_epoch(state.items, p, b, q, c, state.unit)
            # Only now does the epoch take effect: a Ctrl-C before leaves the last whole one.
            state.now = Parameters(x.mean, b, c, p, q)
            state.epochs += 1
        return squared_error / state.n

    def parameters(self, state: AlternatingState) -> Parameters:
        """Return a copy of the current point."""
        return state.now.astype(self.dtype)

    def _diagonals(self, penalties: Penalties) -> Float:
        """Return `Side.penalty`: a column for the bias if there is one, and one per factor."""
        columns = [penalties.factors] * self.rank
        if self.solves_for_biases:
            columns.insert(0, penalties.biases)
        # Limited to what the precision can represent; a row is zero under a weaker penalty already.
        largest = 1e-4 * np.finfo(self.dtype).max
        return np.minimum(np.stack(columns, axis=1), largest).astype(self.dtype)

    def _half_epoch(
        self,
        side: Side,
        opposite_factors: Float,
        opposite_bias: Float,
        factors: Float,
        bias: Float,
        unit: float,
    ) -> tuple[Float, Float, float]:
        """Solve for all rows of one side; rows without ratings keep their values.

        Returns
        -------
        factors, bias, squared_error
            Of the side, and the weighted sum of squared errors with them.
        """
        # With biases, a row's unknowns are (bias, factors), so its regressors start with a 1.
        design = opposite_factors
        if self.solves_for_biases:
            design = np.column_stack([np.ones_like(opposite_bias), opposite_factors])
        # A last row of zeros, which stands for the ratings that shorter rows of a batch do not
        # have.
        design = np.vstack([design, np.zeros(design.shape[1], design.dtype)])
        tolerance = pivot_tolerance(self.rank, self.dtype)
        # The units of a row's unknowns, up to a common factor; see `objective`.
        scale = np.ones(design.shape[1], self.dtype)
        if self.solves_for_biases:
            scale[0] = math.sqrt(unit)
        factors, bias, squared_error = factors.copy(), bias.copy(), 0.0
        for rows in side.batches:
            checkpoint()
            positions, exists = padded_positions(side.offsets, rows)
            opposites = np.where(exists, side.opposites[positions], len(design) - 1)
            # The normal equations (a^T W a + penalty) x = a^T W y of each row. Shapes: `a` (rows,
            # longest, width), `y` (rows, longest), `gram` (rows, width, width).
            a = design[opposites]
            y = side.targets[positions] - np.append(opposite_bias, 0)[opposites]
            if self.bias == "fixed":
                y -= bias[rows, None]
            y = np.where(exists, y, 0)
            weighted, weights = a, None
            if side.weights is not None:
                weights = np.where(exists, side.weights[positions], 0)
                weighted = a * weights[..., None]
            gram = weighted.transpose(0, 2, 1) @ a
            diagonal = np.arange(gram.shape[1])
            gram[:, diagonal, diagonal] += side.penalty[rows]
            right = np.einsum("rnk,rn->rk", weighted, y)
            solved = solve_normal_equations(gram, right, tolerance, scale)
            squares = np.square(y - np.einsum("rnk,rk->rn", a, solved), dtype=np.float64)
            squared_error += float((squares if weights is None else squares * weights).sum())
            factors[rows] = solved[:, -self.rank :]
            if self.solves_for_biases:
                bias[rows] = solved[:, 0]
        return factors, bias, squared_error


def _side(
    rows: NDArray[np.int32],
    opposites: NDArray[np.int32],
    targets: Float,
    weights: Float | None,
    penalty: Float,
) -> Side:
    """Group ratings by row."""
    order = np.argsort(rows, kind="stable")
    n_rows, width = penalty.shape
    counts = np.bincount(rows, minlength=n_rows)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    ordered = None if weights is None else weights[order]
    batches = list(row_batches(counts, width, _BATCH_ELEMENTS))
    return Side(offsets, opposites[order], targets[order], ordered, penalty, batches)
