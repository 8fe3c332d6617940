"""Batches of rows with similar numbers of ratings, for solvers that pad them to one length."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def row_batches(
    counts: NDArray[np.int64], width: int, n_elements: int
) -> Iterator[NDArray[np.int64]]:
    """Yield batches of rows that have ratings, by ascending number of ratings.

    The rows of a batch are padded to the longest of them. None is longer than 9/8 of the shortest,
    so at most 1/8 of the work is wasted, except in a small batch: dividing it would cost more.

    Parameters
    ----------
    counts
        Number of ratings of each row, shape (n_rows,).
    width
        A rating takes this many numbers, and a row this many squared.
    n_elements
        Most numbers of a batch, unless it is a single row.
    """
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        shortest = counts[order[start]]
        limit = shortest + shortest // 8
        stop = start + int(np.searchsorted(counts[order[start:]], limit, side="right"))
        longest = int(counts[order[stop - 1]])
        stop = min(stop, start + max(1, n_elements // (max(longest, width) * width)))
        stop = max(stop, start + _fitting(counts[order[start:]], width, n_elements // 16))
        yield order[start:stop]
        start = stop


def _fitting(counts: NDArray[np.int64], width: int, n_elements: int) -> int:
    """Return how many of the first rows, by ascending counts, make a batch of ``n_elements``."""
    first = counts[: n_elements // width**2]  # no more can fit, however few ratings they have
    sizes = np.arange(1, len(first) + 1) * np.maximum(first, width) * width
    return int(np.searchsorted(sizes, n_elements, side="right"))


def padded_positions(
    offsets: NDArray[np.int64], rows: NDArray[np.int64], first: int = 0, last: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the positions of the ratings of ``rows``, and which of them exist.

    Both have shape (len(rows), most ratings of a row), of which the columns ``first:last`` are
    returned. Positions that do not exist are 0.
    """
    counts = offsets[rows + 1] - offsets[rows]
    within = np.arange(counts.max())[first:last]
    exists = within < counts[:, None]
    return np.where(exists, offsets[rows, None] + within, 0), exists
