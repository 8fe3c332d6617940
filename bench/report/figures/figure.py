"""A figure as data: one tidy table, and which columns of it are drawn where. `static` and `interactive` render it.

Nothing here draws, and neither renderer knows what a figure is about.
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
        What it shows, with its unit: "seconds of training".
    log
        Whether it is logarithmic at first. Categories are not.
    switchable
        Whether the reader of the page can switch between linear and logarithmic.
    categories
        Names in their order, first at the top or left; () for numbers.
    zero
        Whether a linear axis begins at 0.
    limits, log_limits
        What a linear and what a logarithmic axis is cut to, None for all of the data.
    ticks
        Where its ticks are, () to choose.
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
    """One kind of mark, drawn of the rows of the table in which ``x`` and ``y`` are known.

    Attributes
    ----------
    mark
        "line": rows joined in the order of the table, with some of the backend's markers unless ``small``; "step": the
        same in steps, level after each; "front": the steps along the lower left of all points, whoever's they are;
        "point": the backend's marker, or a tick where ``small``; "bar": from ``x2`` to ``x``, along the x axis;
        "interval": from ``x`` to ``x2``, or from ``y`` to ``y2`` where that is given; "text": the label alone.
    x, y, x2, y2
        Columns.
    of
        What the column "kind" holds in the rows that are drawn, "" for all rows.
    detail
        Columns that, beside the backend, tell one line from another.
    small
        Whether it is drawn faint and small: single rounds behind their median, seeds behind the first.
    hollow
        Whether the marker is not filled: not a measured value but a bound of it.
    label
        A column of texts, "" for none: right of the figure, in the row of the mark. Only where y is of categories.
    dash
        A column whose values are told apart by dashes, which a legend explains; "" for full lines. Rows whose backend
        is "" belong to none and are drawn in ink.
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
    """A line across the figure at a value of one axis: the target, a baseline, a limit.

    Attributes
    ----------
    axis, value
        Where it lies.
    label
        Right of the figure; a line at a value of x has none.
    strong
        Whether it is drawn in full and in ink.
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
        The heading, what to see in it, and its content in words for those who cannot see it.
    subject
        The case, to stand beside the title where the figure stands alone.
    table
        Tidy: a row per mark. A column "backend" holds whose it is, by the name that is shown, and decides colour and
        marker; rows of the same backend carry the same name in every figure of a page.
    x, y
        The axes.
    layers
        Marks, drawn in this order.
    rules
        Lines across.
    lanes
        Where categories have lanes: the values of the column "lane", in their order, first at the top of a category.
    parts
        Where bars are stacked: the names in the column "part", in their order. Colour then stands for the part.
    values
        Columns that are shown of a mark that is pointed at, with their headings.
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
        ends = [end for end in (layer.x2, layer.y2) if end and layer.mark == "interval"]
        return table.dropna(subset=[layer.x, layer.y, *ends])

    def backends(self) -> list[str]:
        """Return the names of all backends in it, in the order of the table."""
        return [name for name in dict.fromkeys(self.table["backend"]) if name]


def cut(text: str, longest: int = 24) -> str:
    """Return text on one line and cut to length, for a label."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"
