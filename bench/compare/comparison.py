"""What became of each backend from one run to another: pairs of records, their ratio, and what counts as worse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from bench.records import Record, RooflineRecord
from bench.stats import Ratio, doubts, ratio, summary
from bench.text.wording import mse

from .differences import find_differences

THRESHOLD = 0.05  # relative; see the module's docstring


WORSE_MSE = 0.005  # relative


_FEW_SEEDS, _FAR, _FAR_OF_FEW = 3, 1.25, 2.0  # ratios that two processes of one program hardly show by chance


class Who(NamedTuple):
    """What two records are paired by."""

    case: str
    backend: str
    threads: int

    def __str__(self) -> str:
        return f"{self.case}, {self.backend} on {self.threads} {'thread' if self.threads == 1 else 'threads'}"


@dataclass(frozen=True)
class Comparison:
    """One backend on one case, in an old and in a new run.

    Attributes
    ----------
    ratio
        New time over old time; None unless both matched and were timed.
    threshold
        Relative change from which on a difference counts.
    differences
        What makes the two not comparable, a phrase each; empty where they are.
    """

    who: Who
    old: Record
    new: Record
    ratio: Ratio | None
    threshold: float
    differences: tuple[str, ...]

    @property
    def change(self) -> float | None:
        """Relative change of the time: 0.1 is 10 % slower."""
        return self.ratio.value - 1 if self.ratio else None

    @property
    def told(self) -> Literal["slower", "faster", ""]:
        """What the interval tells from noise, however small it is, or the rounds themselves where it is great."""
        if self.ratio is None:
            return ""
        if self.ratio.interval and not self.ratio.within_noise:
            return "slower" if self.ratio.interval[0] > 1 else "faster"
        if self._plainly:
            return "slower" if self.ratio.value > 1 else "faster"
        return ""

    @property
    def _plainly(self) -> bool:
        """Whether few seeds leave the interval useless, and the rounds lie far apart."""
        if self.ratio is None or self.ratio.seeds > _FEW_SEEDS:
            return False
        low, high, margin = _apart(self.old, self.new)
        return low > margin or high < 1 / margin

    @property
    def verdict(self) -> str:
        """What became of the time or of the status, in plain words."""
        if not self._both_matched:
            return self._statuses
        if self.ratio is None:
            return "no round was timed"
        if not self.told:
            return f"no difference can be told ({self.ratio.outlook or 'one seed, and its rounds are not far apart'})"
        by_rounds = self.ratio.interval is None or self.ratio.within_noise
        told = f"{self.told}{', by its rounds: seeds are too few for an interval' if by_rounds else ''}"
        return told if self._counts else f"{told}, by less than the threshold of {100 * self.threshold:g} %"

    @property
    def regressions(self) -> list[str]:
        """What became worse, a phrase each."""
        found = []
        if self.old["status"] == "matched" and self.new["status"] != "matched":
            found.append(f"{self._statuses}{_because(self.new)}")
        if self.told == "slower" and self._counts:
            found.append(f"{self._percent} slower")
        before, now = (_score(record) for record in (self.old, self.new))
        if self._both_matched and before is not None and now is not None and now > before * (1 + WORSE_MSE):
            found.append(f"ends at a worse validation MSE ({mse(before)} before, {mse(now)} now)")
        return found

    @property
    def improvements(self) -> list[str]:
        """What became better, a phrase each."""
        found = []
        if self.old["status"] != "matched" and self.new["status"] == "matched":
            found.append(f"{self._statuses}{_because(self.old, 'before')}")
        if self.told == "faster" and self._counts:
            found.append(f"{self._percent} faster")
        return found

    @property
    def notes(self) -> list[str]:
        """What should be known beside the verdict: reasons, epochs, rounds that were not stable."""
        sides = [("old", self.old), ("new", self.new)]
        reasons = [f"{record['status']}{_because(record)}" if record["reason"] else "" for _, record in sides]
        found = [f"{side}: {reason}" for (side, _), reason in zip(sides, reasons, strict=True) if reason]
        if reasons[0] and reasons[0] == reasons[1]:
            found = [f"both: {reasons[0]}"]
        found += [f"{side}: {warning}" for side, record in sides for warning in doubts(record)]
        before, now = (_epochs(record) for record in (self.old, self.new))
        if self._both_matched and before != now:
            found.append(f"epochs to the target: {before} before, {now} now")
        return found

    @property
    def _both_matched(self) -> bool:
        return self.old["status"] == self.new["status"] == "matched"

    @property
    def _statuses(self) -> str:
        before, now = self.old["status"], self.new["status"]
        return f"{now} in both" if before == now else f"{before} before, {now} now"

    @property
    def _percent(self) -> str:
        return f"{100 * abs(self.change or 0.0):,.1f} %"

    @property
    def _counts(self) -> bool:
        return self.change is not None and abs(self.change) >= self.threshold


def compare(old: Sequence[Record], new: Sequence[Record], threshold: float = THRESHOLD) -> list[Comparison]:
    """Pair the records of two runs, and compare each pair; what is in one of them only is left out.

    Pairs that are not comparable are compared too, and say so in ``differences``. Of several records of one backend on
    one case the newest is taken.

    Parameters
    ----------
    threshold
        Relative change from which on a difference that can be told from noise is a regression or an improvement.
    """
    before, now = newest(old), newest(new)
    return [
        Comparison(who, before[who], now[who], _ratio(before[who], now[who]), threshold, differences)
        for who in sorted(before.keys() & now.keys())
        for differences in [find_differences(before[who], now[who])]
    ]


def _who(record: Record) -> Who:
    return Who(record["case"]["name"], record["backend"]["name"], record["backend"]["threads"])


def newest(records: Iterable[Record]) -> dict[Who, Record]:
    """Return the newest record of each backend on each case."""
    return {_who(record): record for record in sorted(records, key=lambda record: record["created"])}


def _ratio(old: Record, new: Record) -> Ratio | None:
    timed = all(record["status"] == "matched" and record["rounds"] for record in (old, new))
    return ratio(new["rounds"], old["rounds"]) if timed else None


def _apart(old: Record, new: Record) -> tuple[float, float, float]:
    """Return the least and the greatest ratio of new to old quartiles, and how far off 1 both have to be.

    Of fewer than three rounds, the extremes.
    """
    before, now = ([one["seconds"] for one in record["rounds"]] for record in (old, new))
    few = min(len(before), len(now)) < 3
    ends = (0, 100) if few else (25, 75)
    (low, high), (first, last) = (np.percentile(one, ends) for one in (before, now))
    return float(first / high), float(last / low), _FAR_OF_FEW if few else _FAR


def _score(record: Record) -> float | None:
    return summary(record["rounds"], "validation_mse")


def _epochs(record: Record) -> str:
    """Return the epochs of the seeds, each count once: "12, 14"."""
    return ", ".join(dict.fromkeys(str(one["epochs"]) for one in record["calibrations"]))


def _because(record: Record, when: str = "") -> str:
    reason = " ".join(record["reason"].split()).rstrip(".")
    return f" ({when}: {reason})" if when and reason else f": {reason}" if reason else ""


@dataclass(frozen=True)
class Cost:
    """Nanoseconds per rating of one backend at one rank."""

    who: Who
    rank: int
    old: RooflineRecord
    new: RooflineRecord
    old_ns: float
    new_ns: float
    differences: tuple[str, ...]


def compare_rooflines(old: Iterable[RooflineRecord], new: Iterable[RooflineRecord]) -> list[Cost]:
    """Pair the costs of epochs of two runs."""
    before, now = _costs(old), _costs(new)
    found = []
    for who, rank in sorted(before.keys() & now.keys()):
        (a, a_ns), (b, b_ns) = before[who, rank], now[who, rank]
        found.append(Cost(who, rank, a, b, a_ns, b_ns, find_differences(a, b)))
    return found


def _costs(records: Iterable[RooflineRecord]) -> dict[tuple[Who, int], tuple[RooflineRecord, float]]:
    found = {}
    for record in sorted(records, key=lambda record: record["created"]):
        for cost in record["costs"]:
            who = Who(record["case"]["name"], record["backend"]["name"], cost["threads"])
            found[who, cost["rank"]] = record, cost["cpu_ns"]
    return found


def signed(factor: float) -> str:
    """Write a factor as a change in percent, with its sign."""
    return f"{100 * (factor - 1):+z,.1f}"
