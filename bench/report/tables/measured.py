"""The tables of a case below its ranking: doubts, rungs, the clock split, cold starts, memory, spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence

from bench.records import Round
from bench.report.outcome.cases import Case, Entry
from bench.stats import by_seed, seed_range, summary
from bench.text.wording import DASH, TIMES, mse, number

from .table import Table

_PARTS = ("prepare_seconds", "first_epoch_seconds", "epoch_seconds")


def measured_tables(case: Case) -> list[Table]:
    """Return the tables that have rows."""
    tables = [_doubts(case), _ladder(case), _rungs(case), _clock(case), _cold(case), _memory(case), _seeds(case)]
    return [table for table in tables if table.rows]


def seconds_or_more(entry: Entry) -> str:
    """Write the seconds to the target: "> T" where it was given up after T seconds."""
    if not entry.why:
        return number(entry.median)
    gave_up = entry.record["gave_up_after"]
    return DASH if gave_up is None else f"> {number(gave_up)}"


def extent(values: Sequence[str]) -> str:
    """Write the first and the last of some values that are the same or not."""
    return values[0] if len(set(values)) == 1 else f"{min(values, key=float)} to {max(values, key=float)}"


def _table(caption: str, header: list[str], rows: list[list[str]]) -> Table:
    return Table(caption, header, rows, frozenset(range(1, len(header))))


def doubt_id(case: Case, entry: Entry) -> str:
    """Return what the row of a backend's doubts is called on the page."""
    return f"doubt-{case.entries.index(entry) + 1}--{case.slug}"


def _doubts(case: Case) -> Table:
    doubted = [entry for entry in case.entries if entry.warnings]
    rows = [[entry.name, "; ".join(entry.warnings)] for entry in doubted]
    ids = tuple(doubt_id(case, entry) for entry in doubted)
    return Table("Doubts: what makes a result less than trustworthy.", ["Backend", "Doubts"], rows, ids=ids)


def _ladder(case: Case) -> Table:
    rows = []
    for rung in case.facts["ladder"]:
        matching = case.facts["target"] is not None and rung["factor"] == case.facts["target"]["factor"]
        state = f"dropped: {rung['dropped']}" if rung["dropped"] else "the matching target" if matching else "in use"
        rows.append([f"{TIMES} {rung['factor']:g}", mse(rung["mse"]), state])
    return Table(
        "The ladder of targets, as factors of the reference.", ["Rung", "Validation MSE", "State"], rows, frozenset({1})
    )


def _rungs(case: Case) -> Table:
    """Seconds and epochs to each rung that is in use."""
    rows = [[entry.name, *[_to_rung(entry, factor) for factor in case.rungs]] for entry in case.entries]
    caption = (
        "Seconds to each rung, each timed in fits of its own, with the epochs they take. "
        f"{DASH}: not reached in twice the epochs that the target took, or not measured."
    )
    return _table(caption, ["Backend", *[f"{TIMES} {factor:g}" for factor in case.rungs]], rows if case.rungs else [])


def _to_rung(entry: Entry, factor: float) -> str:
    counts = [
        str(rung["epochs"])
        for calibration in entry.record["calibrations"]
        for rung in calibration["rungs"]
        if rung["factor"] == factor and rung["epochs"] is not None
    ]
    if len(counts) < len(entry.record["seeds"]):
        return DASH
    timed = entry.rounds_to(factor)
    epochs = f"{extent(counts)} {'epoch' if set(counts) == {'1'} else 'epochs'}"
    if not timed:
        return f"{DASH}, {epochs}"
    return f"{number(summary(timed))} s, {epochs}" if all(one["matched"] for one in timed) else f"missed, {epochs}"


def _clock(case: Case) -> Table:
    header = ["Backend", "Prepare", "First epoch", "Each later epoch", "The rest", "Total", "CPU-seconds", "Evaluation"]
    rows = []
    for entry in case.ranked:
        rounds = entry.record["rounds"]
        if summary(rounds, "first_epoch_seconds") is None:
            continue
        parts = [summary(rounds, column) for column in _PARTS]
        values = [*parts, _rest(entry), entry.median, summary(rounds, "cpu_seconds"), entry.evaluation]
        rows.append([entry.name, *[number(value) for value in values]])
    caption = (
        "Where the seconds to the target go. The rest is checking the ratings and copying the model. Evaluation is "
        "one scoring of the validation set in the calibration; no other figure holds any."
    )
    return _table(caption, header, rows)


def _rest(entry: Entry) -> float | None:
    """Return the median of what remains of a round without its preparation and epochs."""
    epochs = {one["seed"]: one["epochs"] or 0 for one in entry.record["calibrations"]}

    def rest(one: Round) -> float:
        later = (epochs.get(one["seed"], 1) - 1) * (one["epoch_seconds"] or 0.0)
        return max(one["seconds"] - one["prepare_seconds"] - (one["first_epoch_seconds"] or 0.0) - later, 0.0)

    rounds = [Round({**one, "seconds": rest(one)}) for one in entry.record["rounds"]]
    return summary(rounds)


def _cold(case: Case) -> Table:
    header = ["Backend", "Start", "Import", "Compile", "Prepare", "Epochs and rest", "Total seconds"]
    rows = []
    for entry in case.entries:
        for one in entry.record["cold"]:
            parts = [one["import_seconds"], one["compile_seconds"], one["prepare_seconds"]]
            parts += [one["fit_seconds"] - one["prepare_seconds"], one["total_seconds"]]
            rows.append([entry.name, f"cold, caches {one['caches']}", *[number(part) for part in parts]])
        if entry.record["cold"] and not entry.why:
            prepare = summary(entry.record["rounds"], "prepare_seconds") or 0.0
            parts = [prepare, entry.median - prepare, entry.median]
            rows.append([entry.name, "warm", DASH, DASH, *[number(part) for part in parts]])
    return Table(
        "Cold and warm starts, in seconds: one fit in a fresh process each, and the median of the timed rounds. Import "
        "is what the backend adds to NumPy, compile what a first small fit takes longer than a second.",
        header,
        rows,
        frozenset(range(2, len(header))),
    )


def _memory(case: Case) -> Table:
    header = ["Backend", "Process at most, MB", "Of the fit, MB", "Device, MB", "Threads at work"]
    rows = []
    for entry in case.entries:
        memory = entry.record["memory"]
        if memory:
            values = [memory["peak_mb"], memory["fit_mb"], memory["device_mb"], memory["running_threads"]]
            rows.append([entry.name, *[DASH if value is None else f"{value:,.0f}" for value in values]])
    caption = (
        "Memory of one fit in a fresh process: what the process held at most, libraries and all ratings included, and "
        "what of that came on top during the fit."
    )
    return _table(caption, header, rows)


def _seeds(case: Case) -> Table:
    """How far the seeds lie apart; no rows where there was one."""
    header = ["Backend", "Seeds", "Epochs", "Seconds", "Validation MSE"]
    rows = []
    for entry in case.ranked:
        rounds = entry.record["rounds"]
        seconds, scores = seed_range(rounds), seed_range(rounds, "validation_mse")
        if seconds is None or scores is None:
            continue
        of_seconds = f"{number(seconds[0])} to {number(seconds[1])}"
        of_scores = f"{mse(scores[0])} to {mse(scores[1])}"
        epochs = extent([str(one) for one in entry.epochs])
        rows.append([entry.name, str(len(by_seed(rounds))), epochs, of_seconds, of_scores])
    return _table("How far the seeds lie apart: smallest to largest median of a seed.", header, rows)
