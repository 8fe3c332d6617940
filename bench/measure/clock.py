"""The clock for pytest-benchmark: it shows the seconds that a worker measured, and nothing else."""

from __future__ import annotations


class ReportedClock:
    """A timer that moves only when it is advanced by a worker's measurement.

    So the time of starting processes, exchanging messages and scoring models stays out of
    pytest-benchmark's results.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.seconds += seconds
