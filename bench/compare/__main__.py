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
from pathlib import Path

from bench.records import Record, RecordError, RooflineRecord, by_kind, read_records
from bench.stats import Ratio, summary
from bench.text.terminal import aligned, wrapped
from bench.text.wording import number, one_line, plural

from .comparison import THRESHOLD, Comparison, Cost, compare, compare_rooflines, newest, signed
from .differences import header, with_places

_SHOWN = 5  # differences that a refusal lists
_NOTHING = "no case, backend and number of threads of a time to the MSE is in both {} and {}"


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; return 0 without a regression, 1 with one, 2 where nothing was compared."""
    options = _parser().parse_args(arguments)
    try:
        (old, old_rooflines), (new, new_rooflines) = (_read(path) for path in (options.old, options.new))
    except (RecordError, OSError) as error:
        return _refuse([str(error)])
    comparisons = compare(old, new, options.threshold / 100)
    costs = compare_rooflines(old_rooflines, new_rooflines)
    both: list[Comparison | Cost] = [*comparisons, *costs]
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


def _unpaired(old: Iterable[Record], new: Iterable[Record]) -> list[str]:
    """List what is in one run only, and how many records were passed over for a newer one."""
    olds, news = list(old), list(new)
    lines = []
    for side, records, others in (("OLD", olds, news), ("NEW", news, olds)):
        mine, theirs = newest(records), newest(others)
        lines += [f"only in {side}: {who}" for who in sorted(mine.keys() - theirs.keys())]
        if passed := len(records) - len(mine):
            lines.append(f"{plural(passed, 'older record')} in {side} passed over for newer ones")
    return lines and ["", *lines]


# ---- rooflines ------------------------------------------------------------------------------------------------------


# ---- text -----------------------------------------------------------------------------------------------------------


def _table(comparisons: Sequence[Comparison]) -> list[str]:
    rows = [["case", "backend", "threads", "old, s", "new, s", "change (95 %)", "verdict"]]
    for one in comparisons:
        times = [number(summary(r["rounds"]) if r["status"] == "matched" else None) for r in (one.old, one.new)]
        rows.append([one.who.case, one.who.backend, str(one.who.threads), *times, _change(one.ratio), one.verdict])
    return aligned(rows, [[], *(one.notes for one in comparisons)])


def _roofline_table(costs: Sequence[Cost]) -> list[str]:
    rows = [["case", "backend", "threads", "rank", "old, ns", "new, ns", "change"]]
    for one in costs:
        numbers = [str(one.who.threads), str(one.rank), number(one.old_ns), number(one.new_ns)]
        change = f"{signed(one.new_ns / one.old_ns)} %" if one.old_ns else number(None)
        rows.append([one.who.case, one.who.backend, *numbers, change])
    return aligned(rows, [[] for _ in rows])


def _change(one: Ratio | None) -> str:
    if one is None:
        return number(None)
    change = f"{signed(one.value)} %"
    return f"{change} ({signed(one.interval[0])} to {signed(one.interval[1])})" if one.interval else change


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
