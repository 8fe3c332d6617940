"""Columns of tables in memory, and of arrays: which are wanted, and as Arrow columns."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.datasets.errors import DatasetError

from .columns import choose_columns
from .doubt import check_order
from .options import Columns, Source

_QUESTIONED = 1000  # rows of a frame without names


def columns_of(data: Any, wanted: Columns | None, source: Source) -> tuple[list[Any], list[str]]:
    """Return the Arrow columns of user, item, rating and, if there is one, time, and their names.

    Parameters
    ----------
    data
        Anything that `backends.to_arrow` takes.
    wanted
        Names or positions of three or four columns; None to recognise them by their names.
    source
        For errors.

    Raises
    ------
    DatasetError
        If this is no table, a column is missing or ambiguous, or Arrow cannot hold one.
    """
    from backends import RatingsError, to_arrow  # only here: reading text needs no solver

    try:
        if not isinstance(data, pd.DataFrame):
            table = to_arrow(data)
            names = list(table.column_names)
            positions = choose_columns(names, True, wanted, source)
            return [table.column(n) for n in positions], [names[n] for n in positions]
        # Only the wanted columns are converted. Frames that were read from a file without header
        # have numbers for names.
        named = not pd.api.types.is_integer_dtype(data.columns)
        names = [str(name) for name in data.columns]
        positions = choose_columns(names, named, wanted, source)
        columns = [
            to_arrow({names[n]: data.iloc[:, n]}).column(0).combine_chunks() for n in positions
        ]
    except RatingsError as error:
        raise DatasetError(f"{source}: {error}") from error
    if not named and wanted is None:
        rows = zip(*(column[:_QUESTIONED].to_pylist() for column in columns), strict=True)
        texts = [["" if value is None else str(value) for value in row] for row in rows]
        check_order(texts, positions, str(source), source)
    return columns, [names[n] for n in positions]
