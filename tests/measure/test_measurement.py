"""The runner against misbehaving backends: each becomes a record with the right verdict.

The run goes on after each.
"""

import io
import itertools
import os
import subprocess
import sys
import time
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured import LIMITS, contender, hurry, measure

from backends import Objective, get_backend
from bench.cases.case import Case
from bench.machine.environment import python_version
from bench.measure import epoch_search, worker, worker_process
from bench.measure.backend_facts import Limits
from bench.measure.measurement import Measurement, Run
from bench.measure.protocol import Calibrate
from bench.measure.session import Session, Setting
from bench.records import Record, Target

pytestmark = [pytest.mark.load, pytest.mark.process]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def honest(case: Case) -> Record:
    """The record of a backend without a fault."""
    return measure(case, "numpy-als")


def test_an_honest_backend_matches_and_its_numbers_agree(honest: Record) -> None:
    record = honest
    assert record["status"] == "matched"
    assert record["reason"] == ""
    (calibration,), target = record["calibrations"], record["target"]
    assert target is not None
    epochs = calibration["epochs"]
    at = {point["epoch"]: point["validation_mse"] for point in calibration["trace"]}
    assert epochs is not None
    # The first epoch at or under the target, and no earlier one.
    assert at[epochs] <= target["mse"]
    assert all(at[epoch] > target["mse"] for epoch in range(1, epochs))
    # A timed fit of as many epochs ends in the same model.
    assert [row["validation_mse"] for row in record["rounds"]] == pytest.approx(
        [at[epochs]] * 2, rel=1e-9
    )
    assert all(0 < row["prepare_seconds"] < row["seconds"] for row in record["rounds"])
    for row in record["rounds"]:
        first, median = row["first_epoch_seconds"], row["epoch_seconds"] or 0
        assert first is not None and first > 0
        # At least half of the other epochs took as long as their median, whatever the load was.
        least = row["prepare_seconds"] + first + epochs // 2 * median
        assert least <= row["seconds"]
        assert row["cpu_seconds"] is not None
    assert [start["caches"] for start in record["cold"]] == ["empty", "filled"]
    for cold in record["cold"]:
        whole = cold["import_seconds"] + cold["compile_seconds"] + cold["fit_seconds"]
        assert cold["total_seconds"] == pytest.approx(whole)
    assert record["environment"]["variables"]["OMP_NUM_THREADS"] == "1"
    assert all(pool["num_threads"] == 1 for pool in record["environment"]["thread_pools"])


def test_the_objective_is_within_half_a_percent_of_the_reference_at_the_end(
    case: Case, honest: Record
) -> None:
    objective = honest["rounds"][0]["objective"]
    assert objective is not None
    assert objective >= case.reference["objective"] * 0.995


def test_what_is_fitted_minimises_the_whole_objective_of_the_case(case: Case) -> None:
    objective = Objective(
        4,
        0.05,
        reg_unit="rating",
        damping=90,
        bias_reg=0.05,
        user_bias_damping=1,
        item_bias_damping=4,
    )
    assert all(getattr(objective, field.name) != field.default for field in fields(Objective)[4:])
    record = measure(replace(case, objective=objective), "numpy-als", rounds=1, cold=False)
    epochs, (timed,) = record["calibrations"][0]["epochs"], record["rounds"]
    solver = get_backend("numpy-als", **asdict(objective)).fit(case.data.train, epochs=epochs)
    assert timed["objective"] == pytest.approx(
        objective.value(solver.model_.parameters, case.data.train), rel=1e-9
    )


def test_the_facts_of_a_case_hold_its_objective(case: Case) -> None:
    facts = dict(case.facts)
    assert {field.name: facts[field.name] for field in fields(Objective)} == asdict(case.objective)
    assert case.objective == Objective(rank=4, reg=0.03, damping=100)


def calibrated(
    case: Case, max_epochs: int, max_seconds: float, target: float = 0.0
) -> tuple[str, list[float]]:
    """How a calibration ends in this process, and the seconds of its trace."""
    here = worker.Worker(io.BytesIO())
    here.ratings = {"train": case.data.train, "validation": case.data.validation}
    here.solver_arguments = {"name": "numpy", **asdict(case.objective), "n_jobs": 1}
    limits = {"max_epochs": max_epochs, "max_seconds": max_seconds, "patience": 1000}
    answer = here.calibrate(Calibrate(targets={"1.01": target}, target=target, seed=0, **limits))
    return answer.status, [point["seconds"] for point in answer.calibration["trace"]]


def test_a_calibration_is_limited_in_seconds_of_training(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock moves on by 1000 s whenever a model is scored; the limit is 500 s.

    Otherwise it moves by 1 ms whenever it is read, so that no load of the machine shows in it.
    """
    scored, ticks, scoring = epoch_search.mse, itertools.count(), [0.0]

    def slowly(*arguments: Any) -> float | None:
        scoring[0] += 1000
        return scored(*arguments)

    monkeypatch.setattr(epoch_search, "mse", slowly)
    monkeypatch.setattr(time, "perf_counter", lambda: 1e-3 * next(ticks) + scoring[0])
    status, seconds = calibrated(case, max_epochs=5, max_seconds=500.0)
    assert (status, len(seconds)) == ("epochs", 5)
    assert scoring == [5000.0]
    limit = seconds[1]
    status, seconds = calibrated(case, max_epochs=1000, max_seconds=limit)
    assert status == "time"
    assert seconds[-1] >= limit
    assert all(value < limit for value in seconds[:-1])
    # A calibration that reached its end was not given up, however long it took.
    assert calibrated(case, max_epochs=5, max_seconds=0.0, target=1e9)[0] == "callback"


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("talks", "matched", ""),
        ("raises", "crashed", "RuntimeError: the matrix is <singular>"),
        ("exits", "crashed", "the worker ended with exit status 3: fatal: assertion failed"),
        (
            "iskilled",
            "out of memory",
            "the worker was killed by SIGKILL, as the system does when memory runs out",
        ),
        ("eatsmemory", "out of memory", "MemoryError: cannot allocate"),
        ("explodes", "diverged", "its loss exploded after 0 epochs"),
        ("stalls", "missed", "no improvement for 15 epochs (best validation MSE"),
        ("flatters", "missed", "no improvement for 15 epochs (best validation MSE"),
    ],
)
def test_the_verdict_on_a_planted_fault(case: Case, name: str, status: str, reason: str) -> None:
    record = measure(case, name)
    assert (record["status"], record["reason"][: len(reason)]) == (status, reason)
    assert bool(record["rounds"]) == (status == "matched")


def test_the_record_says_how_sums_were_computed_where_there_are_several_ways(
    case: Case, honest: Record
) -> None:
    pytest.importorskip("torch")
    assert measure(case, "torch-cpu-gd", rounds=1, cold=False).get("products") == "sparse"
    assert "products" not in honest


def test_giving_up_is_not_a_miss(case: Case) -> None:
    record = measure(case, "numpy", Limits(max_epochs=2, timeout=60))
    assert (record["status"], record["reason"][:57]) == (
        "timed out",
        "not at the target after 2 epochs, the most allowed (best ",
    )
    record = measure(case, "numpy", Limits(max_seconds=0.0, timeout=60))
    assert (record["status"], record["reason"][:43]) == (
        "timed out",
        "not at the target after 0 s of training (be",
    )


@pytest.mark.usefixtures("planted")
def test_a_hang_is_ended_and_its_process_is_gone(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hurry(monkeypatch, "calibrate", 1)
    record = measure(case, "hangs", Limits(timeout=60))
    assert (record["status"], record["reason"]) == ("timed out", "calibrate took longer than 1 s")
    alive = subprocess.run(
        ["pgrep", "-f", "bench.measure.worker", "-P", str(os.getpid())],
        capture_output=True,
        text=True,
    )
    assert alive.stdout == ""


def test_an_unavailable_backend_is_a_record(case: Case, tmp_path: Path) -> None:
    absent = contender("numpy", available=False, reason="no such device")
    measurement = Measurement(case, absent, Run("r", "c", tmp_path, LIMITS))
    measurement.begin(0)
    measurement.calibrate()
    assert measurement.wanted_rounds() == 0
    record = measurement.record()
    assert (record["status"], record["reason"]) == ("unavailable", "no such device")


def test_a_case_without_a_target_is_not_measured(case: Case) -> None:
    ladder: list[Target] = [{"factor": 1.01, "mse": 1.0, "dropped": "not below the biases alone"}]
    hopeless = replace(case, ladder=ladder, target=None)
    record = measure(hopeless, "numpy")
    assert record["status"] == "missed"
    assert "no target is left on this data" in record["reason"]


def test_a_miss_in_a_timed_round_fails_the_measurement(case: Case, tmp_path: Path) -> None:
    measurement = Measurement(case, contender("numpy-als"), Run("r", "c", tmp_path, LIMITS))
    measurement.begin(0)
    measurement.calibrate()
    measurement.calibrations[0]["epochs"] = 1  # too few
    measurement.time_round(0)
    measurement.end()
    measurement.finish()
    record = measurement.record()
    assert record["status"] == "missed"
    assert record["reason"].startswith("1 of 1 timed rounds missed; MSE up to")


def test_the_worker_loads_no_library_that_it_does_not_need() -> None:
    """Each would cost memory and start-up time, which are measured."""
    code = """
import sys
import bench.measure.worker
print([name for name in ("matplotlib", "pytest", "jinja2", "pandas") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


# ---- what a worker imports ----------------------------------------------------------------------

SOLVER = """
from backends.numpy_als import NumpyALS

class Solver(NumpyALS):
    device = {where!r}
"""


def install(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    return folder


def device_of(case: Case, folder: Path) -> str | None:
    """On which device a backend of another package says that it computes, in a worker."""
    contender_ = contender("theirs")
    measurement = Measurement(case, contender_, Run("r", "c", folder, LIMITS))
    measurement.begin(0)
    measurement.end()
    assert measurement.ended is None, measurement.ended
    assert measurement.environment is not None
    return measurement.environment["device"]


@pytest.mark.parametrize("first", ["installed", "newer"])
def test_a_worker_imports_what_its_parent_would(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Whatever PYTHONPATH says, of which Python has made its path in another order."""
    names = ["installed", "newer"]
    places = {name: install(tmp_path / name, theirs=SOLVER.format(where=name)) for name in names}
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(
        "[factorbench.backends]\ntheirs = theirs:Solver\n", "utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(places[names[1 - names.index(first)]]))
    monkeypatch.setattr(sys, "path", [str(places[first]), *sys.path, str(tmp_path)])
    assert device_of(case, tmp_path) == first


def test_backports_behind_the_standard_library_are_not_imported(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "raise ImportError('for another Python')"
    backports = install(tmp_path / "site", dataclasses=broken, typing=broken, enum=broken)
    monkeypatch.setattr(sys, "path", [*sys.path, str(backports)])
    monkeypatch.setenv("PYTHONWARNINGS", "error")  # nor are warnings faults of a backend
    assert measure(case, "numpy-als", rounds=1, cold=False)["status"] == "matched"


# ---- libraries of others ------------------------------------------------------------------------


def test_a_library_is_not_asked_for_our_objective(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its reg has a unit of its own, and it has no dampings."""
    asked: list[Any] = []

    class Process:
        def ask(self, request: Any, *_: Any) -> Any:
            asked.append(request)

    def params(**row: Any) -> dict[str, Any]:
        asked.clear()
        setting = Setting(
            case,
            case.target,  # type: ignore[arg-type]  # this case has one
            tmp_path,
            contender("numpy-als", params={"learning_rate": 0.1}, **row),
            LIMITS,
            tmp_path,
            lambda text: None,
        )
        Session(setting, Process(), 0)  # type: ignore[arg-type]
        return dict(asked[0].params)

    own = {"dtype": "float64", "n_jobs": 1, "learning_rate": 0.1}
    assert params(library="cornac") == {"rank": case.objective.rank, **own}
    assert params() == {**asdict(case.objective), **own}


# ---- in another interpreter ---------------------------------------------------------------------


@pytest.mark.process
def test_a_backend_may_run_in_another_interpreter(case: Case) -> None:
    there = contender("numpy-als", interpreter=Path(sys.executable))
    record = measure(case, there, rounds=1, cold=False)
    assert (record["status"], record["reason"]) == ("matched", "")
    assert record["environment"]["python"] == python_version()
    assert record["environment"]["packages"]["numpy"] == np.__version__
    gone = contender("numpy-als", interpreter=Path("/nowhere/bin/python"))
    record = measure(case, gone)
    assert record["status"] == "crashed"
    assert record["reason"].startswith("the worker did not start: ")
    assert "/nowhere/bin/python" in record["reason"]


@pytest.mark.process
def test_another_interpreter_imports_only_our_packages_from_here(tmp_path: Path) -> None:
    """What lies beside them may be of another version of Python."""
    for name in ("backends", "bench", "numpy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"print('{name} of', __file__)\n")
    code = worker_process._START_ELSEWHERE.replace(
        worker_process._MAIN, "import backends, bench, numpy; print(sys.argv)"
    )
    command = [sys.executable, "-I", "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ours, benchmarks, arguments = done.stdout.splitlines()
    assert ours == f"backends of {tmp_path / 'backends' / '__init__.py'}"
    assert benchmarks == f"bench of {tmp_path / 'bench' / '__init__.py'}"
    assert arguments == "['-c']"
