"""Recognising a text file: its separator, whether it has a header, and which columns count.

Here live the guesses and the errors of those who cannot be guessed. Not here: reading the rows.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from typing import NamedTuple

from bench.datasets.errors import DatasetError

from .columns import Columns, as_number, choose_columns, is_number, role_of

SEPARATORS = ("\t", "::", ";", ",", "|", " ")
LINE_END = re.compile(r"\r\n|\n|\r")
BLANK = " \t\r\n"  # a line of nothing else is none
_SAMPLE_LINES = 50
_LEAST_TIME = 1e8  # in seconds, a day of 1973; no ratings go so far


class TextOptions(NamedTuple):
    """What a user says of a text file; None is for us to recognise."""

    columns: Columns | None = None
    separator: str | None = None
    header: bool | None = None
    encoding: str | None = None


class Layout(NamedTuple):
    """How the lines of a text file are to be read."""

    separator: str
    header: bool
    n_fields: int
    columns: tuple[int, ...]  # positions of user, item, rating and, where there is one, timestamp
    dates: bool  # timestamps are dates, not numbers


def sniff(sample: str, options: TextOptions, where: str) -> Layout:
    """Recognise the layout of a text file by its first lines.

    Parameters
    ----------
    sample
        The beginning of the file, whole lines.

    Raises
    ------
    DatasetError
        Where separator or columns are in doubt, saying how to give them.
    """
    lines = [line for line in LINE_END.split(sample) if line.strip(BLANK)][:_SAMPLE_LINES]
    if not lines:
        raise DatasetError(f"{where} is empty")
    separator = options.separator or _separator(lines, where)
    rows = [split_line(line, separator) for line in lines]
    header = _is_header(rows[0]) if options.header is None else options.header
    n_fields = len(rows[0]) if header else _most_common([len(row) for row in rows])[0]
    if n_fields < 3:
        raise DatasetError(
            f"{where}, first line: {lines[0][:80]!r} has {n_fields} field{'s' * (n_fields != 1)} separated by "
            f"{separator!r}; user, item and rating are needed. Give another separator, such as separator=';'"
        )
    names = [name.strip() for name in rows[0]] if header else [""] * n_fields
    columns = choose_columns(names, header, options.columns, where)
    body = [row for row in rows[header:] if len(row) == n_fields]
    if not header and options.columns is None and body and as_number(body[0][2]) >= _LEAST_TIME:
        raise DatasetError(
            f"{where}, first line: {lines[0][:80]!r} has no header, and a third column that looks like times. "
            "Say which columns are user, item, rating and time, such as columns=(0, 1, 3, 2)"
        )
    dates = len(columns) == 4 and 2 * sum(is_number(row[columns[3]]) for row in body) < len(body)
    return Layout(separator, header, n_fields, columns, dates)


def split_line(line: str, separator: str) -> list[str]:
    """Return the fields of a line; quotes count where the separator is one character."""
    if not is_quotable(separator):
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a field longer than csv's limit
        return line.split(separator)


def is_quotable(separator: str) -> bool:
    """Say whether fields may be quoted: only where the separator is a single byte."""
    return len(separator.encode()) == 1


def _separator(lines: list[str], where: str) -> str:
    """Return the separator that gives most lines the same number of fields, at least three."""
    shares = {}
    for separator in SEPARATORS:
        rows = [split_line(line, separator) for line in lines]
        n_fields, share = _most_common([len(row) for row in rows])
        if len(_known_roles(rows[0])) >= 2:
            return separator
        if n_fields >= 3 and share >= 0.5:
            shares[separator] = share
    best = [separator for separator, share in shares.items() if share == max(shares.values())]
    if len(best) > 1 and " " in best:  # as in "1, 2, 3" or between date and time
        best.remove(" ")
    if not best:
        raise DatasetError(
            f"{where}, first line: {lines[0][:80]!r} has no separator (tab, ::, ; , | or space) that makes the same "
            "three or more columns on most lines; give it, such as separator=';'"
        )
    if len(best) > 1:
        raise DatasetError(f"{where} may be separated by {' or '.join(map(repr, best))}; give separator={best[0]!r}")
    return best[0]


def _most_common(counts: list[int]) -> tuple[int, float]:
    value, n = Counter(counts).most_common(1)[0]
    return value, n / len(counts)


def _is_header(first: list[str]) -> bool:
    """Say whether a row names columns: it holds no number, or known names of the rating and another column."""
    known = _known_roles(first)
    return ("rating" in known and len(known) >= 2) or not any(is_number(field) for field in first)


def _known_roles(names: list[str]) -> set[str]:
    return {role for name in names if (role := role_of(name)) is not None}
