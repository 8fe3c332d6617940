"""The kinds of figures, one per module. A new module appears in the report without being listed.

Each module has a `Kind` named ``KIND``, the function that makes its figures, and one that makes
their tidy table. Helpers of several kinds are in `bench.report.figures.shared`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from bench.report.figures.figure import Figure
from bench.report.figures.kind import Kind, Over


def all_kinds() -> list[Kind]:
    """Return every kind of figure, in the order of the report."""
    kinds: list[Kind] = []
    for found in iter_modules(__path__):
        module = import_module(f"{__name__}.{found.name}")
        if not isinstance(getattr(module, "KIND", None), Kind):
            raise TypeError(
                f"{module.__name__} has no KIND: each module here is a kind of figure, "
                f"see {__name__}"
            )
        kinds.append(module.KIND)
    return sorted(kinds, key=lambda kind: kind.order)


def make_figures(over: Over, subject: object) -> list[tuple[Kind, Figure]]:
    """Return all figures of a subject that have something to show, each with its kind."""
    kinds = [kind for kind in all_kinds() if kind.over == over]
    return [(kind, figure) for kind in kinds for figure in kind.make(subject)]
