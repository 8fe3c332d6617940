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
and the gradient for the next step. The first iteration takes one more sweep, at the initial point;
and with an engine that has one buffer for gradients so does the iteration after a discarded step.

The numbers that decide are floats, or tensors on a device, which the host then need not wait for.
So what depends on them is chosen by `DescentState.where`, and not by a branch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

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


class Course(NamedTuple):
    """The numbers of the safeguard: floats, or tensors of shape () on a device.

    Attributes
    ----------
    learning_rate
        As adapted so far.
    objective, train_mse
        J and the mean squared error at the current point; NaN until they are computed.
    fresh
        1 if the velocity was just reset, so that the next step is a plain gradient step; else 0.
    """

    learning_rate: Any
    objective: Any
    train_mse: Any
    fresh: Any


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
    course
        See `Course`.
    has_gradient
        Whether the gradient in memory is that of the current point.
    rise
        Relative rise of J from which a step is discarded.
    """

    bias: bool
    users: DescentRows
    items: DescentRows
    n: float
    unit: float
    course: Course
    has_gradient: bool = False
    rise: float = _RISE

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        """Return ``yes`` if the condition holds, else ``no``."""
        return yes if condition else no

    @abstractmethod
    def sweep(self, at_trial: bool) -> tuple[Any, Any]:
        """Compute the gradient of J at the current or the trial point, and store it in the state.

        Returns
        -------
        squared_error, penalty
            The two terms of N J: the weighted sum of squared residuals, and the sum over all rows
            of penalty times squared norm.
        """

    @abstractmethod
    def curvature(self) -> tuple[Any, Any]:
        """Return the weighted means over ratings of |q_i|^2 and |p_u|^2 at the current point."""

    @abstractmethod
    def move(self, rates: Rates, momentum: Any, gradient_weight: Any) -> None:
        """Set v = momentum v + gradient_weight g, and the trial point to x - rate v for every row.

        With a momentum of 0 the velocity is not read: at the first step it is undefined.
        """

    @abstractmethod
    def accept(self, fell: Any) -> None:
        """Make the trial point the current one if J fell.

        If it did not, the gradient must be that of the current point again, or ``has_gradient``
        False.
        """


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

    plain: Any
    half_n: float
    curvature: dict[str, Any] | None

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

    def _scaled(self, curvature: Any, weight: Any, penalty: Any) -> Any:
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
        rating scale (in float32 of ratings that differ by 1e-15 to 1e15: squares of others overflow
        or underflow, and they are refused). Without, it depends on the scale.
    momentum, dampening
        As in ``torch.optim.SGD``.
    row_scaling
        Whether each row's step is scaled by its curvature.
    safeguard
        Whether to discard a step after which J is higher, restart and reduce the learning rate.
    """

    rating_units: ClassVar[dict[str, tuple[float, float]]] = {"float32": (1e-15, 1e15)}
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
        return float(state.course.train_mse)

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
        users, items = (
            DescentRows(weight, *penalties.limited(weight, unit, self.dtype))
            for weight, penalties in zip(
                weights, objective.penalties_of(train, *weights), strict=True
            )
        )
        return {
            "row_weights": weights,
            "bias": self.bias,
            "users": users,
            "items": items,
            "n": train.summary.weight,
            "unit": unit,
            "course": Course(self.learning_rate, math.nan, math.nan, 1.0),
        }

    def _iterate(self, state: DescentState) -> None:
        """Make one iteration: step to a trial point, compute J there, accept or discard it."""
        if not state.has_gradient:  # that of another point, or none yet
            objective, train_mse = self._measure(state, at_trial=False)
            state.course = state.course._replace(objective=objective, train_mse=train_mse)
            state.has_gradient = True
        rate, objective, train_mse, fresh = state.course
        where, is_fresh = state.where, fresh > 0
        if self.safeguard:
            rate = where(is_fresh, rate, rate * _GROWTH)
        momentum = where(is_fresh, 0.0, self.momentum)
        gradient_weight = where(is_fresh, 1.0, 1.0 - self.dampening)
        state.move(self._rates(state, rate), momentum, gradient_weight)
        trial_objective, trial_mse = self._measure(state, at_trial=True)
        if self.safeguard:
            # NaN, for which every comparison is false, counts as a rise.
            fell = trial_objective <= objective * (1 + state.rise)
            smaller = rate * where(is_fresh, _SHRINK_PLAIN, _SHRINK)
            state.course = Course(
                where(fell, rate, smaller),
                where(fell, trial_objective, objective),
                where(fell, trial_mse, train_mse),
                where(fell, 0.0, 1.0),
            )
            state.accept(fell)
        else:
            state.course = Course(rate, trial_objective, trial_mse, 0.0 * fresh)
            state.accept(True)
        state.epochs += 1

    def _measure(self, state: DescentState, at_trial: bool) -> tuple[Any, Any]:
        """Return J and the training MSE at a point, and store its gradient in the state."""
        checkpoint()
        squared_error, penalty = state.sweep(at_trial)
        train_mse = squared_error / state.n
        return train_mse + penalty / state.n, train_mse

    def _rates(self, state: DescentState, learning_rate: Any) -> Rates:
        """Return the learning rates at the current point."""
        if not self.row_scaling:
            return Rates(learning_rate, state.n / 2, None)
        # At least the ratings' unit, which is what squared norms come to in a fit. At a small
        # random start they are far below, and the rates would be far too large.
        user_curvature, item_curvature = (
            state.where(curvature > state.unit, curvature, state.unit)
            for curvature in state.curvature()
        )
        curvature = {"user": user_curvature, "item": item_curvature}
        return Rates(learning_rate, state.n / 2, curvature)
