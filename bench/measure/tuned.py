"""The file of hyper-parameters that `bench.tune` found, which a benchmark run can use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bench.records import Tuning


class TriedOnce(msgspec.Struct, forbid_unknown_fields=True):
    """One trial: the fields of `bench.tune.Trial`, with None for an infinite MSE."""

    number: int
    params: dict[str, Any]
    times: list[float]
    mse: float | None
    ended: str


class TunedBackend(msgspec.Struct, forbid_unknown_fields=True):
    """How a backend was tuned, with the hyper-parameters of the best trial; and all trials."""

    tuning: Tuning
    trials: list[TriedOnce]


class TunedFile(msgspec.Struct, forbid_unknown_fields=True):
    """What the file contains.

    Attributes
    ----------
    case
        Name of the case whose training ratings the trials were fitted to.
    key
        A hash of all that the trials depend on but the code: with the same one, a run of
        `bench.tune` that was cut off goes on.
    backends
        By name.
    """

    case: str
    key: str
    backends: dict[str, TunedBackend]


def tuned_file(content: TunedFile) -> bytes:
    """Return the file's bytes."""
    return msgspec.json.format(msgspec.json.encode(content)) + b"\n"


def read_tuned(path: Path) -> TunedFile:
    """Return what a file contains.

    Raises
    ------
    ValueError
        If it is missing or is no such file; the message says which and why.
    """
    advice = "give the .json file that python -m bench.tune wrote"
    try:
        return msgspec.json.decode(path.read_bytes(), type=TunedFile)
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {advice}") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"{path} holds no tuned hyper-parameters ({error}); {advice}") from None
