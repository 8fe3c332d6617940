"""Figures as Vega-Lite specifications, for the page: plain dicts that name no network resource.

The page may set the parameter ``hidden`` of each, a list of backends that are not drawn. It may switch the axes that
``usermeta.factorbench.switches`` names by setting ``encoding.x.scale.type`` wherever a layer has it, with the domain
and the tick values that ``domains.x`` and ``ticks.x`` beside it hold for the new type, or none. Colours of text and
lines are the page's CSS variables, so that light, dark and print need no other specification.

Names and labels come with the data, never inside an expression.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pandas as pd
from pandas.api.types import is_numeric_dtype

from .figure import Figure, Layer
from .marks import HEIGHT, Pen, bar_share, carriers, dashes_of, part_colors, pen_of, row_height
from .palette import Look, looks_for
from .scales import CONFIG, INK, PAPER, Side, Spec, channel, rules, stroke, switches, vega_shape

_SHOWN = ",.5~r"  # five digits and no exponent


def vega_spec(figure: Figure, looks: Mapping[str, Look] | None = None) -> Spec:
    """Return the specification of a figure, ready to be embedded; ``looks`` as in `palette.styles`."""
    table, columns = _table(figure)
    view = _View(figure, looks_for(figure.backends(), looks))
    layers = [layer for layer in figure.layers if len(figure.rows(layer))]
    marks = [spec for layer in layers for spec in view.layer(layer)]
    pointed = [view.pointed(layer) for layer in layers if layer.mark in ("line", "step") and not layer.small]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": figure.alt,
        "usermeta": {"factorbench": {"stem": figure.stem, **switches(figure)}},
        "width": "container",
        "height": {"step": row_height(figure), "for": "position"} if figure.y.categories else HEIGHT,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 4, "top": 4, "right": 8, "bottom": 4},
        "background": None,
        "params": [{"name": "hidden", "value": []}],
        "data": {"values": table.to_csv(index=False, lineterminator="\n"), "format": {"type": "csv", "parse": columns}},
        "transform": [{"filter": "indexof(hidden, datum.backend) < 0"}],
        "layer": [*rules(figure, view.channels), *marks, *pointed],
        "config": CONFIG,
    }


class _View:
    """The layers of one figure."""

    def __init__(self, figure: Figure, looks: Mapping[str, Look]) -> None:
        self.figure = figure
        self.looks = looks
        self.channels: dict[Side, Spec] = {"x": channel(figure, "x"), "y": channel(figure, "y")}

    def layer(self, layer: Layer) -> list[Spec]:
        """Return the marks of a layer, and its labels."""
        make: dict[str, Callable[[Layer], list[Spec]]] = {
            "line": self._line,
            "step": self._line,
            "front": self._front,
            "point": self._point,
            "bar": self._bar,
            "interval": self._interval,
        }
        made = make[layer.mark](layer) if layer.mark in make else []
        return [*made, self._label(layer)] if layer.label else made

    def pointed(self, layer: Layer) -> Spec:
        """Return unseen points on a line that say their values, and are seen when they are pointed at."""
        spec = self._spec(layer, {"type": "point", "filled": True, "size": 110, "clip": True, "aria": False})
        spec["params"] = [
            {
                "name": f"near_{self.figure.layers.index(layer)}",
                "select": {"type": "point", "on": "pointerover", "clear": "pointerout"},
            }
        ]
        shown = {"param": spec["params"][0]["name"], "empty": False, "value": 0.9}
        spec["encoding"] |= {"opacity": {"condition": shown, "value": 0}, "tooltip": self._tooltip(layer)}
        return spec

    def _line(self, layer: Layer) -> list[Spec]:
        pen = pen_of(self.figure, layer)
        mark: Spec = {"type": "line", "clip": True, "aria": False, **stroke(pen)}
        if layer.mark == "step":
            mark["interpolate"] = "step-after"
        line = self._spec(layer, mark)
        if layer.detail:
            line["encoding"]["detail"] = [{"field": name, "type": "nominal"} for name in layer.detail]
        if layer.dash:
            dashes = dashes_of(self.figure, layer)
            line["encoding"]["strokeDash"] = {
                "field": layer.dash,
                "type": "nominal",
                "scale": {"domain": list(dashes), "range": [list(dash) for dash in dashes.values()]},
                "legend": _LEGEND | {"symbolType": "stroke", "symbolStrokeColor": INK, "symbolSize": 700},
            }
        if not pen.size:
            return [line]
        markers = self._spec(layer, _point(pen) | {"clip": True})
        markers["transform"].append({"filter": "datum.marked == 1"})
        return [line, markers]

    def _front(self, layer: Layer) -> list[Spec]:
        mark = {"type": "line", "interpolate": "step-after", "clip": True, "aria": False}
        spec = self._spec(layer, mark | stroke(pen_of(self.figure, layer)))
        order = [{"field": layer.x}, {"field": layer.y}]
        best = {"op": "min", "field": layer.y, "as": "best"}
        spec["transform"].append({"window": [best], "sort": order, "frame": [None, 0]})
        spec["encoding"] = {
            "x": self._placed("x", layer.x),
            "y": self._placed("y", "best"),
            "order": {"field": layer.x, "type": "quantitative"},
        }
        return [spec]

    def _point(self, layer: Layer) -> list[Spec]:
        pen = pen_of(self.figure, layer)
        if pen.shape == "tick":
            mark: Spec = {"type": "tick", "thickness": pen.width, "size": pen.size, "opacity": pen.opacity}
        else:
            mark = _point(pen)
        if layer.hollow:
            mark |= {"filled": False, "fill": PAPER, "strokeWidth": pen.width}
        spec = self._spec(layer, {**mark, "clip": not self.figure.y.categories})
        spec["encoding"]["tooltip"] = self._tooltip(layer)
        if pen.shape != "marker":
            spec["encoding"].pop("shape", None)
        return [spec]

    def _bar(self, layer: Layer) -> list[Spec]:
        spec = self._spec(layer, {"type": "bar", "height": {"band": bar_share(self.figure)}, "opacity": 1})
        spec["encoding"] |= {"x2": {"field": layer.x2}, "tooltip": self._tooltip(layer)}
        parts = part_colors(self.figure)
        if parts:
            scale = {"domain": list(parts), "range": list(parts.values())}
            legend = _LEGEND | {"symbolType": "square"} if len(parts) > 1 else None
            spec["encoding"]["color"] = {"field": "part", "type": "nominal", "scale": scale, "legend": legend}
        return [spec]

    def _interval(self, layer: Layer) -> list[Spec]:
        spec = self._spec(layer, {"type": "rule", "aria": False, **stroke(pen_of(self.figure, layer))})
        spec["encoding"] |= {end: {"field": name} for end, name in (("x2", layer.x2), ("y2", layer.y2)) if name}
        return [spec]

    def _label(self, layer: Layer) -> Spec:
        mark = {"type": "text", "align": "left", "baseline": "middle", "dx": 8, "fill": INK, "fontSize": 11}
        spec = self._spec(layer, {**mark, "aria": False})
        spec["encoding"].pop("color", None)
        spec["encoding"] |= {"x": {"value": "width"}, "text": {"field": layer.label, "type": "nominal"}}
        return spec

    def _spec(self, layer: Layer, mark: Spec) -> Spec:
        """Return a layer with its rows, axes, colour and marker."""
        known = [f"isValid(datum.{name})" for name in (layer.x, layer.y, layer.x2, layer.y2) if name]
        filters = [f"datum.kind == {json.dumps(layer.of)}", *known] if layer.of else known
        encoding: Spec = {"x": self._placed("x", layer.x), "y": self._placed("y", layer.y)}
        if self.figure.lanes:
            lanes = list(self.figure.lanes)
            encoding["yOffset"] = {"field": "lane", "type": "nominal", "sort": lanes, "scale": {"domain": lanes}}
        if pen_of(self.figure, layer).color:
            encoding["color"] = {"value": INK}
        else:
            names = list(self.looks)
            colors = {"domain": names, "range": [look.color for look in self.looks.values()]}
            shapes = {"domain": names, "range": [vega_shape(look.marker) for look in self.looks.values()]}
            encoding["color"] = {"field": "backend", "type": "nominal", "scale": colors, "legend": None}
            if mark["type"] == "point":
                encoding["shape"] = {"field": "backend", "type": "nominal", "scale": shapes, "legend": None}
        return {"transform": [{"filter": " && ".join(filters)}], "mark": mark, "encoding": encoding}

    def _placed(self, name: Side, column: str) -> Spec:
        return {"field": column, **self.channels[name]}

    def _tooltip(self, layer: Layer) -> list[Spec]:
        """Return what is said of a mark that is pointed at: the columns that hold anything in the layer."""
        made: list[Spec] = []
        rows = self.figure.rows(layer)
        for name, heading in self.figure.values.items():
            numeric = is_numeric_dtype(rows[name])
            kind: Spec = {"type": "quantitative", "format": _SHOWN} if numeric else {"type": "nominal"}
            if rows[name].notna().any() if numeric else any(rows[name]):
                made.append({"field": name, "title": heading, **kind})
        return made


def _table(figure: Figure) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return what the layers use of the table, with numbers of six digits, and the types of its columns."""
    used = {"backend", *figure.values}
    for layer in figure.layers:
        used |= {layer.x, layer.y, layer.x2, layer.y2, layer.label, layer.dash, *layer.detail}
        used |= {"kind"} if layer.of else set()
    used |= {name for name, there in (("lane", figure.lanes), ("part", figure.parts)) if there}
    table = figure.table[[name for name in figure.table.columns if name in used]].copy()
    marked = {row for layer in figure.layers for row in carriers(figure, layer)}
    if marked:
        table["marked"] = table.index.isin(marked).astype(int)
    types = {name: "number" if is_numeric_dtype(table[name]) else "string" for name in table.columns}
    for name in table.columns:
        if table[name].dtype.kind == "f":
            table[name] = [f"{value:.6g}" if pd.notna(value) else "" for value in table[name]]
    return table, types


def _point(pen: Pen) -> Spec:
    """Return a filled marker; Vega's sizes are areas."""
    return {"type": "point", "filled": True, "size": round(pen.size**2), "opacity": pen.opacity}


_LEGEND: Spec = {"orient": "bottom", "title": None, "columns": 2, "labelLimit": 240, "offset": 10}
