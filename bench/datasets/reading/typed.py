"""Reading ratings from columns that have types: Parquet, Arrow, NumPy's npz, tables in memory.

Text, whose columns have none, is read by `text`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError
from bench.datasets.raw import RawRatings

from .bad_rows import remedy
from .ids import (
    NO_ID,
    Mask,
    Problem,
    TextColumn,
    as_numpy,
    join,
    keep_rows,
    null_rows,
    read_ids,
    union,
    without_missing,
    without_rows,
)
from .joined_ids import join_ids
from .lines import is_number
from .options import FileOptions, Source
from .values import (
    Times,
    join_times,
    text_ratings,
    text_times,
    time_problems,
    typed_times,
    value_problems,
)

_QUESTIONED = 100  # texts of a chunk that tell whether times are numbers or dates
_BINARY = ("binary", "large_binary")
# Above these, a float may stand for several integers.
_LARGEST_EXACT = {"halffloat": 2.0**11, "float": 2.0**24}
_LARGEST_EXACT_DOUBLE = 2.0**53


def read_table(
    columns: Sequence[Any], names: Sequence[str], options: FileOptions, source: Source
) -> RawRatings:
    """Return ratings from Arrow columns of users, items, ratings and, if there are any, times.

    Parameters
    ----------
    columns
        Three or four columns, shape (n_rows,) each. Integers and floats of 64 bits in one chunk are
        not copied.
    names
        Their names, for errors.
    options
        What the user states.
    source
        For errors.

    Raises
    ------
    DatasetError
        For a column whose type is unsuitable, and for the first row that cannot be read.
    """
    chunked = [
        column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
        for column in columns
    ]
    chunks = [_chunks(column, name, source) for column, name in zip(chunked, names, strict=True)]
    ratings = join([_ratings(chunk, names[2], options, source) for chunk in chunks[2]])
    ids, problems = [], []
    for n, role in enumerate(("user", "item")):
        read = [_ids(chunk, role, names[n], source) for chunk in chunks[n]]
        if options.missing_ids:
            read = [without_missing(block, role, options.missing_ids) for block in read]
        ids.append([block.ids for block in read])
        problems += _joined([block.problems for block in read], [len(b.ids) for b in read])
    problems += value_problems(ratings)
    times = None
    if len(chunked) == 4:
        unusable = union(problems, len(ratings))
        if options.sentinel is not None:
            unusable |= ratings == options.sentinel
        times = _times(chunks[3], names[3], unusable, source)
        problems += time_problems(times, unusable)

    keep, dropped = _sound_rows(problems, len(ratings), chunked, names, options, source)
    if options.sentinel is not None:
        rated = ratings != options.sentinel
        n_unrated = int((keep & ~rated).sum())
        dropped[f"rating {options.sentinel:g} means not rated"] += n_unrated
        keep &= rated
    if not keep.all():
        for blocks in ids:
            _keep_in_blocks(blocks, keep)
        ratings = ratings[keep]
    users, items = (
        join_ids(blocks, role, source, stated=options.columns is not None)
        for blocks, role in zip(ids, ("user", "item"), strict=True)
    )
    stamps = None
    if times is not None:
        stamps = times.values if keep.all() else times.values[keep]
    return RawRatings(users, items, ratings, stamps, dict(+dropped))  # + removes zero counts


def _sound_rows(
    problems: list[Problem],
    n: int,
    columns: Sequence[Any],
    names: Sequence[str],
    options: FileOptions,
    source: Source,
) -> tuple[Mask, Counter[str]]:
    """Return the rows that can be used, and how many cannot and why; or raise an error for one."""
    keep, dropped = np.ones(n, np.bool_), Counter[str]()
    for problem in problems:
        # A row with two problems is counted for the first.
        dropped[problem.why] += int((keep & problem.rows).sum())
        keep &= ~problem.rows
    if not keep.all() and not options.drop_bad:
        row = int(np.argmin(keep))
        why = next(problem.why for problem in problems if problem.rows[row])
        shown = ", ".join(str(column[row].as_py())[:40] for column in columns)
        advice = remedy(why, source, names, shown)
        raise DatasetError(f"{source}, row {row + 1}: {why}: ({shown}). {advice}")
    return keep, dropped


def _joined(problems: list[list[Problem]], sizes: list[int]) -> list[Problem]:
    """Return the problems of consecutive chunks as those of the whole column."""
    masks: dict[str, Mask] = {}
    start = 0
    for chunk, size in zip(problems, sizes, strict=True):
        for problem in chunk:
            mask = masks.setdefault(problem.why, np.zeros(sum(sizes), np.bool_))
            mask[start : start + size] |= problem.rows
        start += size
    return [Problem(rows, why) for why, rows in masks.items()]


def _keep_in_blocks(blocks: list[Any], keep: Mask) -> None:
    start = 0
    for n, block in enumerate(blocks):
        stop = start + len(block)
        blocks[n] = keep_rows(block, keep[start:stop])
        start = stop


def _ids(column: Any, role: str, name: str, source: Source) -> TextColumn:
    """Return ids as integers of 64 bits or texts, and the rows that have none."""
    kind = column.type
    if pa.types.is_integer(kind):
        numbers = as_numpy(column.fill_null(0) if column.null_count else column)
        wide = np.uint64 if kind == pa.uint64() else np.int64
        return TextColumn(numbers.astype(wide, copy=False), null_rows(column, role))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _whole_numbers(column, role, name, source)
    if _is_text(kind):
        return read_ids(column, role)
    raise DatasetError(
        f"{source}: column {name} of type {kind} cannot be ids; make it integers or strings"
    )


def _whole_numbers(column: Any, role: str, name: str, source: Source) -> TextColumn:
    """Return integer ids from floats, which pandas uses for integers of which one is missing."""
    if pa.types.is_decimal(column.type):
        try:
            return TextColumn(
                as_numpy(column.cast(pa.int64()).fill_null(0)), null_rows(column, role)
            )
        except pa.ArrowInvalid:
            numbers = as_numpy(column.cast(pa.float64(), safe=False).fill_null(0))
    else:
        numbers = as_numpy(column).astype(np.float64)  # with NaN for nulls
    missing = np.isnan(numbers)
    numbers = np.where(missing, 0, numbers)
    largest = _LARGEST_EXACT.get(str(column.type), _LARGEST_EXACT_DOUBLE)
    wrong = (numbers != np.floor(numbers)) | (np.abs(numbers) > largest)
    if wrong.any():
        first = numbers[wrong][0]
        raise DatasetError(
            f"{source}: column {name} has {column.type} numbers that are not whole or too large "
            f"for ids, such as {first:.17g}; make it integers or strings"
        )
    problems = [Problem(missing, NO_ID.format(role))] if missing.any() else []
    return TextColumn(numbers.astype(np.int64), problems)


def _ratings(column: Any, name: str, options: FileOptions, source: Source) -> NDArray[np.float64]:
    """Return ratings, NaN where they are missing or not numbers."""
    kind = column.type
    if _is_text(kind):
        return text_ratings(column, options.decimal or ".")
    is_real = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not is_real:
        raise DatasetError(
            f"{source}: column {name} of type {kind} cannot be ratings; make it numbers"
        )
    numbers = column if kind == pa.float64() else column.cast(pa.float64(), safe=False)
    return as_numpy(numbers.fill_null(np.nan) if numbers.null_count else numbers)


def _times(chunks: list[Any], name: str, unusable: Mask, source: Source) -> Times:
    """Return times as integers, floats or datetime64.

    Texts of rows that are ``unusable`` do not decide which of these they are.
    """
    dates, start, parts = _are_dates(chunks), 0, []
    for chunk in chunks:
        mask = unusable[start : start + len(chunk)]
        usable = without_rows(chunk, mask) if _is_text(chunk.type) and mask.any() else chunk
        parts.append(_times_of(usable, name, source, dates))
        start += len(chunk)
    missing = np.concatenate([part.missing for part in parts])
    return Times(join_times([part.values for part in parts]), missing)


def _are_dates(chunks: list[Any]) -> bool:
    """Return whether most of the first texts of a column are no numbers."""
    if not _is_text(chunks[0].type):
        return False
    first = [chunk.drop_null()[:_QUESTIONED].to_pylist() for chunk in chunks[:8]]
    texts = [text for part in first for text in part]
    return 2 * sum(is_number(text) for text in texts) < len(texts)


def _times_of(column: Any, name: str, source: Source, dates: bool) -> Times:
    kind = column.type
    if _is_text(kind):
        return text_times(column, dates)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return typed_times(column)
    if pa.types.is_decimal(kind):
        return typed_times(column.cast(pa.float64(), safe=False))
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return typed_times(column.cast(pa.timestamp("us"), safe=False))
    raise DatasetError(
        f"{source}: column {name} of type {kind} cannot be timestamps; make it numbers or dates, "
        "or name three columns without it"
    )


def check_types(fields: Sequence[Any], source: Source) -> None:
    """Raise an error for columns of lists and the like before they are read.

    Raises
    ------
    DatasetError
        With the column and its type.
    """
    for field in fields:
        if pa.types.is_nested(field.type):
            raise DatasetError(
                f"{source}: column {field.name} has the type {field.type}; make it integers, "
                "numbers or strings"
            )


def bytes_of(column: Any) -> int:
    """Return the size of a column with all its texts written out, but for those of a dictionary."""
    kind = str(column.type)
    if kind in ("string_view", "binary_view"):
        # A view has 16 bytes, of which the first four are the length.
        views = np.frombuffer(column.buffers()[1], np.int32)
        lengths = views[4 * column.offset : 4 * (column.offset + len(column)) : 4]
        return int(np.maximum(lengths, 0).sum(dtype=np.int64))
    if pa.types.is_dictionary(column.type):
        return int(column.indices.nbytes) + bytes_of(column.dictionary)
    return int(column.nbytes)


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return str(kind) in ("string", "large_string")


def _chunks(column: pa.ChunkedArray, name: str, source: Source) -> list[Any]:
    """Return the chunks of a column as arrays of plain types, at least one."""
    chunks = column.chunks or [pa.array([], column.type)]
    return [_plain(chunk, name, source) for chunk in chunks]


def _plain(column: Any, name: str, source: Source) -> Any:
    """Return an array of a plain type: without extensions, and text as strings or dictionaries."""
    if isinstance(column, pa.ExtensionArray):
        if column.type.extension_name.startswith("pandas."):  # a period is no integer
            raise DatasetError(
                f"{source}: column {name} of type {column.type} cannot be used; make it numbers, "
                "dates or strings"
            )
        column = column.storage
    kind = column.type
    if pa.types.is_dictionary(kind):
        values = _plain(column.dictionary, name, source)
        if _is_text(values.type):
            codes = column.indices.cast(pa.int32())
            return pa.DictionaryArray.from_arrays(codes, values)
        return _plain(column.dictionary_decode(), name, source)
    is_bytes = pa.types.is_fixed_size_binary(kind) or str(kind).startswith(_BINARY)
    if is_bytes or str(kind) == "string_view":
        try:
            return pc.cast(column, pa.large_string())
        except pa.ArrowInvalid as error:
            raise DatasetError(
                f"{source}: column {name} has bytes that are not text in UTF-8; make it integers "
                "or strings"
            ) from error
    return column
