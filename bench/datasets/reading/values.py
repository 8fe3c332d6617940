"""Ratings and times from texts, and a rating that seems to stand for "not rated"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError

from .ids import Problem, as_numpy
from .options import Source
from .sniff import as_number

NOT_A_NUMBER = "the rating is not a finite number"
NOT_A_TIME = "the timestamp is neither a number nor an ISO 8601 date"

# A least rating of 0 is suspect if it holds over this share of the rows, and over twice as many as
# the next rating, on a scale of at least this many ratings.
_SUSPECT_SHARE = 0.05
_SUSPECT_RATIO = 2
_SUSPECT_SCALE = 4


def value_problems(ratings: NDArray[Any], times: NDArray[Any] | None) -> Iterator[Problem]:
    """Yield the rows whose rating is not finite, and those whose time is missing."""
    finite = np.isfinite(ratings)
    if not finite.all():
        yield Problem(~finite, NOT_A_NUMBER)
    if times is not None and times.dtype.kind in "fMm":
        missing = pd.isna(times)
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


def text_times(column: pa.Array, dates: bool) -> NDArray[Any]:
    """Return times as integers or floats or, with ``dates``, as datetime64.

    A text that is not a time becomes NaN or NaT. Dates with a time zone are converted to UTC.
    """
    if isinstance(column, pa.DictionaryArray):
        return _of_texts(text_times(column.dictionary, dates), column)
    kinds = [pa.timestamp("us")] if dates else [pa.int64(), pa.float64()]
    for kind in kinds:
        try:
            times = as_numpy(column.cast(kind))
        except pa.ArrowInvalid:
            continue
        return times if times.dtype.kind != "f" else np.where(np.isfinite(times), times, np.nan)
    # Some text is not a time, or Arrow does not understand it: slower, one value at a time.
    texts = pd.Series(column.fill_null("").to_pylist(), dtype=object)
    if dates:
        stamps = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
        return stamps.dt.tz_localize(None).to_numpy("datetime64[us]")
    numbers = np.array([as_number(text) for text in texts], dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def check_sentinel(ratings: NDArray[np.float64], source: Source) -> None:
    """Raise an error if the least rating seems to stand for "not rated".

    It does if it is negative and all others are positive, unless the only other is 1 (a dislike
    beside likes); or if it is 0, all others are positive, and it is far more frequent than the next
    one.

    Raises
    ------
    DatasetError
        With the rating, how many rows have it, and the option that settles it.
    """
    low = float(ratings.min(initial=np.inf))
    if not low <= 0:
        return
    others = ratings[ratings != low]
    if not len(others) or others.min() <= 0:
        return
    n_low, n = len(ratings) - len(others), len(ratings)
    if low < 0:
        suspect = not (others == 1).all()
    else:
        next_low = others.min()
        n_next = int((others == next_low).sum())
        suspect = (
            n_low > _SUSPECT_SHARE * n
            and n_low > _SUSPECT_RATIO * n_next
            and len(np.unique(others)) + 1 >= _SUSPECT_SCALE
        )
    if suspect:
        raise DatasetError(
            f"{source}: {n_low:,} of {n:,} ratings are {low:g}, and all others are positive: "
            f'{low:g} may stand for "not rated". ' + _either(low, source)
        )


def _either(low: float, source: Source) -> str:
    stated = int(low) if low.is_integer() else low
    yes, no = (source.how("missing_rating", value) for value in (stated, "none"))
    return source.advice(f"If it does, {yes}; if it is a rating, {no}")


def _of_texts(values: NDArray[Any], encoded: pa.DictionaryArray) -> NDArray[Any]:
    """Return the values of a dictionary's texts for each row, NaN or NaT where it is null."""
    if encoded.null_count:
        if values.dtype.kind == "i":
            values = values.astype(np.float64)
        none = np.datetime64("NaT") if values.dtype.kind == "M" else np.nan
        values = np.append(values, np.array([none], values.dtype))
    return np.take(values, as_numpy(encoded.indices.fill_null(-1)))
