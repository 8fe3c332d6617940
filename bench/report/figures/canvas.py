"""Marks, lines across and legends of a static figure, on axes that `static` has laid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.transforms import blended_transform_factory
from pandas import DataFrame

from . import marks
from .figure import Figure, Layer
from .layout import apart, share_of
from .marks import Pen
from .palette import Look
from .style import INK, PAPER, THEME, plain
from .ticks import limits_of

PIXELS = 100  # of the page, in an inch of a picture
_POINT = 72 / PIXELS  # points in a pixel
_LABEL = 8.0  # points
_NOBODY = Look(INK, "o")
_SHAPES = {"tick": "|", "dot": "o"}


def draw_layer(axes: Axes, figure: Figure, layer: Layer, looks: Mapping[str, Look]) -> None:
    """Draw one layer."""
    rows = figure.rows(layer)
    if rows.empty:
        return
    pen = marks.pen_of(figure, layer)
    if layer.mark == "front":
        rows = rows.sort_values([layer.x, layer.y])
        axes.plot(rows[layer.x], rows[layer.y].cummin(), zorder=1.8, drawstyle="steps-post", **_stroke(pen))
    elif layer.mark == "bar":
        _bars(axes, figure, layer, rows, looks)
    elif layer.mark == "interval":
        _intervals(axes, figure, layer, rows, pen, looks)
    elif layer.mark == "point":
        for name, group in rows.groupby("backend", sort=False):
            look = looks.get(str(name), _NOBODY)
            axes.plot(group[layer.x], _heights(figure, layer, group), **_points(figure, layer, pen, look))
    elif layer.mark != "text":
        _lines(axes, figure, layer, rows, pen, looks)
    if layer.label:
        where = blended_transform_factory(axes.transAxes, axes.transData)
        for y, label in zip(_heights(figure, layer, rows), rows[layer.label], strict=True):
            axes.text(1.012, y, plain(label, marks.LONGEST), transform=where, va="center", fontsize=_LABEL)


def draw_rules(axes: Axes, figure: Figure, height: float) -> None:
    """Draw the lines across axes of a height in inches, and their labels, none of which lies on another."""
    for rule in figure.rules:
        draw = axes.axhline if rule.axis == "y" else axes.axvline
        draw(rule.value, zorder=1.5, **_stroke(marks.pen_of_rule(rule)))
    across = marks.rules_on(figure, "y")
    if not across:
        return
    low, high = limits_of(figure, "y")
    shares = [share_of(rule.value, low, high, figure.y.log) for rule in across]
    places = apart([min(share, 1.0) * height for share in shares], marks.GAP / PIXELS)
    for rule, share, place in zip(across, shares, places, strict=True):
        text = (marks.ARROW if share > 1 else "") + plain(rule.label, marks.LONGEST)
        color = THEME[marks.pen_of_rule(rule).color]
        axes.text(1.012, place / height, text, transform=axes.transAxes, va="center", fontsize=_LABEL, color=color)


def legend_items(figure: Figure, looks: Mapping[str, Look]) -> list[tuple[str, dict[str, Any]]]:
    """Return what a legend has to explain, and what a line of three points that stands for it looks like.

    These are backends where they are no rows, parts of bars, and dashes.
    """
    items: list[tuple[str, dict[str, Any]]] = []
    if not figure.y.categories:
        lines = any(layer.mark in ("line", "step") for layer in figure.layers)
        for name, look in looks.items():
            how = {"color": look.color, "markevery": [1], "ls": "-" if lines else "", "lw": 1.4}
            items.append((plain(name, 22), how | _marker(look, 7.6)))
    bar = {"lw": 7, "solid_capstyle": "butt"}
    if len(figure.parts) > 1:
        items += [(part, {**bar, "color": color}) for part, color in marks.part_colors(figure).items()]
    for layer in figure.layers:
        for name, dash in marks.dashes_of(figure, layer).items():
            items.append((name, _stroke(Pen("ink", width=1.4, dash=dash))))
    return items


def _heights(figure: Figure, layer: Layer, rows: DataFrame) -> Any:
    """Return where rows stand on the y axis: numbers, or the places of categories and of their lanes."""
    if not figure.y.categories:
        return rows[layer.y].to_numpy()
    place = {name: float(at) for at, name in enumerate(figure.y.categories)}
    heights = np.array([place[name] for name in rows[layer.y]])
    if figure.lanes:
        lane = {name: at - (len(figure.lanes) - 1) / 2 for at, name in enumerate(figure.lanes)}
        heights += 0.8 / len(figure.lanes) * np.array([lane[name] for name in rows["lane"]])
    return heights


def _stroke(pen: Pen, look: Look = _NOBODY) -> dict[str, Any]:
    """Return how matplotlib draws a line."""
    how: dict[str, Any] = {"color": THEME.get(pen.color, look.color), "lw": pen.width * _POINT}
    return how | {"alpha": pen.opacity, "ls": (0, pen.dash) if pen.dash else "-"}


def _marker(look: Look, size: float) -> dict[str, Any]:
    return {"marker": look.marker, "markersize": size * _POINT * marks.ROOM.get(look.marker, 1.0), "mew": 0}


def _lines(axes: Axes, figure: Figure, layer: Layer, rows: DataFrame, pen: Pen, looks: Mapping[str, Look]) -> None:
    dashes = marks.dashes_of(figure, layer)
    columns = ["backend", *layer.detail, *filter(None, [layer.dash])]
    for names, group in rows.groupby(columns, sort=False):
        how = _stroke(pen, looks.get(str(names[0]), _NOBODY))
        if layer.mark == "step":
            how["drawstyle"] = "steps-post"
        if dashes:
            how["ls"] = (0, dashes[str(names[-1])])
        axes.plot(group[layer.x].to_numpy(), group[layer.y].to_numpy(), **how)
    carrying = figure.table.loc[marks.carriers(figure, layer)]
    for name, group in carrying.groupby("backend", sort=False):
        look = looks[str(name)]
        axes.plot(group[layer.x], group[layer.y], color=look.color, ls="", **_marker(look, pen.size))


def _points(figure: Figure, layer: Layer, pen: Pen, look: Look) -> dict[str, Any]:
    shown = Look(look.color, _SHAPES.get(pen.shape, look.marker))
    how = {"color": shown.color, "alpha": pen.opacity, "ls": "", **_marker(shown, pen.size)}
    how |= {"mew": pen.width * _POINT, "clip_on": not figure.y.categories, "zorder": 2 if layer.small else 3}
    return how | ({"mfc": PAPER, "zorder": 4} if layer.hollow else {})


def _bars(axes: Axes, figure: Figure, layer: Layer, rows: DataFrame, looks: Mapping[str, Look]) -> None:
    parts = marks.part_colors(figure)
    colors = [parts[part] for part in rows["part"]] if parts else [looks[name].color for name in rows["backend"]]
    half = marks.bar_share(figure) / 2 * (0.8 / len(figure.lanes) if figure.lanes else 1.0)
    ends = zip(_heights(figure, layer, rows), rows[layer.x2], rows[layer.x], strict=True)
    boxes = [[(start, y - half), (end, y - half), (end, y + half), (start, y + half)] for y, start, end in ends]
    axes.add_collection(PolyCollection(boxes, facecolors=colors, edgecolors="none", zorder=2))  # far sooner than barh


def _intervals(axes: Axes, figure: Figure, layer: Layer, rows: DataFrame, pen: Pen, looks: Mapping[str, Look]) -> None:
    colors = [THEME.get(pen.color) or looks[name].color for name in rows["backend"]]
    how: dict[str, Any] = {"colors": colors, "lw": pen.width * _POINT, "alpha": pen.opacity, "zorder": 2.5}
    if layer.y2:
        axes.vlines(rows[layer.x], rows[layer.y], rows[layer.y2], **how)
    else:
        axes.hlines(_heights(figure, layer, rows), rows[layer.x], rows[layer.x2], **how)
