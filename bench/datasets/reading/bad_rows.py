"""Which rows of a block of text cannot be read: named by their line, or left out and counted.

Not here: what makes a value bad (`columns`).
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
ENDLESS_QUOTE = "a quote is opened and not closed on the same line"

_ADVICE = {
    ENDLESS_QUOTE: "Close it, or double it inside quotes",
    NOT_A_TIME: f"{LEAVE_OUT}, or the column by naming three others, columns=(...)",
}


def quote_problems(columns: list[Any]) -> Iterator[Problem]:
    """Yield values that hold a line end, which an open quote swallowed with what follows."""
    for column in columns:
        encoded = isinstance(column, pa.DictionaryArray)
        texts = column.dictionary if encoded else column
        ended = pc.or_(pc.match_substring(texts, "\n"), pc.match_substring(texts, "\r"))
        if pc.any(ended).as_py():
            yield Problem(as_numpy(ended)[as_numpy(column.indices)] if encoded else as_numpy(ended), ENDLESS_QUOTE)


def n_wrong(invalid: list[Any]) -> int:
    """Count rows with a wrong number of fields; lines of nothing but spaces are none."""
    return sum(not _is_blank(row) for row in invalid)


def check_rows(
    block: Block, layout: Layout, drop: bool, where: str, invalid: list[Any], problems: list[Problem], n_valid: int
) -> None:
    """Raise an error that names the first row that cannot be read; with ``drop``, only one with an open quote.

    Parameters
    ----------
    invalid
        Rows with a wrong number of fields, as pyarrow.csv.InvalidRow.
    problems
        What is wrong with the ``n_valid`` others.
    """
    n_records = n_valid + len(invalid)
    quotes = is_quotable(layout.separator) and b'"' in block.data
    spans = _spans(block, n_records, quotes)
    # Arrow's number counts, from 1, the records that are not empty, valid or not.
    found = [(row.number - 1, _why_invalid(row, layout)) for row in invalid if not _is_blank(row)]
    valid = np.delete(np.arange(n_records), [row.number - 1 for row in invalid])
    found += [(int(valid[np.argmax(problem.rows)]), problem.why) for problem in problems]
    if quotes and block.data.count(b'"') % 2 and len(record_spans(block.data, quotes=False)[0]) > n_records:
        found.append((n_records - 1, ENDLESS_QUOTE))  # to the end of the block
    if drop:  # never what an open quote swallowed, for that may be many rows
        found = [(record, why) for record, why in found if why == ENDLESS_QUOTE]
    if not found:
        return
    record, why = min(found, key=lambda row: (row[0], row[1] != ENDLESS_QUOTE))
    if spans is None:
        place = f"between lines {block.first_line} and {block.line_at(len(block.data) - 1)}: {why}"
    else:
        start, stop = int(spans[0][record]), int(spans[1][record])
        place = f"line {block.line_at(start)}: {why}: {shortened(block.data[start:stop])}"
    raise DatasetError(f"{where}, {place}. {_ADVICE.get(why, LEAVE_OUT)}")


def _spans(block: Block, n_records: int, quotes: bool) -> Any:
    """Return where the records begin and end, or None where Arrow understands the quotes differently."""
    for respect_quotes in (False, True)[: 1 + quotes]:
        spans = record_spans(block.data, respect_quotes)
        if len(spans[0]) == n_records:
            return spans
    return None


def _is_blank(row: Any) -> bool:
    return not row.text.strip(BLANK)


def _why_invalid(row: Any, layout: Layout) -> str:
    if "\n" in row.text or "\r" in row.text:
        return ENDLESS_QUOTE
    return f"{WRONG_NUMBER.format(layout.n_fields)} but {row.actual_columns}"
