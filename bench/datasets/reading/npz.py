"""The arrays in NumPy's npz files: columns by name, or a sparse matrix of scipy."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError

from .columns import ROLES, choose_columns
from .options import Columns, Source


def read_arrays(
    path: Path, columns: Columns | None, grown: Callable[[int], None], source: Source
) -> dict[str, NDArray[Any]]:
    """Return the columns of ratings in an npz file by name: users, items, ratings, times.

    It has arrays named users, items and ratings, or it is a scipy sparse matrix, whose stored
    entries are the ratings, zeros included.

    Raises
    ------
    DatasetError
        If the arrays are no columns of ratings, or are larger than ``grown`` allows.
    """
    with zipfile.ZipFile(path) as archive:
        grown(sum(member.file_size for member in archive.infolist()))
    with np.load(path, allow_pickle=False) as stored:
        names = list(stored.files)
        if "format" in names and "shape" in names:
            matrix = dict(zip(ROLES, _sparse(stored, source), strict=False))
            chosen = [ROLES[n] for n in choose_columns(ROLES[:3], True, columns, source)]
            return {name: matrix[name] for name in chosen}
        chosen = [names[n] for n in choose_columns(names, True, columns, source)]
        try:
            arrays = [stored[name] for name in chosen]
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise
            raise DatasetError(
                f"{source} has an array of Python objects, which is not read, because opening it "
                "can run code. Save numbers, or strings of NumPy"
            ) from error
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1 or arrays[0].ndim != 1:
        raise DatasetError(
            f"{source}: {', '.join(chosen)} must be one-dimensional and equally long, got shapes "
            f"{', '.join(map(str, sorted(shapes)))}"
        )
    return dict(zip(chosen, arrays, strict=True))


def _sparse(stored: Any, source: Source) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
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
                f"{source} is damaged: its row pointers do not match its {len(minor)} entries. "
                "Save it again"
            )
        major = np.repeat(np.arange(len(counts)), counts)
        rows, columns = (major, minor) if layout == "csr" else (minor, major)
    else:
        raise DatasetError(
            f"{source} is a sparse matrix in the format {layout}; save it as coo, csr or csc"
        )
    if not len(rows) == len(columns) == len(data):
        raise DatasetError(
            f"{source} is damaged: it has {len(rows)} row indices, {len(columns)} column indices "
            f"and {len(data)} entries. Save it again"
        )
    for name, index, n in (("row", rows, n_rows), ("column", columns, n_columns)):
        if len(index) and not 0 <= index.min() <= index.max() < n:
            raise DatasetError(
                f"{source} is damaged: a {name} index is outside the matrix of {n_rows} x "
                f"{n_columns}. Save it again"
            )
    return rows, columns, data
