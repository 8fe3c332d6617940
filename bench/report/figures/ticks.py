"""Limits and ticks of numeric axes, for both renderers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from .figure import Axis, Figure, Layer

_STEPS = ((1, 2, 3, 5), (1, 3), (1,))  # ticks within each power of ten, from many to few


def limits_of(figure: Figure, name: str, log: bool | None = None) -> tuple[float, float]:
    """Return the limits of a numeric axis: the given ones, or the range of the data and a margin.

    Parameters
    ----------
    name
        The axis, "x" or "y".
    log
        Whether it is logarithmic; None for its state at first.
    """
    axis: Axis = getattr(figure, name)
    if log is None:
        log = axis.log
    limits = axis.log_limits if log else axis.limits
    if limits:
        return limits
    values = _values_on(figure, name)
    if log:
        values = [value for value in values if value > 0]
    if not values:
        values = [1.0]
    low, high = min(values), max(values)
    if log:
        margin = max((high / low) ** 0.05, 1.05)
        return low / margin, high * margin
    if axis.zero:
        return 0.0, 1.04 * high or 1.0
    # A single value gets a margin relative to itself, and 0 a margin of 1.
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _values_on(figure: Figure, name: str) -> list[float]:
    """Return all values that marks and lines have on an axis."""
    values = [rule.value for rule in figure.rules if rule.axis == name]
    for layer in figure.layers:
        rows = _visible_rows(figure, layer, name)
        for column in (getattr(layer, name), getattr(layer, f"{name}2")):
            if column:
                values += rows[column].dropna().tolist()
    return values


def _visible_rows(figure: Figure, layer: Layer, name: str) -> pd.DataFrame:
    """Return the rows of a layer within the limits of the other axis."""
    across = "y" if name == "x" else "x"
    axis, column, rows = getattr(figure, across), getattr(layer, across), figure.rows(layer)
    limits = axis.log_limits if axis.log else axis.limits  # as the figure is shown at first
    return rows[rows[column].between(*limits)] if limits else rows


def ticks_of(axis: Axis, low: float, high: float, most: int = 9) -> list[float]:
    """Return the positions of an axis's ticks between two limits."""
    if axis.ticks:
        return [tick for tick in axis.ticks if low <= tick <= high]
    if axis.log:
        ticks = log_ticks(low, high, most)
        if ticks:
            return ticks
    # MaxNLocator counts intervals, and may add ticks beyond both limits.
    locator = MaxNLocator(max(most - 2, 2), steps=[1, 2, 5, 10])
    found: list[float] = np.asarray(locator.tick_values(low, high)).tolist()
    return [tick for tick in found if low <= tick <= high]


def log_ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Return the positions of the ticks of a logarithmic axis, at most ``most``.

    They are 1, 2, 3 and 5 times the powers of ten; if these are too many, 1 and 3 times; then the
    powers alone; and then every second or third of these, and so on. With fewer than three ticks,
    the axis covers so short a range that ticks of a linear axis are better: returns [].
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in _STEPS:
        # Parsed from text, 3e-1 is exactly 0.3, which 3 * 10**-1 is not.
        candidates = [float(f"{step}e{power}") for power in powers for step in steps]
        ticks = [tick for tick in candidates if low <= tick <= high]
        if len(ticks) < 3 and steps == _STEPS[0]:
            return []
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]
