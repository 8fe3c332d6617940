"""Checks of arguments and of columns of ratings as callers pass them.

Each error names the argument, what was given and what is expected.
"""

import math
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._columns import column_of, is_arrow, stored, without_masked
from .errors import RatingsError

# Smallest and largest weight: sums of weights, and of their squares, must not overflow in float32.
_WEIGHTS = 1e-9, 1e9
_MAX_ROWS = np.iinfo(np.int32).max


def check_number(name: str, value: Any, *, positive: bool = False) -> None:
    """Raise ValueError unless a number is finite and at least 0, or above 0 if ``positive``."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (positive and value == 0):
        wanted = "a positive number" if positive else "a finite number of at least 0"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_fits(name: str, value: float, dtype: str) -> None:
    """Raise ValueError if a finite number would be infinite in the precision ``dtype``."""
    largest = float(np.finfo(dtype).max)
    if value > largest:
        raise ValueError(f"{name} must be at most {largest:.2g} in {dtype}, got {value!r}")


def check_count(
    name: str, value: Any, *, optional: bool = False, or_else: str = "", least: int = 1
) -> None:
    """Raise ValueError unless ``value`` is an integer of at least ``least``.

    If ``optional``, None is valid too. ``or_else`` says in the message what else the argument can
    be.
    """
    if optional and value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        others = "None" if optional else or_else
        wanted = f"an integer of at least {least}"
        if others:
            wanted = f"{others} or {wanted}"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        wanted = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def checked_values(values: ArrayLike) -> NDArray[Any]:
    """Return ratings as a new array of finite floats, shape (n,)."""
    array, is_new = _numbers(values, "ratings")
    if array.ndim != 1:
        raise RatingsError(f"ratings must be one-dimensional, got shape {array.shape}")
    if array.size and array.dtype.kind not in "biuf":
        raise RatingsError(f"ratings must be numbers, got {array.dtype} (first: {array[0]!r})")
    dtype = array.dtype if array.dtype == np.float32 else np.dtype(np.float64)
    array = array.astype(dtype.newbyteorder("="), copy=not is_new)
    finite = np.isfinite(array)
    if not finite.all():
        first = int(np.argmin(finite))
        raise RatingsError(
            f"ratings must be finite: {int((~finite).sum())} of {len(array)} are not, the first is "
            f"{array[first]} at position {first}"
        )
    return array


def _numbers(values: Any, what: str) -> tuple[NDArray[Any], bool]:
    """Return numbers as an array in which missing ones are NaN, and whether it is a new one.

    What is no number stays as it is, for the caller to refuse.
    """
    if is_arrow(values) or type(values).__module__.partition(".")[0] == "polars":
        return _arrow_numbers(column_of(values, what), what)
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "biuf":
        return np.ma.filled(values.astype(np.float64), np.nan), True
    array = np.asarray(values)
    if isinstance(values, np.ma.MaskedArray):
        array = without_masked(array, np.ma.getmaskarray(values))
    if array.dtype.kind != "O":
        return array, False
    known = (Real, Decimal)
    missing = [value is None or type(value).__name__ == "NAType" for value in array.flat]
    numbers = zip(array.flat, missing, strict=True)
    if not all(is_missing or isinstance(value, known) for value, is_missing in numbers):
        return array, False
    try:
        floats = [math.nan if m else float(v) for v, m in zip(array.flat, missing, strict=True)]
    except (OverflowError, TypeError, ValueError) as error:
        raise RatingsError(f"{what} must be numbers, got {array.dtype}: {error}") from None
    return np.array(floats, np.float64).reshape(array.shape), True


def _arrow_numbers(column: Any, what: str) -> tuple[NDArray[Any], bool]:
    """Return an Arrow column of numbers as a new array."""
    import pyarrow as pa

    if not is_arrow(column):  # a series of Python objects
        return _numbers(column, what)
    column = stored(column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    tests = "is_integer", "is_floating", "is_decimal", "is_boolean", "is_null"
    if not any(getattr(pa.types, test)(kind) for test in tests):
        found = f" (first: {column[0].as_py()!r})" if len(column) else ""
        raise RatingsError(f"{what} must be numbers, got {kind}{found}")
    single = pa.types.is_float32(kind)
    array = np.empty(len(column), np.float32 if single else np.float64)
    at = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            chunk = chunk.cast(pa.float64())
        array[at : at + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        at += len(chunk)
    return array, True


def checked_weights(weights: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return weights of ``n`` ratings as a new float64 array; raise RatingsError if one is bad."""
    array, is_new = _numbers(weights, "weights")
    if array.shape != (n,) or (n and array.dtype.kind not in "biufO"):
        found = f"{array.dtype} of shape {array.shape}"
        wanted = f"numbers, one for each of the {n} ratings"
        raise RatingsError(f"weights must be {wanted}, got {found}")
    if n and array.dtype.kind == "O":
        raise RatingsError(f"weights must be numbers, got {array.dtype}")
    array = array.astype(np.float64, copy=not is_new)
    wrong = ~((array >= _WEIGHTS[0]) & (array <= _WEIGHTS[1]))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise RatingsError(
            f"weights must be positive numbers from {_WEIGHTS[0]:g} to {_WEIGHTS[1]:g}: "
            f"{int(wrong.sum())} of {n} are not, the first is {array[first]} at position {first}; "
            "leave out ratings that are to weigh nothing"
        )
    return array


def checked_rows(
    rows: ArrayLike,
    n_rows: int,
    name: str,
    size: str,
) -> tuple[NDArray[np.int32], int]:
    """Return row indices as a new int32 array, and the number of rows of their table."""
    if np.ma.is_masked(rows):
        raise RatingsError(f"{name} has masked rows; drop them")
    array = np.asarray(rows)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise RatingsError(
            f"{name} must be a one-dimensional integer array of rows, got {array.dtype} "
            f"of shape {array.shape}; raw ids go through Ratings.from_arrays"
        )
    if not isinstance(n_rows, int | np.integer) or n_rows < -1:
        raise RatingsError(f"{size} must be an integer of at least 0, got {n_rows!r}")
    low, high = (int(array.min()), int(array.max())) if array.size else (0, -1)
    n_rows = high + 1 if n_rows == -1 else n_rows
    if low < 0 or high >= n_rows:
        bad = array[(array < 0) | (array >= n_rows)][0]
        wanted = f"lie in [0, {size}={n_rows})"
        raise RatingsError(
            f"{name} must {wanted}, got {bad}; raw ids go through Ratings.from_arrays",
        )
    if n_rows > _MAX_ROWS:
        raise RatingsError(
            f"{size}={n_rows} is more than the {_MAX_ROWS} rows that an int32 index can address",
        )
    return array.astype(np.int32), int(n_rows)
