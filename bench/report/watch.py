"""Watching a run: the report is updated whenever a record is written, until Ctrl-C."""

from __future__ import annotations

import contextlib
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from bench.records import AnyRecord, RecordError, by_kind, newest_run, read_record
from bench.report.outcome.cases import group_cases
from bench.report.outcome.plan import Plan, read_plan
from bench.report.outcome.verdict import answer
from bench.text.wording import one_line, plural, words

from .files import write_report

_Stamp = dict[Path, tuple[int, int]]  # time of the last change, in ns, and size of each file


def watch(
    sources: Sequence[Path] | None,
    output: Path,
    interval: float,
    *,
    pictures: int | None,
    pdf: bool,
    wait: Callable[[float], None] = time.sleep,
) -> int:
    """Write the report whenever a record is new or has changed, until Ctrl-C.

    Meanwhile the page reloads itself, and no pictures are drawn beside it. After Ctrl-C the
    complete report is written, as without watching.

    Parameters
    ----------
    sources
        Folders and files of records; None or [] for the newest run, which may change meanwhile.
    interval
        Seconds between updates.
    wait
        Called with the interval; tests replace it.

    Returns
    -------
    status
        The exit status: 0 for success, 1 if there was no record, 2 if the report cannot be
        written, 130 after a second Ctrl-C.
    """
    seen: _Stamp | None = None
    records: list[AnyRecord] = []
    reported: set[str] = set()
    try:
        watched = ", ".join(map(str, sources)) if sources else "the newest run"
        _report(f"watching {watched}; press Ctrl-C to stop")
        while True:
            stamp = _stamp(sources)
            if stamp != seen:  # a record is new, has changed or was removed
                seen, found = stamp, list(_read(stamp, reported))
                if found:
                    records = sorted(found, key=lambda record: record["created"])
                    plan = read_plan(_folders(sources))
                    _report(_render(records, plan, output, interval))
            wait(interval)
    except KeyboardInterrupt:
        pass
    if not records:
        print("Stopped before the first record was written.", file=sys.stderr)
        return 1
    try:
        plan = read_plan(_folders(sources))
        page = write_report(records, output, plan=plan, pictures=pictures, pdf=pdf)
    except OSError as error:
        text = f"error: the report cannot be written to {output} ({error})"
        print(one_line(text), file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # pressed again
        print(
            "Stopped at once: the page is up to date, without pictures beside it.",
            file=sys.stderr,
        )
        return 130
    print(f"Stopped; the report: {page}")
    return 0


def _render(records: Sequence[AnyRecord], plan: Plan, output: Path, interval: float) -> str:
    """Write the page, and return a line about it.

    Errors are part of that line: a full disk may have room again for the next record.
    """
    try:
        page = write_report(records, output, plan=plan, pictures=0, reload=interval)
        return _progress(records, page)
    except OSError as error:
        return f"the report cannot be written to {output} ({error})"


def _stamp(sources: Sequence[Path] | None) -> _Stamp:
    """Return the files with records that exist now."""
    found: _Stamp = {}
    # Files and folders may be removed meanwhile.
    with contextlib.suppress(OSError):
        for source in _folders(sources):
            for path in sorted(source.rglob("*.json")) if source.is_dir() else [source]:
                with contextlib.suppress(OSError):
                    state = path.stat()
                    if not stat.S_ISDIR(state.st_mode):
                        found[path] = (state.st_mtime_ns, state.st_size)
    return found


def _folders(sources: Sequence[Path] | None) -> Sequence[Path]:
    """Return the folders and files that are watched now."""
    if sources:
        return sources
    run = newest_run()
    return [run] if run else []


def _read(stamp: _Stamp, reported: set[str]) -> Iterator[AnyRecord]:
    """Yield all records that can be read.

    Others may be incomplete as yet. Each error is reported once, and reading is tried again at the
    next update.

    Parameters
    ----------
    reported
        The errors reported so far, which is added to.
    """
    for path in stamp:
        try:
            yield read_record(path)
        except (RecordError, OSError) as error:
            line = one_line(f"left out: {error}")
            if line not in reported:
                _report(line)
                reported.add(line)


def _progress(records: Sequence[AnyRecord], page: Path) -> str:
    """Return the progress in one line: the number of records, and the fastest of each case."""
    cases = group_cases(by_kind(records)[0])
    line = plural(len(records), "record")
    if cases:
        ahead = [f"{words(answer(case).names) or 'none'} on {case.title}" for case in cases[:3]]
        line += f", ahead: {'; '.join(ahead)}"
    if len(cases) > 3:
        line += f" and {plural(len(cases) - 3, 'more case')}"
    return one_line(f"{line}: {page}")


def _report(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)
