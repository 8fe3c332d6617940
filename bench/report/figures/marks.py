"""The look of marks and the height of rows, for both renderers. Sizes are in pixels of the page.

Colours are names in the theme, "ink" or "part-1"; each renderer has its own values for them. None
of them is the colour of a backend.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Literal

from .figure import Axis, Figure, Layer, Rule

HEIGHT = 300  # of numeric axes
GAP = 13  # between the labels of rules
ARROW = "\u2191 "  # before the label of a rule above the upper limit of the axis
LONGEST = 40  # characters of a label right of the figure

# Factors by which these markers are enlarged, as they cover less area than a circle.
ROOM = {"*": 1.45, "p": 1.15, "h": 1.15, "P": 1.15, "X": 1.15, "d": 1.25}

_PARTS = ("part-1", "part-2", "part-3", "part-4")
OUTLINE = 1.0  # width of the outline of bars

_NARROW = 0.01  # share of the longest bar below which a bar has no outline, which would cover it
_DASHES = ((2, 2), (7, 3), (7, 3, 2, 3), (1, 4), (12, 3))  # lengths of dashes and gaps


@dataclass(frozen=True)
class Pen:
    """How the marks of a layer, or a rule, are drawn.

    Attributes
    ----------
    color
        A name in the theme; "" for the colour of the backend.
    width
        Width of lines, of ticks, and of the outline of hollow markers.
    size
        Diameter of markers, or length of ticks; 0 for lines without markers.
    shape
        The backend's marker, or a tick or a dot for all backends.
    opacity
        From 0, invisible, to 1, opaque.
    dash
        Lengths of dashes and gaps, () for a solid line.
    """

    color: str = ""
    width: float = 0.0
    size: float = 0.0
    shape: Literal["marker", "tick", "dot"] = "marker"
    opacity: float = 1.0
    dash: tuple[int, ...] = ()


def pen_of(figure: Figure, layer: Layer) -> Pen:
    """Return how the marks of a layer are drawn. Marks without a backend have the text's colour."""
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
    """Return how a line across the figure is drawn; its label has the same colour."""
    # Not muted, which is nearly the grey of backends.
    return Pen("ink", width=1.6) if rule.strong else Pen("ink", width=0.9, dash=(4, 3))


def rules_on(figure: Figure, axis: Literal["x", "y"]) -> list[Rule]:
    """Return the lines across at values of an axis, the highest first."""
    rules = [rule for rule in figure.rules if rule.axis == axis]
    return sorted(rules, key=lambda rule: -rule.value)


def heading(axis: Axis, *, switch: bool) -> str:
    """Return the title of an axis.

    It states that the axis is logarithmic unless that is visible.

    Parameters
    ----------
    switch
        Whether switchable axes have a button that shows it.
    """
    if axis.log and not (switch and axis.switchable):
        return f"{axis.title}, log scale"
    return axis.title


def dashes_of(figure: Figure, layer: Layer) -> dict[str, tuple[int, ...]]:
    """Return the dashes of each value in a layer's column ``dash``; {} without such a column."""
    names = dict.fromkeys(figure.rows(layer)[layer.dash]) if layer.dash else {}
    return dict(zip(names, cycle(_DASHES), strict=False))


def part_colors(figure: Figure) -> dict[str, str]:
    """Return the colours of the parts of stacked bars, as names in the theme."""
    return dict(zip(figure.parts, cycle(_PARTS), strict=False))


def carriers(figure: Figure, layer: Layer) -> list[int]:
    """Return the indices of the rows that have a marker on a line: about eight per backend."""
    if layer.mark not in ("line", "step") or not pen_of(figure, layer).size:
        return []
    names = figure.backends()
    found: list[int] = []
    for name, rows in figure.rows(layer).groupby("backend", sort=False):
        if name in names:
            every = max(len(rows) // 8, 1)
            # Lines may coincide. Each backend's markers begin at another row, so that none hides
            # those of another.
            first = every * names.index(str(name)) // len(names)
            found += rows.index[first::every].tolist()
    return found


def outlined(figure: Figure, layer: Layer) -> list[int]:
    """Return the indices of the rows whose bars have an outline in the colour of the paper.

    It separates the parts of stacked bars.
    """
    if layer.mark != "bar" or not figure.parts:
        return []
    rows = figure.rows(layer)
    widths = rows[layer.x] - rows[layer.x2]
    indices: list[int] = rows.index[widths >= _NARROW * rows[layer.x].max()].tolist()
    return indices


def row_height(figure: Figure) -> int:
    """Return the height of each category of a figure."""
    return 13 * len(figure.lanes) + 12 if figure.lanes else 26


def bar_share(figure: Figure) -> float:
    """Return the share of its row, or of its lane, that a bar fills."""
    return 0.86 if figure.lanes else 0.62
