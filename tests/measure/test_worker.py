"""The worker's answers, asked for in this process: what is fitted, scored, counted and given up."""

import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from backends import Factorizer, Ratings, get_backend
from bench.cases.case import Case
from bench.measure import worker
from bench.measure.protocol import Calibrate, Calibrated, Time, Timed
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
    drawn = [here.unseen_train() for _ in range(3)]
    assert len({float(part.ratings.sum()) for part in (train, *drawn)}) == 4
    assert len({part.users.tobytes() for part in (train, *drawn)}) == 4
    pairs = np.sort(train.users.astype(np.int64) * train.n_items + train.items)
    for part in drawn:
        assert (part.n_users, part.n_items) == (train.n_users, train.n_items)
        assert part.ratings.dtype == train.ratings.dtype
        assert np.array_equal(
            np.sort(part.users.astype(np.int64) * part.n_items + part.items), pairs
        )
        assert part.ratings.std() == pytest.approx(train.ratings.std(), rel=2e-3)


def test_unseen_ratings_are_fitted_only_where_asked_for(
    here: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = here.unseen_train()
    monkeypatch.setattr(here, "unseen_train", lambda: drawn)
    known, unseen, solver = timed(here), timed(here, unseen=True), fitted(here, drawn)
    assert unseen["objective"] == solver.objective.value(solver.model_.parameters, drawn)
    assert unseen["objective"] != known["objective"]


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
    monkeypatch.setattr(worker, "mse", lambda *_: next(left))
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


def test_a_tighter_target_is_tried_for_twice_the_epochs(
    here: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = calibrated(here, monkeypatch, {"1.01": 0.75, "1.001": 0.1}, 0.75).calibration
    assert len(found["trace"]) == 2 * 2 + 2
    assert [target["epochs"] for target in found["rungs"]] == [2, None]


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_counts_the_epochs_without_a_new_best(
    here: Worker, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    scores = [0.9, 0.8, 0.7, 0.7, 0.75, 0.72, 0.71, 0.3]
    answer = calibrated(here, monkeypatch, {"1.01": 0.1}, 0.1, scores, patience=patience)
    assert len(answer.calibration["trace"]) == 3 + patience
    assert answer.calibration["epochs"] is None
    assert answer.status == "callback"
