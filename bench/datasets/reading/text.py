"""Reading ratings from text: blocks of whole lines in parallel, bad rows with their line number.

A block is small, so memory stays near that of the result, and a bad row can be found again in it.
Compression, and which separator and columns a file has, are dealt with elsewhere.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError
from bench.datasets.raw import RawRatings

from .bad_rows import WRONG_NUMBER, check_rows, n_wrong, quote_problems
from .blocks import SAMPLE_BYTES, Block, blocks
from .ids import (
    Problem,
    TextColumn,
    as_numpy,
    join,
    keep_rows,
    read_ids,
    union,
    without_rows,
)
from .joined_ids import join_ids
from .lines import BLANK, is_number, is_quotable, split_line
from .options import FileOptions, Source
from .sniff import Layout, sniff
from .values import join_times, text_ratings, text_times, time_problems, value_problems

MOST_THREADS = 4  # more do not help: cutting the file into blocks is sequential
# One that does not occur replaces a separator of several bytes, which Arrow does not support.
_CONTROLS = [chr(code) for code in (*range(0x1F, 0x0D, -1), *range(8, 0, -1))]
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r|$)")
_SPACE_AT_END = re.compile(rb"(?:\A|(?<=[\r\n])) +|(?<! ) ++(?=[\r\n]|\Z)")
_SPACES = re.compile(rb"  +")
_QUOTED_OR_SPACES = re.compile(rb'("[^"\r\n]*")|  +')
_COMMENT = "a comment that starts with {}"
_NOT_EMPTY = "there is text in a column that is empty in the first lines"


class Part(NamedTuple):
    """The ratings of one block; arrays of shape (n_ratings,)."""

    users: NDArray[Any] | pa.DictionaryArray
    items: NDArray[Any] | pa.DictionaryArray
    ratings: NDArray[np.float64]
    times: NDArray[Any] | None
    dropped: Counter[str]  # reason -> number of rows left out


def read_text(read: Callable[[int], bytes], options: FileOptions, source: Source) -> RawRatings:
    """Return the ratings in a text.

    Parameters
    ----------
    read
        Returns at most the given number of bytes, decompressed, and none at the end of the file.
    options
        What the user states about the file.
    source
        For errors.

    Raises
    ------
    DatasetError
        With the file's name and, for a bad row, its line.
    """
    all_blocks = blocks(read, options.encoding, source)
    first = next(all_blocks, Block(b"", 1))
    sample = first.data[:SAMPLE_BYTES]
    if len(sample) < len(first.data):
        # Cut after a whole line, unless the first line is longer than the sample.
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    layout = sniff(sample.decode("utf-8", "ignore"), options, source)
    first = _without_first_lines(first, layout.n_skipped)

    parse = partial(parse_block, layout, options, source)
    parts = list(_in_parallel(parse, first, all_blocks))
    dropped = sum((part.dropped for part in parts), Counter[str]())
    if layout.n_comments:
        dropped[_COMMENT.format(layout.comment)] += layout.n_comments
    users, items = [part.users for part in parts], [part.items for part in parts]
    ratings = [part.ratings for part in parts]
    times = [part.times for part in parts if part.times is not None]
    # Only these lists refer to the arrays from here on, and joining a list frees its arrays.
    parts.clear()
    rule = {"stated": options.columns is not None, "fraction": layout.decimal == "."}
    return RawRatings(
        users=join_ids(users, "user", source, **rule),
        items=join_ids(items, "item", source, **rule),
        ratings=join(ratings),
        timestamps=join_times(times) if times else None,
        dropped=dict(dropped),
    )


def parse_block(layout: Layout, options: FileOptions, source: Source, block: Block) -> Part:
    """Return the ratings in the lines of a block.

    Raises
    ------
    DatasetError
        Naming the first row that cannot be read, unless bad rows are to be dropped.
    """
    block, n_comments = _tidy(block, layout, source)
    has_quotes = b'"' in block.data and is_quotable(layout.separator)
    columns, invalid, users, items = _columns_and_ids(block, layout, options.missing_texts)
    n_wanted = len(layout.columns)
    wanted, empty = columns[:n_wanted], columns[n_wanted:]
    ratings = text_ratings(wanted[2], layout.decimal)
    problems = [*users.problems, *items.problems, *value_problems(ratings), *_filled(empty)]
    if has_quotes:
        problems += quote_problems(wanted)
    times = None
    if n_wanted == 4:
        # A row that is not used must not decide whether times are integers.
        unusable = union(problems, len(ratings))
        if options.sentinel is not None:
            unusable |= ratings == options.sentinel
        column = without_rows(wanted[3], unusable) if unusable.any() else wanted[3]
        times = text_times(column, layout.dates)
        problems += time_problems(times, unusable)
    if problems or invalid or has_quotes:
        check_rows(block, layout, options.drop_bad, source, invalid, problems, len(ratings))

    # From here on bad rows are to be dropped. A row with two problems is counted for the first.
    dropped = Counter({WRONG_NUMBER.format(layout.n_fields): n_wrong(invalid)})
    dropped[_COMMENT.format(layout.comment)] = n_comments
    part = Part(users.ids, items.ids, ratings, None if times is None else times.values, dropped)
    return _usable_rows(part, problems, options.sentinel)


def _columns_and_ids(
    block: Block, layout: Layout, missing: Sequence[str]
) -> tuple[list[Any], list[Any], TextColumn, TextColumn]:
    """Return the columns of a block as text, its invalid rows, and its users and items."""
    nulls = missing
    while True:
        invalid: list[Any] = []  # pyarrow.csv.InvalidRow
        columns = _arrow_columns(block.data or b"\n", layout, nulls, invalid)
        users, items = read_ids(columns[0], "user", missing), read_ids(columns[1], "item", missing)
        padded = {*users.padded, *items.padded}.difference(nulls)
        if not padded:
            if any(map(is_number, missing)):  # an id only, where a rating may be the same number
                columns[2:] = _arrow_columns(block.data or b"\n", layout, (), [])[2:]
            return columns, invalid, users, items
        # Only Arrow knows what was quoted, so it reads the block again to find what was not.
        nulls = [*nulls, *padded]


def _usable_rows(part: Part, problems: Sequence[Problem], sentinel: float | None) -> Part:
    """Return the rows without problems that are ratings, and count the others."""
    dropped = part.dropped
    if problems:
        keep = np.ones(len(part.ratings), np.bool_)
        for problem in problems:
            dropped[problem.why] += int((keep & problem.rows).sum())
            keep &= ~problem.rows
        part = _kept(part, keep)
    if sentinel is not None and (part.ratings == sentinel).any():
        keep = part.ratings != sentinel
        dropped[f"rating {sentinel:g} means not rated"] += int((~keep).sum())
        part = _kept(part, keep)
    return part._replace(dropped=+dropped)  # without zero counts


def _kept(part: Part, keep: NDArray[np.bool_]) -> Part:
    """Return the rows to keep."""
    times = None if part.times is None else part.times[keep]
    users, items = keep_rows(part.users, keep), keep_rows(part.items, keep)
    return Part(users, items, part.ratings[keep], times, part.dropped)


def _filled(columns: list[Any]) -> Iterator[Problem]:
    """Yield the rows with text in columns that were taken for none, as their beginning is empty."""
    for column in columns:
        length = pc.binary_length(pc.utf8_trim_whitespace(column))
        filled = as_numpy(pc.greater(length, 0).fill_null(False))
        if filled.any():
            yield Problem(filled, _NOT_EMPTY)


def _tidy(block: Block, layout: Layout, source: Source) -> tuple[Block, int]:
    """Return a block whose lines have no comments and no runs of spaces, and how many it had.

    Raises
    ------
    DatasetError
        For a comment that may be a rating.
    """
    data, n_comments = block.data, 0
    if layout.comment:
        comment = rb"(?:\A|(?<=[\r\n]))[ \t]*%s[^\r\n]*" % layout.comment.encode()
        for match in re.finditer(comment, data):
            fields = split_line(match[0].decode(), layout.separator)
            if len(fields) == layout.n_fields and is_number(fields[layout.columns[2]]):
                raise DatasetError(
                    f"{source}, line {block.line_at(match.start())}: {match[0].decode()[:80]!r} "
                    "may be a comment or a rating. Remove it, or quote the id that starts with "
                    f"{layout.comment!r}"
                )
        data, n_comments = re.subn(comment, b"", data)
    if layout.separator == " " and (b"  " in data or _SPACE_AT_END.search(data)):
        data = _SPACE_AT_END.sub(b"", data)
        if b'"' in data:  # a quoted text keeps its spaces
            data = _QUOTED_OR_SPACES.sub(lambda match: match[1] or b" ", data)
        else:
            data = _SPACES.sub(b" ", data)
    return Block(data, block.first_line), n_comments


def _arrow_columns(
    data: bytes, layout: Layout, missing: Sequence[str], invalid: list[Any]
) -> list[Any]:
    """Return the wanted columns, and those that are to be empty, as text.

    Rows with a wrong number of fields go to ``invalid``. Texts that are missing ids are null unless
    they are quoted.
    """
    separator, quote = layout.separator, is_quotable(layout.separator)
    if not quote:
        unused = next((one for one in _CONTROLS if one.encode() not in data), "\0")
        data, separator = data.replace(separator.encode(), unused.encode()), unused
    wanted = [str(position) for position in (*layout.columns, *layout.empty)]

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
            # As text: of numbers, Arrow would read "007" and "0x7" as 7.
            column_types=dict.fromkeys(wanted, pa.string()),
            null_values=["", *missing],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,  # `blocks` checked it
        ),
    )
    return [table[name].combine_chunks() for name in wanted]


def _without_first_lines(block: Block, n: int) -> Block:
    """Return the block without its first ``n`` lines that are not blank."""
    if not n:
        return block
    filled = (match for match in _LINE.finditer(block.data) if match[0].strip(BLANK.encode()))
    last = next(islice(filled, n - 1, None))
    return Block(block.data[last.end() :], block.line_at(last.end()))


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
