"""The clock that pytest-benchmark is shown: it stands still but for what a worker reported."""

from __future__ import annotations


class ReportedClock:
    """A timer for pytest-benchmark; what processes, pipes and scoring take in between is not on it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let some time pass."""
        self.seconds += seconds
