"""What is in a file of ratings, read by other means than the readers under test.

Whoever wrote a file knows its layout. By it, a small parser and, where they can, pandas, polars and
pyarrow split the file into rows; the documented rules for ids, missing values and bad rows are
applied to these here. Nothing of `bench` is used, so that a mistake there is not repeated.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
from reading_rules import MISSING, ROLES, CannotTell, Rows, of_one_kind, rating, time, trimmed_id


class Stated(NamedTuple):
    """What the writer of a text knows about it."""

    separator: str
    names: tuple[str, ...]  # of all columns, in the header if there is one
    roles: dict[str, str]  # role -> name of its column
    header: bool = True
    decimal: str = "."
    comment: str = ""
    encoding: str = "utf-8"
    row_names: bool = False  # as R writes them: the header has no name for the first column
    no_column: bool = False  # a separator ends each line


class Cell(NamedTuple):
    """One field of a text."""

    text: str
    quoted: bool
    swallowed: bool = False  # lines, by a quote that was never closed, or not where it should be


_HAS_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
Record = list[Cell]


def text_readings(data: bytes, stated: Stated, options: dict[str, Any]) -> Iterator[Rows]:
    """Yield what a small parser finds in a text, and then what pandas and polars do.

    Raises
    ------
    CannotTell
        If the file is no longer the one that was stated, or its cells can be understood in several
        ways.
    """
    text = _decoded(_unpacked(data), options["encoding"] or stated.encoding)
    lone = stated.separator if len(stated.separator) == 1 else ""
    if re.search(r"[\r\n]\ufeff", text):
        raise CannotTell("a byte order mark inside")
    if '"' in text and "\n" in text and re.search(r"\r(?!\n)", text):
        raise CannotTell("quotes, and lines that end in two ways")
    records = [
        record
        for record in _records(text, stated.separator)
        if not _is_blank(record, stated.separator)
    ]
    if stated.comment:
        n_all = len(records)
        # An id that starts like a comment is none if it is quoted.
        records = [
            record
            for record in records
            if record[0].quoted or not record[0].text.startswith(stated.comment)
        ]
        n_comments = n_all - len(records)
    else:
        n_comments = 0
    if any(one[0].text.lstrip()[:1] in ("#", "%") and not one[0].quoted for one in records):
        raise CannotTell("a row that may be a comment")
    positions, n_fields = _positions(records, stated, options)
    body = records[1 if stated.header else 0 :]
    found = _rows(body, positions, n_fields, n_comments, stated, options)
    yield found
    if found.refuse:
        return
    sound = all(len(record) == n_fields for record in body)
    if not (sound and lone and lone != " " and not stated.comment) or "\0" in text:
        return
    for read in (_by_pandas, _by_polars):
        cells = read(text, lone, len(records[0]) if stated.header else n_fields)
        if cells is None:
            continue
        split = [row for row in cells if any(cell.strip(" \t") for cell in row)][stated.header :]
        # Which cells were quoted only the small parser knows.
        marks = [[cell.quoted for cell in record] for record in body]
        if len(split) != len(body):
            marks = [[False] * len(row) for row in split]
        again = [list(map(Cell, *both)) for both in zip(split, marks, strict=True)]
        yield _rows(again, positions, n_fields, n_comments, stated, options)


def _unpacked(data: bytes) -> bytes:
    try:
        if data.startswith(b"\x1f\x8b"):
            return _unpacked(gzip.decompress(data))
        if data.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return _unpacked(archive.read(archive.namelist()[0]))
    except Exception as error:  # whatever is damaged
        raise CannotTell("a damaged archive") from error
    return data


def _decoded(data: bytes, encoding: str) -> str:
    try:
        if encoding == "utf-8" and data.startswith((b"\xff\xfe", b"\xfe\xff")):
            encoding = "utf-16"
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except (LookupError, UnicodeError) as error:
        raise CannotTell("bytes that are no text") from error


def _records(text: str, separator: str) -> Iterator[Record]:
    """Yield the records of a text as RFC 4180 has them, with any separator and any line end."""
    between = re.escape(separator)
    if separator == " ":
        text, between = re.sub(r"(?:\A|(?<=[\r\n])) +| +(?=[\r\n]|\Z)", "", text), " +"
    if len(separator.encode()) > 1 or '"' not in text:
        for line in re.split(r"\r\n|\r|\n", text):
            yield [Cell(cell, False) for cell in re.split(between, line)]
        return
    ending, inside = re.compile(rf"\r\n|\r|\n|{between}|\Z"), re.compile(r'"((?:[^"]|"")*)"?')
    at, record = 0, Record()
    while at < len(text) or record:
        start, cell, swallowed = at, "", False
        quote = inside.match(text, at)
        if quote:
            cell, start = quote[1].replace('""', '"'), quote.end()
        end = ending.search(text, start)
        if quote and re.search(r"[\r\n]\s*\S", cell):
            swallowed = end.start() > start or len(quote[0]) < 2 or quote[0][-1] != '"'
        record.append(Cell(cell + text[start : end.start()], quote is not None, swallowed))
        at = end.end()
        if end[0][:1] in ("", "\r", "\n"):
            yield record
            record = []


def _is_blank(record: Record, separator: str) -> bool:
    # A line of separators alone is a row, unless they are spaces or tabs.
    may_be = len(record) == 1 or separator in ("\t", " ")
    return may_be and not any(cell.quoted or cell.text.strip(" \t") for cell in record)


def _positions(
    records: list[Record], stated: Stated, options: dict[str, Any]
) -> tuple[dict[str, int], int]:
    """Return where the wanted columns are, and how many fields a row has."""
    if options["separator"] not in (None, stated.separator):
        raise CannotTell("another separator")
    if options["header"] not in (None, stated.header):
        raise CannotTell("another header")
    if not records:
        raise CannotTell("nothing")
    names = list(stated.names)
    if stated.header:
        names = [cell.text.strip() for cell in records[0]]
        if stated.row_names:
            names.insert(0, stated.names[0])
        if stated.no_column and len(names) < len(stated.names):
            names.append(stated.names[-1])
        if sorted(names) != sorted(stated.names):
            raise CannotTell("another header")
    elif not any(rating(cell.text, ".") is not None for cell in records[0]) or any(
        "rating" in cell.text for cell in records[0]
    ):
        raise CannotTell("a first row like a header")
    counts = Counter(len(record) for record in records[stated.header : 50]).most_common(2)
    if counts and 2 * counts[0][1] <= sum(n for _, n in counts) + 2:
        raise CannotTell("rows of several lengths")
    if counts and counts[0][0] != len(names):
        raise CannotTell("another number of columns")
    if stated.no_column and any(record[-1].text.strip() for record in records[stated.header :]):
        raise CannotTell("text behind the last separator")
    return _roles(names, stated, options["columns"]), len(names)


def _roles(names: list[str], stated: Stated, columns: Sequence[str | int] | None) -> dict[str, int]:
    if columns is None:
        return {role: names.index(name) for role, name in stated.roles.items()}
    out = {}
    for role, column in zip(ROLES, columns, strict=False):
        position = names.index(column) if column in names else column
        if not isinstance(position, int) or position >= len(names):
            raise CannotTell("no such column")
        out[role] = position
    return out


def _rows(
    body: list[Record],
    positions: dict[str, int],
    n_fields: int,
    n_comments: int,
    stated: Stated,
    options: dict[str, Any],
) -> Rows:
    """Return the wanted columns of all rows that have the right number of fields."""
    right = [record for record in body if len(record) == n_fields]
    columns = {role: [record[n] for record in right] for role, n in positions.items()}
    missing = MISSING if options["missing_ids"] is None else options["missing_ids"]
    users, items = (
        [trimmed_id(cell.text, () if cell.quoted else missing) for cell in columns[role]]
        for role in ("user", "item")
    )
    texts = [cell.text for cell in columns["rating"]]
    decimal = options["decimal"] or _decimal(texts, stated)
    times = None
    if "time" in columns:
        times = of_one_kind([time(cell.text) for cell in columns["time"]])
    n_wrong = len(body) - len(right)
    refuse = ""
    if any(re.search(r"[\r\n]", cell.text) for column in columns.values() for cell in column):
        refuse = "a line end inside a value"
    if any(cell.swallowed for record in body for cell in record):
        refuse = "an open quote, and lines in it"
    if n_wrong and options["on_bad_rows"] == "error":
        refuse = "a row with a wrong number of fields"
    return Rows(
        users,
        items,
        [rating(text, decimal) for text in texts],
        times,
        n_wrong + n_comments,
        refuse,
    )


def _decimal(texts: list[str], stated: Stated) -> str:
    commas = [text for text in texts if "," in text]
    usual = all(_HAS_COMMA.fullmatch(text) for text in commas)
    mixed = any("." in text for text in texts) or not usual
    if commas and (stated.decimal == "." or mixed or not any("," in one for one in texts[:48])):
        raise CannotTell("decimal points and commas, or commas far below")
    return stated.decimal if commas else "."


def _by_pandas(text: str, separator: str, n_fields: int) -> list[list[str]] | None:
    try:
        frame = pd.read_csv(
            io.StringIO(text, newline=""),
            sep=separator,
            header=None,
            names=range(n_fields),
            index_col=False,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=True,
            on_bad_lines="error",
        )
    except (ValueError, pd.errors.ParserError):
        return None
    return frame.fillna("").to_numpy().tolist()


def _by_polars(text: str, separator: str, n_fields: int) -> list[list[str]] | None:
    if "\r" in text.replace("\r\n", ""):
        return None  # a line end to others
    try:
        frame = pl.read_csv(
            text.encode(),
            separator=separator,
            has_header=False,
            infer_schema=False,
        )
    except (pl.exceptions.PolarsError, UnicodeError):
        return None
    if frame.width != n_fields:
        return None
    return [list(row) for row in frame.fill_null("").iter_rows()]
