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
from bench.records import Calibration, Round, TargetReached
from tests.fake_records import fake_record

CALIBRATION = fake_record("numpy")["calibrations"][0]
EPOCHS = CALIBRATION["epochs"]


def rounds_of(*seconds: float) -> list[Round]:
    (template, *_) = fake_record("numpy")["rounds"]
    return [Round({**template, "seconds": value}) for value in seconds]


class Told:
    """A worker whose fits take the given seconds, or end at the given errors."""

    seed = 3

    def __init__(
        self,
        unseen: Sequence[float],
        known: Sequence[float] = (),
        column: str = "seconds",
        shuffled: float = 1.0,
        renamed: float = 1.0,
    ) -> None:
        self.unseen, self.known, self.column = iter(unseen), iter(known), column
        self.ordered = {"shuffled": shuffled, "renamed": renamed}
        self.asked: list[tuple[str, int]] = []

    def fit(self, epochs: int, *, seed: int | None = None, ratings: str = "known") -> Round:
        assert epochs == EPOCHS
        self.asked.append((ratings, self.seed if seed is None else seed))
        if ratings in self.ordered:
            value = self.ordered[ratings]
        else:
            value = next(self.known if ratings == "known" else self.unseen)
        return cast("Round", {**rounds_of(1.0)[0], self.column: value})


def refit(told: Told, *seconds: float) -> None:
    extras.refit_unseen(cast("Session", told), CALIBRATION, rounds_of(*seconds))


def test_three_fits_of_unseen_ratings_as_fast_as_rounds_are_enough() -> None:
    told = Told([9.0, 1.5, 9.0])
    refit(told, 1.0, 1.0)
    assert told.asked == [("reversed", 4), ("reversed", 5), ("reversed", 6)]


def test_of_a_long_fit_one_is_enough() -> None:
    told = Told([6.0])
    refit(told, 6.0)
    assert told.asked == [("reversed", 4)]


def test_slow_fits_of_unseen_ratings_are_held_against_known_ones_in_turns() -> None:
    told = Told([2.0] * 8, [2.0] * 5)
    refit(told, 1.0)  # but other load slows both
    unseen = [("reversed", seed) for seed in range(7, 12)]
    assert told.asked[3:] == [fit for pair in unseen for fit in (pair, ("known", 3))]


def test_what_is_slow_on_unseen_ratings_alone_keeps_something() -> None:
    reason = "takes 2 s with ratings that it has not seen, and 1 s with"
    with pytest.raises(Ended, match=reason) as raised:
        refit(Told([2.0] * 8, [1.0] * 5), 1.0)
    assert raised.value.status == "inconsistent"


def test_what_is_slow_in_another_order_keeps_something_only_if_it_is_slow_in_the_known_one() -> (
    None
):
    told = Told([2.0] * 8, [1.0] * 5, shuffled=2.0, renamed=1.1)
    refit(told, 1.0)  # an honest one that takes the ratings in their order
    kinds = [(kind, seed) for kind in ("shuffled", "renamed") for seed in (204, 205, 206)]
    assert told.asked[-6:] == kinds
    with pytest.raises(Ended, match="it keeps something"):  # one that recognises the order
        refit(Told([2.0] * 8, [1.0] * 5, shuffled=2.0, renamed=2.0), 1.0)


def test_only_a_fit_that_diverges_on_unseen_ratings_is_forgiven() -> None:
    def end_by(status: Any) -> Told:
        told = Told([])

        def ends(*_: Any, **__: Any) -> Round:
            raise Ended(status, "why")

        told.fit = ends  # type: ignore[method-assign]
        return told

    refit(end_by("diverged"), 1.0)
    with pytest.raises(Ended, match="why"):
        refit(end_by("crashed"), 1.0)


def refit_relabelled(told: Told, *scores: float) -> None:
    rounds = [
        cast("Round", {**one, "validation_mse": score})
        for one, score in zip(rounds_of(*scores), scores, strict=True)
    ]
    extras.refit_relabelled(cast("Session", told), CALIBRATION, rounds)


def test_one_fit_of_relabelled_rows_that_ends_where_the_rounds_did_is_enough() -> None:
    told = Told([1.01], column="validation_mse")
    refit_relabelled(told, 1.0, 1.0)
    assert told.asked == [("relabelled", 104)]


def test_an_unlucky_seed_is_held_against_known_rows_from_other_starts() -> None:
    told = Told([1.2, 1.3, 1.3], [1.1, 1.25], column="validation_mse")
    refit_relabelled(told, 1.0)
    pairs = [(kind, seed) for seed in (105, 106) for kind in ("known", "relabelled")]
    assert told.asked[1:] == pairs


def test_what_ends_at_a_larger_error_on_relabelled_rows_starts_from_an_earlier_fit() -> None:
    reason = "of 1.2000 with users and items in another order, and of 1.0000 as they are"
    with pytest.raises(Ended, match=reason) as raised:
        refit_relabelled(Told([1.2] * 6, [1.0] * 5, column="validation_mse"), 1.0)
    assert raised.value.status == "inconsistent"


def test_what_ends_at_a_larger_error_in_any_other_order_is_honest() -> None:
    def told(**by_order: float) -> Told:
        return Told([1.2] * 6, [1.0] * 5, column="validation_mse", **by_order)

    refit_relabelled(told(shuffled=1.2, renamed=1.01), 1.0)
    with pytest.raises(Ended, match="it starts from an earlier fit"):
        refit_relabelled(told(shuffled=1.2, renamed=1.2), 1.0)


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
            fit=lambda *_: timed,
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


# ---- rounds of seeds ----------------------------------------------------------------------------


def test_each_seed_is_timed_with_its_own_epochs(case: Case, tmp_path: Path) -> None:
    """Seeds 4 and 9 need different epochs; other targets are timed after the main one."""
    run, asked = Run("r", "c", tmp_path, LIMITS), list[tuple[int, int, int, float]]()
    listed: list[tuple[int, int, float]] = []
    warmed: list[tuple[int, int]] = []

    def worker(seed: int) -> Any:
        def time(epochs: int, number: int, goal: float, lists: bool) -> Round:
            asked.append((seed, epochs, number, goal))
            if lists:
                listed.append((seed, number, goal))
            mse = goal if number < 6 else 2 * goal
            told = {"validation_mse": mse, "seed": seed, "round": number, "cpu_seconds": None}
            return Round({**rounds_of(0.5 if seed == 4 else 3.0)[0], **told})

        def warm_up(epochs: int) -> None:
            warmed.append((seed, epochs))

        return SimpleNamespace(
            seed=seed, time=time, warm_up=warm_up, alive=[], lists=None, products="sparse"
        )

    measurement = Measurement(case, contender("numpy"), run, seeds=(4, 9), rounds=2)
    reached: list[tuple[float, int | None]] = [(1.05, 2), (1.01, 3), (1.001, None)]
    targets = [TargetReached(factor=factor, epochs=epochs) for factor, epochs in reached]
    for seed, epochs, number, seconds in ((4, 3, 0, 1.5), (9, 7, 5, 3.5)):
        measurement._session = worker(seed)
        point: Any = {"epoch": epochs, "seconds": seconds, "validation_mse": 0.8}
        found = {"epochs": epochs, "seed": seed, "rungs": targets, "trace": [point]}
        measurement.calibrations.append(cast("Calibration", CALIBRATION | found))
        assert measurement.wanted_rounds() == 2
        measurement.time_round(number, rungs=number == 0)
        measurement.time_round(number + 1, rungs=False)
        measurement.end()
        record = measurement.record()
        assert record["status"] == "in progress"
    assert measurement.measured_seeds == [4, 9]
    assert warmed == [(4, 3)] * 2  # before each round, where fits are short
    goals = {target["factor"]: target["mse"] for target in case.ladder}
    assert case.target is not None
    assert case.target["factor"] == 1.01
    goal = goals[1.01]
    first = [(4, 3, 0, goal), (4, 2, 0, goals[1.05])]
    assert asked == [*first, (4, 3, 1, goal), (9, 7, 5, goal), (9, 7, 6, goal)]
    assert listed == [(4, 0, goal)]  # of the first fit to the matching target
    numbered = [(row["round"], row["seed"]) for row in measurement.rounds]
    assert numbered == [(0, 4), (1, 4), (5, 9), (6, 9)]
    assert [row["matched"] for row in measurement.rounds] == [True, True, True, False]
    assert [(row["factor"], row["round"]) for row in measurement.rungs] == [(1.05, 0)]
    assert record["reason"] == "2 of 2 seeds measured"
    measurement.finish()
    record = measurement.record()
    assert record["status"] == "missed"
    assert record["reason"].startswith("1 of 4 timed rounds missed; MSE up to")
