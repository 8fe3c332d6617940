"""Pairs of records of two runs, the ratio of their times, and what counts as a regression.

The rules are explained in `bench.compare.__main__`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

import numpy as np

from bench.records import Record, RooflineRecord
from bench.report.outcome.cases import case_title, roofline_title
from bench.stats import Ratio, ratio, summary, warnings_of
from bench.text.wording import mse, plural

from .differences import find_differences

THRESHOLD = 0.05  # smallest relative change of the time that counts
WORSE_MSE = 0.005  # smallest relative change of the validation MSE that counts

# With at most so many seeds the rounds themselves may show a difference.
_FEW_SEEDS = 3

# Two processes of the same program hardly differ by these factors by chance: the first is for
# quartiles of the rounds, the second for the extremes of fewer than three rounds.
_FAR = 1.25
_FAR_OF_FEW = 2.0


class Who(NamedTuple):
    """The key by which records are paired."""

    case: str
    backend: str
    threads: int

    def __str__(self) -> str:
        return f"{self.case}, {self.backend} on {plural(self.threads, 'thread')}"


@dataclass(frozen=True)
class Comparison:
    """One backend on one case, in an old and in a new run.

    Attributes
    ----------
    ratio
        New time divided by old time; None unless both matched and were timed.
    threshold
        The smallest relative change of the time that counts.
    differences
        Why the two are not comparable, one phrase each; empty if they are.
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
    def direction(self) -> Literal["slower", "faster", ""]:
        """The direction of a change, however small, that is not noise; "" if it may be noise."""
        if self.ratio is None:
            return ""
        # The interval decides if it can. Only if it contains 1, or does not exist, do the rounds.
        if self.ratio.interval and not self.ratio.within_noise:
            return "slower" if self.ratio.interval[0] > 1 else "faster"
        if self._rounds_far_apart:
            return "slower" if self.ratio.value > 1 else "faster"
        return ""

    @property
    def _rounds_far_apart(self) -> bool:
        """Whether there are too few seeds for a narrow interval, but the rounds are far apart."""
        if self.ratio is None or self.ratio.seeds > _FEW_SEEDS:
            return False
        before = [round_["seconds"] for round_ in self.old["rounds"]]
        now = [round_["seconds"] for round_ in self.new["rounds"]]
        ends, margin = (25, 75), _FAR
        if min(len(before), len(now)) < 3:
            ends, margin = (0, 100), _FAR_OF_FEW
        old_low, old_high = np.percentile(before, ends)
        new_low, new_high = np.percentile(now, ends)
        # Whether the two ranges are apart, by more than the margin in either direction.
        return bool(new_low / old_high > margin or new_high / old_low < 1 / margin)

    @property
    def verdict(self) -> str:
        """What happened to the time, or to the status, in words."""
        if not self._both_matched:
            return self._statuses
        if self.ratio is None:
            return "no round was timed"
        if not self.direction:
            reason = self.ratio.outlook or "one seed, and its rounds are not far apart"
            return f"no difference can be detected ({reason})"
        verdict: str = self.direction
        if self.ratio.interval is None or self.ratio.within_noise:
            verdict += ", by its rounds: seeds are too few for an interval"
        if not self._counts:
            verdict += f", by less than the threshold of {100 * self.threshold:g} %"
        return verdict

    @property
    def regressions(self) -> list[str]:
        """What became worse, one phrase each."""
        found = []
        if self.old["status"] == "matched" and self.new["status"] != "matched":
            found.append(f"{self._statuses}{_because(self.new)}")
        if self.direction == "slower" and self._counts:
            found.append(f"{self._percent} slower")
        if self._ends_worse:
            scores = f"({mse(_score(self.old))} before, {mse(_score(self.new))} now)"
            found.append(f"ends at a worse validation MSE {scores}")
        return found

    @property
    def improvements(self) -> list[str]:
        """What became better, one phrase each."""
        found = []
        if self.old["status"] != "matched" and self.new["status"] == "matched":
            found.append(f"{self._statuses}{_because(self.old, 'before')}")
        if self.direction == "faster" and self._counts:
            found.append(f"{self._percent} faster")
        return found

    @property
    def notes(self) -> list[str]:
        """Details beside the verdict: reasons, warnings about the times, and epochs."""
        old_reason, new_reason = _status_and_reason(self.old), _status_and_reason(self.new)
        found = []
        if old_reason and old_reason == new_reason:
            found.append(f"both: {old_reason}")
        else:
            if old_reason:
                found.append(f"old: {old_reason}")
            if new_reason:
                found.append(f"new: {new_reason}")
        found += [f"old: {warning}" for warning in warnings_of(self.old)]
        found += [f"new: {warning}" for warning in warnings_of(self.new)]
        before, now = _epochs(self.old), _epochs(self.new)
        if self._both_matched and before != now:
            found.append(f"epochs to the target: {before} before, {now} now")
        ndcg_before, ndcg_now = _ndcg(self.old), _ndcg(self.new)
        if None not in (ndcg_before, ndcg_now) and ndcg_before != ndcg_now:
            found.append(f"NDCG@10 of lists: {ndcg_before} before, {ndcg_now} now")
        return found

    @property
    def _ends_worse(self) -> bool:
        before, now = _score(self.old), _score(self.new)
        if not self._both_matched or before is None or now is None:
            return False
        return now > before * (1 + WORSE_MSE)

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


def compare(
    old: Sequence[Record], new: Sequence[Record], threshold: float = THRESHOLD
) -> list[Comparison]:
    """Compare the records of two runs in pairs; those without a partner are left out.

    Of several records of one backend on one case the newest is used. Pairs that are not comparable
    are included, and have ``differences``.

    Parameters
    ----------
    threshold
        The smallest relative change that is a regression or an improvement, if it can be told
        from noise.
    """
    before, now = newest(old), newest(new)
    comparisons = []
    for who in sorted(before.keys() & now.keys()):
        a, b = before[who], now[who]
        comparisons.append(Comparison(who, a, b, _ratio(a, b), threshold, find_differences(a, b)))
    return comparisons


def newest(records: Iterable[Record]) -> dict[Who, Record]:
    """Return the newest record of each backend on each case, without those in progress."""
    found = {}
    for record in sorted(records, key=lambda record: record["created"]):
        if record["status"] == "in progress":
            continue
        backend = record["backend"]
        found[Who(case_title(record["case"]["name"]), backend["name"], backend["threads"])] = record
    return found


def _ratio(old: Record, new: Record) -> Ratio | None:
    for record in (old, new):
        if record["status"] != "matched" or not record["rounds"]:
            return None
    return ratio(new["rounds"], old["rounds"])


def _score(record: Record) -> float | None:
    return summary(record["rounds"], "validation_mse")


def _ndcg(record: Record) -> str | None:
    """Return the NDCG of the lists as text, the median over seeds; None if it was not measured."""
    lists = record.get("lists", [])
    return f"{median(scores['ndcg'] for scores in lists):.4f}" if lists else None


def _epochs(record: Record) -> str:
    """Return the epochs of the seeds, without repetitions: "12, 14"."""
    counts = [str(calibration["epochs"]) for calibration in record["calibrations"]]
    return ", ".join(dict.fromkeys(counts))


def _status_and_reason(record: Record) -> str:
    """Return status and reason, "" without a reason."""
    return f"{record['status']}{_because(record)}" if record["reason"] else ""


def _because(record: Record, when: str = "") -> str:
    """Return the reason in a form that continues a sentence, "" without one."""
    reason = " ".join(record["reason"].split()).rstrip(".")
    if not reason:
        return ""
    return f" ({when}: {reason})" if when else f": {reason}"


@dataclass(frozen=True)
class Cost:
    """CPU time of one backend per rating and epoch, in nanoseconds, with one number of factors."""

    who: Who
    rank: int
    old: RooflineRecord
    new: RooflineRecord
    old_ns: float
    new_ns: float
    differences: tuple[str, ...]


def compare_rooflines(old: Iterable[RooflineRecord], new: Iterable[RooflineRecord]) -> list[Cost]:
    """Compare the costs of epochs of two runs in pairs."""
    before, now = _costs(old), _costs(new)
    found = []
    for who, rank in sorted(before.keys() & now.keys()):
        (a, a_ns), (b, b_ns) = before[who, rank], now[who, rank]
        found.append(Cost(who, rank, a, b, a_ns, b_ns, find_differences(a, b)))
    return found


def _costs(
    records: Iterable[RooflineRecord],
) -> dict[tuple[Who, int], tuple[RooflineRecord, float]]:
    """Return the newest record and CPU time of each backend and number of factors."""
    found = {}
    for record in sorted(records, key=lambda record: record["created"]):
        for cost in record["costs"]:
            case = roofline_title(record["case"]["name"])
            who = Who(case, record["backend"]["name"], cost["threads"])
            found[who, cost["rank"]] = record, cost["cpu_ns"]
    return found


def signed(factor: float) -> str:
    """Return a factor as a change in percent, with its sign."""
    return f"{100 * (factor - 1):+z,.1f}"
