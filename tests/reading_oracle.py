"""What is in a file of ratings, read by other means than the readers under test.

Whoever wrote a file knows its layout. By it, a small parser and, where they can, pandas, polars and
pyarrow split the file into rows; the documented rules for ids, missing values and bad rows are
applied to these here. Nothing of `bench` is used, so that a mistake there is not repeated.
"""

from __future__ import annotations

import gzip
import io
import math
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl

MISSING = {"NULL", "null", r"\N", "NaN", "nan", "NA", "<NA>", "N/A", "n/a", "None"}
ROLES = ("user", "item", "rating", "time")
# Unicode's spaces without the separators of ASCII, and characters that have no width.
_UNSEEN = "".join(chr(n) for n in range(0x3001) if chr(n).isspace() and n not in range(28, 32))
_UNSEEN += "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)(\.0+)?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?")
_HAS_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


class CannotTell(Exception):
    """Readers may differ on this file for good reasons."""


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
    text: str
    quoted: bool


class Rows(NamedTuple):
    """The wanted columns as they are in a file; None for what is missing or cannot be used."""

    users: list[str | None]
    items: list[str | None]
    ratings: list[float | None]
    times: list[Any] | None
    n_others: int = 0  # rows with a wrong number of fields, and comments among the rows
    refuse: str = ""  # why nobody should read this, if so


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
    records = [record for record in _records(text, stated.separator) if not _is_blank(record)]
    if stated.comment:
        n_all = len(records)
        records = [record for record in records if not record[0].text.startswith(stated.comment)]
        n_comments = n_all - len(records)
    else:
        n_comments = 0
    if any(record[0].text.lstrip()[:1] in ("#", "%") for record in records):
        raise CannotTell("a row that may be a comment")
    positions, n_fields = _positions(records, stated, options)
    body = records[1 if stated.header else 0 :]
    yield _rows(body, positions, n_fields, n_comments, stated, options)
    sound = all(len(record) == n_fields for record in body)
    if not (sound and lone and lone != " " and not stated.comment) or "\0" in text:
        return
    for read in (_by_pandas, _by_polars):
        cells = read(text, lone, len(records[0]) if stated.header else n_fields)
        if cells is None:
            continue
        found = [row for row in cells if any(cell.strip(" \t") for cell in row)]
        if stated.header:
            found = found[1:]
        if len(found) == len(body):
            again = [
                [Cell(text, old.quoted) for text, old in zip(row, record, strict=True)]
                for row, record in zip(found, body, strict=True)
            ]
        else:
            again = [[Cell(text, False) for text in row] for row in found]
        yield _rows(again, positions, n_fields, n_comments, stated, options)


def difference(raw: Any, rows: Rows, *, drop: bool, sentinel: float | None) -> str:
    """Return in what way ratings that were read are not those of the rows; "" if they are."""
    if rows.refuse:
        return f"should be refused: {rows.refuse}"
    times = rows.times if rows.times is not None else [0] * len(rows.users)
    columns = (rows.users, rows.items, rows.ratings, times)
    sound = [row for row in zip(*columns, strict=True) if None not in row]
    n_bad = len(rows.users) - len(sound) + rows.n_others
    if n_bad - rows.n_others and not drop:
        return f"{n_bad} bad rows were read without a word"
    kept = [row for row in sound if row[2] != sentinel]
    if len(kept) != len(raw.ratings):
        return f"{len(raw.ratings)} rows instead of {len(kept)}"
    for role, found, column in zip(ROLES, (raw.users, raw.items), (0, 1), strict=False):
        right = as_ids([row[column] for row in kept])
        if right is None:
            return f"should be refused: one {role} written in two ways"
        if found.tolist() != right:
            return f"{role} ids {_first_difference(found.tolist(), right)}"
        if found.dtype.kind not in ("iu" if isinstance(right[0], int) else "O"):
            return f"{role} ids of type {found.dtype}"
    ratings = [row[2] for row in kept]
    if raw.ratings.tolist() != ratings:
        return f"ratings {_first_difference(raw.ratings.tolist(), ratings)}"
    if (raw.timestamps is None) != (rows.times is None):
        return "a column of times, or none"
    if rows.times is not None and (why := _other_times(raw.timestamps, [row[3] for row in kept])):
        return why
    n_dropped = sum(raw.dropped.values())
    if n_dropped != n_bad + len(sound) - len(kept):
        return f"{n_dropped} rows counted as dropped instead of {n_bad + len(sound) - len(kept)}"
    return ""


def as_ids(texts: Sequence[str]) -> list[Any] | None:
    """Return ids by the documented rules: integers if all are; None if one is in two spellings."""
    if all(_WHOLE.fullmatch(text) and not text.startswith("-0") for text in texts):
        numbers = [int(text.split(".")[0]) for text in texts]
        low, high = min(numbers, default=0), max(numbers, default=0)
        if low >= -(2**63) and high < (2**64 if low >= 0 else 2**63):
            return list(numbers)
    known = set(texts)
    if any(re.search(r"\.0+$", text) and re.sub(r"\.0+$", "", text) in known for text in known):
        return None
    return list(texts)


def table_rows(columns: Sequence[Sequence[Any]]) -> Rows:
    """Return the rows of columns with types, given as Python's values."""
    users, items = ([_typed_id(value) for value in column] for column in columns[:2])
    ratings = [_typed_rating(value) for value in columns[2]]
    times = _of_one_kind([_typed_time(value) for value in columns[3]]) if columns[3:] else None
    return Rows(users, items, ratings, times)


def _of_one_kind(times: list[Any]) -> list[Any]:
    if len({isinstance(time, np.datetime64) for time in times if time is not None}) > 1:
        raise CannotTell("times of two kinds")
    return times


def _typed_id(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return _trimmed_id(value, ())
    if value != int(value):
        raise CannotTell("ids with decimals")
    return str(int(value))


def _typed_rating(value: Any) -> float | None:
    if value is None or isinstance(value, str):
        return None if value is None else _rating(value, ".")
    return float(value) if math.isfinite(value) else None


def _typed_time(value: Any) -> Any:
    if isinstance(value, str):
        return _time(value)
    if value is None or value != value:
        return None
    if hasattr(value, "year"):  # a date or a time
        return np.datetime64(value if isinstance(value, datetime) else value.isoformat(), "us")
    return value


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
        start, cell = at, ""
        quote = inside.match(text, at)
        if quote:
            cell, start = quote[1].replace('""', '"'), quote.end()
        end = ending.search(text, start)
        record.append(Cell(cell + text[start : end.start()], quote is not None))
        at = end.end()
        if end[0][:1] in ("", "\r", "\n"):
            yield record
            record = []


def _is_blank(record: Record) -> bool:
    return not any(cell.quoted or cell.text.strip(" \t") for cell in record)


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
    elif not any(re.search("[0-9]", cell.text) for cell in records[0]) or any(
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
        [_trimmed_id(cell.text, () if cell.quoted else missing) for cell in columns[role]]
        for role in ("user", "item")
    )
    texts = [cell.text for cell in columns["rating"]]
    decimal = options["decimal"] or _decimal(texts, stated)
    times = None
    if "time" in columns:
        times = _of_one_kind([_time(cell.text) for cell in columns["time"]])
    n_wrong = len(body) - len(right)
    refuse = ""
    if any(re.search(r"[\r\n]", cell.text) for column in columns.values() for cell in column):
        refuse = "a line end inside a value"
    if n_wrong and options["on_bad_rows"] == "error":
        refuse = "a row with a wrong number of fields"
    return Rows(
        users, items, [_rating(text, decimal) for text in texts], times, n_wrong + n_comments, refuse
    )


def _trimmed_id(text: str, missing: Sequence[str] | set[str]) -> str | None:
    text = text.strip(_UNSEEN)
    return None if not text or text in missing or "\0" in text else text


def _decimal(texts: list[str], stated: Stated) -> str:
    if stated.decimal == "," and any("." in text for text in texts):
        raise CannotTell("decimal points and commas")
    if stated.decimal == "." and any(_HAS_COMMA.fullmatch(text) for text in texts):
        raise CannotTell("decimal points and commas")
    return stated.decimal


def _rating(text: str, decimal: str) -> float | None:
    text = text.strip(" \t")
    if decimal == ",":
        text = "" if "." in text else text.replace(",", ".")
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    if not text.isascii() or text != text.strip():
        raise CannotTell("a rating with unusual characters")
    return None


def _time(text: str) -> Any:
    text = text.strip(" \t")
    if re.fullmatch("-?(0|[1-9][0-9]*)", text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    if _DATE.fullmatch(text):
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            return None
        time = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
        return np.datetime64(time, "us")
    if re.search("[0-9]", text):
        raise CannotTell("a time in an unusual spelling")
    return None


def _other_times(found: Any, right: list[Any]) -> str:
    """Return in what way times differ: dates to the microsecond, integers exactly."""
    if found.dtype.kind == "M":
        values: list[Any] = list(found.astype("datetime64[us]"))
    else:
        values = found.tolist()
    if any(isinstance(one, float) or (isinstance(one, int) and one >= 2**63) for one in right):
        right = [float(time) for time in right]
    return f"times {_first_difference(values, right)}" if values != right else ""


def _first_difference(found: Sequence[Any], right: Sequence[Any]) -> str:
    n = next(n for n, pair in enumerate(zip(found, right, strict=True)) if pair[0] != pair[1])
    return f"differ in row {n}: {found[n]!r} instead of {right[n]!r}"


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
