"""How a worker finds the number of epochs that each target takes: what it watches, and restarts.

`Watch` is the callback of a fit that goes on from epoch to epoch. `Restarts` is for solvers that
start again for every number of epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from time import perf_counter

from backends import Factorizer, Progress, Ratings
from bench.cases.targets import meets, mse
from bench.records import TracePoint

from .protocol import Calibrate, Update

_UPDATE_SECONDS = 0.2  # at least this long between two progress messages of a calibration
# A solver that starts again for every number of epochs is tried with this many times more of them,
# until it reaches the target, or so many fits in a row are no better than the best, the last one
# with at least twice its epochs, and so many; how many it takes is then found to this part of them.
_MORE_EPOCHS, _WORSE_IN_A_ROW, _LEAST_EPOCHS, _CLOSE_ENOUGH = 1.5, 2, 20, 20
_DIVERGED = 8  # fits, from 1 to 21 epochs: if none of so many has ended well, none will


class Watch:
    """The callback of a calibration: scores each epoch and decides when enough has been seen.

    Attributes
    ----------
    trace
        One point per epoch.
    scoring
        Seconds that each evaluation took. They are not part of the trace's seconds.
    reached
        The first epoch that met the target; None until then.
    timed_out
        Whether training took too long before enough was seen.
    diverged
        Whether a score was not a finite number.
    """

    def __init__(
        self, request: Calibrate, validation: Ratings, send: Callable[[Update], None]
    ) -> None:
        self.target, self._validation, self._send = request.target, validation, send
        self.tightest = min(request.targets.values())
        self.patience, self.max_seconds = request.patience, request.max_seconds
        self.trace: list[TracePoint] = []
        self.scoring: list[float] = []
        self.reached: int | None = None
        self.timed_out = False
        self.diverged = False
        self._best, self._best_epoch = float("inf"), 0
        self._bests: list[float] = []  # the lowest score up to each epoch
        self._last_update = 0.0

    def __call__(self, progress: Progress) -> bool:
        """Score the model of this epoch; return True to end the fit."""
        epoch, seconds = progress.record.epoch, progress.record.seconds
        score = self.score(progress)
        if self.diverged:
            return True
        if score < self._best:
            self._best, self._best_epoch = score, epoch
        self._bests.append(self._best)
        if self.reached is None and meets(score, self.target):
            self.reached = epoch
        enough = self._is_enough(epoch, seconds)
        self.timed_out = not enough and seconds >= self.max_seconds
        return enough or self.timed_out

    def score(self, progress: Progress) -> float:
        """Return the validation MSE of this epoch, and add it to the trace."""
        start = perf_counter()
        score = mse(progress.model, self._validation)
        self.scoring.append(perf_counter() - start)
        assert score is not None  # a case always has validation ratings
        if not math.isfinite(score):
            self.diverged = True
            return score
        epoch, seconds = progress.record.epoch, progress.record.seconds
        self.trace.append(TracePoint(epoch=epoch, seconds=seconds, validation_mse=score))
        self._send_update(epoch, seconds, score)
        return score

    def first_epoch_at(self, target: float) -> int | None:
        """Return the first epoch whose validation MSE meets a target, None if there is none."""
        epochs = (p["epoch"] for p in self.trace if meets(p["validation_mse"], target))
        return min(epochs, default=None)

    def _is_enough(self, epoch: int, seconds: float) -> bool:
        """Return whether more epochs would add nothing to the calibration."""
        if self.reached is None:
            return epoch - self._best_epoch >= self.patience
        if meets(self._best, self.tightest):
            return True
        # Tighter targets get twice the epochs that the target took, and two more. After these, they
        # must be in reach: improvements become smaller, so a fit at whose present pace the limit
        # comes first has no chance.
        if epoch < 2 * self.reached + 2:
            return False
        span = max(epoch // 4, 2)
        gained = self._bests[-1 - span] - self._best
        if gained <= 0:
            return True
        epochs_left = (self._best - self.tightest) / gained * span
        return seconds * (1 + epochs_left / epoch) > self.max_seconds

    def _send_update(self, epoch: int, seconds: float, score: float) -> None:
        """Report progress, but not so often that it would slow the fit down."""
        now = time.monotonic()
        if now - self._last_update <= _UPDATE_SECONDS:
            return
        self._last_update = now
        text = f"epoch {epoch}, validation MSE {score:.4f} (target {self.target:.4f})"
        self._send(Update(text, seconds))


class Restarts:
    """The fits of a solver that starts again for every number of epochs.

    Attributes
    ----------
    scores
        The validation MSE by number of epochs; infinite for a fit that diverged.
    spent
        Seconds of training of all fits.
    """

    def __init__(self, fit: Callable[[int], Factorizer], watch: Watch, request: Calibrate) -> None:
        self._fit, self.watch, self.request = fit, watch, request
        self.scores: dict[int, float] = {}
        self.spent = 0.0

    def search(self) -> str:
        """Fit with more and more epochs, then close in on the fewest that reach the target.

        Returns the status. The number of epochs grows by half, but not beyond what one fit may
        take; it is found to about a twentieth. A fit that has gone on for too long ends at a larger
        error than a shorter one: then it is looked for beside the best one.
        """
        status = self.grow(self.request.first_epochs)
        if self.watch.reached is None and status == "callback":
            self.look_beside_best()
        if self.watch.reached is not None:
            self.close_in()
        return status

    def grow(self, epochs: int) -> str:
        """Fit with more epochs each time until the target is reached; return the status."""
        request = self.request
        while True:
            solver = self.fit(epochs)
            if self.watch.reached is not None:
                return "callback"
            if self.is_past_the_best(epochs):
                return "callback" if any(map(math.isfinite, self.scores.values())) else "diverged"
            if epochs == request.max_epochs:
                return "epochs"
            preparing = solver.prepare_seconds_
            seconds = max(_seconds_of(solver) - preparing, 1e-9)
            del solver  # whose model need not be there during the next fit
            most = int(0.95 * epochs * (request.max_seconds - preparing) / seconds)
            if most <= epochs or self.spent >= request.total_seconds:
                return "time"
            longer = max(epochs + 1, round(_MORE_EPOCHS * epochs))
            epochs = min(request.max_epochs, longer, most)

    def is_past_the_best(self, epochs: int) -> bool:
        """Return whether the last fits were no better than one of far fewer epochs."""
        scores = list(self.scores.values())
        best = min(scores)
        if not math.isfinite(best):
            return len(scores) >= _DIVERGED
        fewest = min(n for n, score in self.scores.items() if score == best)
        no_better = best < min(scores[-_WORSE_IN_A_ROW:])
        return no_better and epochs >= max(2 * fewest, _LEAST_EPOCHS)

    def look_beside_best(self) -> None:
        """Halve the gaps beside the best number of epochs, to about a twentieth of it.

        Where the error hardly changes from the best fit to those beside it, none between them is
        better by much: of a convex error it is at most twice that, while epochs grow by half. The
        search ends if that would not do.
        """
        while self.watch.reached is None and self.spent < self.request.total_seconds:
            tried = sorted(self.scores)
            place = tried.index(min(self.scores, key=self.scores.__getitem__))
            best = tried[place]
            if place == 0 and best > 1:  # a first guess that is too large
                self.fit(max(1, round(best / _MORE_EPOCHS)))
                continue
            beside = tried[max(place - 1, 0) : place] + tried[place + 1 : place + 2]
            gap = max(beside, key=lambda epochs: abs(epochs - best), default=best)
            if abs(gap - best) <= max(1, best // _CLOSE_ENOUGH):
                return
            rise = max(self.scores[epochs] for epochs in beside) - self.scores[best]
            if self.scores[best] - 2 * rise > self.request.target:
                return
            self.fit((best + gap) // 2)

    def close_in(self) -> None:
        """Find the fewest epochs that reach the target, to about a twentieth."""
        step = 1
        while self.spent < self.request.total_seconds:
            reached = self.watch.reached
            assert reached is not None
            missed = max((epochs for epochs in self.scores if epochs < reached), default=0)
            if reached - missed <= max(1, reached // _CLOSE_ENOUGH):
                return
            # Without a fit that missed, which a good first guess does not leave, steps back double.
            middle = (reached + missed) // 2 if missed else max(1, reached - step)
            step *= 2
            self.fit(middle)

    def fit(self, epochs: int) -> Factorizer:
        """Fit, score the model and note whether it reaches the target; return the solver."""
        solver = self._fit(epochs)
        score = math.inf
        if solver.status_ != "diverged":
            score = self.watch.score(Progress(solver.history_[-1], lambda: solver.model_))
        if not math.isfinite(score):  # which says nothing about other numbers of epochs
            score, self.watch.diverged = math.inf, False
        self.scores[epochs] = score
        self.spent += _seconds_of(solver)
        reached = self.watch.reached
        if meets(score, self.request.target) and (reached is None or epochs < reached):
            self.watch.reached = epochs
        return solver


def _seconds_of(solver: Factorizer) -> float:
    """Return how long a fit took; one that diverged may have no history."""
    history = solver.history_
    seconds: float = history[-1].seconds if history else solver.prepare_seconds_
    return seconds
