"""The process in which one backend is fitted and timed, and nothing else happens.

It reads one request per line on standard input and answers each on the channel that was its standard output, see
`protocol`; whatever libraries print goes to standard error. It owns the clock. `WorkerProcess` is its only caller.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import os
import signal
import statistics
import sys
import time
import warnings
from copy import copy
from pathlib import Path
from time import perf_counter  # before a backend can put another clock in its place
from typing import IO, Any

import msgspec
import numpy as np

from backends import BackendUnavailable, DivergenceWarning, Factorizer, Progress, Ratings, get_backend
from bench.cases.case_file import read_case
from bench.cases.targets import meets, mse
from bench.machine.energy import read_energy, spent_between
from bench.machine.environment import peak_memory_mb, process_facts, thread_settings
from bench.machine.processes import cpu_seconds, cpu_times, sample
from bench.records import Calibration, Round, TracePoint

from .protocol import (
    AnyRequest,
    Calibrate,
    Calibrated,
    Diverged,
    EpochSeconds,
    FitMemory,
    Inconsistent,
    MachineFound,
    MeasureEpochs,
    MeasureMachine,
    Message,
    Open,
    Opened,
    Time,
    Timed,
    Update,
    Warm,
    Warmed,
    WatchMemory,
    as_done,
    as_failed,
    as_line,
)

_WARM_RATINGS = 2000  # enough for every code path, too few to cost anything
_CLOCK_SLACK = 1e-3  # seconds that a solver's own clock may be off
_LEAST_EPOCHS, _MOST_EPOCHS = 4, 40  # that the median cost of an epoch is of


class Worker:
    """The answers to the requests; `answer` finds the method of each."""

    def __init__(self, channel: IO[bytes]) -> None:
        self.channel = channel
        self.parts: dict[str, Ratings] = {}
        self.make: dict[str, Any] = {}

    def answer(self, request: AnyRequest) -> Any:
        """Do what is asked, and return the answer, of the type that the request names."""
        match request:
            case Open():
                return self.open(request)
            case Warm():
                return self.warm(request)
            case Calibrate():
                return self.calibrate(request)
            case Time():
                return self.time(request)
            case WatchMemory():
                return self.memory(request)
            case MeasureEpochs():
                return self.epochs(request)
            case MeasureMachine():
                from bench.machine.limits import last_level_cache, measure_limits

                return MachineFound(measure_limits(request.ranks, request.threads), last_level_cache())

    def open(self, request: Open) -> Opened:
        """Load the case's arrays and import the backend."""
        self.parts = read_case(request.path)
        self.make = {"name": request.backend, **request.params}
        start = perf_counter()
        solver = self.solver()
        return Opened(perf_counter() - start, _device(solver))

    def solver(self) -> Factorizer:
        """Make a new solver, so that no state survives from one fit to the next."""
        return get_backend(**self.make)

    def warm(self, request: Warm) -> Warmed:
        """Compile by a fit on few ratings: it takes so much longer than a second one."""
        train = self.parts["train"]
        few = slice(0, _WARM_RATINGS)
        small = Ratings(train.users[few], train.items[few], train.ratings[few], train.n_users, train.n_items)
        took = []
        for _ in range(2):
            start = perf_counter()
            self.solver().fit(small, epochs=2, seed=request.seed)
            took.append(perf_counter() - start)
        return Warmed(max(took[0] - took[1], 0.0), process_facts())

    def calibrate(self, request: Calibrate) -> Calibrated:
        """Fit with evaluation after each epoch, as far as `Calibrate` says."""
        watch = _Watch(self, request)
        solver = self._fit(self.fresh_train(), epochs=request.max_epochs, seed=request.seed, callback=watch)
        status = str(solver.status_)
        if watch.lost:
            status = "diverged"
        elif watch.timed_out and status == "callback":
            status = "time"
        reached = {
            name: next((p["epoch"] for p in watch.trace if meets(p["validation_mse"], goal)), None)
            for name, goal in request.rungs.items()
        }
        calibration = Calibration(
            seed=request.seed,
            epochs=watch.reached,
            repeats=1,
            evaluation_seconds=statistics.median(watch.scoring) if watch.scoring else None,
            trace=watch.trace,
            rungs=[{"factor": float(name), "epochs": epochs} for name, epochs in reached.items()],
        )
        return Calibrated(calibration, status)

    def time(self, request: Time) -> Timed | Diverged | Inconsistent:
        """Time one fit from unsorted ratings with empty caches, then score its model.

        The model of a fit of unseen ratings has no score that means anything.
        """
        epochs, seed = request.epochs, request.seed
        train, solver = self.unseen_train() if request.unseen else self.fresh_train(), self.solver()
        # The same draw for all, as fit would make it itself: no part of any solver. From a copy, so that what ratings
        # keep of themselves once it is computed is computed inside the clock.
        initial = solver.initial_parameters(copy(train), seed)
        gc.collect()
        device = _device(solver)
        energy, machine, cpu = read_energy(device), cpu_times(), cpu_seconds()
        start = perf_counter()
        # The fit ends by copying the model to the host, so a device has finished when the clock stops.
        solver = self._fit(train, solver, epochs=epochs, initial=initial, seed=seed)
        seconds = perf_counter() - start
        cpu, after, joules = cpu_seconds() - cpu, cpu_times(), spent_between(energy, read_energy(device))
        if solver.status_ == "diverged":
            return Diverged()
        claimed = solver.history_[-1].seconds if solver.history_ else solver.prepare_seconds_
        if claimed > seconds + _CLOCK_SLACK:
            return Inconsistent(claimed, seconds)
        scores = (
            mse(solver.model_, self.parts["validation"]),
            mse(solver.model_, self.parts.get("test")),
            solver.objective.value(solver.model_.parameters, train) if request.objective else None,
        )
        if any(score is not None and not math.isfinite(score) for score in scores):
            return Diverged()
        score, test_mse, objective = scores
        assert score is not None
        marks = [solver.prepare_seconds_, *(one.seconds for one in solver.history_)]
        each = np.diff(marks).tolist() if len(solver.history_) == epochs else []
        result = Round(
            round=request.round_number,
            seed=seed,
            factor=request.factor,
            seconds=seconds,
            prepare_seconds=solver.prepare_seconds_,
            first_epoch_seconds=each[0] if each else None,
            epoch_seconds=statistics.median(each[1:]) if len(each) > 1 else None,
            cpu_seconds=cpu,
            others_seconds=after.busy - machine.busy - cpu if machine and after else None,
            stolen_seconds=after.stolen - machine.stolen if machine and after else None,
            energy_joules=joules,
            validation_mse=score,
            test_mse=test_mse,
            objective=objective,
            matched=request.target is not None and meets(score, request.target),
        )
        del solver
        alive = sample(os.getpid())
        return Timed(result, thread_settings(), alive.threads if alive else None)

    def memory(self, request: WatchMemory) -> FitMemory:
        """Fit, and return what was resident before, and at most since then, and what the device held at most."""
        train, solver = self.fresh_train(), self.solver()
        gc.collect()
        device = _device(solver)
        on_device = sys.modules["torch"].cuda if device.startswith("cuda") else None
        if on_device:
            on_device.reset_peak_memory_stats(device)
        before = sample(os.getpid()) if _forget_peak() else None
        self._fit(train, solver, epochs=request.epochs, seed=request.seed)
        return FitMemory(
            before_mb=before.resident_mb if before else None,
            peak_mb=peak_memory_mb(),
            device_mb=on_device.max_memory_allocated(device) / 2**20 if on_device else None,
        )

    def epochs(self, request: MeasureEpochs) -> EpochSeconds | Diverged:
        """Fit with nothing evaluated; return the median wall and CPU seconds of an epoch, the first left out.

        There are `_LEAST_EPOCHS` to `_MOST_EPOCHS` after the first: no more once they took ``max_seconds``.
        """
        self.make |= {"rank": request.rank, "n_jobs": request.threads}
        marks: list[tuple[float, float]] = []

        def mark(progress: Progress) -> bool:
            marks.append((progress.record.seconds, time.process_time()))
            return len(marks) > _LEAST_EPOCHS and marks[-1][0] - marks[0][0] > request.max_seconds

        solver = self._fit(self.fresh_train(), epochs=1 + _MOST_EPOCHS, seed=request.seed, callback=mark)
        if solver.status_ == "diverged":
            return Diverged()
        seconds, cpu_seconds = np.median(np.diff(marks, axis=0), axis=0).tolist()
        return EpochSeconds(len(marks) - 1, seconds, cpu_seconds)

    def fresh_train(self) -> Ratings:
        """Copy the training ratings, as the file had them: whatever a solver cached with the old ones is gone."""
        train = self.parts["train"]
        return Ratings(train.users, train.items, train.ratings, train.n_users, train.n_items)

    def unseen_train(self) -> Ratings:
        """Return the same problem with other contents: rows in another order, ratings on the other end of the scale.

        Counts, shapes and the work of a fit stay what they are, so that what a solver compiled for them serves. The
        scale is a hair longer each time, as a sum or a mean of ratings may be all that results are kept by.
        """
        train, rng = self.parts["train"], np.random.default_rng()  # of no seed: whoever keeps results cannot have it
        order = rng.permutation(len(train))
        longer = train.ratings.dtype.type(1 + 1e-3 * rng.random())
        turned = longer * (train.ratings.min() + train.ratings.max() - train.ratings)[order]
        return Ratings(train.users[order], train.items[order], turned, train.n_users, train.n_items)

    def send(self, message: Message) -> None:
        """Write one message."""
        self.channel.write(as_line(message))
        self.channel.flush()

    def _fit(self, train: Ratings, solver: Factorizer | None = None, **options: Any) -> Factorizer:
        """Fit all epochs unless a callback ends it; the model is that of the last epoch."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)  # it is read off the status
            return (solver or self.solver()).fit(train, keep="last", patience=None, **options)


class _Watch:
    """The callback of a calibration: keeps the trace, reports progress, decides when enough has been seen."""

    def __init__(self, worker: Worker, request: Calibrate) -> None:
        self.worker, self.target, self.tightest = worker, request.target, min(request.rungs.values())
        self.patience, self.max_seconds = request.patience, request.max_seconds
        self.trace: list[TracePoint] = []
        self.scoring: list[float] = []  # seconds
        self.reached: int | None = None
        self.timed_out = False  # training took too long before enough was seen
        self.lost = False  # a score was no number
        self.best, self.best_epoch, self.told = float("inf"), 0, 0.0

    def __call__(self, progress: Progress) -> bool:
        start = perf_counter()
        score = mse(progress.model, self.worker.parts["validation"])
        self.scoring.append(perf_counter() - start)
        assert score is not None
        if not math.isfinite(score):
            self.lost = True
            return True
        epoch = progress.record.epoch
        self.trace.append(TracePoint(epoch=epoch, seconds=progress.record.seconds, validation_mse=score))
        if score < self.best:
            self.best, self.best_epoch = score, epoch
        if self.reached is None and meets(score, self.target):
            self.reached = epoch
        if time.monotonic() - self.told > 0.2:
            self.told = time.monotonic()
            told = f"epoch {epoch}, validation MSE {score:.4f} (target {self.target:.4f})"
            self.worker.send(Update(told, progress.record.seconds))
        if self.reached is None:
            enough = epoch - self.best_epoch >= self.patience
        else:
            enough = meets(score, self.tightest) or epoch >= 2 * self.reached + 2
        self.timed_out = not enough and progress.record.seconds >= self.max_seconds
        return enough or self.timed_out


def _device(solver: Factorizer) -> str:
    return str(getattr(solver, "device", "cpu"))


def _forget_peak() -> bool:
    """Let the peak of the resident memory start anew; return whether the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
    except OSError:
        return False
    return True


def _die_with_the_parent() -> None:
    """Leave nothing behind when the parent is killed, and be the first to go when memory runs out (Linux)."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):
        prctl = ctypes.CDLL(None).prctl
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what a backend starts is counted, also when it cuts its ties
        Path("/proc/self/oom_score_adj").write_text("1000", "utf-8")


def main() -> None:
    """Answer requests until standard input ends."""
    _die_with_the_parent()
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker(channel)
    decoder = msgspec.json.Decoder(AnyRequest)
    for line in sys.stdin.buffer:
        try:
            answer = worker.answer(decoder.decode(line))
            worker.send(as_done(answer))
        except BackendUnavailable as error:
            worker.send(as_failed("unavailable", str(error)))
        except MemoryError as error:
            worker.send(as_failed("out of memory", f"MemoryError: {error}"))
        except Exception as error:  # whatever a backend does wrong becomes a record, not the end of the run
            worker.send(as_failed("crashed", f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
