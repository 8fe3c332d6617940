"""Settings shared by all figures drawn with matplotlib: colours, fonts, and reproducible files.

Text is drawn literally, without mathtext or markup.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import findfont, get_font

from .figure import cut

WIDTH = 5.0  # inches: two figures fit side by side on a desktop, and one fits a phone
INK, MUTED, GRID, PAPER = "#1c1e21", "#6b7077", "#dfe2e6", "#ffffff"
# The parts of stacked bars: tints of violet, which no backend has.
PARTS = {"part-1": "#a07be0", "part-2": "#8041d1", "part-3": "#5c1ea0", "part-4": "#340d5e"}
# The page has these colours too, with other values in dark mode.
THEME = {"ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER, **PARTS}
# Ids of the texts that a page states itself, and the height that they take at the top, in inches.
TITLES = ("title", "subject")
TITLES_HEIGHT = 0.42
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

# Without dates and versions, so that the same records give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


@contextmanager
def our_settings() -> Iterator[None]:
    """Draw with these settings only, ignoring those of the user or of the calling program."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def file_of(canvas: Canvas, kind: str, dpi: int) -> bytes:
    """Return a drawn figure as the bytes of a file: "png", "svg" or "pdf"."""
    file = io.BytesIO()
    how: dict[str, Any] = {"pil_kwargs": {"compress_level": 2}} if kind == "png" else {}
    canvas.savefig(file, format=kind, dpi=dpi, metadata=_METADATA[kind], **how)
    if kind != "svg":
        return file.getvalue()
    # Matplotlib repeats each text in a comment. These are removed: names may contain anything.
    return re.sub(rb"<!--.*?-->\s*", b"", file.getvalue(), flags=re.DOTALL)


def plain(text: str, longest: int = 24) -> str:
    """Return a text on one line, cut to a length; "?" replaces characters missing in the font."""
    glyphs = _glyphs()
    return "".join(letter if ord(letter) in glyphs else "?" for letter in cut(text, longest))


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
