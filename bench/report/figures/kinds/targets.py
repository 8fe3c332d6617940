"""The figure of the seconds to each target."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import (
    SECONDS,
    names_in,
    target_name,
    targets_reached,
    tidy,
    words_of,
)
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.stats import seed_range, summary
from bench.text.wording import number


def targets(case: Case) -> list[Figure]:
    """Return the seconds to each target; [] if only one target was reached."""
    table = targets_table(case)
    reached = set(table["lane"])
    lanes = tuple(name for name in map(target_name, case.targets) if name in reached)
    if len(lanes) < 2:
        return []
    layers = (
        Layer("interval", "low", "backend", x2="high"),
        Layer("point", "seconds", "backend", of="median", label="label"),
        Layer("point", "seconds", "backend", of="stopped", hollow=True, label="label"),
    )
    caption = (
        f"Seconds to each target, {', '.join(lanes)} above the reference, from top to bottom for "
        "each backend. Lines extend from the smallest to the largest median of a seed. Targets "
        "that were not reached with every seed are missing."
    )
    labels = words_of(table, lambda row: f"{row.backend} {row.label}")
    values = {
        "backend": "backend",
        "lane": "above the reference",
        "seconds": "seconds",
        "low": "fastest seed",
        "high": "slowest seed",
    }
    figure = Figure(
        stem="targets",
        title="Time to each target",
        caption=caption,
        alt=f"Seconds to each target: {labels}.",
        table=table,
        x=Axis(SECONDS, log=True, switchable=True),
        y=Axis("backend", categories=names_in(case, table)),
        layers=layers,
        subject=case.title,
        lanes=lanes,
        values=values,
    )
    return [figure]


def targets_table(case: Case) -> pd.DataFrame:
    """Return one row per backend and target that it reached, with the range over seeds.

    A backend that was stopped before it reached the matching target has a row with that time.
    """
    rows: list[dict[str, object]] = []
    matching = case.facts["target"]
    for entry in case.entries:
        reached = targets_reached(case, entry)
        for factor, rounds in reached.items():
            median = summary(rounds)
            low, high = seed_range(rounds) or (None, None)
            row: dict[str, object] = {
                "backend": entry.name,
                "kind": "median",
                "lane": target_name(factor),
                "label": f"{number(median)} s to {target_name(factor)}",
                "seconds": median,
                "low": low,
                "high": high,
            }
            rows.append(row)
        gave_up = entry.record["gave_up_after"]
        if gave_up is not None and matching is not None and matching["factor"] not in reached:
            lane = target_name(matching["factor"])
            row = {
                "backend": entry.name,
                "kind": "stopped",
                "lane": lane,
                "label": f"> {number(gave_up)} s to {lane}",
                "seconds": gave_up,
            }
            rows.append(row)
    return tidy(rows, ("backend", "kind", "lane", "label"), ("seconds", "low", "high"))


KIND = Kind(
    make=targets,
    over="case",
    order=40,
    stems=("targets", "rungs"),  # earlier releases wrote the second
    method=(method.TARGETS, method.TIMING, method.SEEDS),
    about_times=True,
)
