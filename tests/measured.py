"""One measurement, start to record, for tests of the runner. Collects no tests."""

import tempfile
from pathlib import Path
from typing import Any

from backends import list_backends
from bench.cases.case import Case
from bench.measure.backend_facts import Limits
from bench.measure.measurement import Measurement
from bench.records import Record

LIMITS = Limits(max_epochs=60, max_seconds=30, patience=15, timeout=60)


def measure(case: Case, name: str, limits: Limits = LIMITS, **options: Any) -> Record:
    """Measure a backend as the benchmark does, cold starts and memory included."""
    row: dict[str, Any] = {"name": name, **list_backends().loc[name].to_dict()}
    how: dict[str, Any] = {"dtype": "float64", "threads": 1, "rounds": 2, "run": "r", "command": "c", **options}
    with (
        tempfile.TemporaryDirectory() as folder,
        Measurement(case, row, folder=Path(folder), limits=limits, **how) as measurement,
    ):
        measurement.calibrate()
        for _ in range(measurement.wanted_rounds()):
            measurement.time_round()
        measurement.refit_unseen()
        measurement.start_cold()
        measurement.watch_memory()
        return measurement.record()
