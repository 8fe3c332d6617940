"""`Factorizer.fit`: its checks, its clock, when it stops, and Ctrl-C, on a solver that only counts.

What every backend owes is in `backends.testing`; this file tests the loop itself.
"""

import _thread
import copy
import dataclasses
import functools
import inspect
import math
import pickle
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import random_ratings

from backends import (
    DivergenceWarning,
    Factorizer,
    NotFittedError,
    Parameters,
    Progress,
    Ratings,
    RatingsError,
    State,
    damped_biases,
    get_backend,
    initial_model,
)
from backends.objective import mean_squared_error


@dataclass(kw_only=True)
class CountingState(State):
    now: Parameters


@dataclass(kw_only=True, eq=False)
class Counting(Factorizer):
    """Learns nothing: each epoch takes 0.9 of the item factors and the next of ``losses``."""

    losses: tuple[float, ...] = ()

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> CountingState:
        return CountingState(now=initial.astype(self.dtype))

    def step(self, state: CountingState, n_epochs: int) -> float:
        for _ in range(n_epochs):
            after = dataclasses.replace(state.now, item_factors=0.9 * state.now.item_factors)
            epochs = state.epochs + 1
            state.now, state.epochs = after, epochs
        return self.losses[state.epochs - 1] if self.losses else 1.0

    def parameters(self, state: CountingState) -> Parameters:
        return state.now.astype(self.dtype)


@pytest.fixture
def train() -> Ratings:
    return random_ratings(8, 6, 24)


@pytest.fixture
def validation(train: Ratings) -> Ratings:
    return Ratings(
        train.users[:5],
        train.items[:5],
        train.ratings[:5],
        train.n_users,
        train.n_items,
        train.encoder,
    )


# ---- history and clock --------------------------------------------------------------------------


def test_history_makes_a_table(train: Ratings, validation: Ratings) -> None:
    table = pd.DataFrame(Counting().fit(train, validation, epochs=3, evaluate=True).history_)
    assert list(table.columns) == ["epoch", "seconds", "objective", "train_mse", "validation_mse"]
    assert table["epoch"].tolist() == [0, 1, 2, 3]
    assert table.notna().all(axis=None)


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def tick(self, seconds: float) -> None:
        self.now += seconds


@dataclass(kw_only=True, eq=False)
class Ticking(Counting):
    """By its clock, preparing takes 4 s, an epoch 1, evaluating 16, waiting for the device 2."""

    clock: Clock | None = None

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> CountingState:
        self.clock.tick(4)
        return super().prepare(train, initial, seed=seed)

    def step(self, state: CountingState, n_epochs: int) -> float:
        self.clock.tick(n_epochs)
        return super().step(state, n_epochs)

    def synchronize(self, state: CountingState) -> None:
        self.clock.tick(2)

    def parameters(self, state: CountingState) -> Parameters:
        self.clock.tick(16)
        return super().parameters(state)


def test_the_clock_counts_prepare_step_and_synchronize_only(
    train: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    solver = Ticking(clock=clock).fit(train, epochs=3, callback=lambda at: clock.tick(1000))
    assert [record.seconds for record in solver.history_] == [7, 10, 13]


@pytest.mark.parametrize(("limit", "epochs"), [(6, 1), (7, 1), (9, 2), (1013, 3), (1014, 4)])
def test_the_time_limit_is_by_the_clock(
    train: Ratings, validation: Ratings, monkeypatch: pytest.MonkeyPatch, limit: float, epochs: int
) -> None:
    """Preparing takes 4 s, an epoch 3, evaluating it by validation ratings 16, a callback 1000."""
    clock = Clock(monkeypatch)

    def dawdle(progress: Progress) -> None:
        clock.tick(1000 if progress.record.epoch == 2 else 0)

    solver = Ticking(clock=clock).fit(train, epochs=50, max_seconds=limit, callback=dawdle)
    assert (solver.status_, solver.n_epochs_) == ("time", epochs)
    evaluated = Ticking(clock=clock).fit(
        train, validation, epochs=50, max_seconds=24, patience=None
    )
    assert (evaluated.status_, evaluated.n_epochs_) == ("time", 2)  # 4 + 3 + 16 are 23


def test_without_validation_or_evaluation_nothing_is_evaluated(train: Ratings) -> None:
    solver = Counting().fit(train, epochs=2)
    assert all(math.isnan(value) for record in solver.history_ for value in record[2:])


def test_the_objective_is_computed_only_when_asked_for(train: Ratings, validation: Ratings) -> None:
    for options in ({}, {"target_mse": 0.0}, {"keep": "last"}):
        record = Counting().fit(train, validation, epochs=1, **options).history_[-1]
        assert math.isnan(record.train_mse)
        assert math.isnan(record.objective)
        assert not math.isnan(record.validation_mse)


# ---- the best model -----------------------------------------------------------------------------


def test_patience_is_on_where_the_best_model_is_kept(train: Ratings, validation: Ratings) -> None:
    # Shrinking factors move every prediction towards the mean; the validation MSE settles and ties.
    frozen = Counting(init_scale=1e-300)
    frozen.fit(train, validation, epochs=50)
    assert (frozen.status_, frozen.n_epochs_) == ("patience", 1 + Counting.patience)
    for options in ({"keep": "last"}, {"patience": None}):
        frozen.fit(train, validation, epochs=50, **options)
        assert (frozen.status_, frozen.n_epochs_) == ("epochs", 50)


def test_the_biases_alone_start_the_history(train: Ratings, validation: Ratings) -> None:
    solver = Counting(user_bias_damping=3, item_bias_damping=1, bias_reg=0.1)
    solver.fit(train, validation, epochs=2, evaluate=True)
    b, c = damped_biases(train, user_damping=3, item_damping=1, reg=0.1)
    errors = train.summary.mean + b[validation.users] + c[validation.items] - validation.ratings
    first = solver.history_[0]
    assert (first.epoch, first.seconds) == (0, 0)
    assert first.validation_mse == pytest.approx(float(np.mean(errors**2)), rel=1e-6)
    assert first.train_mse < np.var(train.ratings)
    for options in ({"keep": "last"}, {}):
        without = Counting(bias="keep" in options).fit(train, validation, epochs=2, **options)
        assert without.history_[0].epoch == 1


def test_what_a_diverged_fit_leaves(train: Ratings, validation: Ratings) -> None:
    """Not even the best earlier model is kept; the message says to lower the rate and fit again."""
    solver = Counting(losses=(1.0, 1.0, math.nan)).fit(train, epochs=2)
    with pytest.warns(DivergenceWarning):
        solver.fit(train, validation, epochs=5)
    assert (solver.status_, solver.n_epochs_) == ("diverged", 3)
    assert [record.epoch for record in solver.history_] == [0, 1, 2]
    assert not hasattr(solver, "model_")


def test_an_interrupted_fit_keeps_its_best(train: Ratings, validation: Ratings) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.record.epoch == 4:
            raise KeyboardInterrupt

    solver = Counting(init_scale=1.0).fit(
        train, validation, epochs=50, patience=None, callback=interrupt
    )
    assert (solver.status_, solver.n_epochs_) == ("interrupted", 4)
    scores = [record.validation_mse for record in solver.history_]
    assert solver.best_epoch_ == int(np.argmin(scores))
    assert mean_squared_error(solver.model_.parameters, validation) == min(scores)


def test_ctrl_c_in_the_first_epoch_leaves_the_model_of_the_fit_before(
    train: Ratings, validation: Ratings
) -> None:
    class Slow(Counting):
        def step(self, state: CountingState, n_epochs: int) -> float:
            raise KeyboardInterrupt

    solver = Slow()
    solver.__dict__.update(Counting().fit(train, seed=3).__dict__)
    before = dict(solver.__dict__)
    for given in (None, validation):
        with pytest.raises(KeyboardInterrupt):
            solver.fit(train, given, seed=4)
        assert solver.__dict__ == before


def test_a_callback_has_a_model_of_its_own(train: Ratings, validation: Ratings) -> None:
    kept = []

    def spoil(progress: Progress) -> None:
        kept.append(progress.model)
        progress.model.parameters.user_factors[:] = np.nan

    for options in ({}, {"keep": "last"}):
        solver = Counting().fit(train, validation, epochs=3, callback=spoil, **options)
        assert solver.model_.parameters.is_finite()
        assert not any(model.parameters is solver.model_.parameters for model in kept)


def test_a_warm_start_competes(train: Ratings, validation: Ratings) -> None:
    """A start that validates better than the damped biases is epoch 0, and may be the model."""
    best = initial_model(Counting(rank=2).objective, train, 0)
    rng = np.random.default_rng(0)
    best.user_bias, best.item_bias = rng.normal(size=train.n_users), rng.normal(size=train.n_items)
    ratings = best.predict(validation.users, validation.items)
    exact = dataclasses.replace(validation, ratings=ratings)
    for bias in (True, False):
        given = (
            best
            if bias
            else dataclasses.replace(
                best, mean=0.0, user_bias=0 * best.user_bias, item_bias=0 * best.item_bias
            )
        )
        target = (
            exact
            if bias
            else dataclasses.replace(exact, ratings=given.predict(exact.users, exact.items))
        )
        solver = Counting(rank=2, bias=bias, dtype="float64").fit(
            train, target, epochs=3, initial=given
        )
        assert (solver.best_epoch_, [record.epoch for record in solver.history_]) == (
            0,
            [0, 1, 2, 3],
        )
        assert solver.history_[0].validation_mse == pytest.approx(0, abs=1e-20)
        assert solver.model_.fit["warm_start"]
    poor = dataclasses.replace(best, user_bias=100 + best.user_bias)
    first = Counting(rank=2).fit(train, validation, epochs=1, initial=poor).history_[0]
    assert (
        first.validation_mse
        == Counting(rank=2).fit(train, validation, epochs=1).history_[0].validation_mse
    )


def test_a_warm_start_takes_the_mean_of_the_new_ratings(train: Ratings) -> None:
    model = get_backend("numpy", rank=2).fit(train, epochs=5).model_
    shifted = dataclasses.replace(train, ratings=train.ratings + 10)
    again = get_backend("numpy", rank=2).fit(shifted, epochs=5, initial=model).model_
    assert again.parameters.mean == pytest.approx(model.parameters.mean + 10)


def test_a_target_may_be_met_before_the_first_epoch(train: Ratings, validation: Ratings) -> None:
    reached = Counting().fit(train, validation, epochs=1).history_[0].validation_mse
    solver = Counting().fit(train, validation, epochs=5, target_mse=reached)
    assert (solver.status_, solver.n_epochs_, solver.best_epoch_) == ("target", 0, 0)


def test_a_target_of_anything_trains_where_nothing_was_scored_before(
    train: Ratings, validation: Ratings
) -> None:
    solver = Counting().fit(train, validation, epochs=5, target_mse=math.inf, keep="last")
    assert (solver.status_, solver.n_epochs_) == ("target", 1)


def test_a_start_beyond_the_precision_is_refused(train: Ratings) -> None:
    start = initial_model(Counting(rank=2).objective, train, 0)
    start.user_factors[0, 0] = 1e200
    with (
        pytest.raises(ValueError, match="initial holds numbers beyond float32"),
        np.errstate(over="ignore"),
    ):
        Counting(rank=2).fit(train, initial=start)


def test_a_failed_fit_leaves_the_seed(train: Ratings) -> None:
    solver = Counting().fit(train, seed=3)

    def stumble(progress: Progress) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        solver.fit(train, seed=4, callback=stumble)
    assert solver.model_.fit["seed"] == 3


# ---- the seed -----------------------------------------------------------------------------------


def test_prepare_is_given_the_seed_as_a_plain_integer(train: Ratings) -> None:
    given: list[object] = []

    class Noting(Counting):
        def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> CountingState:
            given.append(seed)
            return super().prepare(train, initial, seed=seed)

    solver = Noting().fit(train, seed=np.int64(7), epochs=1)
    assert given == [7]
    assert type(given[0]) is int
    assert solver.model_.fit["seed"] == 7
    assert not hasattr(solver, "seed_")


def test_a_prepare_without_the_seed_is_refused_with_the_line_to_write(train: Ratings) -> None:
    class Old(Counting):
        def prepare(self, train: Ratings, initial: Parameters) -> CountingState:
            raise AssertionError("it must not come to that")

    assert refusal(TypeError, Old(), train) == (
        "Old.prepare must take the seed: write `def prepare(self, train: Ratings, "
        "initial: Parameters, *, seed: int)`, whether or not it draws anything"
    )


def test_a_prepare_that_takes_anything_takes_the_seed(train: Ratings) -> None:
    class Wrapping(Counting):
        def prepare(self, *args: Any, **options: Any) -> CountingState:
            return super().prepare(*args, **options)

    assert Wrapping().fit(train, epochs=1).n_epochs_ == 1


def test_the_wrapper_that_is_called_must_take_the_seed(train: Ratings) -> None:
    def forgets(prepare: Any) -> Any:
        return functools.wraps(prepare)(
            lambda self, train, initial: prepare(self, train, initial, seed=0)
        )

    class Wrapped(Counting):
        prepare = forgets(Counting.prepare)

    assert "Wrapped.prepare must take the seed" in refusal(TypeError, Wrapped(), train)

    class Positional(Counting):
        def prepare(self, train: Ratings, initial: Parameters, seed: int, /) -> CountingState:  # type: ignore[override]
            raise AssertionError("it must not come to that")

    assert "Positional.prepare must take the seed" in refusal(TypeError, Positional(), train)


def test_a_prepare_that_is_silent_about_its_arguments_is_tried(train: Ratings) -> None:
    class Native(Counting):
        prepare = getattr  # written in C, without a signature

    with pytest.raises(ValueError, match=r"no signature found|invalid signature"):
        inspect.signature(Native().prepare)
    Native()._check_prepare()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"init": "uniform", "init_scale": 3.0}, {"bias": False}])
def test_initial_parameters_are_the_start_of_a_fit(
    train: Ratings,
    dtype: str,
    options: dict[str, Any],
) -> None:
    starts: list[Parameters] = []

    class Noting(Counting):
        def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> CountingState:
            starts.append(initial)
            return super().prepare(train, initial, seed=seed)

    solver = Noting(rank=2, dtype=dtype, **options).fit(train, seed=5, epochs=1)
    expected = solver.initial_parameters(train, seed=5)
    assert starts[0].mean == expected.mean
    for name, array in expected.arrays().items():
        assert array.dtype == dtype
        assert np.array_equal(starts[0].arrays()[name], array)
    assert expected.user_factors.shape == (train.n_users, 2)
    other = solver.initial_parameters(train, seed=6)
    assert not np.array_equal(other.user_factors, expected.user_factors)


@pytest.mark.parametrize(
    ("options", "arguments", "error", "message"),
    [
        ({}, {"seed": -1}, ValueError, "seed must be an integer of at least 0, got -1"),
        ({}, {"seed": 1.5}, ValueError, "seed must be an integer of at least 0, got 1.5"),
        ({}, {"train": pd.DataFrame()}, TypeError, "train must be Ratings, got DataFrame"),
        ({"init": "zeros"}, {}, ValueError, 'init must be "normal" or "uniform"'),
        ({"init_scale": 0}, {}, ValueError, "init_scale must be a positive number, got 0"),
        ({"rank": 0}, {}, ValueError, "rank must be an integer of at least 1, got 0"),
    ],
)
def test_initial_parameters_refuse_what_fit_refuses(
    train: Ratings,
    options: dict[str, Any],
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    solver = Counting(**options)
    for call in (solver.initial_parameters, solver.fit):
        with pytest.raises(error, match=message):
            call(**{"train": train, **arguments})


def test_a_fit_from_its_own_initial_parameters_is_the_same_fit(train: Ratings) -> None:
    solver = get_backend("numpy", rank=2, n_jobs=1)
    start = solver.initial_parameters(train, seed=5)
    fits = [solver.fit(train, epochs=2, seed=5, initial=x).model_.parameters for x in (None, start)]
    assert np.array_equal(*(fit.user_factors for fit in fits))


def test_a_callback_must_be_callable(train: Ratings) -> None:
    with pytest.raises(TypeError, match="callback must be callable or None, got int"):
        Counting().fit(train, callback=3)


def test_numpys_integers_are_threads_too(train: Ratings) -> None:
    for name in ("numpy", "numpy-als"):
        assert get_backend(name, n_jobs=np.int32(1)).fit(train, epochs=1).status_ == "epochs"


def test_parameters_may_come_read_only(train: Ratings) -> None:
    class Frozen(Counting):
        def parameters(self, state: CountingState) -> Parameters:
            x = super().parameters(state)
            for array in x.arrays().values():
                array.flags.writeable = False
            return x

    sparse = dataclasses.replace(train, n_users=train.n_users + 1, encoder=None)
    assert not Frozen().fit(sparse, epochs=1).model_.parameters.user_factors[-1].any()


def test_the_share_to_split_off_is_checked(train: Ratings) -> None:
    for share, message in (
        (1.0, "validation must be ratings, or a share of less than 1, got 1.0"),
        (0.0, "validation must be a positive number, got 0.0"),
        (math.nan, "validation must be a positive number, got nan"),
    ):
        with pytest.raises(ValueError, match=message):
            Counting().fit(train, share)


def test_the_fit_is_told_in_the_model(train: Ratings, validation: Ratings) -> None:
    model = Counting(rank=2, damping=7).fit(train, validation, seed=5, epochs=3).model_
    assert model.fit["solver"] == "Counting"
    assert (model.fit["validation"], model.fit["warm_start"]) == (True, False)
    assert (model.fit["rank"], model.fit["damping"], model.fit["seed"]) == (2, 7, 5)


# ---- stopping -----------------------------------------------------------------------------------


def test_patience_counts_epochs_without_a_better_one(train: Ratings, validation: Ratings) -> None:
    # Shrinking factors move every prediction towards the mean; the validation MSE settles and ties.
    frozen = Counting(init_scale=1e-300).fit(train, validation, epochs=50, patience=4)
    assert (frozen.status_, frozen.n_epochs_) == ("patience", 5)


def test_a_score_at_the_target_ends_a_fit(train: Ratings, validation: Ratings) -> None:
    history = Counting().fit(train, validation, epochs=6, keep="last").history_
    course = [record.validation_mse for record in history]
    assert course == sorted(set(course), reverse=True)  # so that the target is met once
    fit = Counting().fit(train, validation, epochs=6, target_mse=course[3], keep="last")
    assert (fit.status_, fit.n_epochs_) == ("target", 4)


def test_a_callback_that_returns_nothing_stops_nothing(train: Ratings) -> None:
    assert Counting().fit(train, epochs=4, callback=lambda at: None).n_epochs_ == 4


def test_a_callback_that_fails_fails_the_fit(train: Ratings) -> None:
    def broken(progress: Progress) -> None:
        raise RuntimeError("callback is broken")

    solver = Counting()
    with pytest.raises(RuntimeError, match="callback is broken"):
        solver.fit(train, callback=broken)
    assert not hasattr(solver, "model_")


def test_a_models_epoch_does_not_pass_on(train: Ratings) -> None:
    kept: list[Progress] = []
    Counting().fit(train, epochs=3, callback=kept.append)
    # once training has gone on, the parameters are those of a later epoch
    with pytest.raises(RuntimeError) as caught:
        _ = kept[0].model
    assert (
        str(caught.value)
        == "the model of epoch 1 is gone: read progress.model inside the callback to keep it"
    )


# ---- a solver that restarts ---------------------------------------------------------------------


@dataclass(kw_only=True, eq=False)
class Restarting(Counting):
    """Not steppable: `fit` asks for all epochs at once unless something is to be seen between."""

    steppable = False

    def step(self, state: CountingState, n_epochs: int) -> float:
        self.asked = [*getattr(self, "asked", []), n_epochs]
        return super().step(state, n_epochs)


def test_all_epochs_at_once_where_nobody_looks(train: Ratings) -> None:
    solver = Restarting().fit(train, epochs=7, evaluate=False)
    assert solver.asked == [7]
    assert (solver.n_epochs_, [record.epoch for record in solver.history_]) == (7, [7])


def test_one_by_one_where_somebody_looks(train: Ratings, validation: Ratings) -> None:
    assert Restarting().fit(train, validation, epochs=3).asked == [3]
    assert Restarting().fit(train, epochs=3, evaluate=True).asked == [1, 1, 1]
    for watching in (
        {"callback": lambda at: None},
        {"max_seconds": 0.0},
        {"target_mse": 0.0},
        {"patience": 9},
    ):
        solver = Restarting().fit(train, validation, epochs=3, evaluate=False, **watching)
        assert set(solver.asked) == {1}, watching


def test_a_backend_that_does_not_count_epochs_is_refused(train: Ratings) -> None:
    class Forgetful(Counting):
        calls = 0

        def step(self, state: CountingState, n_epochs: int) -> float:
            self.calls += 1
            assert self.calls < 20, "the fit would never end"
            return 1.0

    with pytest.raises(RuntimeError, match="Forgetful"):
        Forgetful().fit(train, epochs=3)


# ---- divergence ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1e9])
def test_an_exploded_loss_is_divergence(train: Ratings, loss: float) -> None:
    solver = Counting(losses=(1.0, loss, 1.0))
    with pytest.warns(DivergenceWarning) as caught:
        solver.fit(train, epochs=3)
    assert str(caught[0].message) == (
        f"Counting diverged in epoch 2 (training MSE {loss:.3g}); it has no model. "
        "Raise reg or damping, and check the scale of the ratings"
    )
    assert caught[0].filename == __file__  # the warning points at the caller of fit
    assert (solver.status_, solver.n_epochs_, len(solver.history_)) == ("diverged", 2, 1)


def test_a_loss_that_is_infinite_throughout_is_divergence(train: Ratings) -> None:
    # the mean squared rating, with which the loss is compared, is infinite too
    huge = Ratings(train.users, train.items, train.ratings * 1e300, train.n_users, train.n_items)
    with (
        np.errstate(all="ignore"),
        pytest.warns(DivergenceWarning, match=r"in epoch 1 \(training MSE inf\)"),
    ):
        solver = Counting(losses=(math.inf,) * 3).fit(huge, epochs=3)
    assert not hasattr(solver, "model_")


# NumPy 1 keeps `errstate` for each thread.
@pytest.mark.filterwarnings("ignore:overflow encountered in square:RuntimeWarning")
def test_a_model_of_infinite_loss_is_not_handed_out(train: Ratings) -> None:
    huge = Ratings(train.users, train.items, train.ratings * 1e300, train.n_users, train.n_items)
    with (
        np.errstate(all="ignore"),
        pytest.warns(DivergenceWarning, match=r"in epoch 3 \(training MSE inf\)"),
    ):
        solver = Counting().fit(huge, epochs=3, evaluate=False)
    assert solver.status_ == "diverged"


@pytest.mark.parametrize("value", [1e155, 1e160, 1e300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "name",
    [
        "numpy",
        "numpy-als",
        "numba-als",
        "numba-gd",
        "numba-sgd",
        "torch-als",
        "torch-cpu",
        "torch-cpu-gd",
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_ratings_whose_squares_overflow_make_a_fit_diverge_or_are_refused(
    name: str, dtype: str, value: float
) -> None:
    if not name.startswith("numpy"):
        pytest.importorskip(name.split("-")[0])
    train = Ratings([0, 0, 1], [0, 1, 1], [value, -value, value / 2])
    if dtype == "float32" and name in ("numpy", "numba-gd", "torch-cpu-gd"):
        with pytest.raises(RatingsError, match="differ by about inf"):
            get_backend(name, rank=2, dtype=dtype, n_jobs=1).fit(train)
        return
    with pytest.warns(DivergenceWarning):
        solver = get_backend(name, rank=2, dtype=dtype, n_jobs=1).fit(
            train, epochs=3, evaluate=False
        )
    assert solver.status_ == "diverged"


@pytest.mark.parametrize(
    "name", ["numpy", "numpy-als", "numba-als", "numba-gd", "numba-sgd", "torch-als", "torch-cpu"]
)
def test_a_number_too_large_for_the_precision_is_refused(name: str) -> None:
    if not name.startswith("numpy"):
        pytest.importorskip(name.split("-")[0])
    parameters = ["reg"] if name.endswith("-als") else ["reg", "learning_rate"]
    for parameter in parameters:
        with pytest.raises(ValueError) as caught:  # compared below
            get_backend(name, dtype="float32", **{parameter: 1e300})
        assert str(caught.value) == f"{parameter} must be at most 3.4e+38 in float32, got 1e+300"
        assert getattr(get_backend(name, dtype="float64", **{parameter: 1e300}), parameter) == 1e300


def test_small_ratings_do_not_make_a_wide_start_diverge(train: Ratings) -> None:
    # the start is far off, which is no sign of divergence
    small = Ratings(train.users, train.items, train.ratings * 1e-6, train.n_users, train.n_items)
    solver = get_backend("numpy", preset="article", learning_rate=0.1, n_jobs=1).fit(
        small, epochs=5
    )
    assert solver.status_ == "epochs"


def test_a_model_with_a_nan_is_not_handed_out(train: Ratings) -> None:
    class Poisoned(Counting):
        def parameters(self, state: CountingState) -> Parameters:
            return dataclasses.replace(state.now, user_bias=np.full(train.n_users, np.nan))

    with pytest.warns(DivergenceWarning, match="Poisoned diverged in epoch 2"):
        solver = Poisoned().fit(train, epochs=2, evaluate=False)
    assert not hasattr(solver, "model_")


# ---- Ctrl-C -------------------------------------------------------------------------------------


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="this system cannot send a signal to a thread"
)
def test_ctrl_c_during_a_step_on_the_main_thread(train: Ratings) -> None:
    """A real signal, sent by another thread while the third epoch is under way."""

    class Slow(Counting):
        def step(self, state: CountingState, n_epochs: int) -> float:
            if state.epochs == 2:
                main = threading.main_thread().ident
                sender = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))
                sender.start()
                time.sleep(0.3)
                sender.join()
            return super().step(state, n_epochs)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        solver = Slow().fit(train, epochs=50, evaluate=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert solver.status_ == "interrupted"
    assert solver.n_epochs_ in (2, 3)
    whole = Counting().fit(train, epochs=solver.n_epochs_)
    assert np.array_equal(
        whole.model_.parameters.item_factors, solver.model_.parameters.item_factors
    )


def test_ctrl_c_in_a_callback_from_another_thread(train: Ratings) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.record.epoch == 3:
            _thread.interrupt_main()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        solver = Counting().fit(train, epochs=50, callback=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (solver.status_, solver.n_epochs_, len(solver.history_)) == ("interrupted", 3, 3)
    assert solver.model_.parameters.is_finite()


def test_ctrl_c_before_the_first_epoch_leaves_no_model(train: Ratings) -> None:
    class Slow(Counting):
        def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> CountingState:
            raise KeyboardInterrupt

    solver = Counting().fit(train)
    slow = Slow()
    slow.__dict__.update(solver.__dict__)
    with pytest.raises(KeyboardInterrupt):
        slow.fit(train)
    assert slow.model_ is solver.model_  # of the earlier fit
    with pytest.raises(KeyboardInterrupt):
        (fresh := Slow()).fit(train)
    assert not hasattr(fresh, "model_")


def test_the_handler_of_the_caller_is_back_after_a_fit(train: Ratings) -> None:
    before = signal.getsignal(signal.SIGINT)
    get_backend("numpy", n_jobs=1).fit(train, epochs=2)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("name", ["numpy", "numba-gd", "numba-sgd", "torch-als", "torch-cpu"])
def test_fit_works_outside_the_main_thread(train: Ratings, name: str) -> None:
    if name != "numpy":
        pytest.importorskip(name.split("-")[0])
    solver = get_backend(name, rank=3, n_jobs=1, dtype="float64")
    thread = threading.Thread(target=solver.fit, args=(train,), kwargs={"epochs": 2})
    thread.start()
    thread.join()
    assert (solver.status_, solver.n_epochs_) == ("epochs", 2)


# ---- what fit refuses ---------------------------------------------------------------------------


def refusal(error: type[Exception], solver: Factorizer, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(error) as caught:
        solver.fit(*args, **kwargs)
    return str(caught.value)


def test_train_must_be_ratings(train: Ratings) -> None:
    assert refusal(TypeError, Counting(), np.zeros((3, 3))) == (
        "train must be Ratings, got ndarray; make them by Ratings.from_frame or Ratings.from_arrays"
    )
    assert refusal(TypeError, Counting(), train, [(1, 2, 3)]) == (
        "validation must be Ratings, got list; make them by train.encoder.encode_new, "
        "or give the share of the "
        "training ratings to split off"
    )


def test_train_must_not_be_empty() -> None:
    nothing = Ratings(np.array([], int), np.array([], int), [], 2, 2)
    assert (
        refusal(ValueError, Counting(), nothing) == "train has no ratings; at least one is needed"
    )


def test_validation_must_be_encoded_as_train_is(train: Ratings) -> None:
    other = random_ratings(9, 6, 40)
    assert refusal(ValueError, Counting(), train, other) == (
        f"validation must be encoded as train is: got ({other.n_users}, {other.n_items}) rows for "
        f"({train.n_users}, {train.n_items}), and another encoder; use train.encoder.encode_new"
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 2.5}, "epochs must be an integer of at least 1, got 2.5"),
        ({"epochs": True}, "epochs must be an integer of at least 1, got True"),
        ({"patience": 0}, 'patience must be "auto", None or an integer of at least 1, got 0'),
        ({"patience": "2"}, "patience must be \"auto\", None or an integer of at least 1, got '2'"),
        ({"max_seconds": -1.0}, "max_seconds must be a finite number of at least 0, got -1.0"),
        ({"max_seconds": math.nan}, "max_seconds must be a finite number of at least 0, got nan"),
        ({"target_mse": math.nan}, "target_mse must be a finite number of at least 0, got nan"),
        ({"target_mse": "low"}, "target_mse must be a finite number of at least 0, got 'low'"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": 0.5}, "seed must be an integer of at least 0, got 0.5"),
        ({"seed": None}, "seed must be an integer of at least 0, got None"),
    ],
)
def test_arguments_of_fit_are_named(
    train: Ratings, validation: Ratings, arguments: dict[str, Any], expected: str
) -> None:
    assert refusal(ValueError, Counting(), train, validation, **arguments) == expected


@pytest.mark.parametrize("stopping", [{"target_mse": 1.0}, {"patience": 2}])
def test_stopping_on_validation_needs_validation(train: Ratings, stopping: dict[str, Any]) -> None:
    expected = "target_mse and patience need validation ratings, got none"
    assert refusal(ValueError, Counting(), train, **stopping) == expected
    assert train.encoder is not None
    nothing = train.encoder.encode_new([], [], []).ratings
    assert refusal(ValueError, Counting(), train, nothing, **stopping) == expected


def test_a_start_must_fit(train: Ratings) -> None:
    start = Counting(rank=3).fit(train).model_.parameters
    shapes = f"[({train.n_users}, 2), ({train.n_items}, 2), ({train.n_users},), ({train.n_items},)]"
    said = refusal(ValueError, Counting(rank=2), train, initial=start)
    assert said.startswith(
        f"initial must have arrays of shapes {shapes} for these ratings and this rank, got [(8, 3)"
    )
    start.item_bias[0] = np.inf
    expected = "initial holds numbers that are not finite"
    assert refusal(ValueError, Counting(rank=3), train, initial=start) == expected
    said = refusal(TypeError, Counting(), train, initial=np.zeros((3, 3)))
    assert said == "initial must be Parameters or a FactorModel, got ndarray"


def test_a_start_for_other_rows_is_refused(train: Ratings) -> None:
    # as many rows, but with other ids, or with the ids in another order
    reversed_rows = Ratings.from_arrays(
        train.encoder.users[train.users][::-1],
        train.encoder.items[train.items][::-1],
        train.ratings[::-1],
    )
    model = Counting().fit(reversed_rows).model_
    said = refusal(ValueError, Counting(), train, initial=model)
    assert said.startswith("initial must be a model of these rows")


def test_a_start_with_biases_is_refused_by_a_model_without(train: Ratings) -> None:
    start = get_backend("numpy", n_jobs=1, rank=2).fit(train, epochs=2).model_.parameters
    said = refusal(ValueError, Counting(rank=2, bias=False), train, initial=start)
    assert (
        said
        == "initial has a mean or biases, which a model with bias=False does not; set them to zero"
    )


def test_a_refused_call_keeps_the_model(train: Ratings) -> None:
    solver = Counting().fit(train)
    model = solver.model_
    refusal(ValueError, solver, train, epochs=0)
    assert solver.model_ is model


# ---- a solver as an object ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model_", "history_", "n_epochs_", "status_"])
def test_fitted_attributes_are_not_there_before(name: str) -> None:
    with pytest.raises(NotFittedError) as caught:
        getattr(Counting(), name)
    assert str(caught.value) == f"no {name}: call fit first"


def test_other_attributes_are_missing_as_usual() -> None:
    with pytest.raises(
        AttributeError, match="'Counting' object has no attribute 'modle_'"
    ) as caught:
        _ = Counting().modle_
    assert not isinstance(caught.value, NotFittedError)


@pytest.mark.parametrize(
    "remake", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_predict_the_same(train: Ratings, remake: Any) -> None:
    solver = get_backend("numpy", rank=2, n_jobs=1).fit(train, epochs=2)
    assert train.encoder is not None
    ids = train.encoder.users[:3], train.encoder.items[:3]
    assert np.array_equal(remake(solver).predict(*ids), solver.predict(*ids))


def test_repr_names_the_parameters() -> None:
    assert repr(Counting(rank=7)).startswith("Counting(rank=7, reg=")


def test_n_jobs_none_means_all_cores_of_this_process() -> None:
    assert Counting(n_jobs=3).n_threads == 3
    assert Counting().n_threads >= 1


def test_fits_that_overlap_give_blas_back_its_threads() -> None:
    """The first to start is the first to end."""
    pytest.importorskip("numba")
    from threadpoolctl import threadpool_info

    def blas() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    before = blas()
    first, second = get_backend("numba-sgd").threads(), get_backend("numba-gd").threads()
    first.__enter__()
    second.__enter__()
    assert set(blas()) <= {1}
    first.__exit__(None, None, None)
    assert set(blas()) <= {1}
    second.__exit__(None, None, None)
    assert blas() == before


def test_threads_are_given_back(train: Ratings) -> None:
    torch, numba = pytest.importorskip("torch"), pytest.importorskip("numba")
    before = torch.get_num_threads(), numba.get_num_threads()
    for name in ("torch-cpu", "numba-gd"):
        get_backend(name, rank=3, n_jobs=1, dtype="float64").fit(train, epochs=1)
    assert (torch.get_num_threads(), numba.get_num_threads()) == before
