"""The figures of convergence: validation MSE over seconds and over epochs of the calibration."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.records import TracePoint
from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import MSE, levels_of, mse_rules, said_levels, tidy
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.text.wording import mse

_POINTS = 80  # that a line is thinned to
_HUGE = 1e12  # an error that nobody needs to see in its place
_VALUES = {"backend": "backend", "seed": "seed", "epoch": "epoch", "seconds": "seconds", "validation_mse": "MSE"}
_LINES = (
    "The lines are those of the calibration. Its clock stands still while the validation set is scored, so that "
    "seconds are of training alone."
)


def convergence(case: Case) -> list[Figure]:
    """Return the convergence over seconds and over epochs; none where no trace is known."""
    table = convergence_table(case)
    if table.empty:
        return []
    limits, log_limits = _windows(case, table["validation_mse"])
    y = Axis(MSE, switchable=True, limits=limits, log_limits=log_limits)
    best = table.groupby("backend", sort=False)["validation_mse"].min()
    said = "; ".join(f"{name} {mse(float(value))}" for name, value in best.items())
    caption = (
        "Validation MSE after each epoch of the calibration, of the first seed in full and of the others faint; a "
        "hollow marker is the first epoch at or under the target. The linear axis is cut above the nearest baseline."
        + _beyond(case, table, limits[1])
    )
    made = []
    for stem, column, title, unit in (
        ("convergence_seconds", "seconds", "Convergence over time", "training time (seconds)"),
        ("convergence_epochs", "epoch", "Convergence over epochs", "epochs"),
    ):
        layers = (
            Layer("line", column, "validation_mse", of="other seed", detail=("seed",), small=True),
            Layer("line", column, "validation_mse", of="first seed"),
            Layer("point", column, "validation_mse", of="reached", hollow=True),
        )
        alt = f"Lines of validation MSE over {unit}. Lowest of each backend: {said}. {said_levels(case)}"
        x = Axis(unit, log=True, switchable=True)
        rules = mse_rules(case)
        figure = Figure(stem, title, caption, alt, table, x, y, layers, case.title, rules, values=_VALUES)
        made.append(figure)
    return made


def convergence_table(case: Case) -> pd.DataFrame:
    """Return a row per epoch of each calibration, thinned, and one for the epoch that reached the target."""
    rows = []
    for entry in case.entries:
        for at, calibration in enumerate(entry.record["calibrations"]):
            kind = "other seed" if at else "first seed"
            points = [point for point in calibration["trace"] if _can_be_drawn(point)]
            hit = next((one for one in points if one["epoch"] == calibration["epochs"]), None)
            kept = [(kind, point) for point in thinned(points)]
            if hit and kind == "first seed":
                kept.append(("reached", hit))
            who = {"backend": entry.name, "seed": str(calibration["seed"])}
            rows += [{**who, "kind": kind, **point} for kind, point in kept]
    return tidy(rows, ("backend", "kind", "seed"), ("epoch", "seconds", "validation_mse"))


def thinned(trace: list[TracePoint]) -> list[TracePoint]:
    """Return at most about 80 points, even over the logarithm of the epoch, the best and the last among them."""
    if len(trace) <= _POINTS:
        return trace
    kept = set(np.unique(np.geomspace(1, len(trace), _POINTS).round().astype(int) - 1).tolist())
    best = min(range(len(trace)), key=lambda at: trace[at]["validation_mse"])
    return [trace[at] for at in sorted(kept | {best})]


def _windows(case: Case, values: pd.Series[float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return what to show of a linear MSE axis, to over the nearest baseline, and of a logarithmic one, nearly all."""
    levels = [value for _, value in levels_of(case)]
    goal = case.target or levels[0]
    bottom = min([float(values.min()), *levels])
    top = min([goal * 1.25, *(value for value in levels if value > goal)])
    all_of_it = min(float(values.max()), 50 * max(levels))
    linear = (bottom - 0.06 * (top - bottom), top + 0.3 * (top - bottom))
    spread = max(all_of_it, *levels, top) / bottom
    return linear, (bottom * spread**-0.04, bottom * spread**1.04)


def _beyond(case: Case, table: pd.DataFrame, top: float) -> str:
    """Name the backends that were calibrated and are nowhere on the linear axis, "" for none."""
    seen = set(table[table["validation_mse"] <= top]["backend"])
    traced = [one.name for one in case.entries if any(run["trace"] for run in one.record["calibrations"])]
    beyond = [name for name in traced if name not in seen]
    return f" All of it is beyond the linear axis: {', '.join(beyond)}." if beyond else ""


def _can_be_drawn(point: TracePoint) -> bool:
    value, seconds = point["validation_mse"], point["seconds"]
    return bool(value is not None and seconds and 0 < value < _HUGE and seconds > 0)


KIND = Kind(
    make=convergence,
    over="case",
    order=20,
    # The last was written by earlier releases.
    stems=("convergence_seconds", "convergence_epochs", "convergence"),
    method=(method.CALIBRATION, _LINES),
)
