"""The figures of the report: each a table and what is drawn of it, and two renderers that know no more than that.

`kinds` says what is shown, a module for each kind of figure; `figure` describes a figure as data,
and `marks` and `ticks` say what follows from it: how marks look, and where an axis ends.
`interactive` makes Vega-Lite specifications of that for the page, `static` PNG, SVG and PDF files.
`palette` gives each backend its colour and marker.
"""

from __future__ import annotations

from .figure import Axis, Figure, Layer, Rule
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
    "make_figures",
    "styles",
    "vega_spec",
]
