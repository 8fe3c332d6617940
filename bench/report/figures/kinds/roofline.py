"""Figures of a roofline: nanoseconds per rating over the rank, beside what the machine's limits allow."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from bench.records import EpochCost
from bench.report.figures.figure import Axis, Figure, Layer, Rule
from bench.report.figures.kind import Kind
from bench.report.figures.shared import tidy, words_of
from bench.report.outcome.rooflines import Roofline
from bench.text.wording import number, plural

_TOLD_BELOW = "How limits and nanoseconds are measured is told below the figures."
_LIMITS: tuple[tuple[Literal["memory_ns", "arithmetic_ns", "chain_ns"], str], ...] = (
    ("memory_ns", "memory limit"),
    ("arithmetic_ns", "arithmetic limit"),
    ("chain_ns", "dependency chain"),
)


def roofline_figures(roofline: Roofline) -> list[Figure]:
    """Return a figure per number of threads and work model, on the same axes; none where no epoch was measured."""
    panels = list(dict.fromkeys((cost["threads"], record["work_model"]) for record, cost in roofline.costs))
    tables = [(count, model, roofline_table(roofline, count, model)) for count, model in sorted(panels)]
    if not tables:
        return []
    everything = pd.concat([table["ns"] for _, _, table in tables])
    ranks = tuple(sorted({float(cost["rank"]) for _, cost in roofline.costs}))
    x = Axis("rank (factors)", log=True, ticks=ranks, log_limits=(ranks[0] / 1.25, ranks[-1] * 1.25))
    positive = everything[everything > 0]
    y = Axis("ns per rating and epoch", log=True, log_limits=(positive.min() / 1.5, positive.max() * 1.5))
    measured_layers = (Layer("line", "rank", "ns", of="measured"), Layer("point", "rank", "ns", of="measured"))
    limit_layers = (Layer("line", "rank", "ns", of="limit", dash="limit"),) if len(ranks) > 1 else ()
    caption = (
        "Nanoseconds per rating and epoch over the rank, and the least that each limit of this machine allows by the "
        "work model: the largest limit that binds is the roof."
    )
    values = {"backend": "backend", "limit": "limit", "rank": "rank", "ns": "ns per rating", "share": "% of the limit"}
    made = []
    for at, (count, model, table) in enumerate(tables, 1):
        measured = table[table["kind"] == "measured"]
        said = words_of(measured, lambda row: f"{row.backend} {number(row.ns)} ns at rank {row.rank:g}")
        title = f"Roofline: {model}, {plural(count, 'thread')}"
        # A line of one point would not be seen: then the limit lies across the figure.
        limits = table[table["kind"] == "limit"] if not limit_layers else table[:0]
        rules = tuple(Rule("y", float(ns), str(name)) for ns, name in zip(limits["ns"], limits["limit"], strict=True))
        layers = limit_layers + measured_layers
        stem = f"roofline-{at}" if len(tables) > 1 else "roofline"
        made.append(
            Figure(stem, title, caption, f"{title}: {said}.", table, x, y, layers, roofline.title, rules, values=values)
        )
    return made


def roofline_table(roofline: Roofline, threads: int, model: str) -> pd.DataFrame:
    """Return a row per backend and rank, and one per limit and rank, of one work model with so many threads."""
    costs: list[tuple[str, EpochCost]] = [
        (record["backend"]["name"], cost)
        for record, cost in roofline.costs
        if (record["work_model"], cost["threads"]) == (model, threads)
    ]
    rows: list[dict[str, object]] = []
    for column, limit in _LIMITS:
        line = {cost["rank"]: ns for _, cost in costs if (ns := cost[column]) is not None}
        rows += [{"kind": "limit", "limit": limit, "rank": rank, "ns": line[rank]} for rank in sorted(line)]
    rows += [
        {"backend": name, "kind": "measured", "rank": cost["rank"], "ns": cost["ns"], "share": 100 * cost["share"]}
        for name, cost in sorted(costs, key=lambda one: (one[0], one[1]["rank"]))
    ]
    return tidy(rows, ("backend", "kind", "limit"), ("rank", "ns", "share"))


KIND = Kind(
    make=roofline_figures,
    over="roofline",
    order=10,
    stems=("roofline",),
    method=(_TOLD_BELOW,),
    numbered=True,
)
