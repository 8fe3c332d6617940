"""Figures of seconds: to the target, over the yardstick, to each rung, and over the number of threads."""

from __future__ import annotations

import pandas as pd

from bench.records import Round
from bench.report.outcome.cases import Case, Entry
from bench.stats import seed_range, summary
from bench.text.wording import TIMES, number

from .figure import SECONDS, Axis, Figure, Layer, Rule, cut, medians_over, tidy, words_of


def seconds(case: Case) -> list[Figure]:
    """Return the seconds to the target: each timed round, the median, and those that were given up."""
    table = seconds_table(case)
    names = _names(case, table)
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
    rules = (Rule("x", 1.0, "", strong=True),)
    return [Figure("speedup", "Speed-up", caption, alt, table, x, y, layers, case.title, rules, values=values)]


def speedup_table(case: Case) -> pd.DataFrame:
    """Return a row per ranked backend."""
    rows = []
    for name, ratio in case.speedups.items():
        low, high = ratio.interval or (None, None)
        label = f"{number(ratio.value)}{TIMES}"
        rows.append({"backend": name, "label": label, "speedup": ratio.value, "low": low, "high": high, "one": 1.0})
    return tidy(rows, ("backend", "label"), ("speedup", "low", "high", "one"))


def rungs(case: Case) -> list[Figure]:
    """Return the seconds to each rung of the ladder; none where only the target was timed."""
    table = rungs_table(case)
    lanes = tuple(rung_name(factor) for factor in case.rungs if rung_name(factor) in set(table["lane"]))
    names = _names(case, table)
    if len(lanes) < 2:
        return []
    layers = (
        Layer("interval", "low", "backend", x2="high"),
        Layer("point", "seconds", "backend", of="median", label="label"),
        Layer("point", "seconds", "backend", of="given up", hollow=True, label="label"),
    )
    caption = (
        f"Seconds to each rung, {', '.join(lanes)} above the reference, of each backend from top to bottom; lines from "
        "the smallest to the largest median of a seed. A rung that is missing was not reached with every seed."
    )
    said = words_of(table, lambda row: f"{row.backend} {row.label}")
    values = {"backend": "backend", "lane": "above the reference", "seconds": "seconds"}
    values |= {"low": "fastest seed", "high": "slowest seed"}
    x, y = Axis(SECONDS, log=True, switchable=True), Axis("backend", categories=names)
    alt = f"Seconds to each rung: {said}."
    return [Figure("rungs", "Time to each rung", caption, alt, table, x, y, layers, case.title, (), lanes, (), values)]


def rungs_table(case: Case) -> pd.DataFrame:
    """Return a row per backend and rung that it reached, with the range over seeds, or was given up on."""
    rows: list[dict[str, object]] = []
    target = case.facts["target"]
    for entry in case.entries:
        reached = rungs_reached(case, entry)
        for factor, rounds in reached.items():
            median = summary(rounds)
            low, high = seed_range(rounds) or (None, None)
            label = f"{number(median)} s to {rung_name(factor)}"
            row = {"backend": entry.name, "kind": "median", "lane": rung_name(factor), "label": label}
            rows.append({**row, "seconds": median, "low": low, "high": high})
        gave_up = entry.record["gave_up_after"]
        if gave_up is not None and target is not None and target["factor"] not in reached:
            lane = rung_name(target["factor"])
            label = f"> {number(gave_up)} s to {lane}"
            rows.append({"backend": entry.name, "kind": "given up", "lane": lane, "label": label, "seconds": gave_up})
    return tidy(rows, ("backend", "kind", "lane", "label"), ("seconds", "low", "high"))


def threads(case: Case) -> list[Figure]:
    """Return the seconds over the number of threads; none where no backend was ranked with several."""
    table = threads_table(case)
    if table.empty:
        return []
    counts = tuple(sorted(set(table["threads"])))
    layers = (
        Layer("line", "threads", "ideal", dash="law", small=True),
        *medians_over("threads"),
    )
    caption = (
        "Seconds to the target over the number of threads, with the range over seeds; dashed: what the fewest threads "
        "took, divided by how many times as many there are."
    )
    said = words_of(table, lambda row: f"{row.backend} {number(row.seconds)} s with {row.threads:g}")
    values = {"backend": "backend", "threads": "threads", "seconds": "seconds", "ideal": "if all threads counted"}
    x = Axis("threads", log=True, ticks=counts)
    y = Axis(SECONDS, log=True, switchable=True)
    alt = f"Median seconds: {said}."
    return [Figure("threads", "Scaling in threads", caption, alt, table, x, y, layers, case.title, values=values)]


def threads_table(case: Case) -> pd.DataFrame:
    """Return a row per backend and number of threads, of the backends that were ranked with several."""
    swept: dict[str, list[Entry]] = {}
    for entry in case.ranked:
        swept.setdefault(entry.record["backend"]["name"], []).append(entry)
    rows = []
    for name, entries in sorted(swept.items()):
        by_count = sorted((entry.record["backend"]["threads"], entry.median, entry) for entry in entries)
        first, slowest, _ = by_count[0]
        for count, median, entry in by_count if len(by_count) > 1 else []:
            low, high = seed_range(entry.record["rounds"]) or (None, None)
            row = {"backend": name, "law": "if all threads counted", "threads": count, "seconds": median}
            rows.append({**row, "low": low, "high": high, "ideal": slowest * first / count})
    return tidy(rows, ("backend", "law"), ("threads", "seconds", "low", "high", "ideal"))


def _names(case: Case, table: pd.DataFrame) -> tuple[str, ...]:
    """Return the backends in a table, in the order of the case."""
    there = set(table["backend"])
    return tuple(entry.name for entry in case.entries if entry.name in there)


def _left_out(case: Case, names: tuple[str, ...]) -> str:
    missing = [entry.name for entry in case.unranked if entry.name not in names]
    return f" Not matched, without a time: {', '.join(missing)}." if missing else ""


def rung_name(factor: float) -> str:
    """Name a rung by how far it is above the reference: "5 %"."""
    return f"{100 * (factor - 1):.3g} %"


def rungs_reached(case: Case, entry: Entry) -> dict[float, list[Round]]:
    """Return the rounds to each rung in use that was reached and timed with every seed, and met in every round."""
    reached: dict[float, list[Round]] = {}
    for factor in case.rungs:
        timed = entry.rounds_to(factor)
        seeds = {one["seed"] for one in timed}
        if timed and seeds == set(entry.record["seeds"]) and all(one["matched"] for one in timed):
            reached[factor] = timed
    return reached
