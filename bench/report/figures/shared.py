"""Helpers of several kinds of figures: tidy tables, targets, lines at errors, common layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.records import Round
from bench.report.outcome.cases import Case, Entry
from bench.text.wording import mse

from .figure import Layer, Rule, cut

# Titles of axes.
SECONDS = "time (seconds)"
MSE = "validation MSE (squared rating units)"

# Layers of stacked bars, for a table of `stacked` rows.
STACKED = (
    Layer("bar", "to", "backend", x2="from"),
    Layer("text", "total", "backend", of="last", label="label"),
)


def tidy(
    rows: Sequence[Mapping[str, Any]], texts: Sequence[str], numbers: Sequence[str]
) -> pd.DataFrame:
    """Return a table with columns of texts and of numbers; missing values are "" and NaN."""
    table = pd.DataFrame(list(rows), columns=[*texts, *numbers])
    columns = {}
    for name in texts:
        column = table[name].astype(object)
        columns[name] = column.where(column.notna(), "")
    for name in numbers:
        columns[name] = table[name].astype(float)
    return pd.DataFrame(columns)


def words_of(table: pd.DataFrame, words: Callable[[Any], str]) -> str:
    """Return each row in words, for an alternative text."""
    return "; ".join(words(row) for row in table.itertuples())


def names_in(case: Case, table: pd.DataFrame) -> tuple[str, ...]:
    """Return the backends in a table, in the order of the case."""
    names = set(table["backend"])
    return tuple(entry.name for entry in case.entries if entry.name in names)


def medians_over(column: str) -> tuple[Layer, ...]:
    """Return layers of median seconds against a column, with the range over seeds."""
    return (
        Layer("interval", column, "low", y2="high"),
        Layer("line", column, "seconds"),
        Layer("point", column, "seconds"),
    )


def stacked(
    row: dict[str, object], parts: dict[str, float], unit: str, label: str
) -> list[dict[str, object]]:
    """Return one row per part of a stacked bar, with the columns "from" and "to".

    Parameters
    ----------
    row
        Columns of all parts.
    parts
        Sizes; parts of size 0 are left out.
    unit
        The column of the sizes: "seconds".
    label
        Shown at the end of the bar; only the last row has it.
    """
    rows: list[dict[str, object]] = []
    start = 0.0
    for part, size in parts.items():
        if size and size > 0:
            end = start + size
            rows.append({**row, "kind": "part", "part": part, "from": start, "to": end, unit: size})
            start = end
    if rows:
        rows[-1] |= {"kind": "last", "label": label}
    return rows


def target_name(factor: float) -> str:
    """Return the name of a target, its distance from the reference: "5 %"."""
    return f"{100 * (factor - 1):.3g} %"


def targets_reached(case: Case, entry: Entry) -> dict[float, list[Round]]:
    """Return the rounds to each target that a backend reached, by factor.

    A target counts as reached if it was timed with every seed and matched in every round.
    """
    reached: dict[float, list[Round]] = {}
    for factor in case.targets:
        timed = entry.rounds_to(factor)
        seeds = {round_["seed"] for round_ in timed}
        all_matched = all(round_["matched"] for round_ in timed)
        if timed and seeds == set(entry.record["seeds"]) and all_matched:
            reached[factor] = timed
    return reached


def levels_of(case: Case) -> list[tuple[str, float]]:
    """Return names and validation MSEs of reference, target and baselines."""
    levels = [("reference", case.facts["reference"]["validation_mse"])]
    if case.target is not None:
        levels.append(("target", case.target))
    for name, score in case.facts["baselines"].items():
        levels.append((name, score["validation_mse"]))
    return levels


def levels_in_words(case: Case) -> str:
    """Return the lines that `mse_rules` draws in words, for an alternative text."""
    return "Lines: " + ", ".join(f"{name} {mse(value)}" for name, value in levels_of(case)) + "."


def mse_rules(case: Case) -> tuple[Rule, ...]:
    """Return horizontal lines at reference, target and baselines."""
    return tuple(
        Rule("y", value, f"{cut(name, 20)} {mse(value)}", strong=name == "target")
        for name, value in levels_of(case)
    )
