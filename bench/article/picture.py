"""Rendering the article's figure with matplotlib, as files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.report.figures.style import MUTED, WIDTH, file_of, our_settings, plain

_DPI = 200


@dataclass(frozen=True)
class Picture:
    """A rendered figure, its caption and its alternative text."""

    stem: str
    caption: str
    alt: str
    svg: bytes
    png: bytes


def render(
    name: str, draw: Callable[[Axes], None], height: float, title: str, caption: str, alt: str
) -> Picture:
    """Return a figure with one pair of axes, ``height`` inches high, drawn by ``draw``."""
    with our_settings():
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        figure.suptitle(plain(title, 76), x=0.01, ha="left", fontsize=8, color=MUTED)
        draw(figure.add_subplot())
        svg, png = (file_of(figure, kind, _DPI) for kind in ("svg", "png"))
    return Picture(name, caption, alt, svg, png)


def legend(axes: Axes, items: list[tuple[str, Line2D]]) -> None:
    """Put a legend under the axes, in at most four columns."""
    if not items or not axes.figure:
        return
    # In points: about 5.4 per letter, and 34 for the line and the gap.
    column_width = max(len(label) for label, _ in items) * 5.4 + 34
    columns = max(1, min(4, int(WIDTH * 72 / column_width)))
    # Matplotlib leaves out labels that start with "_".
    labels = [f" {label}" if label.startswith("_") else label for label, _ in items]
    keys = [key for _, key in items]
    axes.figure.legend(keys, labels, loc="outside lower center", ncols=columns)
