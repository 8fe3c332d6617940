"""What an epoch costs, measured: a record whatever happens."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from measured import LIMITS, contender, hurry

from bench.cases.case import Case
from bench.measure.backend_facts import Limits
from bench.measure.measurement import Run
from bench.measure.worker_process import Ended
from bench.records import RooflineRecord
from bench.roofline.measure import Machine, RooflineOptions, measure_epochs, measure_machine

pytestmark = [pytest.mark.load, pytest.mark.process]

MACHINE = Machine(
    [
        {
            "threads": 1,
            "memory_gb_per_s": 30.0,
            "gflop_per_s": 100.0,
            "chain": [{"rank": n, "ns": 9.0} for n in (2, 4)],
        }
    ],
    32e6,
)


def epochs_of(case: Case, name: str, machine: Machine = MACHINE, **row: Any) -> RooflineRecord:
    asked = contender(name, dtype="float32", **row)
    options = RooflineOptions(ranks=[2, 4], threads=[1], max_seconds=0.05)
    with tempfile.TemporaryDirectory() as folder:
        run = Run("r", "c", Path(folder), Limits(timeout=60))
        return measure_epochs(case, asked, machine, run, key={}, options=options)


def test_the_cost_of_an_epoch_is_measured(case: Case) -> None:
    record = epochs_of(case, "numpy")
    assert (record["status"], record["reason"], record["work_model"]) == (
        "measured",
        "",
        "gradient descent",
    )
    assert [(cost["rank"], cost["threads"]) for cost in record["costs"]] == [(2, 1), (4, 1)]
    for cost in record["costs"]:
        assert 4 <= cost["epochs"] <= 40
        assert cost["seconds"] * 1e9 == pytest.approx(cost["ns"] * case.facts["n_train"])
        assert cost["cpu_seconds"] > 0
    assert record["environment"]["variables"]["OMP_NUM_THREADS"] == "1"
    assert "products" not in record


def test_the_record_says_which_products_ran(case: Case) -> None:
    pytest.importorskip("torch")
    assert epochs_of(case, "torch-cpu-gd").get("products") == "sparse"


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("talks", "measured", ""),
        ("raises", "crashed", "RuntimeError: the matrix is <singular>"),
        (
            "iskilled",
            "out of memory",
            "the worker was killed by SIGKILL, as the system does when memory runs out",
        ),
        ("explodes", "diverged", "its loss exploded with 2 factors"),
        ("hangs", "timed out", "epochs took longer than 1 s"),
    ],
)
def test_a_planted_fault_in_an_epoch(
    case: Case, monkeypatch: pytest.MonkeyPatch, name: str, status: str, reason: str
) -> None:
    if name == "hangs":
        hurry(monkeypatch, "epochs", 1)
    record = epochs_of(case, name, work="gradient descent")
    assert (record["status"], record["reason"][: len(reason)]) == (status, reason)
    assert len(record["costs"]) == (2 if status == "measured" else 0)


def test_a_roofline_that_cannot_be_measured_is_a_record(case: Case) -> None:
    record = epochs_of(case, "numpy", available=False, reason="no such device")
    assert (record["status"], record["reason"]) == ("unavailable", "no such device")
    record = epochs_of(
        case,
        "numpy",
        Machine([], 0.0, Ended("crashed", "the machine's limits were not measured: x")),
    )
    assert (record["status"], record["reason"]) == (
        "crashed",
        "the machine's limits were not measured: x",
    )


def test_the_machines_limits_come_from_a_worker() -> None:
    pytest.importorskip("numba")
    options = RooflineOptions(ranks=[4], threads=[1], max_seconds=0.05, turns=3)
    machine = measure_machine(options, LIMITS)
    assert machine.failure is None
    assert [limit["threads"] for limit in machine.limits] == [1]
    assert machine.cache > 0
    late = measure_machine(options, Limits(timeout=0.0)).failure
    assert late is not None
    assert (late.status, late.reason) == (
        "timed out",
        "the machine's limits were not measured: limits took longer than 0 s",
    )
