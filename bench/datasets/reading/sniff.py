"""Recognising a text file: its separator, its header and the roles of its columns.

Only guesses that a user would make too are made here; everything else is an error that states
what to pass. The rows themselves are read in `text`.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.datasets.errors import DatasetError
from bench.text.wording import plural

from .columns import choose_columns, recognised_roles
from .doubt import check_order
from .formats import known_text
from .options import FileOptions, Source

SEPARATORS = ("\t", "::", ";", ",", "|", " ")
LINE_END = re.compile(r"\r\n|\n|\r")
BLANK = " \t\r\n"  # a line of nothing but these is empty
_SAMPLE_LINES = 50
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
_SHORT_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d{1,3}(,\d{1,2})?\s*")


class Layout(NamedTuple):
    """How to read the lines of a text file."""

    separator: str  # " " stands for one or more spaces
    n_skipped: int  # lines before the first row that are not blank: header, comments, "sep=;"
    n_fields: int
    columns: tuple[int, ...]  # positions of user, item, rating and, if there is one, timestamp
    dates: bool  # the timestamps are dates, not numbers
    decimal: str = "."
    comment: str = ""  # "#" or "%" if lines that start with it are comments
    n_comments: int = 0  # how many of the skipped lines are comments
    empty: tuple[
        int, ...
    ] = ()  # positions of columns that are taken for none, because all is empty


class _Head(NamedTuple):
    """The lines of a file's beginning that are not rows."""

    lines: list[str]  # without comments and "sep="
    separator: str | None  # as stated by the file
    n_skipped: int
    comment: str
    n_comments: int


def sniff(sample: str, options: FileOptions, source: Source) -> Layout:
    """Recognise the layout of a text file from its first lines.

    Parameters
    ----------
    sample
        The beginning of the file, in whole lines.
    options
        What the user states; it is not questioned.
    source
        For errors.

    Raises
    ------
    DatasetError
        If the separator or the columns are ambiguous; the message says what to pass.
    """
    all_lines = [line for line in LINE_END.split(sample) if line.strip(BLANK)]
    if not all_lines:
        raise DatasetError(f"{source} is empty; expected one rating per line: user, item, rating")
    if found := known_text(all_lines[:3]):
        raise DatasetError(f"{source} is {found[0]}, which is not read. {found[1]}")
    head = _without_preamble(all_lines, options, source)
    lines = head.lines[:_SAMPLE_LINES]
    if not lines:
        raise DatasetError(
            f"{source} has only comments at its beginning, up to line {len(all_lines)}; expected "
            "one rating per line: user, item, rating"
        )
    first_line = f"{source}, first line: {lines[0][:80]!r}"

    separator = options.separator or head.separator or _separator(lines, source)
    rows = [split_line(line, separator) for line in lines]
    decimal_comma = options.decimal == "," or (options.decimal is None and separator != ",")
    header = _is_header(rows[0], decimal_comma) if options.header is None else options.header
    if header and options.header is None:
        _check_header(rows, first_line)
    names = _names(rows, header, first_line)
    # Without a header the first row may be a bad one, so the majority decides.
    n_fields = len(names) if header else _most_common([len(row) for row in rows])[0]
    body = [row for row in rows[header:] if len(row) == n_fields]
    stated = header or options.columns is not None
    empty = () if stated else _empty_columns(body, n_fields)
    if n_fields - len(empty) < 3:
        raise DatasetError(
            f"{first_line} has {plural(n_fields - len(empty), 'field')} separated by "
            f"{separator!r}, but user, item and rating are needed. "
            + source.advice("For another separator, {}", separator=_another(separator))
        )

    names = names if header else [""] * n_fields
    if stated:
        columns = choose_columns(names, header, options.columns, source)
    else:
        filled = [position for position in range(n_fields) if position not in empty]
        more = [split_line(line, separator) for line in head.lines]
        more = [row for row in more if len(row) == n_fields]
        check_order([[row[n] for n in filled] for row in more], filled, first_line, source)
        columns = tuple(filled[n] for n in choose_columns([""] * len(filled), False, None, source))

    dates = False
    if len(columns) == 4:
        n_numbers = sum(is_number(row[columns[3]]) for row in body)
        dates = 2 * n_numbers < len(body)
    return Layout(
        separator,
        head.n_skipped + header,
        n_fields,
        columns,
        dates,
        options.decimal or _decimal([row[columns[2]] for row in body], source),
        head.comment,
        head.n_comments,
        empty,
    )


def split_line(line: str, separator: str) -> list[str]:
    """Return the fields of a line, which may be quoted if `is_quotable` says so."""
    if separator == " ":
        line = re.sub(" +", " ", line.strip(" "))
    if not is_quotable(separator):
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a field longer than csv's limit
        return line.split(separator)


def is_quotable(separator: str) -> bool:
    """Return whether fields may be quoted, which they may if the separator is a single byte."""
    return len(separator.encode()) == 1


def as_number(text: str) -> float:
    """Return a text as a number, NaN if it is not one."""
    if "_" in text:  # float("1_0") is 10 to Python
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    return bool(np.isfinite(as_number(text)))


def is_decimal_comma(text: str) -> bool:
    """Return whether a text is a number with a decimal comma, such as "2,5"."""
    return _DECIMAL_COMMA.fullmatch(text) is not None


def _without_preamble(lines: list[str], options: FileOptions, source: Source) -> _Head:
    """Return the lines without comments and Excel's "sep=;" before the first row.

    The last comment can name the columns. If all lines start with "#", none is a comment.

    Raises
    ------
    DatasetError
        For a line that starts with "#" and looks like a rating.
    """
    separator, n_skipped = None, 0
    if match := _EXCEL_SEPARATOR.fullmatch(lines[0]):
        separator, n_skipped = match[1], 1
    rest = lines[n_skipped:]
    comment = rest[0].lstrip()[0] if rest else ""
    if comment not in ("#", "%") or all(line.lstrip().startswith(comment) for line in rest[1:]):
        return _Head(rest, separator, n_skipped, "", 0)
    n_comments = next(
        (n for n, line in enumerate(rest) if not line.lstrip().startswith(comment)), len(rest)
    )
    last = rest[n_comments - 1].lstrip().lstrip(comment).strip()
    rows = [line for line in rest if not line.lstrip().startswith(comment)]
    if comment == "#" and any(_is_like(line, rows) for line in rest[:n_comments]):
        raise DatasetError(
            f"{source}: lines that start with '#' may be comments or ratings, such as "
            f"{rest[0][:80]!r}. Remove them, or quote the ids that start with '#'"
        )
    if options.header is not False and rows and _names_columns(last, rows[0]):
        return _Head([last, *rows], separator, n_skipped + n_comments - 1, comment, n_comments - 1)
    return _Head(rows, separator, n_skipped + n_comments, comment, n_comments)


def _is_like(line: str, rows: Sequence[str]) -> bool:
    """Return whether a line has numbers where the row after it has some, so that it may be one."""
    if not rows:
        return False
    for separator in SEPARATORS:
        fields, row = split_line(line, separator), split_line(rows[-1], separator)
        if len(fields) == len(row) >= 3:
            return [is_number(one) for one in fields[2:]] == [is_number(one) for one in row[2:]]
    return False


def _names_columns(line: str, row: str) -> bool:
    """Return whether a line has a name for each field of a row, of which two are known."""
    splits = [(split_line(line, one), split_line(row, one)) for one in SEPARATORS]
    return any(
        len(names) == len(fields) and len(_known_roles(names)) >= 2 for names, fields in splits
    )


def _check_header(rows: list[list[str]], first_line: str) -> None:
    """Raise an error if the first line is no header, but a title or a comment."""
    if len(rows) < 2 or len(_known_roles(rows[0])) >= 2:
        return
    n_fields, share = _most_common([len(row) for row in rows[1:]])
    if n_fields != len(rows[0]) and n_fields >= 3 and share > 0.5:
        raise DatasetError(
            f"{first_line} has {plural(len(rows[0]), 'field')}, but most lines after it have "
            f"{n_fields}. Remove it if it is a title or a comment, or complete it if it names the "
            "columns"
        )


def _names(rows: list[list[str]], header: bool, first_line: str) -> list[str]:
    """Return the names of all columns in the header, one for each field of the rows.

    Names that R leaves out, above its row names, and those of an empty last column are "".
    """
    if not header:
        return []
    names = [name.strip() for name in rows[0]]
    body = rows[1:]
    if body and names[-1] == "" and all(len(row) == len(names) - 1 for row in body):
        return names[:-1]
    if not body or any(len(row) != len(names) + 1 for row in body):
        return names
    if all(not row[-1].strip(BLANK) for row in body):
        return [*names, ""]
    if len({row[0] for row in body}) == len(body):
        return ["", *names]
    raise DatasetError(
        f"{first_line} has names for {len(names)} columns, but all rows have {len(names) + 1} "
        "fields. Add the missing name to the first line"
    )


def _empty_columns(body: Sequence[list[str]], n_fields: int) -> tuple[int, ...]:
    """Return the columns without any text, as after a separator at the end of each line."""
    return tuple(
        position
        for position in range(n_fields)
        if body and not any(row[position].strip(BLANK) for row in body)
    )


def _decimal(texts: list[str], source: Source) -> str:
    """Return the decimal separator of the ratings: a comma if they have one and no point has."""
    commas = [text for text in texts if is_decimal_comma(text)]
    if not commas or any("." in text for text in texts):
        return "."
    if all(_SHORT_DECIMAL_COMMA.fullmatch(text) for text in texts if text.strip()):
        return ","
    raise DatasetError(
        f"{source}: the rating {commas[0]!r} may have a decimal comma, or one between thousands. "
        + source.advice("If it is a decimal comma, {}", decimal=",")
    )


def _separator(lines: list[str], source: Source) -> str:
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
            f"{source}, first line: {lines[0][:80]!r} has no separator (tab, ::, ; , | or space) "
            "that splits most lines into the same three or more columns. "
            + source.advice("For another one, {}", separator="~")
        )
    if len(best) > 1:
        candidates = " or ".join(map(repr, best))
        raise DatasetError(
            f"{source} may be separated by {candidates}. "
            + source.advice("{} or another one of them", separator=best[0])
        )
    return best[0]


def _another(separator: str) -> str:
    return ";" if separator != ";" else ","


def _most_common(counts: list[int]) -> tuple[int, float]:
    """Return the most common number, and its share of all."""
    value, n = Counter(counts).most_common(1)[0]
    return value, n / len(counts)


def _is_header(first: list[str], decimal_comma: bool) -> bool:
    """Return whether the first row names columns.

    It does if none of its fields is a number, or if it has known names for the rating and at least
    one more column: ``user,book,3`` has two known names and is still a rating.
    """
    known = _known_roles(first)
    if "rating" in known and len(known) >= 2:
        return True
    return not any(
        is_number(field) or (decimal_comma and is_decimal_comma(field)) for field in first
    )


def _known_roles(names: list[str]) -> set[str]:
    return {role for role in recognised_roles(names) if role is not None}
