"""What the two renderers share: dashes, colours of the parts of a bar, and markers as paths."""

from __future__ import annotations

from functools import cache

import numpy as np
from matplotlib.markers import MarkerStyle

from .palette import BLUE, GREEN, GREY, ORANGE, PINK

PART_COLORS = (GREY, ORANGE, BLUE, GREEN, PINK)
DASHES = ((2, 2), (7, 3), (7, 3, 2, 3), (1, 4), (12, 3))  # pixels on and off

ROOM = {"*": 1.45, "p": 1.15, "h": 1.15, "P": 1.15, "X": 1.15, "d": 1.25}  # what some markers lack in size


@cache
def vega_shape(marker: str) -> str:
    """Return a marker of matplotlib as Vega's name or path of it."""
    if marker == "o":
        return "circle"
    style = MarkerStyle(marker)
    (outline,) = style.get_path().transformed(style.get_transform()).to_polygons()
    size = 1.9 * ROOM.get(marker, 1.0)
    points = [f"{size * x:.3f},{-size * y:.3f}" for x, y in np.asarray(outline)]  # Vega's y points down
    return f"M{'L'.join(points)}Z"
