"""Reading ratings from files and frames whose columns have types: Parquet, Feather, NumPy's npz, data frames.

Not here: text, whose values are nothing but text.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError
from bench.datasets.raw import RawRatings

from .columns import (
    LEAVE_OUT,
    ROLES,
    Columns,
    Mask,
    RowPolicy,
    as_numpy,
    choose_columns,
    is_number,
    text_ratings,
    text_times,
    value_problems,
)

Grown = Callable[[int], None]  # raises an error when so many bytes are too many for the file's size

_UNUSABLE = "the {} id is missing, empty or holds a NUL character"
_LARGEST_EXACT = 2.0**53  # up to here a float64 names one integer


def read_parquet(path: Path, columns: Columns | None, grown: Grown, policy: RowPolicy) -> RawRatings:
    """Read a Parquet file; see `read_table`."""
    with pyarrow.parquet.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        chosen = [names[n] for n in choose_columns(names, True, columns, str(path))]
        grown(8 * len(chosen) * file.metadata.num_rows)
        table = file.read(columns=chosen)
    return read_table([_column(table, name, path) for name in chosen], chosen, policy, str(path))


def read_feather(path: Path, columns: Columns | None, grown: Grown, policy: RowPolicy) -> RawRatings:
    """Read a Feather file (Arrow IPC, version 2); see `read_table`."""
    with pa.OSFile(str(path)) as source, pyarrow.ipc.open_file(source) as reader:
        names = list(reader.schema.names)
        chosen = [names[n] for n in choose_columns(names, True, columns, str(path))]
        batches, n_bytes = [], 0
        for n in range(reader.num_record_batches):
            batch = reader.get_batch(n)
            batch.validate(full=True)  # what a damaged file says of its strings would lead anywhere
            batches.append(batch.select([names.index(name) for name in chosen]))
            n_bytes += batch.nbytes
            grown(n_bytes)
        if not batches:
            raise DatasetError(f"{path} holds no ratings")
        table = pa.Table.from_batches(batches)
    return read_table([_column(table, name, path) for name in chosen], chosen, policy, str(path))


def read_npz(path: Path, columns: Columns | None, grown: Grown, policy: RowPolicy) -> RawRatings:
    """Read arrays named users, items and ratings, or a scipy sparse matrix, whose stored entries are the ratings."""
    with zipfile.ZipFile(path) as archive:
        grown(sum(member.file_size for member in archive.infolist()))
    with np.load(path, allow_pickle=False) as stored:
        names = list(stored.files)
        if "format" in names and "shape" in names:
            users, items, ratings = _sparse(stored, path)
            return read_table([pa.array(users), pa.array(items), pa.array(ratings)], ROLES[:3], policy, str(path))
        chosen = [names[n] for n in choose_columns(names, True, columns, str(path))]
        arrays = [stored[name] for name in chosen]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1:
        raise DatasetError(
            f"{path}: {', '.join(chosen)} must be one-dimensional and equally long, got {sorted(shapes)}"
        )
    return read_table([pa.array(_native(array)) for array in arrays], chosen, policy, str(path))


def read_frame(frame: pd.DataFrame, columns: Columns | None, policy: RowPolicy, where: str) -> RawRatings:
    """Read a data frame; see `read_table`."""
    named = not pd.api.types.is_integer_dtype(frame.columns)
    names = [str(name) for name in frame.columns]
    positions = choose_columns(names, named, columns, where)
    arrays = []
    for position in positions:
        try:
            arrays.append(_plain(pa.Array.from_pandas(frame.iloc[:, position])))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            what = f"{where}: column {names[position]}"
            raise DatasetError(
                f"{what} cannot be used: {error}; make its values integers, numbers or strings"
            ) from error
    return read_table(arrays, [names[position] for position in positions], policy, where)


def read_table(columns: Sequence[Any], names: Sequence[str], policy: RowPolicy, where: str) -> RawRatings:
    """Convert typed columns of users, items, ratings and, where there are, times.

    Raises
    ------
    DatasetError
        For a column whose type cannot serve, naming it, and for rows that cannot be read, naming the first.
    """
    columns = [_plain(column) for column in columns]
    users, no_user = _ids(columns[0], names[0], where)
    items, no_item = _ids(columns[1], names[1], where)
    ratings = _ratings(columns[2], names[2], where)
    times = _times(columns[3], names[3], where) if len(columns) == 4 else None
    problems = [(no_user, _UNUSABLE.format("user")), (no_item, _UNUSABLE.format("item"))]
    problems += [(problem.rows, problem.why) for problem in value_problems(ratings, times)]
    keep, dropped = np.ones(len(ratings), np.bool_), Counter[str]()
    for bad, why in problems:
        dropped[why] += int((keep & bad).sum())
        keep &= ~bad
    if not keep.all() and not policy.drop_bad:
        row = int(np.argmin(keep))
        why = next(why for bad, why in problems if bad[row])
        shown = ", ".join(str(column[row].as_py())[:40] for column in columns)
        raise DatasetError(f"{where}, row {row + 1}: {why}: ({shown}). {LEAVE_OUT}")
    if policy.missing_rating is not None:
        rated = ratings != policy.missing_rating
        dropped[policy.not_rated] = int((keep & ~rated).sum())
        keep &= rated
    raw = RawRatings(users, items, ratings, times, dict(+dropped))
    return raw if keep.all() else raw.take(np.flatnonzero(keep))


def _ids(column: Any, name: str, where: str) -> tuple[NDArray[Any], Mask]:
    """Ids as integers of 64 bits or str, and which of them are missing."""
    missing = as_numpy(column.is_null())
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = as_numpy(column.fill_null(0))
        if pa.types.is_floating(kind):  # as pandas makes of integers where one is missing
            numbers, missing = numbers.astype(np.float64), missing | np.isnan(numbers)
            numbers = np.where(missing, 0, numbers)
            if (numbers != np.floor(numbers)).any() or (np.abs(numbers) > _LARGEST_EXACT).any():
                raise DatasetError(
                    f"{where}: column {name} holds {kind} numbers that are no ids; make them integers or strings"
                )
        return numbers.astype(np.uint64 if kind == pa.uint64() else np.int64, copy=False), missing
    if not pa.types.is_string(kind):
        raise DatasetError(f"{where}: column {name} of type {kind} cannot be ids; make it integers or strings")
    encoded = column.fill_null("").dictionary_encode()
    unusable = pc.or_(pc.equal(encoded.dictionary, ""), pc.match_substring(encoded.dictionary, "\0"))
    codes = as_numpy(encoded.indices)
    return np.array(encoded.dictionary.to_pylist(), dtype=object)[codes], as_numpy(unusable)[codes]


def _ratings(column: Any, name: str, where: str) -> NDArray[np.float64]:
    kind = column.type
    if pa.types.is_string(kind):
        return text_ratings(column.fill_null("").dictionary_encode())
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DatasetError(f"{where}: column {name} of type {kind} cannot be ratings; make it numbers")
    return as_numpy(column.cast(pa.float64(), safe=False).fill_null(np.nan))


def _times(column: Any, name: str, where: str) -> NDArray[Any]:
    kind = column.type
    if pa.types.is_string(kind):
        texts = column.fill_null("")
        return text_times(texts, dates=len(texts) > 0 and not is_number(texts[0].as_py()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return as_numpy(column)  # a column with nulls becomes floats
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return as_numpy(column.cast(pa.timestamp("us"), safe=False))
    raise DatasetError(f"{where}: column {name} of type {kind} cannot be timestamps; columns= without it leaves it out")


def _plain(column: Any) -> Any:
    """Return a column as one array, without encodings that say nothing of the values."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = str(column.type)
    return column.cast(pa.string()) if kind in ("large_string", "string_view", "binary", "large_binary") else column


def _column(table: pa.Table, name: str, path: Path) -> Any:
    if table.column_names.count(name) != 1:
        raise DatasetError(f"{path} has {table.column_names.count(name)} columns named {name}; keep one")
    column = table[name]
    column.validate(full=True)
    return column


def _sparse(stored: Any, path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Rows, columns and entries of a matrix that scipy.sparse.save_npz wrote; checked, for scipy would trust it."""
    layout = stored["format"].item()
    layout = layout.decode("ascii") if isinstance(layout, bytes) else str(layout)
    n_rows, n_columns = (int(n) for n in stored["shape"])
    data = stored["data"]
    if layout == "coo":
        rows, columns = stored["row"], stored["col"]
    elif layout in ("csr", "csc"):
        pointers, columns = stored["indptr"].astype(np.int64), stored["indices"]
        counts = np.diff(pointers)
        if (counts < 0).any() or counts.sum() != len(columns):
            raise DatasetError(f"{path} is damaged: its row pointers do not fit its {len(columns)} entries")
        rows = np.repeat(np.arange(len(counts)), counts)
        rows, columns = (rows, columns) if layout == "csr" else (columns, rows)
    else:
        raise DatasetError(f"{path} holds a sparse matrix in the format {layout}; save it as coo, csr or csc")
    if not len(rows) == len(columns) == len(data):
        raise DatasetError(f"{path} is damaged: {len(rows)} rows, {len(columns)} columns, {len(data)} entries")
    for name, index, n in (("row", rows, n_rows), ("column", columns, n_columns)):
        if len(index) and not 0 <= index.min() <= index.max() < n:
            raise DatasetError(f"{path} is damaged: a {name} index lies outside of the matrix's {n_rows} x {n_columns}")
    return rows, columns, data


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="))
