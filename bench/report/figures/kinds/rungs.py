"""The figure of the ladder: seconds to each rung."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, names_in, rung_name, rungs_reached, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.stats import seed_range, summary
from bench.text.wording import number


def rungs(case: Case) -> list[Figure]:
    """Return the seconds to each rung of the ladder; none where only the target was timed."""
    table = rungs_table(case)
    lanes = tuple(rung_name(factor) for factor in case.rungs if rung_name(factor) in set(table["lane"]))
    names = names_in(case, table)
    if len(lanes) < 2:
        return []
    layers = (
        Layer("interval", "low", "backend", x2="high"),
        Layer("point", "seconds", "backend", of="median", label="label"),
        Layer("point", "seconds", "backend", of="given up", hollow=True, label="label"),
    )
    caption = (
        f"Seconds to each rung, {', '.join(lanes)} above the reference, of each backend from top to bottom; lines from "
        "the smallest to the largest median of a seed. A rung that is missing was not reached with every seed."
    )
    said = words_of(table, lambda row: f"{row.backend} {row.label}")
    values = {"backend": "backend", "lane": "above the reference", "seconds": "seconds"}
    values |= {"low": "fastest seed", "high": "slowest seed"}
    x, y = Axis(SECONDS, log=True, switchable=True), Axis("backend", categories=names)
    alt = f"Seconds to each rung: {said}."
    return [
        Figure(
            stem="rungs",
            title="Time to each rung",
            caption=caption,
            alt=alt,
            table=table,
            x=x,
            y=y,
            layers=layers,
            subject=case.title,
            lanes=lanes,
            values=values,
        )
    ]


def rungs_table(case: Case) -> pd.DataFrame:
    """Return a row per backend and rung that it reached, with the range over seeds, or was given up on."""
    rows: list[dict[str, object]] = []
    target = case.facts["target"]
    for entry in case.entries:
        reached = rungs_reached(case, entry)
        for factor, rounds in reached.items():
            median = summary(rounds)
            low, high = seed_range(rounds) or (None, None)
            label = f"{number(median)} s to {rung_name(factor)}"
            row = {"backend": entry.name, "kind": "median", "lane": rung_name(factor), "label": label}
            rows.append({**row, "seconds": median, "low": low, "high": high})
        gave_up = entry.record["gave_up_after"]
        if gave_up is not None and target is not None and target["factor"] not in reached:
            lane = rung_name(target["factor"])
            label = f"> {number(gave_up)} s to {lane}"
            rows.append({"backend": entry.name, "kind": "given up", "lane": lane, "label": label, "seconds": gave_up})
    return tidy(rows, ("backend", "kind", "lane", "label"), ("seconds", "low", "high"))


KIND = Kind(
    make=rungs,
    over="case",
    order=40,
    stems=("rungs",),
    method=(method.RUNGS, method.TIMING, method.SEEDS),
    about_times=True,
)
