"""Sorting ratings by row on several threads: what the numba backends share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ._threads import Threads
from .kernels.grouping import count, first_places, place
from .objective import Float


@dataclass(frozen=True)
class Grouped:
    """Ratings grouped by row: those of row k are at ``[offsets[k], offsets[k + 1])`` of the other two."""

    offsets: NDArray[np.int64]
    others: NDArray[np.int32]
    targets: Float

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of ratings of each row."""
        return np.diff(self.offsets)


def grouped(
    threads: Threads,
    keys: NDArray[np.int32],
    n_keys: int,
    others: NDArray[np.int32],
    ratings: Float,
    dtype: np.typing.DTypeLike,
    mean: float,
    unit: float = 1.0,
) -> Grouped:
    """Group ratings by key, keeping their order within a key; targets are (rating - mean) / unit."""
    counts = _counts(threads, keys, n_keys)
    offsets = first_places(counts)
    # Allocated here because NumPy asks for huge pages, and numba does not: scattered writes then miss the TLB less.
    result = Grouped(offsets, np.empty_like(others), np.empty(len(keys), dtype))
    for runs in threads.cut(len(keys)):
        threads.run(
            place,
            [
                (keys, others, ratings, *run, counts[part], mean, unit, result.others, result.targets)
                for part, run in enumerate(runs)
            ],
        )
    return result


def counted(threads: Threads, keys: NDArray[np.int32], n_keys: int) -> NDArray[np.int64]:
    """Return how often each key occurs, shape (n_keys,)."""
    total: NDArray[np.int64] = _counts(threads, keys, n_keys).sum(axis=0)
    return total


def _counts(threads: Threads, keys: NDArray[np.int32], n_keys: int) -> NDArray[np.int64]:
    """Return how often each key occurs in each thread's part, shape (n_threads, n_keys)."""
    counts = np.zeros((threads.n, n_keys), np.int64)
    for runs in threads.cut(len(keys)):
        threads.run(count, [(keys, *run, counts[part]) for part, run in enumerate(runs)])
    return counts
