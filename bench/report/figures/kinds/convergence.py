"""The figures of convergence: validation MSE against seconds and epochs of the calibration."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.records import TracePoint
from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import MSE, levels_in_words, levels_of, mse_rules, tidy
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.text.wording import mse

_MAX_POINTS = 80  # per line
_MAX_MSE = 1e12  # points of a diverging fit above it are left out
_VALUES = {
    "backend": "backend",
    "seed": "seed",
    "epoch": "epoch",
    "seconds": "seconds",
    "validation_mse": "MSE",
}
_LINES = (
    "The lines are those of the calibration. Its clock is stopped during evaluations on the "
    "validation set, so that seconds are seconds of training."
)
_FIGURES = (
    # stem, column on the x axis, title, title of the x axis
    ("convergence_seconds", "seconds", "Convergence over time", "training time (seconds)"),
    ("convergence_epochs", "epoch", "Convergence over epochs", "epochs"),
)


def convergence(case: Case) -> list[Figure]:
    """Return the convergence against seconds and against epochs; [] without any calibration."""
    table = convergence_table(case)
    if table.empty:
        return []
    limits, log_limits = _limits(case, table["validation_mse"])
    best = table.groupby("backend", sort=False)["validation_mse"].min()
    lowest = "; ".join(f"{name} {mse(float(value))}" for name, value in best.items())
    caption = (
        "Validation MSE after each epoch of the calibration: the first seed, and the others faint. "
        "Hollow markers are the first epoch at or below the target. The linear axis ends just "
        f"above the nearest baseline.{_beyond(case, table, limits[1])}"
    )
    figures = []
    for stem, column, title, x_title in _FIGURES:
        layers = (
            Layer("line", column, "validation_mse", of="other seed", detail=("seed",), small=True),
            Layer("line", column, "validation_mse", of="first seed"),
            Layer("point", column, "validation_mse", of="reached", hollow=True),
        )
        alt = (
            f"Lines of validation MSE over {x_title}. Lowest of each backend: {lowest}. "
            f"{levels_in_words(case)}"
        )
        figure = Figure(
            stem=stem,
            title=title,
            caption=caption,
            alt=alt,
            table=table,
            x=Axis(x_title, log=True, switchable=True),
            y=Axis(MSE, switchable=True, limits=limits, log_limits=log_limits),
            layers=layers,
            subject=case.title,
            rules=mse_rules(case),
            values=_VALUES,
        )
        figures.append(figure)
    return figures


def convergence_table(case: Case) -> pd.DataFrame:
    """Return one row per epoch of each calibration, thinned, and per epoch that reached the target.

    The latter is only given for the first seed.
    """
    rows = []
    for entry in case.entries:
        for place, calibration in enumerate(entry.record["calibrations"]):
            kind = "other seed" if place else "first seed"
            identity = {"backend": entry.name, "seed": str(calibration["seed"])}
            points = [point for point in calibration["trace"] if _can_be_drawn(point)]
            rows += [{**identity, "kind": kind, **point} for point in thinned(points)]
            if kind == "first seed":
                # Epochs that were added when timed rounds missed the target are on no line.
                seen = (calibration["epochs"] or 0) - calibration.get("added", 0)
                reached = [point for point in points if point["epoch"] == seen]
                rows += [{**identity, "kind": "reached", **point} for point in reached[:1]]
    return tidy(rows, ("backend", "kind", "seed"), ("epoch", "seconds", "validation_mse"))


def thinned(trace: list[TracePoint]) -> list[TracePoint]:
    """Return at most about 80 points, evenly spaced in the logarithm of the epoch.

    The best point and the last are among them.
    """
    if len(trace) <= _MAX_POINTS:
        return trace
    epochs = np.geomspace(1, len(trace), _MAX_POINTS).round().astype(int)
    chosen = set((epochs - 1).tolist())
    best = min(range(len(trace)), key=lambda place: trace[place]["validation_mse"])
    return [trace[place] for place in sorted(chosen | {best})]


def _limits(
    case: Case, values: pd.Series[float]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the limits of the MSE axis, linear and logarithmic.

    The linear axis shows the range in which backends compete: from the lowest value to somewhat
    above the nearest baseline, or to 1.25 times the target if no baseline is nearer. The
    logarithmic axis shows everything up to 50 times the worst baseline.
    """
    levels = [value for _, value in levels_of(case)]
    goal = case.target or levels[0]
    bottom = min(float(values.min()), *levels)
    top = min([goal * 1.25, *(value for value in levels if value > goal)])
    linear = (bottom - 0.06 * (top - bottom), top + 0.3 * (top - bottom))
    highest = max(min(float(values.max()), 50 * max(levels)), *levels, top)
    spread = highest / bottom
    return linear, (bottom * spread**-0.04, bottom * spread**1.04)


def _beyond(case: Case, table: pd.DataFrame, top: float) -> str:
    """Return a sentence with the backends that are above the linear axis, "" for none."""
    visible = set(table[table["validation_mse"] <= top]["backend"])
    calibrated = [
        entry.name
        for entry in case.entries
        if any(calibration["trace"] for calibration in entry.record["calibrations"])
    ]
    beyond = [name for name in calibrated if name not in visible]
    return f" Entirely above the linear axis: {', '.join(beyond)}." if beyond else ""


def _can_be_drawn(point: TracePoint) -> bool:
    value, seconds = point["validation_mse"], point["seconds"]
    if value is None or not seconds:
        return False
    return 0 < value < _MAX_MSE and seconds > 0


KIND = Kind(
    make=convergence,
    over="case",
    order=20,
    # Earlier releases wrote the last one.
    stems=("convergence_seconds", "convergence_epochs", "convergence"),
    method=(method.CALIBRATION, _LINES),
)
