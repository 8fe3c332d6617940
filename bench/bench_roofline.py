"""What an epoch costs beside the machine's limits, for every backend whose work has been counted (`roofline`).

One test measures one backend over ranks and numbers of threads and writes its record. The machine's limits are measured
once, in the same run and in a worker of their own. pytest-benchmark is shown the epoch at the first rank on all
threads, by the worker's clock.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.cases.case import Case
from bench.measure.backend_facts import backend_facts
from bench.measure.clock import ReportedClock
from bench.measure.fingerprint import result_key
from bench.measure.run_folder import RunFolder
from bench.roofline.measure import Machine, measure_epochs, measure_machine

from .records import EpochCost, RooflineRecord, write_record

_clock = ReportedClock()


@pytest.fixture(scope="session")
def machine(run_options: dict[str, Any], roofline_options: dict[str, Any], say: Callable[[str], None]) -> Machine:
    """Measure the machine's limits."""
    if importlib.util.find_spec("numba") is None:
        pytest.skip("the machine's limits are measured by numba kernels; run: pip install 'factorbench[numba]'")
    say("roofline: measuring the machine's limits")
    return measure_machine(roofline_options["ranks"], roofline_options["threads"], run_options["limits"])


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")  # by what ends before it is timed
@pytest.mark.benchmark(timer=_clock)
def test_roofline(
    benchmark: BenchmarkFixture,
    request: pytest.FixtureRequest,
    case: Case,
    roofline_backend: str,
    backend_rows: dict[str, dict[str, Any]],
    run_options: dict[str, Any],
    roofline_options: dict[str, Any],
    run_folder: RunFolder,
    say: Callable[[str], None],
) -> None:
    """The cost of an epoch is measured at every rank and number of threads; anything else fails, with its reason."""

    def tell(text: str) -> None:
        say(f"{roofline_backend}: {text}")

    row = backend_rows[roofline_backend]
    facts = backend_facts(row, "float32", max(roofline_options["threads"]))
    key = result_key(case.facts, facts, {"roofline": roofline_options})
    kept = run_folder.kept("roofline", case.facts["name"], facts, key, tell)
    record = cast("RooflineRecord", kept) if kept else None
    if record is None:
        machine = request.getfixturevalue("machine")
        record = measure_epochs(case, row, machine, key=key, **run_options | roofline_options, say=tell)
        write_record(run_folder.path, record)
    benchmark.extra_info["record"] = record
    if record["status"] == "unavailable":
        pytest.skip(record["reason"])
    assert record["status"] == "measured", record["reason"]
    shown = max((one for one in record["costs"] if one["rank"] == roofline_options["ranks"][0]), key=_threads)
    benchmark.group = f"seconds per epoch (median), rank {shown['rank']}, threads: {shown['threads']}"

    benchmark.pedantic(_clock.advance, args=(shown["seconds"],), rounds=1, iterations=1)


def _threads(cost: EpochCost) -> int:
    return cost["threads"]
