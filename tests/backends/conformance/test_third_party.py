"""The conformance suite as another package would use it.

Two small backends pass it, and broken ones are caught.
"""

import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from backends import Factorizer, Objective, Parameters, Ratings, State
from backends.objective import mean_squared_error
from backends.start import initial_model
from backends.testing import FactorizerConformance

pytestmark = pytest.mark.fits


@dataclass(kw_only=True)
class PlainState(State):
    """The data, and the point after the last whole epoch."""

    train: Ratings
    now: Parameters


@dataclass(kw_only=True, eq=False)
class Plain(Factorizer):
    """Gradient descent with the library's own gradient: the smallest possible backend."""

    learning_rate: float = 0.2

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        return PlainState(train=train, now=initial.astype(self.dtype))

    def step(self, state: PlainState, n_epochs: int) -> float:
        for _ in range(n_epochs):
            after, epochs = self.descend(state.now, state.train), state.epochs + 1
            state.now, state.epochs = after, epochs
        return mean_squared_error(state.now, state.train)

    def descend(self, at: Parameters, train: Ratings) -> Parameters:
        gradient = self.objective.gradient(at, train)
        moved = {
            name: a - self.learning_rate * gradient.arrays()[name]
            for name, a in at.arrays().items()
        }
        return Parameters(at.mean, **moved).astype(self.dtype)

    def parameters(self, state: PlainState) -> Parameters:
        return state.now.astype(self.dtype)


@dataclass(kw_only=True, eq=False)
class Restarting(Plain):
    """The same, as a library that can only fit from scratch: a step repeats all epochs so far."""

    steppable = False

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        self.start = initial.astype(self.dtype)
        return super().prepare(train, initial, seed=seed)

    def step(self, state: PlainState, n_epochs: int) -> float:
        total = state.epochs + n_epochs
        point = self.start
        for _ in range(total):
            point = self.descend(point, state.train)
        state.now, state.epochs = point, total
        return mean_squared_error(point, state.train)


class TestPlain(FactorizerConformance):
    divergent: ClassVar = {"learning_rate": 1e6}
    minimises = False
    any_scale = False

    def make(self, **params: Any) -> Factorizer:
        return Plain(**params)


class TestRestarting(FactorizerConformance):
    divergent: ClassVar = {"learning_rate": 1e6}
    minimises = False
    any_scale = False

    def make(self, **params: Any) -> Factorizer:
        return Restarting(**params)


# ---- broken on purpose --------------------------------------------------------------------------


class MutatesItsInput(Plain):
    """Centres the ratings in place, read-only or not."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        train.ratings.flags.writeable = True
        train.ratings[:] -= train.ratings.mean()
        return super().prepare(train, initial, seed=seed)


class MutatesItsStart(Plain):
    """Trains in the caller's arrays."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        return PlainState(train=train, now=initial)

    def step(self, state: PlainState, n_epochs: int) -> float:
        for name, a in state.now.arrays().items():
            a -= self.learning_rate * self.objective.gradient(state.now, state.train).arrays()[name]
        state.epochs += n_epochs
        return mean_squared_error(state.now, state.train)


class IgnoresTheSeed(Plain):
    """Always starts from the same draw."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        return super().prepare(train, initial_model(self.objective, train, 0), seed=seed)


class DrawsItsOwnSeed(Plain):
    """Starts somewhere else each time."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        own = np.random.SeedSequence().entropy
        return super().prepare(train, initial_model(self.objective, train, own), seed=seed)


class FlattersItself(Plain):
    """Reports an objective without the penalty."""

    @property
    def objective(self) -> Objective:
        return replace(super().objective, reg=0.0)


class FlattersItsErrors(Plain):
    """Writes its own history."""

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        super().fit(*args, **kwargs)
        self.history_ = [
            record._replace(train_mse=0.9 * record.train_mse) for record in self.history_
        ]
        return self


class ReturnsNaN(Plain):
    """Divides by zero on the way out."""

    def parameters(self, state: PlainState) -> Parameters:
        return replace(super().parameters(state), user_bias=np.full(state.train.n_users, np.nan))


class ShowsItsInside(Plain):
    """Returns its own arrays instead of a copy, and goes on training in them."""

    def parameters(self, state: PlainState) -> Parameters:
        return state.now

    def step(self, state: PlainState, n_epochs: int) -> float:
        state.now.user_factors *= 0.9
        return super().step(state, n_epochs)


class HalfAnEpoch(Plain):
    """Reacts to an interrupt at once, when users have moved and items have not."""

    def step(self, state: PlainState, n_epochs: int) -> float:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        after = self.descend(state.now, state.train)
        state.now.user_factors = after.user_factors
        mse = mean_squared_error(after, state.train)
        state.now.item_factors = after.item_factors
        state.epochs += 1
        return mse


class MinimisesTooLittle(Plain):
    """Stops moving."""

    def descend(self, at: Parameters, train: Ratings) -> Parameters:
        return at


class SumsRepeatedPairs(Plain):
    """Builds a dense matrix by addition, as the article's code does."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        matrix = np.zeros((train.n_users, train.n_items))
        np.add.at(matrix, (train.users, train.items), train.ratings)
        users, items = np.nonzero(matrix)
        summed = Ratings(users, items, matrix[users, items], train.n_users, train.n_items)
        return super().prepare(summed, initial, seed=seed)


class IgnoresWeights(Plain):
    """Ignores the weights."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        return super().prepare(replace(train, weights=None), initial, seed=seed)


class RefusesWeights(Plain):
    """Declares that it does not support weights."""

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> PlainState:
        if train.weights is not None:
            raise ValueError("RefusesWeights takes no weights: leave them out")
        return super().prepare(train, initial, seed=seed)


CAUGHT: dict[type[Plain], Callable[[FactorizerConformance], None]] = {
    MutatesItsInput: FactorizerConformance.test_inputs_are_left_alone,
    MutatesItsStart: FactorizerConformance.test_prepare_and_step_leave_their_arguments_alone,
    IgnoresTheSeed: FactorizerConformance.test_another_seed_another_result,
    DrawsItsOwnSeed: FactorizerConformance.test_one_seed_one_result,
    FlattersItself: FactorizerConformance.test_history_is_true,
    FlattersItsErrors: FactorizerConformance.test_history_is_true,
    ReturnsNaN: FactorizerConformance.test_objective_descends,
    ShowsItsInside: FactorizerConformance.test_prepare_and_step_leave_their_arguments_alone,
    HalfAnEpoch: FactorizerConformance.test_ctrl_c_in_a_step,
    MinimisesTooLittle: FactorizerConformance.test_reaches_the_minimum,
    SumsRepeatedPairs: FactorizerConformance.test_a_pair_rated_twice,
    IgnoresWeights: FactorizerConformance.test_weights,
}


@pytest.mark.filterwarnings("ignore::backends.DivergenceWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("broken", CAUGHT, ids=lambda broken: broken.__name__)
def test_a_broken_backend_is_caught(broken: type[Plain]) -> None:
    class Suite(FactorizerConformance):
        divergent: ClassVar = {"learning_rate": 1e6}

        def make(self, **params: Any) -> Factorizer:
            return broken(**params)

    with pytest.raises((AssertionError, AttributeError, pytest.fail.Exception)):
        CAUGHT[broken](Suite())


@pytest.mark.parametrize(("backend", "passes"), [(RefusesWeights, True), (IgnoresWeights, False)])
def test_a_backend_without_weights_must_refuse_them(backend: type[Plain], passes: bool) -> None:
    class Suite(FactorizerConformance):
        takes_weights = False

        def make(self, **params: Any) -> Factorizer:
            return backend(**params)

    if passes:
        Suite().test_weights()
        return
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        Suite().test_weights()


def test_a_suite_without_a_backend_says_what_to_define() -> None:
    with pytest.raises(NotImplementedError, match=r"define make\(self, \*\*params\)"):
        FactorizerConformance().make()
