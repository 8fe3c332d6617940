"""The process in which one backend runs, and nothing else. It owns the clock of the timed fits.

`main` reads requests from standard input, one line of JSON each, and answers them in order::

    one request  ->  Worker.answer  ->  Update lines, if it takes long  ->  one Done or Failed line

`Open` comes first and loads the data, then `Warm` compiles the backend; `protocol` describes all
requests. The answers go to what was standard output when the process started. Standard output
itself is redirected to standard error, because libraries print to it, and standard input is empty
for them.

Every fit gets a new solver and a new `Ratings` object, so that nothing that these keep is available
to the next fit. What a backend keeps elsewhere is found by fits of ratings that it has not seen,
see `Worker.ratings_of`. `Worker._timed_fit` is the measurement that the whole project is about:
read it first. The only caller of this process is `worker_process.WorkerProcess`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import math
import os
import signal
import statistics
import sys
import time
import traceback
import warnings
from copy import copy
from importlib import metadata
from pathlib import Path
from time import perf_counter  # by name: whatever a backend does to the module `time`, this stays
from typing import IO, Any, NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from backends import (
    BackendUnavailable,
    DivergenceWarning,
    Factorizer,
    Parameters,
    Progress,
    Ratings,
    get_backend,
    mean_squared_error,
)
from bench.cases.case_file import read_case
from bench.cases.lists import list_metrics, model_scorer
from bench.cases.targets import meets, mse
from bench.machine import from_proc
from bench.machine.energy import read_energy, spent_between
from bench.machine.environment import (
    package_versions,
    peak_memory_mb,
    process_facts,
    python_version,
    thread_settings,
)
from bench.machine.processes import cpu_seconds, cpu_times, sample
from bench.records import Calibration, Library, Round, TracePoint

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
    RatingsKind,
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

_WARM_RATINGS = 2000  # enough to run every code path, too few to take noticeable time
_CLOCK_SLACK = 1e-3  # seconds by which a solver's own clock may differ from ours
_UPDATE_SECONDS = 0.2  # at least this long between two progress messages of a calibration
# A solver that starts again for every number of epochs is tried with this many times more of them,
# until it reaches the target, or so many fits in a row are no better; how many it takes is then
# found to this part of them.
_MORE_EPOCHS, _WORSE_IN_A_ROW, _CLOSE_ENOUGH = 1.5, 3, 20
# `Worker.epochs` takes the median over at least and at most this many epochs.
_LEAST_EPOCHS, _MOST_EPOCHS = 3, 40

# Options of Linux's prctl, from <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Worker:
    """Answers requests, one method per kind of request.

    Attributes
    ----------
    channel
        Where answers are written.
    ratings
        The case's ratings: "train", "validation" and, where the case has them, "test".
    solver_arguments
        Arguments of `backends.get_backend` for the backend under test: its name and parameters.
    starts_alike
        Whether the backend starts from the parameters that `Factorizer` draws. A start of its own
        is part of its work.
    """

    def __init__(self, channel: IO[bytes]) -> None:
        self.channel = channel
        self._pid = os.getpid()
        self.ratings: dict[str, Ratings] = {}
        self.solver_arguments: dict[str, Any] = {}
        self.starts_alike = True

    def answer(self, request: AnyRequest) -> Any:
        """Carry out a request and return its answer, whose type is ``request.answer``."""
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
                # Imported only here: what a worker imports is counted as its backend's memory.
                from bench.machine.limits import last_level_cache, measure_limits

                limits = measure_limits(request.ranks, request.threads, request.turns)
                return MachineFound(limits, last_level_cache())

    def open(self, request: Open) -> Opened:
        """Load the case's ratings, then time importing the backend and creating a first solver."""
        self.ratings = read_case(request.path)
        self.solver_arguments = {"name": request.backend, **request.params}
        start = perf_counter()
        solver = self.solver()
        for module in getattr(solver, "modules", ()):  # an adapter's library
            importlib.import_module(module)
        seconds = perf_counter() - start
        versions = python_version(), package_versions()
        return Opened(seconds, _device(solver), *versions, _library(solver))

    def solver(self) -> Factorizer:
        """Return a new solver, so that no state survives from one fit to the next."""
        return get_backend(**self.solver_arguments)

    def warm(self, request: Warm) -> Warmed:
        """Compile the backend by fitting a few ratings twice.

        Only the first fit compiles, so the difference between the two is the time of compilation
        (and of whatever else happens only once, such as starting a device).
        """
        train = self.ratings["train"]
        few = slice(0, None if getattr(self.solver(), "warms_with_all", False) else _WARM_RATINGS)
        small = Ratings(
            train.users[few], train.items[few], train.ratings[few], train.n_users, train.n_items
        )
        seconds = []
        for _ in range(2):
            start = perf_counter()
            self.solver().fit(small, epochs=2, seed=request.seed)
            seconds.append(perf_counter() - start)
        solver = self.solver()
        own = solver.initial_parameters(small, request.seed).arrays()
        drawn = Factorizer.initial_parameters(solver, small, request.seed).arrays()
        self.starts_alike = getattr(solver, "takes_start", True) and all(
            np.array_equal(own[name], drawn[name]) for name in drawn
        )
        return Warmed(max(seconds[0] - seconds[1], 0.0), process_facts())

    def calibrate(self, request: Calibrate) -> Calibrated:
        """Fit with an evaluation after each epoch, until `_Watch` ends it or epochs run out.

        A solver that starts again for every number of epochs is fitted again and again, see
        `_restart`; only its last fit counts for the seconds at which it is given up.
        """
        watch, solver = _Watch(self, request), self.solver()
        if solver.steppable:
            options: dict[str, Any] = {"epochs": request.max_epochs, "callback": watch}
            solver = self._fit(self.fresh_train(), solver, seed=request.seed, **options)
            status = str(solver.status_)
        else:
            status = self._restart(watch, request)
        if watch.diverged:
            status = "diverged"
        elif watch.timed_out and status == "callback":
            status = "time"
        calibration = Calibration(
            seed=request.seed,
            epochs=watch.reached,
            repeats=1,
            evaluation_seconds=statistics.median(watch.scoring) if watch.scoring else None,
            trace=sorted(watch.trace, key=lambda point: point["epoch"]),
            rungs=[
                {"factor": float(name), "epochs": watch.first_epoch_at(target)}
                for name, target in request.targets.items()
            ],
        )
        return Calibrated(calibration, status)

    def _restart(self, watch: _Watch, request: Calibrate) -> str:
        """Fit with more and more epochs, then close in on the fewest that reach the target.

        Returns the status. The number of epochs grows by half, but not beyond what one fit may
        take; it is found to about a twentieth. A fit that has gone on for too long ends at a larger
        error than a shorter one: then it is looked for beside the best one.
        """
        fits = _Fits(self, watch, request)
        status = fits.grow(request.first_epochs)
        if watch.reached is None and status == "callback":
            fits.look_beside_best()
        if watch.reached is not None:
            fits.close_in()
        return status

    def time(self, request: Time) -> Timed | Diverged | Inconsistent:
        """Time one fit of ratings of the requested kind, then score its model."""
        train, validation = self.ratings_of(request.ratings)
        solver, parameters, cost = self._timed_fit(train, request.epochs, request.seed)
        if parameters is None or not parameters.is_finite():
            return Diverged()
        # A solver that reports more seconds than have passed began to work before the clock.
        claimed = solver.prepare_seconds_
        if solver.history_:
            claimed = solver.history_[-1].seconds
        if claimed > cost.seconds + _CLOCK_SLACK:
            return Inconsistent(claimed, cost.seconds)

        score = mean_squared_error(parameters, validation)
        test = self.ratings.get("test")
        test_score = mean_squared_error(parameters, test) if test else None
        objective = None
        if request.objective:
            objective = solver.objective.value(parameters, train)
        for value in (score, test_score, objective):
            if value is not None and not math.isfinite(value):
                return Diverged()

        lists = None
        if request.lists:
            held_out = test or validation
            known = None if held_out is validation else validation
            lists = list_metrics(model_scorer(parameters, train), train, held_out, known)
        first_epoch, other_epochs = _epoch_seconds(solver, request.epochs)
        timed = Round(
            round=request.round_number,
            seed=request.seed,
            factor=request.factor,
            seconds=cost.seconds,
            prepare_seconds=solver.prepare_seconds_,
            first_epoch_seconds=first_epoch,
            epoch_seconds=other_epochs,
            cpu_seconds=cost.cpu_seconds,
            others_seconds=cost.others_seconds,
            stolen_seconds=cost.stolen_seconds,
            energy_joules=cost.energy_joules,
            validation_mse=score,
            test_mse=test_score,
            objective=objective,
            matched=request.target is not None and meets(score, request.target),
        )
        # The solver's threads end with it. Those that are still alive are counted after each fit:
        # a count that grows from fit to fit shows that fits leave threads behind.
        del solver
        alive = sample(os.getpid())
        return Timed(timed, lists, thread_settings(), alive.threads if alive else None)

    def memory(self, request: WatchMemory) -> FitMemory:
        """Fit; return the resident memory before the fit, and the peaks of host and device."""
        train, solver = self.fresh_train(), self.solver()
        gc.collect()
        device = _device(solver)
        cuda = sys.modules["torch"].cuda if device.startswith("cuda") else None
        if cuda:
            cuda.reset_peak_memory_stats(device)
        # Without a reset the peak may be from before the fit, so "before" would mean nothing.
        before = sample(os.getpid()) if _reset_peak() else None
        self._fit(train, solver, epochs=request.epochs, seed=request.seed)
        return FitMemory(
            before_mb=before.resident_mb if before else None,
            peak_mb=peak_memory_mb(),
            device_mb=cuda.max_memory_allocated(device) / 2**20 if cuda else None,
        )

    def epochs(self, request: MeasureEpochs) -> EpochSeconds | Diverged:
        """Fit without evaluation; return the median wall and CPU seconds per epoch.

        The first epoch is left out. After it there are at least `_LEAST_EPOCHS` epochs, then more
        until they have taken ``request.max_seconds``, and at most `_MOST_EPOCHS`. Rank and threads
        of the request hold for all later requests too.
        """
        self.solver_arguments |= {"rank": request.rank, "n_jobs": request.threads}
        # Wall and CPU seconds at the end of each epoch. Epochs are the differences of neighbours,
        # so n marks give n - 1 epochs, and the first epoch is not among them.
        marks: list[tuple[float, float]] = []

        def mark(progress: Progress) -> bool:
            marks.append((progress.record.seconds, time.process_time()))
            elapsed = marks[-1][0] - marks[0][0]
            return len(marks) > _LEAST_EPOCHS and elapsed > request.max_seconds

        solver = self._fit(
            self.fresh_train(), epochs=1 + _MOST_EPOCHS, seed=request.seed, callback=mark
        )
        if solver.status_ == "diverged":
            return Diverged()
        seconds, cpu_seconds = np.median(np.diff(marks, axis=0), axis=0).tolist()
        return EpochSeconds(len(marks) - 1, seconds, cpu_seconds)

    def fresh_train(self) -> Ratings:
        """Return a new object with the same arrays, without what `Ratings` caches on first use."""
        train = self.ratings["train"]
        return Ratings(train.users, train.items, train.ratings, train.n_users, train.n_items)

    def ratings_of(self, kind: RatingsKind) -> tuple[Ratings, Ratings]:
        """Return training and validation ratings: the known ones, or ones no backend has seen.

        Those that were not seen take the same work to fit: number of ratings, shape and counts are
        the same, so that compiled code can be reused but results cannot.

        - "reversed": the scale is reversed, low + high - rating, and stretched by up to 0.1 %,
          differently each time, because a backend might recognise ratings by their sum or mean; and
          one rating in a thousand is another user's, because it might recognise the pairs. Popular
          rows keep their numbers, so that a fit takes the same time. The validation ratings are the
          known ones.
        - "relabelled": users and items have other row numbers, at random. Then the factors that an
          earlier fit found are those of other users and items, and of no use as a start.
        - "renamed": the same and stretched, but in the order of the known ones.

        All others are in another order than the known ones; "shuffled" are the known ones in
        another order. By these two kinds it is seen whether the order alone makes a difference.
        """
        train, validation = self.fresh_train(), self.ratings["validation"]
        if kind == "known":
            return train, validation
        rng = np.random.default_rng()  # without a seed, so that it cannot be predicted
        order = rng.permutation(len(train))
        if kind == "shuffled":
            return train.take(order), validation
        stretch = train.ratings.dtype.type(1 + 1e-3 * rng.random())
        if kind in ("relabelled", "renamed"):
            rows = (
                rng.permutation(train.n_users).astype(train.users.dtype),
                rng.permutation(train.n_items).astype(train.items.dtype),
            )
            train, validation = _relabelled(train, *rows), _relabelled(validation, *rows)
            if kind == "relabelled":
                return train.take(order), validation
            shape = train.n_users, train.n_items
            return Ratings(train.users, train.items, stretch * train.ratings, *shape), validation
        ratings = stretch * (train.ratings.min() + train.ratings.max() - train.ratings)
        shape = train.n_users, train.n_items
        users = _with_some_moved(train, rng)
        return Ratings(users, train.items, ratings, *shape).take(order), validation

    def send(self, message: Message) -> None:
        """Write one message to the channel.

        A backend may have forked and returned in both processes. The child ends here.
        """
        if os.getpid() != self._pid:
            os._exit(1)
        self.channel.write(as_line(message))
        self.channel.flush()

    def _timed_fit(
        self, train: Ratings, epochs: int, seed: int
    ) -> tuple[Factorizer, Parameters | None, _Cost]:
        """Fit a new solver; return it, a copy of its model's parameters, and what all this took.

        Nothing else is between the two readings of the clock.
        """
        solver = self.solver()
        # `fit` would draw these parameters itself. They are drawn outside the clock where the same
        # function draws them as for all backends. It gets a shallow copy of the ratings: what
        # `Ratings` caches on first use must be computed inside the clock.
        initial = None
        if self.starts_alike:
            initial = Factorizer.initial_parameters(solver, copy(train), seed)
        gc.collect()  # so that garbage of earlier fits is not collected during this one
        device = _device(solver)
        energy, machine, cpu = read_energy(device), cpu_times(), cpu_seconds()

        start = perf_counter()
        # The fit ends by copying the model to the host, so a GPU has finished when this returns.
        solver = self._fit(train, solver, epochs=epochs, initial=initial, seed=seed)
        # A model may be computed only when it is asked for, or in the background. What is scored is
        # this copy, so whatever comes later is of no use to it.
        parameters = None
        if solver.status_ != "diverged":
            parameters = _copy_of(solver.model_.parameters, train)
        seconds = perf_counter() - start

        cpu = cpu_seconds() - cpu
        machine_after = cpu_times()
        joules = spent_between(energy, read_energy(device))
        others = stolen = None
        if machine and machine_after:
            others = machine_after.busy - machine.busy - cpu
            if machine.stolen is not None and machine_after.stolen is not None:
                stolen = machine_after.stolen - machine.stolen
        return solver, parameters, _Cost(seconds, cpu, others, stolen, joules)

    def _fit(self, train: Ratings, solver: Factorizer | None = None, **options: Any) -> Factorizer:
        """Fit all epochs, unless a callback ends it; the model is that of the last epoch."""
        if solver is None:
            solver = self.solver()
        with warnings.catch_warnings():
            # Divergence is read from the solver's status.
            warnings.simplefilter("ignore", DivergenceWarning)
            solver = solver.fit(train, keep="last", patience=None, **options)
        if solver.status_ == "interrupted":
            raise KeyboardInterrupt("raised during a fit, although nobody pressed Ctrl-C")
        return solver


class _Cost(NamedTuple):
    """What a fit took; None where it cannot be read. See `Round` for the fields."""

    seconds: float
    cpu_seconds: float
    others_seconds: float | None
    stolen_seconds: float | None
    energy_joules: float | None


class _Watch:
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

    def __init__(self, worker: Worker, request: Calibrate) -> None:
        self.worker, self.target = worker, request.target
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
        score = mse(progress.model, self.worker.ratings["validation"])
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
        self.worker.send(Update(text, seconds))


class _Fits:
    """The fits of a solver that starts again for every number of epochs.

    Attributes
    ----------
    scores
        The validation MSE by number of epochs; infinite for a fit that diverged.
    spent
        Seconds of training of all fits.
    """

    def __init__(self, worker: Worker, watch: _Watch, request: Calibrate) -> None:
        self.worker, self.watch, self.request = worker, watch, request
        self.scores: dict[int, float] = {}
        self.spent = 0.0

    def grow(self, epochs: int) -> str:
        """Fit with more epochs each time until the target is reached; return the status."""
        request = self.request
        while True:
            score, seconds = self.fit(epochs)
            if not math.isfinite(score):
                return "diverged"
            if self.watch.reached is not None:
                return "callback"
            scores = list(self.scores.values())
            if min(scores) < min(scores[-_WORSE_IN_A_ROW:]):
                return "callback"
            if epochs == request.max_epochs:
                return "epochs"
            most = int(0.95 * epochs * request.max_seconds / seconds)
            if most <= epochs or self.spent >= request.total_seconds:
                return "time"
            longer = max(epochs + 1, round(_MORE_EPOCHS * epochs))
            epochs = min(request.max_epochs, longer, most)

    def look_beside_best(self) -> None:
        """Halve the gaps beside the best number of epochs, to about a twentieth of it."""
        while self.watch.reached is None and self.spent < self.request.total_seconds:
            tried = sorted(self.scores)
            place = tried.index(min(self.scores, key=self.scores.__getitem__))
            best = tried[place]
            beside = tried[max(place - 1, 0) : place] + tried[place + 1 : place + 2]
            gap = max(beside, key=lambda epochs: abs(epochs - best), default=best)
            if abs(gap - best) <= max(1, best // _CLOSE_ENOUGH):
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

    def fit(self, epochs: int) -> tuple[float, float]:
        """Fit, score the model and note whether it reaches the target; return score and seconds."""
        solver = self.worker._fit(self.worker.fresh_train(), epochs=epochs, seed=self.request.seed)
        score, seconds = math.inf, 0.0
        if solver.status_ != "diverged":
            seconds = solver.history_[-1].seconds
            score = self.watch.score(Progress(solver.history_[-1], lambda: solver.model_))
        self.scores[epochs] = score
        self.spent += seconds
        reached = self.watch.reached
        if meets(score, self.request.target) and (reached is None or epochs < reached):
            self.watch.reached = epochs
        return score, seconds


def _with_some_moved(train: Ratings, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return the users of the ratings, of which one in a thousand is another: no pair is double."""
    users = train.users.copy()
    moved = rng.choice(len(train), size=max(len(train) // 1000, 1), replace=False)
    users[moved] = rng.integers(train.n_users, size=len(moved))
    while True:
        pairs = users.astype(np.int64) * train.n_items + train.items
        _, codes, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        is_double = counts[codes[moved]] > 1
        if not is_double.any():
            return users
        double, moved = moved[is_double], moved[~is_double]
        users[double] = train.users[double]


def _relabelled(ratings: Ratings, users: NDArray[np.int32], items: NDArray[np.int32]) -> Ratings:
    """Return ratings in which user u is row ``users[u]`` and item i row ``items[i]``."""
    return Ratings(
        users[ratings.users],
        items[ratings.items],
        ratings.ratings,
        ratings.n_users,
        ratings.n_items,
    )


def _copy_of(parameters: Parameters, train: Ratings) -> Parameters:
    """Return a copy as plain arrays.

    Raises
    ------
    ValueError
        When they are no arrays of floating-point numbers of the right shapes.
    """
    rank = parameters.user_factors.shape[-1]
    shapes = {
        "user_bias": (train.n_users,),
        "item_bias": (train.n_items,),
        "user_factors": (train.n_users, rank),
        "item_factors": (train.n_items, rank),
    }
    arrays = {name: np.array(getattr(parameters, name)) for name in shapes}
    for name, array in arrays.items():
        if array.shape != shapes[name] or array.dtype.kind != "f":
            raise ValueError(
                f"its model's {name} must be floating-point numbers of shape {shapes[name]}, got "
                f"{array.dtype} of shape {array.shape}"
            )
    return Parameters(float(parameters.mean), **arrays)


def _library(solver: Factorizer) -> Library | None:
    """Return the library that an adapter calls and what it declares; None for other solvers."""
    facts = getattr(solver, "facts", None)
    if facts is None:
        return None
    declared: dict[str, str] = facts._asdict()
    name = declared.pop("library")
    return cast("Library", {"name": name, "version": metadata.version(name), **declared})


def _device(solver: Factorizer) -> str:
    return str(getattr(solver, "device", "cpu"))


def _epoch_seconds(solver: Factorizer, epochs: int) -> tuple[float | None, float | None]:
    """Return the seconds of the first epoch and the median seconds of the others.

    All are by the solver's own clock. Both are None for a solver that does not record every epoch;
    the second is None if there was only one epoch.
    """
    if len(solver.history_) != epochs:
        return None, None
    marks = [solver.prepare_seconds_, *(record.seconds for record in solver.history_)]
    first, *others = np.diff(marks).tolist()
    return first, statistics.median(others) if others else None


def _reset_peak() -> bool:
    """Reset the peak of the process's resident memory; return whether the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "utf-8")
    except OSError:
        return False
    return True


def _set_up_process() -> None:
    """Make sure that this process never outlives its parent, and dies first when memory runs out.

    Linux only; elsewhere it does nothing.
    """
    if not from_proc.is_there():
        return
    with contextlib.suppress(OSError, AttributeError):
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # Orphaned grandchildren are handed to this process instead of to init. So processes that
        # a backend starts stay in sight, and their CPU time is counted, even if they detach.
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
        Path("/proc/self/oom_score_adj").write_text("1000", "utf-8")  # the highest there is


def main() -> None:
    """Answer requests until standard input ends."""
    _set_up_process()
    requests, channel = _private_channels()
    worker = Worker(channel)
    decoder = msgspec.json.Decoder(AnyRequest)
    for line in requests:
        worker.send(_outcome(worker, decoder.decode(line)))


def _private_channels() -> tuple[IO[bytes], IO[bytes]]:
    """Take over the pipes of requests and answers, which libraries would read from and print to.

    From here on standard input is empty, and standard output is another standard error.
    """
    requests, channel = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return requests, channel


def _outcome(worker: Worker, request: AnyRequest) -> Message:
    """Return the answer to a request, or the failure: any fault of a backend becomes a record."""
    try:
        return as_done(worker.answer(request))
    except MemoryError as error:
        return as_failed("out of memory", f"MemoryError: {_text_of(error)}", traceback.format_exc())
    # All others too: a backend may call sys.exit, or raise KeyboardInterrupt, which no key has
    # caused, as a worker is out of the terminal's reach.
    except BaseException as error:
        name, text = type(error).__name__, _text_of(error)
        if isinstance(error, BackendUnavailable) and isinstance(request, Open):
            return as_failed("unavailable", text)
        return as_failed("crashed", f"{name}: {text}" if text else name, traceback.format_exc())


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # a backend's own error may do anything
        return "its message cannot be read"
