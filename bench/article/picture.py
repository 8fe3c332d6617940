"""The article's figure by matplotlib, as files and to stand in a page."""

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
    """A rendered figure, with the text that goes with it."""

    stem: str
    caption: str
    alt: str
    svg: bytes
    png: bytes


def render(name: str, draw: Callable[[Axes], None], height: float, title: str, texts: tuple[str, str]) -> Picture:
    """Draw a figure of one pair of axes, ``height`` inches high; ``texts`` are its caption and alternative text."""
    with our_settings():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.suptitle(plain(title, 76), x=0.01, ha="left", fontsize=8, color=MUTED)
        draw(figure.add_subplot())
        svg, png = (file_of(figure, kind, _DPI) for kind in ("svg", "png"))
    return Picture(name, *texts, svg, png)


def inline_svg(picture: Picture, stem: str) -> Markup:
    """Return a figure to stand in a page: ids of its own, described, in the colours of the page's theme.

    Its glyphs are paths and its comments are gone, so that nothing but the description needs escaping.
    """
    svg = picture.svg.decode()
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\1{stem}-", svg[svg.index("<svg") :])
    svg = re.sub('<svg [^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img" aria-label="{}">', svg, count=1)
    for name, color in THEME.items():
        svg = svg.replace(color, f"var(--{name})")
    before, _, after = svg.partition("{}")
    return Markup(before) + picture.alt + Markup(after)


def legend(axes: Axes, items: list[tuple[str, Line2D]]) -> None:
    """Put a legend under the axes, in as many columns as fit."""
    if items and axes.figure:
        columns = max(1, min(4, int(WIDTH * 72 / (max(len(label) for label, _ in items) * 5.4 + 34))))
        labels = [label if label[:1] != "_" else f" {label}" for label, _ in items]  # "_" would hide it
        axes.figure.legend([key for _, key in items], labels, loc="outside lower center", ncols=columns)
