"""What a worker is asked, and what it answers: one line of JSON each, typed on both sides.

A `Request` knows the type of its answer. A worker sends any number of `Update` messages, then `Done` or `Failed`.
JSON has no NaN and no infinity: a number that is none arrives as null, and is refused where a number is wanted.
"""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from msgspec import Struct

from bench.records import Calibration, Failure, MachineLimits, ProcessFacts, Round

Answer = TypeVar("Answer")


# ---- answers ---------------------------------------------------------------------------------------------------------


class Opened(Struct):
    """The backend is imported: in how many seconds, and on which device it computes."""

    import_seconds: float
    device: str


class Warmed(Struct):
    """The backend is compiled: in how many seconds, and what the process is like by now."""

    compile_seconds: float
    environment: ProcessFacts


class Calibrated(Struct):
    """An untimed fit, scored after each epoch, and why it stopped, as its ``status_`` says.

    "time" where training took too long, "diverged" also where a score was no number.
    """

    calibration: Calibration
    status: str


class Timed(Struct, tag="timed"):
    """A timed fit; the threads that each library is set to use, and those of the process, None if unknown."""

    round: Round
    thread_settings: dict[str, int]
    alive: int | None


class Diverged(Struct, tag="diverged"):
    """The loss exploded."""


class Inconsistent(Struct, tag="inconsistent"):
    """A fit tells of more seconds than passed."""

    claimed: float
    seconds: float


class FitMemory(Struct):
    """Memory of a fit in MB; None where it cannot be read."""

    before_mb: float | None  # resident when the fit began
    peak_mb: float | None  # resident at most since then
    device_mb: float | None  # allocated on the device at most


class EpochSeconds(Struct, tag="epochs"):
    """Medians of so many epochs, the first left out."""

    epochs: int
    seconds: float
    cpu_seconds: float


class MachineFound(Struct):
    """The machine's limits, and the bytes of its last-level cache."""

    limits: list[MachineLimits]
    cache: int


# ---- requests --------------------------------------------------------------------------------------------------------


class Request(Struct, Generic[Answer], kw_only=True, tag_field="request"):
    """What a worker is asked; ``answer`` is the type of what it answers."""

    answer: ClassVar[Any]

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return str(self.__struct_config__.tag)


class Open(Request[Opened], tag="open"):
    """Load the case's arrays, and import the backend by its name in the registry."""

    answer = Opened
    path: str
    backend: str
    params: dict[str, Any]


class Warm(Request[Warmed], tag="warm"):
    """Compile, by a fit on few ratings."""

    answer = Warmed
    seed: int


class Calibrate(Request[Calibrated], tag="calibrate"):
    """Fit with evaluation after each epoch, until the tightest target or twice the epochs that ``target`` took.

    ``rungs`` are the MSE targets by name. It is given up after ``max_seconds`` of training, scoring not counted, or
    after ``patience`` epochs without a new best.
    """

    answer = Calibrated
    rungs: dict[str, float]
    target: float
    seed: int
    max_epochs: int
    max_seconds: float
    patience: int


class Time(Request[Timed | Diverged | Inconsistent], tag="time"):
    """Time one fit of so many epochs, nothing evaluated inside, and score its model afterwards.

    ``factor`` and ``target`` are the rung's; no target, no verdict. With ``unseen`` the fit is of ratings that nobody
    can have met. ``objective``: whether to compute J of the model.
    """

    answer = Timed | Diverged | Inconsistent
    epochs: int
    seed: int
    round_number: int
    factor: float
    target: float | None
    objective: bool
    unseen: bool = False


class WatchMemory(Request[FitMemory], tag="memory"):
    """Fit, untimed, while the parent watches."""

    answer = FitMemory
    epochs: int
    seed: int


class MeasureEpochs(Request[EpochSeconds | Diverged], tag="epochs"):
    """Fit with nothing evaluated at another rank and number of threads: no more epochs once ``max_seconds`` passed."""

    answer = EpochSeconds | Diverged
    rank: int
    threads: int
    seed: int
    max_seconds: float


class MeasureMachine(Request[MachineFound], tag="limits"):
    """Measure what the machine can do; no backend is involved."""

    answer = MachineFound
    ranks: list[int]
    threads: list[int]


AnyRequest = Open | Warm | Calibrate | Time | WatchMemory | MeasureEpochs | MeasureMachine


# ---- messages --------------------------------------------------------------------------------------------------------


class Update(Struct, tag="progress"):
    """How far it is, in words, and the seconds of training so far."""

    text: str
    seconds: float


class Failed(Struct, tag="failed"):
    """No answer, and why: what is to stand in the record."""

    status: Failure
    reason: str


class Done(Struct, tag="done"):
    """The answer, still to be decoded as the request's."""

    answer: msgspec.Raw


Message = Update | Failed | Done


def as_line(message: Any) -> bytes:
    """Return a request or a message as one line: UTF-8 whatever the locale, NumPy's numbers as Python's."""
    return _ENCODER.encode(message) + b"\n"


def as_done(answer: Any) -> Done:
    """Return the message of an answer."""
    return Done(msgspec.Raw(_ENCODER.encode(answer)))


def as_failed(status: Failure, reason: str) -> Failed:
    """Return the message of a failure; what is no text in UTF-8, half a letter, is replaced."""
    return Failed(status, reason.encode("utf-8", "replace").decode())


def _plain(value: Any) -> Any:
    """Return what JSON has for a subclass of its types, as NumPy's numbers are."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if hasattr(value, "item"):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} is not for JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
