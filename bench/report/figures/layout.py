"""Positions in a static figure: widths of texts, and labels that do not overlap. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from matplotlib.font_manager import findfont, get_font


@cache
def width_of(text: str, size: float) -> float:
    """Return the width of a text in inches; the size of the font is in points."""
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(size, 72)
    font.set_text(text, 0.0)
    # FreeType measures in 1/64 of a pixel, and at 72 dpi a pixel is a point.
    width: float = font.get_width_height()[0] / 64 / 72
    return width


def widest(texts: Sequence[str], size: float) -> float:
    """Return the width of the widest text in inches, 0 without texts."""
    return max((width_of(text, size) for text in texts), default=0.0)


def tick_text(value: float) -> str:
    """Return the label of a tick."""
    return f"{value:,.9g}"


def apart(positions: Sequence[float], gap: float) -> list[float]:
    """Move positions, sorted from the highest down, until each is a gap below the one before."""
    moved: list[float] = []
    for position in positions:
        moved.append(min(position, moved[-1] - gap) if moved else position)
    return moved


def share_of(value: float, low: float, high: float, log: bool) -> float:
    """Return the position of a value between two limits: 0 at the lower, 1 at the higher."""
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
