"""Momentum gradient descent on scipy.sparse: the formulas of `momentum_gd` in plain NumPy.

The tests of the other engines compare with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from backends._engine.interrupt import checkpoint

from ._arrays import Float, chunks
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Parameters
from .ratings import Ratings


@dataclass(kw_only=True)
class NumpyDescent(DescentState):
    """The points, and the residuals as the values of a sparse matrix.

    Attributes
    ----------
    now, trial
        The current point, and the one that is stepped to.
    errors
        CSR matrix, shape (n_users, n_items), with an entry per training rating: rhat - r, or w
        (rhat
        - r) with weights. Its pattern never changes; each sweep overwrites the values.
    rows
        User of each entry, shape (n,).
    targets
        r - m of each entry, shape (n,).
    weights
        Weight of each entry, shape (n,); None if all weigh 1.
    gradient, velocity
        By the name of the parameter array, in its shape.
    """

    now: Parameters
    errors: csr_array
    rows: NDArray[np.int32]
    targets: Float
    weights: Float | None
    trial: Parameters
    gradient: dict[str, Float] = field(default_factory=dict)
    velocity: dict[str, Float] = field(default_factory=dict)

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute residuals, gradient, squared error and penalty at a point."""
        x, errors = self.trial if at_trial else self.now, self.errors.data
        # In chunks: the rows gathered for all ratings at once would take rank numbers per rating.
        for part in chunks(len(errors)):
            checkpoint()
            u, i = self.rows[part], self.errors.indices[part]
            dots = np.einsum("nk,nk->n", x.user_factors[u], x.item_factors[i])
            errors[part] = dots + x.user_bias[u] + x.item_bias[i] - self.targets[part]
        squared_error = self._squared_error(errors)
        users, items, number = self.users, self.items, errors.dtype.type
        penalties: dict[str, Any] = {
            "user_factors": users.penalty[:, None],
            "item_factors": items.penalty[:, None],
            "user_bias": users.bias_penalty,
            "item_bias": items.bias_penalty,
        }
        # Per row the sum of error times opposite row. The opposite row of a bias is 1.
        sums: dict[str, Any] = {
            "user_factors": self.errors @ x.item_factors,
            "item_factors": self.errors.T @ x.user_factors,
        }
        if self.bias:
            sums |= {"user_bias": self.errors.sum(axis=1), "item_bias": self.errors.sum(axis=0)}
        # dJ/dx = 2 / N (sum of w (rhat - r) times opposite row + penalty x)
        scale, at = number(2.0 / self.n), x.arrays()
        self.gradient = {}
        for name, total in sums.items():
            self.gradient[name] = scale * (total + penalties[name].astype(number) * at[name])
        penalty = users.penalty @ _squares(x.user_factors)
        penalty += items.penalty @ _squares(x.item_factors)
        for rows, bias in ((users, x.user_bias), (items, x.item_bias)):
            penalty += rows.bias_penalty @ np.square(bias, dtype=np.float64)
        return squared_error, float(penalty)

    def _squared_error(self, errors: Float) -> float:
        """Return the weighted sum of squared errors, and multiply the errors by their weights."""
        if self.weights is None:
            return float(np.square(errors, dtype=np.float64).sum())
        squares = np.square(errors, dtype=np.float64)
        errors *= self.weights
        return float(squares @ self.weights)

    def curvature(self) -> tuple[float, float]:
        """Return the weighted mean over the ratings of |q_i|^2 and of |p_u|^2."""
        return (
            float(self.items.weight @ _squares(self.now.item_factors)) / self.n,
            float(self.users.weight @ _squares(self.now.user_factors)) / self.n,
        )

    def move(self, rates: Rates, momentum: float, gradient_weight: float) -> None:
        """Step to the trial point; see the base class."""
        users, items = self.users, self.items
        steps = {
            "user_factors": rates.of_factors("user", users.weight, users.penalty)[:, None],
            "item_factors": rates.of_factors("item", items.weight, items.penalty)[:, None],
            "user_bias": rates.of_biases(users.weight, users.bias_penalty),
            "item_bias": rates.of_biases(items.weight, items.bias_penalty),
        }
        velocity = {name: gradient_weight * g for name, g in self.gradient.items()}
        if momentum:
            velocity = {name: momentum * self.velocity[name] + v for name, v in velocity.items()}
        x = self.now.arrays()
        moved = {name: x[name] - steps[name].astype(v.dtype) * v for name, v in velocity.items()}
        # Without biases these have no gradient and stay as they are.
        self.velocity, self.trial = velocity, Parameters(self.now.mean, **(x | moved))

    def accept(self, fell: bool) -> None:
        """Make the trial point the current one if J fell."""
        self.has_gradient = fell
        if fell:
            self.now = self.trial


@dataclass(kw_only=True, eq=False)
class NumpyGD(MomentumGD):
    """Momentum gradient descent in NumPy and scipy.sparse; see `MomentumGD` for the parameters."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> NumpyDescent:
        """Sort the ratings into CSR form."""
        order = np.argsort(train.users, kind="stable")
        offsets = np.concatenate(([0], np.cumsum(train.user_counts())))
        targets = self.targets(train, initial)[order]
        # Built from the arrays of the CSR form: from coordinates, scipy would add up the ratings of
        # a pair that is rated twice.
        shape = train.n_users, train.n_items
        matrix = csr_array((targets.copy(), train.items[order], offsets), shape=shape)
        weights = None if train.weights is None else train.weights[order].astype(self.dtype)
        return NumpyDescent(
            now=initial,
            trial=initial,
            errors=matrix,
            rows=train.users[order],
            targets=targets,
            weights=weights,
            **self.descent_options(train),
        )

    def parameters(self, state: NumpyDescent) -> Parameters:
        """Return a copy of the current point."""
        return state.now.astype(self.dtype)


def _squares(factors: Float) -> Float:
    """Return |row|^2 of each row in float64, shape (n_rows,)."""
    squares: Float = np.einsum("nk,nk->n", factors, factors, dtype=np.float64)
    return squares
