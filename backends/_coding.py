"""Numbering ids by first appearance, and finding pairs that occur more than once.

What lives here: work on whole columns of integers, a part at a time, so that beside the result
there is little else of its size. What does not: what an id is (`_ids`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from .errors import RatingsError

Duplicates = Literal["error", "last", "mean"]

# Ids that are processed at a time: half a megabyte of int64, which stays in cache.
PART = 1 << 16
# A table with a place for each integer from the lowest to the highest id, where there are at most
# so many places per rating; a hash table otherwise.
_PLACES = 2
_THREADED = 1 << 20  # ratings from which on more than one thread pays
# Columns are read once per block of pairs; beyond so many blocks, larger keys are cheaper.
_BLOCKS = 8

_Given = TypeVar("_Given")
_Result = TypeVar("_Result")


def in_threads(work: Callable[[_Given], _Result], given: Sequence[_Given], n: int) -> list[_Result]:
    """Return ``work`` of each, in threads if the ``n`` ratings are many; NumPy holds no lock."""
    threads = min(len(given), os.cpu_count() or 1)
    if n < _THREADED or threads < 2:
        return [work(one) for one in given]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, given))


def parts(
    columns: Sequence[NDArray[Any]], size: int = PART
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield the pieces of a column in several arrays, and where in the column each lies."""
    at = 0
    for column in columns:
        for start in range(0, len(column), size):
            part = column[start : start + size]
            yield slice(at, at + len(part)), part
            at += len(part)


def offsets_from(low: int, part: NDArray[Any]) -> NDArray[np.int64]:
    """Return ``part - low`` modulo 2**64 as int64, which is exact for what lies in range."""
    start = np.array(low % 2**64, np.uint64).astype(np.int64)
    offsets: NDArray[np.int64] = np.subtract(part.astype(np.int64, copy=False), start)
    return offsets


def integers_from(low: int, offsets: NDArray[np.int64], dtype: Any) -> NDArray[Any]:
    """Return ``offsets + low`` in int64 or uint64, the opposite of `offsets_from`."""
    start = np.array(low % 2**64, np.uint64)
    return (offsets.astype(np.uint64) + start).astype(dtype)


def number_integers(columns: Sequence[NDArray[Any]]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return a row for each integer, numbered by first appearance.

    Parameters
    ----------
    columns
        Arrays of integers that make up one column of n values, at least one.

    Returns
    -------
    rows : ndarray of int32, shape (n,)
    keys : ndarray of int64, or of uint64 where an integer needs it, shape (n_distinct,)
        The integer of each row.
    """
    columns = [column for column in columns if len(column)]
    n = sum(map(len, columns))
    low = min(int(column.min()) for column in columns)
    high = max(int(column.max()) for column in columns)
    dtype = np.uint64 if high >= 2**63 else np.int64
    if high - low < _PLACES * n + PART:
        return _by_place(columns, n, low, high, dtype)
    return _by_hash(columns, n, dtype)


def _by_place(
    columns: Sequence[NDArray[Any]], n: int, low: int, high: int, dtype: Any
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """As `number_integers`, by a table that has a place for each integer in the range."""
    table, n_keys = np.full(high - low + 1, -1, np.int32), 0
    rows, keys = np.empty(n, np.int32), []
    for where, part in parts(columns):
        places, found = offsets_from(low, part), rows[where]
        np.take(table, places, out=found, mode="clip")
        new = places[found < 0]
        if not len(new):
            continue
        # Of several assignments to a place the last counts, so these are by first appearance.
        order = np.arange(len(new), dtype=np.int32)
        table[new[::-1]] = order[::-1]
        distinct = new[table[new] == order]
        table[distinct] = np.arange(n_keys, n_keys + len(distinct), dtype=np.int32)
        np.take(table, places, out=found, mode="clip")
        keys.append(integers_from(low, distinct, dtype))
        n_keys += len(distinct)
    return rows, np.concatenate(keys)


def _by_hash(
    columns: Sequence[NDArray[Any]], n: int, dtype: Any
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """As `number_integers`, by Arrow's hash table."""
    import pyarrow as pa

    native = [np.ascontiguousarray(column, column.dtype.newbyteorder("=")) for column in columns]
    coded = pa.chunked_array([pa.array(column) for column in native]).dictionary_encode()
    rows = joined([chunk.indices.to_numpy() for chunk in coded.chunks], n)
    return rows, coded.chunk(coded.num_chunks - 1).dictionary.to_numpy().astype(dtype)


def joined(chunks: Sequence[NDArray[Any]], n: int) -> NDArray[np.int32]:
    """Return chunks of a column of ``n`` codes as one array of int32."""
    rows, at = np.empty(n, np.int32), 0
    for chunk in chunks:
        rows[at : at + len(chunk)] = chunk
        at += len(chunk)
    return rows


def gathered(table: NDArray[Any], codes: NDArray[np.int32]) -> NDArray[Any]:
    """Return ``table[codes]``, part by part: NumPy converts codes to 64 bits, all at once."""
    values = np.empty(len(codes), table.dtype)
    for where, part in parts([codes]):
        np.take(table, part, out=values[where], mode="clip")
    return values


# ---- pairs --------------------------------------------------------------------------------------


def repeated_pairs(
    users: NDArray[np.int32], items: NDArray[np.int32], n_users: int, n_items: int
) -> NDArray[np.int64]:
    """Return the pairs that occur more than once, each as user * n_items + item.

    Pairs are sorted block by block of users, as one integer each: 32 bits where a block of users
    times all items is few enough, since NumPy sorts these at several times the speed.
    """
    width = min(max(2**32 // n_items, 1), n_users)
    dtype: Any = np.uint32
    if n_users > _BLOCKS * width:
        width, dtype = -(-n_users // _BLOCKS), np.uint64
    elif len(users) >= _THREADED:
        width = min(width, -(-n_users // 4))  # a block at least for each of a few threads

    def repeats(first: int) -> NDArray[np.int64]:
        keys = _block_repeats(users, items, first, width, n_items, dtype)
        return keys.astype(np.int64) + first * n_items

    return np.concatenate(in_threads(repeats, range(0, n_users, width), len(users)))


def _block_repeats(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    first: int,
    width: int,
    n_items: int,
    dtype: Any,
) -> NDArray[Any]:
    """Return the pairs that occur twice whose user is one of ``width`` from ``first`` on."""
    inside, size = [], 0
    for start in range(0, len(users), PART):
        offsets = users[start : start + PART] - np.int32(first)
        is_in = offsets.view(np.uint32) < width
        keys = offsets[is_in].astype(dtype) * dtype(n_items)
        keys += items[start : start + PART][is_in].astype(dtype)
        inside.append(keys)
        size += len(keys)
    pairs, at = np.empty(size, dtype), 0
    inside.reverse()
    while inside:  # each part is freed as it is copied
        keys = inside.pop()
        pairs[at : at + len(keys)] = keys
        at += len(keys)
    pairs.sort()
    found = []
    for at in range(0, size - 1, PART):
        later, earlier = pairs[at + 1 : at + PART + 1], pairs[at : at + PART][: size - at - 1]
        found.append(later[later == earlier])
    return np.unique(np.concatenate(found)) if found else pairs[:0]


def check_policy(policy: str) -> None:
    """Raise RatingsError unless this is a policy for duplicates."""
    if policy not in ("error", "last", "mean"):
        raise RatingsError(f'duplicates must be "error", "last" or "mean", got {policy!r}')


def rows_of_pairs(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    n_items: int,
    wanted: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of the ratings of the wanted pairs, and the pair of each."""
    import pandas as pd

    rows, pairs = [], []
    for start in range(0, len(users), PART):
        keys = users[start : start + PART].astype(np.int64) * n_items + items[start : start + PART]
        found = np.flatnonzero(pd.Index(keys).isin(wanted))
        rows.append(found + start)
        pairs.append(keys[found])
    return np.concatenate(rows), np.concatenate(pairs)


def is_dropped(pairs: NDArray[np.int64], policy: Duplicates) -> NDArray[np.bool_]:
    """Return which of the ratings of repeated pairs the policy drops."""
    import pandas as pd

    keep: Any = "last" if policy == "last" else "first"
    return pd.Series(pairs).duplicated(keep=keep).to_numpy()


def mean_of_pairs(
    pairs: NDArray[np.int64], values: NDArray[Any], weights: NDArray[np.float64] | None
) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Return for each rating the weighted mean of its pair's ratings, and of their weights."""
    import pandas as pd

    weighted = pd.Series(values if weights is None else values * weights)
    mean = weighted.groupby(pairs).transform("mean").to_numpy()
    if weights is not None:
        weights = pd.Series(weights).groupby(pairs).transform("mean").to_numpy()
        mean = mean / weights
    return mean.astype(values.dtype), weights
