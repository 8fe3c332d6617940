"""The cost of an epoch compared with the machine's limits, for every backend with a work model.

One test measures one backend at several ranks and numbers of threads, and writes its record. The
machine's limits are measured once per run, in a worker of their own. pytest-benchmark shows the
epoch at the first rank with all threads, as the worker measured it. See `bench.roofline`.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import asdict
from typing import cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.cases.case import Case
from bench.measure.backend_facts import BackendRow, Contender
from bench.measure.clock import ReportedClock
from bench.measure.fingerprint import result_key
from bench.measure.measurement import Run
from bench.measure.run_folder import RunFolder
from bench.measure.worker_process import Ended
from bench.roofline.measure import Machine, RooflineOptions, measure_epochs, measure_machine
from bench.text.progress import Notify

from .records import EpochCost, RooflineRecord

_clock = ReportedClock()


@pytest.fixture(scope="session")
def limits_of(
    run: Run, roofline_options: RooflineOptions, notify: Notify
) -> Callable[[str], Machine]:
    """Return a function that measures the limits of a device when it is first asked for them."""

    @functools.cache
    def limits_of(device: str) -> Machine:
        if device == "cpu" and importlib.util.find_spec("numba") is None:
            reason = (
                "the machine's limits are measured with numba kernels; "
                "run: pip install 'factorbench[numba]'"
            )
            return Machine([], 0.0, Ended("unavailable", reason))
        what = "the machine" if device == "cpu" else device
        notify(f"roofline: measuring the limits of {what}")
        return measure_machine(roofline_options, run.limits, device)

    return limits_of


# A test that fails before anything is timed does not use the fixture.
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
@pytest.mark.benchmark(timer=_clock)
def test_roofline(
    benchmark: BenchmarkFixture,
    case: Case,
    roofline_backend: str,
    known_backends: dict[str, BackendRow],
    run: Run,
    roofline_options: RooflineOptions,
    planned_folder: RunFolder,
    limits_of: Callable[[str], Machine],
    write: Callable[[RooflineRecord], RooflineRecord],
    notify: Notify,
) -> None:
    """An epoch can be measured at every rank and number of threads."""

    def report(text: str) -> None:
        notify(f"{roofline_backend}: {text}")

    contender = Contender(known_backends[roofline_backend], threads=max(roofline_options.threads))
    facts = contender.facts()
    key = result_key(case.facts, facts, {"roofline": asdict(roofline_options)})
    stored = planned_folder.reusable_record("roofline", case.facts["name"], facts, key, report)
    record = cast("RooflineRecord | None", stored)
    if record is None:
        # Of a device that is not here, the record stands among those of the processor.
        machine = limits_of(contender.row.device if contender.row.available else "cpu")
        record = measure_epochs(
            case, contender, machine, run, key=key, options=roofline_options, notify=report
        )
        record = write(record)
    benchmark.extra_info["record"] = record
    if record["status"] == "unavailable":
        pytest.skip(record["reason"])
    assert record["status"] == "measured", record["reason"]
    at_first_rank = [cost for cost in record["costs"] if cost["rank"] == roofline_options.ranks[0]]
    shown = max(at_first_rank, key=_threads)
    benchmark.group = (
        f"seconds per epoch (median), {shown['rank']} factors, threads: {shown['threads']}"
    )

    benchmark.pedantic(_clock.advance, args=(shown["seconds"],), rounds=1, iterations=1)


def _threads(cost: EpochCost) -> int:
    return cost["threads"]
