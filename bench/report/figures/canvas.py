"""Draws marks, lines across and legends of a static figure on axes laid out by `static`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray
from pandas import DataFrame

from . import marks
from .figure import Figure, Layer
from .layout import apart, share_of
from .marks import Pen
from .palette import Look
from .style import INK, PAPER, THEME, plain
from .ticks import limits_of

PIXELS = 100  # pixels of the page per inch of a picture

_POINT = 72 / PIXELS  # points per pixel
_LABEL_SIZE = 8.0  # points
_LABEL_X = 1.012  # right of the axes, whose width is 1
_LANES = 0.8  # share of a category's height that its lanes fill
_NO_BACKEND = Look(INK, "o")
_SHAPES = {"tick": "|", "dot": "o"}


def draw_layer(axes: Axes, figure: Figure, layer: Layer, looks: Mapping[str, Look]) -> None:
    """Draw one layer."""
    rows = figure.rows(layer)
    if rows.empty:
        return
    pen = marks.pen_of(figure, layer)
    if layer.mark == "front":
        _draw_front(axes, layer, rows, pen)
    elif layer.mark == "bar":
        _draw_bars(axes, figure, layer, rows, looks)
    elif layer.mark == "interval":
        _draw_intervals(axes, figure, layer, rows, pen, looks)
    elif layer.mark == "point":
        for name, group in rows.groupby("backend", sort=False):
            style = _point_style(figure, layer, pen, looks.get(str(name), _NO_BACKEND))
            axes.plot(group[layer.x], _heights(figure, layer, group), **style)
    elif layer.mark in ("line", "step"):
        _draw_lines(axes, figure, layer, rows, pen, looks)
    if layer.label:
        _draw_labels(axes, figure, layer, rows)


def draw_rules(axes: Axes, figure: Figure, height: float) -> None:
    """Draw the lines across, and their labels without overlaps.

    Parameters
    ----------
    height
        Height of the axes in inches.
    """
    for rule in figure.rules:
        draw = axes.axhline if rule.axis == "y" else axes.axvline
        draw(rule.value, zorder=1.5, **_stroke(marks.pen_of_rule(rule)))
    rules = marks.rules_on(figure, "y")
    if not rules:
        return
    low, high = limits_of(figure, "y")
    shares = [share_of(rule.value, low, high, figure.y.log) for rule in rules]
    # Labels of lines above the axes stand at the top, with an arrow.
    positions = apart([min(share, 1.0) * height for share in shares], marks.GAP / PIXELS)
    for rule, share, position in zip(rules, shares, positions, strict=True):
        arrow = marks.ARROW if share > 1 else ""
        axes.text(
            _LABEL_X,
            position / height,
            arrow + plain(rule.label, marks.LONGEST),
            transform=axes.transAxes,
            va="center",
            fontsize=_LABEL_SIZE,
            color=THEME[marks.pen_of_rule(rule).color],
        )


def legend_items(figure: Figure, looks: Mapping[str, Look]) -> list[tuple[str, dict[str, Any]]]:
    """Return the texts of a legend, each with the style of a line of three points beside it.

    A legend explains backends, unless they are the categories, parts of bars, and dashes.
    """
    items: list[tuple[str, dict[str, Any]]] = []
    if not figure.y.categories:
        has_lines = any(layer.mark in ("line", "step") for layer in figure.layers)
        for name, look in looks.items():
            style: dict[str, Any] = {"color": look.color, "lw": 1.4}
            style["ls"] = "-" if has_lines else ""
            style["markevery"] = [1]  # on the middle one of the three points
            items.append((plain(name, 22), style | _marker(look, 7.6)))
    if len(figure.parts) > 1:
        for part, color in marks.part_colors(figure).items():
            style = {"lw": 7, "solid_capstyle": "butt", "color": THEME[color]}
            items.append((part, style))
    for layer in figure.layers:
        for name, dash in marks.dashes_of(figure, layer).items():
            items.append((name, _stroke(Pen("ink", width=1.4, dash=dash))))
    return items


def _heights(figure: Figure, layer: Layer, rows: DataFrame) -> NDArray[np.float64]:
    """Return the y coordinates of rows, shape (n_rows,).

    Categories are at 0, 1, 2 and so on, and lanes are spread evenly around their category.
    """
    if not figure.y.categories:
        return rows[layer.y].to_numpy()
    category = {name: float(place) for place, name in enumerate(figure.y.categories)}
    heights = np.array([category[name] for name in rows[layer.y]])
    if figure.lanes:
        middle = (len(figure.lanes) - 1) / 2
        lane = {name: place - middle for place, name in enumerate(figure.lanes)}
        offsets = np.array([lane[name] for name in rows["lane"]])
        heights += _LANES / len(figure.lanes) * offsets
    return heights


def _stroke(pen: Pen, look: Look = _NO_BACKEND) -> dict[str, Any]:
    """Return the style of a line."""
    return {
        "color": THEME.get(pen.color, look.color),
        "lw": pen.width * _POINT,
        "alpha": pen.opacity,
        "ls": (0, pen.dash) if pen.dash else "-",
    }


def _marker(look: Look, size: float) -> dict[str, Any]:
    """Return the style of a marker with a size in pixels."""
    enlarged = size * _POINT * marks.ROOM.get(look.marker, 1.0)
    return {"marker": look.marker, "markersize": enlarged, "mew": 0}


def _point_style(figure: Figure, layer: Layer, pen: Pen, look: Look) -> dict[str, Any]:
    shown = Look(look.color, _SHAPES.get(pen.shape, look.marker))
    style = {"color": shown.color, "alpha": pen.opacity, "ls": "", **_marker(shown, pen.size)}
    style["mew"] = pen.width * _POINT
    # A marker at the end of an axis with categories may extend beyond it. On numeric axes those
    # outside of the limits must be cut off.
    style["clip_on"] = not figure.y.categories
    style["zorder"] = 2 if layer.small else 3
    if layer.hollow:
        style |= {"mfc": PAPER, "zorder": 4}
    return style


def _draw_front(axes: Axes, layer: Layer, rows: DataFrame, pen: Pen) -> None:
    """Draw the running minimum of y over the rows sorted by x."""
    rows = rows.sort_values([layer.x, layer.y])
    best = rows[layer.y].cummin()
    axes.plot(rows[layer.x], best, zorder=1.8, drawstyle="steps-post", **_stroke(pen))


def _draw_lines(
    axes: Axes,
    figure: Figure,
    layer: Layer,
    rows: DataFrame,
    pen: Pen,
    looks: Mapping[str, Look],
) -> None:
    dashes = marks.dashes_of(figure, layer)
    columns = ["backend", *layer.detail]
    if layer.dash:
        columns.append(layer.dash)
    for names, group in rows.groupby(columns, sort=False):
        style = _stroke(pen, looks.get(str(names[0]), _NO_BACKEND))
        if layer.mark == "step":
            style["drawstyle"] = "steps-post"
        if dashes:
            style["ls"] = (0, dashes[str(names[-1])])
        axes.plot(group[layer.x].to_numpy(), group[layer.y].to_numpy(), **style)
    # Markers are drawn after all lines, so that no line hides them.
    marked = figure.table.loc[marks.carriers(figure, layer)]
    for name, group in marked.groupby("backend", sort=False):
        look = looks[str(name)]
        style = {"color": look.color, "ls": "", **_marker(look, pen.size)}
        axes.plot(group[layer.x], group[layer.y], **style)


def _draw_bars(
    axes: Axes, figure: Figure, layer: Layer, rows: DataFrame, looks: Mapping[str, Look]
) -> None:
    parts = marks.part_colors(figure)
    if parts:
        # Bars of the same look one after the other make a smaller picture in a page.
        rows = rows.sort_values("part", kind="stable")
        colors = [THEME[parts[part]] for part in rows["part"]]
    else:
        colors = [looks[name].color for name in rows["backend"]]
    half = marks.bar_share(figure) / 2  # of the height
    if figure.lanes:
        half *= _LANES / len(figure.lanes)
    boxes = []
    heights = _heights(figure, layer, rows)
    for y, start, end in zip(heights, rows[layer.x2], rows[layer.x], strict=True):
        boxes.append([(start, y - half), (end, y - half), (end, y + half), (start, y + half)])
    outlined = rows.index.isin(marks.outlined(figure, layer))
    style: dict[str, Any] = {"edgecolors": [PAPER if has else "none" for has in outlined]}
    style["linewidths"] = marks.OUTLINE * _POINT
    # One collection is drawn much faster than a patch per bar, as `barh` makes them.
    axes.add_collection(PolyCollection(boxes, facecolors=colors, zorder=2, **style))


def _draw_intervals(
    axes: Axes,
    figure: Figure,
    layer: Layer,
    rows: DataFrame,
    pen: Pen,
    looks: Mapping[str, Look],
) -> None:
    # The pen's colour is "" if each backend has its own.
    colors = [THEME.get(pen.color) or looks[name].color for name in rows["backend"]]
    style: dict[str, Any] = {"colors": colors, "alpha": pen.opacity, "zorder": 2.5}
    style["lw"] = pen.width * _POINT
    if layer.y2:
        axes.vlines(rows[layer.x], rows[layer.y], rows[layer.y2], **style)
    else:
        axes.hlines(_heights(figure, layer, rows), rows[layer.x], rows[layer.x2], **style)


def _draw_labels(axes: Axes, figure: Figure, layer: Layer, rows: DataFrame) -> None:
    """Draw labels right of the axes, at the heights of their rows."""
    position = blended_transform_factory(axes.transAxes, axes.transData)
    for y, label in zip(_heights(figure, layer, rows), rows[layer.label], strict=True):
        text = plain(label, marks.LONGEST)
        axes.text(_LABEL_X, y, text, transform=position, va="center", fontsize=_LABEL_SIZE)
