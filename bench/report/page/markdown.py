"""The report as Markdown: the same verdict, tables and pictures as on the page."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from bench.report.tables.table import Table
from bench.text.wording import one_line

from .contents import Report, Section
from .exhibits import Exhibit


def render_markdown(report: Report, pictures: Collection[str] = ()) -> str:
    """Render a report; ``pictures`` are the names of the picture files beside it."""
    lines = ["# factorbench report", "", escape(report.source), "", "## Verdict", ""]
    for section in report.sections:
        origin = [f"{section.origin}."] if section.origin else []
        lines += [f"- {escape(text)}" for text in (*section.verdict, *origin)]
    lines += [f"- {escape(roofline.sentence)}" for roofline, _ in report.rooflines]
    lines += [f"- {escape(check.sentence)}" for check, _ in report.checks]
    if report.missing:
        lines.append(f"- {escape(report.missing)}.")
    if report.overview:
        lines += _table(report.overview)
    if report.overall:
        lines += ["", "## Over all cases", *_figures(report.overall, pictures)]
    for section in report.sections:
        lines += _section(section, pictures)
    for roofline, exhibits in report.rooflines:
        lines += ["", f"## {escape(roofline.heading)}", "", *_facts(roofline.facts)]
        lines += _table(roofline.costs)
        lines += _figures(exhibits, pictures)
        lines += _table(roofline.limits)
        lines += ["", "### How it was measured", ""]
        lines += [f"- {escape(text)}" for text in roofline.method]
    for check, exhibits in report.checks:
        lines += ["", f"## {escape(check.heading)}", "", *_facts(check.facts)]
        lines += _figures(exhibits, pictures)
        for table in check.tables:
            lines += _table(table)
        lines += ["", "### How it was measured", ""]
        lines += [f"- {escape(text)}" for text in check.method]
    if report.method:
        lines += ["", "## How the numbers were measured", ""]
        lines += [f"- {text}" for text in report.method]
    commands = "\n".join(map(one_line, report.commands))
    lines += [
        "",
        "## To reproduce it",
        "",
        *_code(commands, "sh"),
        "",
    ]
    lines += ["## Environment"]
    for table in report.environment:
        lines += _table(table)
    return "\n".join(lines) + "\n"


def _code(code: str, language: str) -> list[str]:
    """Return a block of code, fenced by more backticks than appear in it."""
    runs = [len(run) for run in re.findall("`+", code)]
    fence = "`" * max([3, *(length + 1 for length in runs)])
    return [f"{fence}{language}", code, fence]


def escape(text: str) -> str:
    """Return a text escaped for Markdown, on one line and without control characters."""
    line = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|$~])", r"\\\1", line)


def _section(section: Section, pictures: Collection[str]) -> list[str]:
    lines = ["", f"## {escape(section.case.title)}", "", *_facts(section.about)]
    lines += _table(section.ranking)
    if section.snippet:
        lines += ["", *_code(section.snippet, "python")]
    lines += ["", *_facts([*section.facts, *section.unavailable])]
    if section.parts:
        lines += _table(section.parts)
    lines += _figures(section.exhibits, pictures)
    for table in section.tables:
        lines += _table(table)
    if section.published:
        lines += ["", "### Beside published figures", *_table(section.published)]
    return lines


def _facts(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- **{escape(name)}**: {escape(text)}" for name, text in facts]


def _table(table: Table) -> list[str]:
    header, *rows = [[escape(cell) for cell in row] for row in [table.header, *table.rows]]
    rule = ["--:" if column in table.numeric else "---" for column in range(len(header))]
    lines = [f"| {' | '.join(cells)} |" for cells in [header, rule, *rows]]
    caption = " ".join(filter(None, [table.caption, table.more_caption]))
    return ["", f"**{escape(caption)}**", "", *lines]


def _figures(exhibits: Iterable[Exhibit], pictures: Collection[str]) -> list[str]:
    lines: list[str] = []
    for exhibit in exhibits:
        picture = f"{exhibit.stem}.png"
        if picture in pictures:
            lines += ["", f"![{escape(exhibit.figure.alt)}]({picture})"]
            lines += ["", f"*{escape(exhibit.figure.caption)}*"]
    return lines
