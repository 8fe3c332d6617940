"""Watching a run: the report is written again whenever records land, until Ctrl-C."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from bench.records import AnyRecord, RecordError, by_kind, newest_run, read_record
from bench.report.outcome.cases import group_cases
from bench.report.outcome.verdict import answer
from bench.text.wording import one_line, plural, words

from .files import write_report

_Stamp = dict[Path, tuple[int, int]]  # what is known of each file without reading it


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

    Returns 0, or 1 where there was no record, 2 where it cannot be written, 130 for a second Ctrl-C.

    While it is watched the page reloads itself, and no pictures are drawn beside it. At the end all is written as
    without watching.

    Parameters
    ----------
    sources
        Folders and files of records; None or none of them for the newest run, whichever that is at the time.
    interval
        Seconds from one look to the next.
    wait
        What passes them.
    """
    seen: _Stamp | None = None
    records: list[AnyRecord] = []
    told: set[str] = set()
    try:
        _tell(f"watching {', '.join(map(str, sources)) if sources else 'the newest run'}; Ctrl-C ends it")
        while True:
            stamp = _stamp(sources)
            if stamp != seen:
                seen, found = stamp, list(_read(stamp, told))
                if found:
                    records = sorted(found, key=lambda record: record["created"])
                    _tell(_render(records, output, interval))
            wait(interval)
    except KeyboardInterrupt:
        pass
    if not records:
        print("Stopped before there was a record.", file=sys.stderr)
        return 1
    try:
        page = write_report(records, output, pictures=pictures, pdf=pdf)
    except OSError as error:
        print(f"error: the report cannot be written to {output} ({error})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # pressed again
        print("Stopped at once: the page is that of the last record, without pictures.", file=sys.stderr)
        return 130
    print(f"Stopped; the report: {page}")
    return 0


def _render(records: Sequence[AnyRecord], output: Path, interval: float) -> str:
    """Write the page, and say how far it is; a full disk may have room again when the next record lands."""
    try:
        return _progress(records, write_report(records, output, pictures=0, reload=interval))
    except OSError as error:
        return f"the report cannot be written to {output} ({error})"


def _stamp(sources: Sequence[Path] | None) -> _Stamp:
    """Return the records that are there, with when they were changed; what vanishes meanwhile is left out."""
    run = None if sources else newest_run()
    found: _Stamp = {}
    for source in sources or ([run] if run else []):
        for path in sorted(source.rglob("*.json")) if source.is_dir() else [source]:
            try:
                state = path.stat()
            except OSError:
                continue
            found[path] = (state.st_mtime_ns, state.st_size)
    return found


def _read(stamp: _Stamp, told: set[str]) -> Iterator[AnyRecord]:
    """Yield what can be read; what cannot, perhaps because it is half written, is told once and tried again later."""
    for path in stamp:
        try:
            yield read_record(path)
        except (RecordError, OSError) as error:
            line = one_line(f"left out: {error}")
            if line not in told:
                _tell(line)
                told.add(line)


def _progress(records: Sequence[AnyRecord], page: Path) -> str:
    """Say in one line how far it is."""
    cases = group_cases(by_kind(records)[0])
    ahead = [f"{words(answer(case).names) or 'none'} on {case.title}" for case in cases[:3]]
    more = f" and {plural(len(cases) - 3, 'more case')}" if len(cases) > 3 else ""
    leading = f", ahead: {'; '.join(ahead)}{more}" if ahead else ""
    return one_line(f"{plural(len(records), 'record')}{leading}: {page}")


def _tell(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)
