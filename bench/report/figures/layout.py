"""Where things stand in a static figure: widths of texts, limits and ticks of axes, places of labels. Draws nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from matplotlib.font_manager import findfont, get_font
from matplotlib.ticker import MaxNLocator

from .figure import Axis, Figure, Layer

_LOG_STEPS = ((1, 2, 3, 5), (1, 3), (1,))  # for a range below 12, below 1000, and more


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


def limits_of(figure: Figure, name: str, log: bool | None = None) -> tuple[float, float]:
    """Return from where to where an axis of numbers reaches: what it is cut to, or all of the data with some room."""
    axis: Axis = getattr(figure, name)
    log = axis.log if log is None else log
    limits = axis.log_limits if log else axis.limits
    if limits:
        return limits
    values = [rule.value for rule in figure.rules if rule.axis == name]
    for layer in figure.layers:
        rows = _in_view(figure, layer, name)
        for column in (getattr(layer, name), getattr(layer, f"{name}2")):
            values += rows[column].dropna().tolist() if column else []
    values = [value for value in values if value > 0 or not log] or [1.0]
    low, high = min(values), max(values)
    if log:
        room = max((high / low) ** 0.05, 1.05)
        return low / room, high * room
    if axis.zero:
        return 0.0, 1.04 * high or 1.0
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _in_view(figure: Figure, layer: Layer, name: str) -> pd.DataFrame:
    """Return the rows of a layer that the other axis does not cut off."""
    other = "y" if name == "x" else "x"
    axis, column, rows = getattr(figure, other), getattr(layer, other), figure.rows(layer)
    limits = axis.log_limits if axis.log else axis.limits
    return rows[rows[column].between(*limits)] if limits else rows


def ticks_of(axis: Axis, low: float, high: float, most: int = 7) -> list[float]:
    """Return where the ticks of an axis are: at least two."""
    if axis.ticks:
        return [tick for tick in axis.ticks if low <= tick <= high]
    ticks: list[float] = []
    if axis.log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        kind = 0 if high / low < 12 else 1 if high / low < 1000 else 2
        every = max(1, math.ceil(len(powers) / most)) if kind == 2 else 1
        ticks = [step * 10.0**power for power in powers[::every] for step in _LOG_STEPS[kind]]
        ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) < 2:
        found: list[float] = np.asarray(MaxNLocator(most - 2, steps=[1, 2, 5, 10]).tick_values(low, high)).tolist()
        ticks = [tick for tick in found if low <= tick <= high]
    return ticks


def log_steps(low: float, high: float) -> list[float]:
    """Return 1, 2, 3 and 5 of each power of ten from one number to another, of many powers less."""
    steps = (1, 2, 3, 5) if high / low < 100 else (1, 3) if high / low < 1e5 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for power in powers for step in steps if low <= (tick := float(f"{step}e{power}")) <= high]


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
