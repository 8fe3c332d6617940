"""The files of a report: page, Markdown, tables and pictures, each written whole or not at all."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pandas import DataFrame
from PIL import Image

from bench.records import AnyRecord, by_kind
from bench.report.outcome.plan import NO_PLAN, Plan
from bench.report.outcome.tidy import cases_table, gpu_table, roofline_table, rounds_table
from bench.report.page.contents import Report, gather
from bench.report.page.html import render_html
from bench.report.page.markdown import render_markdown
from bench.text.files import write_all

from .figures import all_kinds, draw_static, inline_svg

MOST_PICTURES = 20  # figures drawn as files unless all are asked for


def write_report(
    records: Sequence[AnyRecord],
    output: Path,
    *,
    plan: Plan = NO_PLAN,
    pictures: int | None = MOST_PICTURES,
    pdf: bool = False,
    reload: float | None = None,
) -> Path:
    """Write all files of a report, the page last; return the path of the page.

    Files of an earlier report in the same folder are removed.

    Parameters
    ----------
    output
        The folder, which is created if it does not exist.
    plan
        What runs that have not ended are to measure.
    pictures
        How many figures are also drawn as PNG files, and stand in the page before it has run any
        script; None for all. If that covers all figures, they are drawn as SVG files too.
    pdf
        Whether these figures are drawn as PDF as well.
    reload
        As in `page.html.render_html`.
    """
    # Everything is made before anything is written: an error leaves the earlier report as it was.
    report = gather(records, plan)
    contents = _tables(records, report)
    shown = list(islice(report.exhibits, pictures))
    formats = ["png"]
    if len(shown) == len(list(report.exhibits)):
        formats.append("svg")
    if pdf:
        formats.append("pdf")
    drawings: dict[str, Markup] = {}
    for number, exhibit in enumerate(shown, 1):
        drawn = draw_static(exhibit.figure, list(dict.fromkeys([*formats, "svg"])), report.looks)
        # Ids begin with a number, not with the stem: that of one case among several is long, and
        # each letter of a figure has its id.
        drawings[exhibit.stem] = inline_svg(drawn["svg"], f"d{number}")
        for format_ in formats:
            contents[f"{exhibit.stem}.{format_}"] = _small(drawn[format_], format_)
    contents["report.md"] = render_markdown(report, contents).encode()
    contents["index.html"] = render_html(report, contents, reload, drawings).encode()
    write_all(output, contents)
    ours = _names()
    for path in output.iterdir():
        if ours.fullmatch(path.name) and path.name not in contents:
            path.unlink()
    return output / "index.html"


def _names() -> re.Pattern[str]:
    """Return a pattern of all names of figures and tables that a report may have."""
    stems = []
    for kind in all_kinds():
        number = r"(-\d+)?" if kind.numbered else ""
        stems += [re.escape(stem) + number for stem in kind.stems]
    # With several cases, the name of the case follows: "seconds--twin-16-factors.png".
    figures = rf"({'|'.join(stems)})(--[a-z0-9.-]+)?\.(svg|png|pdf|csv)"
    return re.compile(rf"{figures}|(results|rounds|roofline|gpu-check)\.csv|results\.parquet")


def _tables(records: Sequence[AnyRecord], report: Report) -> dict[str, bytes]:
    """Return the files with tables: of all records, of their rounds, and of each figure."""
    times, rooflines, checks = by_kind(records)
    contents: dict[str, bytes] = {}
    if times:
        results = cases_table(times)
        parquet = io.BytesIO()
        results.to_parquet(parquet, index=False)
        contents["results.csv"] = _csv(results)
        contents["results.parquet"] = parquet.getvalue()
        contents["rounds.csv"] = _csv(rounds_table(times))
    if rooflines:
        contents["roofline.csv"] = _csv(roofline_table(rooflines))
    if checks:
        contents["gpu-check.csv"] = _csv(gpu_table(checks))
    for exhibit in report.exhibits:
        if exhibit.table not in contents:
            contents[exhibit.table] = _csv(exhibit.figure.table)
    return contents


def _csv(table: DataFrame) -> bytes:
    texts = table.select_dtypes(include=["object", "string"]).columns
    safe = table.assign(**{name: table[name].map(_no_formula) for name in texts})
    return safe.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode()


def _no_formula(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula, as names may contain anything."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return value


def _small(picture: bytes, format_: str) -> bytes:
    """Return a PNG with a palette of 256 colours, a quarter of the size; others unchanged."""
    if format_ != "png":
        return picture
    small = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        flat = image.convert("RGB").quantize(
            256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
        flat.save(small, "png", optimize=True)
    return small.getvalue()
