"""Figures as the page shows them: each with its files, what to doubt in it, how it was made, and what repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.records import RUNS, AnyRecord
from bench.report.figures import Figure, make_figures
from bench.report.figures.kind import Over
from bench.report.outcome.cases import Case
from bench.report.tables.measured import doubt_id


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


def make_exhibits(
    over: Over,
    subject: object,
    suffix: str,
    records: Sequence[AnyRecord],
    doubts: tuple[Doubt, ...] = (),
) -> list[Exhibit]:
    """Return all figures of a subject, with what stands beside them.

    Parameters
    ----------
    over, subject
        What the figures are of, as in `Kind`.
    suffix
        Tells their files from those of other cases.
    records
        That they show.
    doubts
        About times, which not all figures show.
    """
    commands = commands_of(records)
    made = make_figures(over, subject)
    # The file of each table is that of the first figure that shows it.
    tables = {id(figure.table): f"{figure.stem}{suffix}.csv" for _, figure in reversed(made)}
    return [
        Exhibit(
            figure=figure,
            stem=figure.stem + suffix,
            table=tables[id(figure.table)],
            doubts=doubts if kind.about_times else (),
            method=kind.method,
            commands=commands,
        )
        for kind, figure in made
    ]


def doubts_of(case: Case) -> tuple[Doubt, ...]:
    """Return what there is to doubt in a case."""
    return tuple(Doubt(one.name, "; ".join(one.warnings), doubt_id(case, one)) for one in case.entries if one.warnings)


def commands_of(records: Iterable[AnyRecord]) -> tuple[str, ...]:
    """Return what to type to measure some records again, and to report them."""
    found = list(records)
    runs = sorted({record["run"] for record in found})
    inputs = shlex.join(word for run in runs for word in ("--input", str(RUNS / run)))
    return (*sorted({record["command"] for record in found}), f"python -m bench.report {inputs}")
