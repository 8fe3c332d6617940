"""The figure of scaling in size: seconds over the number of ratings, of cases that differ in nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import pandas as pd

from bench.report.figures.figure import Axis, Figure
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, medians_over, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.stats import seed_range
from bench.text.wording import number

# Of the objective too, but for reg, which is chosen for the data.
_SAME = (
    "split",
    "seed",
    "rank",
    "reg_scaling",
    "bias",
    "reg_unit",
    "damping",
    "user_bias_damping",
    "item_bias_damping",
)
_JOINED = "Only cases that differ in nothing but the number of ratings are joined by a line."


def size_figures(cases: Sequence[Case]) -> list[Figure]:
    """Return a figure for each group of cases that differ in size alone, where a backend is ranked in two of them."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(_but_for_size(case), []).append(case)
    tables = [size_table(group) for _, group in sorted(groups.items())]
    made: list[Figure] = []
    for table in (table for table in tables if len(table)):
        stem = f"size-{len(made) + 1}" if made else "size"
        caption = (
            "Seconds to the matching MSE over the number of training ratings, medians with the range over seeds, of "
            "cases that differ in size alone. The target is each case's own."
        )
        said = words_of(table, lambda row: f"{row.backend} {number(row.seconds)} s with {row.ratings:,.0f}")
        values = {"backend": "backend", "case": "case", "ratings": "training ratings", "seconds": "seconds"}
        x = Axis("training ratings", log=True, switchable=True)
        y = Axis(SECONDS, log=True, switchable=True)
        subject = f"over {table['ratings'].nunique()} sizes"
        alt = f"Median seconds: {said}."
        made.append(
            Figure(stem, "Scaling in size", caption, alt, table, x, y, medians_over("ratings"), subject, values=values)
        )
    return made


def size_table(cases: Sequence[Case]) -> pd.DataFrame:
    """Return a row per backend and case in which it is ranked, of the backends that are in two sizes or more."""
    rows = []
    for case in sorted(cases, key=lambda case: case.facts["case"]["n_train"]):
        for entry in case.ranked:
            low, high = seed_range(entry.record["rounds"]) or (None, None)
            row = {"backend": entry.name, "case": case.title, "ratings": case.facts["case"]["n_train"]}
            rows.append({**row, "seconds": entry.median, "low": low, "high": high})
    table = tidy(rows, ("backend", "case"), ("ratings", "seconds", "low", "high"))
    several = table.groupby("backend")["ratings"].transform("nunique") > 1
    return table[several].sort_values(["backend", "ratings"], ignore_index=True)


def _but_for_size(case: Case) -> str:
    """Return what cases of several sizes share; the twin has its size in its name."""
    facts, target = case.facts["case"], case.facts["target"]
    dataset = re.sub(r" x[0-9.]+$", "", facts["dataset"])
    same = [dict(facts)[name] for name in _SAME]
    if facts["reg_unit"] != "rating":  # in records before version 5 it is reg
        same.append(facts["bias_reg"])
    machine = case.facts["key"].get("machine", "")
    return json.dumps([dataset, *same, target["factor"] if target else None, machine])


KIND = Kind(
    make=size_figures,
    over="cases",
    order=20,
    stems=("size",),
    method=(_JOINED, method.TIMING, method.SEEDS),
    numbered=True,
)
