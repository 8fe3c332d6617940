"""Calibration: how many epochs a backend needs to reach each target.

Before anything is timed, a fit is scored after every epoch. This shows how many epochs the backend
needs, and the timed rounds then run exactly that many without evaluation. So the time of scoring is
in no result, and no backend gains by stopping early or loses by stopping late.

A backend that is not deterministic needs more epochs in one fit than in the next. It is calibrated
three times, and the largest count is used, so that the timed rounds reach the target too. If one of
these still misses it, `add_epochs` allows more, and they are timed anew.
"""

from __future__ import annotations

from bench.records import Calibration, Target, TargetReached
from bench.text.wording import plural

from .protocol import Calibrated
from .session import Session, Setting, epochs_of
from .worker_process import Ended

_REPEATS = 3  # for a backend that is not deterministic
# A fit that has not improved for so many epochs, nor for as many as it took to its best, would not
# reach the target later, wherever it was stopped.
_LONG_AGO = 20
_MORE = 10  # where its rounds missed the target, the calibration gets a tenth more epochs


class Uncalibrated(Ended):
    """A calibration that found no number of epochs; the report still shows its curve."""

    def __init__(self, end: Ended, calibration: Calibration) -> None:
        super().__init__(end.status, end.reason, end.seconds)
        self.calibration = calibration


def calibrate(session: Session, before: int | None = None) -> Calibration:
    """Return the calibration for the session's seed: of several attempts, the slowest.

    ``before`` is how many epochs another seed took, None if none was calibrated. Where a solver
    starts again for every number of epochs, it is a first guess, as is an earlier attempt's.

    Raises
    ------
    Uncalibrated
        When the target was not reached, or the fit diverged.
    """
    row = session.setting.contender.row
    guess, answers = before, list[Calibrated]()
    for _ in range(1 if row.deterministic else _REPEATS):
        if row.steppable:
            answer = session.calibrate()
        else:
            answer = session.calibrate(guess or 1)
            guess = answer.calibration["epochs"]
        if answer.status == "diverged":
            trace = answer.calibration["trace"]
            reason = f"its loss exploded after {trace[-1]['epoch'] if trace else 0} epochs"
            raise Uncalibrated(Ended("diverged", reason), answer.calibration)
        answers.append(answer)
    slowest = _slowest([answer.calibration for answer in answers])
    # One attempt that missed the target is enough: a timed round would miss it as well.
    if slowest["epochs"] is None:
        raise Uncalibrated(_not_reached(session.setting, slowest, answers[-1]), slowest)
    return slowest


def training_seconds(calibration: Calibration) -> float:
    """Return the seconds of training up to the target, as the calibration saw it."""
    for point in calibration["trace"]:
        if point["epoch"] == epochs_seen(calibration):
            return point["seconds"]
    return 0.0


def epochs_seen(calibration: Calibration) -> int | None:
    """Return after how many epochs the calibration reached the target; None if it did not."""
    epochs = calibration["epochs"]
    return None if epochs is None else epochs - calibration.get("added", 0)


def add_epochs(
    calibration: Calibration, target: Target, missed: int, most_epochs: int
) -> Calibration:
    """Return the calibration with a tenth more epochs to the target, at least one.

    Parameters
    ----------
    calibration, target
        Of the seed whose rounds missed the target.
    missed
        How many of these did.
    most_epochs
        That a fit may have.
    """
    before = epochs_of(calibration)
    epochs = min(before + max(1, before // _MORE), most_epochs)
    reached = []
    for level in calibration["rungs"]:
        needed = level["epochs"]
        is_target = level["factor"] == target["factor"]
        # A tighter target takes no fewer epochs.
        if needed is not None and (is_target or level["factor"] < target["factor"]):
            needed = epochs if is_target else max(needed, epochs)
        reached.append(TargetReached(factor=level["factor"], epochs=needed))
    return Calibration(
        {
            **calibration,
            "epochs": epochs,
            "added": calibration.get("added", 0) + epochs - before,
            "missed": calibration.get("missed", 0) + missed,
            "rungs": reached,
        }
    )


def _slowest(attempts: list[Calibration]) -> Calibration:
    """Return the attempt that needed the most epochs to the target.

    The counts for the other targets are maxima over all attempts, each on its own.
    """
    slowest = max(attempts, key=lambda attempt: _epochs_or_infinity(attempt["epochs"]))
    reached = []
    for position, target in enumerate(slowest["rungs"]):
        counts = [attempt["rungs"][position]["epochs"] for attempt in attempts]
        most = max(counts, key=_epochs_or_infinity)
        reached.append(TargetReached(factor=target["factor"], epochs=most))
    return Calibration({**slowest, "repeats": len(attempts), "rungs": reached})


def _epochs_or_infinity(epochs: int | None) -> float:
    """Return a count of epochs for comparison: a target that was missed takes the longest."""
    return float("inf") if epochs is None else epochs


def _not_reached(setting: Setting, calibration: Calibration, last: Calibrated) -> Ended:
    """Return why a calibration did not reach the target.

    Either it was given up too early to tell, or it had stopped improving.
    """
    trace, limits = calibration["trace"], setting.limits
    best = min(trace, key=lambda point: point["validation_mse"], default=None)
    lowest = f"{best['validation_mse']:.4f} at epoch {best['epoch']}" if best else "none"
    epochs = trace[-1]["epoch"] if trace else 0
    seen = f"best validation MSE {lowest} of {epochs}, the target is {setting.target['mse']:.4f}"
    trained = trace[-1]["seconds"] if trace else 0.0
    restarts = not setting.contender.row.steppable
    since = epochs - best["epoch"] if best else 0
    if not restarts and best and since >= max(best["epoch"], _LONG_AGO):
        return Ended("missed", f"no improvement for {plural(since, 'epoch')} ({seen})")
    # A fit that ended at a limit might have reached the target later. That is a time-out, and the
    # record states how long it trained, so that the report can show "> T".
    if last.status == "time":
        reason = f"not at the target after {limits.max_seconds:g} s of training ({seen})"
        if restarts:
            reason = f"not at the target in a fit of {trained:.3g} s, the longest allowed ({seen})"
        return Ended("timed out", reason, trained)
    if last.status == "epochs":
        reason = f"not at the target after {limits.max_epochs} epochs, the most allowed ({seen})"
        return Ended("timed out", reason, trained)
    if restarts:
        return Ended("missed", f"longer fits are no better ({seen})")
    return Ended("missed", f"no improvement for {limits.patience} epochs ({seen})")
