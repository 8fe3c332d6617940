"""The figure of cold and warm starts, as stacked bars of their phases."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, STACKED, stacked, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.report.outcome.tidy import cold_table
from bench.text.wording import number

_PHASES = ("import", "compile", "prepare", "epochs and rest")
_STARTS = ("empty", "filled", "warm")


def cold(case: Case) -> list[Figure]:
    """Return cold and warm starts as stacked bars; [] if no cold start was measured."""
    table = starts_table(case)
    if table.empty:
        return []
    caption = (
        "Seconds of one fit in a new process, with empty and with filled caches of compiled "
        "kernels, and, warm, of the timed rounds. The difference is the cost of importing and "
        "compiling."
    )
    totals = words_of(table[table["kind"] == "last"], lambda row: f"{row.backend} {row.label}")
    values = {
        "backend": "backend",
        "lane": "caches",
        "part": "phase",
        "seconds": "seconds",
        "total": "seconds in all",
    }
    lanes, phases = set(table["lane"]), set(table["part"])
    figure = Figure(
        stem="cold",
        title="Cold and warm starts",
        caption=caption,
        alt=f"Seconds in all: {totals}.",
        table=table,
        x=Axis(SECONDS, zero=True),
        y=Axis("backend", categories=tuple(dict.fromkeys(table["backend"]))),
        layers=STACKED,
        subject=case.title,
        lanes=tuple(start for start in _STARTS if start in lanes),
        parts=tuple(phase for phase in _PHASES if phase in phases),
        values=values,
    )
    return [figure]


def starts_table(case: Case) -> pd.DataFrame:
    """Return one row per backend, start and phase; warm starts of ranked backends only."""
    rows: list[dict[str, object]] = []
    for entry in case.entries:
        if not entry.record["cold"]:
            continue
        for start in cold_table([entry.record]).to_dict("records"):
            if start["caches"] == "warm" and entry.why:
                continue
            prepare = start["prepare_seconds"] or 0.0
            seconds = {
                "import": start["import_seconds"],
                "compile": start["compile_seconds"],
                "prepare": prepare,
                "epochs and rest": start["fit_seconds"] - prepare,
            }
            total = start["total_seconds"]
            row = {"backend": entry.name, "lane": start["caches"], "total": total}
            rows += stacked(row, seconds, "seconds", f"{number(total)} s, {start['caches']}")
    texts = ("backend", "kind", "lane", "part", "label")
    return tidy(rows, texts, ("from", "to", "seconds", "total"))


KIND = Kind(
    make=cold,
    over="case",
    order=60,
    stems=("cold",),
    method=(method.COLD, method.TIMING),
)
