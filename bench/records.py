"""The stored result: one JSON record per measured case, and the tidy tables made from records.

There are two kinds of records: a `Record` of the time to the matching MSE, and a `RooflineRecord` of the cost of an
epoch beside the machine's limits. This module owns every field and column name and the schema version. It imports no
backend, so that a report can be made where no solver is installed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypedDict, cast, get_args, get_origin, get_type_hints, is_typeddict

import pandas as pd

SCHEMA = 2  # 2: records have a kind; those of version 1 are all of the first kind, and are read as such
RUNS = Path("reports/runs")  # one folder per run, relative to where the command is run

Failure = Literal["diverged", "crashed", "timed out", "out of memory", "unavailable"]
Status = Literal["matched", "missed", Failure]
BoundName = Literal["memory", "arithmetic", "dependency chain"]


class Backend(TypedDict):
    """Who ran."""

    name: str
    algorithm: str
    device: str
    dtype: str
    threads: int
    deterministic: bool
    minimises: bool  # claims to minimise the objective, so its gap to the reference is shown


class CaseFacts(TypedDict):
    """What was run: data, split, objective."""

    name: str
    dataset: str
    split: str
    seed: int
    rank: int
    reg: float
    reg_scaling: str
    bias: bool
    n_users: int
    n_items: int
    n_train: int
    n_validation: int
    n_test: int
    dropped: str  # rows of validation and test that could not be encoded, in words
    data_hash: str


class Score(TypedDict):
    """Mean squared errors of a baseline."""

    validation_mse: float
    test_mse: float | None
    reg: float | None  # None where there is nothing to regularise


class Reference(TypedDict):
    """Float64 ALS at convergence, over several seeds: the median, and how far the seeds lie apart."""

    validation_mse: float
    test_mse: float | None
    objective: float
    spread: float  # largest minus smallest validation MSE over the seeds
    seeds: int


class Rung(TypedDict):
    """One target of the ladder: reference x factor; ``dropped`` says why it is no target here, "" if it is one."""

    factor: float
    mse: float
    dropped: str


class TracePoint(TypedDict):
    """Calibration: validation MSE after an epoch; seconds are training only."""

    epoch: int
    seconds: float
    validation_mse: float


class RungReached(TypedDict):
    """The first epoch at or under a rung, None if there was none."""

    factor: float
    epochs: int | None


class Calibration(TypedDict):
    """The untimed fit that fixes the number of epochs."""

    epochs: int | None  # to the target; None if it was not reached
    repeats: int
    trace: list[TracePoint]
    rungs: list[RungReached]


class Round(TypedDict):
    """One timed fit: prepare and a fixed number of epochs, nothing evaluated inside; scored afterwards."""

    round: int
    seconds: float
    prepare_seconds: float
    validation_mse: float
    test_mse: float | None
    objective: float | None
    matched: bool


class Record(TypedDict):
    """One measured case: a backend on a case."""

    schema: int
    kind: Literal["time to MSE"]
    run: str
    created: str
    command: str
    status: Status
    reason: str  # one line in words, "" when matched
    backend: Backend
    case: CaseFacts
    reference: Reference
    baselines: dict[str, Score]
    ladder: list[Rung]
    target: Rung | None  # the matching rung; None where it had to be dropped
    calibration: Calibration | None
    rounds: list[Round]
    peak_memory_mb: float | None
    environment: dict[str, Any]


class ChainLatency(TypedDict):
    """Nanoseconds from one rating of a row to the next: dot product, error, update of the row."""

    rank: int
    ns: float


class MachineLimits(TypedDict):
    """What the machine does at best with so many threads: all of them together, but for the chain."""

    threads: int
    memory_gb_per_s: float  # 1e9 bytes read
    gflop_per_s: float  # float32; a multiply-add counts as two
    chain: list[ChainLatency]  # of each thread, while all run


class EpochCost(TypedDict):
    """What an epoch costs at one rank on so many threads, and what the machine's limits allow; ns are per rating."""

    rank: int
    threads: int
    epochs: int  # that the medians are of
    seconds: float  # of an epoch, by the clock
    cpu_seconds: float  # of an epoch, of all threads together
    ns: float
    cpu_ns: float
    flops: float  # per rating, by the work model
    bytes: float  # per rating to and from memory, by the work model
    memory_ns: float
    arithmetic_ns: float
    chain_ns: float | None  # None for an algorithm without the chain
    bound: BoundName
    limit_ns: float  # of the bound
    share: float  # limit_ns / ns
    cpu_share: float  # limit_ns x threads / cpu_ns: the same while the threads ran


class RooflineRecord(TypedDict):
    """The cost of a backend's epochs on a case's data, over ranks and threads; the case's own rank plays no part."""

    schema: int
    kind: Literal["roofline"]
    run: str
    created: str
    command: str
    status: Literal["measured", Failure]
    reason: str  # one line in words, "" when measured
    backend: Backend
    case: CaseFacts
    work_model: str
    assumptions: list[str]  # of the work model, a sentence each
    cache_mb: float  # the last-level cache that the work model reckons with
    limits: list[MachineLimits]
    costs: list[EpochCost]
    environment: dict[str, Any]


AnyRecord = Record | RooflineRecord


class RecordError(ValueError):
    """A file that is not a record, or has a schema version that this release does not read."""


def write_record(folder: Path, record: AnyRecord) -> Path:
    """Write one record into ``folder``, whole or not at all, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = "roofline--" if record["kind"] == "roofline" else ""
    stem = re.sub(r"[^A-Za-z0-9.=-]+", "_", f"{kind}{record['case']['name']}--{record['backend']['name']}")
    path = folder / f"{stem}.json"
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def read_record(path: Path) -> AnyRecord:
    """Read one record, of this schema version or of version 1.

    Raises
    ------
    RecordError
        Naming the file, and what is wrong with it.
    """
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
        schema = record["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path} is not a record of factorbench ({error})") from error
    if schema == 1:
        record |= {"schema": SCHEMA, "kind": "time to MSE"}
    elif schema != SCHEMA:
        raise RecordError(
            f"{path} has schema version {schema!r}, this release reads versions 1 and {SCHEMA}; measure again"
        )
    wrong = _first_wrong(record, RooflineRecord if record.get("kind") == "roofline" else Record, "")
    if wrong:
        raise RecordError(f"{path} is not a record of factorbench ({wrong})")
    return cast("AnyRecord", record)


def _first_wrong(value: Any, kind: Any, name: str) -> str:
    """Return what is wrong in a value of JSON held against its declared type, "" when nothing is."""
    here = name or "the record"
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return f"{here} must hold fields, got {type(value).__name__}"
        missing = sorted(kind.__required_keys__ - value.keys())
        if missing:
            return f"{here} lacks {', '.join(missing)}"
        hints = get_type_hints(kind)
        parts = ((value[key], hint, f"{name}.{key}".lstrip(".")) for key, hint in hints.items() if key in value)
        return next(filter(None, (_first_wrong(*part) for part in parts)), "")
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list and isinstance(value, list):
        return next(filter(None, (_first_wrong(v, arguments[0], f"{name}[{n}]") for n, v in enumerate(value))), "")
    if origin is dict and isinstance(value, dict):
        return next(filter(None, (_first_wrong(v, arguments[1], f"{name}.{key}") for key, v in value.items())), "")
    if origin is UnionType:
        return "" if any(not _first_wrong(value, one, name) for one in arguments) else f"{here} has a wrong value"
    if origin is Literal:
        return "" if value in arguments else f"{here} must be one of {', '.join(map(repr, arguments))}, got {value!r}"
    if kind is Any or (kind is float and isinstance(value, int) and not isinstance(value, bool)):
        return ""
    good = value is None if kind is type(None) else isinstance(value, origin or kind)
    return "" if good else f"{here} must be {getattr(kind, '__name__', kind)}, got {value!r:.40}"


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
        paths += sorted(source.rglob("*.json")) if source.is_dir() else [source]
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
    """Return the folder of the newest run that holds a record, or None."""
    if not runs.is_dir():
        return None
    folders = [folder for folder in sorted(runs.iterdir()) if folder.is_dir() and any(folder.glob("*.json"))]
    return folders[-1] if folders else None


def cases_table(records: list[Record]) -> pd.DataFrame:
    """One row per record: who, what, how it ended, and the medians over its timed rounds."""
    rows = []
    for record in records:
        rounds, case, target = record["rounds"], record["case"], record["target"]
        calibration = record["calibration"]
        rows.append(
            {
                "run": record["run"],
                "case": case["name"],
                "dataset": case["dataset"],
                "rank": case["rank"],
                "reg": case["reg"],
                "seed": case["seed"],
                "backend": record["backend"]["name"],
                "algorithm": record["backend"]["algorithm"],
                "device": record["backend"]["device"],
                "threads": record["backend"]["threads"],
                "dtype": record["backend"]["dtype"],
                "status": record["status"],
                "reason": record["reason"],
                "target_mse": target["mse"] if target else None,
                "reference_mse": record["reference"]["validation_mse"],
                "epochs": calibration["epochs"] if calibration else None,
                "rounds": len(rounds),
                "seconds": _median(rounds, "seconds"),
                "prepare_seconds": _median(rounds, "prepare_seconds"),
                "validation_mse": _median(rounds, "validation_mse"),
                "test_mse": _median(rounds, "test_mse"),
                "objective": _median(rounds, "objective"),
                "peak_memory_mb": record["peak_memory_mb"],
            }
        )
    return pd.DataFrame(rows)


def rounds_table(records: list[Record]) -> pd.DataFrame:
    """One row per timed round."""
    return pd.DataFrame(
        [
            {
                "case": record["case"]["name"],
                "backend": record["backend"]["name"],
                "status": record["status"],
                **one,
            }
            for record in records
            for one in record["rounds"]
        ]
    )


def trace_table(records: list[Record]) -> pd.DataFrame:
    """One row per epoch of each calibration."""
    return pd.DataFrame(
        [
            {"case": record["case"]["name"], "backend": record["backend"]["name"], **point}
            for record in records
            if record["calibration"]
            for point in record["calibration"]["trace"]
        ]
    )


def roofline_table(records: list[RooflineRecord]) -> pd.DataFrame:
    """One row per backend, rank and number of threads."""
    return pd.DataFrame(
        [
            {
                "run": record["run"],
                "case": record["case"]["name"],
                "backend": record["backend"]["name"],
                "work_model": record["work_model"],
                **cost,
            }
            for record in records
            for cost in record["costs"]
        ]
    )


def _median(rounds: list[Round], column: str) -> float | None:
    values = [value for one in rounds if (value := dict(one)[column]) is not None]
    return float(pd.Series(values).median()) if values else None
