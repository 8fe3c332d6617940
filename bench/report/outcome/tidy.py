"""Tidy tables made from records: one row per record, round, epoch, cold start or cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd

from bench.records.schema import GPUCheck, Record, RooflineRecord
from bench.stats import summary, warnings_of

from .starts import median_start

_PENALTY = (
    "reg",
    "reg_unit",
    "damping",
    "bias_reg",
    "user_bias_damping",
    "item_bias_damping",
)
_LISTS = ("ndcg", "precision", "recall", "coverage", "rare")
_CLOCK = ("prepare_seconds", "first_epoch_seconds", "epoch_seconds", "cpu_seconds", "energy_joules")


def cases_table(records: list[Record]) -> pd.DataFrame:
    """Return one row per record: case, backend, outcome and summaries over the timed rounds."""
    return pd.DataFrame([_settings(record) | _outcome(record) for record in records])


def _settings(record: Record) -> dict[str, Any]:
    """Return what was measured: the case and the backend."""
    case, backend = record["case"], record["backend"]
    own = backend["params"]  # a contender may have a penalty of its own
    penalty = {name: own.get(name, value) for name, value in case.items() if name in _PENALTY}
    return {
        "run": record["run"],
        "case": case["name"],
        "dataset": case["dataset"],
        "rank": case["rank"],
        **penalty,
        "seed": case["seed"],
        "backend": backend["name"],
        "algorithm": backend["algorithm"],
        "products": record.get("products", ""),
        "device": backend["device"],
        "threads": backend["threads"],
        "dtype": backend["dtype"],
    }


def _outcome(record: Record) -> dict[str, Any]:
    """Return status, times, errors and memory."""
    rounds, calibrations = record["rounds"], record["calibrations"]
    target, memory = record["target"], record["memory"]
    lists: list[dict[str, Any]] = [dict(scores) for scores in record.get("lists", [])]
    evaluations = [calibration["evaluation_seconds"] for calibration in calibrations]
    first, new = median_start(record, "empty"), median_start(record, "filled")
    return {
        "status": record["status"],
        "reason": record["reason"],
        "target_mse": target["mse"] if target else None,
        "reference_mse": record["reference"]["validation_mse"],
        "epochs": _median([calibration["epochs"] for calibration in calibrations]),
        "seeds": len(record["seeds"]),
        "rounds": len(rounds),
        "seconds": summary(rounds),
        "gave_up_after": record["gave_up_after"],
        **{column: summary(rounds, column) for column in _CLOCK},
        "evaluation_seconds": _median(evaluations),
        "cold_seconds": first["total_seconds"] if first else None,
        "cold_seconds_caches_filled": new["total_seconds"] if new else None,
        "validation_mse": summary(rounds, "validation_mse"),
        "test_mse": summary(rounds, "test_mse"),
        "objective": summary(rounds, "objective"),
        **{column: _median([scores[column] for scores in lists]) for column in _LISTS},
        "peak_memory_mb": memory["peak_mb"] if memory else None,
        "fit_memory_mb": memory["fit_mb"] if memory else None,
        "device_memory_mb": memory["device_mb"] if memory else None,
        "warnings": "; ".join(warnings_of(record)),
    }


def rounds_table(records: list[Record]) -> pd.DataFrame:
    """Return one row per timed round to the matching target and to the others."""
    return pd.DataFrame(
        [
            {**_who(record), "status": record["status"], **round_}
            for record in records
            for round_ in [*record["rounds"], *record["rungs"]]
        ]
    )


def trace_table(records: list[Record]) -> pd.DataFrame:
    """Return one row per epoch of each calibration."""
    return pd.DataFrame(
        [
            {**_who(record), "seed": calibration["seed"], **point}
            for record in records
            for calibration in record["calibrations"]
            for point in calibration["trace"]
        ]
    )


def cold_table(records: list[Record]) -> pd.DataFrame:
    """Return one row per start, split into its phases.

    Cold starts have empty or filled caches, and are numbered from 1 for each. A warm start is the
    summary of the timed rounds, without a number.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        count: Counter[str] = Counter()
        for start in record["cold"]:
            count[start["caches"]] += 1
            rows.append({**_who(record), "start": count[start["caches"]], **start})
        warm = summary(record["rounds"])
        if warm is None:
            continue
        row = {
            **_who(record),
            "start": None,
            "caches": "warm",
            "import_seconds": 0.0,
            "compile_seconds": 0.0,
            "prepare_seconds": summary(record["rounds"], "prepare_seconds"),
            "fit_seconds": warm,
            "total_seconds": warm,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def roofline_table(records: list[RooflineRecord]) -> pd.DataFrame:
    """Return one row per backend, number of factors and number of threads."""
    return pd.DataFrame(
        [
            {
                "run": record["run"],
                "case": record["case"]["name"],
                "backend": record["backend"]["name"],
                "work_model": record["work_model"],
                "products": record.get("products", ""),
                **cost,
            }
            for record in records
            for cost in record["costs"]
        ]
    )


def gpu_table(checks: list[GPUCheck]) -> pd.DataFrame:
    """Return one row per time of a check of a GPU: of a step, or of a fit to the target."""
    rows: list[dict[str, Any]] = []
    for check in checks:
        about = {"run": check["run"], "device": check["device"]}
        rows += [{**about, **timing} for timing in check["timings"]]
        for fit in check["fits"]:
            facts: dict[str, Any] = {name: value for name, value in fit.items() if name != "look"}
            rows.append({**about, "what": "to the target", **facts})
    return pd.DataFrame(rows)


def _who(record: Record) -> dict[str, Any]:
    """Return the columns that identify a record."""
    return {
        "case": record["case"]["name"],
        "backend": record["backend"]["name"],
        "threads": record["backend"]["threads"],
    }


def _median(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return float(pd.Series(known).median()) if known else None
