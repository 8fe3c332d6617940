"""Time to the matching validation MSE, for every backend: the suite's main measurement.

One test calibrates, times and gates one backend and writes its record. pytest-benchmark is shown the seconds that the
worker measured, through a timer that advances by what the worker reported: processes, pipes and scoring stay outside.
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
from bench.text.progress import Say

from .options import Selection
from .records import Record, write_record

_clock = ReportedClock()


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")  # by what ends before it is timed
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
    say: Say,
) -> None:
    """Every timed round reaches the target; anything else fails, and is in the record with its reason."""

    def tell(text: str) -> None:
        say(f"{measured_backend}: {text}")

    def one_round() -> None:
        before = len(measurement.rounds)
        measurement.time_round()
        _clock.advance(sum(one["seconds"] for one in measurement.rounds[before:]))

    contender = Contender(known_backends[measured_backend], threads=run_threads)
    measurement = Measurement(case, contender, run, seeds=selected.fit_seeds, rounds=selected.rounds, say=tell)
    kept = run_folder.kept("time to MSE", case.facts["name"], measurement.backend, measurement.key, tell)
    record = cast("Record", kept) if kept else None
    if record is None:
        with measurement:
            if measurement.calibrate():
                benchmark.pedantic(one_round, rounds=measurement.wanted_rounds(), iterations=1)
            measurement.refit_unseen()
            measurement.start_cold()
            measurement.watch_memory()
            record = measurement.record()
        write_record(run_folder.path, record)
    elif record["rounds"]:
        seconds = iter([one["seconds"] for one in record["rounds"]])
        benchmark.pedantic(lambda: _clock.advance(next(seconds)), rounds=len(record["rounds"]), iterations=1)
    benchmark.extra_info["record"] = record
    if record["status"] == "unavailable":
        pytest.skip(record["reason"])
    assert record["status"] == "matched", record["reason"]
