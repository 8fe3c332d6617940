"""Marks, lines across and legends of a static figure, on axes that `static` has laid out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.transforms import blended_transform_factory
from pandas import DataFrame

from .figure import Figure, Layer, marked
from .layout import apart, limits_of, share_of
from .palette import Look
from .style import INK, MUTED, PAPER, plain
from .symbols import DASHES, PART_COLORS, ROOM

_GAP = 0.15  # inches from one label to the next
_LABEL = 8.0  # points
_NOBODY = Look(INK, "o")


def draw_layer(axes: Axes, figure: Figure, layer: Layer, looks: Mapping[str, Look]) -> None:
    """Draw one layer."""
    rows = figure.rows(layer)
    if rows.empty:
        return
    if layer.mark == "front":
        _front(axes, layer, rows)
    elif layer.mark == "bar":
        _bars(axes, figure, layer, rows, looks)
    elif layer.mark == "interval":
        _intervals(axes, figure, layer, rows, looks)
    elif layer.mark != "text":
        columns = ["backend", *layer.detail, *([layer.dash] if layer.dash else [])]
        dashes = dict(zip(dict.fromkeys(rows[layer.dash]), DASHES, strict=False)) if layer.dash else {}
        for names, group in rows.groupby(columns, sort=False):
            look = looks.get(str(names[0]), _NOBODY)
            x, y = group[layer.x].to_numpy(), _heights(figure, layer, group)
            how = _points(figure, layer, look) if layer.mark == "point" else _line(layer, look)
            if "marker" in how and layer.mark != "point":
                how["markevery"] = marked(len(group), list(looks).index(str(names[0])), len(looks))
            if dashes:
                how["ls"] = (0, [1.0 * length for length in dashes[names[-1]]])
            axes.plot(x, y, **how)
    if layer.label:
        _labels(axes, figure, layer, rows)


def draw_rules(axes: Axes, figure: Figure, height: float) -> None:
    """Draw the lines across axes of a height in inches, and their labels, none of which lies on another."""
    for rule in figure.rules:
        look: dict[str, Any] = (
            {"color": INK, "lw": 1.2} if rule.strong else {"color": MUTED, "lw": 1.0, "ls": (0, (4, 3))}
        )
        draw = axes.axhline if rule.axis == "y" else axes.axvline
        draw(rule.value, zorder=1.5, **look)
    across = sorted((rule for rule in figure.rules if rule.axis == "y"), key=lambda rule: -rule.value)
    if across:
        low, high = limits_of(figure, "y")
        shares = [share_of(rule.value, low, high, figure.y.log) for rule in across]
        places = apart([min(share, 1.0) * height for share in shares], _GAP)
        for rule, share, place in zip(across, shares, places, strict=True):
            text = "\u2191 " * (share > 1) + plain(rule.label, 40)
            color = INK if rule.strong else MUTED
            axes.text(1.012, place / height, text, transform=axes.transAxes, va="center", fontsize=_LABEL, color=color)
    for at, rule in enumerate(rule for rule in figure.rules if rule.axis == "x" and rule.label):
        where = blended_transform_factory(axes.transData, axes.transAxes)
        place = 1 + (0.08 + 0.16 * at) / height
        axes.text(rule.value, place, plain(rule.label, 40), transform=where, ha="center", fontsize=_LABEL, color=MUTED)


def legend_items(figure: Figure, looks: Mapping[str, Look]) -> list[tuple[str, dict[str, Any]]]:
    """Return what a legend has to explain, and what a line of three points that stands for it looks like.

    These are backends where they are no rows, parts of bars, and dashes.
    """
    items: list[tuple[str, dict[str, Any]]] = []
    if not figure.y.categories:
        lines = any(layer.mark in ("line", "step") for layer in figure.layers)
        for name, look in looks.items():
            how = {"color": look.color, "marker": look.marker, "markevery": [1], "ls": "-" if lines else "", "lw": 1.4}
            items.append((plain(name, 22), {**how, "markersize": 5.5 * ROOM.get(look.marker, 1), "mew": 0}))
    bar = {"lw": 7, "solid_capstyle": "butt"}
    if len(figure.parts) > 1:
        items += [(part, {**bar, "color": color}) for part, color in zip(figure.parts, PART_COLORS, strict=False)]
    for layer in figure.layers:
        if layer.dash:
            names = dict.fromkeys(figure.rows(layer)[layer.dash])
            color = MUTED if layer.small else INK
            for name, dash in zip(names, DASHES, strict=False):
                items.append((name, {"color": color, "lw": 1.2, "ls": (0, [0.8 * length for length in dash])}))
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


def _line(layer: Layer, look: Look) -> dict[str, Any]:
    how: dict[str, Any] = {"color": look.color, "lw": 0.8 if layer.small else 1.4, "alpha": _faint(layer)}
    if not layer.small and look is not _NOBODY:
        how |= {"marker": look.marker, "markersize": 4.5 * ROOM.get(look.marker, 1), "mew": 0}
    return how | ({"drawstyle": "steps-post"} if layer.mark == "step" else {})


def _faint(layer: Layer) -> float:
    return 1.0 if not layer.small else 0.8 if layer.dash else 0.4


def _points(figure: Figure, layer: Layer, look: Look) -> dict[str, Any]:
    rows, size = bool(figure.y.categories), ROOM.get(look.marker, 1.0)
    how: dict[str, Any] = {"color": look.color, "ls": "", "marker": look.marker, "clip_on": not rows, "zorder": 3}
    if layer.small:
        return how | {"marker": "|" if rows else ".", "markersize": 7, "alpha": 0.6, "zorder": 2}
    if layer.hollow:
        return how | {"markersize": 7 * size, "mfc": PAPER, "mew": 1.4, "zorder": 4}
    return how | {"markersize": 6.5 * size, "mew": 0}


def _front(axes: Axes, layer: Layer, rows: DataFrame) -> None:
    rows = rows.sort_values([layer.x, layer.y])
    axes.plot(
        rows[layer.x], rows[layer.y].cummin(), color=INK, lw=1.1, ls=(0, (2, 2)), drawstyle="steps-post", zorder=1.8
    )


def _bars(axes: Axes, figure: Figure, layer: Layer, rows: DataFrame, looks: Mapping[str, Look]) -> None:
    parts = dict(zip(figure.parts, PART_COLORS, strict=False))
    colors = [parts[part] for part in rows["part"]] if parts else [looks[name].color for name in rows["backend"]]
    half = 0.4 / len(figure.lanes) * 0.88 if figure.lanes else 0.3
    ends = zip(_heights(figure, layer, rows), rows[layer.x2], rows[layer.x], strict=True)
    boxes = [[(start, y - half), (end, y - half), (end, y + half), (start, y + half)] for y, start, end in ends]
    axes.add_collection(PolyCollection(boxes, facecolors=colors, edgecolors="none", zorder=2))  # far sooner than barh


def _intervals(axes: Axes, figure: Figure, layer: Layer, rows: DataFrame, looks: Mapping[str, Look]) -> None:
    on_bars = any(other.mark == "bar" for other in figure.layers)
    colors = [INK if on_bars else looks[name].color for name in rows["backend"]]
    if layer.y2:
        axes.vlines(rows[layer.x], rows[layer.y], rows[layer.y2], colors=colors, lw=1.6, alpha=0.8, zorder=2.5)
    else:
        heights = _heights(figure, layer, rows)
        axes.hlines(heights, rows[layer.x], rows[layer.x2], colors=colors, lw=1.6, alpha=0.8, zorder=2.5)


def _labels(axes: Axes, figure: Figure, layer: Layer, rows: DataFrame) -> None:
    """Write the labels of a layer right of the axes, in the rows of their marks."""
    where = blended_transform_factory(axes.transAxes, axes.transData)
    for y, label in zip(_heights(figure, layer, rows), rows[layer.label], strict=True):
        axes.text(1.012, y, plain(label, 40), transform=where, va="center", fontsize=_LABEL)
