"""Counting sorts of ratings, O(n), for the kernels that sweep them by row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._jit import serial


@serial
def grouped(
    keys: NDArray[np.int32], n_keys: int, others: NDArray[np.int32], values: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[Any]]:
    """Group ratings by key, keeping their order within a key.

    Returns
    -------
    offsets, others, values
        The ratings of key k are at ``[offsets[k], offsets[k + 1])`` of the other two.
    """
    offsets = np.zeros(n_keys + 1, np.int64)
    for n in range(len(keys)):
        offsets[keys[n] + 1] += 1
    for k in range(n_keys):
        offsets[k + 1] += offsets[k]
    place = offsets[:-1].copy()
    grouped_others, grouped_values = np.empty_like(others), np.empty_like(values)
    for n in range(len(keys)):
        at = place[keys[n]]
        place[keys[n]] = at + 1
        grouped_others[at] = others[n]
        grouped_values[at] = values[n]
    return offsets, grouped_others, grouped_values


def balanced_bounds(counts: NDArray[np.int64], n_parts: int) -> NDArray[np.int64]:
    """Cut ``range(len(counts))`` into ``n_parts`` runs with about the same sum of counts; shape (n_parts + 1,)."""
    before = np.concatenate(([0], np.cumsum(counts)))
    cuts = np.searchsorted(before, before[-1] * np.arange(1, n_parts) / n_parts)
    return np.concatenate(([0], cuts, [len(counts)])).astype(np.int64)
