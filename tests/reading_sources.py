"""Ratings files in many layouts, each with what its writer knows about it.

Their rows are real ones where RATINGS_DATA is set.
"""

from __future__ import annotations

import csv
import io
import os
import random
import re
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from reading_oracle import Stated
from reading_rules import MISSING

Column = list[str | None]  # None for what is missing
ROLES = ("user", "item", "rating", "time")
# The real files: separator, header, line end.
REAL = {
    "ml-100k/u.data": ("\t", False, "\n"),
    "ml-latest-small/ratings.csv": (",", True, "\r\n"),
    "anime-slice/rating.csv": (",", False, "\r\n"),
    "anime-5k/ratings.tsv": ("\t", False, "\n"),
    "filmtrust/ratings.txt": (",", False, "\n"),
    "movietweetings-100k/ratings.dat": ("::", False, "\n"),
    "ciao/ratings.csv": (",", True, "\n"),
    "coat/ratings.txt": (",", False, "\n"),
}
NAMES = (
    ("user", "item", "rating", "time"),
    ("userId", "movieId", "rating", "timestamp"),
    ("user_id", "anime_id", "score", "date"),
    ("User-ID", "ISBN", "Book-Rating", "ts"),
    ("user_id:token", "item_id:token", "rating:float", "timestamp:float"),
    ("who", "what", "stars?", "when"),  # nobody knows these
)
ODD_IDS = (
    *("1.0", "7.00", " 7", "7 ", "\u00a07", "\u200b7", "\ufeff7", "007", "-0", "-0.0", "+5", "1e3"),
    *("0x1F", "1_0", "\u0667", "9" * 19, "9" * 20, "-9223372036854775808", "18446744073709551615"),
    *("NULL", " NULL", "NA ", "nan", "None", r"\N", '"', '""', 'a "b" c', "a,b", "a;b", "a\tb"),
    *("a::b", "\x1f", "1\x1f2", "\x1a", "#1", "%1", "\u00e9", "\U0001f600", "Total", "1,5", "a  b"),
    *("True", "'1'", "a|b", "a\u2028b", "a\x85b", "a:b", ":", "1.5", ".", "-", "--1"),
)  # fmt: skip
ODD_RATINGS = (
    *("", "nan", "inf", "1e999", "4,5", "4.50", "+3", "3e0", ".5", "5.", "-1", "0", "x", "1_0"),
    *("0x5", " 4", "4 ", "\u0664", "1,000", "1.000,5", "99", "NULL", "--", "1 2", "True"),
)  # fmt: skip
ODD_TIMES = ("", "nan", "0", "-5", "1.5", "1e9", "2016-01-02", "NULL", "x", "9" * 30, "20160102")


class Document(NamedTuple):
    """A text before it is damaged, and how to read it."""

    data: bytes
    stated: Stated | None
    options: dict[str, Any]
    line_end: str = "\n"


class Real(NamedTuple):
    """Windows of the real files, as they are and as columns of texts."""

    documents: list[Document]
    frames: list[list[Column]]
    titles: list[str]


@cache
def real() -> Real:
    """Return windows of the real ratings, or made-up ones if there are none."""
    folder, rng = os.environ.get("RATINGS_DATA"), random.Random(0)
    if not folder:
        made_up = [[str(rng.randrange(1, top)) for _ in range(300)] for top in (60, 90, 6, 10**9)]
        return Real([], [list(made_up)], ['b, "x"', "a\nb", "caf\u00e9"])
    documents, frames = [], []
    for name, (separator, header, line_end) in REAL.items():
        path = Path(folder, name)
        for start in (0, *(rng.randrange(path.stat().st_size) for _ in range(6))):
            lines = _window(path, start)
            first = _lines(path, 0, 1) if header else []
            names = tuple(first[0].strip().split(separator)) if header else ROLES
            rows = [line.rstrip("\r\n").split(separator) for line in lines[header and not start :]]
            stated = Stated(separator, names[: len(rows[0])], {}, header)
            stated = stated._replace(roles=dict(zip(ROLES, stated.names, strict=False)))
            text = "".join([*first, *lines[header and not start :]])
            documents.append(Document(text.encode(), stated, {}, line_end))
            frames.append([list(column) for column in zip(*rows, strict=True)])
    table = pyarrow.parquet.read_table(Path(folder, "ml-1m/ratings.parquet"))
    for start in (0, *(rng.randrange(table.num_rows - 400) for _ in range(6))):
        part = table.slice(start, 400)
        frames.append([[f"{value:g}" for value in column.to_pylist()] for column in part.columns])
    with Path(folder, "anime-slice/anime.csv").open(newline="", encoding="utf-8") as file:
        titles = [row[1] for row in islice(csv.reader(file), 1, 2000) if row[1].strip() == row[1]]
    return Real(documents, frames, titles)


def _window(path: Path, start: int) -> list[str]:
    lines = _lines(path, start, 400)
    return lines if len(lines) > 50 else _lines(path, 0, 400)


def _lines(path: Path, start: int, n: int) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        file.seek(start)
        if start:
            file.readline()  # the rest of a line
        return list(islice(file, n))


def frame(rng: random.Random) -> list[Column]:
    """Return columns of users, items, ratings and perhaps times, as texts in some spelling."""
    whole = rng.choice(real().frames)
    n, at = rng.choice((3, 12, 40, 40, 150, 400)), 0
    if len(whole[0]) > n:
        at = rng.randrange(len(whole[0]) - n)
    columns: list[Column] = [list(column[at : at + n]) for column in whole]
    columns[0] = _respelt(columns[0], rng)
    columns[1] = _respelt(columns[1], rng)
    kind = rng.randrange(12)
    if kind < 3:
        scale = 10 if kind else 1  # 3.0 or 3.5
        columns[2] = [
            f"{float(text) + (n % 2) / scale * 5:.1f}" for n, text in enumerate(columns[2])
        ]
    if len(columns) == 4:
        columns[3] = _times(columns[3], rng)
        if rng.random() < 0.2:
            del columns[3]
    if rng.random() < 0.35:  # bad cells
        for _ in range(rng.choice((1, 2, 5))):
            which = rng.randrange(len(columns))
            odd = (ODD_IDS, ODD_IDS, ODD_RATINGS, ODD_TIMES)[which]
            row = rng.randrange(len(columns[which]))
            columns[which][row] = rng.choice((None, *odd, *odd))
    return columns


def _respelt(ids: Column, rng: random.Random) -> Column:
    names = real().titles
    spell: Callable[[str], str] = rng.choice(
        (
            *[lambda text: text] * 6,
            lambda text: f"u{text}",
            lambda text: text.zfill(7),
            lambda text: f"{text}.0",
            lambda text: f" {text} ",
            lambda text: f"\u00a0{text}",
            lambda text: f"-{text}",
            lambda text: str(int(text) + 2**63),
            lambda text: str(int(text) * 10**16),
            lambda text: names[int(text) % len(names)],
            lambda text: text if int(text) % 7 else f"B{text}X",
            lambda text: text if int(text) % 5 else f"{text}.0",
            lambda text: f"{int(text) % 90}-{text}",
        )
    )
    return [spell(text) for text in ids if text is not None]


def _times(times: Column, rng: random.Random) -> Column:
    stamps = pd.to_datetime([int(text or 0) for text in times], unit="s")
    kind = rng.randrange(10)
    if kind == 0:
        return [str(stamp)[:10] for stamp in stamps]
    if kind == 1:
        return [stamp.isoformat() for stamp in stamps]
    if kind == 2:
        return [stamp.isoformat(" ") + "+02:00" for stamp in stamps]
    if kind == 3:
        return [f"{text}{n % 1000:03}123457" for n, text in enumerate(times)]  # nanoseconds
    if kind == 4:
        return [f"{text}.5" for text in times]
    return times


def text_document(columns: list[Column], rng: random.Random) -> Document:
    """Write columns as a text in some layout."""
    n = len(columns[0])
    names = rng.choice(NAMES)
    all_columns = dict(zip(names, columns, strict=False))
    roles = dict(zip(ROLES, all_columns, strict=False))
    header, shuffled, indexed = rng.random() < 0.6, rng.random() < 0.2, rng.random() < 0.1
    row_names = header and rng.random() < 0.06 and not shuffled
    if indexed or row_names:
        all_columns = {"": [str(number) for number in range(n)], **all_columns}
    if rng.random() < 0.15:
        all_columns["title"] = [rng.choice(real().titles) for _ in range(n)]
    if shuffled:
        all_columns = dict(rng.sample(list(all_columns.items()), len(all_columns)))
    separator = rng.choice((",", ",", ",", "\t", "\t", ";", "|", "::", " "))
    known = header and names is not NAMES[-1]
    plain = not shuffled and len(all_columns) == len(columns)
    if header and "" in all_columns and separator == " ":
        all_columns["index"] = all_columns.pop("")
        row_names = False
    options: dict[str, Any] = {}
    if (not known and not (plain and not header)) or rng.random() < 0.1:
        chosen = list(all_columns)
        options["columns"] = tuple(
            name if header and name and rng.random() < 0.5 else chosen.index(name)
            for name in list(roles.values())[: len(roles) if rng.random() < 0.9 else 3]
        )
    stated = Stated(
        separator,
        tuple(all_columns),
        roles,
        header,
        rng.choice((",", ".", ".", ".")) if separator != "," else ".",
        rng.choice((*[""] * 12, "#", "%")),
        rng.choice((*["utf-8"] * 14, "latin-1", "utf-16")),
        row_names,
        separator != " " and rng.random() < 0.05 and (header or (len(columns) == 3 and plain)),
    )
    return _encoded(all_columns, stated, options, rng)


def _encoded(
    columns: dict[str, Column], stated: Stated, options: dict[str, Any], rng: random.Random
) -> Document:
    style = rng.choice(("minimal", "minimal", "minimal", "all", "texts", "some"))
    null = rng.choice(("", "", "NULL", r"\N", "NA", "nan", "<NA>"))
    line_end = rng.choice(("\n", "\n", "\n", "\r\n", "\r\n", "\r"))
    if stated.decimal == ",":
        name = stated.roles["rating"]
        columns = {**columns, name: [text and text.replace(".", ",") for text in columns[name]]}
    write = _writer(stated.separator, style, null, rng)
    rows = [[write(cell) for cell in row] for row in zip(*columns.values(), strict=True)]
    if stated.header:
        rows.insert(0, [write(name) if name else "" for name in list(columns)[stated.row_names :]])
    if stated.no_column:
        stated = stated._replace(names=(*stated.names, "nothing"))
        rows = [[*row, "nothing" if stated.header and not n else ""] for n, row in enumerate(rows)]
    between = stated.separator
    if between == " " and rng.random() < 0.4:
        between = "   "
    lines = [between.join(row) for row in rows]
    if stated.comment:
        lines.insert(0, f"{stated.comment} exported on Monday")
    if rng.random() < 0.1:
        lines.insert(rng.randrange(len(lines)), rng.choice(("", "  ")))
    text = line_end.join(lines) + rng.choice((line_end, line_end, ""))
    try:
        data = text.encode(stated.encoding)
    except UnicodeError:
        stated, data = stated._replace(encoding="utf-8"), text.encode()
    if stated.encoding == "latin-1":
        options["encoding"] = "latin-1"
    elif stated.encoding == "utf-8" and rng.random() < 0.1:
        data = b"\xef\xbb\xbf" + data
    return Document(data, stated, options, line_end)


def _writer(
    separator: str, style: str, null: str, rng: random.Random
) -> Callable[[str | None], str]:
    """Return a function that writes a cell, in quotes where the style or the text needs them."""
    special = {separator, '"', "\r", "\n"}

    def write(text: str | None) -> str:
        if text is None:
            return null or ('""' if separator == " " else "")
        if len(separator) > 1:
            return text.replace(separator, "-").replace("\n", " ")
        needs = any(one in text for one in special) or text[:1] in ("#", "%") or text == ""
        wants = style == "all" or (style == "some" and rng.random() < 0.3)
        wants = wants or (style == "texts" and not text[:1].isdigit()) or text in MISSING
        if (needs or wants) and not (text in MISSING and rng.random() < 0.5):
            return '"' + text.replace('"', '""') + '"'
        return text

    return write


# Earlier releases of Arrow cannot write views of texts, or crash.
_VIEW = pa.string_view() if int(pa.__version__.partition(".")[0]) >= 24 else pa.string()


def table_document(columns: list[Column], rng: random.Random) -> tuple[bytes, str]:
    """Write columns with types, and return the file and its kind."""
    table = _typed(columns, rng)
    kind = rng.choice(("parquet", "parquet", "parquet", "feather", "stream", "npz"))
    out = io.BytesIO()
    if kind == "parquet":
        size = rng.choice((7, 1000))
        pyarrow.parquet.write_table(table, out, row_group_size=size, use_dictionary=size > 7)
    elif kind == "feather":
        codec = rng.choice(("uncompressed", "lz4", "zstd"))
        pyarrow.feather.write_feather(
            table, out, compression=codec, chunksize=rng.choice((7, 1000))
        )
    elif kind == "stream":
        with pa.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table, max_chunksize=rng.choice((7, 1000)))
    else:
        arrays = {name: table[name].to_numpy() for name in table.column_names}
        if any(array.dtype == object for array in arrays.values()):
            return table_document(columns, rng)
        np.savez(out, **arrays)
    return out.getvalue(), kind


def twins(columns: list[Column], rng: random.Random) -> list[tuple[bytes, dict[str, Any]]]:
    """Return the same rows as two texts and as tables of texts, and how to read each.

    All texts are quoted, so that nothing is missing that is not empty.
    """
    if len({re.match("[0-9]{4}-", text) is None for text in columns[-1] if text}) > 1:
        del columns[3:]  # numbers and dates
    names = NAMES[0][: len(columns)]
    order = rng.sample(range(len(columns)), len(columns))
    n_lines = len(columns[0]) + rng.choice((1, 2))  # the last may have no end
    shuffled = tuple(order.index(n) for n in range(len(columns)))

    def csv_of(positions: list[int], separator: str) -> bytes:
        cells = [[names[n], *(text or "" for text in columns[n])] for n in positions]
        rows = zip(
            *(['"' + text.replace('"', '""') + '"' for text in one] for one in cells), strict=True
        )
        return "\n".join([*(separator.join(row) for row in rows), ""][:n_lines]).encode()

    found: list[tuple[bytes, dict[str, Any]]] = [
        (csv_of(list(range(len(columns))), ","), {"columns": names, "decimal": "."}),
        (csv_of(order, ";"), {"columns": shuffled, "decimal": "."}),
    ]
    kind = rng.choice((pa.string(), pa.large_string()))
    arrays = [pa.array([text or "" for text in column], kind) for column in columns]
    if rng.random() < 0.3:
        arrays = [array.dictionary_encode() for array in arrays]
    out = io.BytesIO()
    table = pa.table(dict(zip(names, arrays, strict=True)))
    pyarrow.parquet.write_table(table, out, row_group_size=rng.choice((5, 1000)))
    return [*found, (out.getvalue(), {"columns": names})]


def _typed(columns: list[Column], rng: random.Random) -> pa.Table:
    """Return a table whose columns are numbers where all texts are."""
    names = rng.choice(NAMES[:-1])
    arrays = [_typed_column(column, n, rng) for n, column in enumerate(columns)]
    table = pa.table(dict(zip(names, arrays, strict=False)))
    order = rng.sample(table.column_names, len(arrays))
    return table.select(order) if rng.random() < 0.3 else table


def _typed_column(column: Column, n: int, rng: random.Random) -> pa.Array:
    kinds = [
        (pa.int16(), pa.int32(), pa.int64(), pa.uint32(), pa.float64(), pa.decimal128(20)),
        (pa.int32(), pa.int64(), pa.uint64(), pa.float64(), pa.float32()),
        (pa.float64(), pa.float32(), pa.float16(), pa.int8(), pa.decimal128(9, 2)),
        (pa.int64(), pa.float64(), pa.timestamp("s"), pa.timestamp("us"), pa.date32()),
    ][n]
    texts = pa.array(column, pa.string())
    try:
        return texts.cast(rng.choice(kinds))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        kind = rng.choice((pa.string(), pa.large_string(), _VIEW))
        return texts.dictionary_encode() if rng.random() < 0.3 else texts.cast(kind)
