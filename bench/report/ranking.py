"""Who is ranked where in a case, and how sure that is: no text for readers beyond reasons, no drawing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.records import Record

YARDSTICK = "numpy"  # the backend over which speed-ups are given, where it matched
RESAMPLES = 4000
LEAST_ROUNDS = 5  # fewer rounds find a difference between equals in one of ten cases


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % interval, None where there are too few rounds for one."""

    value: float
    interval: tuple[float, float] | None

    @property
    def within_noise(self) -> bool:
        """Whether the interval holds 1, so that no difference can be told."""
        return self.interval is not None and self.interval[0] <= 1 <= self.interval[1]


@dataclass(frozen=True)
class Entry:
    """One backend on a case. ``why`` says why it is not ranked, "" where it is."""

    record: Record
    why: str

    @property
    def name(self) -> str:
        """The backend's name."""
        return self.record["backend"]["name"]

    @property
    def seconds(self) -> list[float]:
        """Seconds of each timed round."""
        return [one["seconds"] for one in self.record["rounds"]]

    @property
    def median(self) -> float:
        """Median of the rounds in seconds."""
        return median(self.seconds)

    def score(self, column: Literal["validation_mse", "test_mse", "objective"]) -> float | None:
        """Median of a column over the rounds, None where there is none."""
        values = [one[column] for one in self.record["rounds"]]
        known = [value for value in values if value is not None]
        return median(known) if known else None


@dataclass(frozen=True)
class Case:
    """The records of one case: data, split, objective, seed and target are the same in all of them."""

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

    @cached_property
    def yardstick(self) -> Entry | None:
        """The entry over which speed-ups are given: numpy, or else the slowest that matched."""
        named = [entry for entry in self.ranked if entry.name == YARDSTICK]
        return next(iter(named or self.ranked[-1:]), None)

    @cached_property
    def yardstick_note(self) -> str:
        """Why the yardstick is not numpy, "" where it is."""
        if self.yardstick is None or self.yardstick.name == YARDSTICK:
            return ""
        measured = any(entry.name == YARDSTICK for entry in self.unranked)
        return f"the slowest that matched, as {YARDSTICK} {'did not match' if measured else 'was not measured'}"

    @cached_property
    def speedups(self) -> dict[str, Ratio]:
        """Speed-up of each ranked backend over the yardstick."""
        return {entry.name: ratio(self.yardstick, entry) for entry in self.ranked if self.yardstick}


def ratio(slow: Entry, fast: Entry) -> Ratio:
    """Return how many times as fast ``fast`` is, by the medians of the rounds."""
    if slow is fast:
        return Ratio(1.0, None)
    return Ratio(slow.median / fast.median, _ratio_interval(slow.seconds, fast.seconds))


def group_cases(records: list[Record]) -> list[Case]:
    """Sort records into cases, by name; of several records of one backend the newest is shown."""
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record["created"]):
        key = json.dumps([record["case"]["name"], record["case"], record["target"]], sort_keys=True)
        groups.setdefault(key, []).append(record)
    titles: dict[str, int] = {}
    slugs: set[str] = set()
    cases = []
    for key in sorted(groups):
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


def _case(title: str, slug: str, records: list[Record]) -> Case:
    newest = {record["backend"]["name"]: record for record in records}
    entries = [Entry(record, _why_not(record)) for record in newest.values()]
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


def _ratio_interval(slow: list[float], fast: list[float]) -> tuple[float, float] | None:
    """Return the bootstrap 95 % interval of median(slow) / median(fast); None under three rounds of either.

    Rounds are resampled with replacement, the two backends apart, with a fixed seed; percentile interval (Efron 1979).
    """
    if min(len(slow), len(fast)) < LEAST_ROUNDS:
        return None
    rng = np.random.default_rng(0)
    low, high = np.percentile(_medians(slow, rng) / _medians(fast, rng), [2.5, 97.5])
    return float(low), float(high)


def _medians(values: list[float], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the medians of resampled rounds, shape (RESAMPLES,)."""
    picks = rng.integers(0, len(values), size=(RESAMPLES, len(values)))
    medians: NDArray[np.float64] = np.median(np.asarray(values)[picks], axis=1)
    return medians
