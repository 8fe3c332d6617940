"""The figure of the seconds to the target: rounds, medians, and those that were given up."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, names_in, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.text.wording import number


def seconds(case: Case) -> list[Figure]:
    """Return the seconds to the target: each timed round, the median, and those that were given up."""
    table = seconds_table(case)
    names = names_in(case, table)
    if not names:
        return []
    layers = (
        Layer("point", "seconds", "backend", of="round", small=True),
        Layer("point", "seconds", "backend", of="median", label="label"),
        Layer("point", "seconds", "backend", of="given up", hollow=True, label="label"),
    )
    caption = (
        "Seconds to the matching validation MSE: each timed round a tick, the median over seeds of their medians a "
        f"marker. A hollow one was given up after that time.{_left_out(case, names)}"
    )
    shown = table[table["kind"] != "round"]
    said = words_of(shown, lambda row: f"{row.backend} {row.label}")
    values = {"backend": "backend", "kind": "what", "seed": "seed", "seconds": "seconds"}
    x, y = Axis(SECONDS, log=True, switchable=True), Axis("backend", categories=names)
    alt = f"Median seconds: {said}.{_left_out(case, names)}"
    return [Figure("seconds", "Time to the target", caption, alt, table, x, y, layers, case.title, values=values)]


def seconds_table(case: Case) -> pd.DataFrame:
    """Return a row per timed round of a ranked backend, one per median, and one per backend that was given up."""
    rows: list[dict[str, object]] = []
    for entry in case.ranked:
        who = {"backend": entry.name}
        rows += [
            {**who, "kind": "round", "seed": str(one["seed"]), "seconds": one["seconds"]}
            for one in entry.record["rounds"]
        ]
        rows.append({**who, "kind": "median", "seconds": entry.median, "label": f"{number(entry.median)} s"})
    for entry in case.unranked:
        gave_up = entry.record["gave_up_after"]
        if gave_up is not None:
            label = f"> {number(gave_up)} s"
            rows.append({"backend": entry.name, "kind": "given up", "seconds": gave_up, "label": label})
    return tidy(rows, ("backend", "kind", "seed", "label"), ("seconds",))


def _left_out(case: Case, names: tuple[str, ...]) -> str:
    missing = [entry.name for entry in case.unranked if entry.name not in names]
    return f" Not matched, without a time: {', '.join(missing)}." if missing else ""


KIND = Kind(
    make=seconds,
    over="case",
    order=10,
    stems=("seconds",),
    method=(method.TIMING, method.GATE, method.SEEDS, method.CENSORED),
    about_times=True,
)
