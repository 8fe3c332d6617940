"""Any table as a pyarrow table: data frames of every library, relations, dicts, rows, matrices.

What lives here: which tables there are, and their columns by name. What does not: single columns
(`_columns`), and what of a table are ids and ratings (`Ratings.from_frame`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ._columns import arrow_column
from .errors import RatingsError

if TYPE_CHECKING:
    import pyarrow as pa

_POSITIONS = ("user", "item", "rating", "timestamp")
_ACCEPTED = (
    "a data frame (pandas, polars), a pyarrow table, a DuckDB relation, a dict of columns, a list "
    "of (user, item, rating) tuples, a NumPy structured array or a SciPy sparse matrix"
)


def to_arrow(data: Any, columns: Sequence[str] | None = None) -> pa.Table:
    """Return any table as a pyarrow table.

    Parameters
    ----------
    data
        A data frame of pandas, whose index is ignored, or of polars, lazy or not; a pyarrow
        ``Table``, ``RecordBatch`` or ``RecordBatchReader``; a DuckDB relation; whatever else offers
        ``__arrow_c_stream__``; a dict of columns; a list of tuples (user, item, rating) or (user,
        item, rating, timestamp); a NumPy structured array; or a SciPy sparse matrix or array, whose
        rows are users, whose columns are items, and whose stored entries are ratings, zeros too.
    columns
        Names of the columns to return, in this order; all by default. The others are not looked at.

    Returns
    -------
    pyarrow.Table
        Masked and missing values are null. UUIDs are text. Names may occur twice if ``columns`` is
        None.

    Raises
    ------
    RatingsError
        For anything else, for a name that the table lacks or that several of its columns have, and
        for a column that Arrow cannot hold, such as one of mixed types.
    """
    import pyarrow as pa

    if columns is None:
        named = _columns_of(data)
    else:
        named = list(zip(columns, picked_columns(data, columns, "columns="), strict=True))
    arrays = [arrow_column(values, f"column {name!r}") for name, values in named]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        found = ", ".join(
            f"{name!r} has {len(a)}" for (name, _), a in zip(named, arrays, strict=True)
        )
        raise RatingsError(f"the columns of a table must have one length: {found}")
    return pa.Table.from_arrays(arrays, names=[name for name, _ in named])


def picked_columns(data: Any, names: Sequence[str], arguments: str) -> list[Any]:
    """Return the columns of these names as they are in a table; ``arguments`` name them.

    Raises
    ------
    RatingsError
        For anything that is no table, and a name that it lacks or that several columns have.
    """
    named = _columns_of(data)
    picked = []
    for wanted in names:
        found = [values for name, values in named if name == str(wanted)]
        if not found:
            has = ", ".join(repr(name) for name, _ in named) or "none"
            raise RatingsError(
                f"the frame has no column {wanted!r}; it has {has}. Name the columns by {arguments}"
            )
        if len(found) > 1:
            raise RatingsError(
                f"the frame has {len(found)} columns {wanted!r}; rename all but the one that counts"
            )
        picked.append(found[0])
    return picked


def _columns_of(data: Any) -> list[tuple[str, Any]]:
    """Return names and columns of a table, each as it is."""
    if isinstance(data, dict):
        return [(str(name), values) for name, values in data.items()]
    if isinstance(data, np.ndarray) and data.dtype.names:
        return [(name, data[name]) for name in data.dtype.names]
    if isinstance(data, list | tuple):
        return _of_rows(data)
    package = type(data).__module__.partition(".")[0]
    if package == "polars":
        frame = data.collect() if hasattr(data, "collect") else data
        if hasattr(frame, "get_columns"):
            return [(column.name, column) for column in frame.get_columns()]
    pandas, sparse = sys.modules.get("pandas"), sys.modules.get("scipy.sparse")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        return [(str(name), data.iloc[:, at]) for at, name in enumerate(data.columns)]
    if sparse is not None and sparse.issparse(data) and data.ndim == 2:
        entries = data.tocoo()
        return list(zip(_POSITIONS, (entries.row, entries.col, entries.data), strict=False))
    return _of_arrow(data)


def _of_rows(rows: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return the columns of a list of tuples, named by their position."""
    widths = {len(row) if isinstance(row, tuple | list) else 0 for row in rows}
    if not widths:
        return [(name, []) for name in _POSITIONS[:3]]
    if len(widths) > 1 or not widths <= {3, 4}:
        shapes = " and ".join(map(str, sorted(widths)))
        found = f"one with rows of {shapes} values" if 0 not in widths else "one of something else"
        raise RatingsError(
            "a list must hold tuples (user, item, rating) or (user, item, rating, timestamp), "
            f"got {found}"
        )
    return list(zip(_POSITIONS, zip(*rows, strict=True), strict=False))


def _of_arrow(data: Any) -> list[tuple[str, Any]]:
    """Return the columns of what is of Arrow or offers its interface."""
    is_arrow = type(data).__module__.partition(".")[0] == "pyarrow"
    if not (is_arrow or hasattr(data, "__arrow_c_stream__")):
        raise _no_table(data)
    import pyarrow as pa

    try:
        if isinstance(data, pa.Table):
            table = data
        elif isinstance(data, pa.RecordBatch):
            table = pa.Table.from_batches([data])
        elif isinstance(data, pa.RecordBatchReader):
            table = data.read_all()
        else:
            table = pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise _no_table(data) from error
    return list(zip(table.column_names, table.columns, strict=True))


def _no_table(data: Any) -> RatingsError:
    """Return the error for what is no table."""
    found = type(data).__qualname__
    if isinstance(data, np.ndarray):
        found = f"an array of shape {data.shape} without named columns"
    return RatingsError(f"this is no table of ratings, but {found}; pass {_ACCEPTED}")
