"""The figure of speed-up: how many times as fast as the yardstick each backend is."""

from __future__ import annotations

import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer, Rule, cut
from bench.report.figures.kind import Kind
from bench.report.figures.shared import tidy, words_of
from bench.report.outcome import method
from bench.report.outcome.cases import Case
from bench.text.wording import TIMES, number


def speedup(case: Case) -> list[Figure]:
    """Return how many times as fast as the yardstick each ranked backend is; none for the yardstick alone."""
    table = speedup_table(case)
    if len(table) < 2 or case.yardstick is None:
        return []
    base = case.yardstick.name
    note = f", {case.yardstick_note}" if case.yardstick_note else ""
    layers = (
        Layer("bar", "speedup", "backend", x2="one", label="label"),
        Layer("interval", "low", "backend", x2="high"),
    )
    caption = f"Times as fast as {base}{note}: ratio of the medians, with its 95 % interval where one is known."
    said = words_of(table, lambda row: f"{row.backend} {row.label}")
    values = {"backend": "backend", "speedup": "times as fast", "low": "at least", "high": "at most"}
    x = Axis(f"times as fast as {cut(base)}", log=True, switchable=True)
    y = Axis("backend", categories=tuple(table["backend"]))
    alt = f"Times as fast as {base}: {said}."
    rules = (Rule("x", 1.0, strong=True),)
    return [Figure("speedup", "Speed-up", caption, alt, table, x, y, layers, case.title, rules, values=values)]


def speedup_table(case: Case) -> pd.DataFrame:
    """Return a row per ranked backend."""
    rows = []
    for name, ratio in case.speedups.items():
        low, high = ratio.interval or (None, None)
        label = f"{number(ratio.value)}{TIMES}"
        rows.append({"backend": name, "label": label, "speedup": ratio.value, "low": low, "high": high, "one": 1.0})
    return tidy(rows, ("backend", "label"), ("speedup", "low", "high", "one"))


KIND = Kind(
    make=speedup,
    over="case",
    order=30,
    stems=("speedup",),
    method=(method.TIMING, method.SEEDS, method.INTERVALS),
    about_times=True,
)
