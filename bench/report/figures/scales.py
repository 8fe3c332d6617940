"""Axes, lines across and looks of the page's figures, as parts of Vega-Lite specifications; see `interactive`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .figure import Axis, Figure, Rule
from .layout import limits_of, log_steps

INK, MUTED, GRID, PAPER = "var(--ink)", "var(--muted)", "var(--grid)", "var(--paper)"
_GAP = 13  # pixels from one label to the next
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
    title = axis.title + (", log scale" if axis.log and not axis.switchable else "")
    look = {"title": title, "format": ",.6~r"}
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
        found = sorted((rule for rule in figure.rules if rule.axis == name), key=lambda rule: -rule.value)
        for at, rule in enumerate(found):
            look = {"stroke": INK, "strokeWidth": 1.4} if rule.strong else {"stroke": MUTED, "strokeDash": [4, 3]}
            line = {
                "data": {"values": [{"value": rule.value}]},
                "mark": {"type": "rule", "clip": True, "aria": False, **look},
                "encoding": {name: {"field": "value", **shared}},
            }
            made.append(line)
            if rule.label:
                text, above = _rule_label(rule, at, above)
                made.append(text)
    return made


def _log_ticks(figure: Figure, name: str) -> list[float]:
    """Return ticks of a logarithmic axis, of which Vega leaves some out where there is no room; [] to let it choose."""
    low, high = limits_of(figure, name, log=True)
    return log_steps(low, high) if high > 3 * low else []


def _rule_label(rule: Rule, at: int, above: str | None) -> tuple[Spec, str | None]:
    """Return the label of a rule, and where it is put if it is pushed down by the one ``above``.

    Labels of horizontal rules stand right of the figure, as near to their line as the label above allows; one that is
    beyond the top says so by an arrow. Those of vertical rules stand above the figure, one over the other.
    """
    mark: Spec = {"type": "text", "align": "left", "baseline": "middle", "fontSize": 11, "aria": False}
    mark["fill"] = INK if rule.strong else MUTED
    place: str | None = None
    if rule.axis == "y":
        place = f"max(scale('y', {rule.value!r}), {f'{above} + {_GAP}' if above else '4'})"
        arrow = f"(scale('y', {rule.value!r}) < -1 ? '\u2191 ' : '') + datum.label"
        mark |= {"x": {"expr": "width + 6"}, "y": {"expr": place}, "text": {"expr": arrow}}
    else:
        mark |= {"align": "center", "x": {"expr": f"scale('x', {rule.value!r})"}, "y": -8 - _GAP * at}
        mark["text"] = {"expr": "datum.label"}
    return {"data": {"values": [{"label": rule.label}]}, "mark": mark, "encoding": {}}, place


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
