"""How figures look: one colour and one marker per backend, plain text, axes, and bytes that repeat.

Text is drawn as given: no mathtext, no markup. What is drawn is in `figures`.
"""

from __future__ import annotations

import io
import re
import zlib
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
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

WIDTH = 5.0  # inches; two figures stand side by side on a desktop, and one fits a phone
INK, MUTED, GRID, PAPER = "#1c1e21", "#6b7077", "#dfe2e6", "#ffffff"
THEME = {"ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER}  # the page has these in light and in dark
# Okabe and Ito's colour-blind safe palette, yellow left out and orange and sky darkened to be seen on white.
PALETTE = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e08e00", "#3a9bd9", "#7d7f86")
RED, BLUE, GREEN, PINK, ORANGE, SKY, GREY = PALETTE
KNOWN = {
    "numpy": (GREY, "o"),
    "numpy-als": (PINK, "D"),
    "numba": (RED, "s"),  # short for numba-sgd, never in one run with it
    "numba-sgd": (RED, "s"),
    "numba-gd": (ORANGE, "^"),
    "numba-als": (GREEN, "d"),
    "torch-cpu": (BLUE, "v"),
    "torch-cuda": (GREEN, "P"),
    "torch-mps": (SKY, "X"),
    "cmfrec": (BLUE, "<"),
    "cornac": (SKY, ">"),
    "fastai": (GREY, "p"),
    "kernelmf": (ORANGE, "h"),
    "lenskit": (GREEN, "*"),
    "libmf": (PINK, "<"),
    "myfm": (RED, ">"),
    "smurff": (PINK, "p"),
    "spark": (GREY, "*"),
    "surprise": (SKY, "h"),
}
OTHER_MARKERS = ("<", ">", "p", "h", "*")  # none of our own backends' markers, so that a stranger never looks like one
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


def style(name: str) -> tuple[str, str]:
    """Return the colour and the marker of a backend: from the table, or by a hash of the name.

    What tells two contenders of one backend apart, " (1 thread)" or ":learning_rate=0.1", makes no difference.
    """
    name = re.split(r" \(|:", name, maxsplit=1)[0]
    crc = zlib.crc32(name.encode())
    return KNOWN.get(name, (PALETTE[crc % len(PALETTE)], OTHER_MARKERS[crc // 8 % len(OTHER_MARKERS)]))


def render(name: str, draw: Callable[[Axes], None], height: float, title: str, texts: tuple[str, str]) -> Picture:
    """Draw one figure of one pair of axes; see `render_figure`."""
    return render_figure(name, lambda figure: draw(figure.add_subplot()), height, title, texts)


def render_figure(
    name: str, draw: Callable[[Figure], None], height: float, title: str, texts: tuple[str, str]
) -> Picture:
    """Draw one figure, ``height`` inches high; ``texts`` are its caption and its alternative text."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.suptitle(plain(title, 76), x=0.01, ha="left", fontsize=8, color=MUTED)
        draw(figure)
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


def log_axis(axes: Axes, values: list[float], room: float = 1.0) -> None:
    """Make x logarithmic, plain ticks, with room for a label on the right; two or more ticks whatever the range."""
    axes.set_xscale("log")
    low, high = (min(values), max(values)) if values else (0.1, 10.0)
    pad = max((high / low) ** 0.06, 1.08, (4 * low / high) ** 0.5)
    low, high = low / pad, high * pad * (high / low) ** (0.12 * (room > 1)) * room
    steps = (1, 2, 3, 5) if high / low < 12 else (1, 3) if high / low < 1000 else (1,)
    ticks = [step * 10.0**power for power in range(-9, 9) for step in steps]
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))


def legend(axes: Axes, items: list[tuple[str, Line2D]]) -> None:
    """Put a legend under the axes, in as many columns as fit."""
    if items and axes.figure:
        columns = max(1, min(4, int(WIDTH * 72 / (max(len(label) for label, _ in items) * 5.4 + 34))))
        labels = [label if label[:1] != "_" else f" {label}" for label, _ in items]  # "_" would hide it
        axes.figure.legend([key for _, key in items], labels, loc="outside lower center", ncols=columns)


def key(color: str, marker: str, line: Any) -> Line2D:
    """Return what stands for a backend in a legend."""
    return Line2D([], [], color=color, marker=marker, markersize=5.5, ls=line, lw=1.4, mew=0)


def empty(axes: Axes, text: str) -> None:
    """Say in the middle of the axes that there is nothing to show."""
    axes.set_xticks([])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def plain(text: str, longest: int = 24) -> str:
    """Return text on one line, cut to length, with a question mark for what the font lacks."""
    line = " ".join(text.split())
    line = line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
    return "".join(letter if ord(letter) in _glyphs() else "?" for letter in line)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
