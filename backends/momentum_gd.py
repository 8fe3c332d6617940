"""Full-batch momentum gradient descent: the algorithm, once, for every engine that can sweep over the ratings.

An engine supplies a `DescentState` (NumPy, numba, torch); the update rule and its safeguard are decided here, so that
all engines follow the same trajectory.

The rule is that of ``torch.optim.SGD``: v = g at the first step, then v = momentum v + (1 - dampening) g; x <- x - lr
s v, with g the gradient of J. Dampening 0 is the heavy ball (Polyak 1964). The row scale s is 1, or with
``row_scaling`` N over twice the row's own curvature: n_row c + penalty, where c is the mean squared norm of the
opposite rows (1 for a bias) and the penalty is the row's in the objective. That is a Jacobi preconditioner: a row moves
by about its mean residual gradient over its mean curvature, and the dampings, which curve J more for rare rows, cost no
epochs.

The safeguard (adaptive restart, O'Donoghue and Candes 2015, with a step that adapts): a step after which J is higher
is not taken; the momentum is forgotten and the step shrunk. While J falls, the step grows slowly. An iteration is one
sweep over the ratings, at the point that it steps to; the first needs one more, and so does the one after a step not
taken.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backends._engine.interrupt import checkpoint

from ._validation import check_fits, check_number
from .factorizer import Factorizer, State
from .objective import rating_unit
from .ratings import Ratings

_GROWTH = 1.03  # of the step after each iteration in which J fell
_SHRINK = 0.7  # of the step when J rose on momentum
_SHRINK_PLAIN = 0.5  # when J rose on a plain gradient step: the step itself is too long
_RISE = 1e-6  # relative rise of J that counts; above the rounding of float32 sums, so that all engines decide alike


@dataclass(kw_only=True)
class DescentState(State):
    """A point, the velocity, and where the safeguard stands. An engine adds its arrays and the methods below."""

    bias: bool
    users: DescentRows
    items: DescentRows
    n: float  # N, the sum of the weights of all ratings
    unit: float  # of the ratings, see `rating_unit`
    learning_rate: float
    objective: float = math.nan  # J at the current point, NaN until it is measured
    train_mse: float = math.nan
    accepted: int = 0  # iterations since the momentum was last forgotten
    has_gradient: bool = False  # whether the gradient kept is that of the current point

    @abstractmethod
    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute the gradient of J at the current or the trial point and keep it.

        Returns
        -------
        squared_error, penalty
            The weighted sum of squared residuals, and the sum over rows of their penalties times their squares.
        """

    @abstractmethod
    def curvature(self) -> tuple[float, float]:
        """Return the weighted mean over the ratings of |q_i|^2, and of |p_u|^2, at the current point."""

    @abstractmethod
    def move(self, rates: Rates, momentum: float, gain: float) -> None:
        """Set v = momentum v + gain g, and the trial point to x - rate s v for every row; the current point stays."""

    @abstractmethod
    def accept(self) -> None:
        """Make the trial point the current one."""


@dataclass(frozen=True)
class DescentRows:
    """What the descent knows of the rows of one side: float64, shape (n_rows,) each."""

    weight: NDArray[np.float64]  # n_row, the sum of the weights of a row's ratings
    penalty: NDArray[np.float64]  # of the factors in N J, and of the bias
    bias_penalty: NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """Learning rates of the rows: the plain rate, or N / 2 times it over each row's curvature.

    The methods take arrays, or tensors, of whatever an engine computes with.
    """

    plain: float
    half_n: float
    curvature: dict[str, float] | None  # per rating of a "user" or an "item" row of factors; None for plain rates

    def of_factors(self, side: str, weight: Any, penalty: Any) -> Any:
        """Return the rates of the factor rows of one side, shape (n_rows,); anything for rows without ratings."""
        return self._over(None if self.curvature is None else self.curvature[side], weight, penalty)

    def of_biases(self, weight: Any, penalty: Any) -> Any:
        """Return the rates of the biases of one side, shape (n_rows,); anything for rows without ratings."""
        return self._over(None if self.curvature is None else 1.0, weight, penalty)

    def _over(self, curvature: float | None, weight: Any, penalty: Any) -> Any:
        empty = weight == 0  # 1 in place of their curvature, which is 0 as their gradient is
        if curvature is None:
            return self.plain * (weight / (weight + empty))
        return self.plain * self.half_n / (weight * curvature + penalty + empty)


@dataclass(kw_only=True, eq=False)
class MomentumGD(Factorizer):
    """Full-batch gradient descent with momentum; one epoch is one gradient.

    Parameters
    ----------
    learning_rate
        First step length; the safeguard adapts it. With ``row_scaling`` it fits ratings on any scale (in float32 from
        about 1e-15 to 1e15, where their squares are good numbers); without, it is the plain step's, in the ratings' own
        numbers.
    momentum, dampening
        As in ``torch.optim.SGD``.
    row_scaling
        Whether each row's step is scaled by its curvature.
    safeguard
        Whether to undo, restart and shorten steps after which J rose.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The anime-recommendation article: v = 0.9 v + 0.1 g, factors from U[0, 11/K), no biases, plain steps.
        "article": {
            "rank": 3,
            "reg": 2e-4,
            "reg_scaling": "per_entity",
            "reg_unit": "rating",
            "damping": 0,
            "user_bias_damping": 0,
            "item_bias_damping": 0,
            "bias": False,
            "epochs": 800,
            "init": "uniform",
            "init_scale": 11 / 3,
            "learning_rate": 1.0,
            "momentum": 0.9,
            "dampening": 0.9,
            "row_scaling": False,
            "safeguard": False,
        }
    }

    patience: ClassVar[int] = 30  # it may rise for as long as that while the factors grow from a small start

    epochs: int = 100
    learning_rate: float = 0.8
    momentum: float = 0.9
    dampening: float = 0.0
    row_scaling: bool = True
    safeguard: bool = True

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_number("learning_rate", self.learning_rate, positive=True)
        check_fits("learning_rate", self.learning_rate, self.dtype)
        for name in ("momentum", "dampening"):
            check_number(name, getattr(self, name))
            if getattr(self, name) >= 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)!r}")

    def step(self, state: DescentState, n_epochs: int) -> float:
        """Make ``n_epochs`` iterations; return the training MSE at the point reached."""
        for _ in range(n_epochs):
            self._iterate(state)
        return state.train_mse

    def descent_options(
        self,
        train: Ratings,
        row_weights: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> dict[str, Any]:
        """Return the constructor arguments of a `DescentState` that do not depend on the engine.

        ``row_weights`` are the sums of the weights of users' and items' ratings, where the engine has them already.
        """
        objective, most = self.objective, float(np.finfo(self.dtype).max ** 0.4)
        unit = rating_unit(train, objective.mean(train))
        weights = row_weights or (train.user_weights(), train.item_weights())
        # No penalty per rating, in units, is so large that it overflows: the row vanishes under a smaller one too.
        users, items = (
            DescentRows(
                weight,
                np.minimum(penalties.factors, most * unit * weight),
                np.minimum(penalties.biases, most * weight),
            )
            for weight, penalties in zip(weights, objective.penalties_of(train, *weights), strict=True)
        )
        return {
            "row_weights": weights,
            "bias": self.bias,
            "users": users,
            "items": items,
            "n": train.summary.weight,
            "unit": unit,
            "learning_rate": self.learning_rate,
        }

    def _iterate(self, state: DescentState) -> None:
        """Make one iteration: step to a trial point, measure it, take it or leave it."""
        if not state.has_gradient:
            state.objective, state.train_mse = self._measure(state, at_trial=False)
            state.has_gradient = True
        fresh = state.accepted == 0  # the velocity starts as the plain gradient, also after a restart
        if self.safeguard and not fresh:
            state.learning_rate *= _GROWTH
        state.move(self._rates(state), *((0.0, 1.0) if fresh else (self.momentum, 1.0 - self.dampening)))
        objective, train_mse = self._measure(state, at_trial=True)
        rose = not objective <= state.objective * (1 + _RISE)  # NaN counts as a rise
        if self.safeguard and rose:
            state.learning_rate *= _SHRINK_PLAIN if fresh else _SHRINK
            state.accepted, state.has_gradient = 0, False
        else:
            state.accept()
            state.objective, state.train_mse = objective, train_mse
            state.accepted += 1
        state.epochs += 1

    def _measure(self, state: DescentState, at_trial: bool) -> tuple[float, float]:
        """Return J and the training MSE at a point; its gradient is kept in the state."""
        checkpoint()
        squared_error, penalty = state.sweep(at_trial)
        train_mse = squared_error / state.n
        return train_mse + penalty / state.n, train_mse

    def _rates(self, state: DescentState) -> Rates:
        if not self.row_scaling:
            return Rates(state.learning_rate, state.n / 2, None)
        user_curvature, item_curvature = state.curvature()
        # No less than the ratings' unit: at a small random start the curvature of the factors says nothing yet.
        least = {"user": max(state.unit, user_curvature), "item": max(state.unit, item_curvature)}
        return Rates(state.learning_rate, state.n / 2, least)
