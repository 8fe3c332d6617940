"""Axes, lines across, strokes and markers as parts of specifications; see `interactive`."""

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
_THEME = {"ink": INK, "muted": MUTED}
Spec = dict[str, Any]
Side = Literal["x", "y"]


def channel(figure: Figure, name: Side) -> Spec:
    """Return how columns are placed along an axis: what all layers share but for the field."""
    axis: Axis = getattr(figure, name)
    if axis.categories:
        look: Spec = {"title": None, "grid": False, "ticks": False, "domain": False, "labelPadding": 8}
        return {"type": "nominal", "sort": list(axis.categories), "axis": look}
    limits = axis.log_limits if axis.log else axis.limits
    scale: Spec = {"type": "log" if axis.log else "linear", "nice": False}
    if limits:
        scale["domain"] = list(limits)
    else:
        scale |= {"zero": True} if axis.zero else {"padding": 12}
    look = {"title": heading(axis, switch=True), "format": ",.6~r"}
    ticks = list(axis.ticks) or (_log_ticks(figure, name) if axis.log else [])
    return {
        "type": "quantitative",
        "scale": scale,
        "axis": look | ({"values": ticks} if ticks else {}),
    }


def switches(figure: Figure) -> Spec:
    """Return which axes can be switched, and the domains and ticks of either kind of scale where they are not free."""
    axes = {name: axis for name, axis in (("x", figure.x), ("y", figure.y)) if axis.switchable}
    domains = {
        name: {"linear": axis.limits, "log": axis.log_limits}
        for name, axis in axes.items()
        if axis.limits or axis.log_limits
    }
    ticks = {name: {"log": _log_ticks(figure, name)} for name in axes}
    return {"switches": list(axes), "domains": domains, "ticks": ticks}


def rules(figure: Figure, channels: Mapping[Side, Spec]) -> list[Spec]:
    """Return the lines across, and their labels where none lies on another."""
    made: list[Spec] = []
    for name, shared in channels.items():
        above: str | None = None
        for rule in rules_on(figure, name):
            line = {
                "data": {"values": [{"value": rule.value}]},
                "mark": {"type": "rule", "clip": True, "aria": False, **stroke(pen_of_rule(rule))},
                "encoding": {name: {"field": "value", **shared}},
            }
            made.append(line)
            if rule.axis == "y" and rule.label:
                text, above = _rule_label(rule, above)
                made.append(text)
    return made


def stroke(pen: Pen) -> Spec:
    """Return how Vega-Lite draws a line."""
    how: Spec = {"strokeWidth": pen.width, "opacity": pen.opacity}
    if pen.color:
        how["stroke"] = _THEME[pen.color]
    if pen.dash:
        how["strokeDash"] = list(pen.dash)
    return how


def _log_ticks(figure: Figure, name: str) -> list[float]:
    """Return ticks of a logarithmic axis, of which Vega leaves some out where there is no room; [] to let it choose."""
    return log_ticks(*limits_of(figure, name, log=True))


def _rule_label(rule: Rule, above: str | None) -> tuple[Spec, str]:
    """Return the label of a rule, and where it is put if it is pushed down by the one ``above``.

    It stands right of the figure, as near to its line as the label above allows; one that is beyond
    the top says so by an arrow.
    """
    place = f"max(scale('y', {rule.value!r}), {f'{above} + {GAP}' if above else '4'})"
    text = f"(scale('y', {rule.value!r}) < -1 ? '{ARROW}' : '') + datum.label"
    mark = {
        "type": "text",
        "align": "left",
        "baseline": "middle",
        "fontSize": 11,
        "aria": False,
        "fill": _THEME[pen_of_rule(rule).color],
        "x": {"expr": "width + 6"},
        "y": {"expr": place},
        "text": {"expr": text},
    }
    return {"data": {"values": [{"label": cut(rule.label, LONGEST)}]}, "mark": mark, "encoding": {}}, place


@cache
def vega_shape(marker: str) -> str:
    """Return a marker of matplotlib as Vega's name or path of it."""
    if marker == "o":
        return "circle"
    style = MarkerStyle(marker)
    (outline,) = style.get_path().transformed(style.get_transform()).to_polygons()
    size = 1.9 * ROOM.get(marker, 1.0)
    points = [f"{size * x:.3f},{-size * y:.3f}" for x, y in np.asarray(outline)]  # Vega's y points down
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
