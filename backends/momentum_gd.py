"""Full-batch momentum gradient descent: the algorithm, written once for all engines.

An engine (NumPy, numba, torch) supplies a `DescentState`, which computes gradients and moves. The
update rule and its safeguard are here, so that all engines follow the same trajectory.

The update rule is that of ``torch.optim.SGD``, with g the gradient of J::

    v <- g                                  at the first step
    v <- momentum v + (1 - dampening) g     afterwards
    x <- x - learning_rate s v

Dampening 0 is the heavy ball (Polyak 1964). The scale s of a row is 1, or with ``row_scaling`` N /
(2 (n_row c + penalty)): the inverse of the row's own second derivative in J. There c is the mean
squared norm of the opposite rows (1 for a bias), and the penalty is the row's in N J. This is a
Jacobi preconditioner. It moves a row by about its mean gradient over its mean curvature, so that
rows with many and with few ratings converge at the same rate.

The safeguard is an adaptive restart (O'Donoghue and Candes 2015) with an adaptive step: if J is
higher after a step, the step is discarded, the velocity is reset, and the learning rate is reduced.
While J falls, the learning rate grows slowly.

An iteration is one sweep over the ratings, at the trial point that it steps to: it gives J there,
and the gradient for the next step. The first iteration takes one more sweep, at the initial point,
and so does the iteration after a discarded step, whose gradient has been overwritten.
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

# Factors of the learning rate: after an iteration in which J fell; after one in which it rose, and
# the velocity may have been too large; and after one in which it rose on a plain gradient step, for
# which only the learning rate can have been too large.
_GROWTH = 1.03
_SHRINK = 0.7
_SHRINK_PLAIN = 0.5

# Relative rise of J from which a step is discarded. It is above the rounding errors of float32
# sums, so that all engines decide alike.
_RISE = 1e-6


@dataclass(kw_only=True)
class DescentState(State):
    """The current point, a trial point, a velocity and a gradient, and the state of the safeguard.

    An engine adds its arrays and implements the methods.

    Attributes
    ----------
    n
        N, the sum of the weights of all ratings.
    unit
        Of the ratings; see `rating_unit`.
    learning_rate
        As adapted so far.
    objective, train_mse
        J and the mean squared error at the current point; NaN until they are computed.
    accepted
        Number of steps taken since the velocity was last reset.
    has_gradient
        Whether the gradient in memory is that of the current point.
    """

    bias: bool
    users: DescentRows
    items: DescentRows
    n: float
    unit: float
    learning_rate: float
    objective: float = math.nan
    train_mse: float = math.nan
    accepted: int = 0
    has_gradient: bool = False

    @abstractmethod
    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute the gradient of J at the current or the trial point, and store it in the state.

        Returns
        -------
        squared_error, penalty
            The two terms of N J: the weighted sum of squared residuals, and the sum over all rows
            of penalty times squared norm.
        """

    @abstractmethod
    def curvature(self) -> tuple[float, float]:
        """Return the weighted means over ratings of |q_i|^2 and |p_u|^2 at the current point."""

    @abstractmethod
    def move(self, rates: Rates, momentum: float, gradient_weight: float) -> None:
        """Set v = momentum v + gradient_weight g, and the trial point to x - rate v for every row.

        With a momentum of 0 the velocity is not read: at the first step it is undefined.
        """

    @abstractmethod
    def accept(self) -> None:
        """Make the trial point the current one."""


@dataclass(frozen=True)
class DescentRows:
    """Weights and penalties of the rows of one side, shape (n_rows,) each."""

    weight: NDArray[np.float64]  # n_row, the sum of the weights of a row's ratings
    penalty: NDArray[np.float64]  # of the factors, in N J
    bias_penalty: NDArray[np.float64]  # of the bias, in N J


@dataclass(frozen=True)
class Rates:
    """Learning rates of rows: all the same, or scaled by each row's curvature.

    The methods take NumPy arrays or tensors, and return the like.

    Attributes
    ----------
    plain
        The learning rate before scaling.
    half_n
        N / 2.
    curvature
        c of the module's docstring for the factor rows of each side, "user" and "item"; None if
        rates are not scaled.
    """

    plain: float
    half_n: float
    curvature: dict[str, float] | None

    def of_factors(self, side: str, weight: Any, penalty: Any) -> Any:
        """Return the rates of the factor rows of one side, in the shape of ``weight``.

        That of a row without ratings is meaningless, but finite: its gradient is zero.
        """
        return self._scaled(
            None if self.curvature is None else self.curvature[side],
            weight,
            penalty,
        )

    def of_biases(self, weight: Any, penalty: Any) -> Any:
        """Return the rates of the biases of one side, in the shape of ``weight``."""
        return self._scaled(None if self.curvature is None else 1.0, weight, penalty)

    def _scaled(self, curvature: float | None, weight: Any, penalty: Any) -> Any:
        # Added to the divisors, True is 1: rows without ratings would divide 0 by 0.
        empty = weight == 0
        if curvature is None:
            return self.plain * (weight / (weight + empty))
        return self.plain * self.half_n / (weight * curvature + penalty + empty)


@dataclass(kw_only=True, eq=False)
class MomentumGD(Factorizer):
    """Full-batch gradient descent with momentum; one epoch is one gradient.

    Parameters
    ----------
    learning_rate
        Of the first step; the safeguard adapts it. With ``row_scaling`` it is independent of the
        rating scale (in float32 from about 1e-15 to 1e15, beyond which squares overflow or
        underflow). Without, it depends on the scale.
    momentum, dampening
        As in ``torch.optim.SGD``.
    row_scaling
        Whether each row's step is scaled by its curvature.
    safeguard
        Whether to discard a step after which J is higher, restart and reduce the learning rate.
    """

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        # The anime-recommendation article: v = 0.9 v + 0.1 g, factors from U[0, 11/K), no biases,
        # plain steps.
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

    # While the factors grow from a small start, the validation MSE may rise for that many epochs.
    patience: ClassVar[int] = 30
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        **Factorizer.search_space,
        "learning_rate": (0.3, 1.5),
    }

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

        ``row_weights`` are the sums of the weights of each user's and each item's ratings, shapes
        (n_rows,), if the engine has them already.
        """
        objective = self.objective
        unit = rating_unit(train, objective.mean(train))
        weights = row_weights or (train.user_weights(), train.item_weights())
        # Penalties are limited so that nothing overflows, about 1e15 per rating in float32. A row
        # is zero, to that precision, under a weaker penalty already.
        largest = float(np.finfo(self.dtype).max ** 0.4)
        penalties_of_sides = objective.penalties_of(train, *weights)
        users, items = (
            DescentRows(
                weight,
                np.minimum(penalties.factors, largest * unit * weight),
                np.minimum(penalties.biases, largest * weight),
            )
            for weight, penalties in zip(weights, penalties_of_sides, strict=True)
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
        """Make one iteration: step to a trial point, compute J there, accept or discard it."""
        # At the first iteration, and after a discarded step, the gradient is of another point.
        if not state.has_gradient:
            state.objective, state.train_mse = self._measure(state, at_trial=False)
            state.has_gradient = True
        # The first step, also after a restart, is a plain gradient step.
        fresh = state.accepted == 0
        if self.safeguard and not fresh:
            state.learning_rate *= _GROWTH
        if fresh:
            momentum, gradient_weight = 0.0, 1.0
        else:
            momentum, gradient_weight = self.momentum, 1.0 - self.dampening
        state.move(self._rates(state), momentum, gradient_weight)
        objective, train_mse = self._measure(state, at_trial=True)
        # Written so that NaN, for which every comparison is false, counts as a rise.
        rose = not objective <= state.objective * (1 + _RISE)
        if self.safeguard and rose:
            state.learning_rate *= _SHRINK_PLAIN if fresh else _SHRINK
            # Measuring the trial point has overwritten the gradient of the current one.
            state.accepted, state.has_gradient = 0, False
        else:
            state.accept()
            state.objective, state.train_mse = objective, train_mse
            state.accepted += 1
        state.epochs += 1

    def _measure(self, state: DescentState, at_trial: bool) -> tuple[float, float]:
        """Return J and the training MSE at a point, and store its gradient in the state."""
        checkpoint()
        squared_error, penalty = state.sweep(at_trial)
        train_mse = squared_error / state.n
        return train_mse + penalty / state.n, train_mse

    def _rates(self, state: DescentState) -> Rates:
        """Return the learning rates at the current point."""
        if not self.row_scaling:
            return Rates(state.learning_rate, state.n / 2, None)
        user_curvature, item_curvature = state.curvature()
        # At least the ratings' unit, which is what squared norms come to in a fit. At a small
        # random start they are far below, and the rates would be far too large.
        curvature = {
            "user": max(state.unit, user_curvature),
            "item": max(state.unit, item_curvature),
        }
        return Rates(state.learning_rate, state.n / 2, curvature)
