"""Verdicts on what was measured: CPU-seconds, threads at once, and threads that stay."""

import pytest

from bench.measure.fair_play import check_settings, over_budget, slower
from bench.measure.worker_process import Ended
from bench.records import Memory, Round
from tests.fake_records import fake_record


def rounds_of(seconds: float, cpu: float | None, n: int = 3) -> list[Round]:
    (template, *_) = fake_record("numpy")["rounds"]
    return [Round({**template, "seconds": seconds, "cpu_seconds": cpu}) for _ in range(n)]


def memory(running: float | None) -> Memory:
    return Memory(peak_mb=1.0, fit_mb=1.0, device_mb=None, running_threads=running)


def said(end: Ended | None) -> str:
    """The reason for a verdict about the budget; "" if there is none."""
    if end is None:
        return ""
    assert end.status == "over budget"
    return str(end).partition(";")[0]


@pytest.mark.parametrize(
    ("budget", "cpu", "reason"),
    [
        (1, None, ""),
        (1, 1.05, ""),
        (1, 1.2, "it used 1.2 cores in its timed rounds"),
        (2, 2.1, ""),
        (2, 2.5, "it used 2.5 cores in its timed rounds"),
    ],
)
def test_cpu_seconds_over_the_budget(budget: int, cpu: float | None, reason: str) -> None:
    assert said(over_budget(budget, rounds_of(1.0, cpu), None, [])) == reason


@pytest.mark.parametrize(
    ("running", "reason"),
    [(None, ""), (2.0, ""), (3.0, "3 of its threads ran at once")],
)
def test_threads_at_once_over_the_budget(running: float | None, reason: str) -> None:
    assert said(over_budget(2, rounds_of(1.0, 1.0), memory(running), [])) == reason


@pytest.mark.parametrize(
    ("alive", "left"),
    [([5, 6], 0), ([5, 6, 6], 0), ([5, 6, 7], 2), ([5, 5, 5, 5], 0), ([5, 6, 7, 8], 3)],
)
def test_threads_that_stay_after_each_fit(alive: list[int], left: int) -> None:
    reason = f"{left} threads stayed behind after {len(alive)} fits" if left else ""
    assert said(over_budget(1, rounds_of(1.0, 1.0), None, [[3, 3, 3], alive])) == reason


def test_libraries_set_to_more_threads_than_the_budget() -> None:
    check_settings(2, {"openblas": 2, "openmp": 1})
    reason = "after a fit, threads were set: openblas to 3; the budget is 2"
    with pytest.raises(Ended, match=reason):
        check_settings(2, {"openblas": 3, "openmp": 1})


def test_slower_is_by_the_quickest_fit_and_the_usual_round() -> None:
    usual = [row for seconds in (9.0, 1.0, 1.0) for row in rounds_of(seconds, None, 1)]
    for seconds, expected in ((1.4, False), (1.6, True)):
        fits = rounds_of(9.0, None, 2) + rounds_of(seconds, None, 1)
        assert slower(fits, usual) is expected
    assert not slower(rounds_of(0.0008, None), rounds_of(0.0001, None))  # within a clock's error
