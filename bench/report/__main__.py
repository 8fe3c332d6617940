"""``python -m bench.report``: write the report of a run."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from pandas import DataFrame

from bench.records import RUNS, AnyRecord, RecordError, by_kind, newest_run, read_records
from bench.records.tables import cases_table, roofline_table

from .figures import draw_figures
from .page import make_section, render_html, render_markdown
from .profile import draw_profile, profile_table
from .ranking import group_cases
from .roofline import group_rooflines, make_roofline_section
from .roofline import sentence as roofline_sentence
from .verdict import sentence

NO_RECORDS = "There are no records {}; make some with `pytest bench/ --benchmark-only`, or `make bench`."
_OURS = re.compile(r"(convergence|seconds|speedup|accuracy|roofline|profile)(--[a-z0-9.-]+)?\.(svg|png)|profile\.csv")


def main(arguments: list[str] | None = None) -> int:
    """Write the report and print its verdict; return the exit status: 1 without records, 2 for a file that is none."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description="Write the report of measured runs.")
    parser.add_argument(
        "--input",
        type=Path,
        action="append",
        metavar="PATH",
        help="a run's folder or a record's file, may be repeated (default: the newest run under reports/runs)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("reports/latest"),
        metavar="DIR",
        help="where to write (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    run = newest_run()
    sources: list[Path] = options.input or ([run] if run else [])
    try:
        records = read_records(sources)
    except (RecordError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not records:
        where = ", ".join(map(str, sources)) or str(RUNS)
        print(NO_RECORDS.format(f"in {where}"), file=sys.stderr)
        return 1
    page = write_report(records, options.output)
    times, rooflines = by_kind(records)
    for case in group_cases(times):
        print(sentence(case))
    for roofline in group_rooflines(rooflines):
        print(roofline_sentence(roofline))
    print(page)
    return 0


def write_report(records: Sequence[AnyRecord], output: Path) -> Path:
    """Write all files into ``output``, each whole or not at all and the page last; return the path of the page."""
    times, roofline_records = by_kind(records)
    cases, rooflines = group_cases(times), group_rooflines(roofline_records)
    contents: dict[str, bytes] = {}
    if times:
        contents["results.csv"] = _csv(cases_table(times))
    if roofline_records:
        contents["roofline.csv"] = _csv(roofline_table(roofline_records))
    sections = []
    for case in cases:
        suffix = f"--{case.slug}" if len(cases) > 1 else ""
        pictures = [(picture.stem + suffix, picture) for picture in draw_figures(case)]
        for stem, picture in pictures:
            contents |= {f"{stem}.svg": picture.svg, f"{stem}.png": picture.png}
        sections.append(make_section(case, pictures))
    roofline_sections = [make_roofline_section(one, alone=len(rooflines) == 1) for one in rooflines]
    for section in roofline_sections:
        contents |= {f"{section.stem}.svg": section.picture.svg, f"{section.stem}.png": section.picture.png}
    profile = draw_profile(cases) if len(cases) > 1 else None
    if profile:
        contents |= {"profile.svg": profile.svg, "profile.png": profile.png, "profile.csv": _csv(profile_table(cases))}
    contents["report.md"] = render_markdown(sections, roofline_sections, profile).encode()
    contents["index.html"] = render_html(sections, roofline_sections, profile).encode()
    output.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        partial = output / f"{name}.part"
        partial.write_bytes(content)
        os.replace(partial, output / name)
    for path in output.iterdir():  # figures of cases that an earlier report had
        if _OURS.fullmatch(path.name) and path.name not in contents:
            path.unlink()
    return output / "index.html"


def _csv(table: DataFrame) -> bytes:
    return table.to_csv(index=False, lineterminator="\n").encode()


if __name__ == "__main__":
    sys.exit(main())
