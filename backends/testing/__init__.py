"""The conformance suite: what every `Factorizer` owes its users, as a pytest class to subclass.

A backend of another package is tested by a dozen lines in that package's tests::

    from backends.testing import FactorizerConformance

    class TestMine(FactorizerConformance):
        divergent = {"learning_rate": 1e6}
        order_invariant = "rounding"

        def make(self, **params):
            return MyFactorizer(**params)

Facts that differ between backends are the class attributes of `FactorizerConformance`; everything
else is the same for all. The data are small: the suite tests correctness and nothing else. ``import
backends`` does not import this module.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import signal
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from backends.biases import damped_biases
from backends.errors import DivergenceWarning, NotFittedError, RatingsError
from backends.factorizer import Factorizer
from backends.model import FactorModel
from backends.objective import Objective, Parameters
from backends.ratings import Ratings
from backends.registry import get_backend
from backends.start import initial_model
from backends.stopping import Keep, Patience, Progress

from .example import (
    assert_close,
    assert_equal,
    columns,
    example_ratings,
    is_equal,
    mse_by_hand,
    objective_by_hand,
    raw_ids,
)
from .interrupts import (
    INTERRUPT_POINTS,
    LAST_POINTS,
    InterruptedStep,
    default_sigint,
    needs_main_thread,
)

__all__ = ["FactorizerConformance", "example_ratings"]

ROUNDING = {"float64": 1e-9, "float32": 1e-4}  # relative, between two orders of the same sums
# Relative, between two float64 evaluations of one model, whatever the model's precision.
EVALUATION = 1e-9
# Relative excess of J over the reference that still counts as having minimised it.
MINIMUM_GAP = 5e-3
# Relative, between the objectives of two runs of a backend that is not deterministic.
SAME_COURSE = 1e-2

# Relative, between J of a weighted fit and of repeated rows, for solvers that go row by row.
SAME_BY_WEIGHT = 0.02

# Few ratings take little damping: under the defaults, which are for data of a usual size, factors
# would vanish.
_OBJECTIVE: dict[str, Any] = {
    "rank": 3,
    "reg": 0.05,
    "damping": 2,
    "bias_reg": 0.02,
    "user_bias_damping": 1,
    "item_bias_damping": 0.5,
}
_UNDAMPED: dict[str, Any] = {"damping": 0, "user_bias_damping": 0, "item_bias_damping": 0}
_REFERENCE_EPOCHS = 500
_EPOCHS = 6


class FactorizerConformance:
    """Subclass this as ``Test...``, define ``make``, and set the attributes that differ.

    Attributes
    ----------
    divergent
        Hyper-parameters with which a fit diverges; None if it never does.
    order_invariant
        How the model changes when the training ratings are permuted: not at all ("exact"), by
        rounding errors ("rounding"), or arbitrarily ("no").
    deterministic
        Whether the same seed and number of threads give the same bits.
    minimises
        Whether a long fit ends within 0.5 % of the minimum of the objective, which exact ALS finds.
    epochs_to_minimum
        Number of epochs of that fit.
    dtypes
        The precisions that it supports.
    without_bias, per_entity
        Whether it supports ``bias=False``, and ``reg_scaling="per_entity"``.
    takes_initial
        Whether it starts from given initial parameters; a library may only draw its own.
    takes_weights
        Whether it supports weights; if not, it must raise ValueError for `Ratings` with weights.
    any_scale
        Whether its defaults fit ratings on any scale. A learning rate in rating units does not.
    epochs_to_weigh
        Number of epochs after which a weighted fit and one of repeated ratings are compared.
    """

    divergent: ClassVar[dict[str, Any] | None] = None
    order_invariant: ClassVar[Literal["exact", "rounding", "no"]] = "rounding"
    deterministic: ClassVar[bool] = True
    minimises: ClassVar[bool] = True
    epochs_to_minimum: ClassVar[int] = 300
    dtypes: ClassVar[tuple[Literal["float32", "float64"], ...]] = ("float32", "float64")
    without_bias: ClassVar[bool] = True
    per_entity: ClassVar[bool] = True
    takes_initial: ClassVar[bool] = True
    takes_weights: ClassVar[bool] = True
    any_scale: ClassVar[bool] = True
    epochs_to_weigh: ClassVar[int] = 12

    def make(self, **params: Any) -> Factorizer:
        """Return a new backend with these hyper-parameters."""
        raise NotImplementedError("define make(self, **params) to return the backend under test")

    # ---- the objective --------------------------------------------------------------------------

    def test_objective_descends(self) -> None:
        """J falls below that of the start in the first epochs, and further later."""
        train, _ = example_ratings()
        solver = self._fit(train, epochs=12)
        start = solver.objective.value(initial_model(solver.objective, train, 0), train)
        course = [start, *(record.objective for record in solver.history_)]
        assert course[-1] < course[4] < start
        assert max(course[1:]) <= start

    def test_reaches_the_minimum(self) -> None:
        """A long fit ends where exact alternating least squares ends, or close by."""
        if not self.minimises:
            pytest.skip("stops early instead of minimising the objective")
        train, _ = example_ratings()
        solver = self._fit(train, epochs=self.epochs_to_minimum, evaluate=False)
        reference = get_backend("numpy-als", n_jobs=1, **_OBJECTIVE).fit(
            train,
            epochs=_REFERENCE_EPOCHS,
        )
        objective = solver.objective
        lowest = objective.value(reference.model_.parameters, train)
        assert objective.value(solver.model_.parameters, train) <= lowest * (1 + MINIMUM_GAP)

    def test_history_is_true(self) -> None:
        """Every number in ``history_`` is what a plain loop over the ratings computes."""
        train, validation = example_ratings()
        models: list[FactorModel] = []
        solver = self._fit(
            train,
            validation,
            epochs=3,
            keep="last",
            callback=lambda at: models.append(at.model),
        )
        assert [record.epoch for record in solver.history_] == [1, 2, 3]
        assert solver.n_epochs_ == 3
        for record, model in zip(solver.history_, models, strict=True):
            train_mse = mse_by_hand(model, train)
            assert record.train_mse == pytest.approx(train_mse, rel=EVALUATION)
            assert record.objective == pytest.approx(
                objective_by_hand(solver, model, train),
                rel=EVALUATION,
            )
            assert record.validation_mse == pytest.approx(
                mse_by_hand(model, validation),
                rel=EVALUATION,
            )
        assert_equal(models[-1].parameters, solver.model_.parameters)
        seconds = [record.seconds for record in solver.history_]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0

    def test_bias_free_model(self) -> None:
        """``bias=False`` leaves no mean and no biases, and still descends."""
        if not self.without_bias:
            pytest.skip("has no model without biases")
        train, _ = example_ratings()
        solver = self._fit(train, epochs=12, bias=False)
        parameters = solver.model_.parameters
        assert parameters.mean == 0
        assert not parameters.user_bias.any()
        assert not parameters.item_bias.any()
        start = solver.objective.value(initial_model(solver.objective, train, 0), train)
        assert solver.history_[-1].objective < start

    def test_no_regularisation(self) -> None:
        """No penalty at all is allowed, and J is then the training MSE."""
        train, _ = example_ratings()
        solver = self._fit(
            train,
            epochs=12,
            reg=0,
            bias_reg=0,
            user_bias_damping=0,
            item_bias_damping=0,
        )
        assert solver.history_[-1].objective == solver.history_[-1].train_mse
        assert solver.history_[-1].train_mse < np.var(train.ratings)

    def test_per_entity_regularisation(self) -> None:
        """``reg_scaling="per_entity"`` penalises all rows alike, and descends on that J."""
        if not self.per_entity:
            pytest.skip("has no penalty per entity")
        train, _ = example_ratings()
        flat: dict[str, Any] = {
            "reg": 2e-3,
            "reg_scaling": "per_entity",
            "bias_reg": 1e-3,
        } | _UNDAMPED
        solver = self._fit(train, epochs=12, **flat)
        start = Objective(3, **flat).value(initial_model(solver.objective, train, 0), train)
        assert solver.history_[-1].objective == pytest.approx(
            objective_by_hand(solver, solver.model_, train), rel=EVALUATION
        )
        assert solver.history_[-1].objective < start

    def test_penalties_in_ratings(self) -> None:
        """``reg_unit="rating"`` without damping is the same penalty per rating on any scale."""
        train, _ = example_ratings()
        solver = self._fit(
            train,
            epochs=12,
            reg_unit="rating",
            reg=0.08,
            bias_reg=0.08,
            **_UNDAMPED,
        )
        objective = objective_by_hand(solver, solver.model_, train)
        assert solver.history_[-1].objective == pytest.approx(objective, rel=EVALUATION)

    def test_weights(self) -> None:
        """A rating of weight 2 counts like the same row twice, or weights are refused."""
        train, _ = example_ratings()
        weights = np.random.default_rng(0).integers(1, 4, len(train))
        rows = np.repeat(np.arange(len(train)), weights)
        weighted = dataclasses.replace(train, weights=weights.astype(np.float64))
        if not self.takes_weights:
            with pytest.raises(ValueError, match="weights"):
                self._fit(weighted)
            return
        by_weight = self._fit(weighted, epochs=self.epochs_to_weigh)
        by_rows = self._fit(train.take(rows), epochs=self.epochs_to_weigh)
        tolerance = ROUNDING[self._dtype()] if self.minimises else SAME_BY_WEIGHT
        assert by_weight.history_[-1].objective == pytest.approx(
            by_rows.history_[-1].objective,
            rel=tolerance,
        )
        objective = objective_by_hand(by_weight, by_weight.model_, weighted)
        assert by_weight.history_[-1].objective == pytest.approx(objective, rel=EVALUATION)
        if self.minimises and self.deterministic:
            assert_close(by_weight.model_.parameters, by_rows.model_.parameters, tolerance)

    @pytest.mark.parametrize(
        ("scale", "shift"),
        [(4.0**-10, 0.0), (4.0**10, 0.0), (1.0, 100.0), (37.0, -500.0)],
    )
    def test_no_units(self, scale: float, shift: float) -> None:
        """Ratings on another scale give predictions on that scale: no default has a unit."""
        if not self.any_scale:
            pytest.skip("its defaults are in rating units")
        train, validation = example_ratings()
        one, other = (
            self._fit(dataclasses.replace(x, ratings=x.ratings * a + b), epochs=12).model_
            for x, a, b in ((train, 1.0, 0.0), (train, scale, shift))
        )
        users, items = raw_ids(one, validation)
        expected = one.predict(users, items) * scale + shift
        std = scale * float(np.std(train.ratings))
        rounding = ROUNDING["float32"] if self._dtype() == "float32" else 1e-6
        assert np.abs(other.predict(users, items) - expected).max() <= rounding * std

    # ---- seeds, inputs, order -------------------------------------------------------------------

    def test_one_seed_one_result(self) -> None:
        """The same seed gives the same model."""
        train, _ = example_ratings()
        first, second = self._fit(train, seed=3), self._fit(train, seed=3)
        if self.deterministic:
            assert_equal(first.model_.parameters, second.model_.parameters)
        else:
            objectives = [solver.history_[-1].objective for solver in (first, second)]
            assert objectives[0] == pytest.approx(objectives[1], rel=SAME_COURSE)

    def test_another_seed_another_result(self) -> None:
        """The seed matters."""
        train, _ = example_ratings()
        first, second = self._fit(train, seed=3), self._fit(train, seed=4)
        assert not np.allclose(
            first.model_.parameters.user_factors,
            second.model_.parameters.user_factors,
            rtol=1e-3,
        )

    def test_inputs_are_left_alone(self) -> None:
        """Neither the ratings nor the given start change during a fit."""
        train, validation = example_ratings()
        before = copy.deepcopy((columns(train), columns(validation)))
        start = initial_model(self._make().objective, train, 1)
        start_before = copy.deepcopy(start)
        self._fit(train, validation, initial=start)
        for now, then in zip((columns(train), columns(validation)), before, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(now, then, strict=True))
        assert_equal(start, start_before)

    def test_prepare_and_step_leave_their_arguments_alone(self) -> None:
        """What ``prepare`` was given is the caller's, also while the solver steps."""
        train, _ = example_ratings()
        solver = self._make()
        start = solver.initial_parameters(train, seed=1)
        before = copy.deepcopy(start)
        with solver.threads():
            state = solver.prepare(train, start, seed=1)
            for _ in range(3):
                solver.step(state, 1)
            solver.synchronize(state)
            copied = solver.parameters(state)
            kept = copy.deepcopy(copied)
            solver.step(state, 1)
        assert_equal(start, before)
        assert_equal(copied, kept)  # parameters() is a copy, not a view of the state

    def test_read_only_start(self) -> None:
        """A start whose arrays are read-only, such as memory maps, is taken."""
        train, _ = example_ratings()
        start = initial_model(self._make().objective, train, 1)
        for array in start.arrays().values():
            array.flags.writeable = False
        assert self._fit(train, initial=start).model_.parameters.is_finite()

    def test_starts_from_initial(self) -> None:
        """A fit continues from the model of another: J is lower than after a first epoch."""
        if not self.takes_initial:
            pytest.skip("its library starts from its own draw")
        train, _ = example_ratings()
        long = self._fit(train, epochs=30)
        more = self._fit(train, epochs=1, initial=long.model_)
        start = self._fit(train, epochs=1)
        assert more.history_[-1].objective < start.history_[-1].objective

    def test_order_of_rows(self) -> None:
        """A permutation of the training rows changes what ``order_invariant`` says."""
        if self.order_invariant == "no":
            pytest.skip("takes the ratings in their given order")
        train, _ = example_ratings()
        order = np.random.default_rng(1).permutation(len(train))
        shuffled = Ratings(
            train.users[order],
            train.items[order],
            train.ratings[order],
            train.n_users,
            train.n_items,
            train.encoder,
        )
        first, second = self._fit(train).model_.parameters, self._fit(shuffled).model_.parameters
        if self.order_invariant == "exact":
            assert_equal(first, second)
        else:
            assert_close(first, second, ROUNDING[self._dtype()])

    # ---- odd data -------------------------------------------------------------------------------

    @pytest.mark.parametrize("reg_scaling", ["per_rating", "per_entity"])
    def test_rows_with_one_rating_or_none(self, reg_scaling: str) -> None:
        """Rows with one rating are fitted; rows with none are zero."""
        if reg_scaling == "per_entity" and not self.per_entity:
            pytest.skip("has no penalty per entity")
        # user 3 and item 4 have no rating; user 2 and item 3 have one
        users, items = [0, 0, 0, 1, 1, 1, 2], [0, 1, 2, 0, 1, 2, 3]
        train = Ratings(
            np.array(users),
            np.array(items),
            np.array([4.0, 3, 5, 1, 2, 2, 4.5]),
            n_users=4,
            n_items=5,
        )
        start = initial_model(self._make().objective, train, 0).astype(self._dtype())
        undamped = _UNDAMPED if reg_scaling == "per_entity" else {}
        parameters = self._fit(
            train,
            initial=start,
            reg=0.02,
            reg_scaling=reg_scaling,
            **undamped,
        ).model_.parameters
        assert parameters.is_finite()
        assert not parameters.user_factors[3].any()
        assert not parameters.item_factors[4].any()
        if self.takes_initial:
            assert not np.array_equal(parameters.user_factors[2], start.user_factors[2])
            assert not np.array_equal(parameters.item_factors[3], start.item_factors[3])
        assert parameters.user_bias[3] == 0
        assert parameters.item_bias[4] == 0

    @pytest.mark.parametrize("one", ["user", "item", "rating"])
    def test_a_single_row(self, one: str) -> None:
        """One user, one item, or one rating in all, is enough."""
        many, single = list(range(6)), [0] * 6
        users, items = {"user": (single, many), "item": (many, single), "rating": ([0], [0])}[one]
        train = Ratings.from_arrays(users, items, [4.0, 2.0, 3.0, 5.0, 1.0, 4.0][: len(users)])
        solver = self._fit(train, epochs=12)
        assert np.isfinite(solver.predict(users, items)).all()
        assert solver.history_[-1].train_mse <= np.var(train.ratings) + 1e-3

    @pytest.mark.parametrize("rank", [1, 20])
    def test_rank_one_and_rank_above_the_number_of_items(self, rank: int) -> None:
        """Any rank of at least 1 works, also one larger than the data's."""
        train, _ = example_ratings()
        solver = self._fit(train, epochs=12, rank=rank)
        assert solver.model_.parameters.user_factors.shape == (train.n_users, rank)
        assert solver.model_.parameters.item_factors.shape == (train.n_items, rank)
        assert solver.history_[-1].train_mse < np.var(train.ratings)

    @pytest.mark.parametrize("value", [3.5, -2.0, 0.0])
    def test_all_ratings_equal(self, value: float) -> None:
        """Ratings without variance, zeros among them, are fitted and do not count as divergence."""
        train, _ = example_ratings()
        constant = Ratings(
            train.users,
            train.items,
            np.full(len(train), value),
            train.n_users,
            train.n_items,
        )
        solver = self._fit(constant, epochs=12)
        assert solver.status_ == "epochs"
        predicted = solver.predict(constant.users, constant.items)
        assert np.abs(predicted - value).max() <= 1e-6 * abs(value)

    def test_a_pair_rated_twice(self) -> None:
        """The constructor of `Ratings` takes repeated pairs, and each rating counts."""
        users, items = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 0, 1])
        train = Ratings(users, items, np.array([4.0, 2.0, 3.0, 5.0, 5.0, 4.0]))
        light: dict[str, Any] = {"reg": 1e-3, "bias_reg": 1e-3} | _UNDAMPED
        solver = self._fit(train, epochs=200, evaluate=False, **light)
        # the rating nearest to several is their mean; their sum would be far off
        assert solver.predict([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(
            [4.5, 2.0, 3.0, 4.5],
            abs=0.25,
        )

    def test_empty_validation(self) -> None:
        """Validation ratings may be empty; their MSE is then NaN."""
        train, _ = example_ratings()
        assert train.encoder is not None
        nothing = train.encoder.encode_new([], [], []).ratings
        solver = self._fit(train, nothing, epochs=2)
        assert [math.isnan(record.validation_mse) for record in solver.history_] == [True, True]

    def test_ids_of_the_other_kind(self) -> None:
        """Integers are not looked up among ids that are text, whatever ``unknown`` is."""
        solver = self._fit(example_ratings().train, epochs=1)
        for users, items in (([1], ["item 1"]), (["user 1"], [1]), ([1, "user 1"], "item 1")):
            with pytest.raises(RatingsError):
                solver.predict(users, items, unknown="mean")

    # ---- precision and threads ------------------------------------------------------------------

    def test_dtypes(self) -> None:
        """The model has the precision asked for, and both precisions agree on the objective."""
        train, _ = example_ratings()
        objectives = []
        for dtype in self.dtypes:
            solver = self._fit(train, dtype=dtype)
            assert {a.dtype.name for a in solver.model_.parameters.arrays().values()} == {dtype}
            assert solver.predict(["user 1"], ["item 1"]).dtype == np.float64
            objectives.append(solver.history_[-1].objective)
        assert objectives == pytest.approx(
            [objectives[0]] * len(objectives),
            rel=ROUNDING["float32"],
        )

    def test_float32_ratings_lose_nothing(self) -> None:
        """Float32 ratings give the same model as the same values in float64."""
        train, _ = example_ratings()
        narrow = Ratings(
            train.users,
            train.items,
            train.ratings.astype(np.float32),
            train.n_users,
            train.n_items,
            train.encoder,
        )
        first, second = self._fit(train).model_.parameters, self._fit(narrow).model_.parameters
        if self.deterministic:
            assert_close(first, second, ROUNDING[self._dtype()])

    @pytest.mark.parametrize("n_jobs", [2, None])
    def test_n_jobs(self, n_jobs: int | None) -> None:
        """More threads fit as well; solvers that reach a minimum follow the same trajectory."""
        train, _ = example_ratings()
        one, more = self._fit(train), self._fit(train, n_jobs=n_jobs)
        assert more.history_[-1].objective == pytest.approx(one.history_[-1].objective, rel=0.2)
        if self.minimises and self.deterministic:
            assert_close(one.model_.parameters, more.model_.parameters, ROUNDING[self._dtype()])

    # ---- stopping -------------------------------------------------------------------------------

    def test_stops_after_epochs(self) -> None:
        """``epochs`` of the call, else of the solver."""
        train, _ = example_ratings()
        assert self._fit(train, epochs=2).n_epochs_ == 2
        solver = self._make(epochs=3).fit(train, evaluate=True)
        assert (solver.n_epochs_, solver.status_, len(solver.history_)) == (3, "epochs", 3)

    def test_stops_at_target(self) -> None:
        """``target_mse`` stops at the first epoch at or under it."""
        train, validation = example_ratings()
        whole = self._fit(train, validation, epochs=8, keep="last")
        course = [record.validation_mse for record in whole.history_]
        target = course[2] if self.deterministic else course[2] * (1 + SAME_COURSE)
        first = next(epoch for epoch, mse in enumerate(course, 1) if mse <= target)
        solver = self._fit(
            train,
            validation,
            epochs=8,
            target_mse=target,
            keep="last",
            evaluate=False,
        )
        assert solver.status_ == "target"
        assert solver.history_[-1].validation_mse <= target
        if self.deterministic:
            assert solver.n_epochs_ == first

    def test_stops_without_patience(self) -> None:
        """``patience`` stops that many epochs after the best one."""
        train, _ = example_ratings()
        assert train.encoder is not None
        # Ratings that contradict training: the validation MSE is at its best in an early epoch.
        wrong = 6.0 - train.ratings[:40]
        against = Ratings(
            train.users[:40],
            train.items[:40],
            wrong,
            train.n_users,
            train.n_items,
            train.encoder,
        )
        solver = self._fit(train, against, epochs=60, patience=3)
        course = [record.validation_mse for record in solver.history_ if record.epoch]
        assert solver.status_ == "patience"
        assert len(course) - 1 - int(np.argmin(course)) == 3

    def test_keeps_the_best_epoch(self) -> None:
        """With validation ratings the model is that of the epoch with the lowest MSE on them."""
        train, validation = example_ratings()
        assert train.encoder is not None
        models: list[FactorModel] = []
        solver = self._fit(train, validation, epochs=8, callback=lambda at: models.append(at.model))
        course = [record.validation_mse for record in solver.history_]
        assert [record.epoch for record in solver.history_] == list(range(solver.n_epochs_ + 1))
        assert solver.best_epoch_ == int(np.argmin(course))
        assert mse_by_hand(solver.model_, validation) == pytest.approx(min(course), rel=EVALUATION)
        if solver.best_epoch_:
            assert_equal(solver.model_.parameters, models[solver.best_epoch_ - 1].parameters)
        assert solver.model_.fit["epoch"] == solver.best_epoch_
        last = self._fit(train, validation, epochs=2, keep="last")
        assert (last.best_epoch_, last.n_epochs_, len(last.history_)) == (2, 2, 2)

    def test_biases_alone_compete(self) -> None:
        """If no epoch is better, the model is the damped biases, and ``best_epoch_`` is 0."""
        train, _ = example_ratings()
        objective = self._make().objective
        b, c = damped_biases(
            train,
            user_damping=objective.user_bias_damping,
            item_damping=objective.item_bias_damping,
            reg=objective.bias_reg,
        )
        exact = train.summary.mean + b[train.users] + c[train.items]
        solver = self._fit(train, dataclasses.replace(train, ratings=exact), epochs=3)
        assert solver.best_epoch_ == 0
        assert solver.history_[0].validation_mse == pytest.approx(0, abs=ROUNDING["float32"] ** 2)
        assert not solver.model_.parameters.user_factors.any()
        predicted = solver.predict(*raw_ids(solver.model_, train))
        assert np.abs(predicted - exact).max() < ROUNDING["float32"]

    def test_share_for_validation(self) -> None:
        """A number splits that share off the training ratings; what is split off counts as seen."""
        train, _ = example_ratings()
        rest, held_out = train.split(0.2, seed=3)
        solver = self._fit(train, 0.2, seed=3, epochs=4)
        if self.deterministic:
            assert_equal(
                solver.model_.parameters,
                self._fit(rest, held_out, seed=3, epochs=4).model_.parameters,
            )
        user = raw_ids(solver.model_, held_out)[0][0]
        pairs = zip(*raw_ids(solver.model_, train), strict=True)
        seen = {str(item) for u, item in pairs if u == user}
        assert len(solver.recommend(user, train.n_items)) == train.n_items - len(seen)
        assert not seen.intersection(str(one.item) for one in solver.recommend(user, train.n_items))

    def test_stops_when_time_is_up(self) -> None:
        """``max_seconds`` stops after the epoch in which they passed."""
        train, _ = example_ratings()
        solver = self._fit(train, epochs=50, max_seconds=1e-9, evaluate=False)
        assert (solver.status_, solver.n_epochs_, len(solver.history_)) == ("time", 1, 1)

    def test_evaluation_counts_for_the_time(self) -> None:
        """The time of a callback counts for ``max_seconds``, and not for ``history_``."""
        train, _ = example_ratings()
        solver = self._fit(
            train,
            epochs=50,
            max_seconds=0.3,
            evaluate=False,
            callback=lambda at: time.sleep(0.2),
        )
        assert solver.status_ == "time"
        assert solver.n_epochs_ <= 2

    def test_stops_at_callback(self) -> None:
        """A true result of the callback stops the fit; the model is that epoch's."""
        train, _ = example_ratings()
        seen: list[FactorModel] = []

        def enough(progress: Progress) -> bool:
            seen.append(progress.model)
            return progress.record.epoch == 2

        solver = self._fit(train, callback=enough, evaluate=False)
        assert (solver.status_, solver.n_epochs_, len(seen)) == ("callback", 2, 2)
        assert math.isnan(solver.history_[-1].objective)  # evaluate=False
        assert_equal(seen[-1].parameters, solver.model_.parameters)
        if self.deterministic:
            assert_equal(solver.model_.parameters, self._fit(train, epochs=2).model_.parameters)

    def test_evaluation_changes_nothing(self) -> None:
        """The model is the same with and without evaluation on the way."""
        if not self.deterministic:
            pytest.skip("not deterministic")
        train, validation = example_ratings()
        plain = self._fit(train, evaluate=False)
        models: list[FactorModel] = []

        def watch(progress: Progress) -> None:
            models.append(progress.model)

        watched = self._fit(train, validation, keep="last", callback=watch)
        assert_equal(plain.model_.parameters, watched.model_.parameters)

    def test_divergence_is_reported(self) -> None:
        """A diverging fit warns, sets ``status_``, and leaves no model, not even an earlier one."""
        if self.divergent is None:
            pytest.skip("cannot diverge")
        train, _ = example_ratings()
        solver = self._fit(train)
        solver.set_params(**self.divergent)
        with pytest.warns(DivergenceWarning, match="diverged in epoch"):
            solver.fit(train, epochs=100, evaluate=True)
        assert solver.status_ == "diverged"
        assert not hasattr(solver, "model_")
        with pytest.raises(
            NotFittedError,
            match="the fit diverged; lower the learning rate or raise reg",
        ):
            solver.predict("user 0", "item 0")

    def test_divergence_in_the_last_epoch(self) -> None:
        """A model that is worse than none is not handed out because it was not looked at again."""
        if self.divergent is None:
            pytest.skip("cannot diverge")
        train, _ = example_ratings()
        solver = self._make(**self.divergent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)
            solver.fit(train, epochs=1, evaluate=False)
        if solver.status_ != "diverged":
            squares = float(np.mean(np.square(train.ratings)))
            assert mse_by_hand(solver.model_, train) <= 1e4 * squares

    # ---- Ctrl-C ---------------------------------------------------------------------------------

    def test_ctrl_c_in_a_callback(self) -> None:
        """A Ctrl-C between epochs ends the fit and keeps its model."""
        needs_main_thread()
        train, _ = example_ratings()

        def interrupt(progress: Progress) -> None:
            if progress.record.epoch == 2:
                signal.raise_signal(signal.SIGINT)

        with default_sigint():
            solver = self._fit(train, callback=interrupt)
        assert (solver.status_, solver.n_epochs_) == ("interrupted", 2)
        if self.deterministic:
            assert_equal(solver.model_.parameters, self._fit(train, epochs=2).model_.parameters)

    def test_ctrl_c_in_a_step(self) -> None:
        """Wherever a Ctrl-C falls in a step, the model is that of ``n_epochs_`` whole epochs."""
        needs_main_thread()
        train, _ = example_ratings()
        dry = InterruptedStep(self._make(), at=None)
        dry.fit(train)
        last = dry.n_events
        points = {round(point) for point in np.linspace(1, last, INTERRUPT_POINTS)}
        points |= set(range(max(1, last - LAST_POINTS), last + 1))
        expected = {}
        for n in (2, 3, 4):
            expected[n] = self._fit(train, epochs=n, evaluate=False).model_.parameters
        wrong = {}
        for point in sorted(points):
            solver = InterruptedStep(self._make(), at=point).fit(train)
            assert solver.status_ == "interrupted", f"place {point} of {last}"
            if self.deterministic and not is_equal(
                solver.model_.parameters,
                expected[solver.n_epochs_],
            ):
                wrong[point] = solver.n_epochs_
        message = f"interrupted at these of {last} places, the model is not that of n_epochs_"
        assert not wrong, f"{message}: {wrong}"

    # ---- life of a solver -----------------------------------------------------------------------

    def test_refit_starts_over(self) -> None:
        """A second fit forgets the first."""
        train, _ = example_ratings()
        assert train.encoder is not None
        solver = self._fit(train, epochs=4)
        other = Ratings.from_arrays(["a", "a", "b"], ["x", "y", "x"], [1.0, 2.0, 4.0])
        solver.fit(other, epochs=2, evaluate=True)
        assert (solver.n_epochs_, len(solver.history_), solver.status_) == (2, 2, "epochs")
        assert solver.model_.parameters.user_factors.shape == (2, 3)
        if self.deterministic:
            solver.fit(train, epochs=4)
            assert_equal(solver.model_.parameters, self._fit(train, epochs=4).model_.parameters)

    def test_a_refit_serves_the_old_model_until_its_end(self) -> None:
        """During a fit, and if a callback raises, the results of the fit before stay."""
        train, _ = example_ratings()
        solver = self._fit(train, epochs=2)
        model, history = solver.model_, solver.history_
        during: list[bool] = []

        def stumble(progress: Progress) -> None:
            during.append(solver.model_ is model)
            if progress.record.epoch == 2:
                raise LookupError("of the caller")

        with pytest.raises(LookupError, match="of the caller"):
            solver.fit(train, epochs=4, callback=stumble)
        assert during == [True, True]
        assert solver.model_ is model
        assert (solver.history_, solver.n_epochs_, solver.status_) == (history, 2, "epochs")
        solver.fit(train, epochs=1)
        assert solver.model_ is not model

    def test_not_fitted(self) -> None:
        """Before ``fit`` there is no model, and the error says what to do."""
        solver = self._make()
        assert not hasattr(solver, "model_")
        with pytest.raises(NotFittedError, match="no model_: call fit first"):
            solver.predict("user 0", "item 0")

    def test_save_and_load(self, tmp_path: Path) -> None:
        """A saved model predicts and recommends as before."""
        train, _ = example_ratings()
        model = self._fit(train).model_
        model.save(tmp_path / "model.npz")
        loaded = FactorModel.load(tmp_path / "model.npz")
        users, items = ["user 0", "user 5", "user 9"], ["item 3", "item 0", "item 11"]
        assert np.array_equal(loaded.predict(users, items), model.predict(users, items))
        assert loaded.recommend("user 5", 4) == model.recommend("user 5", 4)

    def test_parameters_can_be_read_and_set(self) -> None:
        """``get_params`` and ``set_params`` work by name, and a wrong name is refused."""
        solver = self._make(reg=0.25)
        assert solver.get_params()["reg"] == 0.25
        assert solver.set_params(reg=0.5, rank=2) is solver
        assert (solver.get_params()["reg"], solver.rank) == (0.5, 2)
        with pytest.raises(
            ValueError,
            match=r"has no parameter 'regularisation'; it has rank, reg",
        ):
            solver.set_params(regularisation=1)

    def test_can_be_cloned(self) -> None:
        """``sklearn.base.clone`` works: the parameters are stored as they are given."""
        train, _ = example_ratings()
        solver = self._fit(train)
        stored = solver.get_params(deep=False)
        params = {name: copy.deepcopy(value) for name, value in stored.items()}
        clone = type(solver)(**params)
        stored = clone.get_params(deep=False)
        assert all(stored[name] is params[name] for name in params)
        assert not hasattr(clone, "model_")

    @pytest.mark.parametrize(
        ("name", "value", "expected"),
        [
            ("rank", 0, "an integer of at least 1"),
            ("rank", 2.5, "an integer of at least 1"),
            ("reg", -0.1, "a finite number of at least 0"),
            ("reg", math.nan, "a finite number of at least 0"),
            ("reg", "0.1", "a finite number of at least 0"),
            ("damping", -1, "a finite number of at least 0"),
            ("bias_reg", math.inf, "a finite number of at least 0"),
            ("user_bias_damping", None, "a finite number of at least 0"),
            ("item_bias_damping", -0.5, "a finite number of at least 0"),
            ("reg_unit", "std", '"rms" or "rating"'),
            ("reg_scaling", "per_row", '"per_rating" or "per_entity"'),
            ("dtype", "float16", '"float32" or "float64"'),
            ("n_jobs", 0, "None or an integer of at least 1"),
            ("n_jobs", "all", "None or an integer of at least 1"),
            ("epochs", 0, "an integer of at least 1"),
            ("epochs", 2.0, "an integer of at least 1"),
            ("init", "zeros", '"normal" or "uniform"'),
            ("init_scale", 0, "a positive number"),
            ("init_scale", "wide", "a positive number"),
        ],
    )
    def test_wrong_parameters_are_named(self, name: str, value: object, expected: str) -> None:
        """The error for a wrong hyper-parameter names it, what was given, and what is expected."""
        train, _ = example_ratings()
        with pytest.raises(ValueError) as caught:  # the three parts are asserted below
            self._make(**{name: value}).fit(train)
        assert f"{name} must be {expected}, got {value!r}" in str(caught.value)

    # ---- helpers --------------------------------------------------------------------------------

    def _dtype(self) -> Literal["float32", "float64"]:
        return "float64" if "float64" in self.dtypes else "float32"

    def _make(self, **params: Any) -> Factorizer:
        defaults = {"n_jobs": 1, "epochs": _EPOCHS, "dtype": self._dtype()}
        return self.make(**(_OBJECTIVE | defaults | params))

    def _fit(
        self,
        train: Ratings,
        validation: Ratings | float | None = None,
        *,
        seed: int = 0,
        initial: Parameters | FactorModel | None = None,
        evaluate: bool = True,
        callback: Any = None,
        target_mse: float | None = None,
        patience: Patience = "auto",
        max_seconds: float | None = None,
        keep: Keep = "best",
        **params: Any,
    ) -> Factorizer:
        """Make a solver with ``params`` and fit it."""
        return self._make(**params).fit(
            train,
            validation,
            seed=seed,
            initial=initial,
            evaluate=evaluate,
            callback=callback,
            target_mse=target_mse,
            patience=patience,
            max_seconds=max_seconds,
            keep=keep,
        )
