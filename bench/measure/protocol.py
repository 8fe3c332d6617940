"""The messages between the runner and a worker: one line of JSON each, with types on both sides.

The runner sends one `Request` at a time. The worker sends any number of `Update` messages, then one
`Done`, which contains the answer, or `Failed`. A request's class states the type of its answer::

    Open  Warm  Calibrate  Time  WatchMemory  MeasureEpochs  MeasureMachine     requests
    Opened  Warmed  Calibrated  Timed or Diverged or Inconsistent  ...          their answers

JSON has neither NaN nor infinity: `as_done` refuses an answer that contains one.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec
from msgspec import Struct

from bench.records import (
    Calibration,
    Failure,
    Library,
    ListMetrics,
    MachineLimits,
    ProcessFacts,
    Round,
    non_finite,
)
from bench.text.wording import without_surrogates

Answer = TypeVar("Answer")
RatingsKind = Literal["known", "shuffled", "reversed", "relabelled", "renamed"]

MOST_TRACE = 100_000  # characters of a traceback, and bytes of what a worker printed


# ---- answers -------------------------------------------------------------------------------------


class Opened(Struct):
    """The backend was imported."""

    import_seconds: float
    device: str  # on which it computes
    python: str  # this and the versions of packages are those of the worker's interpreter
    packages: dict[str, str]
    library: Library | None = None  # that the backend calls, if it is an adapter
    elsewhere: bool = False  # whether processes do the work that are not the worker's own


class Warmed(Struct):
    """The backend was compiled."""

    compile_seconds: float
    environment: ProcessFacts  # read after compilation, when all libraries are loaded


class Calibrated(Struct):
    """An untimed fit that was scored after each epoch.

    ``status`` is the solver's ``status_``, with two exceptions: "time" if training exceeded
    ``max_seconds``, and "diverged" also if a score was not a finite number.
    """

    calibration: Calibration
    status: str


class Timed(Struct, tag="timed"):
    """A timed fit, the lists of its model, and the threads that were seen after it."""

    round: Round
    lists: ListMetrics | None  # None unless they were requested, or if nothing is relevant
    thread_settings: dict[str, int]  # for each library, the number of threads it is set to use
    alive: int | None  # threads of the process; None where they cannot be counted
    products: str = ""  # as in a `Record`


class Diverged(Struct, tag="diverged"):
    """The loss exploded."""


class Inconsistent(Struct, tag="inconsistent"):
    """The solver reports more seconds of work than the fit took."""

    claimed: float
    seconds: float


class FitMemory(Struct):
    """Memory of a fit in MB; None where it cannot be read."""

    before_mb: float | None  # resident when the fit began
    peak_mb: float | None  # most that was resident since then
    device_mb: float | None  # most that was allocated on the device


class EpochSeconds(Struct, tag="epochs"):
    """Median seconds per epoch, without the first epoch."""

    epochs: int  # how many the medians are taken over
    seconds: float
    cpu_seconds: float  # 0 on a device other than the CPU, whose work they are not
    products: str = ""  # as in a `Record`


class MachineFound(Struct):
    """The machine's limits, and the size of its last-level cache in bytes."""

    limits: list[MachineLimits]
    cache: int


# ---- requests ------------------------------------------------------------------------------------


class Request(Struct, Generic[Answer], kw_only=True, tag_field="request"):
    """A request to a worker; ``answer`` is the type of the answer."""

    answer: ClassVar[Any]

    @property
    def name(self) -> str:
        """The request's name in error messages."""
        return str(self.__struct_config__.tag)


class Open(Request[Opened], tag="open"):
    """Load the case's ratings, and import the backend.

    ``path`` is a file of `bench.cases.case_file`, ``backend`` a name in the registry, and
    ``params`` are the arguments of the backend. An ``adapter`` declares what it does with which
    library; other solvers may have attributes of the same names.
    """

    answer = Opened
    path: str
    backend: str
    params: dict[str, Any]
    adapter: bool = False


class Warm(Request[Warmed], tag="warm"):
    """Compile the backend by fitting a few ratings."""

    answer = Warmed
    seed: int


class Calibrate(Request[Calibrated], tag="calibrate"):
    """Fit with an evaluation after each epoch, to find how many epochs each target takes.

    The fit ends at the tightest of ``targets`` (MSEs by name). It is given up after ``max_epochs``,
    after ``max_seconds`` of training (without evaluation), after ``patience`` epochs without a new
    best score, or if ``target`` took n epochs, there were 2 n + 2, and at its pace the tightest
    target would take more than ``max_seconds``.

    A solver that starts again for every number of epochs is fitted with more and more of them,
    ``first_epochs`` at first, to the matching target alone. No fit is to take longer than
    ``max_seconds``, and no further one begins once all together have taken ``total_seconds``.
    """

    answer = Calibrated
    targets: dict[str, float]
    target: float
    seed: int
    max_epochs: int
    max_seconds: float
    patience: int
    first_epochs: int = 1
    total_seconds: float = 1e9


class Time(Request[Timed | Diverged | Inconsistent], tag="time"):
    """Time one fit of ``epochs`` epochs without evaluation, then score its model.

    ``factor`` and ``target`` are those of the target that the fit should meet; without ``target``
    the score is not judged. ``ratings`` says what is fitted, see `worker.Worker.ratings_of`.
    ``objective`` requests the value of the objective as well, ``lists`` the metrics of the model's
    lists, for which the test ratings decide what is relevant, or without them the validation
    ratings.
    """

    answer = Timed | Diverged | Inconsistent
    epochs: int
    seed: int
    round_number: int
    factor: float
    target: float | None
    objective: bool
    ratings: RatingsKind = "known"
    lists: bool = False


class WatchMemory(Request[FitMemory], tag="memory"):
    """Fit, untimed, while the runner samples the process."""

    answer = FitMemory
    epochs: int
    seed: int


class MeasureEpochs(Request[EpochSeconds | Diverged], tag="epochs"):
    """Measure the cost of an epoch at another rank and number of threads.

    No further epoch begins once they have taken ``max_seconds``.
    """

    answer = EpochSeconds | Diverged
    rank: int
    threads: int
    seed: int
    max_seconds: float


class MeasureMachine(Request[MachineFound], tag="limits"):
    """Measure the limits of the processor or of another device.

    It needs no backend, so no `Open` precedes it. A device is measured once, for the largest number
    of threads, and has no dependency chains.
    """

    answer = MachineFound
    ranks: list[int]
    threads: list[int]
    turns: int  # how often each kernel is run
    device: str = "cpu"


AnyRequest = Open | Warm | Calibrate | Time | WatchMemory | MeasureEpochs | MeasureMachine


# ---- messages ------------------------------------------------------------------------------------


class Update(Struct, tag="progress"):
    """The worker is still at work: a line for the user, and the seconds of training so far."""

    text: str
    seconds: float


class Failed(Struct, tag="failed"):
    """There is no answer; ``status`` and ``reason`` are written to the record."""

    status: Failure
    reason: str
    trace: str = ""  # the traceback, which is written to a file beside the record


class Done(Struct, tag="done"):
    """The answer, which is decoded separately, by the type that the request states."""

    answer: msgspec.Raw


Message = Update | Failed | Done


def as_line(message: Any) -> bytes:
    """Return a request or a message as one line of UTF-8, whatever the locale."""
    return _ENCODER.encode(message) + b"\n"


def as_done(answer: Any) -> Done:
    """Return the message that contains an answer.

    Raises
    ------
    ValueError
        For a number that is not finite; the message names it.
    """
    strange = next(non_finite(msgspec.to_builtins(answer, enc_hook=_plain)), None)
    if strange:
        raise ValueError(f"it reports a number that is not finite: {strange}")
    return Done(msgspec.Raw(_ENCODER.encode(answer)))


def as_failed(status: Failure, reason: str, trace: str = "") -> Failed:
    """Return the message of a failure; characters that UTF-8 cannot encode become "?"."""
    # An exception's text can contain lone surrogates, for example from an undecodable file name.
    half = MOST_TRACE // 2
    if len(trace) > MOST_TRACE:
        trace = f"{trace[:half]}\n...\n{trace[-half:]}"
    return Failed(status, without_surrogates(reason[:MOST_TRACE]), without_surrogates(trace))


def _plain(value: Any) -> Any:
    """Return a NumPy scalar, or an instance of a subclass of a JSON type, as the JSON type."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if hasattr(value, "item"):
        return value.item()
    # The error that msgspec asks for where a type cannot be written.
    raise NotImplementedError(f"{type(value).__name__} cannot be written as JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
