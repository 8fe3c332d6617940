"""Calibration: how many epochs a backend needs to each target, untimed."""

from __future__ import annotations

from bench.records import Calibration, TargetReached

from .protocol import Calibrated
from .session import Session, Setting
from .worker_process import Ended

_REPEATS = 3  # of a backend that is not deterministic; the largest count is taken


class Uncalibrated(Ended):
    """A calibration that ended without a number of epochs; its curve is worth seeing."""

    def __init__(self, end: Ended, calibration: Calibration) -> None:
        super().__init__(end.status, end.reason, end.seconds)
        self.calibration = calibration


def calibrate(session: Session) -> Calibration:
    """Return the calibration of one seed, of a backend that is not deterministic the slowest of several.

    Raises
    ------
    Uncalibrated
        When the target was not reached, or the fit diverged.
    """
    repeats = 1 if session.setting.contender.row.deterministic else _REPEATS
    attempts = []
    for _ in range(repeats):
        answer = session.calibrate()
        if answer.status == "diverged":
            epochs = len(answer.calibration["trace"])
            raise Uncalibrated(Ended("diverged", f"its loss exploded after {epochs} epochs"), answer.calibration)
        attempts.append(answer)
    slowest = _slowest([attempt.calibration for attempt in attempts])
    if slowest["epochs"] is None:
        raise Uncalibrated(_miss(session.setting, slowest, attempts[-1]), slowest)
    return slowest


def training_seconds(calibration: Calibration) -> float:
    """Return the seconds of training to the target."""
    return next((p["seconds"] for p in calibration["trace"] if p["epoch"] == calibration["epochs"]), 0.0)


def _slowest(attempts: list[Calibration]) -> Calibration:
    """Return the attempt that took the most epochs; one that missed counts as the most. Rungs likewise."""

    def count(epochs: int | None) -> float:
        return float("inf") if epochs is None else epochs

    worst = max(attempts, key=lambda attempt: count(attempt["epochs"]))
    rungs = [
        TargetReached(factor=same[0]["factor"], epochs=max((one["epochs"] for one in same), key=count))
        for same in zip(*(attempt["rungs"] for attempt in attempts), strict=True)
    ]
    return Calibration({**worst, "repeats": len(attempts), "rungs": rungs})


def _miss(setting: Setting, calibration: Calibration, last: Calibrated) -> Ended:
    """Say why a calibration did not reach the target: given up too early, or no longer getting better."""
    trace, limits = calibration["trace"], setting.limits
    best = min((point["validation_mse"] for point in trace), default=float("nan"))
    seen = f"best validation MSE {best:.4f} in {len(trace)} epochs, the target is {setting.target['mse']:.4f}"
    trained = trace[-1]["seconds"] if trace else 0.0
    if last.status == "time":
        return Ended("timed out", f"not at the target after {limits.max_seconds:g} s of training ({seen})", trained)
    if last.status == "epochs":
        return Ended("timed out", f"not at the target after the most epochs that are tried ({seen})", trained)
    return Ended("missed", f"no better for {limits.patience} epochs ({seen})")
