"""Recognising a text file: its separator, its header and the roles of its columns.

Only guesses that a user would make too are made here; everything else is an error that states
what to pass. The rows themselves are read in `text`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from bench.datasets.errors import DatasetError
from bench.text.wording import plural

from .columns import choose_columns, recognised_roles
from .doubt import check_order
from .formats import known_text
from .header import check_header, check_shifted, is_header, names_of_columns, without_preamble
from .lines import (
    BLANK,
    LINE_END,
    SEPARATORS,
    is_decimal_comma,
    is_number,
    most_common,
    split_line,
)
from .options import FileOptions, Source

_SAMPLE_LINES = 50
_MORE_LINES = 1000  # that show whether numbers have a decimal comma, times are dates
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
    head = without_preamble(all_lines, options, source)
    lines = head.lines[:_SAMPLE_LINES]
    if not lines:
        raise DatasetError(
            f"{source} has only comments at its beginning, up to line {len(all_lines)}; expected "
            "one rating per line: user, item, rating"
        )
    first_line = f"{source}, first line: {lines[0][:80]!r}"

    separator = options.separator or head.separator or _separator(lines, source)
    rows = [split_line(line, separator) for line in lines]
    header = is_header(rows, separator, options, first_line, source)
    if header:
        check_header(rows, options, first_line, source)
    names = names_of_columns(rows, lines, separator, first_line) if header else []
    # Without a header the first row may be a bad one, so the majority decides.
    n_fields = len(names) if header else most_common([len(row) for row in rows])[0]
    body = [row for row in rows[header:] if len(row) == n_fields]
    more = [split_line(line, separator) for line in head.lines[header:_MORE_LINES]]
    more = [row for row in more if len(row) == n_fields]
    stated = header or options.columns is not None
    empty = () if stated else _empty_columns(body, n_fields)
    if n_fields - len(empty) < 3:
        raise DatasetError(
            f"{first_line} has {plural(n_fields - len(empty), 'field')} separated by "
            f"{separator!r}, but user, item and rating are needed. "
            + source.advice("For another separator, {}", separator=_another(lines, separator))
        )

    names = names if header else [""] * n_fields
    if stated:
        columns = choose_columns(names, header, options.columns, source)
        if header and len(names) > len(rows[0]) and names[0] == "" and options.columns is None:
            check_shifted(rows, [row[columns[2]] for row in more], separator, first_line)
    else:
        filled = [position for position in range(n_fields) if position not in empty]
        wanted = [[row[n] for n in filled] for row in more]
        check_order(wanted, filled, first_line, source, comma=separator != ",")
        columns = tuple(filled[n] for n in choose_columns([""] * len(filled), False, None, source))

    dates = False
    if len(columns) == 4:
        n_numbers = sum(is_number(row[columns[3]]) for row in more)
        dates = 2 * n_numbers < len(more)
    return Layout(
        separator,
        head.n_skipped + header,
        n_fields,
        columns,
        dates,
        options.decimal or _decimal([row[columns[2]] for row in more], source),
        head.comment,
        head.n_comments,
        empty,
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
        if len([role for role in recognised_roles(rows[0]) if role]) >= 2:
            return separator
        n_fields, share = most_common([len(row) for row in rows])
        if n_fields >= 3 and share >= 0.5:
            shares[separator] = share

    if len(shares) > 1:  # spaces may follow another separator, or stand in a date or a title
        shares.pop(" ", None)
    best = [separator for separator, share in shares.items() if share == max(shares.values())]
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


def _another(lines: list[str], separator: str) -> str:
    """Return a separator that splits the lines into more fields than this one, if there is one."""
    others = [other for other in SEPARATORS if other != separator]
    counts = [most_common([len(split_line(line, other)) for line in lines]) for other in others]
    return max(zip(counts, others, strict=True), key=lambda one: one[0])[1]
