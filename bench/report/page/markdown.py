"""The report as Markdown, for where a page cannot be shown: the same verdict and tables, pictures beside it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from bench.report.tables.table import Table

from .contents import Report, Section
from .exhibits import Exhibit


def render_markdown(report: Report, pictures: Collection[str] = ()) -> str:
    """Render a report; ``pictures`` are the names of those that lie beside it."""
    lines = ["# factorbench report", "", escape(report.source), "", "## Verdict", ""]
    lines += [f"- {escape('; '.join(filter(None, [one.headline, one.left_out])))}." for one in report.sections]
    lines += [f"- {escape(one.sentence)}" for one, _ in report.rooflines]
    lines += _table(report.overview) if report.overview else []
    if report.overall:
        lines += ["", "## Over all cases", *_figures(report.overall, pictures)]
    for section in report.sections:
        lines += _section(section, pictures)
    for one, exhibits in report.rooflines:
        lines += ["", f"## {escape(one.heading)}", "", *_facts(one.facts)]
        lines += [*_table(one.costs), *_figures(exhibits, pictures), *_table(one.limits)]
        lines += ["", "### How this was made", "", *[f"- {escape(text)}" for text in one.method]]
    if report.method:
        lines += ["", "## How the numbers were made", "", *[f"- {text}" for text in report.method]]
    commands = "\n".join(report.commands)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", commands)), 3)
    lines += ["", "## To reproduce it", "", f"{fence}sh", commands, fence, "", "## Environment"]
    for table in report.environment:
        lines += _table(table)
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Escape text for Markdown, on one line."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|$~])", r"\\\1", line)


def _section(section: Section, pictures: Collection[str]) -> list[str]:
    lines = ["", f"## {escape(section.case.title)}", "", *_facts(section.facts), *_table(section.ranking)]
    lines += _figures(section.exhibits, pictures)
    for table in section.tables:
        lines += _table(table)
    if section.published:
        lines += ["", "### Beside published figures", *_table(section.published)]
    return lines


def _facts(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"- **{escape(name)}**: {escape(text)}" for name, text in facts]


def _table(table: Table) -> list[str]:
    rule = ["--:" if i in table.numeric else "---" for i in range(len(table.header))]
    lines = [[escape(cell) for cell in row] for row in [table.header, *table.rows]]
    text = [f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]]]
    return ["", f"**{escape(table.caption)}**", "", *text]


def _figures(exhibits: Iterable[Exhibit], pictures: Collection[str]) -> list[str]:
    lines: list[str] = []
    for one in exhibits:
        if f"{one.stem}.png" in pictures:
            lines += ["", f"![{escape(one.figure.alt)}]({one.stem}.png)", "", f"*{escape(one.figure.caption)}*"]
    return lines
