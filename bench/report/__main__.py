"""``python -m bench.report``: write the report of a run, once or repeatedly during the run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.records import RUNS, RecordError, by_kind, newest_first, newest_run, read_records
from bench.report.outcome.cases import group_cases
from bench.report.outcome.plan import read_plan
from bench.report.outcome.rooflines import group_rooflines
from bench.report.outcome.verdict import missing_in_all, verdict
from bench.report.page.scripts import is_interactive
from bench.report.tables.gpu_check import sentence as gpu_sentence
from bench.report.tables.roofline import sentence as roofline_sentence
from bench.text import command
from bench.text.missing import how_to_install
from bench.text.wording import one_line

from .files import MOST_PICTURES, write_report
from .watch import watch

NO_RECORDS = (
    "There are no records {}; make some with `pytest bench/ --benchmark-only`, or `make bench`."
)


def main(arguments: list[str] | None = None) -> int:
    """Write the report and print its verdict; return the exit status.

    It is 0 for success, 1 without records, and 2 if a file cannot be read or written.
    """
    options = _parser().parse_args(arguments)
    pictures = None if options.all_pictures else MOST_PICTURES
    if not is_interactive():
        how = how_to_install("vl-convert-python")
        text = f"figures are still pictures, as vl-convert-python is not installed: {how}"
        print(text, file=sys.stderr)
    if options.watch:
        return watch(
            options.input, options.output, options.interval, pictures=pictures, pdf=options.pdf
        )
    try:
        run = None if options.input else newest_run()
        _note_skipped(run)
        sources: list[Path] = options.input or ([run] if run else [])
        records, plan = read_records(sources), read_plan(sources)
    except (RecordError, OSError) as error:
        print(one_line(f"error: {error}"), file=sys.stderr)
        return 2
    if not records:
        where = ", ".join(map(str, sources)) or str(RUNS)
        print(NO_RECORDS.format(f"in {where}"), file=sys.stderr)
        return 1
    try:
        page = write_report(records, options.output, plan=plan, pictures=pictures, pdf=options.pdf)
    except OSError as error:
        text = f"error: the report cannot be written to {options.output} ({error})"
        print(one_line(text), file=sys.stderr)
        return 2
    times, rooflines, checks = by_kind(records)
    cases, roofs = group_cases(times, plan), group_rooflines(rooflines, plan)
    for case in cases:
        print("\n  ".join(verdict(case)))
    for roofline in roofs:
        print(roofline_sentence(roofline))
    for check in checks:
        print(gpu_sentence(check))
    missing = missing_in_all(plan, cases, roofs)
    if missing:
        print(one_line(f"{missing[0].upper()}{missing[1:]}."))
    print(page)
    return 0


def _note_skipped(run: Path | None) -> None:
    """Say that the newest run has no records, where an older one is reported."""
    newest = next(iter(newest_first(RUNS)), run)
    if run and newest != run:
        text = f"the newest run, {newest}, has no records; this is the report of {run}"
        print(one_line(text), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.report", description="Write the report of measured runs."
    )
    parser.add_argument(
        "--input",
        type=Path,
        action="append",
        metavar="PATH",
        help="a run's folder or a record's file; may be repeated (default: the newest run under "
        "reports/runs)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("reports/latest"),
        metavar="DIR",
        help="folder for the report (default: %(default)s)",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="update the report whenever a record is written, and reload the page, until Ctrl-C",
    )
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=5.0,
        metavar="SECONDS",
        help="time between updates while watching (default: %(default)g)",
    )
    parser.add_argument("--pdf", action="store_true", help="also draw the figures as PDF files")
    parser.add_argument(
        "--all-pictures",
        action="store_true",
        help="draw every figure as PNG and SVG files (default: of more than "
        f"{MOST_PICTURES} figures, the first {MOST_PICTURES} as PNG)",
    )
    return parser


def _seconds(text: str) -> float:
    """Return an interval given as text.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is not a number, below a tenth of a second, or above a day.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError(
            f"must be a number of seconds from 0.1 to 86400, got {text!r}"
        )
    return value


if __name__ == "__main__":
    command.run(main, interrupted="the earlier report is unchanged")
