"""``python -m bench.compare OLD NEW``: regressions and improvements from one run to another.

Records of a time to the MSE are paired by case, backend and number of threads. For each pair, the
ratio of the times is printed with its interval. Code and versions may differ, as these are usually
what is compared. Data, objective, target and machine must be the same.

A difference is a regression or an improvement if both are true:

- It is not noise: the interval does not contain 1. With one seed there is no interval, and with
  two or three it is wide. Then it is enough that the rounds are far apart: that the
  quartiles of old and new rounds differ by more than a quarter or, with fewer than three rounds,
  that all rounds differ by more than a factor of two.
- It exceeds a threshold, 5 % by default. The interval does not cover changes of the machine's speed
  between two runs, so that even runs of the same code may differ by a few percent.

Rooflines are printed for information, and are never a regression. No backend is imported.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.records import Record, RecordError, RooflineRecord, by_kind, read_records
from bench.stats import Ratio, summary
from bench.text import command
from bench.text.terminal import aligned, wrapped
from bench.text.wording import number, one_line, plural

from .comparison import THRESHOLD, Comparison, Cost, compare, compare_rooflines, newest, signed
from .differences import header, with_places

_SHOWN = 5  # how many differences are listed if runs are not comparable
_NOTHING = "no case, backend and number of threads of a time to the MSE is in both {} and {}"


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; return the exit status.

    It is 0 without a regression, 1 with at least one, and 2 if nothing was compared.
    """
    options = _parser().parse_args(arguments)
    try:
        old, old_rooflines = _read(options.old)
        new, new_rooflines = _read(options.new)
    except (RecordError, OSError) as error:
        return _refuse([str(error)])
    comparisons = compare(old, new, options.threshold / 100)
    costs = compare_rooflines(old_rooflines, new_rooflines)
    pairs: list[Comparison | Cost] = [*comparisons, *costs]
    different = with_places([(str(pair.who), pair.differences) for pair in pairs])
    if different and not options.anyway:
        lines = [
            f"{options.old} and {options.new} are not comparable "
            "(--anyway compares them all the same):",
            *different[:_SHOWN],
        ]
        if len(different) > _SHOWN:
            lines.append(f"and {len(different) - _SHOWN} more")
        return _refuse(lines)
    if pairs:
        lines = header(options.old, options.new, [(pair.old, pair.new) for pair in pairs])
        lines += [f"warning: not comparable: {difference}" for difference in different]
        _print(wrapped(lines))
    if comparisons:
        _print(["", *_table(comparisons), *wrapped(_unpaired(old, new))])
    if costs:
        intro = "CPU time of an epoch per rating, for information only:"
        _print(["", intro, *_roofline_table(costs)])
    if not comparisons:
        return _refuse([_NOTHING.format(options.old, options.new)])
    _print(["", *wrapped(_outcome(comparisons))])
    return 1 if any(comparison.regressions for comparison in comparisons) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Compare the times of two runs. Exit status: 0 without a regression, 1 with at "
        "least one, 2 if the runs were not compared.",
    )
    parser.add_argument(
        "old", type=Path, metavar="OLD", help="the earlier run's folder, or a record's file"
    )
    parser.add_argument(
        "new", type=Path, metavar="NEW", help="the later run's folder, or a record's file"
    )
    parser.add_argument(
        "--anyway",
        action="store_true",
        help="compare even if data, objective, target, precision, parameters or machine differ",
    )
    parser.add_argument(
        "--threshold",
        type=_percentage,
        default=100 * THRESHOLD,
        metavar="PERCENT",
        help="smallest change of the time that counts as a regression, unless it may be noise "
        "(default: %(default)g, as the interval does not cover changes of the machine's speed "
        "between two runs)",
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


def _read(source: Path) -> tuple[list[Record], list[RooflineRecord]]:
    records = read_records([source])
    if not records:
        raise RecordError(f"there are no records in {source}")
    kinds = by_kind(records)
    return kinds.times, kinds.rooflines


def _unpaired(old: Sequence[Record], new: Sequence[Record]) -> list[str]:
    """Return lines about what is in one run only, and about records that have newer ones."""
    lines = []
    for side, records, opposite in (("OLD", old, new), ("NEW", new, old)):
        ours, theirs = newest(records), newest(opposite)
        lines += [f"only in {side}: {who}" for who in sorted(ours.keys() - theirs.keys())]
        in_progress = sum(record["status"] == "in progress" for record in records)
        if in_progress:
            lines.append(f"{plural(in_progress, 'record')} in progress in {side} ignored")
        superseded = len(records) - len(ours) - in_progress
        if superseded:
            older = plural(superseded, "older record")
            lines.append(f"{older} in {side} ignored in favour of newer ones")
    return ["", *lines] if lines else []


def _table(comparisons: Sequence[Comparison]) -> list[str]:
    rows = [["case", "backend", "threads", "old, s", "new, s", "change (95 %)", "verdict"]]
    notes: list[list[str]] = [[]]
    for comparison in comparisons:
        who = comparison.who
        row = [who.case, who.backend, str(who.threads)]
        row += [_seconds(comparison.old), _seconds(comparison.new)]
        rows.append([*row, _change(comparison.ratio), comparison.verdict])
        notes.append(comparison.notes)
    return aligned(rows, notes)


def _seconds(record: Record) -> str:
    matched = record["status"] == "matched"
    return number(summary(record["rounds"]) if matched else None)


def _roofline_table(costs: Sequence[Cost]) -> list[str]:
    rows = [["case", "backend", "threads", "factors", "old, ns", "new, ns", "change"]]
    for cost in costs:
        change = f"{signed(cost.new_ns / cost.old_ns)} %" if cost.old_ns else number(None)
        row = [cost.who.case, cost.who.backend, str(cost.who.threads), str(cost.rank)]
        rows.append([*row, number(cost.old_ns), number(cost.new_ns), change])
    return aligned(rows, [[] for _ in rows])


def _change(ratio: Ratio | None) -> str:
    if ratio is None:
        return number(None)
    change = f"{signed(ratio.value)} %"
    if ratio.interval is None:
        return change
    low, high = ratio.interval
    return f"{change} ({signed(low)} to {signed(high)})"


def _outcome(comparisons: Sequence[Comparison]) -> list[str]:
    """Return lines with all regressions and improvements."""
    worse, better = [], []
    for comparison in comparisons:
        worse += [f"{comparison.who}: {text}" for text in comparison.regressions]
        better += [f"{comparison.who}: {text}" for text in comparison.improvements]
    return [
        f"{plural(len(comparisons), 'pair')} compared",
        *_listed("regression", worse),
        *_listed("improvement", better),
    ]


def _listed(thing: str, found: Sequence[str]) -> list[str]:
    """Return a list under a heading with its length: "2 regressions:", "no regressions"."""
    if not found:
        return [f"no {thing}s"]
    return [f"{plural(len(found), thing)}:", *(f"  {text}" for text in found)]


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _refuse(lines: Sequence[str]) -> int:
    """Print an error with details indented below it; return the exit status."""
    intro, *details = lines
    print(one_line(f"error: {intro}"), file=sys.stderr)
    for detail in details:
        print(f"  {one_line(detail)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    command.run(main)
