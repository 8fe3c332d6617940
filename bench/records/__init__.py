"""The stored result: one JSON record per measured case.

There are two kinds of records: a `Record` of the time to the matching MSE, and a `RooflineRecord` of the cost of an
epoch beside the machine's limits. This package owns every field and column name and the schema version. It imports no
backend, so that a report can be made where no solver is installed.
"""

from .schema import (
    SCHEMA,
    AnyRecord,
    Backend,
    BoundName,
    Calibration,
    CaseFacts,
    ChainLatency,
    Cold,
    Environment,
    EpochCost,
    Failure,
    MachineFacts,
    MachineLimits,
    Memory,
    ProcessFacts,
    Record,
    Reference,
    RooflineRecord,
    Round,
    Score,
    Status,
    Target,
    TargetReached,
    TracePoint,
)
from .store import RUNS, RecordError, by_kind, newest_run, read_record, read_records, record_path, write_record

__all__ = [
    "RUNS",
    "SCHEMA",
    "AnyRecord",
    "Backend",
    "BoundName",
    "Calibration",
    "CaseFacts",
    "ChainLatency",
    "Cold",
    "Environment",
    "EpochCost",
    "Failure",
    "MachineFacts",
    "MachineLimits",
    "Memory",
    "ProcessFacts",
    "Record",
    "RecordError",
    "Reference",
    "RooflineRecord",
    "Round",
    "Score",
    "Status",
    "Target",
    "TargetReached",
    "TracePoint",
    "by_kind",
    "newest_run",
    "read_record",
    "read_records",
    "record_path",
    "write_record",
]
