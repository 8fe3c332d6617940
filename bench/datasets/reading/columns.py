"""Which columns hold user, item, rating and timestamp, and what their values are.

Here live the known names and the conversion of Arrow columns to arrays of ids, ratings and times, with a mask of the
rows that cannot be read. Not here: how a file becomes columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError

Mask = NDArray[np.bool_]
Columns = Sequence[str | int]

ROLES = ("user", "item", "rating", "timestamp")
EMPTY = "the {} id is empty"
LEAVE_OUT = "Leave such rows out by on_bad_rows='drop'"
NOT_A_NUMBER = "the rating is not a finite number"
NOT_A_TIME = "the timestamp is neither a number nor an ISO 8601 date"

# Column names that leave no doubt, in lower case without spaces, "_", "-" and ".".
KNOWN_NAMES = {
    "user": {"user", "users", "userid", "reviewerid", "customerid"},
    "item": {"item", "items", "itemid", "isbn", "asin", "parentasin"}
    | {f"{thing}{end}" for thing in ("movie", "anime", "book", "product", "artist", "track", "song", "joke", "game")
       for end in ("", "id")},
    "rating": {"rating", "ratings", "score", "stars", "bookrating", "userrating", "overall"},
    "timestamp": {"timestamp", "timestamps", "time", "date", "datetime", "unixtime", "unixreviewtime"},
}  # fmt: skip


class RowPolicy(NamedTuple):
    """Which rows are left out, and counted."""

    drop_bad: bool = False  # those that cannot be read; else they are errors
    missing_rating: float | None = None  # those with this rating, which stands for none

    @property
    def not_rated(self) -> str:
        """Why the rows with the missing rating are left out."""
        return f"rating {self.missing_rating:g} means not rated"


class Problem(NamedTuple):
    """Rows that cannot be read, and why."""

    rows: Mask
    why: str


def role_of(name: str) -> str | None:
    """Return what a column of this name holds, or None where that is in doubt."""
    plain = "".join(c for c in name.lower() if c not in " _-.")
    return next((role for role, names in KNOWN_NAMES.items() if plain in names), None)


def choose_columns(names: Sequence[str], header: bool, wanted: Columns | None, where: str) -> tuple[int, ...]:
    """Return the positions of user, item and rating, and of the timestamp where there is one.

    Parameters
    ----------
    names
        The columns' names; without a header only their number counts.
    wanted
        Names or positions of three or four columns; None to guess where there is no doubt.

    Raises
    ------
    DatasetError
        For columns that are missing or in doubt, listing those that are there.
    """
    has = f"{where} has {len(names)} columns" + (f" ({', '.join(name[:40] for name in names[:40])})" if header else "")
    how = 'name them in this order, columns=("user", "item", "rating"), or by position, columns=(0, 1, 2)'
    if wanted is None:
        wanted = _guess([role_of(name) for name in names], has, how) if header else range(len(names))
        if not header and len(names) not in (3, 4):
            raise DatasetError(f"{has} and no header, so which of them are user, item and rating is in doubt; {how}")
    if isinstance(wanted, str) or not isinstance(wanted, Sequence) or len(wanted) not in (3, 4):
        raise DatasetError(f"columns={wanted!r} must be three or four names or positions; {how}")
    positions = tuple(_position(column, names if header else (), len(names), f"{has}; {how}") for column in wanted)
    if len(set(positions)) < len(positions):
        raise DatasetError(f"columns={wanted!r} names a column twice; {has}")
    return positions


def _guess(roles: list[str | None], has: str, how: str) -> list[int]:
    for role in ROLES:
        if roles.count(role) > 1:
            raise DatasetError(f"{has}, of which {roles.count(role)} could be the {role}; {how}")
    missing = [role for role in ROLES[:3] if role not in roles]
    if missing:
        raise DatasetError(f"{has}, none of them known to be the {' or the '.join(missing)}; {how}")
    return [roles.index(role) for role in ROLES if role in roles]


def _position(column: str | int, names: Sequence[str], n: int, help_text: str) -> int:
    if isinstance(column, str):
        if names.count(column) != 1:
            raise DatasetError(f"there is not exactly one column named {column!r}: {help_text}")
        return names.index(column)
    if not isinstance(column, int | np.integer) or isinstance(column, bool) or not 0 <= column < n:
        raise DatasetError(f"{column!r} is not the name or the position (from 0) of a column: {help_text}")
    return int(column)


def id_problems(role: str, column: pa.DictionaryArray) -> Iterator[Problem]:
    """Yield what cannot be an id in a dictionary-encoded column of text."""
    texts = pc.ascii_trim_whitespace(column.dictionary)
    for is_bad, why in (
        (pc.equal(texts, ""), EMPTY.format(role)),
        (pc.match_substring(texts, "\0"), f"the {role} id holds a NUL character"),
    ):
        if pc.any(is_bad).as_py():
            yield Problem(as_numpy(is_bad)[as_numpy(column.indices)], why)


def value_problems(ratings: NDArray[Any], times: NDArray[Any] | None) -> Iterator[Problem]:
    """Yield ratings that are not finite and times that are missing."""
    finite = np.isfinite(ratings)
    if not finite.all():
        yield Problem(~finite, NOT_A_NUMBER)
    if times is not None and pd.isna(times).any():
        yield Problem(pd.isna(times), NOT_A_TIME)


def text_ids(column: pa.DictionaryArray, keep: Mask) -> NDArray[Any]:
    """Return the ids of the rows to keep: integers of 64 bits where all are written as integers are, else str.

    "007" is not written as an integer is. Spaces around an id are not part of it.
    """
    texts, codes = pc.ascii_trim_whitespace(column.dictionary), as_numpy(column.indices)[keep]
    for kind in (pa.int64(), pa.uint64()):
        try:
            numbers = texts.cast(kind)
        except pa.ArrowInvalid:
            continue
        if numbers.cast(pa.string()).equals(texts):
            return np.take(as_numpy(numbers), codes)
    return np.take(np.array(texts.to_pylist(), dtype=object), codes)


def text_ratings(column: pa.DictionaryArray) -> NDArray[np.float64]:
    """Return ratings as numbers, NaN where the text is none."""
    try:
        values = as_numpy(column.dictionary.cast(pa.float64()))
    except pa.ArrowInvalid:  # of a text that is no number to Arrow: find out which are to Python, one by one
        values = np.array([as_number(text) for text in column.dictionary.to_pylist()], dtype=np.float64)
    return np.take(values, as_numpy(column.indices))


def text_times(column: pa.Array, dates: bool) -> NDArray[Any]:
    """Return times as integers, floats or, with ``dates``, datetime64; NaN or NaT where the text is none."""
    for kind in (pa.timestamp("us"),) if dates else (pa.int64(), pa.float64()):
        try:
            times = as_numpy(column.cast(kind))
        except pa.ArrowInvalid:
            continue
        return times if times.dtype.kind != "f" else np.where(np.isfinite(times), times, np.nan)
    texts = pd.Series(column.to_pylist(), dtype=object)
    if dates:
        stamps = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
        return stamps.dt.tz_localize(None).to_numpy("datetime64[us]")
    numbers = np.array([as_number(text) for text in texts], dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def is_number(text: str) -> bool:
    """Say whether a text is a finite number."""
    return bool(np.isfinite(as_number(text)))


def join_ids(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join the ids of a file's parts, integers if all are and 64 bits hold them, else strings; empties the list."""
    kinds = {part.dtype.kind for part in parts}
    if kinds == {"i", "u"} and all(part.dtype.kind == "u" or part.min(initial=0) >= 0 for part in parts):
        parts[:] = [part.astype(np.uint64) for part in parts]
    elif len(kinds) > 1:
        parts[:] = [part if part.dtype == object else part.astype(str).astype(object) for part in parts]
    return join(parts)


def join(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join arrays and empty the list, so that a column at a time is in memory twice."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def as_number(text: str) -> float:
    """Return a text as a number, NaN where it is none."""
    try:
        return float(text) if "_" not in text else np.nan
    except ValueError:
        return np.nan


def as_numpy(array: pa.Array) -> NDArray[Any]:
    """Return an Arrow array as a NumPy array, which may share its memory."""
    out: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return out
