"""Axes, lines across, strokes and markers as parts of Vega-Lite specifications."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
from matplotlib.markers import MarkerStyle

from .figure import Axis, Figure, Rule, cut
from .marks import ARROW, GAP, LONGEST, ROOM, Pen, heading, pen_of_rule, rules_on
from .ticks import limits_of, log_ticks

INK, MUTED, GRID, PAPER = "var(--ink)", "var(--muted)", "var(--grid)", "var(--paper)"
Spec = dict[str, Any]
Side = Literal["x", "y"]


def channel(figure: Figure, name: Side) -> Spec:
    """Return the encoding of an axis, which all layers share except for the field."""
    axis: Axis = getattr(figure, name)
    if axis.categories:
        look: Spec = {"title": None, "grid": False, "ticks": False, "domain": False}
        look["labelPadding"] = 8
        return {"type": "nominal", "sort": list(axis.categories), "axis": look}
    limits = axis.log_limits if axis.log else axis.limits
    scale: Spec = {"type": "log" if axis.log else "linear", "nice": False}
    # Without a domain Vega takes the range of the data, plus padding in pixels.
    if limits:
        scale["domain"] = list(limits)
    elif axis.zero:
        scale["zero"] = True
    else:
        scale["padding"] = 12
    look = {"title": heading(axis, switch=True), "format": ",.6~r"}
    ticks = list(axis.ticks)
    if axis.log and not ticks:
        ticks = _log_ticks(figure, name)
    if ticks:
        look["values"] = ticks
    return {"type": "quantitative", "scale": scale, "axis": look}


def switches(figure: Figure) -> Spec:
    """Return the switchable axes, with the domains and ticks of linear and logarithmic scales.

    Domains and ticks that Vega chooses itself are left out.
    """
    names: list[str] = []
    domains, ticks = {}, {}
    for name, axis in (("x", figure.x), ("y", figure.y)):
        if not axis.switchable:
            continue
        names.append(name)
        ticks[name] = {"log": _log_ticks(figure, name)}
        if axis.limits or axis.log_limits:
            domains[name] = {"linear": axis.limits, "log": axis.log_limits}
    return {"switches": names, "domains": domains, "ticks": ticks}


def rules(figure: Figure, channels: Mapping[Side, Spec]) -> list[Spec]:
    """Return the lines across, and their labels without overlaps."""
    layers: list[Spec] = []
    for name, shared in channels.items():
        above: str | None = None  # the position of the last label
        for rule in rules_on(figure, name):
            mark = {"type": "rule", "clip": True, "aria": False, **stroke(pen_of_rule(rule))}
            line = {
                "data": {"values": [{"value": rule.value}]},
                "mark": mark,
                "encoding": {name: {"field": "value", **shared}},
            }
            layers.append(line)
            if rule.axis == "y" and rule.label:
                label, above = _rule_label(rule, above)
                layers.append(label)
    return layers


def stroke(pen: Pen) -> Spec:
    """Return the properties of a line."""
    properties: Spec = {"strokeWidth": pen.width, "opacity": pen.opacity}
    if pen.color:
        properties["stroke"] = f"var(--{pen.color})"
    if pen.dash:
        properties["strokeDash"] = list(pen.dash)
    return properties


def _log_ticks(figure: Figure, name: str) -> list[float]:
    """Return the ticks of a logarithmic axis; [] to let Vega choose.

    Vega drops those whose labels would overlap.
    """
    return log_ticks(*limits_of(figure, name, log=True))


def _rule_label(rule: Rule, above: str | None) -> tuple[Spec, str]:
    """Return the label of a rule, and the expression for its y position in pixels.

    The label stands right of the figure, at its line or, if that would overlap, just below the
    label above. It has an arrow if its line is above the figure. The positions are expressions as
    the reader may switch the scale.

    Parameters
    ----------
    above
        The expression for the position of the label above, None for the first.
    """
    line = f"scale('y', {rule.value!r})"
    lowest = f"{above} + {GAP}" if above else "4"
    position = f"max({line}, {lowest})"
    text = f"({line} < -1 ? '{ARROW}' : '') + datum.label"
    mark = {
        "type": "text",
        "align": "left",
        "baseline": "middle",
        "fontSize": 11,
        "aria": False,
        "fill": f"var(--{pen_of_rule(rule).color})",
        "x": {"expr": "width + 6"},
        "y": {"expr": position},
        "text": {"expr": text},
    }
    data = {"values": [{"label": cut(rule.label, LONGEST)}]}
    return {"data": data, "mark": mark, "encoding": {}}, position


@cache
def vega_shape(marker: str) -> str:
    """Return one of matplotlib's markers as the name or the SVG path of Vega's shape."""
    # A circle of matplotlib consists of curves, which `to_polygons` would replace by many lines.
    if marker == "o":
        return "circle"
    style = MarkerStyle(marker)
    (outline,) = style.get_path().transformed(style.get_transform()).to_polygons()
    size = 1.9 * ROOM.get(marker, 1.0)  # the outline fits into [-0.5, 0.5], Vega's into [-1, 1]
    # In Vega, y points down.
    points = [f"{size * x:.3f},{-size * y:.3f}" for x, y in np.asarray(outline)]
    return f"M{'L'.join(points)}Z"


CONFIG: Spec = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": MUTED,
        "gridColor": GRID,
        "domainColor": MUTED,
        "tickColor": MUTED,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 150,
        "labelOverlap": "greedy",
        "labelSeparation": 5,
    },
    "axisY": {
        "titleAngle": 0,
        "titleAlign": "left",
        "titleBaseline": "bottom",
        "titleX": 0,
        "titleY": -9,
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
    },
    "legend": {"labelColor": INK, "labelFontSize": 11},
}
