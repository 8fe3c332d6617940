"""Checks of arguments and of columns of ratings as callers pass them.

Each error names the argument, what was given and what is expected.
"""

import math
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import RatingsError

Duplicates = Literal["error", "last", "mean"]

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
    array = np.asarray(values)
    if array.ndim != 1:
        raise RatingsError(f"ratings must be one-dimensional, got shape {array.shape}")
    numbers = array.dtype.kind in "biuf" or (
        array.dtype.kind == "O" and all(value is None or isinstance(value, Real) for value in array)
    )
    if not numbers and array.size:
        raise RatingsError(f"ratings must be numbers, got {array.dtype} (first: {array[0]!r})")
    if array.dtype != np.float32:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise RatingsError(f"ratings must be numbers, got {array.dtype}: {error}") from None
    else:
        array = array.copy()
    finite = np.isfinite(array)
    if not finite.all():
        first = int(np.argmin(finite))
        raise RatingsError(
            f"ratings must be finite: {int((~finite).sum())} of {len(array)} are not, the first is "
            f"{array[first]} at position {first}"
        )
    return array


def checked_weights(weights: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return weights of ``n`` ratings as a new float64 array; raise RatingsError if one is bad."""
    array = np.asarray(weights)
    if array.shape != (n,) or (n and array.dtype.kind not in "biufO"):
        found = f"{array.dtype} of shape {array.shape}"
        wanted = f"numbers, one for each of the {n} ratings"
        raise RatingsError(f"weights must be {wanted}, got {found}")
    try:
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise RatingsError(f"weights must be numbers, got {array.dtype}: {error}") from None
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


def raw_ids(ids: ArrayLike, what: str) -> NDArray[Any]:
    """Return raw ids as an array of integers or str, shape (n,); raise RatingsError for others."""
    array = np.atleast_1d(np.asarray(ids))
    if array.ndim != 1:
        raise RatingsError(f"{what} must be one-dimensional, got shape {array.shape}")
    if isinstance(ids, list | tuple) and array.dtype.kind in "US":
        # NumPy converts a list of strings and other objects to strings. This keeps the objects.
        array = np.array(ids, dtype=object)
    if array.dtype.kind in "iu" or not array.size:
        return array
    if array.dtype.kind in "OU" or array.dtype.kind == "T":
        import pandas as pd

        kind = pd.api.types.infer_dtype(array, skipna=False)
        if kind == "string":
            return array.astype(object)
        if kind == "integer":
            try:
                return array.astype(np.int64)
            except OverflowError:
                raise RatingsError(
                    f"{what} holds an integer id beyond 64 bits; turn the ids into strings",
                ) from None
        missing = np.flatnonzero(pd.isna(array))
        if len(missing):
            raise _missing_ids(what, missing)
        raise RatingsError(f"{what} mixes types ({kind}); make all ids integers or all strings")
    if array.dtype.kind == "f":
        missing = np.flatnonzero(np.isnan(array))
        if len(missing):
            raise _missing_ids(what, missing)
        raise RatingsError(
            f"{what} must be integer or string ids, got {array.dtype} (first: {array[0]}); "
            "floats make unsafe keys. If they are whole numbers, convert them: .astype('int64')"
        )
    raise RatingsError(f"{what} must be integer or string ids, got {array.dtype}")


def _missing_ids(what: str, positions: NDArray[Any]) -> RatingsError:
    """Return the error for missing ids at the given positions."""
    found = f"{len(positions)} missing ids, the first at position {positions[0]}"
    return RatingsError(f"{what} has {found}; drop them")


def factorize(ids: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the row of each id, in order of first appearance, and the raw id of each row."""
    import pandas as pd

    rows, keys = pd.factorize(ids)
    return rows, np.asarray(keys)


def fixed_width(ids: NDArray[Any], what: str) -> NDArray[Any]:
    """Return a copy of ids that NumPy can save without pickle: integers, or fixed-width strings."""
    if ids.dtype != object:
        return ids.copy()
    fixed = ids.astype(str)
    if (fixed.astype(object) != ids).any():
        raise RatingsError(
            f"{what} holds ids that end in a NUL character, which NumPy strings cannot keep",
        )
    return fixed


def without_duplicates(
    users: NDArray[Any],
    items: NDArray[Any],
    values: NDArray[Any],
    weights: NDArray[np.float64] | None,
    policy: Duplicates,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.float64] | None]:
    """Apply the policy for (user, item) pairs that occur more than once."""
    import pandas as pd

    if policy not in ("error", "last", "mean"):
        raise RatingsError(f'duplicates must be "error", "last" or "mean", got {policy!r}')
    user_codes, item_codes = pd.factorize(users)[0], pd.factorize(items)[0]
    pairs = pd.Series(user_codes * (int(item_codes.max()) + 1) + item_codes)
    repeated = pairs.duplicated(keep="last" if policy == "last" else "first").to_numpy()
    if not repeated.any():
        return users, items, values, weights
    if policy == "error":
        first = int(np.argmax(repeated))
        raise RatingsError(
            f"{int(repeated.sum())} duplicated (user, item) pairs, the first at position {first}: "
            f"user {users[first]!s}, item {items[first]!s}. "
            "Choose which rating counts by duplicates='last' or 'mean'"
        )
    if policy == "mean":
        weighted = pd.Series(values if weights is None else values * weights)
        mean = weighted.groupby(pairs).transform("mean").to_numpy()
        if weights is not None:
            weights = pd.Series(weights).groupby(pairs).transform("mean").to_numpy()
            mean = mean / weights
        values = mean.astype(values.dtype)
    kept = ~repeated
    return users[kept], items[kept], values[kept], None if weights is None else weights[kept]
