"""Checks that disqualify a backend although it reached the target, by measurements alone.

A backend must not use more threads than its budget, and must do all its work inside the timed fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from bench.records import Memory, Round

from .worker_process import Ended

CPU_SLACK = 1.1  # CPU-seconds up to this many times the budget are attributed to the clocks

_LEAST_FITS = 3  # fewer do not show whether every fit leaves threads behind
# A fit of unseen ratings is slow if it takes over this many times a usual round and a millisecond.
_UNSEEN_RATIO, _UNSEEN_SECONDS = 1.5, 0.001


def check_settings(budget: int, settings: Mapping[str, int]) -> None:
    """Raise Ended if a library was set to use more threads than the budget.

    ``settings`` maps the name of each library to its number of threads after a fit.
    """
    excess = [f"{name} to {threads}" for name, threads in settings.items() if threads > budget]
    if excess:
        libraries = ", ".join(excess)
        reason = f"after a fit, threads were set: {libraries}; the budget is {budget}"
        raise Ended("over budget", reason)


def over_budget(
    budget: int, rounds: Sequence[Round], memory: Memory | None, alive: Sequence[Sequence[int]]
) -> Ended | None:
    """Return why a backend used more threads than it was allowed, None if it seems it did not.

    Parameters
    ----------
    budget
        Allowed number of threads.
    rounds
        Timed rounds; their CPU-seconds are compared with their seconds.
    memory
        Contains the number of threads that ran at the same time.
    alive
        For each worker, the number of its threads after each of its fits.
    """
    reasons = [_too_many_cores(budget, rounds), _too_many_running(budget, memory)]
    reasons += [_threads_left_behind(counts) for counts in alive]
    for reason in reasons:
        if reason:
            return Ended("over budget", reason)
    return None


def slower(fits: Sequence[Round], rounds: Sequence[Round]) -> bool:
    """Return whether even the fastest of ``fits`` took clearly longer than the median round."""
    usual = median(timed["seconds"] for timed in rounds)
    fastest = min(fit["seconds"] for fit in fits)
    return fastest > _UNSEEN_RATIO * usual + _UNSEEN_SECONDS


def _too_many_cores(budget: int, rounds: Sequence[Round]) -> str:
    """Return a reason if the rounds used more CPU time than the budget's threads can; else ""."""
    seconds = cpu_seconds = 0.0
    for timed in rounds:
        if timed["cpu_seconds"] is not None:
            seconds += timed["seconds"]
            cpu_seconds += timed["cpu_seconds"]
    if cpu_seconds <= CPU_SLACK * budget * seconds:
        return ""
    cores = cpu_seconds / seconds
    return f"it used {cores:.1f} cores in its timed rounds; the budget is {budget}"


def _too_many_running(budget: int, memory: Memory | None) -> str:
    """Return a reason if more threads ran at the same time than allowed; else "".

    On a busy machine too many threads get no more CPU time than few, but they still want it.
    """
    running = memory["running_threads"] if memory else None
    if running is None or running <= budget:
        return ""
    return f"{running:.0f} of its threads ran at once; the budget is {budget}"


def _threads_left_behind(counts: Sequence[int]) -> str:
    """Return a reason if every fit of a worker left a thread behind; else ""."""
    if len(counts) < _LEAST_FITS:
        return ""
    left = counts[-1] - counts[0]
    if left < len(counts) - 1:
        return ""
    return f"{left} threads stayed behind after {len(counts)} fits"
