"""The page: a report as one HTML file that loads no other, and the settings of all pages."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import jinja2
from markupsafe import Markup

from bench.report.figures.marks import HEIGHT, row_height
from bench.report.figures.style import THEME
from bench.text.wording import one_line

from .contents import OPEN_FIGURES, Report
from .exhibits import Exhibit
from .scripts import Scripts, drawn_with

# Also what changes the direction of a line.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NUMBER = re.compile(r"[<>+\s]*(-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)")

# Further cases are folded, so that a page with many of them reads as a list and opens quickly.
_OPEN_SECTIONS = 2

# Pixels above and below the axes of a figure, with numbers and with categories on the y axis.
_AROUND_NUMBERS, _AROUND_CATEGORIES = 70, 60


def render_html(
    report: Report,
    pictures: Collection[str] = (),
    reload: float | None = None,
    drawings: Mapping[str, Markup] = MappingProxyType({}),
) -> str:
    """Render the page. All texts are escaped.

    Parameters
    ----------
    pictures
        Names of the picture files beside the page, for readers without JavaScript.
    reload
        Seconds after which the page reloads itself, None for never.
    drawings
        Figures as they are shown until the page has drawn them, by stem.
    """
    scripts = Scripts(report.looks)
    environment = template_environment()
    environment.filters |= {"height": _height, "figure_json": scripts.figure}
    # Macros see these too.
    environment.globals |= {"drawings": drawings, "open_figures": OPEN_FIGURES}
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
    """Return the settings of all pages of the project.

    Parameters
    ----------
    packages
        Packages with templates, in addition to this one.
    """
    loaders = [jinja2.PackageLoader(name, "") for name in (*packages, __package__)]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
    )
    environment.filters |= {"host": host, "one_line": one_line, "sortable": sortable}
    return environment


def _printable(value: Any) -> Any:
    """Return a text without control characters, except tabs and line ends."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return _CONTROL.sub("", value) if is_text else value


def sortable(cell: str) -> str:
    """Return the first number of a cell, by which its column is sorted: "1234" for "> 1,234 s".

    "" if the cell does not begin with a number.
    """
    found = _NUMBER.match(cell)
    return found[1].replace(",", "") if found else ""


def host(address: str) -> str:
    """Return the host of an address, as the text of a link to it: "arxiv.org"."""
    return (urlsplit(address).hostname or address).removeprefix("www.")


def _height(exhibit: Exhibit) -> int:
    """Return the approximate height of a figure in pixels.

    The page reserves it, so that texts do not move when the figure is drawn.
    """
    figure = exhibit.figure
    if figure.y.categories:
        return row_height(figure) * len(figure.y.categories) + _AROUND_CATEGORIES
    return HEIGHT + _AROUND_NUMBERS
