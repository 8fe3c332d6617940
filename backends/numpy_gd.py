"""Momentum gradient descent on scipy.sparse: the formulas of `momentum_gd` in plain NumPy; the others' oracle."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ._interrupt import checkpoint
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Float, Parameters, chunks
from .ratings import Ratings


@dataclass(kw_only=True)
class NumpyDescent(DescentState):
    """The point, and the residuals as the values of a CSR matrix whose pattern never changes."""

    now: Parameters
    errors: csr_array  # rhat - r of each training rating, rows are users
    rows: NDArray[np.int32]  # user row of each stored entry, shape (n,)
    targets: Float  # r - m of each stored entry, shape (n,)
    trial: Parameters
    gradient: dict[str, Float] = field(default_factory=dict)
    velocity: dict[str, Float] = field(default_factory=dict)

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute residuals, gradient, squared error and penalty at a point."""
        x, errors = self.trial if at_trial else self.now, self.errors.data
        for part in chunks(len(errors)):
            checkpoint()
            u, i = self.rows[part], self.errors.indices[part]
            dots = np.einsum("nk,nk->n", x.user_factors[u], x.item_factors[i])
            errors[part] = dots + x.user_bias[u] + x.item_bias[i] - self.targets[part]
        user_pull, item_pull = self.reg * self.user_weight, self.reg * self.item_weight
        scale = errors.dtype.type(2.0 / self.n_ratings)
        self.gradient = {
            "user_factors": scale * (self.errors @ x.item_factors + user_pull[:, None] * x.user_factors),
            "item_factors": scale * (self.errors.T @ x.user_factors + item_pull[:, None] * x.item_factors),
        }
        if self.bias:
            self.gradient["user_bias"] = scale * (self.errors.sum(axis=1) + user_pull * x.user_bias)
            self.gradient["item_bias"] = scale * (self.errors.sum(axis=0) + item_pull * x.item_bias)
        penalty = self.user_weight @ _squares(x.user_factors, x.user_bias)
        penalty += self.item_weight @ _squares(x.item_factors, x.item_bias)
        return float(np.square(errors, dtype=np.float64).sum()), float(penalty)

    def curvature(self) -> tuple[float, float]:
        """Mean over the ratings of |q_i|^2 and of |p_u|^2."""
        user_count, item_count = (
            np.diff(self.errors.indptr),
            np.bincount(self.errors.indices, minlength=len(self.item_scale)),
        )
        zero = np.float64(0)
        return (
            float(item_count @ _squares(self.now.item_factors, zero)) / self.n_ratings,
            float(user_count @ _squares(self.now.user_factors, zero)) / self.n_ratings,
        )

    def move(self, rates: Rates, momentum: float, gain: float) -> None:
        """Take one step; see the base class."""
        steps = {
            "user_factors": rates.user_factors * self.user_scale[:, None],
            "item_factors": rates.item_factors * self.item_scale[:, None],
            "user_bias": rates.bias * self.user_scale,
            "item_bias": rates.bias * self.item_scale,
        }
        velocity = {name: gain * g for name, g in self.gradient.items()}
        if momentum:
            velocity = {name: momentum * self.velocity[name] + v for name, v in velocity.items()}
        x = self.now
        moved = {name: x.arrays()[name] - steps[name].astype(v.dtype) * v for name, v in velocity.items()}
        self.velocity, self.trial = velocity, Parameters(x.mean, **{**x.arrays(), **moved})

    def accept(self) -> None:
        """Make the trial point the current one."""
        self.now = self.trial


@dataclass(kw_only=True, eq=False)
class NumpyGD(MomentumGD):
    """Momentum gradient descent in NumPy and scipy.sparse; see `MomentumGD` for the parameters."""

    def prepare(self, train: Ratings, initial: Parameters) -> NumpyDescent:
        """Sort the ratings into CSR form."""
        order = np.argsort(train.users, kind="stable")
        offsets = np.concatenate(([0], np.cumsum(train.user_counts())))
        targets = self.targets(train, initial)[order]
        # Built from its three arrays, for from coordinates scipy would add up the ratings of a pair rated twice.
        matrix = csr_array((targets.copy(), train.items[order], offsets), shape=(train.n_users, train.n_items))
        options = self.descent_options(train)
        for name in ("user_weight", "item_weight", "user_scale", "item_scale"):
            options[name] = options[name].astype(self.dtype)
        return NumpyDescent(
            now=initial, trial=initial, errors=matrix, rows=train.users[order], targets=targets, **options
        )

    def parameters(self, state: NumpyDescent) -> Parameters:
        """Return a copy of the current point."""
        return state.now.astype(self.dtype)


def _squares(factors: Float, bias: Float | np.float64) -> Float:
    """|row|^2 of each row in float64, shape (n_rows,)."""
    squares: Float = np.einsum("nk,nk->n", factors, factors, dtype=np.float64) + np.square(bias, dtype=np.float64)
    return squares
