"""The files of a report: page, Markdown, tables and pictures, each written whole or not at all."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pandas import DataFrame
from PIL import Image

from bench.records import AnyRecord, by_kind
from bench.report.outcome.tidy import cases_table, roofline_table, rounds_table
from bench.report.page.contents import Report, gather
from bench.report.page.html import render_html
from bench.report.page.markdown import render_markdown
from bench.text.files import write_all

from .figures import all_kinds, draw_static

MOST_PICTURES = 20  # figures that are drawn as files too; of a report with more, the first of each case, as PNG alone


def write_report(
    records: Sequence[AnyRecord],
    output: Path,
    *,
    pictures: int | None = MOST_PICTURES,
    pdf: bool = False,
    reload: float | None = None,
) -> Path:
    """Write all files into ``output``, the page last; return the path of the page.

    Parameters
    ----------
    records
        All that is reported.
    output
        The folder, which is made where it is missing. What an earlier report left in it is removed.
    pictures
        How many figures are drawn as files too, None for all: as PNG, and as SVG where those are all there are.
    pdf
        Whether they are drawn as PDF as well.
    reload
        As in `page.render_html`.
    """
    report = gather(records)
    contents = _tables(records, report)
    drawn = {one.stem: one.figure for one in islice(report.exhibits, pictures)}
    formats = ["png"]
    if len(drawn) == len(list(report.exhibits)):
        formats.append("svg")
    if pdf:
        formats.append("pdf")
    for stem, figure in drawn.items():
        made = draw_static(figure, formats, report.looks)
        contents |= {f"{stem}.{kind}": _small(picture, kind) for kind, picture in made.items()}
    contents["report.md"] = render_markdown(report, contents).encode()
    contents["index.html"] = render_html(report, contents, reload).encode()
    write_all(output, contents)
    ours = _names()
    for path in output.iterdir():  # figures of cases that an earlier report had
        if ours.fullmatch(path.name) and path.name not in contents:
            path.unlink()
    return output / "index.html"


def _names() -> re.Pattern[str]:
    """Return a pattern of the names of all files of figures and tables that a report may hold."""
    stems = [
        rf"{re.escape(stem)}(-\d+)?" if kind.numbered else re.escape(stem)
        for kind in all_kinds()
        for stem in kind.stems
    ]
    figures = rf"({'|'.join(stems)})(--[a-z0-9.-]+)?\.(svg|png|pdf|csv)"
    return re.compile(rf"{figures}|(results|rounds|roofline)\.csv|results\.parquet")


def _tables(records: Sequence[AnyRecord], report: Report) -> dict[str, bytes]:
    """Return all tables as files: of all records, of all their rounds, and one per figure."""
    times, rooflines = by_kind(records)
    contents: dict[str, bytes] = {}
    if times:
        results = cases_table(times)
        parquet = io.BytesIO()
        results.to_parquet(parquet, index=False)
        contents |= {"results.csv": _csv(results), "results.parquet": parquet.getvalue()}
        contents["rounds.csv"] = _csv(rounds_table(times))
    if rooflines:
        contents["roofline.csv"] = _csv(roofline_table(rooflines))
    for one in report.exhibits:
        if one.table not in contents:
            contents[one.table] = _csv(one.figure.table)
    return contents


def _csv(table: DataFrame) -> bytes:
    texts = table.select_dtypes(include=["object", "string"]).columns
    safe = table.assign(**{name: table[name].map(_no_formula) for name in texts})
    return safe.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode()


def _small(picture: bytes, kind: str) -> bytes:
    """Return a PNG with a palette of its colours, a quarter as large; other files as they are."""
    if kind != "png":
        return picture
    small = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        flat = image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        flat.save(small, "png", optimize=True)
    return small.getvalue()


def _no_formula(value: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula: names and reasons may be anything."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
