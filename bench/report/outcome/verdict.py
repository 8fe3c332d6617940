"""The verdict of a case in plain sentences, and how ratios are written in it."""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Score
from bench.stats import Ratio
from bench.text.wording import mse, number, one_line, words

from .cases import Case, Entry, ratio

_INTERVAL = "95 % interval "
_CLOSE = 1.01  # times the reference: what factors gain beyond it is not worth a backend


def with_interval(speedup: Ratio, intro: str = _INTERVAL) -> str:
    """Return a ratio as text, with its interval if there is one: "5.0 (95 % interval 4 to 6)"."""
    if speedup.interval is None:
        return number(speedup.value)
    low, high = speedup.interval
    return f"{number(speedup.value)} ({intro}{number(low)} to {number(high)})"


def tuned(score: Score) -> str:
    """Return the tuned parameters of a baseline and a note about it, "" without either."""
    parameters = {
        "reg": score["reg"],
        "user damping": score["user_damping"],
        "item damping": score["item_damping"],
    }
    values = [f"{name} {value:g}" for name, value in parameters.items() if value is not None]
    note = f" ({score['note']})" if score["note"] else ""
    return ", ".join(values) + note


class Answer(NamedTuple):
    """The short answer: names of the backends to choose, and the rest of the sentence."""

    names: list[str]
    text: str


def answer(case: Case) -> Answer:
    """Return the fastest backend of a case, or all that are equally fast, and their lead."""
    if case.target is None:
        reason = _simpler(case) or "there is no matching validation MSE"
        return Answer([], f"No backend is ranked: {reason}.")
    if not case.ranked:
        return Answer([], "No backend reached the matching validation MSE.")
    first, tied = case.ranked[0], _tied(case)
    names = [entry.name for entry in tied]
    behind = [entry for entry in case.ranked if entry not in tied]
    if not behind and len(tied) == 1:
        claim = "matches" if len(case.entries) == 1 else "is the only one to match"
        return Answer(names, f"{claim}, in {number(first.median)} s.")
    noise = _noise(*case.ranked)
    lead = ""
    if behind:
        factor = number(ratio(behind[0], first).value)
        lead = f"{factor} times as fast as {behind[0].name}{noise}"
    # Several names are followed by their range of times, a single one by its lead.
    if len(tied) > 1:
        range_ = f"{number(first.median)} to {number(tied[-1].median)} s"
        also = f"; {first.name} is {lead}" if lead else ""
        return Answer(names, f"cannot be told apart, at {range_}{also}.")
    claim = "was the fastest" if noise else "is the fastest"
    return Answer(names, f"{claim}: {number(first.median)} s, {lead}.")


def headline(case: Case) -> str:
    """Return which backend is fastest to the matching MSE, by what factor and how surely."""
    if case.target is None:
        dropped = sorted({level["dropped"] for level in case.facts["ladder"] if level["dropped"]})
        reasons = words(dropped or ["none given"])
        reason = f"the matching target was dropped (reason: {reasons})"
        return f"{case.title}: no backend is ranked, as {_simpler(case) or reason}"
    goal = f"the matching validation MSE of {mse(case.target)}"
    if not case.ranked:
        return f"{case.title}: no backend reached {goal}"
    first, *others = case.ranked
    if not others:
        only = "only " if len(case.entries) > 1 else ""
        return f"{case.title}: {only}{first.name} reached {goal}, in {_time(first)}"
    # With a single seed there is no interval. The claim is then in the past tense, as it is about
    # these rounds only.
    tied, noise, factors = _tied(case), _noise(*case.ranked), _lead(case)
    if len(tied) == 1:
        claim = "was the fastest" if noise else "is the fastest"
        return f"{case.title}: {first.name} {claim} to {goal}, in {_time(first)}, {factors}{noise}"
    names = words([entry.name for entry in tied])
    medians = words([number(entry.median) for entry in tied])
    which = "largest ratio" if len(tied) > 2 else "ratio"
    spread = with_interval(ratio(tied[-1], first))
    text = (
        f"{case.title}: no difference can be detected between {names} to {goal}: "
        f"medians {medians} s, {which} {spread}"
    )
    return f"{text}; {first.name} is {factors}{noise}" if factors else text


def _simpler(case: Case) -> str:
    """Return which model without factors is as good as one with them, "" if none is."""
    baselines, best = case.facts["baselines"], case.facts["reference"]["validation_mse"]
    if not baselines:
        return ""
    name = min(baselines, key=lambda each: baselines[each]["validation_mse"])
    simplest = baselines[name]
    score = simplest["validation_mse"]
    if score > _CLOSE * best:
        return ""
    gain, advice = "do not help", "take"
    if best < score:
        gain, advice = f"gain only {100 * (1 - best / score):.1f} %", "a simpler choice is"
    model = "the mean rating" if name == "global mean" else name
    settings = tuned(simplest)
    if simplest["user_damping"] is not None and simplest["item_damping"] is not None:
        model = (
            f"damped_biases(ratings, user_damping={simplest['user_damping']:g}, "
            f"item_damping={simplest['item_damping']:g})"
        )
    described = f"{name} ({settings})" if settings else name
    return (
        f"factors {gain} on these ratings: the validation MSE is {mse(score)} by {described}, and "
        f"{mse(best)} by exact ALS; {advice} {model}"
    )


def left_out(case: Case) -> str:
    """Return which backends are not ranked, "" for none.

    Those that ran come first, with their reasons. The reasons of the unavailable ones are in the
    table.
    """
    absent = [entry.name for entry in case.unranked if entry.record["status"] == "unavailable"]
    others = [entry for entry in case.unranked if entry.name not in absent]
    missed = [f"{entry.name} ({entry.why})" for entry in others]
    clauses = []
    if case.target is None and others:
        clauses.append(f"not timed: {words([entry.name for entry in others])}")
    elif missed:
        clauses.append(f"not matched: {'; '.join(missed)}")
    if absent:
        clauses.append(f"not available here: {words(absent)}")
    return "; ".join(clauses)


def sentence(case: Case) -> str:
    """Return the verdict of a case in one sentence on one line, fit for a terminal."""
    clauses = [headline(case), left_out(case)]
    return one_line("; ".join(filter(None, clauses)) + ".")


def _tied(case: Case) -> list[Entry]:
    """Return the fastest backend and all that cannot be told apart from it.

    These need not be the first ones: a noisy backend may be tied with the first although a less
    noisy one between the two is not.
    """
    first, *others = case.ranked
    return [first, *(entry for entry in others if ratio(entry, first).within_noise)]


def _lead(case: Case) -> str:
    """Return how many times as fast the first is as the next one that is not tied with it.

    The yardstick is added if it is yet another one; "" if all are tied.
    """
    first, tied = case.ranked[0], _tied(case)
    behind = [entry for entry in case.ranked if entry not in tied]
    compared = behind[:1]
    if case.yardstick is not None and case.yardstick in behind[1:]:
        compared.append(case.yardstick)
    factors = []
    for place, entry in enumerate(compared):
        intro = "" if place else _INTERVAL  # explained once
        is_yardstick = entry is case.yardstick
        note = f", {case.yardstick_note}" if is_yardstick and case.yardstick_note else ""
        factor = with_interval(ratio(entry, first), intro)
        factors.append(f"{factor} times as fast as {entry.name}{note}")
    return words(factors)


def _time(entry: Entry) -> str:
    rounds, seeds = len(entry.seconds), len(entry.record["seeds"])
    if rounds == 1:
        return f"{number(entry.median)} s (one round)"
    of_seeds = f" with {seeds} seeds" if seeds > 1 else ""
    return f"{number(entry.median)} s (median of {rounds} rounds{of_seeds})"


def _noise(first: Entry, *others: Entry) -> str:
    """Return which backends have too few seeds for an interval, "" for none."""
    few = [entry.name for entry in others if ratio(entry, first).interval is None]
    if not few:
        return ""
    whose = "" if len(few) == len(others) else f" of {words(few)}"
    return f"; one seed{whose}, so that this may be noise"
