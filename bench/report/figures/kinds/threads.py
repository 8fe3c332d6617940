"""The figure of scaling with threads: seconds against the number of threads."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, medians_over, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case, Entry
from bench.stats import seed_range
from bench.text.wording import number

_IDEAL = "ideal scaling"


def threads(case: Case) -> list[Figure]:
    """Return the seconds against the number of threads; [] if no backend is ranked with several."""
    table = threads_table(case)
    if table.empty:
        return []
    caption = (
        "Seconds to the target against the number of threads, with the range over seeds. Dashed: "
        "ideal scaling, where twice as many threads take half the time."
    )
    medians = words_of(
        table, lambda row: f"{row.backend} {number(row.seconds)} s with {row.threads:g}"
    )
    values = {
        "backend": "backend",
        "threads": "threads",
        "seconds": "seconds",
        "ideal": _IDEAL,
    }
    figure = Figure(
        stem="threads",
        title="Scaling with threads",
        caption=caption,
        alt=f"Median seconds: {medians}.",
        table=table,
        x=Axis("threads", log=True, ticks=tuple(sorted(set(table["threads"])))),
        y=Axis(SECONDS, log=True, switchable=True),
        layers=(
            Layer("line", "threads", "ideal", dash="law", small=True),
            *medians_over("threads"),
        ),
        subject=case.title,
        values=values,
    )
    return [figure]


def threads_table(case: Case) -> pd.DataFrame:
    """Return one row per backend and number of threads, of backends ranked with several."""
    groups: dict[str, list[Entry]] = {}
    for entry in case.ranked:
        groups.setdefault(entry.record["backend"]["name"], []).append(entry)
    rows = []
    for name, entries in sorted(groups.items()):
        if len(entries) < 2:
            continue
        entries.sort(key=lambda entry: entry.record["backend"]["threads"])
        fewest = entries[0]
        for entry in entries:
            count = entry.record["backend"]["threads"]
            low, high = seed_range(entry.record["rounds"]) or (None, None)
            row = {
                "backend": name,
                "law": _IDEAL,
                "threads": count,
                "seconds": entry.median,
                "low": low,
                "high": high,
                "ideal": fewest.median * fewest.record["backend"]["threads"] / count,
            }
            rows.append(row)
    return tidy(rows, ("backend", "law"), ("threads", "seconds", "low", "high", "ideal"))


KIND = Kind(
    make=threads,
    over="case",
    order=80,
    stems=("threads",),
    method=(method.THREADS, method.TIMING, method.SEEDS),
    about_times=True,
)
