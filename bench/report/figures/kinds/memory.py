"""The figures of memory: of the process of one fit, and of the device."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure
from bench.report.figures.kind import Kind
from bench.report.figures.shared import STACKED, stacked, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case

_DEVICE = "on the device"
_PARTS = ("before the fit", "by the fit", "not separated", _DEVICE)
_CAPTION = (
    "Peak memory of the process of one fit, including libraries and all ratings: the memory in use "
    "when the fit began, and the memory added by the fit."
)
_DEVICE_CAPTION = "Peak memory that one fit allocated on the device."


def memory(case: Case) -> list[Figure]:
    """Return the memory of one fit, of the process and of the device; [] if neither is known."""
    table = memory_table(case)
    on_device = table["part"] == _DEVICE
    figures = [
        _figure(case, "memory", "Memory", _CAPTION, table[~on_device]),
        _figure(case, "memory_device", "Memory on the device", _DEVICE_CAPTION, table[on_device]),
    ]
    return [figure for figure in figures if not figure.table.empty]


def _figure(case: Case, stem: str, title: str, caption: str, rows: pd.DataFrame) -> Figure:
    table = rows.reset_index(drop=True)
    totals = words_of(table[table["kind"] == "last"], lambda row: f"{row.backend} {row.label}")
    parts = set(table["part"])
    return Figure(
        stem=stem,
        title=title,
        caption=caption,
        alt=f"{title}, at most: {totals}.",
        table=table,
        x=Axis("memory (MB)", zero=True),
        y=Axis("backend", categories=tuple(dict.fromkeys(table["backend"]))),
        layers=STACKED,
        subject=case.title,
        parts=tuple(part for part in _PARTS if part in parts),
        values={"backend": "backend", "part": "part", "mb": "MB", "total": "MB in all"},
    )


def memory_table(case: Case) -> pd.DataFrame:
    """Return one row per backend and part of its memory."""
    rows: list[dict[str, object]] = []
    for entry in case.entries:
        facts = entry.record["memory"]
        if facts is None:
            continue
        peak, fit, device = facts["peak_mb"], facts["fit_mb"], facts["device_mb"]
        if peak is not None:
            parts, label = {"not separated": peak}, f"{peak:,.0f} MB"
            if fit is not None:
                parts = {"before the fit": peak - fit, "by the fit": fit}
                label += f", {fit:,.0f} by the fit"
            rows += stacked({"backend": entry.name, "total": peak}, parts, "mb", label)
        if device is not None:
            row = {"backend": entry.name, "total": device}
            rows += stacked(row, {_DEVICE: device}, "mb", f"{device:,.0f} MB")
    return tidy(rows, ("backend", "kind", "part", "label"), ("from", "to", "mb", "total"))


KIND = Kind(
    make=memory,
    over="case",
    order=70,
    stems=("memory", "memory_device"),
    method=(method.MEMORY,),
)
