"""The overhead of the harness: the time that it reports for a fit that does nothing.

It is part of every timed fit. Compared with the seconds of the fastest backend it should be at most
half a percent.
"""

from __future__ import annotations

import io
from dataclasses import asdict

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from backends import get_backend
from bench.cases.case import Case
from bench.measure.clock import ReportedClock
from bench.measure.protocol import Time, Timed
from bench.measure.worker import Worker

_clock = ReportedClock()


@pytest.mark.benchmark(group="the harness's own cost in a timed fit", timer=_clock)
def test_harness_cost(
    benchmark: BenchmarkFixture, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time a fit that returns at once in the same way as any other."""
    solver = get_backend("numpy", **asdict(case.objective), n_jobs=1)
    solver.fit(case.data.train, epochs=1)
    # The worker compares the solver's own times with its clock, so they have to be true here too.
    vars(solver).update(history_=[], prepare_seconds_=0.0)
    monkeypatch.setattr(solver, "fit", lambda *arguments, **options: solver)
    worker = Worker(io.BytesIO())
    worker.ratings = {"train": case.data.train, "validation": case.data.validation}
    monkeypatch.setattr(worker, "solver", lambda: solver)
    request = Time(epochs=1, seed=0, round_number=0, factor=1.01, target=1e9, objective=False)

    def instant() -> None:
        answer = worker.time(request)
        assert isinstance(answer, Timed)
        _clock.advance(answer.round["seconds"])

    benchmark.pedantic(instant, rounds=10, iterations=1, warmup_rounds=1)
