"""A figure as data: a tidy table, and a description of how its columns are drawn.

`static` and `interactive` draw it without knowing what it is about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd


@dataclass(frozen=True)
class Axis:
    """One axis of a figure.

    Attributes
    ----------
    title
        The quantity, with its unit: "seconds of training".
    log
        Whether the axis is logarithmic at first; never with categories.
    switchable
        Whether the reader of the page can switch between linear and logarithmic.
    categories
        Names in their order, the first at the top or left; () for numbers.
    zero
        Whether a linear axis begins at 0.
    limits, log_limits
        Limits of the linear and of the logarithmic axis; None to show all of the data.
    ticks
        Positions of the ticks; () to choose them automatically.
    """

    title: str
    log: bool = False
    switchable: bool = False
    categories: tuple[str, ...] = ()
    zero: bool = False
    limits: tuple[float, float] | None = None
    log_limits: tuple[float, float] | None = None
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Layer:
    """Marks of one type, one per row of the table that has values of ``x`` and ``y``.

    Attributes
    ----------
    mark
        - "line": a line through the rows in the order of the table, with several of the
          backend's markers on it unless ``small``.
        - "step": the same in steps, horizontal after each row.
        - "front": steps along the lower left of all points of all backends.
        - "point": the backend's marker, or a tick if ``small``.
        - "bar": a bar along the x axis, from ``x2`` to ``x``.
        - "interval": a line from ``x`` to ``x2``, or from ``y`` to ``y2`` if that is given.
        - "text": only the label.
    x, y, x2, y2
        Names of columns.
    of
        Only rows with this value in the column "kind" are drawn; "" for all rows.
    detail
        Columns that, in addition to the backend, distinguish lines from each other.
    small
        Whether marks are faint and small: single rounds behind their median, or further seeds
        behind the first.
    hollow
        Whether markers are not filled: the value was not measured but is a bound.
    label
        A column of texts shown right of the figure, in the row of the mark; "" for none. Only
        with categories on the y axis.
    dash
        A column whose values are distinguished by dashes, with a legend; "" for solid lines.
        Rows whose backend is "" belong to no backend and are drawn in the colour of text.
    """

    mark: Literal["line", "step", "front", "point", "bar", "interval", "text"]
    x: str
    y: str
    x2: str = ""
    y2: str = ""
    of: str = ""
    detail: tuple[str, ...] = ()
    small: bool = False
    hollow: bool = False
    label: str = ""
    dash: str = ""


@dataclass(frozen=True)
class Rule:
    """A line across the figure at one value of an axis: a target, a baseline, a limit.

    Attributes
    ----------
    axis, value
        Its position.
    label
        Shown right of the figure; lines at values of x have none.
    strong
        Whether it is solid and thick, instead of thin and dashed.
    """

    axis: Literal["x", "y"]
    value: float
    label: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes
    ----------
    stem
        Name of its files: "convergence".
    title, caption, alt
        The heading, an explanation, and the contents in words for readers who cannot see it.
    subject
        The case, shown below the title when the figure stands alone.
    table
        Tidy, with one row per mark. The column "backend" determines colour and marker; its names
        are the same in all figures of a page.
    x, y
        The axes.
    layers
        Marks, in the order in which they are drawn.
    rules
        Lines across the figure.
    lanes
        If each category is split into lanes: the values of the column "lane", the first at the
        top of a category.
    parts
        If bars are stacked: the values of the column "part", in order. Colours then denote parts
        instead of backends.
    values
        Columns shown when the reader points at a mark, with their headings.
    """

    stem: str
    title: str
    caption: str
    alt: str
    table: pd.DataFrame
    x: Axis
    y: Axis
    layers: tuple[Layer, ...]
    subject: str = ""
    rules: tuple[Rule, ...] = ()
    lanes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    values: dict[str, str] = field(default_factory=dict)

    def rows(self, layer: Layer) -> pd.DataFrame:
        """Return the rows of the table that a layer draws."""
        table = self.table[self.table["kind"] == layer.of] if layer.of else self.table
        needed = [layer.x, layer.y]
        if layer.mark == "interval":
            needed += [column for column in (layer.x2, layer.y2) if column]
        return table.dropna(subset=needed)

    def backends(self) -> list[str]:
        """Return the names of all backends, in the order of the table."""
        return [name for name in dict.fromkeys(self.table["backend"]) if name]


def cut(text: str, longest: int = 24) -> str:
    """Return a text on one line, cut to a length for a label."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
