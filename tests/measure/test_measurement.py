"""The runner against backends that misbehave: each becomes a record with the right verdict, and the run goes on."""

import io
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import random_ratings
from measured import LIMITS, contender, measure

from backends import Objective, Ratings, get_backend
from bench.cases import reference
from bench.cases.case import Case
from bench.measure import worker
from bench.measure.backend_facts import Limits
from bench.measure.measurement import Measurement, Run
from bench.measure.protocol import Calibrate
from bench.measure.worker_process import Ended
from bench.records import RooflineRecord
from bench.roofline.measure import Machine, RooflineOptions, measure_epochs, measure_machine

ROOT = Path(__file__).parents[2]


def test_an_honest_backend_matches_and_its_numbers_agree(case: Case) -> None:
    record = measure(case, "numpy-als")
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
    assert [one["validation_mse"] for one in record["rounds"]] == pytest.approx([at[epochs]] * 2, rel=1e-9)
    assert all(0 < one["prepare_seconds"] < one["seconds"] for one in record["rounds"])
    for one in record["rounds"]:
        parts = [one["prepare_seconds"], one["first_epoch_seconds"] or 0, (epochs - 1) * (one["epoch_seconds"] or 0)]
        assert min(parts[:2]) > 0
        assert sum(parts) < 1.5 * one["seconds"]
        assert one["cpu_seconds"] is not None
    assert [one["caches"] for one in record["cold"]] == ["empty", "filled"]
    for cold in record["cold"]:
        whole = cold["import_seconds"] + cold["compile_seconds"] + cold["fit_seconds"]
        assert cold["total_seconds"] == pytest.approx(whole)
    assert record["environment"]["variables"]["OMP_NUM_THREADS"] == "1"
    assert all(pool["num_threads"] == 1 for pool in record["environment"]["thread_pools"])


def test_the_objective_is_within_half_a_percent_of_the_reference_at_the_end(case: Case) -> None:
    record = measure(case, "numpy-als")
    objective = record["rounds"][0]["objective"]
    assert objective is not None
    assert objective >= case.reference["objective"] * 0.995


def test_what_is_fitted_minimises_the_whole_objective_of_the_case(case: Case) -> None:
    objective = Objective(
        4, 0.05, reg_unit="rating", damping=90, bias_reg=0.05, user_bias_damping=1, item_bias_damping=4
    )
    assert all(getattr(objective, one.name) != one.default for one in fields(Objective)[4:])
    record = measure(replace(case, objective=objective), "numpy-als", rounds=1)
    epochs, (timed,) = record["calibrations"][0]["epochs"], record["rounds"]
    solver = get_backend("numpy-als", **asdict(objective)).fit(case.data.train, epochs=epochs)
    assert timed["objective"] == pytest.approx(objective.value(solver.model_.parameters, case.data.train), rel=1e-9)


def test_the_facts_of_a_case_hold_its_objective(case: Case) -> None:
    facts = dict(case.facts)
    assert {one.name: facts[one.name] for one in fields(Objective)} == asdict(case.objective)
    assert case.objective == Objective(rank=4, reg=0.03, damping=100)


def calibrated(case: Case, max_epochs: int, max_seconds: float, target: float = 0.0) -> tuple[str, list[float]]:
    """How a calibration ends in this process, and the seconds of its trace."""
    here = worker.Worker(io.StringIO())
    here.parts = {"train": case.data.train, "validation": case.data.validation}
    here.make = {"name": "numpy", **asdict(case.objective), "n_jobs": 1}
    limits = {"max_epochs": max_epochs, "max_seconds": max_seconds, "patience": 1000}
    answer = here.calibrate(Calibrate(rungs={"1.01": target}, target=target, seed=0, **limits))
    return answer.status, [point["seconds"] for point in answer.calibration["trace"]]


def test_a_calibration_is_limited_in_seconds_of_training(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is moved on by 1000 s whenever a model is scored, and the limit is 500 s."""
    scored, clock, scoring = worker.mse, time.perf_counter, [0.0]

    def slowly(*arguments: Any) -> float | None:
        scoring[0] += 1000
        return scored(*arguments)

    monkeypatch.setattr(worker, "mse", slowly)
    monkeypatch.setattr(time, "perf_counter", lambda: clock() + scoring[0])
    status, seconds = calibrated(case, max_epochs=5, max_seconds=500.0)
    assert (status, len(seconds)) == ("epochs", 5)
    assert scoring == [5000.0]
    limit = seconds[1]
    status, seconds = calibrated(case, max_epochs=1000, max_seconds=limit)
    assert status == "time"
    assert seconds[-1] >= limit
    assert all(one < limit for one in seconds[:-1])
    # What has been seen to the end is no attempt that was given up, however long it took.
    assert calibrated(case, max_epochs=5, max_seconds=0.0, target=1e9)[0] == "callback"


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("talks", "matched", ""),
        ("raises", "crashed", "RuntimeError: the matrix is <singular>"),
        ("exits", "crashed", "the worker died by exit status 3: fatal: assertion failed"),
        ("iskilled", "out of memory", "the worker died by signal SIGKILL, as the system does when memory runs out"),
        ("eatsmemory", "out of memory", "MemoryError: cannot allocate"),
        ("explodes", "diverged", "its loss exploded after 0 epochs"),
        ("stalls", "missed", "no better for 15 epochs (best validation MSE"),
        ("flatters", "missed", "no better for 15 epochs (best validation MSE"),
    ],
)
def test_the_verdict_on_a_planted_fault(case: Case, name: str, status: str, reason: str) -> None:
    record = measure(case, name)
    assert (record["status"], record["reason"][: len(reason)]) == (status, reason)
    assert bool(record["rounds"]) == (status == "matched")


def test_giving_up_is_not_a_miss(case: Case) -> None:
    record = measure(case, "numpy", Limits(max_epochs=2, timeout=60))
    assert (record["status"], record["reason"][:46]) == (
        "timed out",
        "not at the target after the most epochs that ar"[:46],
    )
    record = measure(case, "numpy", Limits(max_seconds=0.0, timeout=60))
    assert (record["status"], record["reason"][:43]) == ("timed out", "not at the target after 0 s of training (be")


@pytest.mark.usefixtures("planted")
def test_a_hang_is_ended_and_its_process_is_gone(case: Case) -> None:
    record = measure(case, "hangs", Limits(timeout=3))
    assert (record["status"], record["reason"]) == ("timed out", "calibrate took longer than 3 s")
    alive = subprocess.run(
        ["pgrep", "-f", "bench.measure.worker", "-P", str(os.getpid())], capture_output=True, text=True
    )
    assert alive.stdout == ""


def test_an_unavailable_backend_is_a_record(case: Case, tmp_path: Path) -> None:
    absent = contender("numpy", available=False, reason="no such device")
    with Measurement(case, absent, Run("r", "c", tmp_path, LIMITS)) as measurement:
        assert not measurement.calibrate()
        assert measurement.wanted_rounds() == 0
        record = measurement.record()
    assert (record["status"], record["reason"]) == ("unavailable", "no such device")


def test_a_case_without_a_target_is_not_measured(case: Case) -> None:
    hopeless = Case(
        case.data,
        case.objective,
        case.facts,
        case.baselines,
        case.reference,
        [{"factor": 1.01, "mse": 1.0, "dropped": "not below the biases alone"}],
        None,
    )
    record = measure(hopeless, "numpy")
    assert record["status"] == "missed"
    assert "no target is left on this data" in record["reason"]


def test_a_miss_in_a_timed_round_fails_the_measurement(case: Case, tmp_path: Path) -> None:
    with Measurement(case, contender("numpy-als"), Run("r", "c", tmp_path, LIMITS)) as measurement:
        measurement.calibrate()
        measurement.calibrations[0]["epochs"] = 1  # too few
        measurement.time_round()
        record = measurement.record()
    assert record["status"] == "missed"
    assert record["reason"].startswith("1 of 1 timed rounds missed; MSE up to")


MACHINE = Machine(
    [{"threads": 1, "memory_gb_per_s": 30.0, "gflop_per_s": 100.0, "chain": [{"rank": n, "ns": 9.0} for n in (2, 4)]}],
    32e6,
)


def epochs_of(case: Case, name: str, machine: Machine = MACHINE, timeout: float = 60, **row: Any) -> RooflineRecord:
    asked = contender(name, dtype="float32", **row)
    options = RooflineOptions(ranks=[2, 4], threads=[1], max_seconds=0.05)
    with tempfile.TemporaryDirectory() as folder:
        run = Run("r", "c", Path(folder), Limits(timeout=timeout))
        return measure_epochs(case, asked, machine, run, key={}, options=options)


def test_the_cost_of_an_epoch_is_measured(case: Case) -> None:
    record = epochs_of(case, "numpy")
    assert (record["status"], record["reason"], record["work_model"]) == ("measured", "", "gradient descent")
    assert [(cost["rank"], cost["threads"]) for cost in record["costs"]] == [(2, 1), (4, 1)]
    for cost in record["costs"]:
        assert 4 <= cost["epochs"] <= 40
        assert cost["seconds"] * 1e9 == pytest.approx(cost["ns"] * case.facts["n_train"])
        assert cost["cpu_seconds"] > 0
    assert record["environment"]["variables"]["OMP_NUM_THREADS"] == "1"


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("talks", "measured", ""),
        ("raises", "crashed", "RuntimeError: the matrix is <singular>"),
        ("iskilled", "out of memory", "the worker died by signal SIGKILL, as the system does when memory runs out"),
        ("explodes", "diverged", "its loss exploded at rank 2"),
        ("hangs", "timed out", "epochs took longer than 3 s"),
    ],
)
def test_a_planted_fault_in_an_epoch(case: Case, name: str, status: str, reason: str) -> None:
    record = epochs_of(case, name, timeout=3 if name == "hangs" else 60, work="gradient descent")
    assert (record["status"], record["reason"][: len(reason)]) == (status, reason)
    assert len(record["costs"]) == (2 if status == "measured" else 0)


def test_a_roofline_that_cannot_be_measured_is_a_record(case: Case) -> None:
    record = epochs_of(case, "numpy", available=False, reason="no such device")
    assert (record["status"], record["reason"]) == ("unavailable", "no such device")
    record = epochs_of(case, "numpy", Machine([], 0.0, Ended("crashed", "the machine's limits were not measured: x")))
    assert (record["status"], record["reason"]) == ("crashed", "the machine's limits were not measured: x")


def test_the_machines_limits_come_from_a_worker() -> None:
    pytest.importorskip("numba")
    machine = measure_machine([4], [1], LIMITS)
    assert machine.failure is None
    assert [one["threads"] for one in machine.limits] == [1]
    assert machine.cache > 0
    late = measure_machine([4], [1], Limits(timeout=0.0)).failure
    assert late is not None
    assert (late.status, late.reason) == (
        "timed out",
        "the machine's limits were not measured: limits took longer than 0 s",
    )


def test_references_are_remembered_by_content(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path))
    calls: list[str] = []
    options = {"rank": 2, "reg": 0.2, "damping": 5.0, "key": case.data.hash}
    first = reference.find_reference(case.data.train, case.data.validation, case.data.test, say=calls.append, **options)
    assert calls
    calls.clear()
    again = reference.find_reference(case.data.train, case.data.validation, case.data.test, say=calls.append, **options)
    assert again == first
    assert first[0] == Objective(2, 0.2, damping=5.0)
    assert not calls


def test_a_reference_depends_on_the_whole_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = reference._entry("abc", 2, None, None)
    assert entry.split()[0] == "abc"
    named = dict(part.split("=") for part in entry.split()[1:])
    facts = {name: str(value) for name, value in asdict(Objective(rank=2)).items()}
    assert named == facts | {"reg": "best", "damping": "best", "method": str(reference._METHOD)}
    assert "reg=0.2 " in reference._entry("abc", 2, 0.2, None)
    assert " damping=5.0 " in reference._entry("abc", 2, None, 5.0)
    for name, value in (("reg_unit", "rating"), ("user_bias_damping", 1.0), ("bias_reg", 0.5)):
        with monkeypatch.context() as patch:  # another default
            patch.setattr(reference, "Objective", partial(Objective, **{name: value}))
            assert reference._entry("abc", 2, None, None) != entry
            assert reference._entry("abc", 2, 0.2, None) != entry


def test_a_reference_is_where_als_converges(case: Case) -> None:
    data = case.data
    found = reference.compute_reference(data.train, data.validation, data.test, case.objective, lambda text: None)
    als = get_backend("numpy-als", **asdict(case.objective)).fit(data.train, epochs=80, evaluate=True)
    assert found["objective"] == pytest.approx(als.history_[-1].objective, rel=1e-3)


def test_the_best_objective_is_the_same_on_any_rating_scale() -> None:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(200 * 60)[:4000], 60)
    taste, kind = rng.normal(size=(200, 2)), rng.normal(size=(60, 2))
    values = 5 + np.einsum("nk,nk->n", taste[users], kind[items]) + 0.5 * rng.normal(size=4000)
    held_out = rng.random(4000) < 0.2

    def parts(scale: float) -> tuple[Ratings, Ratings]:
        ratings = Ratings(users, items, scale * values, 200, 60)
        return ratings.take(~held_out), ratings.take(held_out)

    def score(reg: float, damping: float) -> float:
        train, validation = parts(1.0)
        als = get_backend("numpy-als", rank=2, reg=reg, damping=damping).fit(train, epochs=60)
        return float(np.mean((als.predict(validation.users, validation.items) - validation.ratings) ** 2))

    (best,) = {reference.best_objective(*parts(scale), 2, lambda text: None) for scale in (1.0, 0.01, 100.0)}
    # 25 ratings a user: under the default damping the factors vanish, and the search must not stay there
    assert best.damping < Objective.damping
    found, grids = score(best.reg, best.damping), (reference.REGS, reference.DAMPINGS)
    assert found < 0.5 * score(Objective.reg, Objective.damping)
    at = [grid.index(value) for grid, value in zip(grids, (best.reg, best.damping), strict=True)]
    for axis, step in ((0, -1), (0, 1), (1, -1), (1, 1)):
        there = [at[0] + step * (axis == 0), at[1] + step * (axis == 1)]
        if 0 <= there[axis] < len(grids[axis]):
            assert found < 1.001 * score(grids[0][there[0]], grids[1][there[1]])


def test_what_is_given_is_not_searched_for() -> None:
    train, validation = replace(random_ratings(), encoder=None).split(0.2)
    tried: list[str] = []
    best = reference.best_objective(train, validation, 2, tried.append, reg=0.123)
    assert best.reg == 0.123
    assert all("reg 0.123," in text for text in tried)
    best = reference.best_objective(train, validation, 2, tried.append, reg=0.123, damping=7.0)
    assert best == Objective(2, 0.123, damping=7.0)


@pytest.mark.parametrize("value", [0.1, 3.0])
def test_equal_ratings_have_no_reference(value: float) -> None:
    ratings = Ratings([0, 0, 1], [0, 1, 0], np.full(3, value))
    with pytest.raises(ValueError, match="all training ratings are equal: there is nothing to factorise"):
        reference.best_objective(ratings, ratings, 2, lambda text: None)


def test_the_kept_reference_of_the_quick_data_can_be_computed_again() -> None:
    import json

    from bench.cases.encode import encode
    from bench.cases.reference import _KEPT, _entry, compute_reference
    from bench.datasets import load_dataset

    data = encode(load_dataset("twin", scale=0.02))
    kept = json.loads(_KEPT.read_text("utf-8")).get(_entry(data.hash, 16, None, None))
    if kept is None:
        pytest.skip(f"numpy {np.__version__} draws another twin than the kept references belong to")
    objective = Objective(16, kept["reg"], damping=kept["damping"])
    again = compute_reference(data.train, data.validation, data.test, objective, lambda text: None)
    for name in ("validation_mse", "test_mse", "objective"):
        assert again[name] == pytest.approx(kept["reference"][name], rel=1e-3), name  # type: ignore[literal-required]


def test_bench_reports_no_module_twice() -> None:
    """The worker imports no plotting or testing library: they would count as memory and start-up time."""
    code = (
        "import sys, bench.measure.worker; print([m for m in ('matplotlib', 'pytest', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
