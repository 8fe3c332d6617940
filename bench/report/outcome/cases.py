"""Who is ranked where in a case, and how sure that is: no text for readers beyond reasons, no drawing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from bench import stats
from bench.records import Record, Round
from bench.stats import Ratio
from bench.text.wording import plural

YARDSTICK = "numpy"  # the backend over which speed-ups are given, where it matched


@dataclass(frozen=True)
class Entry:
    """One backend on a case, with so many threads. ``why`` says why it is not ranked, "" where it is."""

    record: Record
    why: str
    name: str  # the backend's, and its threads where the case has it with several counts

    @property
    def seconds(self) -> list[float]:
        """Seconds of each timed round."""
        return [one["seconds"] for one in self.record["rounds"]]

    @cached_property
    def median(self) -> float:
        """Median over seeds of the medians over their rounds, in seconds."""
        value = stats.summary(self.record["rounds"])
        assert value is not None
        return value

    @cached_property
    def epochs(self) -> list[int]:
        """Epochs to the target, of each seed that was calibrated and reached it."""
        return [one["epochs"] for one in self.record["calibrations"] if one["epochs"] is not None]

    @cached_property
    def evaluation(self) -> float | None:
        """Seconds of one scoring of the validation set, None where none was timed."""
        known = [one["evaluation_seconds"] for one in self.record["calibrations"]]
        return next((value for value in known if value is not None), None)

    @cached_property
    def warnings(self) -> list[str]:
        """What makes its times less than trustworthy, in words."""
        return stats.doubts(self.record)

    def rounds_to(self, factor: float) -> list[Round]:
        """Return the timed rounds to a rung of the ladder, the target or another."""
        return [one for one in (*self.record["rounds"], *self.record["rungs"]) if one["factor"] == factor]

    def score(self, column: Literal["validation_mse", "test_mse", "objective"]) -> float | None:
        """Summary of a column over the rounds, None where there is none."""
        return stats.summary(self.record["rounds"], column)


@dataclass(frozen=True)
class Case:
    """The records of one case: data, split, objective, target and machine are the same in all of them."""

    title: str
    slug: str
    facts: Record  # the newest record, for what all have in common
    ranked: list[Entry]  # fastest first
    unranked: list[Entry]
    superseded: int = field(default=0)  # older records of a backend that is here with a newer one

    @property
    def entries(self) -> list[Entry]:
        """All backends, in the order in which they are shown."""
        return self.ranked + self.unranked

    @property
    def records(self) -> list[Record]:
        """The records shown."""
        return [entry.record for entry in self.entries]

    @property
    def target(self) -> float | None:
        """The matching validation MSE, None where its rung was dropped."""
        return self.facts["target"]["mse"] if self.facts["target"] else None

    @property
    def rungs(self) -> list[float]:
        """The factors of the rungs that were not dropped, the loosest first."""
        return sorted({rung["factor"] for rung in self.facts["ladder"] if not rung["dropped"]}, reverse=True)

    @cached_property
    def yardstick(self) -> Entry | None:
        """The entry over which speed-ups are given: numpy, or else the slowest that matched."""
        named = [entry for entry in self.ranked if entry.record["backend"]["name"] == YARDSTICK]
        return next(iter(named or self.ranked[-1:]), None)

    @cached_property
    def yardstick_note(self) -> str:
        """Why the yardstick is not numpy, "" where it is."""
        if self.yardstick is None or self.yardstick.record["backend"]["name"] == YARDSTICK:
            return ""
        measured = any(entry.record["backend"]["name"] == YARDSTICK for entry in self.unranked)
        return f"the slowest that matched, as {YARDSTICK} {'did not match' if measured else 'was not measured'}"

    @cached_property
    def speedups(self) -> dict[str, Ratio]:
        """Speed-up of each ranked backend over the yardstick."""
        return {entry.name: ratio(self.yardstick, entry) for entry in self.ranked if self.yardstick}


def ratio(slow: Entry, fast: Entry) -> Ratio:
    """Return how many times as fast ``fast`` is; rounds that took turns are compared within their blocks."""
    if slow is fast:
        return Ratio(1.0, None)
    one, other = slow.record, fast.record
    paired = one["order"] == other["order"] == "interleaved" and one["run"] == other["run"]
    return stats.ratio(one["rounds"], other["rounds"], paired)


def group_cases(records: list[Record]) -> list[Case]:
    """Sort records into cases, by name and machine; of several records of one backend the newest is shown."""
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record["created"]):
        machine = record["key"].get("machine", "")
        key = json.dumps([record["case"]["name"], record["case"], record["target"], machine], sort_keys=True)
        groups.setdefault(key, []).append(record)
    titles: dict[str, int] = {}
    slugs: set[str] = set()
    cases = []
    for key in sorted(groups, key=_in_numbers):
        name = groups[key][-1]["case"]["name"]
        titles[name] = titles.get(name, 0) + 1
        title = f"{name} ({titles[name]})" if titles[name] > 1 else name
        slug = base = re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-.").lower()[:60] or "case"
        count = 1
        while slug in slugs:
            count += 1
            slug = f"{base}-{count}"
        slugs.add(slug)
        cases.append(_case(title, slug, groups[key]))
    return cases


def _in_numbers(text: str) -> list[tuple[int, str]]:
    """Return what sorts texts with the numbers in them by size: rank 16 before rank 128."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


def _case(title: str, slug: str, records: list[Record]) -> Case:
    newest = {(record["backend"]["name"], record["backend"]["threads"]): record for record in records}
    swept = {name for name, _ in newest if sum(name == other for other, _ in newest) > 1}
    entries = [
        Entry(record, _why_not(record), f"{name} ({plural(threads, 'thread')})" if name in swept else name)
        for (name, threads), record in newest.items()
    ]
    return Case(
        title=title,
        slug=slug,
        facts=records[-1],
        ranked=sorted((one for one in entries if not one.why), key=lambda one: (one.median, one.name)),
        unranked=sorted((one for one in entries if one.why), key=lambda one: (one.record["status"], one.name)),
        superseded=len(records) - len(entries),
    )


def _why_not(record: Record) -> str:
    """Return why a record has no place in the ranking, "" if it has one."""
    status, reason = record["status"], " ".join(record["reason"].split()).rstrip(".")
    if status != "matched":
        return f"{status}: {reason}" if reason else status
    if record["target"] is None:
        return "no target: the matching rung is dropped"
    return "" if record["rounds"] else "no timed round in the record"
