"""The figure of time against error: the seconds that a backend needs for each target."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import (
    MSE,
    SECONDS,
    levels_in_words,
    mse_rules,
    target_name,
    targets_reached,
    tidy,
    words_of,
)
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.stats import summary
from bench.text.wording import mse, number


def pareto(case: Case) -> list[Figure]:
    """Return seconds and validation MSE of each ranked backend at each target that it reached."""
    table = pareto_table(case)
    if table.empty:
        return []
    low = min(float(table["validation_mse"].min()), case.facts["reference"]["validation_mse"])
    high = max(float(table["validation_mse"].max()), case.target or 0.0)
    margin = 0.12 * (high - low)
    layers = (
        Layer("front", "seconds", "validation_mse"),
        Layer("line", "seconds", "validation_mse", small=True),
        Layer("point", "seconds", "validation_mse"),
    )
    caption = (
        "Seconds against validation MSE: the medians of each ranked backend at each target that it "
        "reached with every seed. No backend is both faster and more accurate than the dashed "
        "steps."
    )
    points = words_of(
        table, lambda row: f"{row.backend} {mse(row.validation_mse)} in {number(row.seconds)} s"
    )
    values = {
        "backend": "backend",
        "target": "target",
        "seconds": "seconds",
        "validation_mse": "MSE",
    }
    figure = Figure(
        stem="pareto",
        title="Time against error",
        caption=caption,
        alt=f"{points}. {levels_in_words(case)}",
        table=table,
        x=Axis(SECONDS, log=True, switchable=True),
        y=Axis(MSE, limits=(low - margin, high + margin)),
        layers=layers,
        subject=case.title,
        rules=mse_rules(case),
        values=values,
    )
    return [figure]


def pareto_table(case: Case) -> pd.DataFrame:
    """Return one row per ranked backend and target that it reached."""
    rows = []
    for entry in case.ranked:
        for factor, rounds in targets_reached(case, entry).items():
            row = {
                "backend": entry.name,
                "target": target_name(factor),
                "seconds": summary(rounds),
                "validation_mse": summary(rounds, "validation_mse"),
            }
            rows.append(row)
    return tidy(rows, ("backend", "target"), ("seconds", "validation_mse"))


KIND = Kind(
    make=pareto,
    over="case",
    order=50,
    stems=("pareto", "accuracy", "targets", "rungs"),  # earlier releases wrote all but the first
    method=(method.TARGETS, method.GATE, method.SEEDS),
    about_times=True,
)
