"""What figures by matplotlib share: colours of text and paper, settings, plain text, and bytes that repeat.

Text is drawn as given: no mathtext, no markup. `render` makes the figure of the article, which is no table of marks as
those of the report are.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.lines import Line2D

WIDTH = 5.0  # inches; two figures stand side by side on a desktop, and one fits a phone
INK, MUTED, GRID, PAPER = "#1c1e21", "#6b7077", "#dfe2e6", "#ffffff"
THEME = {"ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER}  # the page has these in light and in dark
RC: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "svg.hashsalt": "factorbench",
    "svg.fonttype": "path",
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
}


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
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.suptitle(plain(title, 76), x=0.01, ha="left", fontsize=8, color=MUTED)
        draw(figure.add_subplot())
        svg, png = io.BytesIO(), io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(svg, format="svg", metadata=nothing)
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    # Matplotlib notes each text in a comment; it is dropped, as data may hold anything.
    clean = re.sub(rb"<!--.*?-->\s*", b"", svg.getvalue(), flags=re.DOTALL)
    return Picture(name, *texts, clean, png.getvalue())


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


def plain(text: str, longest: int = 24) -> str:
    """Return text on one line, cut to length, with a question mark for what the font lacks."""
    line = " ".join(text.split())
    line = line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
    return "".join(letter if ord(letter) in _glyphs() else "?" for letter in line)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
