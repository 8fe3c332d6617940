"""The figure of scaling in threads: seconds over the number of threads."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, medians_over, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case, Entry
from bench.stats import seed_range
from bench.text.wording import number


def threads(case: Case) -> list[Figure]:
    """Return the seconds over the number of threads; none where no backend was ranked with several."""
    table = threads_table(case)
    if table.empty:
        return []
    counts = tuple(sorted(set(table["threads"])))
    layers = (
        Layer("line", "threads", "ideal", dash="law", small=True),
        *medians_over("threads"),
    )
    caption = (
        "Seconds to the target over the number of threads, with the range over seeds; dashed: what the fewest threads "
        "took, divided by how many times as many there are."
    )
    said = words_of(table, lambda row: f"{row.backend} {number(row.seconds)} s with {row.threads:g}")
    values = {"backend": "backend", "threads": "threads", "seconds": "seconds", "ideal": "if all threads counted"}
    x = Axis("threads", log=True, ticks=counts)
    y = Axis(SECONDS, log=True, switchable=True)
    alt = f"Median seconds: {said}."
    return [Figure("threads", "Scaling in threads", caption, alt, table, x, y, layers, case.title, values=values)]


def threads_table(case: Case) -> pd.DataFrame:
    """Return a row per backend and number of threads, of the backends that were ranked with several."""
    swept: dict[str, list[Entry]] = {}
    for entry in case.ranked:
        swept.setdefault(entry.record["backend"]["name"], []).append(entry)
    rows = []
    for name, entries in sorted(swept.items()):
        by_count = sorted((entry.record["backend"]["threads"], entry.median, entry) for entry in entries)
        first, slowest, _ = by_count[0]
        for count, median, entry in by_count if len(by_count) > 1 else []:
            low, high = seed_range(entry.record["rounds"]) or (None, None)
            row = {"backend": name, "law": "if all threads counted", "threads": count, "seconds": median}
            rows.append({**row, "low": low, "high": high, "ideal": slowest * first / count})
    return tidy(rows, ("backend", "law"), ("threads", "seconds", "low", "high", "ideal"))


KIND = Kind(
    make=threads,
    over="case",
    order=80,
    stems=("threads",),
    method=(method.THREADS, method.TIMING, method.SEEDS),
    about_times=True,
)
