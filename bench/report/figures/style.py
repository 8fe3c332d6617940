"""What figures by matplotlib share: colours of text and paper, settings, plain text, and bytes that repeat.

Text is drawn as given: no mathtext, no markup. `render` makes the figure of the article, which is no table of marks as
those of the report are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from matplotlib.font_manager import findfont, get_font

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


def plain(text: str, longest: int = 24) -> str:
    """Return text on one line, cut to length, with a question mark for what the font lacks."""
    line = " ".join(text.split())
    line = line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
    return "".join(letter if ord(letter) in _glyphs() else "?" for letter in line)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
