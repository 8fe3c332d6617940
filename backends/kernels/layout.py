"""How ratings, tables and counters are laid out in memory.

A table is a C-contiguous matrix, shape (n_rows, n_columns). Its rows are padded with zeros to a
whole number of vectors of `LINE` bytes, so that a kernel needs no code for a shorter vector at the
end. Ratings are records of an opposite row (for a user the item's, and the other way round), a
target and, if they are weighted, a weight. A counter occupies a cache line of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64  # bytes of a cache line, and of the widest vectors (AVX-512)

# Kernels read the opposite row of a rating this many positions ahead, to prefetch it, and do not
# check for the end. So arrays of ratings are followed by this many more, all of opposite row 0.
LOOK_AHEAD = 16

# Vectors per row are rounded up to one of these, or to one of these times a power of 2. A kernel is
# compiled for each number of vectors that occurs; rounding bounds how many these are.
_VECTORS_PER_ROW = (1, 2, 3, 4, 6)

_COUNTERS_PER_LINE = LINE // 8


def new_counters(n: int) -> NDArray[np.int64]:
    """Return ``n`` counters at zero, shape (n, 8). Only the first column is used.

    Two counters in one cache line would slow down each other's threads.
    """
    return np.zeros((n, _COUNTERS_PER_LINE), np.int64)


def ratings_dtype(dtype: DTypeLike, *, weighted: bool = False) -> np.dtype[Any]:
    """Return the record type of ratings grouped by row; the row follows from the position."""
    weight: list[Any] = [("weight", dtype)] if weighted else []
    return np.dtype([("opposite", np.int32), ("target", dtype), *weight])


def keyed_dtype(dtype: DTypeLike, *, weighted: bool = False) -> np.dtype[Any]:
    """Return the record type of ratings that are not grouped yet; "key" is their row."""
    weight: list[Any] = [("weight", dtype)] if weighted else []
    return np.dtype([("key", np.int32), ("opposite", np.int32), ("target", dtype), *weight])


def padded_rank(rank: int, dtype: np.dtype[Any]) -> int:
    """Return the number of columns of a table for ``rank`` factors, a whole number of vectors."""
    lanes = LINE // dtype.itemsize
    vectors = -(-rank // lanes)
    scale = 1
    while scale * _VECTORS_PER_ROW[-1] < vectors:
        scale *= 2
    return lanes * next(n * scale for n in _VECTORS_PER_ROW if n * scale >= vectors)


def aligned_zeros(n_rows: int, n_columns: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a matrix of zeros that starts at a cache line, so that no load straddles two."""
    size = n_rows * n_columns * dtype.itemsize
    # NumPy aligns to 16 bytes only. One line more leaves room to start at the next boundary.
    buffer = np.zeros(size + LINE, np.uint8)
    start = -buffer.ctypes.data % LINE
    return buffer[start : start + size].view(dtype).reshape(n_rows, n_columns)


def padded_table(factors: NDArray[Any], n_columns: int | None = None) -> NDArray[Any]:
    """Copy factors, shape (n_rows, rank), into a table whose rows are padded with zeros.

    By default to `padded_rank` columns.
    """
    n_rows, rank = factors.shape
    n_columns = n_columns or padded_rank(rank, factors.dtype)
    table = aligned_zeros(n_rows, n_columns, factors.dtype)
    table[:, :rank] = factors
    return table


def vector_parts(table: NDArray[Any]) -> tuple[int, ...]:
    """Return a tuple of zeros, one per vector of a row of the table.

    Kernels take it as ``row_vectors`` and use nothing but its length. The length of a tuple is part
    of its type, so it is known when a kernel is compiled, and loops over a row's vectors are
    unrolled.
    """
    return (0,) * int(table.shape[1] * table.dtype.itemsize // LINE)
