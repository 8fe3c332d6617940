"""Records on disk: written atomically, read with their fields checked, converted if older."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import msgspec

from bench.text.files import write_whole

from .schema import SCHEMA, AnyRecord, Backend, Environment, Record, RooflineRecord

RUNS = Path("reports/runs")  # one folder per run, relative to the working directory
# File in the folder of a run with its command and whether it is done; see `measure.run_folder`.
RUN_STATE = "run.state"


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
    except (OSError, ValueError, RecursionError):
        return None


class RecordError(ValueError):
    """A file that is not a record, or has a schema version that this release cannot read."""


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
    return folder / f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)}.json"


def write_record(folder: Path, record: AnyRecord) -> Path:
    """Write a record into ``folder``, atomically, and return its path."""
    path = record_path(folder, record["kind"], record["case"]["name"], record["backend"])
    write_whole(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path


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
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is not a record of factorbench ({error})") from error
    if schema not in range(1, SCHEMA + 1) or isinstance(schema, bool):
        raise RecordError(
            f"{path} has schema version {schema!r}, this release reads versions 1 to {SCHEMA}; "
            "measure again"
        )
    try:
        record = _upgrade(record)
        facts = record.get("environment")
        kind = RooflineRecord if record.get("kind") == "roofline" else Record
        record = msgspec.convert(record, kind)
        # `convert` drops fields it does not know. Facts that a later release added are kept.
        record["environment"] = {**facts, **record["environment"]}
    except msgspec.ValidationError as error:
        raise RecordError(f"{path} is not a record of factorbench ({error})") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path} is not a record of factorbench (version {schema}: {error!r})"
        ) from error
    return cast("AnyRecord", record)


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


def by_kind(records: Iterable[AnyRecord]) -> tuple[list[Record], list[RooflineRecord]]:
    """Separate the times to the MSE from the rooflines; both keep their order."""
    times: list[Record] = []
    rooflines: list[RooflineRecord] = []
    for record in records:
        if record["kind"] == "roofline":
            rooflines.append(record)
        else:
            times.append(record)
    return times, rooflines


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
