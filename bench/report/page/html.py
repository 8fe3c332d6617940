"""The page: a report as one HTML file that loads nothing, and the settings that all pages of the project share."""

from __future__ import annotations

import re
from collections.abc import Collection

import jinja2
from markupsafe import Markup

from bench.report.figures.marks import HEIGHT, row_height
from bench.report.figures.style import THEME

from .contents import Report
from .exhibits import Exhibit
from .scripts import Scripts, drawn_with

_NUMBER = re.compile(r"[<>+\s]*(-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)")
_OPEN_SECTIONS = 2  # cases beyond them are folded, so that a page of many is read as a list and opens at once
_ROOM, _ROOM_OF_ROWS = 70, 60  # pixels around the axes of a figure


def render_html(report: Report, pictures: Collection[str] = (), reload: float | None = None) -> str:
    """Render the page, all text escaped.

    Parameters
    ----------
    report
        What it says.
    pictures
        Names of the files of pictures that lie beside it, for readers without JavaScript.
    reload
        Seconds after which the page reloads itself, None for never.
    """
    scripts = Scripts(report.looks)
    environment = template_environment()
    environment.filters |= {"height": _height, "figure_json": scripts.figure}
    text = environment.get_template("template.html").render(
        report=report,
        pictures=pictures,
        reload=reload,
        theme=THEME,
        open_sections=_OPEN_SECTIONS,
        drawn_with=drawn_with(),
        scripts=scripts,
        code=[Markup(code) for code in scripts.code],
    )
    return text + "\n"


def template_environment(*packages: str) -> jinja2.Environment:
    """Return the settings of all pages: text is escaped, templates come from ``packages`` and from this one."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, "") for name in (*packages, __package__)]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["sortable"] = sortable
    return environment


def sortable(cell: str) -> str:
    """Return the number that a cell begins with, by which its column is sorted: "> 1,234 s" counts as 1234; else ""."""
    found = _NUMBER.match(cell)
    return found[1].replace(",", "") if found else ""


def _height(exhibit: Exhibit) -> int:
    """Return about how many pixels a figure is high, so that the page does not jump when it is drawn."""
    figure = exhibit.figure
    rows = len(figure.y.categories)
    return row_height(figure) * rows + _ROOM_OF_ROWS if rows else HEIGHT + _ROOM
