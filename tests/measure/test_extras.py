"""Fits of unseen ratings, cold starts, and turns of seeds, by workers that answer as told."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from measured import LIMITS, contender

from bench.cases.case import Case
from bench.measure import extras
from bench.measure.measurement import Measurement, Run
from bench.measure.session import Session, Setting
from bench.measure.worker_process import Ended
from bench.records import Round, TargetReached
from tests.fake_records import fake_record

CALIBRATION = fake_record("numpy")["calibrations"][0]
EPOCHS = CALIBRATION["epochs"]


def rounds_of(*seconds: float) -> list[Round]:
    (template, *_) = fake_record("numpy")["rounds"]
    return [Round({**template, "seconds": value}) for value in seconds]


class Told:
    """A worker whose fits take the given seconds."""

    seed = 3

    def __init__(self, unseen: Sequence[float], known: Sequence[float] = ()) -> None:
        self.unseen, self.known = iter(unseen), iter(known)
        self.asked: list[tuple[str, int]] = []

    def time_unseen(self, epochs: int, seed: int) -> Round:
        assert epochs == EPOCHS
        self.asked.append(("unseen", seed))
        return rounds_of(next(self.unseen))[0]

    def time_again(self, epochs: int) -> Round:
        assert epochs == EPOCHS
        self.asked.append(("known", self.seed))
        return rounds_of(next(self.known))[0]


def refit(told: Told, *seconds: float) -> None:
    extras.refit_unseen(cast("Session", told), CALIBRATION, rounds_of(*seconds))


def test_three_fits_of_unseen_ratings_as_fast_as_rounds_are_enough() -> None:
    told = Told([9.0, 1.5, 9.0])
    refit(told, 1.0, 1.0)
    assert told.asked == [("unseen", 4), ("unseen", 5), ("unseen", 6)]


def test_of_a_long_fit_one_is_enough() -> None:
    told = Told([6.0])
    refit(told, 6.0)
    assert told.asked == [("unseen", 4)]


def test_slow_fits_of_unseen_ratings_are_held_against_known_ones_in_turns() -> None:
    told = Told([2.0] * 8, [2.0] * 5)
    refit(told, 1.0)  # but other load slows both
    unseen = [("unseen", seed) for seed in range(7, 12)]
    assert told.asked[3:] == [fit for pair in unseen for fit in (pair, ("known", 3))]


def test_what_is_slow_on_unseen_ratings_alone_keeps_something() -> None:
    reason = "takes 2 s with ratings that it has not seen, and 1 s with"
    with pytest.raises(Ended, match=reason) as raised:
        refit(Told([2.0] * 8, [1.0] * 5), 1.0)
    assert raised.value.status == "inconsistent"


def test_only_a_fit_that_diverges_on_unseen_ratings_is_forgiven() -> None:
    def end_by(status: Any) -> Told:
        told = Told([])

        def ends(*_: Any) -> Round:
            raise Ended(status, "why")

        told.time_unseen = ends  # type: ignore[method-assign]
        return told

    refit(end_by("diverged"), 1.0)
    with pytest.raises(Ended, match="why"):
        refit(end_by("crashed"), 1.0)


def test_caches_are_empty_and_then_filled(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "caches").mkdir()
    (tmp_path / "caches" / "kernel of the backend before").write_bytes(b"")
    found: list[list[str]] = []

    @contextlib.contextmanager
    def start(stderr: str, caches: Path) -> Iterator[None]:
        found.append([path.name for path in caches.iterdir()])
        (caches / "kernel").write_bytes(b"")
        yield

    def worker(*_: Any) -> Any:
        timed = {"seconds": 4.0, "prepare_seconds": 1.0}
        return SimpleNamespace(
            opened=SimpleNamespace(import_seconds=0.5),
            warmed=SimpleNamespace(compile_seconds=2.0),
            time_again=lambda *_: timed,
        )

    monkeypatch.setattr(extras, "Session", worker)
    setting = SimpleNamespace(
        folder=tmp_path, notify=lambda _: None, start=start, target={"mse": 1.0}
    )
    measurement = Measurement(case, contender("numpy"), Run("r", "c", tmp_path, LIMITS))
    measurement._setting = cast("Setting", setting)
    measurement.calibrations, measurement.rounds = [CALIBRATION], rounds_of(1.0)
    measurement.start_cold()
    starts = measurement.cold
    assert found == [[], ["kernel"]]
    assert [start["caches"] for start in starts] == ["empty", "filled"]
    assert [start["total_seconds"] for start in starts] == [6.5, 6.5]


# ---- turns of seeds -----------------------------------------------------------------------------


def test_seeds_take_turns(case: Case, tmp_path: Path) -> None:
    """Seeds 4 and 9 need different epochs; other targets are timed after the main one."""
    run, asked = Run("r", "c", tmp_path, LIMITS), list[tuple[int, int, int, float]]()
    listed: list[tuple[int, int, float]] = []

    def worker(seed: int) -> Any:
        def time(epochs: int, number: int, goal: float, lists: bool) -> Round:
            asked.append((seed, epochs, number, goal))
            if lists:
                listed.append((seed, number, goal))
            mse = goal if number < 3 else 2 * goal
            told = {"validation_mse": mse, "seed": seed, "round": number, "cpu_seconds": None}
            return Round({**rounds_of(1.0)[0], **told})

        return SimpleNamespace(seed=seed, time=time, alive=[], lists=None)

    measurement = Measurement(case, contender("numpy"), run, seeds=(4, 9), rounds=2)
    measurement._sessions = [worker(4), worker(9)]
    reached: list[tuple[float, int | None]] = [(1.05, 2), (1.01, 3), (1.001, None)]
    targets = [TargetReached(factor=factor, epochs=epochs) for factor, epochs in reached]
    measurement.calibrations = [
        {**CALIBRATION, "epochs": epochs, "seed": seed, "rungs": targets}
        for seed, epochs in ((4, 3), (9, 7))  # in turns
    ]
    assert measurement.wanted_rounds() == 4
    measurement.time_round(rungs=True)
    for _ in range(3):
        measurement.time_round(rungs=False)
    goals = {target["factor"]: target["mse"] for target in case.ladder}
    assert case.target is not None
    assert case.target["factor"] == 1.01
    goal = goals[1.01]
    first = [(4, 3, 0, goal), (4, 2, 0, goals[1.05])]
    assert asked == [*first, (9, 7, 1, goal), (4, 3, 2, goal), (9, 7, 3, goal)]
    assert listed == [(4, 0, goal), (9, 1, goal)]  # of the first fit to the matching target
    numbered = [(row["round"], row["seed"]) for row in measurement.rounds]
    assert numbered == [(0, 4), (1, 9), (2, 4), (3, 9)]
    assert [row["matched"] for row in measurement.rounds] == [True, True, True, False]
    assert [(row["factor"], row["round"]) for row in measurement.rungs] == [(1.05, 0)]
    record = measurement.record()
    assert record["status"] == "missed"
    assert record["reason"].startswith("1 of 4 timed rounds missed; MSE up to")
