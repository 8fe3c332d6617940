"""Reading ratings from columns that have types: Parquet, Feather, NumPy's npz, data frames.

Text, whose columns have none, is read by `text`.
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
    Problem,
    RowPolicy,
    as_numpy,
    choose_columns,
    is_number,
    text_ratings,
    text_times,
    value_problems,
)

Grown = Callable[[int], None]  # raises an error for more bytes than a file of this size may give

_UNUSABLE = "the {} id is missing, empty or contains a NUL character"
_LARGEST_EXACT = 2.0**53  # above, a float64 may stand for several integers


def read_parquet(
    path: Path, columns: Columns | None, grown: Grown, policy: RowPolicy
) -> RawRatings:
    """Return the ratings in a Parquet file; see `read_table`."""
    with pyarrow.parquet.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        chosen = [names[n] for n in choose_columns(names, True, columns, str(path))]
        # Before anything is decompressed: 8 bytes a value are what ids and ratings take at least.
        grown(8 * len(chosen) * file.metadata.num_rows)
        table = file.read(columns=chosen)
    return read_table([_column(table, name, path) for name in chosen], chosen, policy, str(path))


def read_feather(
    path: Path, columns: Columns | None, grown: Grown, policy: RowPolicy
) -> RawRatings:
    """Return the ratings in a Feather file (Arrow IPC, version 2); see `read_table`."""
    with pa.OSFile(str(path)) as source, pyarrow.ipc.open_file(source) as reader:
        names = list(reader.schema.names)
        chosen = [names[n] for n in choose_columns(names, True, columns, str(path))]
        batches, n_bytes = [], 0
        for n in range(reader.num_record_batches):
            batch = reader.get_batch(n)
            # In a damaged file, offsets of strings may point outside the memory of the batch.
            batch.validate(full=True)
            batches.append(batch.select([names.index(name) for name in chosen]))
            n_bytes += batch.nbytes
            grown(n_bytes)
        if not batches:
            raise DatasetError(f"{path} contains no ratings; expected one per row")
        table = pa.Table.from_batches(batches)
    return read_table([_column(table, name, path) for name in chosen], chosen, policy, str(path))


def read_npz(path: Path, columns: Columns | None, grown: Grown, policy: RowPolicy) -> RawRatings:
    """Return the ratings in an npz file.

    It has arrays named users, items and ratings, or it is a scipy sparse matrix, whose stored
    entries are the ratings, zeros included.
    """
    with zipfile.ZipFile(path) as archive:
        grown(sum(member.file_size for member in archive.infolist()))
    with np.load(path, allow_pickle=False) as stored:
        names = list(stored.files)
        if "format" in names and "shape" in names:
            users, items, ratings = _sparse(stored, path)
            arrow_columns = [pa.array(users), pa.array(items), pa.array(ratings)]
            return read_table(arrow_columns, ROLES[:3], policy, str(path))
        chosen = [names[n] for n in choose_columns(names, True, columns, str(path))]
        arrays = [stored[name] for name in chosen]
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1:
        raise DatasetError(
            f"{path}: {', '.join(chosen)} must be one-dimensional and equally long, got shapes "
            f"{', '.join(map(str, sorted(shapes)))}"
        )
    return read_table([pa.array(_native(array)) for array in arrays], chosen, policy, str(path))


def read_frame(
    frame: pd.DataFrame, columns: Columns | None, policy: RowPolicy, where: str
) -> RawRatings:
    """Return the ratings in a data frame; see `read_table`."""
    named = not pd.api.types.is_integer_dtype(frame.columns)
    names = [str(name) for name in frame.columns]
    positions = choose_columns(names, named, columns, where)
    arrays = []
    for position in positions:
        try:
            arrays.append(_plain(pa.Array.from_pandas(frame.iloc[:, position])))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise DatasetError(
                f"{where}: column {names[position]} cannot be used: {error}; "
                "make its values integers, numbers or strings"
            ) from error
    return read_table(arrays, [names[position] for position in positions], policy, where)


def read_table(
    columns: Sequence[Any], names: Sequence[str], policy: RowPolicy, where: str
) -> RawRatings:
    """Return ratings from Arrow columns of users, items, ratings and, if there are any, times.

    Parameters
    ----------
    columns
        Three or four columns, shape (n_rows,) each.
    names
        Their names, for errors.
    policy
        Which rows to leave out.
    where
        The name of the file or frame, for errors.

    Raises
    ------
    DatasetError
        For a column whose type is unsuitable, and for the first row that cannot be read.
    """
    columns = [_plain(column) for column in columns]
    users, no_user = _ids(columns[0], names[0], where)
    items, no_item = _ids(columns[1], names[1], where)
    ratings = _ratings(columns[2], names[2], where)
    times = _times(columns[3], names[3], where) if len(columns) == 4 else None

    problems = [
        Problem(no_user, _UNUSABLE.format("user")),
        Problem(no_item, _UNUSABLE.format("item")),
        *value_problems(ratings, times),
    ]
    # A row with two problems is counted for the first.
    keep, dropped = np.ones(len(ratings), np.bool_), Counter[str]()
    for problem in problems:
        dropped[problem.why] += int((keep & problem.rows).sum())
        keep &= ~problem.rows
    if not keep.all() and not policy.drop_bad:
        row = int(np.argmin(keep))
        why = next(problem.why for problem in problems if problem.rows[row])
        shown = ", ".join(str(column[row].as_py())[:40] for column in columns)
        raise DatasetError(f"{where}, row {row + 1}: {why}: ({shown}). {LEAVE_OUT}")

    if policy.missing_rating is not None:
        rated = ratings != policy.missing_rating
        dropped[policy.not_rated] = int((keep & ~rated).sum())
        keep &= rated
    raw = RawRatings(users, items, ratings, times, dict(+dropped))  # + removes zero counts
    return raw if keep.all() else raw.take(np.flatnonzero(keep))


def _ids(column: Any, name: str, where: str) -> tuple[NDArray[Any], Mask]:
    """Return ids as integers of 64 bits or str, and which of them cannot be used."""
    kind = column.type
    if pa.types.is_integer(kind):
        return _integers(column.fill_null(0), kind), as_numpy(column.is_null())
    if pa.types.is_floating(kind):
        return _integers_in_floats(column, name, where)
    if not pa.types.is_string(kind):
        raise DatasetError(
            f"{where}: column {name} of type {kind} cannot be ids; make it integers or strings"
        )
    # Each distinct id is checked once, and becomes one Python object.
    encoded = column.fill_null("").dictionary_encode()
    texts = encoded.dictionary
    unusable = pc.or_(pc.equal(texts, ""), pc.match_substring(texts, "\0"))
    codes = as_numpy(encoded.indices)
    return np.array(texts.to_pylist(), dtype=object)[codes], as_numpy(unusable)[codes]


def _integers(column: Any, kind: Any) -> NDArray[Any]:
    return as_numpy(column).astype(np.uint64 if kind == pa.uint64() else np.int64, copy=False)


def _integers_in_floats(column: Any, name: str, where: str) -> tuple[NDArray[Any], Mask]:
    """Return integer ids from floats, which pandas uses for integers of which one is missing."""
    numbers = as_numpy(column.fill_null(0)).astype(np.float64)
    missing = as_numpy(column.is_null()) | np.isnan(numbers)
    numbers = np.where(missing, 0, numbers)
    if (numbers != np.floor(numbers)).any() or (np.abs(numbers) > _LARGEST_EXACT).any():
        raise DatasetError(
            f"{where}: column {name} has {column.type} numbers that are not whole or too large for "
            "ids; make it integers or strings"
        )
    return numbers.astype(np.int64), missing


def _ratings(column: Any, name: str, where: str) -> NDArray[np.float64]:
    """Return ratings, NaN where they are missing or not numbers."""
    kind = column.type
    if pa.types.is_string(kind):
        return text_ratings(column.fill_null("").dictionary_encode())
    is_real = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not is_real:
        raise DatasetError(
            f"{where}: column {name} of type {kind} cannot be ratings; make it numbers"
        )
    return as_numpy(column.cast(pa.float64(), safe=False).fill_null(np.nan))


def _times(column: Any, name: str, where: str) -> NDArray[Any]:
    """Return times as integers, floats or datetime64, NaN or NaT where they are missing."""
    kind = column.type
    if pa.types.is_string(kind):
        texts = column.fill_null("")
        dates = len(texts) > 0 and not is_number(texts[0].as_py())
        return text_times(texts, dates=dates)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return as_numpy(column)  # integers become floats if one is missing
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return as_numpy(column.cast(pa.timestamp("us"), safe=False))
    raise DatasetError(
        f"{where}: column {name} of type {kind} cannot be timestamps; "
        "make it numbers or dates, or pass columns= without it"
    )


def _plain(column: Any) -> Any:
    """Return a column as one array of a plain type: without chunks, extensions, dictionaries."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if str(column.type) in ("large_string", "string_view", "binary", "large_binary"):
        return column.cast(pa.string())
    return column


def _column(table: pa.Table, name: str, path: Path) -> Any:
    n = table.column_names.count(name)
    if n != 1:
        raise DatasetError(f"{path} has {n} columns named {name}; rename or remove all but one")
    column = table[name]
    column.validate(full=True)
    return column


def _sparse(stored: Any, path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return rows, columns and entries of a matrix written by scipy.sparse.save_npz.

    The indices are checked, which scipy itself would not do.
    """
    layout = stored["format"].item()
    layout = layout.decode("ascii") if isinstance(layout, bytes) else str(layout)
    n_rows, n_columns = (int(n) for n in stored["shape"])
    data = stored["data"]
    if layout == "coo":
        rows, columns = stored["row"], stored["col"]
    elif layout in ("csr", "csc"):
        pointers, minor = stored["indptr"].astype(np.int64), stored["indices"]
        counts = np.diff(pointers)
        if (counts < 0).any() or counts.sum() != len(minor):
            raise DatasetError(
                f"{path} is damaged: its row pointers do not match its {len(minor)} entries. "
                "Save it again"
            )
        major = np.repeat(np.arange(len(counts)), counts)
        rows, columns = (major, minor) if layout == "csr" else (minor, major)
    else:
        raise DatasetError(
            f"{path} is a sparse matrix in the format {layout}; save it as coo, csr or csc"
        )
    if not len(rows) == len(columns) == len(data):
        raise DatasetError(
            f"{path} is damaged: it has {len(rows)} row indices, {len(columns)} column indices and "
            f"{len(data)} entries. Save it again"
        )
    for name, index, n in (("row", rows, n_rows), ("column", columns, n_columns)):
        if len(index) and not 0 <= index.min() <= index.max() < n:
            raise DatasetError(
                f"{path} is damaged: a {name} index is outside the matrix of {n_rows} x "
                f"{n_columns}. Save it again"
            )
    return rows, columns, data


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in this machine's byte order, the only one that Arrow takes."""
    return array.astype(array.dtype.newbyteorder("="))
