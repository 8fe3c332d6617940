"""What every adapter owes its users, as a class to subclass, and what its tests share."""

import copy
import dataclasses
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from backends import FactorModel, Objective, Parameters, Ratings, get_backend
from backends.objective import mean_squared_error
from backends.peers.peer import GOES_ON, N_JOBS, OUR_START, RESTARTS, Offset, Peer
from backends.registry import BackendInfo, backend_info, unavailable_reason
from backends.testing.example import assert_equal

RANK = 3
TABLES = "user_bias", "item_bias", "user_factors", "item_factors"
# Prints how many threads each fit leaves behind; those of a pool stay. The first fit starts what
# has nothing to do with n_jobs, and the limit what BLAS, which is limited as well, may start. Those
# that draw the start end in a moment.
COUNT_THREADS = """
import os, sys, time
from threadpoolctl import threadpool_info, threadpool_limits
from peer_suite import example
from backends import get_backend
def limits(progress):
    pools.extend(pool["num_threads"] for pool in threadpool_info())
def count(n_jobs):
    solver = get_backend(sys.argv[1], rank=3, n_jobs=n_jobs)
    solver.fit(example().train, epochs=1, callback=limits)
    threadpool_limits(3, "blas")
    return min((time.sleep(0.01), len(os.listdir("/proc/self/task")))[1] for _ in range(20))
pools = []
first = count(1)
print("limits:", max(pools))
print("threads:", count(1) - first, count(2) - first)
"""


class Example(NamedTuple):
    train: Ratings
    held_out: Ratings


def needs(name: str) -> None:
    """Skip the module that calls this where the backend's library is missing."""
    reason = unavailable_reason(backend_info(name))
    if reason:
        pytest.skip(reason, allow_module_level=True)


def example(low: float = 1.0, high: float = 10.0, seed: int = 0) -> Example:
    """Return low-rank ratings with noise between two bounds.

    Of 40 users and 30 items the first and the last of each have no training ratings.
    """
    rng = np.random.default_rng(seed)
    taste, kind = rng.normal(size=(40, RANK)), rng.normal(size=(30, RANK))
    exact = rng.normal(size=(40, 1)) + rng.normal(size=30) + taste @ kind.T
    exact += 0.3 * rng.normal(size=exact.shape)
    ratings = np.clip((low + high) / 2 + exact * (high - low) / 10, low, high)
    users, items = np.divmod(rng.permutation(40 * 30)[:750], 30)
    values = ratings[users, items]
    rated = (users % 39 > 0) & (items % 29 > 0)
    held_out = rng.random(len(users)) < 0.15
    columns = users, items, values
    return Example(
        *(Ratings(*(c[part] for c in columns), 40, 30) for part in (rated & ~held_out, held_out))
    )


def flat(x: Parameters, *tables: str) -> np.ndarray:
    """Return the named tables, by default all, as one vector."""
    return np.concatenate([getattr(x, name).ravel() for name in tables or TABLES], dtype=np.float64)


def sizes(objective: Objective, x: Parameters, train: Ratings, *tables: str) -> float:
    """Return the norm of the gradient, of the named tables."""
    return float(np.linalg.norm(flat(objective.gradient(x, train), *tables)))


def with_reg(objective: Objective, factor: float) -> Objective:
    """Return the objective with another regularisation, a wrong one."""
    return dataclasses.replace(
        objective, reg=factor * objective.reg, bias_reg=factor * objective.bias_reg
    )


def subtracted(offset: Offset | None, users: np.ndarray, items: np.ndarray) -> Any:
    """Return what was subtracted from ratings before the library saw them."""
    return 0.0 if offset is None else offset.of(users, items)


def centred(x: Parameters, offset: Offset | None) -> Parameters:
    """Return the model without what was subtracted from the ratings."""
    if offset is None:
        return x
    b, c = offset.biases or (0.0, 0.0)
    return dataclasses.replace(
        x, mean=x.mean - offset.mean, user_bias=x.user_bias - b, item_bias=x.item_bias - c
    )


class PeerSuite:
    """Subclass this as ``Test...``, and set what differs.

    Attributes
    ----------
    name
        Of the backend.
    params
        Hyper-parameters with which ``epochs`` epochs learn the example's ratings.
    scale_params
        Other ones for ratings from 1 to 100, where the library's have a unit.
    prints
        Whether its compiled part prints, which Python cannot discard.
    repeatable
        Whether one thread always gives one model.
    refuses_pairs
        What the error says where a pair may not have several ratings; "" where each counts.
    """

    name: ClassVar[str]
    params: ClassVar[dict[str, Any]] = {}
    scale_params: ClassVar[dict[str, Any]] = {}
    epochs: ClassVar[int] = 30
    prints: ClassVar[bool] = False
    refuses_pairs: ClassVar[str] = ""
    repeatable: ClassVar[bool] = True
    tolerance: ClassVar[float] = 1e-5  # relative, of the library's predictions and ours

    def make(self, **params: Any) -> Peer:
        solver = get_backend(self.name, **({"rank": RANK, "n_jobs": 1} | self.params | params))
        assert isinstance(solver, Peer)
        return solver

    def fit(
        self, train: Ratings, validation: Any = None, *, epochs: int = 6, **params: Any
    ) -> Peer:
        names = ("seed", "initial", "callback", "keep", "patience", "target_mse", "evaluate")
        call = {name: params.pop(name) for name in names if name in params}
        return self.make(**params).fit(train, validation, epochs=epochs, **call)

    def library_predictions(
        self, solver: Peer, session: Any, users: np.ndarray, items: np.ndarray
    ) -> np.ndarray:
        """Return what the library's own ``predict`` says of pairs of rows."""
        raise NotImplementedError

    @property
    def info(self) -> BackendInfo:
        return backend_info(self.name)

    @property
    def has_bias_option(self) -> bool:
        return "bias" not in self.make().unused

    def without_bias(self, **params: Any) -> dict[str, Any]:
        return {"bias": False, "fit_to": "ratings"} | params

    # ---- what it fits ---------------------------------------------------------------------------

    def test_learns(self) -> None:
        train, held_out = example()
        first, last = (self.fit(train, epochs=n).model_.parameters for n in (1, self.epochs))
        errors = [mean_squared_error(x, train) for x in (first, last)]
        assert errors[1] < 0.7 * errors[0]
        assert errors[1] < 0.3 * train.summary.variance
        known = held_out.take(np.flatnonzero((held_out.users % 39 > 0) & (held_out.items % 29 > 0)))
        assert mean_squared_error(last, known) < 0.6 * train.summary.variance

    def test_the_objective_falls(self) -> None:
        train, _ = example()
        objective = self.make().minimised(train)
        if objective is None:
            assert "nothing" in self.make().facts.minimises
            return
        numbers = 1, 3, self.epochs
        models = [self.fit(train, epochs=n).model_.parameters for n in numbers]
        offset = self.make()._offset(train)
        shifted = dataclasses.replace(
            train, ratings=train.ratings - subtracted(offset, train.users, train.items)
        )
        values = [objective.value(centred(x, offset), shifted) for x in models]
        assert values[2] < values[1] < values[0]

    @pytest.mark.parametrize("fit_to", ["ratings", "centred", "residuals"])
    def test_predicts_what_the_library_predicts(self, fit_to: str) -> None:
        train, held_out = example()
        known = held_out.take(np.flatnonzero((held_out.users % 39 > 0) & (held_out.items % 29 > 0)))
        solver = self.make(fit_to=fit_to)
        with solver.threads():
            state = solver.prepare(train, solver.initial_parameters(train), seed=0)
            solver.step(state, 8)
        x = solver.parameters(state)
        theirs = self.library_predictions(solver, state.session, known.users, known.items)
        theirs = theirs + subtracted(state.offset, known.users, known.items)
        ours = x.predict(known.users, known.items)
        assert np.std(ours) > 0.05
        assert np.abs(ours - theirs).max() <= self.tolerance * np.abs(ours).max()
        # The ratings of one user are in the right order, and of the right user.
        mse = np.mean(np.square(theirs - known.ratings))
        assert mse == pytest.approx(mean_squared_error(x, known), rel=100 * self.tolerance)
        # That is also what a fit returns.
        fitted = solver.fit(train, epochs=8).model_
        if self.info.deterministic:
            assert_equal(fitted.parameters, solver._parameters(state, train))

    def test_zeros_are_ratings(self) -> None:
        users, items = np.divmod(np.arange(2400), 40)
        ratings = np.where((users + items) % 4 < 2, 0.0, 5.0)
        kept = np.random.default_rng(0).random(2400) < 0.5
        train = Ratings(users[kept], items[kept], ratings[kept], 60, 40)
        solver = self.fit(train, epochs=self.epochs)
        assert mean_squared_error(solver.model_.parameters, train) < 0.9 * train.summary.variance

    def test_a_pair_rated_twice(self) -> None:
        """Several ratings of a pair count like as many of their mean, or are refused."""
        users, items = np.divmod(np.arange(1200), 30)
        ratings = 3.0 + np.where((users + items) % 2, 1.0, -1.0)
        twice = Ratings(
            np.tile(users, 2), np.tile(items, 2), np.append(ratings + 0.5, ratings - 0.5), 40, 30
        )
        if self.refuses_pairs:
            with pytest.raises(Exception, match=self.refuses_pairs):
                self.fit(twice)
            return
        x = self.fit(twice, epochs=self.epochs).model_.parameters
        off = mean_squared_error(x, Ratings(users, items, ratings, 40, 30))
        assert off < 0.6

    # ---- shapes, scales, precisions -------------------------------------------------------------

    def test_rows_without_ratings(self) -> None:
        train, _ = example()
        x = self.fit(train).model_.parameters
        assert x.is_finite()
        assert (x.user_factors.shape[0], x.item_factors.shape[0]) == (40, 30)
        for table in x.arrays().values():
            assert not table[[0, -1]].any()
        assert x.user_factors[1].any()
        assert x.item_factors[1].any()

    @pytest.mark.parametrize("one", ["user", "item", "rating"])
    def test_a_single_row(self, one: str) -> None:
        many, single = np.arange(6), np.zeros(6, int)
        users, items = {"user": (single, many), "item": (many, single), "rating": ([0], [0])}[one]
        train = Ratings.from_arrays(users, items, [4.0, 2.0, 3.0, 5.0, 1.0, 4.0][: len(users)])
        solver = self.fit(train, epochs=12)
        assert np.isfinite(solver.predict(users, items)).all()

    def test_one_epoch(self) -> None:
        train, _ = example()
        solver = self.fit(train, epochs=1)
        assert solver.n_epochs_ == 1
        assert solver.model_.parameters.is_finite()
        assert solver.model_.parameters.user_factors.any()

    @pytest.mark.parametrize(("low", "high"), [(0.5, 5.0), (1.0, 100.0)])
    def test_scales(self, low: float, high: float) -> None:
        train, _ = example(low, high)
        params = self.scale_params if high > 10 else {}
        x = self.fit(train, epochs=self.epochs, **params).model_.parameters
        assert mean_squared_error(x, train) < 0.6 * train.summary.variance

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtypes(self, dtype: str) -> None:
        train, _ = example()
        solver = self.fit(train, dtype=dtype)
        assert {a.dtype.name for a in solver.model_.parameters.arrays().values()} == {dtype}
        assert mean_squared_error(solver.model_.parameters, train) < np.mean(train.ratings**2)

    def test_without_biases(self) -> None:
        train, _ = example()
        if not self.has_bias_option:
            with pytest.raises(
                ValueError, match=r"bias has to stay True with .*, which knows no other"
            ):
                self.make(bias=False)
            return
        x = self.fit(train, epochs=self.epochs, **self.without_bias()).model_.parameters
        assert (x.mean, x.user_bias.any(), x.item_bias.any()) == (0.0, False, False)
        assert mean_squared_error(x, train) < np.mean(train.ratings**2) / 4
        with pytest.raises(ValueError, match=r"fit_to has to be 'ratings' with bias=False"):
            self.make(bias=False, fit_to="centred")

    @pytest.mark.parametrize("fit_to", ["ratings", "centred", "residuals"])
    def test_fit_to(self, fit_to: str) -> None:
        """What was subtracted is added again."""
        train, _ = example(seed=1)
        x = self.fit(train, epochs=self.epochs, fit_to=fit_to).model_.parameters
        assert mean_squared_error(x, train) < 0.6 * train.summary.variance

    @pytest.mark.parametrize("n_jobs", [2, None])
    def test_several_threads(self, n_jobs: int | None) -> None:
        train, _ = example()
        first, second = (
            self.fit(train, epochs=self.epochs, n_jobs=n_jobs).model_.parameters for _ in range(2)
        )
        assert mean_squared_error(first, train) < 0.3 * train.summary.variance
        if self.info.deterministic:
            assert_equal(first, second)

    @pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads by /proc")
    def test_number_of_threads(self) -> None:
        root = Path(__file__).resolve().parents[2]
        paths = [str(root), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        env = {"PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-W", "ignore", "-c", COUNT_THREADS, self.name]
        options: dict[str, Any] = {
            "check": True,
            "capture_output": True,
            "text": True,
            "timeout": 100,
        }
        output = subprocess.run(command, env=env, **options).stdout
        more = 1 if self.make().facts.threads == N_JOBS else 0
        assert output.split("threads:")[1].split() == ["0", str(more)]
        assert "limits: 1\n" in output

    # ---- starts, seeds, steps -------------------------------------------------------------------

    def test_start(self) -> None:
        train, _ = example()
        solver = self.make()
        initial = solver.initial_parameters(train, seed=3)
        state = solver.prepare(train, initial, seed=3)
        x = solver._parameters(state, train)
        if solver.facts.start == OUR_START:
            expected = solver._without_unrated(initial.astype(solver.dtype), state, train)
            assert np.array_equal(x.user_factors, expected.user_factors)
            assert np.array_equal(x.item_factors, expected.item_factors)
            initial.user_bias += np.float32(0.5)
            initial.item_bias -= np.float32(0.25)
            if solver.fit_to == "ratings" and self.has_bias_option:
                state = solver.prepare(train, initial, seed=3)
                assert np.array_equal(solver.parameters(state).user_bias, initial.user_bias)
                assert np.array_equal(solver.parameters(state).item_bias, initial.item_bias)
        else:
            assert not x.user_factors.any()
            with pytest.raises(ValueError, match="initial has to be None with "):
                self.fit(train, initial=initial)
            with pytest.raises(ValueError, match=r"init_scale has to stay 0\.1 with"):
                self.make(init_scale=0.2)

    def test_seed(self) -> None:
        train, _ = example()
        models = [self.fit(train, seed=seed).model_.parameters for seed in (3, 3, 4)]
        facts = self.make().facts
        if self.info.deterministic:
            assert_equal(models[0], models[1])
        seeds_matter = not facts.seed.startswith("nothing")
        different = not np.allclose(models[0].user_factors, models[2].user_factors, rtol=1e-3)
        assert different == seeds_matter
        if facts.start != OUR_START:
            return
        initial = self.make().initial_parameters(train, seed=3)
        first, second = (
            self.fit(train, seed=seed, initial=initial).model_.parameters for seed in (3, 4)
        )
        if facts.seed == "the start":
            assert_equal(first, second)
        else:
            assert not np.array_equal(first.user_factors, second.user_factors)

    def test_more_epochs(self) -> None:
        """Six epochs at once are two, and four more."""
        train, _ = example()
        solver = self.make()
        assert solver.steppable == self.info.steppable
        assert solver.facts.stepping == (GOES_ON if solver.steppable else RESTARTS)
        with solver.threads():
            state = solver.prepare(train, solver.initial_parameters(train), seed=0)
            solver.step(state, 2)
            early = copy.deepcopy(solver._parameters(state, train))
            kept = copy.deepcopy(early)
            solver.step(state, 4)
        assert state.epochs == 6
        assert_equal(early, kept)
        whole = self.fit(train, epochs=6).model_.parameters
        if not self.repeatable:
            errors = [
                mean_squared_error(x, train) for x in (solver._parameters(state, train), whole)
            ]
            assert errors[0] == pytest.approx(errors[1], rel=0.1)
            return
        assert_equal(solver._parameters(state, train), whole)
        short = self.fit(train, epochs=2).model_.parameters
        assert_equal(solver._without_unrated(early, state, train), short)
        assert not np.array_equal(short.user_factors, whole.user_factors)

    # ---- the interface --------------------------------------------------------------------------

    def test_inputs_are_left_alone(self) -> None:
        train, held_out = example()
        initial = self.make().initial_parameters(train, seed=1)
        before = copy.deepcopy((train, held_out, initial))
        for array in (*initial.arrays().values(), train.users, train.items, train.ratings):
            array.flags.writeable = False
        start = {"initial": initial} if self.make().takes_start else {}
        self.fit(train, held_out, dtype="float64", **start)
        self.fit(train, held_out, **start)
        for now, then in zip((train, held_out), before, strict=False):
            for name in ("users", "items", "ratings"):
                assert np.array_equal(getattr(now, name), getattr(then, name))
        assert_equal(initial, before[2])
        solver = self.make()
        given = solver.initial_parameters(train)
        kept = copy.deepcopy(given)
        with solver.threads():
            solver.step(solver.prepare(train, given, seed=0), 1)
        assert_equal(given, kept)

    def test_history(self) -> None:
        train, held_out = example()
        seen: list[FactorModel] = []
        solver = self.fit(train, held_out, callback=lambda at: seen.append(at.model))
        course = [record.validation_mse for record in solver.history_]
        assert [record.epoch for record in solver.history_] == list(range(7))
        assert (solver.status_, solver.n_epochs_, len(seen)) == ("epochs", 6, 6)
        assert solver.best_epoch_ == int(np.argmin(course))
        assert mean_squared_error(solver.model_.parameters, held_out) == pytest.approx(
            min(course), rel=1e-9
        )
        for record, model in zip(solver.history_[1:], seen, strict=True):
            assert mean_squared_error(model.parameters, held_out) == pytest.approx(
                record.validation_mse, rel=1e-9
            )

    def test_stopping(self) -> None:
        train, held_out = example()
        stopped = self.fit(train, callback=lambda at: at.record.epoch == 2)
        assert (stopped.status_, stopped.n_epochs_) == ("callback", 2)
        # What biases alone predict is best before the first epoch.
        b, c = self.make().objective.biases_alone(train)
        exact = train.summary.mean + b[held_out.users] + c[held_out.items]
        of_biases = dataclasses.replace(held_out, ratings=exact)
        solver = self.fit(train, of_biases, epochs=20, patience=3)
        assert (solver.status_, solver.best_epoch_) == ("patience", 0)
        assert not solver.model_.parameters.user_factors.any()
        share = self.fit(train, 0.2, epochs=2)
        assert share.model_.fit["validation"] == 0.2

    def test_nothing_is_printed(self, capfd: pytest.CaptureFixture[str]) -> None:
        train, held_out = example()
        self.fit(train, held_out, n_jobs=2)
        assert (capfd.readouterr() != ("", "")) == self.prints

    def test_no_weights(self) -> None:
        train, _ = example()
        weighted = dataclasses.replace(train, weights=np.full(len(train), 2.0))
        with pytest.raises(ValueError, match="takes no weights; every rating counts once"):
            self.fit(weighted)

    def test_what_the_library_does_not_have(self) -> None:
        other = {"damping": 5.0, "reg_unit": "rms", "reg": 0.5, "bias": False}
        per_entity = self.make().reg_scaling == "per_entity"  # which Objective refuses with damping
        for name in ("damping", "reg_unit", *self.make().unused)[per_entity:]:
            with pytest.raises(
                ValueError, match=rf"^{name} has to stay .*, which knows no other; got"
            ):
                self.make(**{name: other[name]})
        for params in ({"fit_to": "logarithms"}, {"rank": 0}, {"n_jobs": 0}):
            with pytest.raises(ValueError, match=next(iter(params))):
                self.make(**params)
        for name in {"learning_rate", "noise_precision"} & set(self.make().get_params()):
            with pytest.raises(ValueError, match=name):
                self.make(**{name: 0.0})

    def test_saves_loads_and_recommends(self, tmp_path: Path) -> None:
        train, _ = example()
        raw = Ratings.from_arrays(100 + train.users, 7 * train.items, train.ratings)
        model = self.fit(raw, epochs=8).model_
        model.save(tmp_path / "model.npz")
        loaded = FactorModel.load(tmp_path / "model.npz")
        assert_equal(loaded.parameters, model.parameters)
        best = model.recommend(101, 5)
        assert [one.item for one in best] == [one.item for one in loaded.recommend(101, 5)]
        rated = {int(7 * item) for item in train.items[train.users == 1]}
        assert len(best) == 5
        assert not rated & {int(one.item) for one in best}

    def test_all_ratings_equal(self) -> None:
        train, _ = example()
        constant = dataclasses.replace(train, ratings=np.full(len(train), 3.5))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            solver = self.fit(constant, epochs=self.epochs)
        assert np.isfinite(solver.model_.parameters.predict(train.users, train.items)).all()


def check_descent(
    objective: Objective,
    before: Parameters,
    after: Parameters,
    train: Ratings,
    learning_rate: float,
    *tables: str,
) -> None:
    """Raise AssertionError unless the step is -rate n/2 times the gradient, and for no other reg.

    ``before`` should have large factors and biases, so that the penalty matters.
    """

    def off(objective: Objective) -> float:
        gradient = flat(objective.gradient(before, train), *tables)
        expected = -learning_rate * len(train) / 2 * gradient
        step = flat(after, *tables) - flat(before, *tables)
        return float(np.linalg.norm(step - expected) / np.linalg.norm(expected))

    assert off(objective) < 0.01
    assert min(off(with_reg(objective, 0.5)), off(with_reg(objective, 2.0))) > 0.05


def check_stationary(
    objective: Objective,
    before: Parameters,
    after: Parameters,
    train: Ratings,
    *tables: str,
    tolerance: float = 0.05,
) -> None:
    """Raise AssertionError unless ``after`` is stationary, and far from it for any other reg."""
    end = sizes(objective, after, train, *tables)
    others = [sizes(with_reg(objective, factor), after, train, *tables) for factor in (0.5, 2.0)]
    assert end < tolerance * sizes(objective, before, train, *tables)
    assert end < tolerance * min(others)
