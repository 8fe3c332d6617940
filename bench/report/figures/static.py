"""Figures as PNG, SVG and PDF files, drawn with matplotlib; the same figure gives the same bytes.

All positions are computed here and in `layout`: matplotlib's own layout takes longer than the
drawing.
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
from .style import INK, MUTED, TITLES, file_of, our_settings, plain
from .ticks import limits_of, ticks_of

WIDTH = 6.4  # inches
DPI = 160

# Font sizes in points.
_SMALL = 8.0
_TICK = 8.5

# Inches.
_LINE = 0.17  # height of a line of the legend
_SYMBOL = 0.3  # width of a symbol in the legend
_COLUMN_GAP = 0.55  # of the legend, including the symbol
_MARGIN = 0.1


def draw_static(
    figure: Figure,
    formats: Sequence[str] = ("svg", "png"),
    looks: Mapping[str, Look] | None = None,
) -> dict[str, bytes]:
    """Draw a figure; return the bytes of its file in each format."""
    with our_settings():
        canvas = _draw(figure, looks_for(figure.backends(), looks))
        return {format_: file_of(canvas, format_, DPI) for format_ in formats}


def _draw(figure: Figure, looks: Mapping[str, Look]) -> Canvas:
    """Draw a figure on a canvas of fixed width that is as high as necessary."""
    rows = [plain(name) for name in figure.y.categories]
    left_x, right_x = limits_of(figure, "x")
    if rows:
        limits_y = (len(rows) - 0.5, -0.5)  # the first category at the top
        ticks_y: list[float] = []
        labels = rows
        height = row_height(figure) * len(rows) / PIXELS
        top = 0.5
    else:
        limits_y = limits_of(figure, "y")
        ticks_y = ticks_of(figure.y, *limits_y)
        labels = [tick_text(tick) for tick in ticks_y]
        height = HEIGHT / PIXELS
        top = 0.7  # with room for the title of the y axis
    # Labels at the sides and the legend determine how much room is left for the axes.
    items = legend_items(figure, looks)
    n_columns = _legend_columns(items)
    bottom = 0.52
    if items:
        bottom += 0.05 + _LINE * _ceil_div(len(items), n_columns)
    left, right = widest(labels, _TICK) + 0.28, _right(figure)
    total = top + height + bottom
    width = WIDTH - left - right
    canvas = Canvas(figsize=(WIDTH, total))
    # Positions on the canvas are shares of its width and height.
    axes = canvas.add_axes((left / WIDTH, bottom / total, width / WIDTH, height / total))
    axes.set(xlim=(left_x, right_x), ylim=limits_y)
    axes.set(xscale=_scale(figure.x), yscale=_scale(figure.y))
    _set_ticks(axes, "x", figure.x, _fitting_ticks(figure.x, left_x, right_x, width))
    _set_ticks(axes, "y", figure.y, ticks_y, rows)
    _draw_titles(canvas, figure, axes, height)
    draw_rules(axes, figure, height)
    for layer in figure.layers:
        draw_layer(axes, figure, layer, looks)
    if items:
        _draw_legend(canvas, items, n_columns)
    return canvas


def _draw_titles(canvas: Canvas, figure: Figure, axes: Axes, height: float) -> None:
    total = canvas.get_figheight()
    x = _MARGIN / WIDTH
    bold: dict[str, Any] = {"fontsize": 10, "fontweight": "bold", "va": "top"}
    canvas.text(x, 1 - _MARGIN / total, plain(figure.title, 60), gid=TITLES[0], **bold)
    muted: dict[str, Any] = {"fontsize": _SMALL, "color": MUTED, "va": "top"}
    canvas.text(x, 1 - 0.3 / total, plain(figure.subject, 88), gid=TITLES[1], **muted)
    style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": _TICK, "color": MUTED}
    below = heading(figure.x, switch=False)
    axes.text(0.5, -0.27 / height, below, ha="center", va="top", **style)
    if not figure.y.categories:
        above = heading(figure.y, switch=False)
        axes.text(0.0, 1 + 0.06 / height, above, va="bottom", **style)


def _legend_columns(items: Sequence[tuple[str, Any]]) -> int:
    """Return how many columns of a legend fit beside each other, at most five."""
    column = widest([text for text, _ in items], _SMALL) + _COLUMN_GAP
    return max(1, min(5, int((WIDTH - 2 * _MARGIN) / column)))


def _draw_legend(canvas: Canvas, items: Sequence[tuple[str, Any]], n_columns: int) -> None:
    """Draw a legend below the axes, column by column.

    Matplotlib's own legend takes as long as the rest of the figure.
    """
    total = canvas.get_figheight()
    n_lines = _ceil_div(len(items), n_columns)
    n_filled = _ceil_div(len(items), n_lines)  # fewer columns may be enough for that many lines
    column = widest([text for text, _ in items], _SMALL) + _COLUMN_GAP
    left = (WIDTH - column * n_filled) / 2 + _MARGIN
    for place, (text, style) in enumerate(items):
        x = left + column * (place // n_lines)
        y = _MARGIN + _LINE * (n_lines - 1 - place % n_lines) + _LINE / 2
        # Three points: the marker of a line is on the middle one.
        xs = [x / WIDTH, (x + _SYMBOL / 2) / WIDTH, (x + _SYMBOL) / WIDTH]
        canvas.add_artist(Line2D(xs, [y / total] * 3, **style))
        canvas.text((x + _SYMBOL + 0.08) / WIDTH, y / total, text, va="center", fontsize=_SMALL)


def _ceil_div(number: int, divisor: int) -> int:
    """Return the quotient, rounded up."""
    return -(-number // divisor)


def _set_ticks(
    axes: Axes,
    name: Literal["x", "y"],
    axis: Axis,
    ticks: Sequence[float],
    rows: Sequence[str] = (),
) -> None:
    """Put ticks at the given positions only, or one at each row."""
    side = axes.xaxis if name == "x" else axes.yaxis
    # With fixed positions matplotlib need not search for ticks, which is slow, and both renderers
    # have the same.
    side.set_major_locator(FixedLocator(list(ticks) or list(range(len(rows)))))
    side.set_major_formatter(FixedFormatter([tick_text(tick) for tick in ticks] or list(rows)))
    side.set_minor_locator(NullLocator())
    length = 0 if axis.categories or name == "y" else 3
    side.set_tick_params(labelsize=_TICK, labelcolor=INK, length=length)
    if axis.categories:
        axes.grid(axis=name, visible=False)
    if name == "y":
        axes.spines["left"].set_visible(False)


def _fitting_ticks(axis: Axis, low: float, high: float, width: float) -> list[float]:
    """Return as many ticks as have room for their labels; the width is in inches."""
    ticks: list[float] = []
    for most in (9, 7, 5, 4, 3):
        ticks = ticks_of(axis, low, high, most)
        if sum(width_of(tick_text(tick), _TICK) + 0.15 for tick in ticks) < width:
            break
    return ticks


def _right(figure: Figure) -> float:
    """Return the room that labels need right of the axes, in inches."""
    labels = [ARROW + plain(rule.label, LONGEST) for rule in rules_on(figure, "y")]
    for layer in figure.layers:
        if layer.label:
            labels += [plain(label, LONGEST) for label in figure.rows(layer)[layer.label]]
    return widest(labels, _SMALL) + 0.2


def _scale(axis: Axis) -> str:
    return "log" if axis.log else "linear"
