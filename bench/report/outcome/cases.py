"""Cases: their backends in order of speed, why backends are not ranked, and speed-ups."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

from bench import stats
from bench.records import TUNED, Record, Round
from bench.stats import Ratio
from bench.text.wording import one_line, plural

from .plan import NO_PLAN, Missing, Plan, complete_files, file_of, find_missing, group_of

YARDSTICK = "numpy"  # speed-ups are relative to this backend wherever it matched

# Statuses of backends that ended by themselves without reaching the target.
_ENDED_WITHOUT = ("missed", "diverged")
_STOPPED = "timed out"
_RANK = re.compile(r", rank (\d+)(?=,|$)")


@dataclass(frozen=True)
class Entry:
    """One backend on a case, with one number of threads.

    Attributes
    ----------
    why
        Why the backend has no place in the ranking; "" if it has one.
    name
        The backend's name, with the number of threads if the case has several of them.
    """

    record: Record
    why: str
    name: str

    @property
    def seconds(self) -> list[float]:
        """Seconds of each timed round."""
        return [round_["seconds"] for round_ in self.record["rounds"]]

    @cached_property
    def median(self) -> float:
        """Median over seeds of the medians over their rounds, in seconds."""
        value = stats.summary(self.record["rounds"])
        assert value is not None
        return value

    @cached_property
    def epochs(self) -> list[int]:
        """Epochs to the target, one number per seed whose calibration reached it."""
        counts = [calibration["epochs"] for calibration in self.record["calibrations"]]
        return [count for count in counts if count is not None]

    @cached_property
    def evaluation(self) -> float | None:
        """Seconds of one evaluation on the validation set, None if none was timed."""
        for calibration in self.record["calibrations"]:
            if calibration["evaluation_seconds"] is not None:
                return calibration["evaluation_seconds"]
        return None

    @cached_property
    def warnings(self) -> list[str]:
        """Reasons to be careful with the times, in words."""
        return stats.warnings_of(self.record)

    def rounds_to(self, factor: float) -> list[Round]:
        """Return the rounds that were timed to one of the targets, given by its factor."""
        rounds = [*self.record["rounds"], *self.record["rungs"]]
        return [round_ for round_ in rounds if round_["factor"] == factor]

    def score(self, column: Literal["validation_mse", "test_mse", "objective"]) -> float | None:
        """Return the summary of a column over the rounds, None without values."""
        return stats.summary(self.record["rounds"], column)


@dataclass(frozen=True)
class Case:
    """The records of one case. They share data, split, objective, target and machine.

    Attributes
    ----------
    slug
        The title as part of file names and links.
    facts
        The newest record, from which shared facts are read.
    ranked
        The backends that matched, fastest first.
    superseded
        The number of records left out because the same backend has a newer one.
    missing
        What a run that has not ended is still to measure; None for nothing.
    observation
        What the times of a backend are of, each counted once: seeds, or starts of processes.
    """

    title: str
    slug: str
    facts: Record
    ranked: list[Entry]
    unranked: list[Entry]
    superseded: int = field(default=0)
    missing: Missing | None = field(default=None)
    observation: str = field(default="seed")

    @property
    def entries(self) -> list[Entry]:
        """All backends, in the order in which they are shown."""
        return self.ranked + self.unranked

    @property
    def records(self) -> list[Record]:
        """The records that are shown."""
        return [entry.record for entry in self.entries]

    @property
    def target(self) -> float | None:
        """The matching validation MSE, None if that target was dropped."""
        return self.facts["target"]["mse"] if self.facts["target"] else None

    @property
    def targets(self) -> list[float]:
        """The factors of all targets that were not dropped, the loosest first."""
        ladder = self.facts["ladder"]
        return sorted({level["factor"] for level in ladder if not level["dropped"]}, reverse=True)

    @cached_property
    def yardstick(self) -> Entry | None:
        """The entry that speed-ups are relative to: numpy, or else the slowest that matched."""
        for entry in self.ranked:
            if _is_yardstick(entry):
                return entry
        return self.ranked[-1] if self.ranked else None

    @cached_property
    def yardstick_note(self) -> str:
        """Why the yardstick is not numpy, "" if it is."""
        if self.yardstick is None or _is_yardstick(self.yardstick):
            return ""
        statuses = {entry.record["status"] for entry in self.unranked if _is_yardstick(entry)}
        if not statuses:
            reason = "was not measured"
        elif statuses <= set(_ENDED_WITHOUT):
            reason = "did not match"
        elif statuses <= {*_ENDED_WITHOUT, _STOPPED}:
            reason = "was stopped before it matched"
        else:
            reason = "has no valid measurement"
        return f"the slowest that matched, as {YARDSTICK} {reason}"

    @cached_property
    def not_begun(self) -> int:
        """How many of the missing measurements have no record at all."""
        shown = {file_of(record) for record in self.records}
        return len(set(self.missing.files) - shown) if self.missing else 0

    @cached_property
    def stopped(self) -> int:
        """How many backends were stopped at a limit, before they reached the target."""
        return sum(entry.record["status"] == _STOPPED for entry in self.unranked)

    @cached_property
    def unmeasured(self) -> int:
        """How many backends neither matched, nor ended without reaching the target.

        They are unavailable, in progress or not begun, or broke a rule.
        """
        statuses = [entry.record["status"] for entry in self.unranked]
        measured = (*_ENDED_WITHOUT, _STOPPED)
        return self.not_begun + sum(status not in measured for status in statuses)

    @cached_property
    def changed(self) -> list[str]:
        """What changed between the runs that the times come from: code, versions of packages."""
        timed = [record for record in self.records if record["rounds"]]
        if len({record["run"] for record in timed}) < 2:
            return []
        return [
            name
            for name in ("code", "versions")
            if len({record["key"].get(name) for record in timed}) > 1
        ]

    @cached_property
    def days(self) -> tuple[datetime, datetime] | None:
        """When the first and the last result was measured, None if their times are unknown.

        Those of backends that are not available are not counted.
        """
        written = [
            _moment(created)
            for record in self.records
            if record["status"] != "unavailable"
            for created in _times(record)
        ]
        known = [moment for moment in written if moment]
        return (min(known), max(known)) if known else None

    @cached_property
    def speedups(self) -> dict[str, Ratio]:
        """Speed-up of each ranked backend relative to the yardstick, by name."""
        if self.yardstick is None:
            return {}
        return {entry.name: ratio(self.yardstick, entry) for entry in self.ranked}


def _is_yardstick(entry: Entry) -> bool:
    """Whether an entry is of the yardstick, which a duel may number: "numpy (1)"."""
    name = entry.record["backend"]["name"]
    return name.partition(" (")[0] == YARDSTICK and not name.endswith(TUNED)


def _times(record: Record) -> list[str]:
    """Return when a record was written, and when its seeds were measured, where that is known."""
    seeds = [calibration.get("created", "") for calibration in record["calibrations"]]
    return [record["created"], *seeds]


def ratio(slow: Entry, fast: Entry) -> Ratio:
    """Return how many times as fast ``fast`` is as ``slow``.

    Backends that took turns in one run are compared block by block.
    """
    if slow is fast:
        return Ratio(1.0, None)
    a, b = slow.record, fast.record
    paired = a["order"] == b["order"] == "interleaved" and a["run"] == b["run"]
    return stats.ratio(a["rounds"], b["rounds"], paired)


def case_title(name: str) -> str:
    """Return the name of a case as it is shown: "twin, 16 factors, seed 0".

    The names in records contain "rank 16" instead. They stay as they are, as records of several
    releases are matched by name.
    """
    return _RANK.sub(lambda found: f", {plural(int(found[1]), 'factor')}", name)


def roofline_title(name: str) -> str:
    """Return the name of a case without its rank: a roofline has epochs of several ranks."""
    return _RANK.sub("", name)


def group_cases(records: list[Record], plan: Plan = NO_PLAN) -> list[Case]:
    """Group records by case and machine. If a backend has several records, the newest is shown.

    Parameters
    ----------
    plan
        What runs that have not ended are to measure.
    """
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record["created"]):
        machine = record["key"].get("machine", "")
        # The name comes first in the key, so that cases are sorted by name.
        shared = [record["case"]["name"], record["case"], record["target"], machine]
        groups.setdefault(json.dumps(shared, sort_keys=True), []).append(record)
    titles: Counter[str] = Counter()
    slugs: set[str] = set()
    cases = []
    for key in sorted(groups, key=_natural_order):
        title = one_line(case_title(groups[key][-1]["case"]["name"]))
        titles[title] += 1
        if titles[title] > 1:
            title = f"{title} ({titles[title]})"
        slug = _new_slug(title, slugs)
        slugs.add(slug)
        cases.append(_case(title, slug, groups[key]))
    complete = complete_files(record for case in cases for record in case.records)
    return [
        replace(case, missing=find_missing(plan, group_of(file_of(case.facts)), complete))
        for case in cases
    ]


def _natural_order(text: str) -> list[tuple[int, str]]:
    """Return a sort key that orders the numbers within texts by size: rank 16 before rank 128."""
    pieces = re.split(r"(\d+)", text)
    # Digits beyond those of any number of ours are text: Python converts only so many.
    return [
        (int(piece), "") if piece.isdecimal() and len(piece) < 20 else (-1, piece)
        for piece in pieces
    ]


def _new_slug(title: str, taken: set[str]) -> str:
    """Return a title as part of file names and links, different from those already taken."""
    base = re.sub(r"[^A-Za-z0-9.]+", "-", title).strip("-.").lower()[:60] or "case"
    slug, count = base, 1
    while slug in taken:
        count += 1
        slug = f"{base}-{count}"
    return slug


def _case(title: str, slug: str, records: list[Record]) -> Case:
    """Make a case of its records, which are sorted from old to new."""
    # Later records replace earlier ones with the same key.
    newest = {
        (record["backend"]["name"], record["backend"]["threads"]): record for record in records
    }
    counts = Counter(name for name, _ in newest)
    entries = []
    for (name, threads), record in newest.items():
        shown = f"{name} ({plural(threads, 'thread')})" if counts[name] > 1 else name
        entries.append(Entry(record, _why_unranked(record), one_line(shown)))
    ranked = [entry for entry in entries if not entry.why]
    unranked = [entry for entry in entries if entry.why]
    return Case(
        title=title,
        slug=slug,
        facts=records[-1],
        ranked=sorted(ranked, key=lambda entry: (entry.median, entry.name)),
        unranked=sorted(unranked, key=lambda entry: (entry.record["status"], entry.name)),
        superseded=len(records) - len(entries),
    )


def _moment(created: str) -> datetime | None:
    """Return when a record was written, None if the text is no time."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _why_unranked(record: Record) -> str:
    """Return why a record has no place in the ranking, "" if it has one."""
    status, reason = record["status"], one_line(record["reason"]).rstrip(".")
    if record["target"] is None and status in ("matched", "missed"):
        return f"not timed: {reason or 'the matching target was dropped'}"
    if status != "matched":
        return f"{status}: {reason}" if reason else status
    return "" if record["rounds"] else "no timed round in the record"
