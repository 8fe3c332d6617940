"""The outcome of a case in one plain sentence, and how numbers are written in it."""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Score
from bench.stats import Ratio
from bench.text.wording import mse, number, one_line, words

from .cases import Case, Entry, ratio


def with_interval(one: Ratio, intro: str = "95 % interval ") -> str:
    """Write a ratio with its interval."""
    if one.interval is None:
        return number(one.value)
    return f"{number(one.value)} ({intro}{number(one.interval[0])} to {number(one.interval[1])})"


def tuned(score: Score) -> str:
    """Say what was tuned for a baseline, and what to know of it; "" where nothing was."""
    dampings = {"user damping": score["user_damping"], "item damping": score["item_damping"]}
    found = {"reg": score["reg"], **dampings}
    values = [f"{name} {value:g}" for name, value in found.items() if value is not None]
    return ", ".join(values) + (f" ({score['note']})" if score["note"] else "")


class Answer(NamedTuple):
    """Which backend to take, for those who read no further: names, and the rest of the sentence."""

    names: list[str]
    text: str


def answer(case: Case) -> Answer:
    """Return the fastest backend of a case, or those that cannot be told from it, and how far ahead it is."""
    if case.target is None:
        return Answer([], "No backend is ranked: there is no matching validation MSE.")
    if not case.ranked:
        return Answer([], "No backend reached the matching validation MSE.")
    first, tied = case.ranked[0], _tied(case)
    names, behind = [entry.name for entry in tied], [entry for entry in case.ranked if entry not in tied]
    if not behind and len(tied) == 1:
        only = "matches" if len(case.entries) == 1 else "is the only one to match"
        return Answer(names, f"{only}, in {number(first.median)} s.")
    ahead = ratio(behind[0], first) if behind else None
    factor = f"{number(ahead.value)} times as fast as {behind[0].name}" if ahead else ""
    if len(tied) > 1:
        also = f"; {first.name} is {factor}{_noise(*case.ranked)}" if factor else ""
        return Answer(names, f"cannot be told apart, at {number(first.median)} to {number(tied[-1].median)} s{also}.")
    noise = _noise(*case.ranked)
    claim = "was the fastest" if noise else "is the fastest"
    return Answer(names, f"{claim}: {number(first.median)} s, {factor}{noise}.")


def headline(case: Case) -> str:
    """Say which backend is fastest to the matching MSE, by what factor, and how sure that is."""
    if case.target is None:
        reasons = words(sorted({rung["dropped"] for rung in case.facts["ladder"] if rung["dropped"]}) or ["none given"])
        return f"{case.title}: no backend is ranked, as the matching rung was dropped (reason: {reasons})"
    goal = f"the matching validation MSE of {mse(case.target)}"
    if not case.ranked:
        return f"{case.title}: no backend reached {goal}"
    first, *others = case.ranked
    if not others:
        return f"{case.title}: only {first.name} reached {goal}, in {_time(first)}"
    tied = _tied(case)
    rest = [entry for entry in others if entry not in tied]
    compared = rest[:1] + [one for one in [case.yardstick] if one in rest[1:]]
    factors = words([_factor(case, first, other, i == 0) for i, other in enumerate(compared)])
    noise = _noise(*case.ranked)
    if len(tied) == 1:
        was = "was" if noise else "is"
        return f"{case.title}: {first.name} {was} the fastest to {goal}, in {_time(first)}, {factors}{noise}"
    spread = ratio(tied[-1], first)
    return (
        f"{case.title}: no difference can be told between {words([one.name for one in tied])} to {goal}: medians "
        f"{words([number(one.median) for one in tied])} s, {'largest ' if len(tied) > 2 else ''}ratio "
        f"{with_interval(spread)}" + (f"; {first.name} is {factors}{noise}" if factors else "")
    )


def left_out(case: Case) -> str:
    """List the backends that are not ranked: what ran with its reason, then what cannot run here; "" for none."""
    absent = [entry.name for entry in case.unranked if entry.record["status"] == "unavailable"]
    missed = [f"{entry.name} ({entry.why})" for entry in case.unranked if entry.name not in absent]
    parts = []
    if missed:
        parts.append(f"not matched: {'; '.join(missed)}")
    if absent:
        parts.append(f"not available here: {words(absent)}")  # their reasons are in the table
    return "; ".join(parts)


def sentence(case: Case) -> str:
    """Return the verdict of a case in one sentence and on one line, fit for a terminal."""
    line = "; ".join(filter(None, [headline(case), left_out(case)])) + "."
    return one_line(line)


def _tied(case: Case) -> list[Entry]:
    """Return the fastest and all that the rounds do not tell from it; a noisy one may stand behind one that they do."""
    first, *others = case.ranked
    return [first, *(other for other in others if ratio(other, first).within_noise)]


def _factor(case: Case, first: Entry, other: Entry, introduce: bool) -> str:
    note = f", {case.yardstick_note}" if other is case.yardstick and case.yardstick_note else ""
    intro = "95 % interval " if introduce else ""
    return f"{with_interval(ratio(other, first), intro)} times as fast as {other.name}{note}"


def _time(entry: Entry) -> str:
    rounds, seeds = len(entry.seconds), len(entry.record["seeds"])
    of = f" with {seeds} seeds" if seeds > 1 else ""
    return f"{number(entry.median)} s ({'one round' if rounds == 1 else f'median of {rounds} rounds{of}'})"


def _noise(first: Entry, *others: Entry) -> str:
    """Name the backends whose seeds are too few for an interval, "" where there are none."""
    few = [one.name for one in others if ratio(one, first).interval is None]
    whose = "" if len(few) == len(others) else f" of {words(few)}"
    return f"; one seed{whose}, so that this cannot be told from noise" if few else ""
