"""The figures of the report, and two renderers that draw them.

`figure` describes a figure as data: a table and the way in which it is drawn. `kinds` has one
module per kind of figure. `marks` and `ticks` decide for both renderers how marks look and where
axes end, `palette` which colour and marker a backend has. `interactive` makes Vega-Lite
specifications for the page, `static` makes PNG, SVG and PDF files, and `inline` makes such SVG
files part of a page.
"""

from __future__ import annotations

from .figure import Axis, Figure, Layer, Rule
from .inline import inline_svg
from .interactive import vega_spec
from .kind import Kind
from .kinds import all_kinds, make_figures
from .palette import Look, styles
from .static import draw_static

__all__ = [
    "Axis",
    "Figure",
    "Kind",
    "Layer",
    "Look",
    "Rule",
    "all_kinds",
    "draw_static",
    "inline_svg",
    "make_figures",
    "styles",
    "vega_spec",
]
