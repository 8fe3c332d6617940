"""Where axes of numbers end, and where their ticks are, in both renderers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from .figure import Axis, Figure, Layer

_STEPS = ((1, 2, 3, 5), (1, 3), (1,))  # in each power of ten


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


def ticks_of(axis: Axis, low: float, high: float, most: int = 9) -> list[float]:
    """Return where the ticks of an axis are: at least two."""
    if axis.ticks:
        return [tick for tick in axis.ticks if low <= tick <= high]
    ticks = log_ticks(low, high, most) if axis.log else []
    if ticks:
        return ticks
    locator = MaxNLocator(max(most - 2, 2), steps=[1, 2, 5, 10])
    found: list[float] = np.asarray(locator.tick_values(low, high)).tolist()
    return [tick for tick in found if low <= tick <= high]


def log_ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Return ticks of a logarithmic axis, [] where a linear axis's ticks serve it better.

    They are 1, 2, 3 and 5 of each power of ten, or, where these are too many, 1 and 3, or 1 alone, of
    some powers if need be.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in _STEPS:
        made = [float(f"{step}e{power}") for power in powers for step in steps]
        ticks = [tick for tick in made if low <= tick <= high]
        if len(ticks) < 3 and steps == _STEPS[0]:
            return []
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]
