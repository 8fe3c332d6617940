"""How marks look and how large rows are, decided once for both renderers, in pixels of the page.

Colours are names of the theme, "ink" or "muted", of which each renderer has its own values.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Literal

from .figure import Axis, Figure, Layer, Rule
from .palette import BLUE, GREEN, GREY, ORANGE, PINK

HEIGHT = 300  # of axes of numbers
GAP = 13  # from one label of a rule to the next
ARROW = "\u2191 "  # before the label of a rule that lies above the figure
LONGEST = 40  # letters of a label right of the figure
ROOM = {"*": 1.45, "p": 1.15, "h": 1.15, "P": 1.15, "X": 1.15, "d": 1.25}  # what some markers lack in size

_PART_COLORS = (GREY, ORANGE, BLUE, GREEN, PINK)
_DASHES = ((2, 2), (7, 3), (7, 3, 2, 3), (1, 4), (12, 3))  # pixels on and off


@dataclass(frozen=True)
class Pen:
    """How the marks of a layer, or a rule, are drawn.

    Attributes
    ----------
    color
        Of the theme; "" for each backend's own.
    width
        Of lines, of ticks, and of the outline of a hollow marker.
    size
        Diameter of markers, or length of ticks; 0 for lines without markers.
    shape
        What stands at a point: the backend's marker, or, for all backends alike, a tick or a dot.
    opacity
        From 0 to 1, which hides what is behind it.
    dash
        Pixels on and off, () for a full line.
    """

    color: str = ""
    width: float = 0.0
    size: float = 0.0
    shape: Literal["marker", "tick", "dot"] = "marker"
    opacity: float = 1.0
    dash: tuple[int, ...] = ()


def pen_of(figure: Figure, layer: Layer) -> Pen:
    """Return how the marks of a layer are drawn; what belongs to no backend is drawn in ink."""
    anonymous = not any(figure.rows(layer)["backend"])
    color = "ink" if anonymous else ""
    if layer.mark == "front":
        return Pen("ink", width=1.4, dash=_DASHES[0])
    if layer.mark == "interval":
        on_bars = any(other.mark == "bar" for other in figure.layers)
        return Pen("ink", width=2.1) if on_bars else Pen(color, width=2.1, opacity=0.8)
    if layer.mark in ("line", "step"):
        if layer.small:
            return Pen(color, width=1.1, opacity=0.8 if layer.dash else 0.4)
        return Pen(color, width=1.9, size=0 if anonymous else 6.5)
    if layer.small and figure.y.categories:
        return Pen(color, width=1.4, size=10.0, shape="tick", opacity=0.6)
    if layer.small:
        return Pen(color, size=4.5, shape="dot", opacity=0.6)
    return Pen(color, width=2.0 if layer.hollow else 0.0, size=8.8)


def pen_of_rule(rule: Rule) -> Pen:
    """Return how a line across is drawn; its label has its colour."""
    return Pen("ink", width=1.6) if rule.strong else Pen("muted", width=1.2, dash=(4, 3))


def rules_on(figure: Figure, axis: Literal["x", "y"]) -> list[Rule]:
    """Return the lines across at values of an axis, from the highest down."""
    rules = [rule for rule in figure.rules if rule.axis == axis]
    return sorted(rules, key=lambda rule: -rule.value)


def heading(axis: Axis, *, switch: bool) -> str:
    """Return the title of an axis, which says that it is logarithmic where no ``switch`` shows that."""
    if axis.log and not (switch and axis.switchable):
        return f"{axis.title}, log scale"
    return axis.title


def dashes_of(figure: Figure, layer: Layer) -> dict[str, tuple[int, ...]]:
    """Return what a layer tells apart by dashes, for the legend too; {} where it does not."""
    names = dict.fromkeys(figure.rows(layer)[layer.dash]) if layer.dash else {}
    return dict(zip(names, cycle(_DASHES), strict=False))


def part_colors(figure: Figure) -> dict[str, str]:
    """Return the colours of the parts of bars, which a legend explains where there are several."""
    return dict(zip(figure.parts, cycle(_PART_COLORS), strict=False))


def carriers(figure: Figure, layer: Layer) -> list[int]:
    """Return the rows of the table whose points on a line carry a marker: about eight a backend.

    Lines may lie on each other, so those of each backend begin elsewhere.
    """
    if layer.mark not in ("line", "step") or not pen_of(figure, layer).size:
        return []
    names = figure.backends()
    found: list[int] = []
    for name, rows in figure.rows(layer).groupby("backend", sort=False):
        if name in names:
            every = max(len(rows) // 8, 1)
            found += rows.index[every * names.index(str(name)) // len(names) :: every].tolist()
    return found


def row_height(figure: Figure) -> int:
    """Return how high each category of a figure is."""
    return 13 * len(figure.lanes) + 12 if figure.lanes else 26


def bar_share(figure: Figure) -> float:
    """Return how much of its row, or of its lane, a bar fills."""
    return 0.86 if figure.lanes else 0.62
