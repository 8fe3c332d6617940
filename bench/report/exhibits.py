"""Figures as the page shows them: each with its files, what to doubt in it, how it was made, and what repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.records import RUNS, AnyRecord

from .figures import Figure, case_figures
from .measured import doubt_id
from .method import method_of
from .ranking import Case

_OF_SECONDS = ("seconds", "speedup", "rungs", "pareto", "threads")  # figures that the doubts about times concern


@dataclass(frozen=True)
class Doubt:
    """What makes the times of a backend less than trustworthy, and which row of the page says so."""

    name: str
    text: str
    id: str


@dataclass(frozen=True)
class Exhibit:
    """A figure, with all that is shown beside it.

    Attributes
    ----------
    stem
        Name of its pictures, which no other figure of the page has.
    table
        File of its table, which several figures may share.
    doubts
        About the times that it shows.
    method
        How its numbers were made, a paragraph each.
    commands
        What measures and draws it again.
    """

    figure: Figure
    stem: str
    table: str
    doubts: tuple[Doubt, ...]
    method: tuple[str, ...]
    commands: tuple[str, ...]


def case_exhibits(case: Case, suffix: str) -> list[Exhibit]:
    """Return all figures of a case; ``suffix`` tells their files from those of other cases."""
    doubts = tuple(
        Doubt(one.name, "; ".join(one.warnings), doubt_id(case, one)) for one in case.entries if one.warnings
    )
    commands = commands_of(case.records)
    figures = case_figures(case)
    tables = _tables(figures, suffix)
    return [
        Exhibit(
            figure,
            figure.stem + suffix,
            tables[id(figure.table)],
            doubts if figure.stem.startswith(_OF_SECONDS) else (),
            method_of(figure.stem),
            commands,
        )
        for figure in figures
    ]


def other_exhibits(
    figures: Sequence[Figure], suffix: str, records: Sequence[AnyRecord], method: Sequence[str] = ()
) -> list[Exhibit]:
    """Return figures that are of no single case; ``method`` in place of what is known of their kind."""
    commands, tables = commands_of(records), _tables(figures, suffix)
    return [
        Exhibit(
            figure,
            figure.stem + suffix,
            tables[id(figure.table)],
            (),
            tuple(method) or method_of(figure.stem),
            commands,
        )
        for figure in figures
    ]


def commands_of(records: Iterable[AnyRecord]) -> tuple[str, ...]:
    """Return what to type to measure some records again, and to report them."""
    found = list(records)
    runs = sorted({record["run"] for record in found})
    inputs = shlex.join(word for run in runs for word in ("--input", str(RUNS / run)))
    return (*sorted({record["command"] for record in found}), f"python -m bench.report {inputs}")


def _tables(figures: Sequence[Figure], suffix: str) -> dict[int, str]:
    """Return the file of each table: that of the first figure that shows it."""
    return {id(figure.table): f"{figure.stem}{suffix}.csv" for figure in reversed(figures)}
