"""Time to the matching validation MSE, for every backend: the suite's main measurement.

One test calibrates, times and gates one backend and writes its record. pytest-benchmark is shown the seconds that the
worker measured, through a timer that advances by what the worker reported: processes, pipes and scoring stay outside.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .cases import Case
from .records import write_record
from .runner import Measurement

_clock = {"seconds": 0.0}


def _worker_seconds() -> float:
    return _clock["seconds"]


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")  # by what ends before it is timed
@pytest.mark.benchmark(group="seconds to the matching validation MSE", timer=_worker_seconds)
def test_time_to_matching_mse(
    benchmark: BenchmarkFixture,
    case: Case,
    measured_backend: str,
    backend_rows: dict[str, dict[str, Any]],
    run_options: dict[str, Any],
    run_folder: Path,
    n_rounds: int | None,
    say: Callable[[str], None],
) -> None:
    """Every timed round reaches the target; anything else fails, and is in the record with its reason."""

    def tell(text: str) -> None:
        say(f"{measured_backend}: {text}")

    def one_round() -> None:
        measurement.time_round()
        _clock["seconds"] = measurement.reported_seconds

    with Measurement(case, backend_rows[measured_backend], say=tell, **run_options) as measurement:
        measurement.calibrate()
        rounds = measurement.wanted_rounds() and (n_rounds or measurement.wanted_rounds())
        if rounds:
            _clock["seconds"] = 0.0
            benchmark.pedantic(one_round, rounds=rounds, iterations=1)  # type: ignore[no-untyped-call]  # untyped there
        record = measurement.record()
    write_record(run_folder, record)
    benchmark.extra_info["record"] = record
    if record["status"] == "unavailable":
        pytest.skip(record["reason"])
    assert record["status"] == "matched", record["reason"]
