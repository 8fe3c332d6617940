"""The figures of a roofline: nanoseconds per rating against the number of factors, and limits."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from bench.records import EpochCost
from bench.report.figures.figure import Axis, Figure, Layer, Rule
from bench.report.figures.kind import Kind
from bench.report.figures.shared import tidy, words_of
from bench.report.outcome.rooflines import Roofline
from bench.text.wording import number, plural

_METHOD = "How limits and nanoseconds are measured is explained below the figures."
_CAPTION = (
    "Nanoseconds per rating and epoch against the number of factors, and the least that each limit "
    "of this machine allows by the work model. The largest limit that binds is the roof."
)
_LIMITS: tuple[tuple[Literal["memory_ns", "arithmetic_ns", "chain_ns"], str], ...] = (
    ("memory_ns", "memory limit"),
    ("arithmetic_ns", "arithmetic limit"),
    ("chain_ns", "dependency chain"),
)
_VALUES = {
    "backend": "backend",
    "limit": "limit",
    "rank": "factors",
    "ns": "ns per rating",
    "share": "% of the limit",
}


def roofline_figures(roofline: Roofline) -> list[Figure]:
    """Return one figure per number of threads and work model; [] if no epoch was measured.

    All have the same axes, so that they can be compared.
    """
    panels = {(cost["threads"], record["work_model"]) for record, cost in roofline.costs}
    tables = [
        (threads, model, roofline_table(roofline, threads, model))
        for threads, model in sorted(panels)
    ]
    if not tables:
        return []
    ns = pd.concat([table["ns"] for _, _, table in tables])
    ns = ns[ns > 0]
    ranks = tuple(sorted({float(cost["rank"]) for _, cost in roofline.costs}))
    x = Axis("factors", log=True, ticks=ranks, log_limits=(ranks[0] / 1.25, ranks[-1] * 1.25))
    y = Axis("ns per rating and epoch", log=True, log_limits=(ns.min() / 1.5, ns.max() * 1.5))
    figures = []
    for place, (threads, model, table) in enumerate(tables, 1):
        title = f"Roofline: {model}, {plural(threads, 'thread')}"
        layers, rules = _layers(table, n_ranks=len(ranks))
        points = words_of(
            table[table["kind"] == "measured"],
            lambda row: f"{row.backend} {number(row.ns)} ns with {plural(row.rank, 'factor')}",
        )
        figure = Figure(
            stem=f"roofline-{place}" if len(tables) > 1 else "roofline",
            title=title,
            caption=_CAPTION,
            alt=f"{title}: {points}.",
            table=table,
            x=x,
            y=y,
            layers=layers,
            subject=roofline.title,
            rules=rules,
            values=_VALUES,
        )
        figures.append(figure)
    return figures


def _layers(table: pd.DataFrame, n_ranks: int) -> tuple[tuple[Layer, ...], tuple[Rule, ...]]:
    """Return layers and rules. With a single number of factors the limits are lines across."""
    measured = (
        Layer("line", "rank", "ns", of="measured"),
        Layer("point", "rank", "ns", of="measured"),
    )
    if n_ranks > 1:
        return (Layer("line", "rank", "ns", of="limit", dash="limit"), *measured), ()
    # A line through a single point would be invisible.
    limits = table[table["kind"] == "limit"]
    rules = [
        Rule("y", float(ns), str(name))
        for ns, name in zip(limits["ns"], limits["limit"], strict=True)
    ]
    return measured, tuple(rules)


def roofline_table(roofline: Roofline, threads: int, model: str) -> pd.DataFrame:
    """Return the costs and limits of one work model with one number of threads.

    There is one row per backend and number of factors, and one per limit and number of factors.
    """
    costs: list[tuple[str, EpochCost]] = [
        (record["backend"]["name"], cost)
        for record, cost in roofline.costs
        if record["work_model"] == model and cost["threads"] == threads
    ]
    rows: list[dict[str, object]] = []
    for column, limit in _LIMITS:
        line = {cost["rank"]: cost[column] for _, cost in costs if cost[column] is not None}
        rows += [
            {"kind": "limit", "limit": limit, "rank": rank, "ns": line[rank]}
            for rank in sorted(line)
        ]
    for name, cost in sorted(costs, key=lambda item: (item[0], item[1]["rank"])):
        row = {
            "backend": name,
            "kind": "measured",
            "rank": cost["rank"],
            "ns": cost["ns"],
            "share": 100 * cost["share"],
        }
        rows.append(row)
    return tidy(rows, ("backend", "kind", "limit"), ("rank", "ns", "share"))


KIND = Kind(
    make=roofline_figures,
    over="roofline",
    order=10,
    stems=("roofline",),
    method=(_METHOD,),
    numbered=True,
)
