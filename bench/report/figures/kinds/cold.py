"""The figure of cold and warm starts, as stacked bars of their parts."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, STACKED, stacked, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.report.outcome.tidy import cold_table
from bench.text.wording import number

_PARTS = ("import", "compile", "prepare", "epochs and rest")
_STARTS = ("empty", "filled", "warm")


def cold(case: Case) -> list[Figure]:
    """Return cold and warm starts as stacked bars; none where no cold start was measured."""
    table = starts_table(case)
    if table.empty:
        return []
    lanes = tuple(start for start in _STARTS if start in set(table["lane"]))
    caption = (
        "Seconds of one fit in a fresh process with empty and with filled caches of compiled kernels, and, warm, of "
        "the timed rounds: what importing and compiling cost on top."
    )
    totals = table[table["kind"] == "last"]
    said = words_of(totals, lambda row: f"{row.backend} {row.label}")
    values = {"backend": "backend", "lane": "caches", "part": "part", "seconds": "seconds", "total": "seconds in all"}
    x, y = Axis(SECONDS, zero=True), Axis("backend", categories=tuple(dict.fromkeys(table["backend"])))
    parts = tuple(part for part in _PARTS if part in set(table["part"]))
    alt = f"Seconds in all: {said}."
    return [
        Figure(
            stem="cold",
            title="Cold and warm starts",
            caption=caption,
            alt=alt,
            table=table,
            x=x,
            y=y,
            layers=STACKED,
            subject=case.title,
            lanes=lanes,
            parts=parts,
            values=values,
        )
    ]


def starts_table(case: Case) -> pd.DataFrame:
    """Return a row per backend, start and part; a warm start, of the timed rounds, only where the backend is ranked."""
    rows: list[dict[str, object]] = []
    for entry in case.entries:
        starts = cold_table([entry.record]).to_dict("records") if entry.record["cold"] else []
        for start in starts:
            if start["caches"] == "warm" and entry.why:
                continue
            prepare = start["prepare_seconds"] or 0.0
            parts = [start["import_seconds"], start["compile_seconds"], prepare, start["fit_seconds"] - prepare]
            total = start["total_seconds"]
            row = {"backend": entry.name, "lane": start["caches"], "total": total}
            label = f"{number(total)} s, {start['caches']}"
            rows += stacked(row, dict(zip(_PARTS, parts, strict=True)), "seconds", label)
    return tidy(rows, ("backend", "kind", "lane", "part", "label"), ("from", "to", "seconds", "total"))


KIND = Kind(
    make=cold,
    over="case",
    order=60,
    stems=("cold",),
    method=(method.COLD, method.TIMING),
)
