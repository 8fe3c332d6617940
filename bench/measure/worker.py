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
from bench.cases.targets import meets
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
from bench.records import Calibration, Library, Round

from .epoch_search import Restarts, Watch
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
    Warm,
    Warmed,
    WatchMemory,
    as_done,
    as_failed,
    as_line,
)

_WARM_RATINGS = 2000  # enough to run every code path, too few to take noticeable time
_CLOCK_SLACK = 1e-3  # seconds by which a solver's own clock may differ from ours
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
                return self.machine(request)

    def open(self, request: Open) -> Opened:
        """Load the case's ratings, then time importing the backend and creating a first solver."""
        self.ratings = read_case(request.path)
        self.solver_arguments = {"name": request.backend, **request.params}
        start = perf_counter()
        solver = self.solver()
        for module in getattr(solver, "modules", ()) if request.adapter else ():
            importlib.import_module(module)
        seconds = perf_counter() - start
        versions = python_version(), package_versions()
        library = _library(solver) if request.adapter else None
        elsewhere = bool(getattr(solver, "works_elsewhere", False))
        return Opened(seconds, _device(solver), *versions, library, elsewhere)

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
        """Fit with an evaluation after each epoch, until `Watch` ends it or epochs run out.

        A solver that starts again for every number of epochs is fitted again and again, see
        `epoch_search.Restarts`.
        """
        watch, solver = Watch(request, self.ratings["validation"], self.send), self.solver()
        if solver.steppable:
            options: dict[str, Any] = {"epochs": request.max_epochs, "callback": watch}
            solver = self._fit(self.fresh_train(), solver, seed=request.seed, **options)
            status = str(solver.status_)
        else:

            def fit(epochs: int) -> Factorizer:
                return self._fit(self.fresh_train(), epochs=epochs, seed=request.seed)

            status = Restarts(fit, watch, request).search()
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
        products = _products(solver)
        del solver
        alive = sample(os.getpid())
        threads = alive.threads if alive else None
        return Timed(timed, lists, thread_settings(), threads, products)

    def memory(self, request: WatchMemory) -> FitMemory:
        """Fit; return the resident memory before the fit, and the peaks of host and device."""
        train, solver = self.fresh_train(), self.solver()
        gc.collect()
        device = _device(solver)
        cuda = sys.modules["torch"].cuda if device.startswith("cuda") else None
        if cuda:
            cuda.init()  # without it only the first device is known in a new process
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
        if _device(solver) != "cpu":
            cpu_seconds = 0.0
        return EpochSeconds(len(marks) - 1, seconds, cpu_seconds, _products(solver))

    def machine(self, request: MeasureMachine) -> MachineFound:
        """Measure the limits of the processor or of another device."""
        # Imported only here: what a worker imports is counted as its backend's memory.
        if request.device == "cpu":
            from bench.machine.limits import last_level_cache, measure_limits

            limits = measure_limits(request.ranks, request.threads, request.turns)
            return MachineFound(limits, last_level_cache())
        from bench.machine.device_limits import measure_device

        found, cache = measure_device(request.device, max(request.threads), request.turns)
        return MachineFound([found], cache)

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


def _library(adapter: Any) -> Library:
    """Return the library that an adapter calls, and what it declares."""
    declared: dict[str, str] = adapter.facts._asdict()
    name = declared.pop("library")
    return cast("Library", {"name": name, "version": metadata.version(name), **declared})


def _device(solver: Factorizer) -> str:
    return str(getattr(solver, "device", "cpu"))


def _products(solver: Factorizer) -> str:
    """Return which products computed the sums over ratings, "" if the model does not say."""
    return str(getattr(solver.model_, "fit", {}).get("products", ""))


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
