"""The ids of all blocks as one column: integers if all are whole numbers, else categories of str.

Spellings of which two may be the same id, or that have lost digits, are errors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError
from bench.datasets.raw import Ids

from .ids import POWER, WHOLE, as_numpy, join, looks_whole, plain_integers
from .options import Source

_FRACTION = r"\.0+$"
# What is looked at closely: numbers in any spelling, and what has quotes around it.
_SUSPECT = r'^-?[0-9.,]+([eE]\+[0-9]+)?$|^".*"$'
_ANY_POWER = r"^-?[0-9]([.,][0-9]+)?[eE]\+[0-9]+$"


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
        may_be_whole = all(looks_whole(text) for text in texts)
        if may_be_whole and len(texts) > 1:
            distinct = pa.chunked_array(texts).unique()
        thousands = not fraction and pc.any(pc.match_substring_regex(distinct, r"\.000$")).as_py()
        if thousands or not may_be_whole or _whole_numbers(distinct) is None:
            return _categories(blocks, distinct, role, source, stated, fraction)
        blocks[:] = [_as_integers(block) for block in blocks]
    kinds = {ids.dtype.kind for ids in blocks if len(ids)}
    if len(kinds) > 1:
        if not all(ids.dtype.kind == "u" or ids.min(initial=0) >= 0 for ids in blocks):
            # Beyond the 63 bits of a signed integer, and negative: no type has both.
            return _categories(blocks, pa.array([], pa.string()), role, source, stated, fraction)
        blocks[:] = [ids.astype(np.uint64) for ids in blocks]
    elif kinds:
        blocks[:] = [ids for ids in blocks if len(ids)]
    joined = join(blocks)
    # An id of a row that was left out must not decide either.
    fits = joined.dtype.kind == "u" and joined.max(initial=0) < 2**63
    return joined.astype(np.int64) if fits else joined


def _whole_numbers(texts: Any) -> NDArray[Any] | None:
    """Return distinct texts as integers if each is a whole number, else None."""
    if not looks_whole(texts):
        return None
    if pc.all(pc.match_substring_regex(texts, WHOLE)).as_py() is False:  # of no text it is None
        return None
    bare = pc.replace_substring_regex(texts, _FRACTION, "")
    powers = pc.match_substring_regex(bare, POWER)
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
    fraction: bool,
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
    if whole.num_chunks == 1 and len(texts.unique()) < len(texts):  # it may have a text twice
        whole = whole.cast(pa.large_string()).dictionary_encode()
        texts = whole.chunk(0).dictionary
    _check_numbers(texts, role, source, stated, fraction)
    codes = np.concatenate([as_numpy(chunk.indices.fill_null(-1)) for chunk in whole.chunks])
    return pd.Categorical.from_codes(codes, pd.Index(texts.to_pandas()))


def _check_numbers(
    texts: pa.Array, role: str, source: Source, stated: bool, fraction: bool
) -> None:
    """Raise an error for decimals as ids, and for "1" beside "1.0"."""
    suspects = texts.filter(pc.match_substring_regex(texts, _SUSPECT))
    _check_spelling(suspects, role, source, stated)
    fractions = suspects.filter(pc.match_substring_regex(suspects, _FRACTION))
    bare = pc.replace_substring_regex(fractions, _FRACTION, "")
    twice = pc.is_in(bare, value_set=suspects)
    if pc.any(twice).as_py():
        first, other = bare.filter(twice)[0].as_py(), _not_a_number(texts)
        beside = f", beside ids that are not numbers, such as {other!r}" if other else ""
        raise DatasetError(
            f"{source}: the {role} ids contain both {first!r} and "
            f"{fractions.filter(twice)[0].as_py()!r}, which may be the same {role}{beside}. Write "
            "them in one way"
        )
    commas = suspects.filter(pc.match_substring_regex(suspects, r"^-?[0-9]+,[0-9]+$"))
    if not (fraction or stated) and len(commas):
        raise _decimals(commas[0].as_py(), role, source)
    if stated or not pc.any(pc.match_substring(suspects, ".")).as_py():
        return
    try:
        texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return
    decimal = next((text for text in texts.to_pylist() if float(text) % 1), None)
    if decimal is None:
        return
    raise _decimals(decimal, role, source)


def _decimals(text: str, role: str, source: Source) -> DatasetError:
    return DatasetError(
        f"{source}: the {role} ids are numbers with decimals, such as {text!r}; this may be "
        "another column. "
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
    powers = texts.filter(pc.match_substring_regex(texts, _ANY_POWER)).to_pylist()
    rounded = next(filter(_has_lost_digits, powers), None)
    if rounded is not None and not stated:
        raise DatasetError(
            f"{source}: the {role} id {rounded!r} looks like a long "
            "number that was rounded when it was saved, so that other ids may be the same now. "
            + source.advice(
                "Save the ids as text, or {}, names or positions (from 0) of user, item and "
                "rating, if they are right as they are",
                columns=(0, 1, 2),
            )
        )


def _has_lost_digits(power: str) -> bool:
    """Return whether a number with an exponent has fewer digits than it would have without."""
    mantissa, _, exponent = power.lower().partition("e+")
    _, _, decimals = mantissa.replace(",", ".").partition(".")
    return len(decimals) < int(exponent)


def _not_a_number(texts: pa.Array) -> str:
    other = pc.invert(pc.match_substring_regex(texts, WHOLE))
    return str(texts.filter(other)[0].as_py()) if pc.any(other).as_py() else ""
