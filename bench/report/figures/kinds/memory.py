"""The figures of memory: of the process of one fit, and of the device."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure
from bench.report.figures.kind import Kind
from bench.report.figures.shared import STACKED, stacked, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case

_DEVICE = "on the device"
_PARTS = ("before the fit", "by the fit", "not told apart", _DEVICE)


def memory(case: Case) -> list[Figure]:
    """Return the memory of one fit, of the process and of the device; none of what is not known."""
    table = memory_table(case)
    caption = (
        "Most memory that the process of one fit held, libraries and all ratings included: what it held when the fit "
        "began, and what came on top."
    )
    made = []
    for stem, title, text, on_device in (
        ("memory", "Memory", caption, False),
        ("memory_device", "Memory on the device", "Most memory that one fit allocated on the device.", True),
    ):
        rows = table[(table["part"] == _DEVICE) == on_device].reset_index(drop=True)
        if rows.empty:
            continue
        said = words_of(rows[rows["kind"] == "last"], lambda row: f"{row.backend} {row.label}")
        values = {"backend": "backend", "part": "part", "mb": "MB", "total": "MB in all"}
        x, y = Axis("memory (MB)", zero=True), Axis("backend", categories=tuple(dict.fromkeys(rows["backend"])))
        parts = tuple(part for part in _PARTS if part in set(rows["part"]))
        alt = f"{title}, at most: {said}."
        made.append(Figure(stem, title, text, alt, rows, x, y, STACKED, case.title, parts=parts, values=values))
    return made


def memory_table(case: Case) -> pd.DataFrame:
    """Return a row per backend and part of its memory."""
    rows: list[dict[str, object]] = []
    for entry in case.entries:
        facts = entry.record["memory"]
        if facts is None:
            continue
        peak, fit, device = facts["peak_mb"], facts["fit_mb"], facts["device_mb"]
        if peak is not None:
            parts = {"not told apart": peak} if fit is None else {"before the fit": peak - fit, "by the fit": fit}
            label = f"{peak:,.0f} MB" + ("" if fit is None else f", {fit:,.0f} by the fit")
            rows += stacked({"backend": entry.name, "total": peak}, parts, "mb", label)
        if device is not None:
            rows += stacked({"backend": entry.name, "total": device}, {_DEVICE: device}, "mb", f"{device:,.0f} MB")
    return tidy(rows, ("backend", "kind", "part", "label"), ("from", "to", "mb", "total"))


KIND = Kind(
    make=memory,
    over="case",
    order=70,
    stems=("memory", "memory_device"),
    method=(method.MEMORY,),
)
