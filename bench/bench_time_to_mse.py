"""The time to the matching validation MSE of every backend: the main measurement of the suite.

One test calibrates and times one backend, checks that it reaches the target, and writes its record.
pytest-benchmark shows the seconds that the worker measured (see `ReportedClock`), without those of
starting processes, exchanging messages and scoring.
"""

from __future__ import annotations

from typing import cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.cases.case import Case
from bench.measure.backend_facts import BackendRow, Contender
from bench.measure.clock import ReportedClock
from bench.measure.measurement import Measurement, Run
from bench.measure.run_folder import RunFolder
from bench.text.progress import Notify

from .options import Selection
from .records import Record, write_record

_clock = ReportedClock()


# A test that fails before anything is timed does not use the fixture.
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
@pytest.mark.benchmark(group="seconds to the matching validation MSE", timer=_clock)
def test_time_to_matching_mse(
    benchmark: BenchmarkFixture,
    case: Case,
    measured_backend: str,
    known_backends: dict[str, BackendRow],
    run: Run,
    run_threads: int,
    selected: Selection,
    run_folder: RunFolder,
    notify: Notify,
) -> None:
    """Every timed round reaches the target."""

    def report(text: str) -> None:
        notify(f"{measured_backend}: {text}")

    def time_round() -> None:
        before = len(measurement.rounds)
        # In a quick run the other targets are timed in the first round only.
        measurement.time_round(rungs=not selected.quick or before == 0)
        # There is no new round if the fit failed.
        _clock.advance(sum(timed["seconds"] for timed in measurement.rounds[before:]))

    contender = Contender(known_backends[measured_backend], threads=run_threads)
    measurement = Measurement(
        case, contender, run, seeds=selected.fit_seeds, rounds=selected.timed_rounds, notify=report
    )
    stored = run_folder.reusable_record(
        "time to MSE", case.facts["name"], measurement.backend, measurement.key, report
    )
    record = cast("Record | None", stored)
    if record is None:
        with measurement:
            if measurement.calibrate():
                benchmark.pedantic(time_round, rounds=measurement.wanted_rounds(), iterations=1)
            measurement.refit_unseen()
            measurement.start_cold()
            measurement.watch_memory()
            record = measurement.record()
        write_record(run_folder.path, record)
    elif record["rounds"]:
        # pytest-benchmark shows the stored seconds, one after the other.
        seconds = iter([timed["seconds"] for timed in record["rounds"]])
        benchmark.pedantic(
            lambda: _clock.advance(next(seconds)), rounds=len(record["rounds"]), iterations=1
        )
    benchmark.extra_info["record"] = record
    # Without a target there was nothing to measure, and the backend has not failed.
    if record["status"] == "unavailable" or record["target"] is None:
        pytest.skip(record["reason"])
    assert record["status"] == "matched", record["reason"]
