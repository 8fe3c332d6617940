"""The time to the matching validation MSE of every backend: the main measurement of the suite.

The first test measures all backends in turns, see `bench.measure.turns`; each test checks that one
backend reaches the target. pytest-benchmark shows the seconds that the worker measured (see
`ReportedClock`), without those of starting processes, exchanging messages and scoring.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.measure.clock import ReportedClock

from .records import Record

_clock = ReportedClock()


# A test that fails before anything is timed does not use the fixture.
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
@pytest.mark.benchmark(group="seconds to the matching validation MSE", timer=_clock)
def test_time_to_matching_mse(
    benchmark: BenchmarkFixture,
    measured_backend: str,
    run_threads: int,
    measured: Callable[[str, int], Record],
) -> None:
    """Every timed round reaches the target."""
    record = measured(measured_backend, run_threads)
    if record["rounds"]:
        # One after the other; pytest-benchmark may ask for one more than there are, to profile it.
        seconds = iter([timed["seconds"] for timed in record["rounds"]])
        benchmark.pedantic(
            lambda: _clock.advance(next(seconds, 0.0)), rounds=len(record["rounds"]), iterations=1
        )
    benchmark.extra_info["record"] = record
    # Without a target there was nothing to measure, and the backend has not failed.
    if record["status"] == "unavailable" or record["target"] is None:
        pytest.skip(record["reason"])
    assert record["status"] == "matched", record["reason"]
