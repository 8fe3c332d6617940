"""Tidy tables made from records: one row per record, round, epoch, cold start or cost."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.records.schema import Record, RooflineRecord
from bench.stats import doubts, summary

_CLOCK = ("prepare_seconds", "first_epoch_seconds", "epoch_seconds", "cpu_seconds", "energy_joules")


def cases_table(records: list[Record]) -> pd.DataFrame:
    """One row per record: who, what, how it ended, and the summaries over its timed rounds (`bench.stats.summary`)."""
    rows = []
    for record in records:
        case, backend, target, memory = record["case"], record["backend"], record["target"], record["memory"]
        cold = {one["caches"]: one["total_seconds"] for one in record["cold"]}
        row: dict[str, Any] = {
            "run": record["run"],
            "case": case["name"],
            "dataset": case["dataset"],
            "rank": case["rank"],
            "reg": case["reg"],
            "reg_unit": case["reg_unit"],
            "damping": case["damping"],
            "bias_reg": case["bias_reg"],
            "user_bias_damping": case["user_bias_damping"],
            "item_bias_damping": case["item_bias_damping"],
            "seed": case["seed"],
            "backend": backend["name"],
            "algorithm": backend["algorithm"],
            "device": backend["device"],
            "threads": backend["threads"],
            "dtype": backend["dtype"],
            "status": record["status"],
            "reason": record["reason"],
            "target_mse": target["mse"] if target else None,
            "reference_mse": record["reference"]["validation_mse"],
            "epochs": _median([one["epochs"] for one in record["calibrations"]]),
            "seeds": len(record["seeds"]),
            "rounds": len(record["rounds"]),
            "seconds": summary(record["rounds"]),
            "gave_up_after": record["gave_up_after"],
        }
        for column in _CLOCK:
            row[column] = summary(record["rounds"], column)
        row |= {
            "evaluation_seconds": _median([one["evaluation_seconds"] for one in record["calibrations"]]),
            "cold_seconds": cold.get("empty"),
            "cold_seconds_caches_filled": cold.get("filled"),
            "validation_mse": summary(record["rounds"], "validation_mse"),
            "test_mse": summary(record["rounds"], "test_mse"),
            "objective": summary(record["rounds"], "objective"),
            "peak_memory_mb": memory["peak_mb"] if memory else None,
            "fit_memory_mb": memory["fit_mb"] if memory else None,
            "device_memory_mb": memory["device_mb"] if memory else None,
            "warnings": "; ".join(doubts(record)),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def rounds_table(records: list[Record]) -> pd.DataFrame:
    """One row per timed round, of the target and of the other rungs."""
    return pd.DataFrame(
        [
            {**_who(record), "status": record["status"], **one}
            for record in records
            for one in (*record["rounds"], *record["rungs"])
        ]
    )


def trace_table(records: list[Record]) -> pd.DataFrame:
    """One row per epoch of each calibration."""
    return pd.DataFrame(
        [
            {**_who(record), "seed": calibration["seed"], **point}
            for record in records
            for calibration in record["calibrations"]
            for point in calibration["trace"]
        ]
    )


def cold_table(records: list[Record]) -> pd.DataFrame:
    """One row per start: cold with empty and with filled caches, and warm, each split into its parts."""
    rows: list[dict[str, Any]] = []
    for record in records:
        rows += [{**_who(record), **one} for one in record["cold"]]
        warm, prepare = summary(record["rounds"]), summary(record["rounds"], "prepare_seconds")
        if warm is not None:
            parts = {"import_seconds": 0.0, "compile_seconds": 0.0, "prepare_seconds": prepare}
            rows.append({**_who(record), "caches": "warm", **parts, "fit_seconds": warm, "total_seconds": warm})
    return pd.DataFrame(rows)


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


def _who(record: Record) -> dict[str, Any]:
    return {
        "case": record["case"]["name"],
        "backend": record["backend"]["name"],
        "threads": record["backend"]["threads"],
    }


def _median(values: list[Any]) -> float | None:
    known = [value for value in values if value is not None]
    return float(pd.Series(known).median()) if known else None
