"""The figure of speed-ups: how many times as fast as the yardstick each backend is."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer, Rule, cut
from bench.report.figures.kind import Kind
from bench.report.figures.shared import tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.stats import Ratio
from bench.text.wording import TIMES, number


def speedup(case: Case) -> list[Figure]:
    """Return the speed-up of each ranked backend; [] if there is only the yardstick."""
    table = speedup_table(case)
    if len(table) < 2 or case.yardstick is None:
        return []
    base = case.yardstick.name
    note = f", {case.yardstick_note}" if case.yardstick_note else ""
    layers = (
        Layer("bar", "speedup", "backend", x2="one", label="label"),
        Layer("interval", "low", "backend", x2="high"),
    )
    labels = words_of(table, lambda row: f"{row.backend} {row.label}")
    values = {
        "backend": "backend",
        "speedup": "times as fast",
        "low": "at least",
        "high": "at most",
    }
    figure = Figure(
        stem="speedup",
        title="Speed-up",
        caption=(
            f"Times as fast as {base}{note}: the ratio of the medians, with its 95 % interval if "
            "there is one."
        ),
        alt=f"Times as fast as {base}: {labels}.",
        table=table,
        x=Axis(f"times as fast as {cut(base)}", log=True, switchable=True),
        y=Axis("backend", categories=tuple(table["backend"])),
        layers=layers,
        subject=case.title,
        rules=(Rule("x", 1.0, strong=True),),
        values=values,
    )
    return [figure]


def speedup_table(case: Case) -> pd.DataFrame:
    """Return one row per ranked backend; bars begin at the column "one"."""
    rows = []
    for name, ratio in case.speedups.items():
        low, high = ratio.interval or (None, None)
        row = {
            "backend": name,
            "label": _label(ratio),
            "speedup": ratio.value,
            "low": low,
            "high": high,
            "one": 1.0,
        }
        rows.append(row)
    return tidy(rows, ("backend", "label"), ("speedup", "low", "high", "one"))


def _label(ratio: Ratio) -> str:
    """Return a ratio as text, with its interval if there is one."""
    if ratio.interval is None:
        return f"{number(ratio.value)}{TIMES}"
    low, high = ratio.interval
    return f"{number(ratio.value)}{TIMES} ({number(low)} to {number(high)})"


KIND = Kind(
    make=speedup,
    over="case",
    order=30,
    stems=("speedup",),
    method=(method.TIMING, method.SEEDS, method.INTERVALS),
    about_times=True,
)
