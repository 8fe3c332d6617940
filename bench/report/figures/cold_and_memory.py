"""Figures of what a fit costs beside its seconds: the parts of a cold start, and memory."""

from __future__ import annotations

import pandas as pd

from bench.report.outcome.cases import Case
from bench.report.outcome.tidy import cold_table
from bench.text.wording import number

from .figure import SECONDS, Axis, Figure, Layer, tidy, words_of

START_PARTS = ("import", "compile", "prepare", "epochs and rest")
DEVICE = "on the device"
MEMORY_PARTS = ("before the fit", "by the fit", "not told apart", DEVICE)
_STARTS = ("empty", "filled", "warm")
_LAYERS = (Layer("bar", "to", "backend", x2="from"), Layer("text", "total", "backend", of="last", label="label"))


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
    parts = tuple(part for part in START_PARTS if part in set(table["part"]))
    alt = f"Seconds in all: {said}."
    return [
        Figure("cold", "Cold and warm starts", caption, alt, table, x, y, _LAYERS, case.title, (), lanes, parts, values)
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
            rows += _stacked(row, dict(zip(START_PARTS, parts, strict=True)), "seconds", label)
    return tidy(rows, ("backend", "kind", "lane", "part", "label"), ("from", "to", "seconds", "total"))


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
        rows = table[(table["part"] == DEVICE) == on_device].reset_index(drop=True)
        if rows.empty:
            continue
        said = words_of(rows[rows["kind"] == "last"], lambda row: f"{row.backend} {row.label}")
        values = {"backend": "backend", "part": "part", "mb": "MB", "total": "MB in all"}
        x, y = Axis("memory (MB)", zero=True), Axis("backend", categories=tuple(dict.fromkeys(rows["backend"])))
        parts = tuple(part for part in MEMORY_PARTS if part in set(rows["part"]))
        alt = f"{title}, at most: {said}."
        made.append(Figure(stem, title, text, alt, rows, x, y, _LAYERS, case.title, (), (), parts, values))
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
            rows += _stacked({"backend": entry.name, "total": peak}, parts, "mb", label)
        if device is not None:
            rows += _stacked({"backend": entry.name, "total": device}, {DEVICE: device}, "mb", f"{device:,.0f} MB")
    return tidy(rows, ("backend", "kind", "part", "label"), ("from", "to", "mb", "total"))


def _stacked(row: dict[str, object], parts: dict[str, float], unit: str, label: str) -> list[dict[str, object]]:
    """Return a row per part that is there, from where to where it reaches; the last carries the label."""
    made: list[dict[str, object]] = []
    at = 0.0
    for part, size in parts.items():
        if size and size > 0:
            made.append({**row, "kind": "part", "part": part, "from": at, "to": at + size, unit: size})
            at += size
    if made:
        made[-1] |= {"kind": "last", "label": label}
    return made
