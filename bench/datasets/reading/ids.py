"""Ids from texts: integers where all texts of a column are whole numbers, else categories of str.

One rule for text files and for typed strings, so that the same ratings have the same ids in CSV
and in Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError
from bench.datasets.raw import Ids

from .options import Source

Mask = NDArray[np.bool_]

NO_ID = "the {} id is missing"
HAS_NUL = "the {} id contains a NUL character"

# Spaces of all kinds, and characters without width, which nobody sees in front of an id.
INVISIBLE = "".join(map(chr, (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680)))
INVISIBLE += "".join(map(chr, (*range(0x2000, 0x2010), 0x2028, 0x2029, 0x202F, 0x205F, 0x2060)))
INVISIBLE += "\u3000\ufeff"
# Whole numbers as programs write them: 7, or 7.0 beside missing values; R writes 1e+05.
_POWER = r"^-?[1-9](\.[0-9]+)?e\+[0-9]+$"
_WHOLE = r"^-?(0|[1-9][0-9]*)(\.0+)?$|" + _POWER
_FRACTION = r"\.0+$"


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
        rows = np.isin(column.ids.astype(str), missing)
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
    if not _looks_whole(column):
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


def join_ids(
    blocks: list[NDArray[Any] | pa.DictionaryArray],
    role: str,
    source: Source,
    *,
    stated: bool,
    fraction: bool = True,
) -> Ids:
    """Return the ids of all blocks as one column, and empty the list.

    They are integers of 64 bits if all are whole numbers, where "1.0", as pandas writes integers
    beside missing values, is 1; else texts.

    Parameters
    ----------
    stated
        Whether the user stated which column this is: then its ids may have decimals.
    fraction
        Whether ".000" at the end of a number is a fraction, not thousands.

    Raises
    ------
    DatasetError
        If the ids are numbers with decimals, or texts of which two are the same number.
    """
    if not all(isinstance(block, np.ndarray) for block in blocks):
        texts = [
            block.dictionary.cast(pa.large_string())
            for block in blocks
            if not isinstance(block, np.ndarray)
        ]
        distinct = texts[0]
        looks_whole = all(_looks_whole(text) for text in texts)
        if looks_whole and len(texts) > 1:
            distinct = pa.chunked_array(texts).unique()
        thousands = not fraction and pc.any(pc.match_substring_regex(distinct, r"\.000$")).as_py()
        may_be_whole = looks_whole and not thousands
        if not may_be_whole or _whole_numbers(distinct) is None:
            return _categories(blocks, distinct, role, source, stated)
        blocks[:] = [_as_integers(block) for block in blocks]
    kinds = {ids.dtype.kind for ids in blocks if len(ids)}
    if len(kinds) > 1:
        if not all(ids.dtype.kind == "u" or ids.min(initial=0) >= 0 for ids in blocks):
            # Beyond the 63 bits of a signed integer, and negative: no type has both.
            return _categories(blocks, pa.array([], pa.string()), role, source, stated)
        blocks[:] = [ids.astype(np.uint64) for ids in blocks]
    elif kinds:
        blocks[:] = [ids for ids in blocks if len(ids)]
    return join(blocks)


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


def _looks_whole(texts: Any) -> bool:
    """Return whether the first text is a whole number, which is tried before all are."""
    first = next((text for text in texts if text.is_valid), None) if len(texts) else None
    return first is None or re.match(_WHOLE, first.as_py()) is not None


def _whole_numbers(texts: Any) -> NDArray[Any] | None:
    """Return distinct texts as integers if each is a whole number, else None."""
    if not _looks_whole(texts):
        return None
    if pc.all(pc.match_substring_regex(texts, _WHOLE)).as_py() is False:  # of no text it is None
        return None
    bare = pc.replace_substring_regex(texts, _FRACTION, "")
    powers = pc.match_substring_regex(bare, _POWER)
    if pc.any(powers).as_py():
        whole = [_as_whole(text) for text in bare.filter(powers).to_pylist()]
        bare = pc.replace_with_mask(bare, powers, pa.array(whole, bare.type))
    return plain_integers(bare)


def _as_whole(power: str) -> str:
    """Return a number such as 1.5e+05 without exponent if it is whole, else as it is."""
    number = float(power)
    return str(int(number)) if number % 1 == 0 and abs(number) <= 2**53 else power


def _as_integers(block: NDArray[Any] | pa.DictionaryArray) -> NDArray[Any]:
    if isinstance(block, np.ndarray):
        return block
    numbers = _whole_numbers(block.dictionary)
    assert numbers is not None
    return np.take(numbers, as_numpy(block.indices.fill_null(0)))


def _categories(
    blocks: list[NDArray[Any] | pa.DictionaryArray],
    distinct: Any,
    role: str,
    source: Source,
    stated: bool,
) -> pd.Categorical:
    """Return texts as categories, and empty the list of blocks."""
    coded = []
    for block in blocks:
        encoded = pa.array(block).dictionary_encode() if isinstance(block, np.ndarray) else block
        # Blocks of integers, of categories and of other texts have dictionaries of other types.
        codes, texts = encoded.indices.cast(pa.int32()), encoded.dictionary.cast(pa.large_string())
        coded.append(pa.DictionaryArray.from_arrays(codes, texts))
    blocks.clear()
    whole = pa.chunked_array(coded).unify_dictionaries()
    del coded
    texts = whole.chunk(0).dictionary if whole.num_chunks else distinct
    if len(texts.unique()) < len(texts):  # a single dictionary may have a text twice
        whole = whole.cast(pa.large_string()).dictionary_encode()
        texts = whole.chunk(0).dictionary
    _check_numbers(texts, role, source, stated)
    codes = np.concatenate([as_numpy(chunk.indices.fill_null(-1)) for chunk in whole.chunks])
    return pd.Categorical.from_codes(codes, pd.Index(texts.to_pandas()))


def _check_numbers(texts: pa.Array, role: str, source: Source, stated: bool) -> None:
    """Raise an error for decimals as ids, and for "1" beside "1.0"."""
    _check_spelling(texts, role, source, stated)
    fractions = texts.filter(pc.match_substring_regex(texts, _FRACTION))
    bare = pc.replace_substring_regex(fractions, _FRACTION, "")
    twice = pc.is_in(bare, value_set=texts)
    if len(fractions) and pc.any(twice).as_py():
        first = bare.filter(twice)[0].as_py()
        raise DatasetError(
            f"{source}: the {role} ids contain both {first!r} and "
            f"{fractions.filter(twice)[0].as_py()!r}, which may be the same {role}, beside ids "
            f"that are not numbers, such as {_not_a_number(texts)!r}. Write them in one way"
        )
    if stated or not len(texts) or not pc.any(pc.match_substring(texts, ".")).as_py():
        return
    try:
        texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return
    decimal = next((text for text in texts.to_pylist() if float(text) % 1), None)
    if decimal is None:
        return
    raise DatasetError(
        f"{source}: the {role} ids are numbers with decimals, such as {decimal!r}; this may be "
        f"another column. "
        + source.advice(
            "For the right columns, {}, names or positions (from 0) of user, item and rating in "
            "this order; ids of the columns that are named so may have decimals",
            columns=(0, 1, 2),
        )
    )


def _check_spelling(texts: pa.Array, role: str, source: Source, stated: bool) -> None:
    """Raise an error for ids in quotes after a space, and for those of which digits are lost."""
    quoted = pc.match_substring_regex(texts, '^".*"$')
    if pc.any(quoted).as_py():
        raise DatasetError(
            f"{source}: {role} ids have quotes in them, such as "
            f"{texts.filter(quoted)[0].as_py()!r}. Remove the spaces before and after quotes: only "
            "a quote right after a separator opens a field"
        )
    rounded = pc.match_substring_regex(texts, r"^-?[0-9]([.,][0-9]+)?[eE]\+[0-9]{2,}$")
    if pc.any(rounded).as_py() and not stated:
        raise DatasetError(
            f"{source}: the {role} id {texts.filter(rounded)[0].as_py()!r} looks like a long "
            "number that was rounded when it was saved, so that other ids may be the same now. "
            + source.advice(
                "Save the ids as text, or {}, names or positions (from 0) of user, item and "
                "rating, if they are right as they are",
                columns=(0, 1, 2),
            )
        )


def _not_a_number(texts: pa.Array) -> str:
    other = pc.invert(pc.match_substring_regex(texts, _WHOLE))
    return str(texts.filter(other)[0].as_py()) if pc.any(other).as_py() else ""
