"""Calibration: how many epochs a backend needs to each target, untimed."""

from __future__ import annotations

from bench.records import Calibration, RungReached


def _slowest(attempts: list[Calibration]) -> Calibration:
    """Return the attempt that took the most epochs; one that missed counts as the most. Rungs likewise."""

    def count(epochs: int | None) -> float:
        return float("inf") if epochs is None else epochs

    worst = max(attempts, key=lambda attempt: count(attempt["epochs"]))
    rungs = [
        RungReached(factor=same[0]["factor"], epochs=max((one["epochs"] for one in same), key=count))
        for same in zip(*(attempt["rungs"] for attempt in attempts), strict=True)
    ]
    return Calibration({**worst, "repeats": len(attempts), "rungs": rungs})


def _training_seconds(calibration: Calibration) -> float:
    """Return the seconds of training to the target."""
    return next((p["seconds"] for p in calibration["trace"] if p["epoch"] == calibration["epochs"]), 0.0)
