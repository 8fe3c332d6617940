"""Records on disk: written atomically, read with their fields checked, converted if older.

Whatever is written can be read: `checked` says what becomes of a record that could not be.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import msgspec

from bench.text.files import write_whole
from bench.text.wording import one_line, reason, without_surrogates

from .schema import SCHEMA, AnyRecord, Backend, Environment, GPUCheck, Record, RooflineRecord

RUNS = Path("reports/runs")  # one folder per run, relative to the working directory
GPU_CHECK = "gpu-check.json"  # file in the folder of a run with what a check of a GPU found
# File in the folder of a run with its command and whether it is done; see `measure.run_folder`.
RUN_STATE = "run.state"

_DEEPEST = 20  # levels of lists and objects in a record; this release writes six
_TOO_DEEP = "lists or objects are nested too deeply"
# Sizes of all numbers but 0 and hyper-parameters: products and quotients of several are finite.
_LEAST, _MOST = 1e-100, 1e100
_Path = tuple[str | int, ...]  # of a value in a record: ("rounds", 0, "seconds")
_AnyKind = TypeVar("_AnyKind", bound=AnyRecord)


class RunState(msgspec.Struct, frozen=True):
    """What the folder of a run says about the run.

    Attributes
    ----------
    command
        The command line that started it.
    done
        Whether it ended with a record for each measurement.
    written
        When this was written, in the format of the names of folders; "" before version 3.
    planned
        File names of all records that the run is to write; empty before version 6.
    """

    command: str
    done: bool
    written: str = ""
    planned: tuple[str, ...] = ()


def read_state(folder: Path) -> RunState | None:
    """Return the state of a run; None if the folder has none, or one that cannot be read."""
    try:
        return msgspec.json.decode((folder / RUN_STATE).read_bytes(), type=RunState)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return None


class RecordError(ValueError):
    """A file that is not a record, or has a schema version that this release cannot read."""


# Characters of a record's file name. File systems allow 255, and a temporary file has more.
_LONGEST_STEM = 200


def record_path(folder: Path, kind: str, case: str, backend: Backend) -> Path:
    """Return the path of a backend's record in the folder of its run.

    Parameters
    ----------
    folder
        Folder of the run.
    kind
        "time to MSE" or "roofline".
    case
        Name of the case.
    backend
        The record's entry for the backend.
    """
    prefix = "roofline--" if kind == "roofline" else ""
    name = f"{prefix}{case}--{backend['name']}--{backend['threads']}"
    stem = re.sub(r"[^A-Za-z0-9.=-]+", "_", name)
    if len(stem) > _LONGEST_STEM:
        digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
        stem = f"{stem[: _LONGEST_STEM - 17]}-{digest}"
    return folder / f"{stem}.json"


def write_record(folder: Path, record: AnyRecord) -> Path:
    """Write ``checked(record)`` into ``folder``, atomically, and return its path."""
    if record["kind"] == "GPU check":
        path = folder / GPU_CHECK
    else:
        path = record_path(folder, record["kind"], record["case"]["name"], record["backend"])
    write_whole(path, json.dumps(checked(record), indent=1, allow_nan=False) + "\n")
    return path


def write_state(folder: Path, state: RunState) -> None:
    """Write the state of a run into its folder, atomically, without lone surrogates."""
    content = msgspec.json.encode(_plain(msgspec.to_builtins(state)))
    write_whole(folder / RUN_STATE, content + b"\n")


def checked(record: _AnyKind) -> _AnyKind:
    """Return a record as it is written: one that can be read.

    Lone surrogates become "?", and the reason one line; what is almost 0 becomes 0. If there is a
    number that is not finite, or another value that a reader refuses, the status is "crashed", the
    reason names the field, and the part of the record that contains the value is left out. Checking
    again changes nothing.
    """
    plain: dict[str, Any] = _plain(record)
    plain["reason"] = reason(plain["reason"])
    wrong = []
    for path, value in list(_numbers(plain)):
        if not math.isfinite(value) or (abs(value) > _MOST and "params" not in path):
            wrong.append((path, value))
        elif 0 < abs(value) < _LEAST and "params" not in path:
            _set(plain, path, 0.0)
    if wrong:
        path, value = wrong[0]
        sort = "too large" if math.isfinite(value) else "not finite"
        _crash(plain, f"contains a number that is {sort}: {_field(path)} is {value}")
    for path, _ in wrong:
        _leave_out(plain, path)
    for _ in range(len(plain)):  # at most once for each part
        try:
            _convert(plain)
            break
        except msgspec.ValidationError as error:
            part = re.search(r"`\$\.(\w+)", str(error))
            if part is None or part[1] not in (*_NOTHING, *_OPTIONAL):
                break
            _crash(plain, f"contains what no reader accepts: {error}")
            _leave_out(plain, (part[1],))
    return cast("_AnyKind", plain)


def _plain(value: Any) -> Any:
    """Return a copy of a value in JSON's types; what has no such type becomes text."""
    if isinstance(value, dict):
        return {without_surrogates(str(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > sys.float_info.max:  # other readers represent all numbers as floats
            return math.inf if value > 0 else -math.inf
        return int(value)
    if isinstance(value, float):
        return float(value)
    if hasattr(value, "item"):  # of NumPy
        return _plain(value.item())
    return without_surrogates(str(value))


def _numbers(value: Any, path: _Path = ()) -> Iterator[tuple[_Path, float]]:
    """Yield the numbers in a value with their paths."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(inner, (*path, key))
    elif isinstance(value, int | float):
        yield path, value


def non_finite(value: Any) -> Iterator[str]:
    """Yield where in nested lists and dicts there is a number that is not finite, and which."""
    for path, number in _numbers(value):
        if not math.isfinite(number):
            yield f"{_field(path)} is {number}"


def _field(path: _Path) -> str:
    """Return a path as text: "rounds[0].seconds"."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(steps).lstrip(".")


def _crash(record: dict[str, Any], why: str) -> None:
    """Set the status to "crashed"; an earlier reason follows the new one."""
    earlier = f"; {record['status']}: {record['reason']}" if record["reason"] else ""
    record |= {"status": "crashed", "reason": reason(f"its record {why}{earlier}")}


# Parts of a record that can be left out: what stands for nothing, and those that may be absent.
_NOTHING: dict[str, Any] = {
    "baselines": {},
    "calibrations": [],
    "cold": [],
    "comparisons": [],
    "costs": [],
    "fits": [],
    "gave_up_after": None,
    "ladder": [],
    "limits": [],
    "memory": None,
    "rounds": [],
    "rungs": [],
    "target": None,
    "timings": [],
}
_OPTIONAL = ("list_baselines", "lists", "tuning")


def _leave_out(record: dict[str, Any], path: _Path) -> None:
    """Remove the part of a record that a path is in; of a part that must be there, the value."""
    part, *inside = path
    if part in _NOTHING:
        record[str(part)] = copy.copy(_NOTHING[str(part)])
    elif part in _OPTIONAL:
        record.pop(str(part), None)
    elif part == "environment":
        record["environment"][inside[0]] = None
    elif inside[:1] == ["params"]:
        record["backend"]["params"].pop(inside[1], None)
    else:  # a setting of the case, an error of the reference
        _set(record, path, 0.0)


def _set(record: dict[str, Any], path: _Path, value: float) -> None:
    """Set a number in a record."""
    at: Any = record
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value


def read_record(path: Path) -> AnyRecord:
    """Read a record of this schema version or an earlier one, which is converted.

    Raises
    ------
    RecordError
        For a file that is not a record; the message names the file and what is wrong with it.
    """
    try:
        record: Any = msgspec.json.decode(path.read_bytes())
        schema = record["schema"]
        _check_values(record)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RecordError(f"{one_line(str(path))} cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise _no_record(path, _TOO_DEEP) from error
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise _no_record(path, error) from error
    if schema not in range(1, SCHEMA + 1) or isinstance(schema, bool):
        raise RecordError(
            f"{one_line(str(path))} has schema version {reason(repr(schema))}, this release reads "
            f"versions 1 to {SCHEMA}; measure again"
        )
    try:
        record = _upgrade(record)
        facts = record.get("environment")
        record = _convert(record)
        # `convert` drops fields it does not know. Facts that a later release added are kept.
        record["environment"] = {**facts, **record["environment"]}
    except msgspec.ValidationError as error:
        raise _no_record(path, error) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise _no_record(path, f"version {schema}: {error!r}") from error
    return cast("AnyRecord", record)


def _no_record(path: Path, why: object) -> RecordError:
    return RecordError(f"{one_line(str(path))} is not a record of factorbench ({reason(str(why))})")


def _check_values(value: Any, path: _Path = ()) -> None:
    """Raise ValueError for what no release has written, and not all that use records can handle.

    That is, for deep nesting, by which recursion runs out of stack, and for numbers whose products
    or quotients are not finite.
    """
    if isinstance(value, dict | list):
        if len(path) == _DEEPEST:
            raise ValueError(_TOO_DEEP)
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_values(inner, (*path, key))
    elif isinstance(value, int | float) and value:
        least, most = (0, sys.float_info.max) if "params" in path else (_LEAST, _MOST)
        if not least <= abs(value) <= most:
            raise ValueError(f"Number out of range - at `$.{_field(path)}`")


def _convert(record: dict[str, Any]) -> Any:
    """Return a record of this version with its types checked, and that its parts belong together.

    Raises
    ------
    msgspec.ValidationError
        It names the field.
    """
    if record.get("kind") == "roofline":
        return msgspec.convert(record, RooflineRecord)
    if record.get("kind") == "GPU check":
        return _consistent(msgspec.convert(record, GPUCheck))
    time: Record = msgspec.convert(record, Record)
    if time["status"] == "matched" and not time["rounds"]:
        raise msgspec.ValidationError("A match has at least one round - at `$.rounds`")
    seeds = set(time["seeds"])
    for part in ("rounds", "rungs", "calibrations", "cold"):
        for place, measured in enumerate(time[part]):
            if measured["seed"] not in seeds:
                raise msgspec.ValidationError(
                    f"Expected one of the record's seeds - at `$.{part}[{place}].seed`"
                )
    blocks: set[tuple[int, int]] = set()
    for place, timed in enumerate(time["rounds"]):
        if (timed["seed"], timed["round"]) in blocks:
            raise msgspec.ValidationError(
                f"Expected another number for each round of a seed - at `$.rounds[{place}].round`"
            )
        blocks.add((timed["seed"], timed["round"]))
    return time


def _consistent(check: GPUCheck) -> GPUCheck:
    """Return a check of a GPU whose parts agree; raise ValidationError for another."""
    if check["status"] == "right":
        if check["wrong"]:
            raise msgspec.ValidationError("Expected nothing wrong of what is right - at `$.wrong`")
        for place, one in enumerate(check["comparisons"]):
            if one["value"] is None or one["value"] > one["limit"]:
                raise msgspec.ValidationError(
                    "Expected a number up to its limit, of what is right - at "
                    f"`$.comparisons[{place}].value`"
                )
    for place, fit in enumerate(check["fits"]):
        error = fit["validation_mse"]
        if fit["reached"] and (error is None or error > fit["target"]):
            raise msgspec.ValidationError(
                "Expected at most the target, which is reached - at "
                f"`$.fits[{place}].validation_mse`"
            )
        if fit["prepare_seconds"] > fit["seconds"]:
            raise msgspec.ValidationError(
                f"Expected a part of the seconds - at `$.fits[{place}].prepare_seconds`"
            )
    return check


def read_records(sources: Iterable[Path]) -> list[AnyRecord]:
    """Read all records in files and folders, oldest first; folders are searched for ``*.json``.

    Raises
    ------
    FileNotFoundError
        For a source that does not exist.
    RecordError
        For a file that is not a record.
    """
    paths: list[Path] = []
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(f"there is no {source}")
        if source.is_dir():
            paths += sorted(path for path in source.rglob("*.json") if path.is_file())
        else:
            paths.append(source)
    return sorted((read_record(path) for path in paths), key=lambda record: record["created"])


class Kinds(NamedTuple):
    """Records by their kind, in their order."""

    times: list[Record]
    rooflines: list[RooflineRecord]
    checks: list[GPUCheck]


def by_kind(records: Iterable[AnyRecord]) -> Kinds:
    """Separate records by their kind."""
    kinds = Kinds([], [], [])
    for record in records:
        if record["kind"] == "roofline":
            kinds.rooflines.append(record)
        elif record["kind"] == "GPU check":
            kinds.checks.append(record)
        else:
            kinds.times.append(record)
    return kinds


def newest_run(runs: Path = RUNS) -> Path | None:
    """Return the folder of the newest run that has a record; None if there is none."""
    folders = [folder for folder in newest_first(runs) if any(folder.glob("*.json"))]
    return folders[0] if folders else None


def newest_first(runs: Path) -> list[Path]:
    """Return the folders of all runs, latest first, by when each was started, continued or ended.

    That time is in the state of each run. The name of the folder contains only the time of the
    start, and the times of the files change when a folder is copied. The name is used for a folder
    that has no state, or a state from an earlier release without the time.
    """
    if not runs.is_dir():
        return []

    def age(folder: Path) -> tuple[str, str]:
        return _last_written(folder) or folder.name, folder.name

    return sorted((path for path in runs.iterdir() if path.is_dir()), key=age, reverse=True)


def _last_written(folder: Path) -> str:
    """Return when a run's state was written, in the format of folder names; "" if unknown."""
    state = read_state(folder)
    return state.written if state else ""


# Looks of backends in records from before looks were recorded. No entry will ever be added.
_DRAWN_BEFORE = {
    "numba": "red s",
    "numba-gd": "orange ^",
    "numba-sgd": "red s",
    "numpy": "grey o",
    "numpy-als": "pink D",
    "torch-cpu": "blue v",
    "torch-cuda": "green P",
    "torch-mps": "sky X",
}


def _upgrade(record: dict[str, Any]) -> dict[str, Any]:
    """Convert a record of an earlier version; fields that were not measured are None or empty."""
    if record["schema"] == 1:
        record["kind"] = "time to MSE"
    if record["schema"] < 3:
        record["backend"].setdefault("params", {})
        record["key"] = {}
        if record["kind"] == "time to MSE":
            _upgrade_measurement(record)
    for timed in [*record.get("rounds", []), *record.get("rungs", [])]:
        timed.setdefault("energy_joules", None)  # new in version 4
    if record["schema"] < 5:
        case = record.get("case", {})
        undamped = dict.fromkeys(("damping", "user_bias_damping", "item_bias_damping"), 0.0)
        case |= {"reg_unit": "rating", "bias_reg": case.get("reg"), **undamped}
        for score in record.get("baselines", {}).values():
            score |= {"user_damping": None, "item_damping": None, "note": ""}
    if record["schema"] < 7:
        for start in record.get("cold", []):
            start["seed"] = record["seeds"][0]
    _add_look(record.get("backend"))
    if isinstance(record.get("environment"), dict):
        for name in Environment.__annotations__:
            record["environment"].setdefault(name, None)
    record["schema"] = SCHEMA
    return record


def _upgrade_measurement(record: dict[str, Any]) -> None:
    """Convert a time to the MSE from before version 3: one seed, one target, no cold starts."""
    seed, target = record["case"]["seed"], record["target"]
    calibration, peak_mb = record.pop("calibration"), record.pop("peak_memory_mb")
    calibrations, memory = [], None
    if calibration:
        calibrations = [calibration | {"seed": seed, "evaluation_seconds": None}]
    if peak_mb is not None:
        unknown = dict.fromkeys(("fit_mb", "device_mb", "running_threads"))
        memory = {"peak_mb": peak_mb, **unknown}
    not_measured = dict.fromkeys(
        (
            "first_epoch_seconds",
            "epoch_seconds",
            "cpu_seconds",
            "others_seconds",
            "stolen_seconds",
        )
    )
    new = {"seed": seed, "factor": target["factor"] if target else 1.0, **not_measured}
    record |= {
        "order": "sequential",
        "gave_up_after": None,
        "seeds": [seed],
        "calibrations": calibrations,
        "rounds": [timed | new for timed in record["rounds"]],
        "rungs": [],
        "cold": [],
        "memory": memory,
    }


def _add_look(backend: Any) -> None:
    """Add the look to a record's backend where an earlier release would have drawn it so."""
    if not isinstance(backend, dict) or "look" in backend:
        return
    # In a duel the name is followed by settings: "numpy (rank=8)" or "numpy:rank=8".
    name = re.split(r" \(|:", str(backend.get("name")), maxsplit=1)[0]
    if name in _DRAWN_BEFORE:
        backend["look"] = _DRAWN_BEFORE[name]
