"""Rendering the article's figure with matplotlib, as files and for inclusion in a page."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.figures.style import MUTED, THEME, WIDTH, file_of, our_settings, plain

_DPI = 200


@dataclass(frozen=True)
class Picture:
    """A rendered figure, its caption and its alternative text."""

    stem: str
    caption: str
    alt: str
    svg: bytes
    png: bytes


def render(
    name: str, draw: Callable[[Axes], None], height: float, title: str, caption: str, alt: str
) -> Picture:
    """Return a figure with one pair of axes, ``height`` inches high, drawn by ``draw``."""
    with our_settings():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.suptitle(plain(title, 76), x=0.01, ha="left", fontsize=8, color=MUTED)
        draw(figure.add_subplot())
        svg, png = (file_of(figure, kind, _DPI) for kind in ("svg", "png"))
    return Picture(name, caption, alt, svg, png)


def inline_svg(picture: Picture, stem: str) -> Markup:
    """Return a figure for inclusion in a page, in the colours of the page's theme.

    Its ids start with ``stem``, so they are unique in the page, and its alternative text is a label
    for screen readers. Matplotlib draws glyphs as paths and the comments are cut off, so the
    alternative text is all that needs escaping.
    """
    svg = picture.svg.decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{stem}-", svg)
    # Of the root's attributes only the viewBox stays: its size is up to the page.
    root = r'<svg \1 role="img" aria-label="{}">'
    svg = re.sub('<svg [^>]*?(viewBox="[^"]*")[^>]*>', root, svg, count=1)
    for name, color in THEME.items():
        svg = svg.replace(color, f"var(--{name})")
    before, _, after = svg.partition("{}")
    return Markup(before) + picture.alt + Markup(after)


def legend(axes: Axes, items: list[tuple[str, Line2D]]) -> None:
    """Put a legend under the axes, in at most four columns."""
    if not items or not axes.figure:
        return
    # In points: about 5.4 per letter, and 34 for the line and the gap.
    column_width = max(len(label) for label, _ in items) * 5.4 + 34
    columns = max(1, min(4, int(WIDTH * 72 / column_width)))
    # Matplotlib leaves out labels that start with "_".
    labels = [f" {label}" if label.startswith("_") else label for label, _ in items]
    keys = [key for _, key in items]
    axes.figure.legend(keys, labels, loc="outside lower center", ncols=columns)
