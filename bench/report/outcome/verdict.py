"""The verdict of a case in plain sentences, and how ratios are written in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from bench.records import Measured, Score
from bench.stats import Ratio, by_seed, median_of
from bench.text.wording import mse, number, one_line, plural, rounded, words

from .cases import Case, Entry, ratio
from .parts import Parts, is_clear, parts_of
from .plan import Plan, all_missing, complete_files, file_of, group_of
from .rooflines import Roofline
from .uses import NO_START, USES, Use, case_for

_INTERVAL = "95 % interval "
_DIGITS = 2  # of a time or ratio in a sentence, where no interval shows how many it deserves
_NEARLY_EQUAL = 1.05  # a ratio below is 1.0 with two digits
_APART = timedelta(hours=24)  # between records that were not measured in one go
_ROUNDED = 0.005  # a product that differs by more from a speed-up is seen to do so
_FAR = 3.0  # times as long as the fastest: one seed is enough to tell
_MANY_RATINGS = 1000  # held out for validation; fewer do not show a difference of a per cent
_CLOSE = 1.01  # times the reference: what factors gain beyond it is not worth a backend


def with_interval(speedup: Ratio, intro: str = _INTERVAL) -> str:
    """Return a ratio as text, with its interval if there is one: "5 (95 % interval 4 to 6)"."""
    if speedup.interval is None:
        close = 1 < speedup.value < _NEARLY_EQUAL  # "1.0 times as fast" would say nothing
        return number(speedup.value, _DIGITS + close)
    value, low, high = rounded(speedup.value, *speedup.interval)
    return f"{value} ({intro}{low} to {high})"


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
    """The short answer: names of the backends to take, and the rest of the sentence.

    Without a name, the text is the whole sentence.
    """

    names: list[str]
    text: str

    @property
    def sentence(self) -> str:
        """The answer as plain text."""
        return f"take {words(self.names, 'or')}{self.text}" if self.names else self.text


def answers(case: Case) -> list[tuple[Use, Answer]]:
    """Return the answer for each use that was measured; [] if no backend is ranked."""
    if not case.ranked:
        return []
    of_uses = [(use, case_for(case, use)) for use in USES]
    return [(use, answer(seen)) for use, seen in of_uses if seen.ranked]


def answer(case: Case) -> Answer:
    """Return the fastest backend of a case, or all that are equally fast, and their lead."""
    if case.target is None:
        reason = _simpler(case) or "there is no matching validation MSE"
        return Answer([], f"No backend is ranked: {reason}.")
    if not case.ranked:
        return Answer([], f"{_upper(_nobody(case, 'the matching validation MSE'))}.")
    first, tied = case.ranked[0], _tied(case)
    names = [entry.name for entry in tied]
    behind = [entry for entry in case.ranked if entry not in tied]
    if not behind and len(tied) == 1:
        claim = ", the only one to match" if _is_only(case) else ""
        return Answer(names, f"{claim}: {_seconds(first)} s{_unmeasured(case)}{_untimed(case)}.")
    noise = _noise(case)
    lead = ""
    if behind:
        factor = with_interval(ratio(behind[0], first), "")
        lead = f"{factor} times as fast as {behind[0].name}{noise}"
    # Several names are followed by their range of times, a single one by its lead.
    if len(tied) > 1:
        low, high = _seconds(first), _seconds(max(tied, key=lambda entry: entry.median))
        range_ = f"{low} s each" if low == high else f"{low} to {high} s"
        also = f"; {first.name} is {lead}" if lead else ""
        return Answer(names, f", which cannot be told apart: {range_}{also}{_untimed(case)}.")
    limited = ", the fastest of those measured" if _is_limited(case) else ""
    return Answer(names, f"{limited}: {_seconds(first)} s, {lead}{_untimed(case)}.")


def _seconds(entry: Entry) -> str:
    return number(entry.median, _DIGITS)


def headline(case: Case) -> str:
    """Return which backend is fastest to the matching MSE, by what factor and how surely."""
    if case.target is None:
        dropped = sorted({level["dropped"] for level in case.facts["ladder"] if level["dropped"]})
        reasons = words(dropped or ["none given"])
        reason = f"the matching target was dropped (reason: {reasons})"
        return f"{case.title}: no backend is ranked, as {_simpler(case) or reason}"
    goal = f"the matching validation MSE of {mse(case.target)}"
    if not case.ranked:
        return f"{case.title}: {_nobody(case, goal)}"
    first, *others = case.ranked
    if not others:
        only = "only " if _is_only(case) else ""
        return (
            f"{case.title}: {only}{first.name} reached {goal}, in {_time(first)}{_unmeasured(case)}"
        )
    # With a single seed there is no interval. The claim is then in the past tense, as it is about
    # these rounds only.
    tied, noise, factors = _tied(case), _noise(case), _lead(case)
    if len(tied) == 1:
        claim = _claim(case, noise)
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
    text = (
        f"factors {gain} on these ratings: the validation MSE is {mse(score)} by {described}, and "
        f"{mse(best)} by exact ALS; {advice} {model}"
    )
    n, seeds = case.facts["case"]["n_validation"], case.facts["reference"]["seeds"]
    if n >= _MANY_RATINGS:
        return text
    return f"{text} (judged by {plural(n, 'rating')} and {plural(seeds, 'seed')}: may be noise)"


def left_out(case: Case) -> str:
    """Return which of the available backends are not ranked, and why; "" for none."""
    absent = [name for name, _ in unavailable(case)]
    begun = [entry for entry in case.unranked if entry.record["status"] == "in progress"]
    others = [entry for entry in case.unranked if entry.name not in absent and entry not in begun]
    missed = [f"{entry.name} ({entry.why})" for entry in others]
    clauses = []
    if case.target is None and others:
        clauses.append(f"not timed: {words([entry.name for entry in others])}")
    elif missed:
        clauses.append(f"not matched: {'; '.join(missed)}")
    if begun:
        reasons = [f"{entry.name} ({_progress(entry)})" for entry in begun]
        clauses.append(f"measured in part: {'; '.join(reasons)}")
    return "; ".join(clauses)


def unavailable(case: Case) -> list[tuple[str, str]]:
    """Return the backends that are not available here, each with what it needs."""
    return [
        (entry.name, entry.why.removeprefix("unavailable: "))
        for entry in case.unranked
        if entry.record["status"] == "unavailable"
    ]


def cautions(case: Case) -> list[str]:
    """Return why the verdict may be wrong, as clauses: what is missing, and what is doubtful."""
    found = [case.missing.text] if case.missing else []
    if case.days:
        first, last = case.days
        apart = last - first
        if apart > _APART:
            found.append(
                f"these records were measured over {plural(apart.days, 'day')}, from "
                f"{first:%Y-%m-%d} to {last:%Y-%m-%d}: the machine may have changed in between"
            )
    if case.changed:
        found.append(f"these records were measured with different {words(case.changed)}")
    doubtful: dict[str, list[str]] = {}
    for entry in compared(case):
        if entry.warnings:
            doubtful.setdefault("; ".join(entry.warnings), []).append(entry.name)
    if doubtful:
        listed = [f"{words(names)} ({reasons})" for reasons, names in doubtful.items()]
        found.append(f"be careful with {words(listed)}")
    return found


def missing_in_all(plan: Plan, cases: Sequence[Case], rooflines: Sequence[Roofline]) -> str:
    """Return what is missing of all measurements, "" for nothing or if the only case says it."""
    shown: list[tuple[str, Measured]] = [
        (case.title, record) for case in cases for record in case.records
    ]
    shown += [(roofline.title, record) for roofline in rooflines for record in roofline.records]
    titles = {group_of(file_of(record)): title for title, record in shown}
    return all_missing(plan, titles, complete_files(record for _, record in shown))


def origin(case: Case) -> str:
    """Return where the speed-up of the fastest backend comes from.

    "" if it cannot be split, or may be noise.
    """
    parts = _split(case)
    if parts is None or case.yardstick is None:
        return ""
    name, base, total = parts.entry.name, case.yardstick.name, with_interval(parts.total, "")
    if parts.between is case.yardstick:
        epochs = f": {parts.epochs}" if parts.epochs else ""
        return (
            f"{name} is {total} times as fast as {base} by its algorithm alone, as both have the "
            f"same engine{epochs}"
        )
    notes = ["", parts.epochs]
    if parts.between:
        between = parts.between.name
        notes[0] = f"{between} against {base}, the same algorithm"
        notes[1] = ": ".join(filter(None, [f"{name} against {between}", parts.epochs]))
    factors = [
        f"a factor of {with_interval(factor, '')} by {by}" + (f" ({note})" if note else "")
        for factor, by, note in zip((parts.first, parts.second), parts.by, notes, strict=True)
    ]
    product = parts.first.value * parts.second.value
    about = "" if math.isclose(product, parts.total.value, rel_tol=_ROUNDED) else "about "
    text = (
        f"the {total} times by which {name} is faster than {base} are {about}{factors[0]}, times "
        f"{factors[1]}"
    )
    if parts.unclear:
        text += f"; by {words(parts.unclear)} no difference can be detected"
    return text


def _split(case: Case) -> Parts | None:
    """Return the parts of the fastest backend's speed-up; None for none, or if it may be noise."""
    parts = parts_of(case, case.ranked[0]) if case.ranked else None
    return parts if parts and is_clear(parts.total) else None


def compared(case: Case) -> list[Entry]:
    """Return the backends that are in the verdict of a use, or in where the speed-up is from."""
    if not case.ranked:
        return []
    found = [*_tied(case), *_behind(case)]
    names = {name for _, each in answers(case) for name in each.names}
    found += [entry for entry in case.ranked if entry.name in names and entry not in found]
    parts = _split(case)
    if parts and parts.between and parts.between not in found:
        found.append(parts.between)
    return found


def verdict(case: Case) -> list[str]:
    """Return the verdict of a case in sentences: in a loop, for other uses, and what to heed."""
    other_uses = [f"{use.title}: {found.sentence}" for use, found in answers(case)[:-1]]
    names = [name for name, _ in unavailable(case)]
    absent = f"not available here: {words(names)}" if names else ""
    clauses = [left_out(case), absent, *cautions(case)]
    rest = [f"{_upper(clause)}." for clause in clauses if clause]
    return [one_line(text) for text in (f"{headline(case)}.", *other_uses, *rest)]


def _tied(case: Case) -> list[Entry]:
    """Return the fastest backend and all that cannot be told apart from it.

    These need not be the first ones: a noisy backend may be tied with the first although a less
    noisy one between the two is not.
    """
    first, *others = case.ranked
    return [first, *(entry for entry in others if ratio(entry, first).within_noise)]


def _behind(case: Case) -> list[Entry]:
    """Return the next one that is not tied with the first, and the yardstick if it is another."""
    tied = _tied(case)
    behind = [entry for entry in case.ranked if entry not in tied]
    yardstick = [entry for entry in behind[1:] if entry is case.yardstick]
    return behind[:1] + yardstick


def _is_only(case: Case) -> bool:
    """Whether all others ended by themselves without reaching the target, and there are others."""
    return len(case.entries) > len(case.ranked) == 1 and not case.unmeasured + case.stopped


def _unmeasured(case: Case) -> str:
    """Return how many others may reach the target all the same, as clauses; "" for none."""
    return "".join(f"; {clause}" for clause in _open(case, lambda count: plural(count, "other")))


def _nobody(case: Case, goal: str) -> str:
    """Return that no backend is ranked, without a claim about those that were not measured."""
    all_ = plural(len(case.entries) + case.not_begun, "backend")
    clauses = _open(case, lambda count: f"{count} of {all_}")
    if not clauses:
        return f"no backend reached {goal}"
    return f"no backend is known to reach {goal}: {words(clauses)}"


def _open(case: Case, counted: Callable[[int], str]) -> list[str]:
    """Return how many backends may reach the target although they are not known to, by reason."""
    clauses = []
    if case.stopped:
        were = "was" if case.stopped == 1 else "were"
        clauses.append(f"{counted(case.stopped)} {were} stopped at a limit")
    if case.unmeasured:
        have = "has" if case.unmeasured == 1 else "have"
        clauses.append(f"{counted(case.unmeasured)} {have} no valid measurement")
    return clauses


def _claim(case: Case, noise: str) -> str:
    """Return the claim of the fastest, limited to what was measured."""
    claim = "was the fastest" if noise else "is the fastest"
    return f"{claim} of those measured" if _is_limited(case) else claim


def _is_limited(case: Case) -> bool:
    """Whether others are still to be measured."""
    begun = any(entry.record["status"] == "in progress" for entry in case.unranked)
    return case.missing is not None or begun or bool(_untimed(case))


def _progress(entry: Entry) -> str:
    """Return how far a measurement came, as its record says."""
    return entry.why.removeprefix("in progress: ")


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lead(case: Case) -> str:
    """Return how many times as fast the first is as those in `_behind`; "" if all are tied."""
    first = case.ranked[0]
    factors = []
    for place, entry in enumerate(_behind(case)):
        intro = "" if place else _INTERVAL  # explained once
        is_yardstick = entry is case.yardstick
        note = f", {case.yardstick_note}" if is_yardstick and case.yardstick_note else ""
        found = ratio(entry, first)
        if found.interval is None and _has_seeds(first):
            note += f" (one {case.observation} of it)"
        factor = with_interval(found, intro)
        factors.append(f"{factor} times as fast as {entry.name}{note}")
    return words(factors)


def _has_seeds(entry: Entry) -> bool:
    return len(by_seed(entry.record["rounds"])) > 1


def _time(entry: Entry) -> str:
    return f"{number(entry.median)} s ({median_of(entry.record['rounds'])})"


def few(case: Case) -> str:
    """Return that ranked backends have too few seeds, or starts, for an interval; "" if not so.

    Where the first has several, one of another that took many times as long is enough to say that
    it is slower, unless it is the next one, with which the first is compared.
    """
    first, *others = case.ranked
    several, next_one = _has_seeds(first), _behind(case)[:1]
    names = []
    for entry in others:
        found = ratio(entry, first)
        is_far = several and found.value > _FAR and entry not in next_one
        if found.interval is None and not is_far:
            names.append(entry.name)
    if not names:
        return ""
    whose = "" if len(names) == len(others) else f" of {words(names)}"
    return f"one {case.observation}{whose}"


def _noise(case: Case) -> str:
    """Return the same as a clause that says what it means, "" for none."""
    found = few(case)
    return f"; {found}, so that this may be noise" if found else ""


def _untimed(case: Case) -> str:
    """Return which backends reach the target but were not timed for this use, as a clause."""
    names = [entry.name for entry in case.unranked if entry.why == NO_START]
    return f"; not timed so: {words(names)}" if names else ""
