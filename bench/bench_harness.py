"""What the harness itself costs inside the timed region: the time that it reports of a fit that takes none.

Set against the fastest backend's seconds, this is the share of a figure that is not the solver's: at most half a
percent is wanted.
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
def test_harness_cost(benchmark: BenchmarkFixture, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that is over at once is timed as every other."""
    solver = get_backend("numpy", **asdict(case.objective), n_jobs=1)
    solver.fit(case.data.train, epochs=1)
    # What it tells of its time has to be true here too.
    vars(solver).update(history_=[], prepare_seconds_=0.0)
    monkeypatch.setattr(solver, "fit", lambda *arguments, **options: solver)
    worker = Worker(io.BytesIO())
    worker.parts = {"train": case.data.train, "validation": case.data.validation}
    monkeypatch.setattr(worker, "solver", lambda: solver)
    request = Time(epochs=1, seed=0, round_number=0, factor=1.01, target=1e9, objective=False)

    def instant() -> None:
        answer = worker.time(request)
        assert isinstance(answer, Timed)
        _clock.advance(answer.round["seconds"])

    benchmark.pedantic(instant, rounds=10, iterations=1, warmup_rounds=1)
