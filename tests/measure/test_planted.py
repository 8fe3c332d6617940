"""Planted truths: backends whose faults and speeds are known, and what the suite says of them."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import measured
import numpy as np
import pytest
from helpers import ROOT, is_gone
from measured import LIMITS, hurry, measure

from bench.cases.case import Case
from bench.duel import ROUNDS, SEEDS, contender, fight, verdicts
from bench.machine.processes import family
from bench.measure import session
from bench.measure.backend_facts import Limits
from bench.measure.measurement import Measurement, Run
from bench.measure.run_folder import open_run
from bench.measure.turns import take_turns
from bench.options import Selection
from bench.records import Round, read_records
from bench.stats import ratio
from tests.kill_storm import until
from tests.planted.backends import Slower, SpinsProcesses, StartsWarm, Steady

pytestmark = pytest.mark.usefixtures("planted", "without_warm_up")


@pytest.fixture
def without_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the fits would not count."""
    monkeypatch.setattr("bench.measure.measurement._SHORT_FIT", 0.0)


def duel(case: Case, folder: Path, *names: str, **options: Any) -> dict[str, Any]:
    """Records by name, and the verdicts."""
    run = open_run("c", folder)
    records = fight(
        case, [contender(name, 1) for name in names], Selection(threads=1, **options), run, "c"
    )
    run.close()
    return {one["backend"]["name"]: one for one in records} | {"verdicts": verdicts(records)}


@pytest.mark.load
@pytest.mark.process
def test_a_duel_of_known_speeds(case: Case, tmp_path: Path) -> None:
    found = duel(case, tmp_path, "slower", "worse", "steady", seeds=2, rounds=5)
    assert (found["steady"]["status"], found["slower"]["status"], found["worse"]["status"]) == (
        "matched",
        "matched",
        "missed",
    )
    (said,) = [line for line in found["verdicts"] if "steady" in line and "slower" in line]
    assert said.startswith("steady is 1.05 times as fast as slower (95 %: "), said
    found_ratio = ratio(found["slower"]["rounds"], found["steady"]["rounds"], paired=True).value
    assert found_ratio == pytest.approx(1.05, abs=0.005)
    missed = "worse: missed: no improvement for 100 epochs"
    assert any(line.startswith(missed) for line in found["verdicts"])
    epochs = {one["seed"]: one["epochs"] for one in found["steady"]["calibrations"]}
    for record, planted in ((found["steady"], Steady), (found["slower"], Slower)):
        for one in record["rounds"]:
            assert one["epoch_seconds"] == pytest.approx(planted.seconds, rel=0.01)
            assert one["seconds"] == pytest.approx(epochs[one["seed"]] * planted.seconds, rel=0.01)
    blocks = [[one["round"] for one in found[name]["rounds"]] for name in ("steady", "slower")]
    assert blocks == [list(range(10))] * 2
    assert found["steady"]["order"] == "interleaved"


@pytest.mark.load
@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("steady", "matched", ""),
        ("early", "missed", "2 of 2 timed rounds missed; MSE up to"),
        ("leaksthreads", "over budget", "5 threads stayed behind after 6 fits"),
        (
            "setsthreads",
            "over budget",
            "after a fit, threads were set: openblas to 4; the budget is 1",
        ),
    ],
)
def test_the_verdict_on_what_is_seen_only_in_timed_fits(
    case: Case, name: str, status: str, reason: str
) -> None:
    record = measure(case, name, rounds=5 if name == "leaksthreads" else 2, cold=False)
    assert record["status"] == status, record["reason"]
    assert record["reason"].startswith(reason), record["reason"]


@pytest.mark.load
@pytest.mark.process
@pytest.mark.parametrize("name", ["remembers", "rememberspatterns", "remembersondisk", "returns"])
def test_what_is_fast_only_by_earlier_fits_is_not_ranked(
    case: Case, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_CACHE", str(tmp_path))
    record = measure(case, name, rounds=3)
    assert record["status"] == "inconsistent", record["reason"]
    met = (
        r"a fit takes \d.* s with ratings that it has not seen, "
        r"and \d.* s with those it has: it keeps .*"
    )
    told = r"it reports \d.* s of work in a fit that took .* s: some of it was done before"
    assert re.fullmatch(told if name == "returns" else met, record["reason"]), record["reason"]


@pytest.mark.load
@pytest.mark.process
def test_what_compiles_for_a_shape_is_honest(case: Case) -> None:
    record = measure(case, "compilesshapes")
    assert record["status"] == "matched", record["reason"]
    epochs = record["calibrations"][0]["epochs"]
    assert epochs is not None
    planted = 1 + epochs * Steady.seconds
    assert [start["fit_seconds"] for start in record["cold"]] == pytest.approx(
        [planted] * 2, rel=0.01
    )
    steady = [one["seconds"] for one in record["rounds"]]
    assert steady == pytest.approx([planted - 1] * 2, rel=0.01)


@pytest.mark.load
@pytest.mark.process
@pytest.mark.parametrize("name", ["numpy-als", "numba-gd"])
def test_a_busy_machine_makes_no_backend_a_cheat(case: Case, tmp_path: Path, name: str) -> None:
    """Other programs start after the rounds and slow the rest, numba-gd in CPU-seconds too."""
    asked = measured.contender(name, threads=2, dtype="float32")
    busy = [sys.executable, "-c", "while True: pass"]
    measurement = Measurement(case, asked, Run("r", "c", tmp_path, Limits(timeout=60)), rounds=3)
    measurement.begin(0)
    measurement.calibrate()
    for number in range(3):
        measurement.time_round(number, rungs=False)
    others = [subprocess.Popen(busy, start_new_session=True) for _ in range(6)]
    try:
        measurement.check_fits()
    finally:
        measurement.end()
        for one in others:
            one.kill()
            one.wait()
    measurement.finish()
    record = measurement.record()
    assert record["status"] == "matched", record["reason"]


@pytest.mark.load
@pytest.mark.process
def test_a_duel_sees_it_too(case: Case, tmp_path: Path) -> None:
    found = duel(case, tmp_path, "remembers", "steady", seeds=2, rounds=1)
    assert found["remembers"]["status"] == "inconsistent"
    assert found["steady"]["status"] == "matched"
    assert not any("times as fast" in line for line in found["verdicts"])


@pytest.mark.load
@pytest.mark.process
@pytest.mark.parametrize("name", ["spinsprocesses", "keepsprocesses"])
def test_processes_count_as_threads_do(loose: Case, name: str) -> None:
    """On a busy machine three get no more CPU-seconds than one may, but they want their cores."""
    record = measure(loose, name, cold=False)
    assert record["status"] == "over budget", record["reason"]
    seen = r"it used \d\.\d cores in its timed rounds|\d of its threads ran at once"
    assert re.fullmatch(f"({seen}); the budget is 1", record["reason"]), record["reason"]
    epochs = record["calibrations"][0]["epochs"]
    assert epochs is not None
    # Three processes in each epoch; the system counts in steps of 0.01 s.
    planted = 3 * SpinsProcesses.cpu_seconds * epochs
    assert all((one["cpu_seconds"] or 0.0) > 0.8 * planted for one in record["rounds"])


@pytest.mark.load
@pytest.mark.process
def test_memory_of_child_processes_counts(loose: Case) -> None:
    memory = measure(loose, "growselsewhere", rounds=1, cold=False)["memory"]
    assert memory is not None
    assert memory["fit_mb"] is not None
    assert 290 < memory["fit_mb"] < 400


@pytest.mark.load
@pytest.mark.process
def test_nothing_that_a_backend_starts_outlives_it(loose: Case) -> None:
    measure(loose, "keepsprocesses", rounds=1, cold=False)
    name = "bench.measure.worker"
    until(lambda: not any(name in command(pid) for pid in family(os.getpid())[1:]))


@pytest.mark.load
@pytest.mark.process
def test_what_a_worker_leaves_behind_when_it_dies_is_ended(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_CACHE", str(tmp_path))
    assert measure(case, "diesleaving")["status"] == "out of memory"  # as it looks
    assert is_gone(int((tmp_path / "child").read_text("utf-8")))


@pytest.mark.load
@pytest.mark.process
def test_nothing_outlives_a_run_that_is_killed() -> None:
    """The worker's end is the system's business; that of what it has started is the guard's."""
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE, start_new_session=True
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()  # once its child is there
        guard = f"from bench.machine.ending import guard; guard({worker.pid}, 'x=y')"
        script = f"import time; {guard}; print(flush=True); time.sleep(60)"
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            [sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            parent.stdout.readline()
            (child,) = family(worker.pid)[1:]
            parent.kill()
        assert worker.wait(timeout=60) == -signal.SIGKILL
        assert is_gone(child)


def command(pid: int) -> str:
    """The command line of a process, "" for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8")
    except OSError:
        return ""


@pytest.mark.load
@pytest.mark.process
def test_threads_over_the_budget_are_seen_by_the_clock_or_by_looking(loose: Case) -> None:
    """On a busy machine three threads get the CPU-seconds of one, but they want their cores."""
    record = measure(loose, "spinsthreads", cold=False)
    assert record["status"] == "over budget", record["reason"]
    seen = r"it used \d\.\d cores in its timed rounds|\d of its threads ran at once"
    assert re.fullmatch(f"({seen}); the budget is 1", record["reason"]), record["reason"]


@pytest.mark.load
@pytest.mark.process
def test_threads_that_no_clock_shows_are_seen_by_looking(
    loose: Case,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With no more cores than the budget, CPU-seconds cannot exceed it; busy threads can."""
    monkeypatch.setattr("bench.measure.fair_play.CPU_SLACK", 1e9)
    record = measure(loose, "spinsthreads", cold=False)
    assert record["status"] == "over budget"
    assert record["reason"].endswith("of its threads ran at once; the budget is 1")


@pytest.mark.load
@pytest.mark.process
def test_memory_of_the_fit_alone_is_measured(loose: Case) -> None:
    record = measure(loose, "grows", rounds=1, cold=False)
    epochs = record["calibrations"][0]["epochs"]
    assert epochs is not None
    memory = record["memory"]
    assert memory is not None
    assert memory["fit_mb"] is not None
    assert memory["peak_mb"] is not None
    assert 100 * epochs < memory["fit_mb"] < 100 * epochs + 60
    assert memory["fit_mb"] < memory["peak_mb"]


@pytest.mark.load
@pytest.mark.process
def test_a_backend_that_eats_memory_is_ended_before_the_machine_suffers(loose: Case) -> None:
    record = measure(loose, "growsforever", Limits(timeout=60, memory_mb=600))
    assert record["status"] == "out of memory"
    assert record["reason"].startswith("the worker was ended for using too much memory (")
    assert record["reason"].endswith("MB resident, 600 MB allowed)")


@pytest.mark.load
@pytest.mark.process
def test_time_outs_are_censored(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    took = hurry(monkeypatch, "calibrate", 1)
    record = measure(case, "hangs", Limits(timeout=60))
    assert record["status"] == "timed out"
    # Starting the worker, importing and compiling do not count.
    assert 1 <= (record["gave_up_after"] or 0) <= took[0]


@pytest.mark.process
def test_an_epoch_may_not_take_longer_than_all(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend whose first epoch never ends is not waited for until the timeout."""
    monkeypatch.setattr(session, "_GRACE", 0.5)
    record = measure(case, "hangs", Limits(max_seconds=1, timeout=30))
    reason = "calibrate made no progress for 1.5 s"
    assert (record["status"], record["reason"]) == ("timed out", reason)
    assert (record["gave_up_after"] or 0) >= 1.5


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_words_go_over_the_pipe_whatever_the_locale(
    case: Case, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    record = measure(case, "umlaut", Limits(timeout=30))
    assert (record["status"], record["reason"]) == (
        "crashed",
        "RuntimeError: größte Abweichung \N{SNOWMAN} ?",
    )


@pytest.mark.process
def test_numbers_of_numpy_and_a_status_of_its_own_are_no_fault(case: Case) -> None:
    record = measure(case, "numpyseconds", rounds=1)
    assert record["status"] == "matched", record["reason"]
    assert type(record["rounds"][0]["prepare_seconds"]) is float


@pytest.mark.process
def test_a_score_that_is_no_number_is_divergence(case: Case) -> None:
    record = measure(case, "losesitsnumbers")
    assert (record["status"], record["reason"]) == ("diverged", "its loss exploded after 2 epochs")
    assert [point["epoch"] for point in record["calibrations"][0]["trace"]] == [1, 2]


@pytest.mark.process
def test_what_was_measured_before_something_went_wrong_is_kept(case: Case) -> None:
    record = measure(case, "diescoldfilled")
    assert (record["status"], record["reason"][:35]) == (
        "crashed",
        "in a cold start, caches filled: the",
    )
    assert [one["caches"] for one in record["cold"]] == ["empty"]
    record = measure(case, "diesofthesecondseed", seeds=(0, 1))
    assert (record["status"], record["reason"]) == (
        "crashed",
        "the worker ended with exit status 9",
    )
    assert record["environment"]["import_seconds"] is not None
    assert record["environment"]["variables"] is not None


@pytest.mark.load
@pytest.mark.process
def test_a_calibration_that_takes_too_long_is_censored_by_its_training(case: Case) -> None:
    record = measure(case, "steady", Limits(max_seconds=1.5 * Steady.seconds))
    assert record["status"] == "timed out"
    assert record["gave_up_after"] == pytest.approx(2 * Steady.seconds, rel=0.01)
    assert record["gave_up_after"] == record["calibrations"][0]["trace"][-1]["seconds"]


@pytest.mark.load
@pytest.mark.process
def test_every_target_is_timed_and_checked(case: Case) -> None:
    record = measure(case, "numpy", Limits(max_epochs=400), seeds=(0, 5), rounds=1, cold=False)
    assert record["status"] == "matched"
    assert [one["seed"] for one in record["calibrations"]] == [0, 5]
    assert [one["seed"] for one in record["rounds"]] == [0, 5]
    wanted = {
        (calibration["seed"], rung["factor"])
        for calibration in record["calibrations"]
        for rung in calibration["rungs"]
        if rung["epochs"] is not None and rung["factor"] != 1.01 and calibration["seed"] == 0
    }
    assert wanted
    assert {(one["seed"], one["factor"]) for one in record["rungs"]} == wanted
    goals = {rung["factor"]: rung["mse"] for rung in case.ladder}
    for one in record["rungs"]:
        assert one["matched"]
        assert one["validation_mse"] <= goals[one["factor"]]
    first, second = record["calibrations"]
    assert (
        first["trace"][0]["validation_mse"] != second["trace"][0]["validation_mse"]
    )  # another start


@pytest.mark.load
@pytest.mark.process
def test_a_timed_fit_starts_where_its_calibration_did(case: Case, tmp_path: Path) -> None:
    (record,) = [
        value
        for name, value in duel(
            case, tmp_path, "numpy-als:init_scale=0.5", seeds=1, rounds=1
        ).items()
    ][:1]
    (calibration,), (timed,) = record["calibrations"], record["rounds"]
    at = {point["epoch"]: point["validation_mse"] for point in calibration["trace"]}
    assert timed["validation_mse"] == pytest.approx(at[calibration["epochs"]], rel=1e-9)


@pytest.mark.load
@pytest.mark.process
def test_a_seed_that_misses_takes_the_backend_out(case: Case, tmp_path: Path) -> None:
    run = Run("r", "c", tmp_path, LIMITS)
    measurement = Measurement(case, measured.contender("numpy-als"), run, seeds=(0, 1), rounds=1)
    for seed in measurement.seeds:
        measurement.begin(seed)
        measurement.calibrate()
        if seed == 1:
            measurement.calibrations[-1]["epochs"] = 1  # too few
        measurement.time_round(seed, rungs=False)
        measurement.end()
    measurement.finish()
    record = measurement.record()
    assert (record["status"], record["reason"][:31]) == (
        "missed",
        "1 of 2 timed rounds missed; MSE",
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        (
            "noseconds",
            "crashed",
            "ValueError: it reports a number that is not finite: round.prepare_seconds is nan",
        ),
        ("infinite", "diverged", "its loss exploded in timed round 1"),
        ("wrongshape", "crashed", "ValueError: its model's user_factors must be floating-point"),
        ("realtimesignal", "crashed", "the worker was killed by signal 39"),
        ("writesbytes", "crashed", "the worker's answer to calibrate is not valid ("),
        ("writesjson", "crashed", "the worker's answer to calibrate is not valid ("),
        ("writesnested", "crashed", "the worker's answer to calibrate is not valid ("),
        ("hangsup", "crashed", "the worker closed its answer pipe"),
        ("interrupts", "crashed", "KeyboardInterrupt: raised during a fit, although nobody"),
        ("interruptsfirst", "crashed", "KeyboardInterrupt"),
        ("leaves", "crashed", "SystemExit: good bye"),
        ("readsinput", "crashed", "EOFError: EOF when reading a line"),
        ("rambles", "crashed", "ValueError: [31mvery long ?very long ?"),
        ("unspeakable", "crashed", "Error: its message cannot be read"),
        ("deletesfolder", "crashed", "ValueError: clean now"),
        ("unavailablelater", "crashed", "BackendUnavailable: the device is lost"),
    ],
)
def test_whatever_a_backend_does_there_is_a_record(
    case: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    status: str,
    reason: str,
) -> None:
    if name == "hangsup":  # nor would it end later
        monkeypatch.setattr("bench.measure.worker_process._PATIENCE", 0.5)
    folder = open_run("c", tmp_path)
    run = Run("r", "c", folder.work, LIMITS)
    asked = Measurement(case, measured.contender(name), run, seeds=[0], rounds=1)
    (record,) = take_turns([asked], folder, seed=0, rungs=False, apart=False)
    folder.close()
    assert (record["status"], record["reason"][: len(reason)]) == (status, reason)
    (read,) = read_records([folder.path])
    assert read == record
    assert len(record["reason"]) <= 500
    assert record["reason"].isprintable()
    details = list(folder.path.glob("*.txt"))
    assert [path.name for path in details if path.name in record["reason"]] == [
        path.name for path in details
    ]
    assert sum(path.stat().st_size for path in folder.path.iterdir()) < 1_000_000
    if ": " in reason and status == "crashed" and name != "hangsup":
        assert "Traceback (most recent call last)" in details[0].read_text("utf-8")


@pytest.mark.process
def test_what_holds_the_pipes_beyond_the_end_holds_nothing_up(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started just before the end, so that nobody has seen it."""
    monkeypatch.setenv("PLANTED_CACHE", str(tmp_path))
    monkeypatch.setattr("bench.measure.worker_process._LOOK_SECONDS", 60)
    record = measure(case, "leavesandholds")
    assert record["reason"].startswith("the worker was killed by SIGTERM"), record["reason"]
    assert is_gone(int((tmp_path / "child").read_text("utf-8")))


@pytest.mark.process
def test_what_forks_and_returns_answers_once(case: Case) -> None:
    record = measure(case, "forksandreturns", seeds=(0, 1), cold=False)
    assert record["status"] in ("matched", "over budget"), record["reason"]
    assert len(record["rounds"]) == 4
    assert all(timed["matched"] for timed in record["rounds"])


@pytest.mark.process
def test_what_one_backend_prints_is_not_said_of_another(case: Case, tmp_path: Path) -> None:
    folder = open_run("c", tmp_path)
    run = Run("r", "c", folder.work, LIMITS)
    both = [
        Measurement(case, measured.contender(name), run, seeds=[0], rounds=1)
        for name in ("rambles", "realtimesignal")
    ]
    _, record = take_turns(both, folder, seed=0, rungs=False, apart=False)
    folder.close()
    assert record["reason"] == "the worker was killed by signal 39"


@pytest.mark.process
@pytest.mark.parametrize("name", ["lazy", "fillslater"])
def test_what_is_computed_after_the_clock_is_of_no_use(case: Case, name: str) -> None:
    record = measure(case, name, rounds=1, cold=False)
    if name == "lazy":  # it is computed when the clock asks for it
        assert record["status"] == "matched"
        planted = (record["calibrations"][0]["epochs"] or 0) * Steady.seconds
        assert record["rounds"][0]["seconds"] == pytest.approx(planted, rel=0.02)
    else:  # on a busy machine its threads are still there when they are counted
        assert record["status"] in ("missed", "over budget")


@pytest.mark.process
@pytest.mark.parametrize("name", ["startswarm", "startswarmbyhash"])
def test_a_warm_start_from_disk_is_not_ranked(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """With one checkpoint it is found in the next run, with one for each ratings by its seeds."""
    monkeypatch.setenv("PLANTED_CACHE", str(tmp_path))
    seeds = (0,) if name == "startswarm" else (0, 1)
    if name == "startswarm":
        StartsWarm(rank=case.objective.rank, epochs=20).fit(case.data.train)
    record = measure(case, name, seeds=seeds, rounds=1, cold=False)
    assert record["status"] == "inconsistent", record["reason"]
    assert re.fullmatch(
        r"(1 epoch ends|\d epochs end) at a validation MSE of .* with users and items in another "
        r"order, and of .* as they are: it starts from an earlier fit",
        record["reason"],
    ), record["reason"]


def rounds_of(seconds: np.ndarray) -> list[Round]:
    """Rounds with the seconds of an array of shape (seeds, rounds)."""
    unknown = dict.fromkeys(
        ("first_epoch_seconds", "epoch_seconds", "cpu_seconds", "others_seconds", "stolen_seconds")
    )
    fixed: Any = {
        "factor": 1.01,
        "prepare_seconds": 0.0,
        "validation_mse": 1.0,
        "test_mse": None,
        "objective": None,
    }
    return [
        Round(
            **fixed,
            **unknown,
            round=n * len(seconds) + seed,
            seed=seed,
            seconds=float(value),
            matched=True,
        )
        for seed, row in enumerate(seconds)
        for n, value in enumerate(row)
    ]


def simulate(
    rng: np.random.Generator, slower: float, noise: float, process: float = 0.0, drift: float = 0.0
) -> tuple[list[Round], list[Round]]:
    """Rounds of two contenders in a duel of the default size."""
    shape = SEEDS, ROUNDS
    blocks = (
        np.cumsum(rng.normal(0, drift, shape).T.ravel()).reshape(shape[::-1]).T
    )  # blocks take the seeds in turn

    def one(mean: float) -> list[Round]:
        own = rng.normal(0, process, (shape[0], 1)) + rng.normal(0, noise, shape)
        return rounds_of(mean * np.exp(blocks + own))

    return one(1.0), one(slower)


@pytest.mark.parametrize(
    ("slower", "noise", "process", "drift", "least", "most"),
    [
        (1.0, 0.02, 0.0, 0.0, 0, 70),  # A against A: "no difference" in at least 930
        (1.0, 0.02, 0.02, 0.0, 0, 70),  # also where each process has a speed of its own,
        (1.0, 0.01, 0.05, 0.0, 0, 70),  # even one that differs by more than rounds do,
        (1.0, 0.02, 0.0, 0.05, 0, 70),  # and where the machine drifts
        (1.05, 0.02, 0.0, 0.0, 900, 1000),  # a true 5 % is found
        (1.05, 0.02, 0.0, 0.05, 900, 1000),  # also where the machine drifts
    ],
)
def test_a_thousand_duels(
    slower: float, noise: float, process: float, drift: float, least: int, most: int
) -> None:
    rng = np.random.default_rng(7)
    told = sum(
        not ratio(slow, fast, paired=True).within_noise
        for fast, slow in (simulate(rng, slower, noise, process, drift) for _ in range(1000))
    )
    assert least <= told <= most
