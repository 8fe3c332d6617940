"""Reading ratings from text: blocks of whole lines in parallel, bad rows with their line number.

A block is small, so memory stays near that of the result, and a bad row can be found again in it.
Compression, and which separator and columns a file has, are dealt with elsewhere.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from bench.datasets.raw import RawRatings

from .bad_rows import WRONG_NUMBER, check_rows, n_wrong, quote_problems
from .blocks import SAMPLE_BYTES, Block, blocks
from .columns import (
    RowPolicy,
    id_problems,
    join,
    join_ids,
    text_ids,
    text_ratings,
    text_times,
    value_problems,
)
from .sniff import BLANK, Layout, TextOptions, is_quotable, sniff

MOST_THREADS = 4  # more do not help: cutting the file into blocks is sequential
_UNIT_SEPARATOR = "\x1f"  # replaces a separator of several bytes, which Arrow does not support
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|$)")


class Part(NamedTuple):
    """The ratings of one block; arrays of shape (n_ratings,)."""

    users: NDArray[Any]
    items: NDArray[Any]
    ratings: NDArray[np.float64]
    times: NDArray[Any] | None
    dropped: Counter[str]  # reason -> number of rows left out


def read_text(
    read: Callable[[int], bytes], options: TextOptions, policy: RowPolicy, where: str
) -> RawRatings:
    """Return the ratings in a text.

    Parameters
    ----------
    read
        Returns at most the given number of bytes, decompressed, and none at the end of the file.
    options
        What the user states about the file.
    policy
        Which rows to leave out.
    where
        The file's name, for errors.

    Raises
    ------
    DatasetError
        With the file's name and, for a bad row, its line.
    """
    all_blocks = blocks(read, options.encoding, where)
    first = next(all_blocks, Block(b"", 1))
    sample = first.data[:SAMPLE_BYTES]
    if len(sample) < len(first.data):
        # Cut after a whole line, unless the first line is longer than the sample.
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    layout = sniff(sample.decode("utf-8", "ignore"), options, where)
    if layout.header:
        first = _without_first_line(first)

    parse = partial(parse_block, layout, policy, where)
    parts = list(_in_parallel(parse, first, all_blocks))
    dropped = sum((part.dropped for part in parts), Counter[str]())
    users, items = [part.users for part in parts], [part.items for part in parts]
    ratings = [part.ratings for part in parts]
    times = [part.times for part in parts if part.times is not None]
    # Only these lists refer to the arrays from here on, and joining a list frees its arrays.
    parts.clear()
    return RawRatings(
        users=join_ids(users),
        items=join_ids(items),
        ratings=join(ratings),
        timestamps=join(times) if times else None,
        dropped=dict(dropped),
    )


def parse_block(layout: Layout, policy: RowPolicy, where: str, block: Block) -> Part:
    """Return the ratings in the lines of a block.

    Raises
    ------
    DatasetError
        Naming the first row that cannot be read, unless bad rows are to be dropped.
    """
    invalid: list[Any] = []  # pyarrow.csv.InvalidRow
    columns = _arrow_columns(block.data or b"\n", layout, invalid)
    ratings = text_ratings(columns[2])
    times = text_times(columns[3], layout.dates) if len(columns) == 4 else None

    problems = [
        *id_problems("user", columns[0]),
        *id_problems("item", columns[1]),
        *value_problems(ratings, times),
    ]
    has_quotes = b'"' in block.data
    if has_quotes:
        problems += quote_problems(columns)
    if problems or invalid or has_quotes:
        check_rows(block, layout, policy.drop_bad, where, invalid, problems, len(ratings))

    # From here on bad rows are to be dropped. A row with two problems is counted for the first.
    keep = np.ones(len(ratings), np.bool_)
    dropped = Counter({WRONG_NUMBER.format(layout.n_fields): n_wrong(invalid)})
    for problem in problems:
        dropped[problem.why] += int((keep & problem.rows).sum())
        keep &= ~problem.rows
    if problems:
        # Encoded again, because `text_ids` judges by the whole dictionary: an id in a dropped row,
        # such as "Total", must not decide whether the ids are integers.
        columns = [
            column.filter(pa.array(keep)).cast(pa.string()).dictionary_encode()
            for column in columns[:2]
        ]
        ratings, times = ratings[keep], None if times is None else times[keep]
        keep = keep[keep]
    if policy.missing_rating is not None:
        keep = ratings != policy.missing_rating
        dropped[policy.not_rated] = int((~keep).sum())
        ratings, times = ratings[keep], None if times is None else times[keep]
    # +dropped has no zero counts.
    return Part(text_ids(columns[0], keep), text_ids(columns[1], keep), ratings, times, +dropped)


def _arrow_columns(data: bytes, layout: Layout, invalid: list[Any]) -> list[Any]:
    """Return the wanted columns as text; rows with a wrong number of fields go to ``invalid``."""
    separator, quote = layout.separator, is_quotable(layout.separator)
    if not quote:
        data = data.replace(separator.encode(), _UNIT_SEPARATOR.encode())
        separator = _UNIT_SEPARATOR
    # Ids and ratings repeat, so a dictionary with each text once makes their conversion cheap.
    encoded = pa.dictionary(pa.int32(), pa.string())
    kinds = [encoded, encoded, encoded, pa.string()]
    wanted = [str(position) for position in layout.columns]

    def collect(row: Any) -> str:
        invalid.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        # One thread: blocks are parsed in parallel already, and with several threads Arrow does not
        # number the rows.
        pyarrow.csv.ReadOptions(
            use_threads=False,
            block_size=len(data) + 1,
            column_names=[str(n) for n in range(layout.n_fields)],
        ),
        pyarrow.csv.ParseOptions(
            delimiter=separator,
            quote_char='"' if quote else False,
            newlines_in_values=quote,
            invalid_row_handler=collect,
        ),
        pyarrow.csv.ConvertOptions(
            include_columns=wanted,
            column_types=dict(zip(wanted, kinds, strict=False)),
            check_utf8=False,  # `blocks` checked it
        ),
    )
    return [table[name].combine_chunks() for name in wanted]


def _without_first_line(block: Block) -> Block:
    """Return the block without the header and the empty lines before it."""
    header = next(match for match in _LINE.finditer(block.data) if match[0].strip(BLANK.encode()))
    return Block(block.data[header.end() :], block.line_at(header.end()))


def _in_parallel(
    parse: Callable[[Block], Part], first: Block, rest: Iterator[Block]
) -> Iterator[Part]:
    """Yield the parsed blocks in their order, parsed by several threads while the next are read."""
    n_threads = min(os.cpu_count() or 1, MOST_THREADS)
    pending: deque[Future[Part]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        for block in chain([first], rest):
            pending.append(pool.submit(parse, block))
            # No more blocks than threads wait, so that reading does not fill the memory.
            if len(pending) > n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
