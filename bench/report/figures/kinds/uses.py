"""The figure of seconds by use: of a first fit, in a new process and in a loop, split in phases."""

from __future__ import annotations

import pandas as pd

from bench.records import Cold
from bench.report.figures.figure import Axis, Figure
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, STACKED, stacked, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case, Entry
from bench.report.outcome.starts import median_start
from bench.stats import summary
from bench.text.wording import number

_FIRST, _NEW, _LOOP = _USES = ("first fit", "new process", "in a loop")
_PHASES = ("import", "compile or load", "prepare", "epochs and rest")
_CAPTION = (
    "Seconds of one fit, by use. First fit: in a new process, with nothing compiled. New process: "
    "with everything compiled before. In a loop: the median of the timed rounds. Of several starts "
    "the one with the median total is shown. A use without a bar was not measured."
)


def uses(case: Case) -> list[Figure]:
    """Return the seconds by use as stacked bars; [] if no start in a new process was measured.

    Backends are in the order of the ranking, as in the other figures: each use has an order of its
    own, so that no order suits all of them.
    """
    table = uses_table(case)
    shown = set(table["lane"])
    if not shown & {_FIRST, _NEW}:
        return []
    totals = words_of(table[table["kind"] == "last"], lambda row: f"{row.backend} {row.label}")
    phases = set(table["part"])
    values = {
        "backend": "backend",
        "lane": "use",
        "part": "phase",
        "seconds": "seconds",
        "total": "seconds in all",
    }
    figure = Figure(
        stem="uses",
        title="Seconds by use",
        caption=_CAPTION,
        alt=f"Seconds in all: {totals}.",
        table=table,
        x=Axis(SECONDS, zero=True),
        y=Axis("backend", categories=tuple(dict.fromkeys(table["backend"]))),
        layers=STACKED,
        subject=case.title,
        lanes=tuple(use for use in _USES if use in shown),
        parts=tuple(phase for phase in _PHASES if phase in phases),
        values=values,
    )
    return [figure]


def uses_table(case: Case) -> pd.DataFrame:
    """Return one row per ranked backend, use and phase."""
    rows: list[dict[str, object]] = []
    for entry in case.ranked:
        for use, phases in _phases_of(entry).items():
            total = sum(phases.values())
            row: dict[str, object] = {"backend": entry.name, "lane": use, "total": total}
            rows += stacked(row, phases, "seconds", f"{number(total)} s, {use}")
    texts = ("backend", "kind", "lane", "part", "label")
    return tidy(rows, texts, ("from", "to", "seconds", "total"))


def _phases_of(entry: Entry) -> dict[str, dict[str, float]]:
    """Return the seconds of each phase, by use."""
    found: dict[str, dict[str, float]] = {}
    first, new = median_start(entry.record, "empty"), median_start(entry.record, "filled")
    if first:
        found[_FIRST] = _phases_of_start(first)
    if new:
        found[_NEW] = _phases_of_start(new)
    prepare = summary(entry.record["rounds"], "prepare_seconds") or 0.0
    found[_LOOP] = {"prepare": prepare, "epochs and rest": entry.median - prepare}
    return found


def _phases_of_start(start: Cold) -> dict[str, float]:
    return {
        "import": start["import_seconds"],
        "compile or load": start["compile_seconds"],
        "prepare": start["prepare_seconds"],
        "epochs and rest": start["fit_seconds"] - start["prepare_seconds"],
    }


KIND = Kind(
    make=uses,
    over="case",
    order=10,
    stems=("uses", "cold"),  # earlier releases wrote the second
    method=(method.COLD, method.TIMING),
    about_times=True,
)
