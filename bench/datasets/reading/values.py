"""Ratings and times from texts, and a rating that seems to stand for "not rated"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError

from .ids import Problem, as_numpy, join
from .lines import as_number
from .options import Source

NOT_A_NUMBER = "the rating is not a finite number"
NOT_A_TIME = "the timestamp is neither a number nor an ISO 8601 date"

_HEXADECIMAL = "^-?0[xX]"
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_DATE = re.compile(r"[0-9]{4}-[0-9]|[0-9]{8}(T|$)")  # the beginning of a date in ISO 8601

# A least rating of 0 is suspect if it holds over this share of the rows, and over twice as many as
# the next rating, on a scale of at least this many ratings.
_NINES = (99, 999, 9999, 99999)
_SUSPECT_SHARE = 0.05
_SUSPECT_RATIO = 2
_SUSPECT_SCALE = 4


class Times(NamedTuple):
    """Times of rows, shape (n_rows,): integers, floats or datetime64, and which are missing."""

    values: NDArray[Any]
    missing: NDArray[np.bool_]


def value_problems(ratings: NDArray[Any]) -> Iterator[Problem]:
    """Yield the rows whose rating is not finite."""
    finite = np.isfinite(ratings)
    if not finite.all():
        yield Problem(~finite, NOT_A_NUMBER)


def time_problems(times: Times, unusable: NDArray[np.bool_]) -> Iterator[Problem]:
    """Yield the rows whose time is missing, but for those that are ``unusable`` anyway."""
    missing = times.missing & ~unusable
    if missing.any():
        yield Problem(missing, NOT_A_TIME)


def text_ratings(column: pa.Array, decimal: str = ".") -> NDArray[np.float64]:
    """Return ratings as numbers, NaN for a text that is not a number."""
    if isinstance(column, pa.DictionaryArray):
        return _of_texts(text_ratings(column.dictionary, decimal), column)
    if decimal != ".":
        # A point would be one between thousands, so such a text is not a number.
        column = pc.if_else(
            pc.match_substring(column, "."), "", pc.replace_substring(column, decimal, ".")
        )
    try:
        return as_numpy(column.cast(pa.float64()).fill_null(np.nan))
    except pa.ArrowInvalid:
        # Arrow gives up at the first text that is not a number; Python judges each by itself.
        encoded = column.dictionary_encode()
        numbers = [as_number(text) for text in encoded.dictionary.to_pylist()]
        return _of_texts(np.array(numbers, np.float64), encoded)


def text_times(column: pa.Array, dates: bool) -> Times:
    """Return times as integers or floats or, with ``dates``, as datetime64.

    Integers stay integers where a time is missing: a float would round nanoseconds. Dates with a
    time zone are converted to UTC. What is not a time is missing.
    """
    if isinstance(column, pa.DictionaryArray):
        distinct = text_times(column.dictionary, dates)
        codes = as_numpy(column.indices.fill_null(-1))
        if not len(distinct.values):
            return Times(np.zeros(len(codes), np.int64), codes < 0)
        return Times(distinct.values[codes], (codes < 0) | distinct.missing[codes])
    kinds = [pa.timestamp("us")] if dates else [pa.int64(), pa.float64()]
    if not dates and pc.any(pc.match_substring_regex(column, _HEXADECIMAL)).as_py():
        kinds = []  # Arrow would take 0x1F for 31
    for kind in kinds:
        try:
            times = typed_times(column.cast(kind))
        except pa.ArrowInvalid:
            continue
        if kind == pa.float64() and times.missing.sum() > column.null_count:
            # Without the texts "nan" and "inf" they may be integers.
            return text_times(pc.if_else(pa.array(times.missing), None, column), dates)
        return times
    # Some text is not a time, or Arrow does not understand it: slower, one value at a time.
    texts = ["" if text is None else text.strip() for text in column.to_pylist()]
    if dates:
        # pandas would take -5 for a year.
        calendar = [text if _DATE.match(text) else None for text in texts]
        stamps = pd.to_datetime(
            pd.Series(calendar, dtype=object), errors="coerce", format="ISO8601", utc=True
        )
        values = stamps.dt.tz_localize(None).to_numpy("datetime64[us]")
        return Times(values, np.isnat(values))
    numbers = np.array([as_number(text) for text in texts], dtype=np.float64)
    missing = ~np.isfinite(numbers)
    whole = [_INTEGER.fullmatch(text) is not None and abs(int(text)) < 2**63 for text in texts]
    if not (missing | whole).all():
        return Times(np.where(missing, np.nan, numbers), missing)
    integers = [int(text) if is_whole else 0 for text, is_whole in zip(texts, whole, strict=True)]
    return Times(np.array(integers, np.int64), missing)


def typed_times(column: pa.Array) -> Times:
    """Return times from an Arrow array of integers, floats or timestamps."""
    missing = as_numpy(column.is_null())
    if column.null_count and not pa.types.is_floating(column.type):
        column = column.fill_null(pa.scalar(0, pa.int64()).cast(column.type))
    values = as_numpy(column)
    if values.dtype.kind == "f":
        missing = ~np.isfinite(values)
        values = np.where(missing, np.nan, values) if missing.any() else values
    return Times(values, missing)


def join_times(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Join times of the parts of a column: floats if some parts are, beside integers."""
    filled = [part for part in parts if len(part)] or list(parts[:1])
    if len({part.dtype for part in filled}) > 1 and all(p.dtype.kind in "iuf" for p in filled):
        filled = [part.astype(np.float64) for part in filled]
    return join(filled)


def check_sentinel(ratings: NDArray[np.float64], source: Source) -> None:
    """Raise an error if a rating seems to stand for "not rated".

    The least one does if it is negative and all others are positive, unless the only other is 1 (a
    dislike beside likes); or if it is 0, all others are positive, and it is far more frequent than
    the next one. 99, 999, ... do, positive or negative, if all others are at most half as large.

    Raises
    ------
    DatasetError
        With the rating, how many rows have it, and the option that settles it.
    """
    nines = _nines(ratings)
    if nines is not None:
        _raise_suspect(nines, ratings, "all others are far smaller", source)
    low = float(ratings.min(initial=np.inf))
    if not low <= 0:
        return
    others = ratings[ratings != low]
    if not len(others) or others.min() <= 0:
        return
    n_low, n = len(ratings) - len(others), len(ratings)
    if low < 0:
        suspect = low.is_integer() and not (others == 1).all()
    else:
        next_low = others.min()
        n_next = int((others == next_low).sum())
        suspect = (
            n_low > _SUSPECT_SHARE * n
            and n_low > _SUSPECT_RATIO * n_next
            and len(np.unique(others)) + 1 >= _SUSPECT_SCALE
        )
    if suspect:
        _raise_suspect(low, ratings, "all others are positive", source)


def _nines(ratings: NDArray[np.float64]) -> float | None:
    """Return 99, 999 or the like, or its negative, if it is far beyond all other ratings."""
    ends = (float(ratings.min(initial=0)), float(ratings.max(initial=0)))
    for end in sorted(ends, key=abs, reverse=True):
        if abs(end) in _NINES:
            others = ratings[ratings != end]
            if len(others) and abs(end) >= 2 * max(-others.min(), others.max()):
                return end
    return None


def _raise_suspect(
    rating: float, ratings: NDArray[np.float64], others: str, source: Source
) -> NoReturn:
    n = int((ratings == rating).sum())
    raise DatasetError(
        f"{source}: {n:,} of {len(ratings):,} ratings are {rating:g}, and {others}: {rating:g} may "
        f'stand for "not rated". {_either(rating, source)}'
    )


def _either(low: float, source: Source) -> str:
    stated = int(low) if low.is_integer() and abs(low) < 1e15 else low
    yes, no = (source.how("missing_rating", value) for value in (stated, "none"))
    return source.advice(f"If it does, {yes}; if it is a rating, {no}")


def _of_texts(values: NDArray[np.float64], encoded: pa.DictionaryArray) -> NDArray[np.float64]:
    """Return the values of a dictionary's texts for each row, NaN where it is null."""
    return np.take(np.append(values, np.nan), as_numpy(encoded.indices.fill_null(-1)))
