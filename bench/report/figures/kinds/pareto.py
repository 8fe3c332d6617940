"""The figure of time against error: what seconds buy at each rung of the ladder."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import MSE, SECONDS, mse_rules, rung_name, rungs_reached, said_levels, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.stats import summary
from bench.text.wording import mse, number


def pareto(case: Case) -> list[Figure]:
    """Return what seconds buy: seconds and validation MSE of each ranked backend at each rung that it reached."""
    table = pareto_table(case)
    if table.empty:
        return []
    low = min(float(table["validation_mse"].min()), case.facts["reference"]["validation_mse"])
    high = max(float(table["validation_mse"].max()), case.target or 0.0)
    room = 0.12 * (high - low)
    y = Axis(MSE, limits=(low - room, high + room))
    layers = (
        Layer("front", "seconds", "validation_mse"),
        Layer("line", "seconds", "validation_mse", small=True),
        Layer("point", "seconds", "validation_mse"),
    )
    caption = (
        "Seconds against the validation MSE that they buy: each ranked backend at each rung that it reached with every "
        "seed, medians. On the dashed steps nothing is both faster and better."
    )
    said = words_of(table, lambda row: f"{row.backend} {mse(row.validation_mse)} in {number(row.seconds)} s")
    values = {"backend": "backend", "rung": "rung", "seconds": "seconds", "validation_mse": "MSE"}
    x = Axis(SECONDS, log=True, switchable=True)
    alt = f"{said}. {said_levels(case)}"
    figure = Figure(
        "pareto", "Time against error", caption, alt, table, x, y, layers, case.title, mse_rules(case), values=values
    )
    return [figure]


def pareto_table(case: Case) -> pd.DataFrame:
    """Return a row per ranked backend and rung that it reached."""
    rows = [
        {
            "backend": entry.name,
            "rung": rung_name(factor),
            "seconds": summary(rounds),
            "validation_mse": summary(rounds, "validation_mse"),
        }
        for entry in case.ranked
        for factor, rounds in rungs_reached(case, entry).items()
    ]
    return tidy(rows, ("backend", "rung"), ("seconds", "validation_mse"))


KIND = Kind(
    make=pareto,
    over="case",
    order=50,
    # The latter was written by earlier releases.
    stems=("pareto", "accuracy"),
    method=(method.RUNGS, method.GATE, method.SEEDS),
    about_times=True,
)
