"""Who is timed when; what a run that is cut off keeps; what ends one backend, and what the run."""

import errno
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from measured import LIMITS, contender

from bench.cases.case import Case
from bench.machine import processes
from bench.measure import extras, turns
from bench.measure.measurement import Measurement, Run
from bench.measure.run_folder import RunFolder, open_run
from bench.measure.turns import CodeChanged, room_for, take_turns
from bench.measure.worker_process import Ended
from bench.records import Record, Round, read_records
from tests.fake_records import NOTHING_KNOWN, fake_record

TEMPLATE = fake_record("numpy")


class Told(Measurement):
    """A measurement without workers. Each step is noted, and may raise what it is told to."""

    steps: ClassVar[list[tuple[str, str, int]]] = []
    fault: ClassVar[Callable[[str, str, int], object]] = staticmethod(lambda *_: None)

    def _note(self, what: str, number: int = -1) -> None:
        self.steps.append((self.backend["name"], what, number))
        with self._recording_end():
            self.fault(self.backend["name"], what, number)

    def begin(self, seed: int) -> None:
        self.present = seed
        self.environment = self.environment or NOTHING_KNOWN  # type: ignore[assignment]
        self._note("begin", seed)

    def calibrate(self) -> None:
        self._note("calibrate")
        if not self.ended:
            made = {**TEMPLATE["calibrations"][0], "seed": self.present}
            self.calibrations.append(made)  # type: ignore[arg-type]

    def time_round(self, number: int, rungs: bool = True) -> None:
        self._note("rungs" if rungs else "round", number)
        if not self.ended:
            made = {
                **TEMPLATE["rounds"][0],
                "seed": self.present,
                "round": number,
                "cpu_seconds": None,
            }
            self.rounds.append(Round(**made))  # type: ignore[typeddict-item]

    def check_fits(self) -> None:
        self._note("check")

    def start_cold(self) -> None:
        self._note("cold")

    def watch_memory(self) -> None:
        self._note("memory")

    def end(self) -> None:
        self.steps.append((self.backend["name"], "end", self.present))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """The steps that measurements take, in order; nothing goes wrong."""
    monkeypatch.setattr(Told, "steps", [])
    monkeypatch.setattr(Told, "fault", staticmethod(lambda *_: None))
    return Told.steps


NAMES = ("numpy", "numpy-als", "numba-sgd")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The key of all measurements, which takes a while to make."""
    made = {name: name for name in ("code", "data", "machine", "settings", "versions")}
    monkeypatch.setattr("bench.measure.measurement.result_key", lambda *_: dict(made))
    return made


def run_once(
    case: Case, runs: Path, names: Sequence[str] = NAMES, seed: int = 0, **options: Any
) -> tuple[list[Record], RunFolder]:
    """The records of one attempt at a run, and its folder."""
    folder = open_run("typed", runs)
    try:
        run = Run("r", "typed", folder.work, LIMITS)
        measurements = [
            Told(case, contender(name), run, seeds=(0, 1, 2), rounds=2, order="interleaved")
            for name in names
        ]
        records = take_turns(measurements, folder, seed=seed, **options)
        folder.mark_done()
    finally:
        folder.close()
    return records, folder


def test_every_block_has_each_backend_once_in_an_order_drawn_by_the_seed(
    case: Case, tmp_path: Path, steps: list[tuple[str, str, int]]
) -> None:
    def blocks(seed: int) -> list[list[str]]:
        steps.clear()
        run_once(case, tmp_path, seed=seed)
        timed = [name for name, what, _ in steps if what in ("rungs", "round")]
        return [timed[start : start + 3] for start in range(0, len(timed), 3)]

    first = blocks(0)
    assert len(first) == 6
    assert all(set(block) == set(NAMES) for block in first)
    assert len({tuple(block) for block in first}) > 1
    assert blocks(0) == first
    assert blocks(1) != first


def test_seed_by_seed_all_are_calibrated_then_timed_then_checked(
    case: Case, tmp_path: Path, steps: list[tuple[str, str, int]]
) -> None:
    records, folder = run_once(case, tmp_path)
    first = ["begin", "calibrate", "rungs", "round", "check", "end", "cold"]
    later = [what for what in first if what != "rungs"]
    assert [what for what, _ in itertools.groupby(what for _, what, _ in steps)] == (
        first + later * 2 + ["memory"]
    )
    for record in records:
        assert [(one["seed"], one["round"]) for one in record["rounds"]] == [
            (seed, 2 * seed + block) for seed in range(3) for block in range(2)
        ]
        assert (record["status"], record["order"]) == ("matched", "interleaved")
    stored = read_records([folder.path])
    assert sorted(stored, key=by_name) == sorted(records, key=by_name)


def by_name(record: Record) -> str:
    return record["backend"]["name"]


def without_times(records: Sequence[Record]) -> list[dict[str, Any]]:
    return [{**record, "created": ""} for record in records]


def test_a_run_that_is_cut_off_anywhere_goes_on_with_the_next_seed(
    case: Case, tmp_path: Path, steps: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is interrupted at each of its steps, and ends with the records of one that was not."""
    whole, _ = run_once(case, tmp_path / "whole")
    n_steps = sum(what != "end" for _, what, _ in steps)
    for moment in range(n_steps):
        left = itertools.count()

        def interrupt(*_: Any, left: Any = left, moment: int = moment) -> None:
            if next(left) == moment:
                raise KeyboardInterrupt

        monkeypatch.setattr(Told, "fault", staticmethod(interrupt))
        steps.clear()
        runs = tmp_path / str(moment)
        with pytest.raises(KeyboardInterrupt):
            run_once(case, runs)
        before = {seed for _, what, seed in steps if what == "begin"}
        (folder,) = runs.iterdir()
        in_progress = read_records([folder])
        steps.clear()
        records, _ = run_once(case, runs)
        assert without_times(records) == without_times(whole)
        again = {seed for _, what, seed in steps if what == "begin"}
        done = {len(record["calibrations"]) for record in in_progress} or {0}
        # Only the seed that was cut off is measured twice.
        assert again == set(range(min(done), 3))
        assert len(before & again) <= 1
        assert len(list(runs.iterdir())) == 1


def test_a_run_that_is_cut_off_between_two_records_takes_over_what_all_have(
    case: Case, tmp_path: Path, steps: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a seed of one backend would be compared with one of another time."""
    write, written = RunFolder.write, itertools.count()

    def full(folder: RunFolder, *record: Any) -> Any:
        if next(written) == 4:  # of nine in progress
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(folder, *record)

    monkeypatch.setattr(RunFolder, "write", full)
    with pytest.raises(OSError, match="No space"):
        run_once(case, tmp_path)
    steps.clear()
    records, _ = run_once(case, tmp_path)  # there is room again
    assert {seed for _, what, seed in steps if what == "begin"} == {1, 2}
    assert [len(record["rounds"]) for record in records] == [6, 6, 6]
    # The second seed of the first backend, which had its record, is measured again.
    assert ("numpy", "begin", 1) in steps
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_measured_after_the_others_has_not_taken_turns(
    case: Case, tmp_path: Path, steps: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of one backend is lost when the others are final, and the run is continued."""
    steps.clear()
    monkeypatch.setattr(RunFolder, "mark_done", lambda _: None)
    _, folder = run_once(case, tmp_path)
    (lost,) = folder.path.glob("*numba-sgd*.json")
    lost.unlink()
    records, again = run_once(case, tmp_path)
    assert again.path == folder.path
    orders = [record["order"] for record in records]
    assert orders == ["interleaved", "interleaved", "sequential"]


def test_code_that_is_edited_meanwhile_ends_the_run(
    case: Case,
    tmp_path: Path,
    steps: list[tuple[str, str, int]],
    key: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No record contains a seed of the new code beside one of the old."""

    def edit(name: str, what: str, number: int) -> None:
        if (what, number) == ("begin", 1):
            key["code"] = "edited"

    monkeypatch.setattr(Told, "fault", staticmethod(edit))
    with pytest.raises(CodeChanged, match="code changed meanwhile; start the same command again"):
        run_once(case, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert {len(record["calibrations"]) for record in read_records([folder])} == {1}
    assert steps[-1][1] == "cold"
    monkeypatch.setattr(Told, "fault", staticmethod(lambda *_: None))
    records, _ = run_once(case, tmp_path)
    assert {record["key"]["code"] for record in records} == {"edited"}
    assert [len(record["rounds"]) for record in records] == [6, 6, 6]


def test_what_ends_one_backend_leaves_the_others(
    case: Case, tmp_path: Path, steps: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(BaseException):
        """As pytest-timeout raises it."""

    def fault(name: str, what: str, number: int) -> None:
        if (name, what) == ("numpy-als", "calibrate"):
            raise Ended("crashed", "KeyError: 595", details="Traceback ...")
        if (name, what, number) == ("numba-sgd", "round", 2):
            raise Stop("Timeout >60.0s")

    monkeypatch.setattr(Told, "fault", staticmethod(fault))
    records, folder = run_once(case, tmp_path)
    assert [(record["status"], len(record["rounds"])) for record in records] == [
        ("matched", 6),
        ("crashed", 0),
        ("timed out", 2),
    ]
    assert records[2]["reason"] == "stopped from outside: Timeout >60.0s"
    (notes,) = folder.path.glob("*.txt")
    assert notes.read_text("utf-8") == "Traceback ...\n"
    assert records[1]["reason"] == f"KeyError: 595 (details: {notes.name})"
    assert [one for one in steps if one[0] == "numpy-als" and one[2] > 0] == []
    again, _ = run_once(case, tmp_path)  # another run
    assert len(list(tmp_path.iterdir())) == 2
    assert [record["status"] for record in again] == ["matched", "crashed", "timed out"]


class Noisy(Told):
    """Its rounds reach the target after 24 epochs and more; before, every other one does."""

    def begin(self, seed: int) -> None:
        super().begin(seed)
        setting = SimpleNamespace(target=self.case.target, limits=LIMITS)
        self._session = cast("Any", SimpleNamespace(seed=seed, setting=setting))
        self._additions = 0

    def calibrate(self) -> None:
        super().calibrate()
        self.calibrations[-1] = {**self.calibrations[-1], "epochs": 20}
        self.backend["deterministic"] = False

    def time_round(self, number: int, rungs: bool = True) -> None:
        super().time_round(number, rungs)
        epochs = self.calibrations[-1]["epochs"] or 0
        matched = epochs >= self.needed or number % 2 != self.misses
        self.rounds[-1] = Round({**self.rounds[-1], "matched": matched})

    needed, misses = 24, 1


@pytest.mark.parametrize(("needed", "status"), [(24, "matched"), (99, "missed")])
def test_rounds_that_miss_by_chance_are_timed_anew_with_more_epochs(
    case: Case,
    tmp_path: Path,
    steps: list[tuple[str, str, int]],
    monkeypatch: pytest.MonkeyPatch,
    needed: int,
    status: str,
) -> None:
    """At most twice for each seed, in further blocks with the others."""
    monkeypatch.setattr(Noisy, "needed", needed)
    folder = open_run("typed", tmp_path)
    run = Run("r", "typed", folder.work, LIMITS)
    kinds = [(Told, "numpy"), (Noisy, "numba-sgd")]
    steady, noisy = take_turns(
        [
            kind(case, contender(name), run, seeds=(0, 1), rounds=2, order="interleaved")
            for kind, name in kinds
        ],
        folder,
        seed=0,
    )
    folder.close()
    assert (steady["status"], noisy["status"]) == ("matched", status)
    assert [fit["epochs"] for fit in noisy["calibrations"]] == [24, 24]  # 20, 22, 24
    assert [fit["added"] for fit in noisy["calibrations"]] == [4, 4]
    assert all("added" not in fit for fit in steady["calibrations"])
    assert [fit["missed"] for fit in noisy["calibrations"]] == [2, 2]  # one of each two
    # Of the noisy one's rounds only those of the last epochs count; each has a partner.
    assert [(one["seed"], one["round"]) for one in noisy["rounds"]] == [
        (0, 4),
        (0, 5),
        (1, 10),
        (1, 11),
    ]
    assert [one["round"] for one in steady["rounds"]] == list(range(12))
    # The other targets too: what was timed before shared fits with what is dropped.
    assert [what for name, what, _ in steps if name == "numba-sgd"].count("rungs") == 3
    assert [what for name, what, _ in steps if name == "numpy"].count("rungs") == 1


def turns_of(case: Case, folder: RunFolder, kinds: Sequence[Any], rounds: int | None) -> Any:
    run = Run("r", "typed", folder.work, LIMITS)
    return take_turns(
        [
            kind(case, contender(name), run, seeds=(0,), rounds=rounds, order="interleaved")
            for kind, name in kinds
        ],
        folder,
        seed=0,
    )


class Lucky(Noisy):
    """It could miss the target by chance, and does not."""

    needed = 0


class Slow(Told):
    """A fit of it takes a minute."""

    def calibrate(self) -> None:
        super().calibrate()
        trace: Any = [{"epoch": EPOCHS, "seconds": 60.0, "validation_mse": 1.0}]
        self.calibrations[-1] = {**self.calibrations[-1], "trace": trace}


EPOCHS = TEMPLATE["calibrations"][0]["epochs"]


@pytest.mark.parametrize("rounds", [1, 2, None])
def test_only_what_is_fast_and_cannot_miss_is_timed_beside_what_is_timed_anew(
    case: Case,
    tmp_path: Path,
    steps: list[tuple[str, str, int]],
    monkeypatch: pytest.MonkeyPatch,
    rounds: int | None,
) -> None:
    """And a round shares its number with those of its own block alone."""
    monkeypatch.setattr(Noisy, "needed", 22)
    folder = open_run("typed", tmp_path)
    monkeypatch.setattr(Noisy, "misses", 0)  # of the first block
    kinds = [(Told, "numpy"), (Noisy, "numba-sgd"), (Lucky, "numba-als"), (Slow, "numba-gd")]
    steady, noisy, lucky, slow = turns_of(case, folder, kinds, rounds)
    folder.close()
    numbers = [[one["round"] for one in record["rounds"]] for record in (steady, lucky, slow)]
    again = [one["round"] for one in noisy["rounds"]]
    n = {1: 1, 2: 2, None: 5}[rounds]
    assert again == list(range(n, 2 * n))
    assert numbers[0] == list(range(2 * n))
    assert numbers[1] == list(range(n))
    assert numbers[2] == list(range(3 if rounds is None else n))


def test_a_slow_fit_is_started_cold_with_the_first_seed_only(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measurement = Slow(case, contender("numpy"), Run("r", "c", tmp_path, LIMITS), seeds=(0, 1))
    monkeypatch.setattr(extras, "start_cold", lambda *_, **__: {"seed": 0})
    monkeypatch.setattr(extras, "empty_caches", lambda _: tmp_path)
    monkeypatch.setattr(measurement, "_in_fresh_worker", lambda measure, fit: measure(None, fit))
    for seed in (0, 1):
        measurement.begin(seed)
        measurement.calibrate()
        measurement.time_round(0)
        Measurement.start_cold(measurement)
    assert len(measurement.cold) == 2
    assert measurement.slow
    assert measurement.wanted_rounds() == 1


def test_a_deterministic_backend_that_misses_gets_no_more_epochs(
    case: Case, tmp_path: Path, steps: list[tuple[str, str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    measurement = Noisy(case, contender("numpy"), Run("r", "c", tmp_path, LIMITS))
    measurement.begin(0)
    measurement.calibrate()
    measurement.time_round(1)
    assert [timed["matched"] for timed in measurement.rounds] == [False]
    measurement.backend["deterministic"] = True
    assert not measurement.retries_with_more_epochs()
    measurement.backend["deterministic"] = False
    fit = measurement.calibrations[-1]
    measurement.calibrations[-1] = {**fit, "epochs": LIMITS.max_epochs}
    assert not measurement.retries_with_more_epochs()  # none are allowed
    measurement.calibrations[-1] = fit
    assert measurement.retries_with_more_epochs()
    assert measurement.rounds == []


def test_waiting_workers_must_fit_into_memory(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "memory_limit_mb", lambda: 8000.0)
    assert room_for(10, case)
    assert not room_for(20, case)
    monkeypatch.setattr(turns, "memory_limit_mb", lambda: None)
    assert room_for(20, case)
    assert processes.memory_limit_mb() is None or room_for(1, case)
