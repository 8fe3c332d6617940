"""Rows of a block of text that cannot be read: an error names the first, or they are counted.

What makes a value bad is decided in `columns`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from bench.datasets.errors import DatasetError

from .blocks import Block, record_spans, shortened
from .ids import NO_ID, Problem, as_numpy
from .lines import BLANK, is_quotable
from .options import MISSING_IDS, Source
from .sniff import Layout
from .values import NOT_A_NUMBER, NOT_A_TIME

WRONG_NUMBER = "the number of fields is not {}"
OPEN_QUOTE = "a quote is opened and not closed on the same line"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_NO_IDS = (NO_ID.format("user"), NO_ID.format("item"))

_LEAVE_OUT = "Correct it, or {} to leave out such rows"


def remedy(
    why: str,
    source: Source,
    columns: Sequence[str | int],
    text: str = "",
    layout: Layout | None = None,
) -> str:
    """Return what to do about a row that cannot be read, for the end of an error.

    Parameters
    ----------
    columns
        Names or positions of the columns that are read.
    text
        The row.
    layout
        Of a text; None if the columns have types.
    """
    if why == OPEN_QUOTE:
        return "Close it; a quote inside a quoted field is written twice"
    if why == NOT_A_TIME:
        sentence = f"{_LEAVE_OUT}, or {{}} for columns without the timestamp"
        return source.advice(sentence, on_bad_rows="drop", columns=tuple(columns[:3]))
    if why in _NO_IDS and layout and any(missing in text for missing in MISSING_IDS):
        sentence = f"{_LEAVE_OUT}; if it is an id, {{}}"
        return source.advice(sentence, on_bad_rows="drop", missing_ids=())
    separator = layout.separator if layout else ""
    # In a row that is shown of typed columns, a space follows the comma between two values.
    comma = re.search(r'"\d+,\d+"' if separator == "," else r"\d,\d", text)
    if why == NOT_A_NUMBER and comma and not (layout and layout.decimal == ","):
        sentence = f"{_LEAVE_OUT}; if the comma is a decimal comma, {{}}"
        return source.advice(sentence, on_bad_rows="drop", decimal=",")
    return source.advice(_LEAVE_OUT, on_bad_rows="drop")


def quote_problems(columns: list[Any]) -> Iterator[Problem]:
    """Yield rows with a line end inside a value: an open quote swallowed the lines after it."""
    for column in columns:
        ended = pc.or_(pc.match_substring(column, "\n"), pc.match_substring(column, "\r"))
        if pc.any(ended).as_py():
            yield Problem(as_numpy(ended.fill_null(False)), OPEN_QUOTE)


def _check_quotes(block: Block, layout: Layout, source: Source, n_records: int) -> None:
    """Raise an error if lines were swallowed that are not inside quotes that open and close.

    A quote opens at the beginning of a field, and closes at the end of one.
    """
    n_lines = len(record_spans(block.data, quotes=False)[0])
    if n_lines == n_records:
        return
    ends = re.escape(layout.separator).encode() + rb"\r\n"
    opened = rb'(?:\A|(?<=[%s]))"' % ends
    closed = rb'((?:[^"]|"")*+)"(?=[%s]|\Z)' % ends
    first_open = None
    for quote in re.finditer(opened + b"(?:" + closed + b")?", block.data):
        if quote[1] is None:
            first_open = quote.start() if first_open is None else first_open
        else:
            inside = _LINE_END.split(quote[1])
            n_lines -= (len(inside) > 1) + sum(map(bool, inside[1:-1]))
    if n_lines != n_records:
        at = 0 if first_open is None else first_open
        line = block.data[block.data.rfind(b"\n", 0, at) + 1 :][:200].split(b"\n")[0]
        raise DatasetError(
            f"{source}, line {block.line_at(at)}: {OPEN_QUOTE}: {shortened(line)}. "
            f"{remedy(OPEN_QUOTE, source, layout.columns)}"
        )


def n_wrong(invalid: list[Any]) -> int:
    """Return the number of rows with a wrong number of fields; blank lines do not count."""
    return sum(not _is_blank(row) for row in invalid)


def check_rows(
    block: Block,
    layout: Layout,
    drop: bool,
    source: Source,
    invalid: list[Any],
    problems: list[Problem],
    n_valid: int,
) -> None:
    """Raise an error that names the first row that cannot be read, if there is one.

    Parameters
    ----------
    drop
        Whether bad rows are to be dropped. Then only an open quote is an error, since nobody knows
        how many good rows it swallowed.
    source
        For errors.
    invalid
        The rows with a wrong number of fields, as pyarrow.csv.InvalidRow.
    problems
        What is wrong with the other rows, in masks of shape (n_valid,).
    n_valid
        The number of rows with the right number of fields.

    Raises
    ------
    DatasetError
        With the row's line number and text, and what to do about it.
    """
    n_records = n_valid + len(invalid)
    if b'"' in block.data and is_quotable(layout.separator):
        _check_quotes(block, layout, source, n_records)
    quotes = is_quotable(layout.separator) and b'"' in block.data
    # Problems count valid rows only; Arrow's numbers count, from 1, all records that are not empty.
    # Both are converted to positions, from 0, among all records of the block.
    found = [(row.number - 1, _why_invalid(row, layout)) for row in invalid if not _is_blank(row)]
    valid = np.delete(np.arange(n_records), [row.number - 1 for row in invalid])
    found += [(int(valid[np.argmax(problem.rows)]), problem.why) for problem in problems]
    if drop:
        found = [(record, why) for record, why in found if why == OPEN_QUOTE]
    if not found:
        return

    # Of several problems in one row, an open quote is the cause of the others.
    record, why = min(found, key=lambda row: (row[0], row[1] != OPEN_QUOTE))
    text = ""
    spans = _spans(block, n_records, quotes)
    if spans is None:
        last_line = block.line_at(len(block.data) - 1)
        place = f"between lines {block.first_line} and {last_line}: {why}"
    else:
        start, stop = int(spans[0][record]), int(spans[1][record])
        text = shortened(block.data[start:stop])
        place = f"line {block.line_at(start)}: {why}: {text}"
    raise DatasetError(f"{source}, {place}. {remedy(why, source, layout.columns, text, layout)}")


def _spans(block: Block, n_records: int, quotes: bool) -> Any:
    """Return where the records start and end, or None if Arrow sees other records.

    A quote inside a field is a character, one at its start is not. `record_spans` does not make
    this distinction, so quotes are ignored first, and respected if that finds too many records.
    """
    for respect_quotes in (False, True) if quotes else (False,):
        spans = record_spans(block.data, respect_quotes)
        if len(spans[0]) == n_records:
            return spans
    return None


def _is_blank(row: Any) -> bool:
    return not row.text.strip(BLANK)


def _why_invalid(row: Any, layout: Layout) -> str:
    if "\n" in row.text or "\r" in row.text:
        return OPEN_QUOTE
    return f"{WRONG_NUMBER.format(layout.n_fields)} but {row.actual_columns}"
