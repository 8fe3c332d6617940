"""Rows of a block of text that cannot be read: an error names the first, or they are counted.

What makes a value bad is decided in `columns`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bench.datasets.errors import DatasetError

from .blocks import Block, record_spans, shortened
from .columns import LEAVE_OUT, NOT_A_TIME, Problem, as_numpy
from .sniff import BLANK, Layout, is_quotable

WRONG_NUMBER = "the number of fields is not {}"
OPEN_QUOTE = "a quote is opened and not closed on the same line"

_ADVICE = {
    OPEN_QUOTE: "Close it; a quote inside a quoted field is written twice",
    NOT_A_TIME: f"{LEAVE_OUT}, or pass columns=(...) without the timestamp",
}


def quote_problems(columns: list[Any]) -> Iterator[Problem]:
    """Yield rows with a line end inside a value: an open quote swallowed the lines after it."""
    for column in columns:
        encoded = isinstance(column, pa.DictionaryArray)
        texts = column.dictionary if encoded else column
        ended = pc.or_(pc.match_substring(texts, "\n"), pc.match_substring(texts, "\r"))
        if pc.any(ended).as_py():
            rows = as_numpy(ended)
            yield Problem(rows[as_numpy(column.indices)] if encoded else rows, OPEN_QUOTE)


def n_wrong(invalid: list[Any]) -> int:
    """Return the number of rows with a wrong number of fields; blank lines do not count."""
    return sum(not _is_blank(row) for row in invalid)


def check_rows(
    block: Block,
    layout: Layout,
    drop: bool,
    where: str,
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
    where
        The file's name, for errors.
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
    quotes = is_quotable(layout.separator) and b'"' in block.data
    # Problems count valid rows only; Arrow's numbers count, from 1, all records that are not empty.
    # Both are converted to positions, from 0, among all records of the block.
    found = [(row.number - 1, _why_invalid(row, layout)) for row in invalid if not _is_blank(row)]
    valid = np.delete(np.arange(n_records), [row.number - 1 for row in invalid])
    found += [(int(valid[np.argmax(problem.rows)]), problem.why) for problem in problems]
    # An open quote whose field extends to the end of the block leaves no other trace than an odd
    # number of quotes and fewer records than lines.
    odd = quotes and block.data.count(b'"') % 2 == 1
    if odd and len(record_spans(block.data, quotes=False)[0]) > n_records:
        found.append((n_records - 1, OPEN_QUOTE))
    if drop:
        found = [(record, why) for record, why in found if why == OPEN_QUOTE]
    if not found:
        return

    # Of several problems in one row, an open quote is the cause of the others.
    record, why = min(found, key=lambda row: (row[0], row[1] != OPEN_QUOTE))
    spans = _spans(block, n_records, quotes)
    if spans is None:
        last_line = block.line_at(len(block.data) - 1)
        place = f"between lines {block.first_line} and {last_line}: {why}"
    else:
        start, stop = int(spans[0][record]), int(spans[1][record])
        place = f"line {block.line_at(start)}: {why}: {shortened(block.data[start:stop])}"
    raise DatasetError(f"{where}, {place}. {_ADVICE.get(why, LEAVE_OUT)}")


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
