"""The figures of the report: each a table and what is drawn of it, and two renderers that know no more than that.

`errors`, `times`, `costs`, `size`, `profile` and `roofline` say what is shown; `interactive` makes Vega-Lite
specifications for the page, `static` PNG, SVG and PDF files; `palette` gives each backend its colour and marker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.report.outcome.cases import Case

from .accuracy import convergence, pareto
from .cold_and_memory import cold, memory
from .figure import Axis, Figure, Layer, Rule
from .interactive import vega_spec
from .palette import Look, styles
from .profile import profile_figures, profile_table
from .roofline import roofline_figures
from .size import size_figures
from .static import draw_static
from .times import rungs, seconds, speedup, threads

__all__ = [
    "Axis",
    "Figure",
    "Layer",
    "Look",
    "Rule",
    "case_figures",
    "draw_static",
    "looks_of",
    "overall_figures",
    "profile_table",
    "roofline_figures",
    "styles",
    "vega_spec",
]

_OF_A_CASE = (seconds, convergence, speedup, rungs, pareto, cold, memory, threads)


def case_figures(case: Case) -> list[Figure]:
    """Return all figures of a case that have something to show."""
    return [figure for make in _OF_A_CASE for figure in make(case)]


def overall_figures(cases: Sequence[Case]) -> list[Figure]:
    """Return the figures over several cases that have something to show."""
    return [*profile_figures(cases), *size_figures(cases)]


def looks_of(figures: Iterable[Figure]) -> dict[str, Look]:
    """Return how each backend looks in all of some figures: what their renderers are to be given."""
    return styles(name for figure in figures for name in figure.backends())
