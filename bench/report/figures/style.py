"""What figures by matplotlib share: colours of text and paper, settings, plain text, and bytes that repeat.

Text is drawn as given: no mathtext, no markup.
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

_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "png": {"Software": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}


@contextmanager
def our_settings() -> Iterator[None]:
    """Draw with our settings and nobody else's."""
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
    # Matplotlib notes each text in a comment; it is dropped, as data may hold anything.
    return re.sub(rb"<!--.*?-->\s*", b"", file.getvalue(), flags=re.DOTALL)


def plain(text: str, longest: int = 24) -> str:
    """Return text on one line, cut to length, with a question mark for what the font lacks."""
    return "".join(letter if ord(letter) in _glyphs() else "?" for letter in cut(text, longest))


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())
