"""The file of hyper-parameters that `bench.tune` found, which a benchmark run can use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.records import Tuning


class TunedFile(msgspec.Struct, forbid_unknown_fields=True):
    """What the file contains.

    Attributes
    ----------
    case
        Name of the case whose training ratings the trials were fitted to.
    backends
        For each backend, how it was tuned, with the hyper-parameters of the best trial.
    """

    case: str
    backends: dict[str, Tuning]


def tuned_file(case: str, backends: Mapping[str, Tuning]) -> bytes:
    """Return the file's content."""
    return msgspec.json.format(msgspec.json.encode(TunedFile(case, dict(backends)))) + b"\n"


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
