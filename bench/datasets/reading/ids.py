"""Ids of a block of rows from texts, and the rows that have none.

One rule for text files and for typed strings, so that the same ratings have the same ids in CSV
and in Parquet. What the ids of all blocks are together is decided in `join_ids`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

NO_ID = "the {} id is missing"
HAS_NUL = "the {} id contains a NUL character"

# Spaces of all kinds, and characters without width, which nobody sees in front of an id.
INVISIBLE = "".join(map(chr, (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680)))
INVISIBLE += "".join(map(chr, (*range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F, 0x205F, 0x2060)))
INVISIBLE += "\u3000\ufeff"
# Whole numbers as programs write them: 7, or 7.0 beside missing values; R writes 1e+05.
POWER = r"^-?[0-9](\.[0-9]+)?e\+[0-9]+$"
WHOLE = r"^-?(0|[1-9][0-9]*)(\.0+)?$|" + POWER


class Problem(NamedTuple):
    """Rows that cannot be used, and the reason."""

    rows: Mask
    why: str


def union(problems: Sequence[Problem], n: int) -> Mask:
    """Return which of ``n`` rows have a problem."""
    rows = np.zeros(n, np.bool_)
    for problem in problems:
        rows |= problem.rows
    return rows


class TextColumn(NamedTuple):
    """Ids of a block of rows, shape (n_rows,): integers, or texts that occur once each.

    Each block chooses by its own texts; `join_ids` makes one column of them.
    """

    ids: NDArray[Any] | pa.DictionaryArray
    problems: list[Problem]
    padded: Sequence[str] = ()  # texts that are missing ids, but for the spaces around them


def read_ids(column: pa.Array, role: str, missing: Sequence[str] = ()) -> TextColumn:
    """Return the ids in a column of texts, and the rows that have none.

    Parameters
    ----------
    column
        Texts; null where the id is missing.
    role
        "user" or "item".
    missing
        Texts that stand for a missing id. They are null already unless they were quoted or have
        spaces around them; the latter are returned.
    """
    if isinstance(column, pa.DictionaryArray):
        encoded = _used_only(column)
        numbers = plain_integers(encoded.dictionary)
        if numbers is not None:
            numbers = np.take(numbers, as_numpy(encoded.indices.fill_null(0)))
    else:
        encoded, numbers = None, plain_integers(column)
    if numbers is not None:
        return TextColumn(numbers, null_rows(column, role))
    encoded = encoded or column.dictionary_encode()
    texts = pc.utf8_trim(encoded.dictionary, characters=INVISIBLE)
    problems, padded = list(_unusable(encoded, texts, role)), []
    if not texts.equals(encoded.dictionary):  # "7" and " 7" are one id
        if missing:
            stands_for_none = pc.is_in(texts, value_set=pa.array(list(missing), texts.type))
            changed = pc.not_equal(texts, encoded.dictionary)
            padded = encoded.dictionary.filter(pc.and_(stands_for_none, changed)).to_pylist()
        again = texts.dictionary_encode()
        codes = pc.take(again.indices, encoded.indices)
        encoded = pa.DictionaryArray.from_arrays(codes, again.dictionary)
    return TextColumn(encoded, problems, padded)


def without_missing(column: TextColumn, role: str, missing: Sequence[str]) -> TextColumn:
    """Return ids of typed columns with those among the missing that the user stated."""
    if isinstance(column.ids, np.ndarray):
        whole = [int(text) for text in missing if re.fullmatch("-?[0-9]{1,18}", text)]
        rows = np.isin(column.ids, whole)
    else:
        texts = column.ids.dictionary
        is_missing = as_numpy(pc.is_in(texts, value_set=pa.array(list(missing), texts.type)))
        codes = as_numpy(column.ids.indices.fill_null(-1))
        rows = np.append(is_missing, False)[codes]
    problems = [Problem(rows, NO_ID.format(role))] if rows.any() else []
    return column._replace(problems=[*column.problems, *problems])


def without_rows(column: pa.Array, rows: Mask) -> pa.Array:
    """Return a column of texts with null in the given rows."""
    mask = pa.array(rows)
    if not isinstance(column, pa.DictionaryArray):
        return pc.if_else(mask, None, column)
    codes = pc.if_else(mask, None, column.indices)
    return _used_only(pa.DictionaryArray.from_arrays(codes, column.dictionary))


def plain_integers(column: pa.Array) -> NDArray[Any] | None:
    """Return texts as integers of 64 bits if each is one in its usual spelling, else None.

    "007" and "0x7" are not, though Arrow reads them as 7. Nulls become 0.
    """
    if not looks_whole(column):
        return None
    for zero in ("0", "-0"):
        led = pc.starts_with(column, zero)
        if pc.any(led).as_py() and not pc.all(pc.equal(column.filter(led), "0")).as_py():
            return None
    for kind in (pa.int64(), pa.uint64()):
        try:
            numbers = column.cast(kind)
        except pa.ArrowInvalid:
            continue
        return as_numpy(numbers.fill_null(0) if numbers.null_count else numbers)
    return None


def keep_rows(ids: NDArray[Any] | pa.DictionaryArray, keep: Mask) -> Any:
    """Return the ids of the rows to keep; texts of no row are forgotten.

    An id in a dropped row, such as "Total", must not decide whether the ids are integers.
    """
    if isinstance(ids, np.ndarray):
        return ids[keep]
    codes = as_numpy(ids.indices.fill_null(0))[keep]  # what is null is not kept
    used, codes = np.unique(codes, return_inverse=True)
    texts = ids.dictionary.take(pa.array(used))
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), texts)


def null_rows(column: pa.Array, role: str) -> list[Problem]:
    """Return the problem of the rows whose id is null, if there are any."""
    if not column.null_count:
        return []
    return [Problem(as_numpy(column.is_null()), NO_ID.format(role))]


def join(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Join arrays and empty the list, so that only one column at a time is in memory twice."""
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    arrays.clear()
    return joined


def as_numpy(array: pa.Array) -> NDArray[Any]:
    """Return an Arrow array as a NumPy array, which may share its memory."""
    out: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return out


def _used_only(encoded: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return a dictionary array without the texts of no row, each text once."""
    codes = as_numpy(encoded.indices.fill_null(-1)).astype(np.int32, copy=False)
    is_used = np.zeros(len(encoded.dictionary) + 1, np.bool_)
    is_used[codes] = True  # the last entry is that of the nulls
    if is_used[:-1].all() and not encoded.dictionary.null_count:
        return encoded
    texts = encoded.dictionary.filter(pa.array(is_used[:-1])).dictionary_encode()
    # The new code of each old one; nulls, and a text that is null itself, have none.
    new = np.full(len(is_used), -1, np.int32)
    new[:-1][is_used[:-1]] = as_numpy(texts.indices.fill_null(-1))
    codes = new[codes]
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), texts.dictionary)


def _unusable(encoded: pa.DictionaryArray, texts: pa.Array, role: str) -> Iterator[Problem]:
    """Yield the rows of a dictionary-encoded column that cannot be ids."""
    codes = as_numpy(encoded.indices.fill_null(-1))
    if encoded.null_count:
        yield Problem(codes < 0, NO_ID.format(role))
    # The dictionary has each text once, so a check costs as much as there are distinct ids.
    checks = (
        (pc.equal(texts, ""), NO_ID.format(role)),
        (pc.match_substring(texts, "\0"), HAS_NUL.format(role)),
    )
    for is_bad, why in checks:
        if pc.any(is_bad).as_py():
            rows = as_numpy(is_bad)
            yield Problem((codes >= 0) & rows[codes], why)


def looks_whole(texts: Any) -> bool:
    """Return whether the first text is a whole number, which is tried before all are."""
    first = next((text for text in texts if text.is_valid), None) if len(texts) else None
    return first is None or re.match(WHOLE, first.as_py()) is not None
