"""Figures as files: PNG, SVG and PDF by matplotlib, the same bytes every time.

Places are computed in `layout`, as matplotlib's own layout takes longer than the drawing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from .canvas import PIXELS, draw_layer, draw_rules, legend_items
from .figure import Axis, Figure
from .layout import tick_text, widest, width_of
from .marks import ARROW, HEIGHT, LONGEST, heading, row_height, rules_on
from .palette import Look, looks_for
from .style import INK, MUTED, file_of, our_settings, plain
from .ticks import limits_of, ticks_of

WIDTH = 6.4  # inches
DPI = 160
_SMALL = 8.0  # points, of labels
_LINE = 0.17  # inches, of the legend


def draw_static(
    figure: Figure, formats: Sequence[str] = ("svg", "png"), looks: Mapping[str, Look] | None = None
) -> dict[str, bytes]:
    """Draw a figure; return the bytes of its file in each format."""
    with our_settings():
        canvas = _draw(figure, looks_for(figure.backends(), looks))
        return {kind: file_of(canvas, kind, DPI) for kind in formats}


def _draw(figure: Figure, looks: Mapping[str, Look]) -> Canvas:
    """Draw a figure on a canvas that is as high as it needs."""
    rows = [plain(name) for name in figure.y.categories]
    (left_x, right_x) = limits_of(figure, "x")
    limits_y = (len(rows) - 0.5, -0.5) if rows else limits_of(figure, "y")
    ticks_y = [] if rows else ticks_of(figure.y, *limits_y)
    labels = rows or [tick_text(tick) for tick in ticks_y]
    items = legend_items(figure, looks)
    columns = max(1, min(5, int((WIDTH - 0.2) / (widest([text for text, _ in items], _SMALL) + 0.55))))
    height = (row_height(figure) * len(rows) if rows else HEIGHT) / PIXELS
    top = 0.5 if rows else 0.7  # with room for the title of the y axis
    bottom = 0.52 + (_LINE * len(items[::columns]) + 0.05 if items else 0.0)
    left, right = widest(labels, 8.5) + 0.28, _right(figure)
    total = top + height + bottom
    canvas = Canvas(figsize=(WIDTH, total))
    axes = canvas.add_axes((left / WIDTH, bottom / total, 1 - (left + right) / WIDTH, height / total))
    axes.set(xlim=(left_x, right_x), ylim=limits_y, xscale=_scale(figure.x), yscale=_scale(figure.y))
    _ticks(axes, "x", figure.x, _fitting(figure.x, left_x, right_x, WIDTH - left - right))
    _ticks(axes, "y", figure.y, ticks_y, rows)
    _titles(canvas, figure, axes, height)
    draw_rules(axes, figure, height)
    for layer in figure.layers:
        draw_layer(axes, figure, layer, looks)
    _legend(canvas, items, columns)
    return canvas


def _titles(canvas: Canvas, figure: Figure, axes: Axes, height: float) -> None:
    total = canvas.get_figheight()
    canvas.text(0.1 / WIDTH, 1 - 0.1 / total, plain(figure.title, 60), va="top", fontsize=10, fontweight="bold")
    subject = plain(figure.subject, 88)
    canvas.text(0.1 / WIDTH, 1 - 0.3 / total, subject, va="top", fontsize=_SMALL, color=MUTED)
    how: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 8.5, "color": MUTED}
    below = heading(figure.x, switch=False)
    axes.text(0.5, -0.27 / height, below, ha="center", va="top", **how)
    if not figure.y.categories:
        axes.text(0.0, 1 + 0.06 / height, heading(figure.y, switch=False), va="bottom", **how)


def _legend(canvas: Canvas, items: Sequence[tuple[str, Any]], columns: int) -> None:
    """Put a legend under the axes, column by column; matplotlib's own takes as long as the whole figure."""
    total, lines = canvas.get_figheight(), -(-len(items) // columns)
    step = widest([text for text, _ in items], _SMALL) + 0.55
    left = (WIDTH - step * -(-len(items) // lines) if items else 0) / 2 + 0.1
    for at, (text, look) in enumerate(items):
        x, y = left + step * (at // lines), 0.1 + _LINE * (lines - 1 - at % lines) + _LINE / 2
        canvas.add_artist(Line2D([x / WIDTH, (x + 0.15) / WIDTH, (x + 0.3) / WIDTH], [y / total] * 3, **look))
        canvas.text((x + 0.38) / WIDTH, y / total, text, va="center", fontsize=_SMALL)


def _ticks(axes: Axes, name: Literal["x", "y"], axis: Axis, ticks: Sequence[float], rows: Sequence[str] = ()) -> None:
    """Put ticks where they were computed to be, and nowhere else."""
    side = axes.xaxis if name == "x" else axes.yaxis
    side.set_major_locator(FixedLocator(list(ticks) or list(range(len(rows)))))
    side.set_major_formatter(FixedFormatter([tick_text(tick) for tick in ticks] or list(rows)))
    side.set_minor_locator(NullLocator())
    side.set_tick_params(labelsize=8.5, labelcolor=INK, length=0 if axis.categories or name == "y" else 3)
    if axis.categories:
        axes.grid(axis=name, visible=False)
    if name == "y":
        axes.spines["left"].set_visible(False)


def _fitting(axis: Axis, low: float, high: float, width: float) -> list[float]:
    """Return ticks whose labels have room beside each other."""
    for most in (9, 7, 5, 4, 3):
        ticks = ticks_of(axis, low, high, most)
        if sum(width_of(tick_text(tick), 8.5) + 0.15 for tick in ticks) < width:
            break
    return ticks


def _right(figure: Figure) -> float:
    """Return the room that labels right of the axes need, in inches."""
    labels = [ARROW + plain(rule.label, LONGEST) for rule in rules_on(figure, "y")]
    for layer in figure.layers:
        if layer.label:
            labels += [plain(label, LONGEST) for label in figure.rows(layer)[layer.label]]
    return widest(labels, _SMALL) + 0.2


def _scale(axis: Axis) -> str:
    return "log" if axis.log else "linear"
