"""Where things stand in a static figure: widths of texts, places of labels. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from matplotlib.font_manager import findfont, get_font


@cache
def width_of(text: str, size: float) -> float:
    """Return how wide a text of so many points is, in inches."""
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(size, 72)
    font.set_text(text, 0.0)
    width: float = font.get_width_height()[0] / 64 / 72
    return width


def widest(texts: Sequence[str], size: float) -> float:
    """Return the width of the widest text, 0 without one."""
    return max((width_of(text, size) for text in texts), default=0.0)


def tick_text(value: float) -> str:
    """Write a number at a tick."""
    return f"{value:,.9g}"


def apart(places: Sequence[float], gap: float) -> list[float]:
    """Push places, from the highest down, until each is a gap below the one before; the order is kept."""
    put: list[float] = []
    for place in places:
        put.append(min(place, put[-1] - gap) if put else place)
    return put


def share_of(value: float, low: float, high: float, log: bool) -> float:
    """Return where a value lies between two limits, as a share of the way."""
    if log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
