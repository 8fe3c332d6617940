"""Figures as the page shows them: with files, warnings, an explanation and commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.records import RUNS, AnyRecord
from bench.report.figures import Figure, make_figures
from bench.report.figures.kind import Over
from bench.report.outcome.cases import Case
from bench.report.tables.measured import warning_id


@dataclass(frozen=True)
class TimeWarning:
    """Reasons to be careful with the times of a backend.

    Attributes
    ----------
    name
        The backend.
    id
        Identifier of the row of the page that states them, for links.
    """

    name: str
    text: str
    id: str


@dataclass(frozen=True)
class Exhibit:
    """A figure and everything shown beside it.

    Attributes
    ----------
    stem
        The name of its files, unique on the page.
    table
        The name of the file with its table, which several figures may share.
    warnings
        About the times in it.
    method
        How its numbers are measured, one paragraph each.
    commands
        Commands that measure and draw it again.
    """

    figure: Figure
    stem: str
    table: str
    warnings: tuple[TimeWarning, ...]
    method: tuple[str, ...]
    commands: tuple[str, ...]


def make_exhibits(
    over: Over,
    subject: object,
    suffix: str,
    records: Sequence[AnyRecord],
    warnings: tuple[TimeWarning, ...] = (),
) -> list[Exhibit]:
    """Return all figures of a subject, with everything shown beside them.

    Parameters
    ----------
    over, subject
        As in `Kind`.
    suffix
        Distinguishes their files from those of other cases.
    records
        The records in them.
    warnings
        Shown beside figures of times only.
    """
    commands = commands_of(records)
    made = make_figures(over, subject)
    # A table that several figures share is stored once, under the name of the first of them. In
    # reverse order, the first one overwrites the others.
    tables = {id(figure.table): f"{figure.stem}{suffix}.csv" for _, figure in reversed(made)}
    return [
        Exhibit(
            figure=figure,
            stem=figure.stem + suffix,
            table=tables[id(figure.table)],
            warnings=warnings if kind.about_times else (),
            method=kind.method,
            commands=commands,
        )
        for kind, figure in made
    ]


def warnings_of(case: Case) -> tuple[TimeWarning, ...]:
    """Return the warnings about the times of a case, one per backend that has any."""
    return tuple(
        TimeWarning(entry.name, "; ".join(entry.warnings), warning_id(case, entry))
        for entry in case.entries
        if entry.warnings
    )


def commands_of(records: Iterable[AnyRecord]) -> tuple[str, ...]:
    """Return the commands that measured these records, and the one that reports them."""
    measured, runs = set(), set()
    for record in records:
        measured.add(record["command"])
        runs.add(record["run"])
    report = ["python", "-m", "bench.report"]
    for run in sorted(runs):
        report += ["--input", str(RUNS / run)]
    return (*sorted(measured), shlex.join(report))
