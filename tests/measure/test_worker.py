"""The worker's answers, asked for in this process: what is fitted, scored, counted and given up."""

import io
import itertools
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import pytest

from backends import Factorizer, Ratings, get_backend
from backends.numpy_als import NumpyALS
from bench.cases.case import Case
from bench.measure import epoch_search, worker
from bench.measure.protocol import Calibrate, Calibrated, Time, Timed, Warm
from bench.measure.worker import Worker
from bench.records import Round


@pytest.fixture
def here(case: Case) -> Worker:
    """A worker that has opened the case, with a backend whose fits are the same to the last bit."""
    worker = Worker(io.BytesIO())
    data = case.data
    assert data.test is not None
    worker.ratings = {"train": data.train, "validation": data.validation, "test": data.test}
    worker.solver_arguments = {"name": "numpy-als", **asdict(case.objective), "n_jobs": 1}
    return worker


# ---- rounds -------------------------------------------------------------------------------------


def timed(here: Worker, **changes: Any) -> Round:
    asked = {"epochs": 3, "seed": 5, "round_number": 7, "factor": 1.05, "target": None}
    answer = here.time(Time(**asked | {"objective": True} | changes))
    assert isinstance(answer, Timed)
    return answer.round


def fitted(here: Worker, train: Ratings) -> Factorizer:
    """A solver fitted in the same way as by `timed`."""
    return get_backend(**here.solver_arguments).fit(train, epochs=3, seed=5, keep="last")


def test_a_round_says_what_its_model_is_worth(here: Worker) -> None:
    train = here.ratings["train"]
    solver, found = fitted(here, train), timed(here)
    model = solver.model_
    assert found["objective"] == solver.objective.value(model.parameters, train)
    for name in ("validation", "test"):
        part = here.ratings[name]
        errors = model.parameters.predict(part.users, part.items) - part.ratings
        assert found[f"{name}_mse"] == pytest.approx(np.mean(errors**2), rel=1e-12)
    assert (found["round"], found["seed"], found["factor"]) == (7, 5, 1.05)
    assert timed(here, seed=6)["objective"] != found["objective"]
    assert timed(here, objective=False)["objective"] is None


def test_a_round_matches_at_the_target_and_not_below(here: Worker) -> None:
    score = timed(here)["validation_mse"]
    assert timed(here, target=score)["matched"]
    assert not timed(here, target=np.nextafter(score, 0))["matched"]
    assert not timed(here, target=None)["matched"]


def test_a_fit_that_reports_more_time_than_passed_is_inconsistent(
    here: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker's clock stands still, so any time that the solver reports is too much."""
    monkeypatch.setattr(worker, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(worker, "_CLOCK_SLACK", -1.0)
    asked = Time(epochs=1, seed=0, round_number=0, factor=1.0, target=None, objective=False)
    assert isinstance(here.time(asked), worker.Inconsistent)


def test_unseen_ratings_are_the_same_problem_with_other_contents(here: Worker) -> None:
    train = here.ratings["train"]
    drawn = [here.ratings_of("reversed")[0] for _ in range(3)]
    assert len({float(part.ratings.sum()) for part in (train, *drawn)}) == 4
    assert len({part.users.tobytes() for part in (train, *drawn)}) == 4

    def pairs(part: Ratings) -> np.ndarray:
        return part.users.astype(np.int64) * part.n_items + part.items

    for part in drawn:
        assert (part.n_users, part.n_items) == (train.n_users, train.n_items)
        assert part.ratings.dtype == train.ratings.dtype
        # One rating in a thousand is another user's; none is twice.
        assert len(np.unique(pairs(part))) == len(part) == len(train)
        assert 0 < len(np.setdiff1d(pairs(part), pairs(train))) <= len(train) // 1000
        assert not np.array_equal(part.user_counts(), train.user_counts())
        assert part.ratings.std() == pytest.approx(train.ratings.std(), rel=2e-3)


def test_unseen_ratings_are_fitted_only_where_asked_for(
    here: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, validation = here.ratings_of("reversed")
    ratings_of = here.ratings_of
    monkeypatch.setattr(
        here,
        "ratings_of",
        lambda kind: ratings_of(kind) if kind == "known" else (drawn, validation),
    )
    known, unseen, solver = timed(here), timed(here, ratings="reversed"), fitted(here, drawn)
    assert unseen["objective"] == solver.objective.value(solver.model_.parameters, drawn)
    assert unseen["objective"] != known["objective"]


def test_relabelled_ratings_are_the_same_with_other_row_numbers(here: Worker) -> None:
    """A fit that is told who is who finds what it found before."""
    train, validation = here.ratings["train"], here.ratings["validation"]
    new, new_validation = here.ratings_of("relabelled")
    assert not np.array_equal(new.user_counts(), train.user_counts())
    for before, now in (
        (train.user_counts(), new.user_counts()),
        (train.item_counts(), new.item_counts()),
    ):
        assert np.array_equal(np.sort(before), np.sort(now))
    assert np.array_equal(np.sort(new.ratings), np.sort(train.ratings))
    assert np.array_equal(new_validation.ratings, validation.ratings)
    # Each pair of rows is renumbered in the same way in both.
    users = dict(zip(validation.users.tolist(), new_validation.users.tolist(), strict=True))
    seen = np.array([user in users for user in train.users.tolist()])
    renumbered = np.array([users[user] for user in train.users[seen].tolist()])
    counts, new_counts = train.user_counts(), new.user_counts()
    assert np.array_equal(counts[train.users[seen]], new_counts[renumbered])
    again = timed(here, ratings="relabelled", epochs=30)["validation_mse"]
    assert again == pytest.approx(timed(here, epochs=30)["validation_mse"], rel=0.02)


def test_order_alone_is_seen_by_two_more_kinds(here: Worker) -> None:
    train, validation = here.ratings["train"], here.ratings["validation"]

    def rows(part: Ratings) -> list[tuple[int, int, float]]:
        return list(
            zip(part.users.tolist(), part.items.tolist(), part.ratings.tolist(), strict=True)
        )

    shuffled, same = here.ratings_of("shuffled")
    assert rows(shuffled) != rows(train)
    assert sorted(rows(shuffled)) == sorted(rows(train))
    assert same is validation
    renamed, other = here.ratings_of("renamed")
    stretch = renamed.ratings / train.ratings
    np.testing.assert_allclose(stretch, stretch[0], rtol=1e-6)
    assert 1 < stretch[0] < 1.0011
    for name in ("users", "items"):
        before, after = getattr(train, name), getattr(renamed, name)
        assert not np.array_equal(before, after)
        # One new number for each old one, in the same places.
        assert len(set(zip(before.tolist(), after.tolist(), strict=True))) == len(set(before))
    known = dict(zip(train.users.tolist(), renamed.users.tolist(), strict=True))
    assert [known[user] for user in validation.users.tolist()] == other.users.tolist()
    np.testing.assert_array_equal(other.ratings, validation.ratings)


def test_what_is_scored_is_a_copy_of_the_model_when_the_clock_stops(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what a model computes later nor what a thread writes into it counts."""
    fit = here._fit

    def changed_later(*arguments: Any, **options: Any) -> Any:
        solver = fit(*arguments, **options)
        parameters = solver.model_.parameters
        monkeypatch.setattr(
            worker, "perf_counter", lambda: parameters.user_bias.fill(1e6) or time.perf_counter()
        )
        return solver

    honest = timed(here)["validation_mse"]
    monkeypatch.setattr(here, "_fit", changed_later)
    assert timed(here)["validation_mse"] == honest


def test_a_start_of_its_own_is_drawn_inside_the_clock(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = list[Any]()
    fit = here._fit

    def noted(*arguments: Any, **options: Any) -> Any:
        given.append(options.get("initial"))
        return fit(*arguments, **options)

    monkeypatch.setattr(here, "_fit", noted)
    here.warm(Warm(seed=5))
    alike = timed(here)["validation_mse"]
    here.solver_arguments["bias"] = "fixed"  # whose biases are not zero at the start
    here.warm(Warm(seed=5))
    timed(here)
    assert [start is None for start in given] == [False, True]
    here.solver_arguments["bias"] = True
    trained = fitted(here, here.ratings["train"]).model_.parameters
    monkeypatch.setattr(NumpyALS, "initial_parameters", lambda *_: trained)
    assert timed(here)["validation_mse"] != alike  # its own start
    here.starts_alike = True
    assert timed(here)["validation_mse"] == alike


@pytest.mark.parametrize(
    ("name", "value", "got"),
    [
        ("user_factors", np.zeros((3, 4)), "float64 of shape (3, 4)"),
        ("item_bias", np.zeros(7), "float64 of shape (7,)"),
        ("user_bias", None, "object of shape ()"),
    ],
)
def test_a_model_of_other_shapes_is_refused(
    here: Worker, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, got: str
) -> None:
    fit = here._fit

    def broken(*arguments: Any, **options: Any) -> Any:
        solver = fit(*arguments, **options)
        object.__setattr__(solver.model_.parameters, name, value)
        return solver

    monkeypatch.setattr(here, "_fit", broken)
    with pytest.raises(ValueError, match=re.escape(f"model's {name} must be")) as error:
        timed(here)
    assert str(error.value).endswith(f"got {got}")


def test_a_fit_gets_ratings_of_its_own(here: Worker) -> None:
    first, second = here.fresh_train(), here.fresh_train()
    assert first is not second
    assert first is not here.ratings["train"]
    assert np.array_equal(first.ratings, here.ratings["train"].ratings)


# ---- calibrations -------------------------------------------------------------------------------

SCORES = [0.9, 0.7, 0.8, 0.75, 0.6, 0.5, 0.4, 0.3]


def calibrated(
    here: Worker,
    monkeypatch: pytest.MonkeyPatch,
    targets: dict[str, float],
    target: float,
    scores: Sequence[float] = SCORES,
    **limits: Any,
) -> Calibrated:
    """A calibration whose epochs score as told."""
    left = iter(scores)
    monkeypatch.setattr(epoch_search, "mse", lambda *_: next(left))
    usual: dict[str, Any] = {"max_epochs": len(scores), "max_seconds": 1e9, "patience": 1000}
    return here.calibrate(Calibrate(targets=targets, target=target, seed=5, **usual | limits))


def test_the_first_epoch_at_a_target_counts(here: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = calibrated(here, monkeypatch, {"1.05": 0.9, "1.01": 0.75, "1.001": 0.5}, 0.75)
    found = answer.calibration
    assert (found["epochs"], found["seed"], found["repeats"]) == (2, 5, 1)
    reached = [(target["factor"], target["epochs"]) for target in found["rungs"]]
    assert reached == [(1.05, 1), (1.01, 2), (1.001, 6)]  # 0.9 and 0.5 are met to the last bit
    trace = [(point["epoch"], point["validation_mse"]) for point in found["trace"]]
    assert trace == list(enumerate(SCORES[:6], 1))
    assert answer.status == "callback"


@pytest.mark.parametrize(
    ("tightest", "max_seconds", "epochs"),
    [
        (0.3, 1e9, 8),  # it is reached
        (0.1, 1e9, 8),  # it is not, within the most epochs
        (0.1, 0.0, 6),  # it would take more seconds than are allowed
        (0.5, 0.0, 6),
    ],
)
def test_a_tighter_target_is_tried_for_twice_the_epochs_and_while_it_is_in_reach(
    here: Worker,
    monkeypatch: pytest.MonkeyPatch,
    tightest: float,
    max_seconds: float,
    epochs: int,
) -> None:
    targets = {"1.01": 0.75, "1.001": tightest}
    # Only what the fit goes on for is looked at, not that it is given up.
    never = property(lambda _: False, lambda *_: None)
    monkeypatch.setattr(epoch_search.Watch, "timed_out", never, raising=False)
    found = calibrated(here, monkeypatch, targets, 0.75, max_seconds=max_seconds).calibration
    assert len(found["trace"]) == epochs
    reached = [target["epochs"] for target in found["rungs"]]
    assert reached == [2, epochs if tightest >= 0.3 else None]


def test_a_tighter_target_is_given_up_once_nothing_improves(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [0.9, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    found = calibrated(here, monkeypatch, {"1.01": 0.75, "1.001": 0.1}, 0.75, scores).calibration
    assert len(found["trace"]) == 2 * 2 + 2


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_counts_the_epochs_without_a_new_best(
    here: Worker, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    scores = [0.9, 0.8, 0.7, 0.7, 0.75, 0.72, 0.71, 0.3]
    answer = calibrated(here, monkeypatch, {"1.01": 0.1}, 0.1, scores, patience=patience)
    assert len(answer.calibration["trace"]) == 3 + patience
    assert answer.calibration["epochs"] is None
    assert answer.status == "callback"


# ---- solvers that start again for every number of epochs ----------------------------------------


class Restarts(NumpyALS):
    """It is fitted anew for every number of epochs, a second each; the numbers are noted."""

    steppable = False
    fitted: ClassVar[list[int]] = []

    def step(self, state: Any, n_epochs: int) -> float:
        Restarts.fitted.append(n_epochs)
        state.epochs = n_epochs
        return 1.0


def restarted(
    here: Worker,
    monkeypatch: pytest.MonkeyPatch,
    reaches: Callable[[int], bool],
    error: Callable[[int], float] | None = None,
    **changes: Any,
) -> tuple[Calibrated, list[int]]:
    """A calibration of a solver that is at the target after some epochs; what was fitted.

    Before these its error falls, and after them it rises, unless it is given for other epochs.
    """
    Restarts.fitted.clear()
    monkeypatch.setattr(here, "solver", lambda: Restarts(rank=4, n_jobs=1))
    best = next(n for n in range(1, 10_000) if reaches(n)) if changes.pop("reached", True) else 30
    fit = here._fit

    def timed(*words: Any, **options: Any) -> Factorizer:
        solver = fit(*words, **options)
        last = solver.history_[-1]
        solver.history_[-1] = last._replace(seconds=float(last.epoch))
        return solver

    def score(*_: Any) -> float:
        epochs = Restarts.fitted[-1]
        if reaches(epochs):
            return 0.5
        return error(epochs) if error else 0.5005 + 0.001 * abs(epochs - best)

    monkeypatch.setattr(here, "_fit", timed)
    monkeypatch.setattr(epoch_search, "mse", score)
    asked: dict[str, Any] = {"max_epochs": 2000, "max_seconds": 1e9, "patience": 100, "seed": 5}
    asked |= {"targets": {"1.01": 0.5}, "target": 0.5}
    return here.calibrate(Calibrate(**asked | changes)), list(Restarts.fitted)


@pytest.mark.parametrize("needed", [1, 2, 3, 10, 47, 200])
def test_more_and_more_epochs_then_the_fewest_to_a_twentieth(
    here: Worker, monkeypatch: pytest.MonkeyPatch, needed: int
) -> None:
    answer, fitted = restarted(here, monkeypatch, lambda epochs: epochs >= needed)
    epochs = answer.calibration["epochs"]
    assert epochs is not None
    assert needed <= epochs <= needed * 1.06 + 1
    first = next(place for place, n in enumerate(fitted) if n >= needed)
    growing, closing = fitted[: first + 1], fitted[first + 1 :]
    assert growing == sorted(growing)
    assert all(b <= 1.5 * a + 1 for a, b in itertools.pairwise(growing))
    assert all(n < fitted[first] for n in closing)
    seen = [point["epoch"] for point in answer.calibration["trace"]]
    assert seen == sorted(fitted)
    assert answer.status == "callback"


def test_a_first_guess_saves_most_fits(here: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def reaches(epochs: int) -> bool:
        return epochs >= 100

    _, without = restarted(here, monkeypatch, reaches)
    for guess in (90, 97, 100, 104, 130):
        answer, fitted = restarted(here, monkeypatch, reaches, first_epochs=guess)
        assert answer.calibration["epochs"] in range(100, 107)
        assert fitted[0] == guess
        assert len(fitted) <= 8 < len(without)


@pytest.mark.parametrize("window", [(23, 29), (15, 18), (100, 120)])
def test_a_target_that_only_some_epochs_reach_is_found(
    here: Worker, monkeypatch: pytest.MonkeyPatch, window: tuple[int, int]
) -> None:
    """A solver that overfits is at the target for some epochs, between two that are tried."""
    first, last = window
    answer, fitted = restarted(here, monkeypatch, lambda epochs: first <= epochs <= last)
    epochs = answer.calibration["epochs"]
    assert epochs is not None
    assert first <= epochs <= last
    assert len(fitted) < 40


def test_what_no_fit_reaches_ends_soon(here: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, fitted = restarted(here, monkeypatch, lambda epochs: False, reached=False)
    assert (answer.status, answer.calibration["epochs"]) == ("callback", None)
    assert max(fitted) < 30 * 1.5**3
    assert min(abs(epochs - 30) for epochs in fitted) <= 1  # the best, between two that were tried


def test_a_first_guess_that_is_too_large_is_no_end(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is reached by fewer epochs than the guess, and by no more."""
    answer, fitted = restarted(
        here, monkeypatch, lambda epochs: 26 <= epochs <= 33, first_epochs=40
    )
    epochs = answer.calibration["epochs"]
    assert epochs is not None
    assert 26 <= epochs <= 33
    assert len(fitted) < 15


def test_beside_the_best_nothing_is_looked_for_that_is_out_of_reach(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Around 30 epochs the error changes by less than what the target is away."""

    def error(epochs: int) -> float:
        return 0.6 + 0.001 * abs(epochs - 30)

    answer, fitted = restarted(here, monkeypatch, lambda _: False, error, reached=False)
    assert (answer.status, answer.calibration["epochs"]) == ("callback", None)
    assert fitted == sorted(fitted)  # only more and more


def test_a_short_fit_that_ends_badly_says_nothing_about_longer_ones(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(epochs: int) -> float:
        return math.inf if epochs <= 3 else 1.0

    answer, fitted = restarted(here, monkeypatch, lambda epochs: epochs >= 12, error=error)
    assert fitted[0] == 1
    assert (answer.status, answer.calibration["epochs"]) == ("callback", 12)
    answer, fitted = restarted(
        here, monkeypatch, lambda epochs: False, reached=False, error=lambda _: math.inf
    )
    assert (answer.status, answer.calibration["epochs"]) == ("diverged", None)
    assert max(fitted) > 20


def test_a_lucky_first_epoch_does_not_end_the_search(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sample of a sampler may be better than the means of the next few."""
    answer, _ = restarted(
        here, monkeypatch, lambda epochs: epochs >= 18, error=lambda n: 0.9 if n == 1 else 1.0
    )
    assert answer.calibration["epochs"] in (18, 19)


def test_no_fit_is_longer_than_allowed(here: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes a second."""
    answer, fitted = restarted(here, monkeypatch, lambda epochs: epochs >= 55, max_seconds=60)
    assert answer.calibration["epochs"] in range(55, 59)
    assert max(fitted) <= 60
    answer, fitted = restarted(here, monkeypatch, lambda epochs: epochs >= 70, max_seconds=60)
    assert (answer.status, answer.calibration["epochs"]) == ("time", None)
    assert 50 <= max(fitted) <= 60
    assert answer.calibration["trace"][-1]["seconds"] == max(fitted)


def test_no_fit_begins_once_all_have_taken_too_long(
    here: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, fitted = restarted(here, monkeypatch, lambda epochs: epochs >= 500, total_seconds=30)
    assert (answer.status, answer.calibration["epochs"]) == ("time", None)
    assert sum(fitted[:-1]) < 30 <= sum(fitted)
    answer, _ = restarted(here, monkeypatch, lambda epochs: epochs >= 500, max_epochs=20)
    assert (answer.status, answer.calibration["epochs"]) == ("epochs", None)
