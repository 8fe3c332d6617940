"""How ratings, tables and counters lie in memory: all that a solver must know of it. What reads them is in `llvm`.

A table is a C-contiguous matrix whose rows are whole numbers of vectors of `LINE` bytes, zeros at their ends. Ratings
are records of an opposite row and a target. A counter is a cache line of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64  # bytes of a cache line, and of the widest vectors there are
LOOK_AHEAD = 16  # ratings of row 0 that must lie behind the last, since kernels read ahead what they will need soon

_RANK_STEPS = (1, 2, 3, 4, 6)  # vectors per row, and their doubles: bounds how often a kernel is compiled
_WIDTH = LINE // 8


def new_counters(n: int) -> NDArray[np.int64]:
    """Return ``n`` counters at zero."""
    return np.zeros((n, _WIDTH), np.int64)


def ratings_dtype(dtype: DTypeLike, *, weighted: bool = False) -> np.dtype[Any]:
    """Return the type of ratings grouped by row; those that do not all weigh 1 have a weight each."""
    weight: list[Any] = [("weight", dtype)] if weighted else []
    return np.dtype([("other", np.int32), ("target", dtype), *weight])


def keyed_dtype(dtype: DTypeLike, *, weighted: bool = False) -> np.dtype[Any]:
    """Return the type of ratings that still say whose they are."""
    weight: list[Any] = [("weight", dtype)] if weighted else []
    return np.dtype([("key", np.int32), ("other", np.int32), ("target", dtype), *weight])


def padded_rank(rank: int, dtype: np.dtype[Any]) -> int:
    """Return the number of columns of a table for ``rank`` factors: some whole vectors."""
    lanes = LINE // dtype.itemsize
    vectors = -(-rank // lanes)
    doubling = 1
    while doubling * _RANK_STEPS[-1] < vectors:
        doubling *= 2
    return lanes * next(steps * doubling for steps in _RANK_STEPS if steps * doubling >= vectors)


def aligned_zeros(n_rows: int, n_columns: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a matrix of zeros that starts at a vector's boundary, so that no load straddles two cache lines."""
    size = n_rows * n_columns * dtype.itemsize
    buffer = np.zeros(size + LINE, np.uint8)
    start = -buffer.ctypes.data % LINE
    return buffer[start : start + size].view(dtype).reshape(n_rows, n_columns)


def padded_table(factors: NDArray[Any]) -> NDArray[Any]:
    """Copy factors into a table of whole vectors, zeros at the rows' ends."""
    n_rows, rank = factors.shape
    table = aligned_zeros(n_rows, padded_rank(rank, factors.dtype), factors.dtype)
    table[:, :rank] = factors
    return table


def vector_parts(table: NDArray[Any]) -> tuple[int, ...]:
    """Return a tuple as long as a row of the table has vectors."""
    return (0,) * int(table.shape[1] * table.dtype.itemsize // LINE)
