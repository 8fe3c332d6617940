"""Recognising a text file: its separator, its header and the roles of its columns.

Only guesses that a user would make too are made here; everything else is an error that states
what to pass. The rows themselves are read in `text`.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from typing import NamedTuple

from bench.datasets.errors import DatasetError
from bench.text.wording import plural

from .columns import Columns, as_number, choose_columns, is_number, role_of

SEPARATORS = ("\t", "::", ";", ",", "|", " ")
LINE_END = re.compile(r"\r\n|\n|\r")
BLANK = " \t\r\n"  # a line of nothing but these is empty
_SAMPLE_LINES = 50
_SMALLEST_TIME = 1e8  # Unix time of a day in 1973; no rating scale reaches it


class TextOptions(NamedTuple):
    """What the user states about a text file; None means that it is to be recognised."""

    columns: Columns | None = None
    separator: str | None = None
    header: bool | None = None
    encoding: str | None = None


class Layout(NamedTuple):
    """How to read the lines of a text file."""

    separator: str
    header: bool
    n_fields: int
    columns: tuple[int, ...]  # positions of user, item, rating and, if there is one, timestamp
    dates: bool  # the timestamps are dates, not numbers


def sniff(sample: str, options: TextOptions, where: str) -> Layout:
    """Recognise the layout of a text file from its first lines.

    Parameters
    ----------
    sample
        The beginning of the file, in whole lines.
    options
        What the user states; it is not questioned.
    where
        The file's name, for errors.

    Raises
    ------
    DatasetError
        If the separator or the columns are ambiguous; the message says what to pass.
    """
    lines = [line for line in LINE_END.split(sample) if line.strip(BLANK)][:_SAMPLE_LINES]
    if not lines:
        raise DatasetError(f"{where} is empty; expected one rating per line: user, item, rating")
    first_line = f"{where}, first line: {lines[0][:80]!r}"

    separator = options.separator or _separator(lines, where)
    rows = [split_line(line, separator) for line in lines]
    header = _is_header(rows[0]) if options.header is None else options.header
    # Without a header the first row may be a bad one, so the majority decides.
    n_fields = len(rows[0]) if header else _most_common([len(row) for row in rows])[0]
    if n_fields < 3:
        raise DatasetError(
            f"{first_line} has {plural(n_fields, 'field')} separated by {separator!r}, "
            "but user, item and rating are needed. Pass another separator, such as separator=';'"
        )

    names = [name.strip() for name in rows[0]] if header else [""] * n_fields
    columns = choose_columns(names, header, options.columns, where)
    body = rows[1:] if header else rows
    body = [row for row in body if len(row) == n_fields]
    guessed = not header and options.columns is None
    if guessed and body and as_number(body[0][2]) >= _SMALLEST_TIME:
        raise DatasetError(
            f"{first_line} has no header, and its third column looks like times, not ratings. "
            "Pass the positions of user, item, rating and time, such as columns=(0, 1, 3, 2)"
        )

    dates = False
    if len(columns) == 4:
        n_numbers = sum(is_number(row[columns[3]]) for row in body)
        dates = 2 * n_numbers < len(body)
    return Layout(separator, header, n_fields, columns, dates)


def split_line(line: str, separator: str) -> list[str]:
    """Return the fields of a line, which may be quoted if `is_quotable` says so."""
    if not is_quotable(separator):
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a field longer than csv's limit
        return line.split(separator)


def is_quotable(separator: str) -> bool:
    """Return whether fields may be quoted, which they may if the separator is a single byte."""
    return len(separator.encode()) == 1


def _separator(lines: list[str], where: str) -> str:
    """Return the separator that gives most lines the same number of fields, at least three."""
    shares = {}
    for separator in SEPARATORS:
        rows = [split_line(line, separator) for line in lines]
        # Two known column names in the first line settle it, however irregular the lines are.
        if len(_known_roles(rows[0])) >= 2:
            return separator
        n_fields, share = _most_common([len(row) for row in rows])
        if n_fields >= 3 and share >= 0.5:
            shares[separator] = share

    best = [separator for separator, share in shares.items() if share == max(shares.values())]
    if len(best) > 1 and " " in best:  # as in "1, 2, 3", or between a date and a time
        best.remove(" ")
    if not best:
        raise DatasetError(
            f"{where}, first line: {lines[0][:80]!r} has no separator (tab, ::, ; , | or space) "
            "that splits most lines into the same three or more columns. "
            "Pass the separator, such as separator=';'"
        )
    if len(best) > 1:
        candidates = " or ".join(map(repr, best))
        raise DatasetError(
            f"{where} may be separated by {candidates}. Pass one of them, such as "
            f"separator={best[0]!r}"
        )
    return best[0]


def _most_common(counts: list[int]) -> tuple[int, float]:
    """Return the most common number, and its share of all."""
    value, n = Counter(counts).most_common(1)[0]
    return value, n / len(counts)


def _is_header(first: list[str]) -> bool:
    """Return whether the first row names columns.

    It does if none of its fields is a number, or if it has known names for the rating and at least
    one more column: ``user,book,3`` has two known names and is still a rating.
    """
    known = _known_roles(first)
    if "rating" in known and len(known) >= 2:
        return True
    return not any(is_number(field) for field in first)


def _known_roles(names: list[str]) -> set[str]:
    roles = {role_of(name) for name in names}
    return {role for role in roles if role is not None}
