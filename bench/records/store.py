"""Records on disk: written whole or not at all, read back with their fields checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import msgspec

from bench.text.files import write_whole

from .schema import SCHEMA, AnyRecord, Backend, Environment, Record, RooflineRecord

RUNS = Path("reports/runs")  # one folder per run, relative to where the command is run
RUN_STATE = (
    "run.state"  # in the folder of a run, kept by `bench.measure.run_folder`: of which command it is, and how far it is
)


class RecordError(ValueError):
    """A file that is not a record, or has a schema version that this release does not read."""


def record_path(folder: Path, kind: str, case: str, backend: Backend) -> Path:
    """Return where the record of a backend on a case lies in the folder of its run."""
    prefix = "roofline--" if kind == "roofline" else ""
    name = f"{prefix}{case}--{backend['name']}--{backend['threads']}"
    return folder / f"{re.sub(r'[^A-Za-z0-9.=-]+', '_', name)}.json"


def write_record(folder: Path, record: AnyRecord) -> Path:
    """Write one record into ``folder``, whole or not at all, and return its path."""
    path = record_path(folder, record["kind"], record["case"]["name"], record["backend"])
    write_whole(path, json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path


def read_record(path: Path) -> AnyRecord:
    """Read one record, of this schema version or of an earlier one, which is brought up to date.

    Raises
    ------
    RecordError
        Naming the file, and what is wrong with it.
    """
    try:
        record: Any = msgspec.json.decode(path.read_bytes())
        schema = record["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is not a record of factorbench ({error})") from error
    if schema not in range(1, SCHEMA + 1) or isinstance(schema, bool):
        raise RecordError(
            f"{path} has schema version {schema!r}, this release reads versions 1 to {SCHEMA}; measure again"
        )
    try:
        record = _upgrade(record)
        facts = record.get("environment")
        record = msgspec.convert(record, RooflineRecord if record.get("kind") == "roofline" else Record)
        record["environment"] = {**facts, **record["environment"]}  # also what a later release tells of a machine
    except msgspec.ValidationError as error:
        raise RecordError(f"{path} is not a record of factorbench ({error})") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is not a record of factorbench (version {schema}: {error!r})") from error
    return cast("AnyRecord", record)


def read_records(sources: Iterable[Path]) -> list[AnyRecord]:
    """Read all records in files and folders (searched for ``*.json``), oldest first.

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
        paths += sorted(path for path in source.rglob("*.json") if path.is_file()) if source.is_dir() else [source]
    return sorted((read_record(path) for path in paths), key=lambda record: record["created"])


def by_kind(records: Iterable[AnyRecord]) -> tuple[list[Record], list[RooflineRecord]]:
    """Sort records into times to the MSE and rooflines, keeping their order."""
    times: list[Record] = []
    rooflines: list[RooflineRecord] = []
    for record in records:
        if record["kind"] == "roofline":
            rooflines.append(record)
        else:
            times.append(record)
    return times, rooflines


def newest_run(runs: Path = RUNS) -> Path | None:
    """Return the folder of the run that was last begun, gone on with or ended, of those with a record, or None."""
    folders = [folder for folder in newest_first(runs) if any(folder.glob("*.json"))]
    return folders[0] if folders else None


def newest_first(runs: Path) -> list[Path]:
    """Return the folders of all runs, the one that was last begun, gone on with or ended first.

    Each says in its state when that was. Its name says only when the run began, and by the times of its files a copy
    would be newer than what was measured after it; as it is, a copy is as old as what it is a copy of. A folder that
    has no state, or one of an earlier release, counts by its name.
    """
    folders = [path for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    return sorted(folders, key=lambda folder: (_last_written(folder) or folder.name, folder.name), reverse=True)


def _last_written(folder: Path) -> str:
    """Return when the state of a run was written, in the form of the names of folders; "" where it does not say."""
    try:
        written = json.loads((folder / RUN_STATE).read_text("utf-8"))["written"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return written if isinstance(written, str) else ""


# How releases before looks were recorded drew their own backends. Closed: later ones say it in their records.
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
    """Bring a record of an earlier version up to date; what was not measured then is None or empty."""
    if record["schema"] == 1:
        record["kind"] = "time to MSE"
    if record["schema"] < 3:
        record["backend"].setdefault("params", {})
        record["key"] = {}
        if record["kind"] == "time to MSE":
            seed, calibration = record["case"]["seed"], record.pop("calibration")
            measured = {"seed": seed, "evaluation_seconds": None}
            peak, target = record.pop("peak_memory_mb"), record["target"]
            unknown = dict.fromkeys(("fit_mb", "device_mb", "running_threads"))
            clock = ("first_epoch_seconds", "epoch_seconds", "cpu_seconds", "others_seconds", "stolen_seconds")
            factor = {"seed": seed, "factor": target["factor"] if target else 1.0}
            record |= {
                "order": "sequential",
                "gave_up_after": None,
                "seeds": [seed],
                "calibrations": [calibration | measured] if calibration else [],
                "rounds": [one | factor | dict.fromkeys(clock) for one in record["rounds"]],
                "rungs": [],
                "cold": [],
                "memory": {"peak_mb": peak, **unknown} if peak is not None else None,
            }
    for one in (*record.get("rounds", []), *record.get("rungs", [])):
        one.setdefault("energy_joules", None)  # new in 4
    if record["schema"] < 5:
        case = record.get("case", {})
        undamped = dict.fromkeys(("damping", "user_bias_damping", "item_bias_damping"), 0.0)
        case |= {"reg_unit": "rating", "bias_reg": case.get("reg"), **undamped}
        for score in record.get("baselines", {}).values():
            score |= {"user_damping": None, "item_damping": None, "note": ""}
    backend = record["backend"] if isinstance(record.get("backend"), dict) else {}
    name = re.split(r" \(|:", str(backend.get("name")), maxsplit=1)[0]  # of a contender, its backend's
    if "look" not in backend and name in _DRAWN_BEFORE:
        backend["look"] = _DRAWN_BEFORE[name]
    if isinstance(record.get("environment"), dict):
        for name in Environment.__annotations__:
            record["environment"].setdefault(name, None)
    record["schema"] = SCHEMA
    return record
