"""Reading ratings from text: blocks of whole lines in parallel, every bad row with its line number.

A block is small enough for memory to stay near that of the result, and for a bad row to be found again inside it. Not
here: what the file is packed in, and what separator and columns it has.
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
from .columns import RowPolicy, id_problems, join, join_ids, text_ids, text_ratings, text_times, value_problems
from .sniff import BLANK, Layout, TextOptions, is_quotable, sniff

MOST_THREADS = 4  # more do not help: cutting the file into blocks is sequential
_UNIT_SEPARATOR = "\x1f"  # stands for a separator of several bytes, which Arrow cannot have
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|$)")


class Part(NamedTuple):
    """What a block holds."""

    users: NDArray[Any]
    items: NDArray[Any]
    ratings: NDArray[np.float64]
    times: NDArray[Any] | None
    dropped: Counter[str]


def read_text(read: Callable[[int], bytes], options: TextOptions, policy: RowPolicy, where: str) -> RawRatings:
    """Read ratings from text.

    Parameters
    ----------
    read
        Returns the next bytes, at most so many, already decompressed; none at the end.
    where
        The file's name, for errors.

    Raises
    ------
    DatasetError
        Naming the file, and the line where there is one.
    """
    all_blocks = blocks(read, options.encoding, where)
    first = next(all_blocks, Block(b"", 1))
    sample = first.data[:SAMPLE_BYTES]
    if len(sample) < len(first.data):
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
    parts.clear()  # the lists alone hold the arrays now, and give them up one by one
    return RawRatings(join_ids(users), join_ids(items), join(ratings), join(times) if times else None, dict(dropped))


def parse_block(layout: Layout, policy: RowPolicy, where: str, block: Block) -> Part:
    """Convert the lines of a block, or name the first that cannot be read."""
    invalid: list[Any] = []  # pyarrow.csv.InvalidRow
    columns = _arrow_columns(block.data or b"\n", layout, invalid)
    ratings = text_ratings(columns[2])
    times = text_times(columns[3], layout.dates) if len(columns) == 4 else None
    problems = [*id_problems("user", columns[0]), *id_problems("item", columns[1]), *value_problems(ratings, times)]
    if b'"' in block.data:
        problems += quote_problems(columns)
    if problems or invalid or b'"' in block.data:
        check_rows(block, layout, policy.drop_bad, where, invalid, problems, len(ratings))
    keep = np.ones(len(ratings), np.bool_)
    dropped = Counter({WRONG_NUMBER.format(layout.n_fields): n_wrong(invalid)})
    for problem in problems:
        dropped[problem.why] += int((keep & problem.rows).sum())
        keep &= ~problem.rows
    if problems:  # encoded again, for the ids of rows that are left out not to decide whether ids are integers
        columns = [column.filter(pa.array(keep)).cast(pa.string()).dictionary_encode() for column in columns[:2]]
        ratings, times, keep = ratings[keep], times if times is None else times[keep], keep[keep]
    if policy.missing_rating is not None:
        keep = ratings != policy.missing_rating
        dropped[policy.not_rated] = int((~keep).sum())
        ratings, times = ratings[keep], times if times is None else times[keep]
    return Part(text_ids(columns[0], keep), text_ids(columns[1], keep), ratings, times, +dropped)


def _arrow_columns(data: bytes, layout: Layout, invalid: list[Any]) -> list[Any]:
    """Parse the columns that count as text; rows with a wrong number of fields go to ``invalid``."""
    separator, quote = layout.separator, is_quotable(layout.separator)
    if not quote:
        data, separator = data.replace(separator.encode(), _UNIT_SEPARATOR.encode()), _UNIT_SEPARATOR
    encoded = pa.dictionary(pa.int32(), pa.string())
    kinds = [encoded, encoded, encoded, pa.string()]
    wanted = [str(position) for position in layout.columns]

    def collect(row: Any) -> str:
        invalid.append(row)
        return "skip"

    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        # One thread, for blocks are parsed in parallel, and Arrow numbers rows only then.
        pyarrow.csv.ReadOptions(
            use_threads=False, block_size=len(data) + 1, column_names=[str(n) for n in range(layout.n_fields)]
        ),
        pyarrow.csv.ParseOptions(
            delimiter=separator,
            quote_char='"' if quote else False,
            newlines_in_values=quote,
            invalid_row_handler=collect,
        ),
        pyarrow.csv.ConvertOptions(
            include_columns=wanted, column_types=dict(zip(wanted, kinds, strict=False)), check_utf8=False
        ),
    )
    return [table[name].combine_chunks() for name in wanted]


def _without_first_line(block: Block) -> Block:
    """Cut the header off, and the empty lines before it."""
    header = next(match for match in _LINE.finditer(block.data) if match[0].strip(BLANK.encode()))
    return Block(block.data[header.end() :], block.line_at(header.end()))


def _in_parallel(parse: Callable[[Block], Part], first: Block, rest: Iterator[Block]) -> Iterator[Part]:
    """Parse blocks by a thread per core, reading on meanwhile, with few blocks in memory."""
    n_threads = min(os.cpu_count() or 1, MOST_THREADS)
    pending: deque[Future[Part]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        for block in chain([first], rest):
            pending.append(pool.submit(parse, block))
            if len(pending) > n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
