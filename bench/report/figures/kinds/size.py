"""The figure of scaling with size: seconds against the number of ratings."""

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

# What cases of several sizes must share. `reg` is not included, as it is chosen for the data.
_SHARED = (
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
_METHOD = "Lines connect only cases that differ in nothing but the number of ratings."
_CAPTION = (
    "Seconds to the matching MSE against the number of training ratings: medians and the range "
    "over seeds, of cases that differ only in size. Each case has its own target."
)


def size_figures(cases: Sequence[Case]) -> list[Figure]:
    """Return a figure per group of cases that differ only in size.

    Groups in which no backend is ranked with two sizes have none.
    """
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(_all_but_size(case), []).append(case)
    figures: list[Figure] = []
    for key in sorted(groups):
        table = size_table(groups[key])
        if table.empty:
            continue
        stem = f"size-{len(figures) + 1}" if figures else "size"
        figures.append(_figure(stem, table))
    return figures


def _figure(stem: str, table: pd.DataFrame) -> Figure:
    medians = words_of(
        table, lambda row: f"{row.backend} {number(row.seconds)} s with {row.ratings:,.0f}"
    )
    values = {
        "backend": "backend",
        "case": "case",
        "ratings": "training ratings",
        "seconds": "seconds",
    }
    return Figure(
        stem=stem,
        title="Scaling with size",
        caption=_CAPTION,
        alt=f"Median seconds: {medians}.",
        table=table,
        x=Axis("training ratings", log=True, switchable=True),
        y=Axis(SECONDS, log=True, switchable=True),
        layers=medians_over("ratings"),
        subject=f"over {table['ratings'].nunique()} sizes",
        values=values,
    )


def size_table(cases: Sequence[Case]) -> pd.DataFrame:
    """Return one row per backend and case, of backends ranked with two sizes or more."""
    rows = []
    for case in sorted(cases, key=lambda case: case.facts["case"]["n_train"]):
        for entry in case.ranked:
            low, high = seed_range(entry.record["rounds"]) or (None, None)
            row = {
                "backend": entry.name,
                "case": case.title,
                "ratings": case.facts["case"]["n_train"],
                "seconds": entry.median,
                "low": low,
                "high": high,
            }
            rows.append(row)
    table = tidy(rows, ("backend", "case"), ("ratings", "seconds", "low", "high"))
    several = table.groupby("backend")["ratings"].transform("nunique") > 1
    return table[several].sort_values(["backend", "ratings"], ignore_index=True)


def _all_but_size(case: Case) -> str:
    """Return what cases of several sizes share, as one text."""
    facts, target = case.facts["case"], case.facts["target"]
    dataset = re.sub(r" x[0-9.]+$", "", facts["dataset"])  # the name of a twin has its size in it
    shared = [dict(facts)[name] for name in _SHARED]
    if facts["reg_unit"] != "rating":  # in records before version 5, bias_reg is reg
        shared.append(facts["bias_reg"])
    machine = case.facts["key"].get("machine", "")
    return json.dumps([dataset, *shared, target["factor"] if target else None, machine])


KIND = Kind(
    make=size_figures,
    over="cases",
    order=20,
    stems=("size",),
    method=(_METHOD, method.TIMING, method.SEEDS),
    numbered=True,
)
