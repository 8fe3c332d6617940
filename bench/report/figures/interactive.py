"""Figures as Vega-Lite specifications for the page: plain dicts without references to the network.

The page controls two things:

- The parameter ``hidden`` is a list of backends that are not drawn.
- ``usermeta.factorbench.switches`` lists axes that can be switched between linear and logarithmic.
  The page does so by setting ``encoding.x.scale.type`` in all layers that have it, and domain and
  tick values to those in ``domains.x`` and ``ticks.x`` for the new type, if there are any.

Colours of text and lines are CSS variables of the page, so that the same specification serves for
light, dark and print. Names and labels are part of the data, never of an expression, as they may
contain anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from .figure import Figure, Layer
from .marks import (
    HEIGHT,
    OUTLINE,
    Pen,
    bar_share,
    carriers,
    dashes_of,
    outlined,
    part_colors,
    pen_of,
    row_height,
)
from .palette import Look, looks_for
from .scales import CONFIG, INK, PAPER, Side, Spec, channel, rules, stroke, switches, vega_shape

_FORMAT = ",.5~r"  # five digits and no exponent
_LEGEND: Spec = {"orient": "bottom", "title": None, "columns": 2, "labelLimit": 240, "offset": 10}


def vega_spec(figure: Figure, looks: Mapping[str, Look] | None = None) -> Spec:
    """Return the specification of a figure; ``looks`` as returned by `palette.styles`."""
    table, columns = _table(figure)
    view = _View(figure, looks_for(figure.backends(), looks))
    marks: list[Spec] = []
    tooltips: list[Spec] = []
    for layer in figure.layers:
        if figure.rows(layer).empty:
            continue
        marks += view.layer(layer)
        if layer.mark in ("line", "step") and not layer.small:
            tooltips.append(view.tooltip_points(layer))
    height: Any = HEIGHT
    if figure.y.categories:
        height = {"step": row_height(figure), "for": "position"}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": figure.alt,
        "usermeta": {"factorbench": {"stem": figure.stem, **switches(figure)}},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 4, "top": 4, "right": 8, "bottom": 4},
        "background": None,
        "params": [{"name": "hidden", "value": []}],
        "data": {
            "values": table.to_csv(index=False, lineterminator="\n"),
            "format": {"type": "csv", "parse": columns},
        },
        "transform": [{"filter": "indexof(hidden, datum.backend) < 0"}],
        "layer": [*rules(figure, view.channels), *marks, *tooltips],
        "config": CONFIG,
    }


class _View:
    """Makes the layers of one figure."""

    def __init__(self, figure: Figure, looks: Mapping[str, Look]) -> None:
        self.figure = figure
        self.looks = looks
        self.channels: dict[Side, Spec] = {"x": channel(figure, "x"), "y": channel(figure, "y")}

    def layer(self, layer: Layer) -> list[Spec]:
        """Return the marks of a layer, and its labels."""
        specs: list[Spec] = []
        if layer.mark in ("line", "step"):
            specs = self._line(layer)
        elif layer.mark == "front":
            specs = [self._front(layer)]
        elif layer.mark == "point":
            specs = [self._point(layer)]
        elif layer.mark == "bar":
            specs = [self._bar(layer)]
        elif layer.mark == "interval":
            specs = [self._interval(layer)]
        if layer.label:
            specs.append(self._label(layer))
        return specs

    def tooltip_points(self, layer: Layer) -> Spec:
        """Return the points of a line, which are invisible until the reader points at one."""
        spec = self._spec(
            layer, {"type": "point", "filled": True, "size": 110, "clip": True, "aria": False}
        )
        name = f"near_{self.figure.layers.index(layer)}"
        select = {"type": "point", "on": "pointerover", "clear": "pointerout"}
        spec["params"] = [{"name": name, "select": select}]
        # "empty": without a selection no point is shown, instead of all.
        shown = {"param": name, "empty": False, "value": 0.9}
        spec["encoding"] |= {
            "opacity": {"condition": shown, "value": 0},
            "tooltip": self._tooltip(layer),
        }
        return spec

    def _line(self, layer: Layer) -> list[Spec]:
        pen = pen_of(self.figure, layer)
        mark: Spec = {"type": "line", "clip": True, "aria": False, **stroke(pen)}
        if layer.mark == "step":
            mark["interpolate"] = "step-after"
        line = self._spec(layer, mark)
        if layer.detail:
            line["encoding"]["detail"] = [
                {"field": name, "type": "nominal"} for name in layer.detail
            ]
        if layer.dash:
            dashes = dashes_of(self.figure, layer)
            symbols = {"symbolType": "stroke", "symbolStrokeColor": INK, "symbolSize": 700}
            patterns = [list(dash) for dash in dashes.values()]
            line["encoding"]["strokeDash"] = {
                "field": layer.dash,
                "type": "nominal",
                "scale": {"domain": list(dashes), "range": patterns},
                "legend": _LEGEND | symbols,
            }
        if not pen.size:
            return [line]
        markers = self._spec(layer, _point(pen) | {"clip": True})
        # The column "marked" is added by `_table`.
        markers["transform"].append({"filter": "datum.marked == 1"})
        return [line, markers]

    def _front(self, layer: Layer) -> Spec:
        mark = {"type": "line", "interpolate": "step-after", "clip": True, "aria": False}
        spec = self._spec(layer, mark | stroke(pen_of(self.figure, layer)))
        # The running minimum of y over the rows sorted by x.
        order = [{"field": layer.x}, {"field": layer.y}]
        best = {"op": "min", "field": layer.y, "as": "best"}
        spec["transform"].append({"window": [best], "sort": order, "frame": [None, 0]})
        spec["encoding"] = {
            "x": self._placed("x", layer.x),
            "y": self._placed("y", "best"),
            "order": {"field": layer.x, "type": "quantitative"},
        }
        return spec

    def _point(self, layer: Layer) -> Spec:
        pen = pen_of(self.figure, layer)
        mark: Spec = _point(pen)
        if pen.shape == "tick":
            mark = {"type": "tick", "thickness": pen.width, "size": pen.size}
            mark["opacity"] = pen.opacity
        if layer.hollow:
            mark |= {"filled": False, "fill": PAPER, "strokeWidth": pen.width}
        spec = self._spec(layer, {**mark, "clip": not self.figure.y.categories})
        spec["encoding"]["tooltip"] = self._tooltip(layer)
        if pen.shape != "marker":
            spec["encoding"].pop("shape", None)
        return spec

    def _bar(self, layer: Layer) -> Spec:
        height = {"band": bar_share(self.figure)}
        spec = self._spec(layer, {"type": "bar", "height": height, "opacity": 1})
        spec["encoding"] |= {"x2": {"field": layer.x2}, "tooltip": self._tooltip(layer)}
        parts = part_colors(self.figure)
        if parts:
            legend = _LEGEND | {"symbolType": "square"} if len(parts) > 1 else None
            colors = {part: f"var(--{color})" for part, color in parts.items()}
            spec["encoding"]["color"] = _nominal("part", colors, legend)
            # The column "outlined" is added by `_table`.
            paper = {"test": "datum.outlined == 1", "value": PAPER}
            spec["encoding"]["stroke"] = {"condition": paper, "value": None}
            spec["mark"]["strokeWidth"] = OUTLINE
        return spec

    def _interval(self, layer: Layer) -> Spec:
        mark = {"type": "rule", "aria": False, **stroke(pen_of(self.figure, layer))}
        spec = self._spec(layer, mark)
        if layer.x2:
            spec["encoding"]["x2"] = {"field": layer.x2}
        if layer.y2:
            spec["encoding"]["y2"] = {"field": layer.y2}
        return spec

    def _label(self, layer: Layer) -> Spec:
        mark = {"type": "text", "align": "left", "baseline": "middle", "dx": 8, "fill": INK}
        spec = self._spec(layer, {**mark, "fontSize": 11, "aria": False})
        spec["encoding"].pop("color", None)  # labels have the colour of text
        spec["encoding"]["x"] = {"value": "width"}
        spec["encoding"]["text"] = {"field": layer.label, "type": "nominal"}
        return spec

    def _spec(self, layer: Layer, mark: Spec) -> Spec:
        """Return a layer with its rows, axes, colour and marker."""
        filters = [f"datum.kind == {json.dumps(layer.of)}"] if layer.of else []
        columns = [column for column in (layer.x, layer.y, layer.x2, layer.y2) if column]
        filters += [f"isValid(datum.{column})" for column in columns]
        encoding: Spec = {"x": self._placed("x", layer.x), "y": self._placed("y", layer.y)}
        if self.figure.lanes:
            lanes = list(self.figure.lanes)
            encoding["yOffset"] = {
                "field": "lane",
                "type": "nominal",
                "sort": lanes,
                "scale": {"domain": lanes},
            }
        if pen_of(self.figure, layer).color:
            encoding["color"] = {"value": INK}
        else:
            colors = {name: look.color for name, look in self.looks.items()}
            encoding["color"] = _nominal("backend", colors)
            if mark["type"] == "point":
                shapes = {name: vega_shape(look.marker) for name, look in self.looks.items()}
                encoding["shape"] = _nominal("backend", shapes)
        return {"transform": [{"filter": " && ".join(filters)}], "mark": mark, "encoding": encoding}

    def _placed(self, name: Side, column: str) -> Spec:
        return {"field": column, **self.channels[name]}

    def _tooltip(self, layer: Layer) -> list[Spec]:
        """Return the tooltip of a mark: the columns that have a value anywhere in the layer."""
        fields: list[Spec] = []
        rows = self.figure.rows(layer)
        for name, heading in self.figure.values.items():
            field: Spec = {"field": name, "title": heading}
            if is_numeric_dtype(rows[name]):
                has_values = bool(rows[name].notna().any())
                field |= {"type": "quantitative", "format": _FORMAT}
            else:
                has_values = any(rows[name])
                field["type"] = "nominal"
            if has_values:
                fields.append(field)
        return fields


def _table(figure: Figure) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the columns of the table that the layers use, and their types.

    Numbers are texts of six digits, which makes the page smaller.
    """
    used = {"backend", *figure.values}
    for layer in figure.layers:
        used |= {layer.x, layer.y, layer.x2, layer.y2, layer.label, layer.dash, *layer.detail}
        if layer.of:
            used.add("kind")
    if figure.lanes:
        used.add("lane")
    if figure.parts:
        used.add("part")
    table = figure.table[[name for name in figure.table.columns if name in used]].copy()
    # Which rows have a marker on their line is decided once for both renderers.
    marked = {row for layer in figure.layers for row in carriers(figure, layer)}
    if marked:
        table["marked"] = table.index.isin(marked).astype(int)
    framed = {row for layer in figure.layers for row in outlined(figure, layer)}
    if framed:
        table["outlined"] = table.index.isin(framed).astype(int)
    types = {}
    for name in table.columns:
        types[name] = "number" if is_numeric_dtype(table[name]) else "string"
        if table[name].dtype.kind == "f":
            table[name] = [f"{value:.6g}" if pd.notna(value) else "" for value in table[name]]
    return table, types


def _point(pen: Pen) -> Spec:
    """Return a filled marker."""
    area = round(pen.size**2)  # sizes in Vega are areas
    return {"type": "point", "filled": True, "size": area, "opacity": pen.opacity}


def _nominal(field: str, values: Mapping[str, str], legend: Spec | None = None) -> Spec:
    """Return an encoding of a column of names by colours or shapes."""
    scale = {"domain": list(values), "range": list(values.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": legend}
