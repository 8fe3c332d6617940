"""What takes a backend out of the ranking though it reached the target: judged by what was measured alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from bench.records import Memory, Round

from .worker_process import Ended

CPU_SLACK = 1.1  # CPU-seconds over the budget that are still put down to the clock

_LEAST_FITS = 3  # that show whether threads stay behind after each
_UNSEEN, _UNSEEN_SECONDS = 1.5, 0.001  # times, and seconds over a round, that a fit of new ratings may take


def check_settings(budget: int, settings: Mapping[str, int]) -> None:
    """Raise Ended where a library was set to more threads than the budget."""
    over = [f"{name} to {threads}" for name, threads in settings.items() if threads > budget]
    if over:
        raise Ended("over budget", f"after a fit, threads were set: {', '.join(over)}; the budget is {budget}")


def over_budget(
    budget: int, rounds: Sequence[Round], memory: Memory | None, alive: Sequence[Sequence[int]]
) -> Ended | None:
    """Return the verdict on a backend that used more threads than it was allowed, as far as can be seen.

    Parameters
    ----------
    budget
        Threads that it was allowed.
    rounds
        Whose CPU-seconds are held against their seconds.
    memory
        Holds the threads that ran at once.
    alive
        Threads of each worker after each of its fits.
    """
    timed = [one for one in rounds if one["cpu_seconds"] is not None]
    seconds, cpu = sum(one["seconds"] for one in timed), sum(one["cpu_seconds"] or 0.0 for one in timed)
    if timed and cpu > CPU_SLACK * budget * seconds:
        return Ended("over budget", f"it used {cpu / seconds:.1f} cores in its timed rounds; the budget is {budget}")
    running = memory["running_threads"] if memory else None
    if running is not None and running > budget:
        return Ended("over budget", f"{running:.0f} of its threads ran at once; the budget is {budget}")
    for counts in alive:
        left = counts[-1] - counts[0]
        if len(counts) >= _LEAST_FITS and left >= len(counts) - 1:
            return Ended("over budget", f"{left} threads stayed behind after {len(counts)} fits")
    return None


def slower(fits: Sequence[Round], rounds: Sequence[Round]) -> bool:
    """Tell whether even the quickest of some fits took longer than rounds usually do."""
    usual = median(one["seconds"] for one in rounds)
    return min(one["seconds"] for one in fits) > _UNSEEN * usual + _UNSEEN_SECONDS
