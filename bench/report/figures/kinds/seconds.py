"""The figure of the seconds to the matching target: rounds, medians and fits that were stopped."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer, cut
from bench.report.figures.kind import Kind
from bench.report.figures.shared import SECONDS, names_in, tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case, Entry
from bench.text.wording import TIMES, number


def seconds(case: Case) -> list[Figure]:
    """Return the seconds of each timed round, the medians, and those of fits that were stopped."""
    table = seconds_table(case)
    names = names_in(case, table)
    if not names:
        return []
    layers = (
        Layer("point", "seconds", "backend", of="round", small=True),
        Layer("point", "seconds", "backend", of="median", label="label"),
        Layer("point", "seconds", "backend", of="stopped", hollow=True, label="label"),
    )
    left_out = _left_out(case, names)
    caption = (
        "Seconds to the matching validation MSE: ticks are timed rounds, markers the median over "
        "seeds of their medians. A backend with a hollow marker was stopped after that "
        f"time.{_relative_to(case)}{left_out}"
    )
    medians = words_of(table[table["kind"] != "round"], lambda row: f"{row.backend} {row.label}")
    figure = Figure(
        stem="seconds",
        title="Time to the target",
        caption=caption,
        alt=f"Median seconds: {medians}.{left_out}",
        table=table,
        x=Axis(SECONDS, log=True, switchable=True),
        y=Axis("backend", categories=names),
        layers=layers,
        subject=case.title,
        values={"backend": "backend", "kind": "what", "seed": "seed", "seconds": "seconds"},
    )
    return [figure]


def seconds_table(case: Case) -> pd.DataFrame:
    """Return one row per timed round of a ranked backend, per median, and per stopped fit."""
    rows: list[dict[str, object]] = []
    for entry in case.ranked:
        for round_ in entry.record["rounds"]:
            row = {
                "backend": entry.name,
                "kind": "round",
                "seed": str(round_["seed"]),
                "seconds": round_["seconds"],
            }
            rows.append(row)
        rows.append(_labelled(entry.name, "median", entry.median, _label(case, entry)))
    for entry in case.unranked:
        gave_up = entry.record["gave_up_after"]
        if gave_up is not None:
            rows.append(_labelled(entry.name, "stopped", gave_up, f"> {number(gave_up)} s"))
    return tidy(rows, ("backend", "kind", "seed", "label"), ("seconds",))


def _label(case: Case, entry: Entry) -> str:
    """Return the median, and how many times as fast as the yardstick it is."""
    label, base = f"{number(entry.median)} s", case.yardstick
    if base is None or entry is base:
        return label
    return f"{label}, {number(case.speedups[entry.name].value)} {TIMES} {cut(base.name, 16)}"


def _labelled(backend: str, kind: str, value: float, label: str) -> dict[str, object]:
    return {"backend": backend, "kind": kind, "seconds": value, "label": label}


def _relative_to(case: Case) -> str:
    """Return a sentence that explains the speed-ups in the labels, "" if there are none."""
    if case.yardstick is None or len(case.ranked) < 2:
        return ""
    note = f", {case.yardstick_note}" if case.yardstick_note else ""
    return f" {TIMES}: how many times as fast as {case.yardstick.name}{note}."


def _left_out(case: Case, names: tuple[str, ...]) -> str:
    missing = [entry.name for entry in case.unranked if entry.name not in names]
    return f" Without a time: {', '.join(missing)}." if missing else ""


KIND = Kind(
    make=seconds,
    over="case",
    order=30,
    stems=("seconds", "speedup"),  # earlier releases wrote the second
    method=(method.TIMING, method.GATE, method.SEEDS, method.CENSORED),
    about_times=True,
)
