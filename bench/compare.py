"""``python -m bench.compare OLD NEW``: what became slower, faster, worse or better from one run to another.

Records of a time to the MSE are paired by case, backend and threads, and the ratio of their times is given with its
interval. Code and versions may differ, that is what is compared; data, objective, target and machine may not.

A difference that the interval tells from noise counts as a regression from a threshold on only, 5 % by default: the
interval does not hold how a machine's speed changes between two runs, so those of the very same code may lie a few
percent apart, or more. With one seed there is no interval, and with two or three a wide one: a change is then told too
where the quartiles of the new rounds lie beyond those of the old ones by a quarter, or with fewer than three rounds all
of them by a factor of two. Rooflines are shown beside, and never are a regression. Imports no backend.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from .comparable import find_differences, header, with_places
from .layout import aligned, wrapped
from .records import Record, RecordError, RooflineRecord, by_kind, read_records
from .report.verdict import mse, number, one_line, plural
from .stats import Ratio, doubts, ratio, summary

THRESHOLD = 0.05  # relative; see the module's docstring
WORSE_MSE = 0.005  # relative

_FEW_SEEDS, _FAR, _FAR_OF_FEW = 3, 1.25, 2.0  # ratios that two processes of one program hardly show by chance
_SHOWN = 5  # differences that a refusal lists
_NOTHING = "no case, backend and number of threads of a time to the MSE is in both {} and {}"


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


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; return 0 without a regression, 1 with one, 2 where nothing was compared."""
    options = _parser().parse_args(arguments)
    try:
        (old, old_rooflines), (new, new_rooflines) = (_read(path) for path in (options.old, options.new))
    except (RecordError, OSError) as error:
        return _refuse([str(error)])
    comparisons = compare(old, new, options.threshold / 100)
    costs = _compare_rooflines(old_rooflines, new_rooflines)
    both: list[Comparison | _Cost] = [*comparisons, *costs]
    different = with_places([(str(one.who), one.differences) for one in both])
    if different and not options.anyway:
        more = [f"and {len(different) - _SHOWN} more"] if len(different) > _SHOWN else []
        intro = f"{options.old} and {options.new} are not comparable (--anyway compares them all the same):"
        return _refuse([intro, *different[:_SHOWN], *more])
    if both:
        warnings = [f"warning: not comparable: {one}" for one in different]
        _say(wrapped([*header(options.old, options.new, [(one.old, one.new) for one in both]), *warnings]))
    if comparisons:
        _say(["", *_table(comparisons), *wrapped(_unpaired(old, new))])
    if costs:
        _say(["", "CPU time of an epoch per rating, for information only:", *_roofline_table(costs)])
    if not comparisons:
        return _refuse([_NOTHING.format(options.old, options.new)])
    _say(["", *wrapped(_outcome(comparisons))])
    return int(any(one.regressions for one in comparisons))


def compare(old: Sequence[Record], new: Sequence[Record], threshold: float = THRESHOLD) -> list[Comparison]:
    """Pair the records of two runs, and compare each pair; what is in one of them only is left out.

    Pairs that are not comparable are compared too, and say so in ``differences``. Of several records of one backend on
    one case the newest is taken.

    Parameters
    ----------
    threshold
        Relative change from which on a difference that can be told from noise is a regression or an improvement.
    """
    before, now = _newest(old), _newest(new)
    return [
        Comparison(who, before[who], now[who], _ratio(before[who], now[who]), threshold, differences)
        for who in sorted(before.keys() & now.keys())
        for differences in [find_differences(before[who], now[who])]
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Compare the times of two runs. Exit status: 0 without a regression, 1 with at least one, 2 where "
        "the runs were not compared.",
    )
    parser.add_argument("old", type=Path, metavar="OLD", help="the earlier run's folder, or a record's file")
    parser.add_argument("new", type=Path, metavar="NEW", help="the later run's folder, or a record's file")
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="compare what is not comparable too: other data, objective, target, precision, parameters, machine",
    )
    parser.add_argument(
        "--threshold",
        type=_percentage,
        default=100 * THRESHOLD,
        metavar="PERCENT",
        help="change of the time from which on a difference is a regression, if the rounds tell it from noise "
        "(default: %(default)g, as the interval does not hold how a machine's speed changes between two runs)",
    )
    return parser


def _percentage(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a percentage of at least 0, got {text!r}")
    return value


# ---- pairs ----------------------------------------------------------------------------------------------------------


def _read(source: Path) -> tuple[list[Record], list[RooflineRecord]]:
    records = read_records([source])
    if not records:
        raise RecordError(f"there are no records in {source}")
    return by_kind(records)


def _who(record: Record) -> Who:
    return Who(record["case"]["name"], record["backend"]["name"], record["backend"]["threads"])


def _newest(records: Iterable[Record]) -> dict[Who, Record]:
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


def _unpaired(old: Iterable[Record], new: Iterable[Record]) -> list[str]:
    """List what is in one run only, and how many records were passed over for a newer one."""
    olds, news = list(old), list(new)
    lines = []
    for side, records, others in (("OLD", olds, news), ("NEW", news, olds)):
        mine, theirs = _newest(records), _newest(others)
        lines += [f"only in {side}: {who}" for who in sorted(mine.keys() - theirs.keys())]
        if passed := len(records) - len(mine):
            lines.append(f"{plural(passed, 'older record')} in {side} passed over for newer ones")
    return lines and ["", *lines]


# ---- rooflines ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cost:
    """Nanoseconds per rating of one backend at one rank."""

    who: Who
    rank: int
    old: RooflineRecord
    new: RooflineRecord
    old_ns: float
    new_ns: float
    differences: tuple[str, ...]


def _compare_rooflines(old: Iterable[RooflineRecord], new: Iterable[RooflineRecord]) -> list[_Cost]:
    before, now = _costs(old), _costs(new)
    found = []
    for who, rank in sorted(before.keys() & now.keys()):
        (a, a_ns), (b, b_ns) = before[who, rank], now[who, rank]
        found.append(_Cost(who, rank, a, b, a_ns, b_ns, find_differences(a, b)))
    return found


def _costs(records: Iterable[RooflineRecord]) -> dict[tuple[Who, int], tuple[RooflineRecord, float]]:
    found = {}
    for record in sorted(records, key=lambda record: record["created"]):
        for cost in record["costs"]:
            who = Who(record["case"]["name"], record["backend"]["name"], cost["threads"])
            found[who, cost["rank"]] = record, cost["cpu_ns"]
    return found


# ---- text -----------------------------------------------------------------------------------------------------------


def _table(comparisons: Sequence[Comparison]) -> list[str]:
    rows = [["case", "backend", "threads", "old, s", "new, s", "change (95 %)", "verdict"]]
    for one in comparisons:
        times = [number(summary(r["rounds"]) if r["status"] == "matched" else None) for r in (one.old, one.new)]
        rows.append([one.who.case, one.who.backend, str(one.who.threads), *times, _change(one.ratio), one.verdict])
    return aligned(rows, [[], *(one.notes for one in comparisons)])


def _roofline_table(costs: Sequence[_Cost]) -> list[str]:
    rows = [["case", "backend", "threads", "rank", "old, ns", "new, ns", "change"]]
    for one in costs:
        numbers = [str(one.who.threads), str(one.rank), number(one.old_ns), number(one.new_ns)]
        change = f"{_signed(one.new_ns / one.old_ns)} %" if one.old_ns else number(None)
        rows.append([one.who.case, one.who.backend, *numbers, change])
    return aligned(rows, [[] for _ in rows])


def _change(one: Ratio | None) -> str:
    if one is None:
        return number(None)
    change = f"{_signed(one.value)} %"
    return f"{change} ({_signed(one.interval[0])} to {_signed(one.interval[1])})" if one.interval else change


def _signed(factor: float) -> str:
    return f"{100 * (factor - 1):+z,.1f}"


def _outcome(comparisons: Sequence[Comparison]) -> list[str]:
    """List regressions and improvements."""
    pairs = f"{plural(len(comparisons), 'pair')} compared"
    lines = []
    worse = [f"{one.who}: {text}" for one in comparisons for text in one.regressions]
    better = [f"{one.who}: {text}" for one in comparisons for text in one.improvements]
    for found, word in ((worse, "regression"), (better, "improvement")):
        count = str(len(found)) if found else "no"
        lines += [f"{count} {word}{'' if len(found) == 1 else 's'}{':' if found else ''}"]
        lines += [f"  {text}" for text in found]
    return [pairs, *lines]


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _refuse(lines: Sequence[str]) -> int:
    """Print an error, with its details indented beneath, and return the exit status."""
    for line in [f"error: {lines[0]}", *(f"  {detail}" for detail in lines[1:])]:
        print(line[: len(line) - len(line.lstrip())] + one_line(line), file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
