"""One measurement, start to record, for tests of the runner. Collects no tests."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cases.case import Case
from bench.measure import turns
from bench.measure.backend_facts import Contender, Limits, backend_rows
from bench.measure.measurement import Measurement, Run
from bench.measure.worker_process import WorkerProcess
from bench.records import Record

LIMITS = Limits(max_epochs=60, max_seconds=30, patience=15, timeout=60)


def contender(
    name: str, *, threads: int = 1, dtype: str = "float64", label: str = "", **changes: Any
) -> Contender:
    """A backend on one thread, in float64; ``changes`` are of its row."""
    params = changes.pop("params", {})
    return Contender(replace(backend_rows()[name], **changes), threads, dtype, params, label)


def hurry(monkeypatch: pytest.MonkeyPatch, request: str, seconds: float) -> list[float]:
    """Give workers that many seconds for one kind of request, and the usual time for others.

    Returns a list to which the seconds that each such request took are appended.
    """
    ask, took = WorkerProcess.ask, list[float]()

    def hurried(process: Any, asked: Any, timeout: float, *others: Any, **more: Any) -> Any:
        if asked.name != request:
            return ask(process, asked, timeout, *others, **more)
        start = time.monotonic()
        try:
            return ask(process, asked, seconds, *others, **more)
        finally:
            took.append(time.monotonic() - start)

    monkeypatch.setattr(WorkerProcess, "ask", hurried)
    return took


def measure(
    case: Case,
    name: str | Contender,
    limits: Limits = LIMITS,
    *,
    seeds: Sequence[int] = (0,),
    rounds: int = 2,
    cold: bool = True,
) -> Record:
    """Measure a backend as the benchmark does, memory included.

    Cold starts take two processes for each seed; a test that is not about them need not wait.
    """
    asked = contender(name) if isinstance(name, str) else name
    with tempfile.TemporaryDirectory() as folder:
        run = Run("r", "c", Path(folder), limits)
        return measured(Measurement(case, asked, run, seeds=seeds, rounds=rounds), cold)


def measured(measurement: Measurement, cold: bool = True) -> Record:
    """Take all the turns of a measurement that is alone; its record."""
    for place, seed in enumerate(measurement.seeds):
        turns._measure_seed([measurement], seed, place, np.random.default_rng(0), True)
        if cold:
            measurement.start_cold()
    measurement.watch_memory()
    measurement.finish()
    return measurement.record()
