"""The beginning of a text that is not rows: Excel's "sep=", comments, the names of the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from bench.datasets.errors import DatasetError
from bench.text.wording import plural

from .columns import ROLES, recognised_roles, role_of
from .doubt import looks_like_ratings
from .lines import BLANK, SEPARATORS, is_decimal_comma, is_number, most_common, split_line
from .options import FileOptions, Source

_FIRST_ROWS = 20  # that a comment is compared with
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


class Head(NamedTuple):
    """The lines of a file's beginning that are not rows."""

    lines: list[str]  # without comments and "sep="
    separator: str | None  # as stated by the file
    n_skipped: int
    comment: str
    n_comments: int


def without_preamble(lines: list[str], options: FileOptions, source: Source) -> Head:
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
    comment = rest[0].lstrip()[:1] if rest else ""
    if comment not in ("#", "%") or all(line.lstrip().startswith(comment) for line in rest[1:]):
        return Head(rest, separator, n_skipped, "", 0)
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
        return Head([last, *rows], separator, n_skipped + n_comments - 1, comment, n_comments - 1)
    return Head(rows, separator, n_skipped + n_comments, comment, n_comments)


def _is_like(line: str, rows: Sequence[str]) -> bool:
    """Return whether a line has numbers where one of the first rows has some: it may be a row."""
    for separator in SEPARATORS:
        fields = split_line(line, separator)
        numbers = [is_number(one) for one in fields[2:]]
        for row in (split_line(row, separator) for row in rows[:_FIRST_ROWS]):
            if len(fields) == len(row) >= 3 and numbers == [is_number(one) for one in row[2:]]:
                return True
    return False


def _names_columns(line: str, row: str) -> bool:
    """Return whether a line has a name for each field of a row, of which two are known."""
    splits = [(split_line(line, one), split_line(row, one)) for one in SEPARATORS]
    return any(
        len(names) == len(fields) and len(_known_roles(names)) >= 2 for names, fields in splits
    )


def is_header(
    rows: list[list[str]], separator: str, options: FileOptions, first_line: str, source: Source
) -> bool:
    """Return whether the first row names columns, unless the user states it.

    It does if none of its fields is a number, or if it has known names for the rating and at least
    one more column: ``user,book,3`` has two known names and is still a rating.
    """
    if options.header is not None:
        return options.header
    if _counts_columns(rows[0]):
        raise DatasetError(
            f"{first_line} may number the columns, or be a row. "
            + source.advice("If it numbers them, {}, and say", header=True)
            + " which are user, item and rating; "
            + f"if it is a row, {source.how('header', False)}"
        )
    first, known = rows[0], _known_roles(rows[0])
    if "rating" in known and len(known) >= 2:
        return True
    decimal_comma = options.decimal == "," or (options.decimal is None and separator != ",")
    return not any(
        is_number(field) or (decimal_comma and is_decimal_comma(field)) for field in first
    )


def check_header(
    rows: list[list[str]], options: FileOptions, first_line: str, source: Source
) -> None:
    """Raise an error if the first row, which looks like a header, may be a rating without number.

    That is in doubt only if the user states where the columns are, not what they are called, and
    the ids have no numbers either.
    """
    columns, body = options.columns, rows[1:]
    if options.header is not None or columns is None or len(_known_roles(rows[0])) >= 2 or not body:
        return
    if any(isinstance(column, str) for column in columns):
        return
    fields = [row[n] for row in body for n in columns[:2] if isinstance(n, int) and n < len(row)]
    if not any(map(is_number, fields)):
        raise DatasetError(
            f"{first_line} may name the columns, or be a rating that is not a number. "
            + source.advice("If it names them, {}; ", header=True)
            + f"if it does not, {source.how('header', False)}"
        )


def names_of_columns(
    rows: list[list[str]], lines: Sequence[str], separator: str, first_line: str
) -> list[str]:
    """Return the names of all columns in the first row, one for each field of the others.

    Names that R leaves out, above its row names, and those of an empty last column are "". R's row
    names are quoted, as is its header, or count the rows, which are not separated by commas then;
    anything else may be a column whose name was forgotten.

    Raises
    ------
    DatasetError
        If most of the other rows have another number of fields.
    """
    names = [name.strip() for name in rows[0]]
    n_fields, share = most_common([len(row) for row in rows[1:]]) if len(rows) > 1 else (0, 0.0)
    if n_fields == len(names) or share <= 0.5:
        return names
    usual = [row for row in rows[1:] if len(row) == n_fields]
    if n_fields == len(names) - 1 and names[-1] == "":
        return names[:-1]
    if n_fields == len(names) + 1:
        is_last_empty = all(not row[-1].strip(BLANK) for row in usual)
        are_row_names = _are_row_names([row[0] for row in usual], lines, separator)
        if is_last_empty and role_of(names[-1]) in ROLES:
            return [*names, ""]
        if are_row_names and (not is_last_empty or names[-1] == ""):
            return ["", *names]
    raise _other_length(first_line, len(names), n_fields)


def check_shifted(
    rows: list[list[str]], ratings: Sequence[str], separator: str, first_line: str
) -> None:
    """Raise an error if what would be the ratings beside R's row names does not look like them."""
    if not looks_like_ratings(ratings, comma=separator != ","):
        raise _other_length(first_line, len(rows[0]), len(rows[0]) + 1)


def _other_length(first_line: str, n_names: int, n_fields: int) -> DatasetError:
    return DatasetError(
        f"{first_line} has {plural(n_names, 'field')}, but most lines after it have {n_fields}. "
        "Complete it if it names the columns, or remove it if it is a title or a comment"
    )


def _counts_columns(first: list[str]) -> bool:
    """Return whether fields are 0, 1, 2, ..., as pandas numbers columns without names.

    After an empty field or a name, they may also begin with 1, as the items of a matrix.
    """
    is_named = not first[0].strip().isdecimal()
    numbers = [text.strip() for text in first[is_named:]]
    if len(numbers) < 3 or not all(text.isdecimal() for text in numbers):
        return False
    start = int(numbers[0])
    is_count = [int(text) for text in numbers] == list(range(start, start + len(numbers)))
    return is_count and (start == 0 or (start == 1 and is_named))


def _are_row_names(texts: list[str], lines: Sequence[str], separator: str) -> bool:
    """Return whether texts count the rows, a few of which may be missing, or all are quoted."""
    if len(set(texts)) < len(texts):
        return False
    if all(line.lstrip().startswith('"') for line in lines):
        return True
    numbers = [int(text) for text in texts if text.isdecimal()]
    if separator == "," or not numbers:
        return False
    return numbers == sorted(numbers) and texts[0] in ("0", "1") and numbers[-1] <= 2 * len(texts)


def _known_roles(names: list[str]) -> set[str]:
    return {role for role in recognised_roles(names) if role is not None}
