"""What several kinds of figures share: tidy tables, rungs, lines at errors, layers that recur."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.records import Round
from bench.report.outcome.cases import Case, Entry
from bench.text.wording import mse

from .figure import Layer, Rule, cut

SECONDS = "time (seconds)"  # titles of axes
MSE = "validation MSE (squared rating units)"
STACKED = (
    Layer("bar", "to", "backend", x2="from"),
    Layer("text", "total", "backend", of="last", label="label"),
)  # of a table of `stacked` rows


def tidy(rows: Sequence[Mapping[str, Any]], texts: Sequence[str], numbers: Sequence[str]) -> pd.DataFrame:
    """Return rows as a table: texts, "" where a row has none, and numbers, NaN where a row has none."""
    table = pd.DataFrame(list(rows), columns=[*texts, *numbers])
    made = {name: table[name].astype(object).where(table[name].notna(), "") for name in texts}
    return pd.DataFrame({**made, **{name: table[name].astype(float) for name in numbers}})


def words_of(table: pd.DataFrame, words: Callable[[Any], str]) -> str:
    """Say each row in words, as an alternative text does."""
    return "; ".join(words(row) for row in table.itertuples())


def names_in(case: Case, table: pd.DataFrame) -> tuple[str, ...]:
    """Return the backends in a table, in the order of the case."""
    there = set(table["backend"])
    return tuple(entry.name for entry in case.entries if entry.name in there)


def medians_over(column: str) -> tuple[Layer, ...]:
    """Return the layers of median seconds over a column, with the range over seeds: "low" to "high"."""
    return (
        Layer("interval", column, "low", y2="high"),
        Layer("line", column, "seconds"),
        Layer("point", column, "seconds"),
    )


def stacked(row: dict[str, object], parts: dict[str, float], unit: str, label: str) -> list[dict[str, object]]:
    """Return a row per part that is there, from where to where it reaches; the last carries the label."""
    made: list[dict[str, object]] = []
    at = 0.0
    for part, size in parts.items():
        if size and size > 0:
            made.append({**row, "kind": "part", "part": part, "from": at, "to": at + size, unit: size})
            at += size
    if made:
        made[-1] |= {"kind": "last", "label": label}
    return made


def rung_name(factor: float) -> str:
    """Name a rung by how far it is above the reference: "5 %"."""
    return f"{100 * (factor - 1):.3g} %"


def rungs_reached(case: Case, entry: Entry) -> dict[float, list[Round]]:
    """Return the rounds to each rung in use that was reached and timed with every seed, and met in every round."""
    reached: dict[float, list[Round]] = {}
    for factor in case.rungs:
        timed = entry.rounds_to(factor)
        seeds = {one["seed"] for one in timed}
        if timed and seeds == set(entry.record["seeds"]) and all(one["matched"] for one in timed):
            reached[factor] = timed
    return reached


def levels_of(case: Case) -> list[tuple[str, float]]:
    """Return the errors that a case is judged by, with their names."""
    levels = [("reference", case.facts["reference"]["validation_mse"])]
    levels += [("target", case.target)] if case.target is not None else []
    return levels + [(name, score["validation_mse"]) for name, score in case.facts["baselines"].items()]


def said_levels(case: Case) -> str:
    """Name the lines that `mse_rules` draws, as an alternative text does."""
    return "Lines: " + ", ".join(f"{name} {mse(value)}" for name, value in levels_of(case)) + "."


def mse_rules(case: Case) -> tuple[Rule, ...]:
    """Return the target, the reference and the baselines as lines across."""
    return tuple(
        Rule("y", value, f"{cut(name, 20)} {mse(value)}", strong=name == "target") for name, value in levels_of(case)
    )
