"""Which columns are user, item, rating and timestamp, and how their values become arrays.

Converting Arrow columns of text to ids, ratings and times is done here, with a mask of the rows
that cannot be used. How a file becomes columns is not this module's business.
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
LEAVE_OUT = "Correct it, or pass on_bad_rows='drop' to leave out such rows"
NOT_A_NUMBER = "the rating is not a finite number"
NOT_A_TIME = "the timestamp is neither a number nor an ISO 8601 date"

# Unambiguous column names, in lower case without spaces, "_", "-" and ".".
KNOWN_NAMES = {
    "user": {"user", "users", "userid", "reviewerid", "customerid"},
    "item": {"item", "items", "itemid", "isbn", "asin", "parentasin"}
    | {f"{thing}{end}"
       for thing in ("movie", "anime", "book", "product", "artist", "track", "song", "joke", "game")
       for end in ("", "id")},
    "rating": {"rating", "ratings", "score", "stars", "bookrating", "userrating", "overall"},
    "timestamp": {"timestamp", "timestamps", "time", "date", "datetime", "unixtime",
                  "unixreviewtime"},
}  # fmt: skip

_HOW_TO_CHOOSE = (
    "Name the columns user, item and rating, or pass their names or positions in this order, "
    'such as columns=("who", "what", "stars") or columns=(0, 1, 2)'
)

_HOW_TO_PASS = (
    "Pass names or positions of user, item and rating in this order, such as columns=(0, 1, 2)"
)


class RowPolicy(NamedTuple):
    """Which rows are left out, and counted, instead of being an error."""

    drop_bad: bool = False  # rows that cannot be read
    missing_rating: float | None = None  # rows with this rating, which stands for "not rated"

    @property
    def not_rated(self) -> str:
        """The reason for which rows with the missing rating are left out."""
        return f"rating {self.missing_rating:g} means not rated"


class Problem(NamedTuple):
    """Rows that cannot be used, and the reason."""

    rows: Mask
    why: str


def role_of(name: str) -> str | None:
    """Return the role of a column with this name, or None if the name is not a known one."""
    plain = "".join(letter for letter in name.lower() if letter not in " _-.")
    for role, names in KNOWN_NAMES.items():
        if plain in names:
            return role
    return None


def choose_columns(
    names: Sequence[str], header: bool, wanted: Columns | None, where: str
) -> tuple[int, ...]:
    """Return the positions of user, item, rating and, if there is one, the timestamp.

    Parameters
    ----------
    names
        The columns' names. Without a header only their number matters.
    header
        Whether the columns have names.
    wanted
        Names or positions of three or four columns; None to recognise them by their names or,
        without a header, to take them in their order.
    where
        The file's name, for errors.

    Raises
    ------
    DatasetError
        If a column is missing or ambiguous; the message lists the columns of the file.
    """
    has = f"{where} has {len(names)} columns"
    if header:
        has += f" ({', '.join(name[:40] for name in names[:40])})"
    if wanted is None and header:
        wanted = _recognised([role_of(name) for name in names], has)
    elif wanted is None:
        if len(names) not in (3, 4):
            raise DatasetError(
                f"{has} and no header, so user, item and rating cannot be recognised. "
                f"{_HOW_TO_CHOOSE}"
            )
        wanted = range(len(names))
    if isinstance(wanted, str) or not isinstance(wanted, Sequence) or len(wanted) not in (3, 4):
        raise DatasetError(
            f"columns={wanted!r} must be three or four names or positions: those of user, item, "
            "rating and, if wanted, timestamp"
        )
    positions = tuple(
        _position(column, names if header else (), len(names), has) for column in wanted
    )
    if len(set(positions)) < len(positions):
        raise DatasetError(f"columns={wanted!r} contains a column twice. {has}. {_HOW_TO_PASS}")
    return positions


def _recognised(roles: list[str | None], has: str) -> list[int]:
    """Return the positions of the columns with known roles."""
    for role in ROLES:
        if roles.count(role) > 1:
            raise DatasetError(
                f"{has}, and {roles.count(role)} of them could be the {role}. {_HOW_TO_CHOOSE}"
            )
    missing = [role for role in ROLES[:3] if role not in roles]
    if missing:
        raise DatasetError(
            f"{has}, but none that is recognised as the {' or the '.join(missing)}. "
            f"{_HOW_TO_CHOOSE}"
        )
    return [roles.index(role) for role in ROLES if role in roles]


def _position(column: str | int, names: Sequence[str], n: int, has: str) -> int:
    """Return the position of a column that is given by name or position, of ``n`` columns."""
    if isinstance(column, str):
        n_found = names.count(column)
        if n_found != 1:
            raise DatasetError(f"{has}, but {n_found or 'none'} named {column!r}. {_HOW_TO_PASS}")
        return names.index(column)
    # A bool is an int to Python, but True is not meant as position 1.
    is_integer = isinstance(column, int | np.integer) and not isinstance(column, bool)
    if not is_integer or not 0 <= column < n:
        raise DatasetError(
            f"{has}, but {column!r} is neither the name nor the position (from 0) of one. "
            f"{_HOW_TO_PASS}"
        )
    return int(column)


def id_problems(role: str, column: pa.DictionaryArray) -> Iterator[Problem]:
    """Yield the rows of a dictionary-encoded text column that cannot be ids."""
    # The dictionary has each text once, so a check costs as much as there are distinct ids.
    texts = pc.ascii_trim_whitespace(column.dictionary)
    checks = (
        (pc.equal(texts, ""), EMPTY.format(role)),
        (pc.match_substring(texts, "\0"), f"the {role} id contains a NUL character"),
    )
    for is_bad, why in checks:
        if pc.any(is_bad).as_py():
            yield Problem(as_numpy(is_bad)[as_numpy(column.indices)], why)


def value_problems(ratings: NDArray[Any], times: NDArray[Any] | None) -> Iterator[Problem]:
    """Yield the rows whose rating is not finite, and those whose time is missing."""
    finite = np.isfinite(ratings)
    if not finite.all():
        yield Problem(~finite, NOT_A_NUMBER)
    if times is not None:
        missing = pd.isna(times)
        if missing.any():
            yield Problem(missing, NOT_A_TIME)


def text_ids(column: pa.DictionaryArray, keep: Mask) -> NDArray[Any]:
    """Return the ids of the rows to keep.

    They are integers of 64 bits if every text in the dictionary is an integer in its usual
    spelling, which "007" is not; else str. Surrounding spaces are not part of an id.
    """
    texts = pc.ascii_trim_whitespace(column.dictionary)
    codes = as_numpy(column.indices)[keep]
    for kind in (pa.int64(), pa.uint64()):
        try:
            numbers = texts.cast(kind)
        except pa.ArrowInvalid:
            continue
        # Written back, "007" would become "7" and be mistaken for another id.
        if numbers.cast(pa.string()).equals(texts):
            return np.take(as_numpy(numbers), codes)
    return np.take(np.array(texts.to_pylist(), dtype=object), codes)


def text_ratings(column: pa.DictionaryArray) -> NDArray[np.float64]:
    """Return ratings as numbers, NaN for a text that is not a number."""
    try:
        values = as_numpy(column.dictionary.cast(pa.float64()))
    except pa.ArrowInvalid:
        # Arrow gives up at the first text that is not a number; Python judges each by itself.
        numbers = [as_number(text) for text in column.dictionary.to_pylist()]
        values = np.array(numbers, dtype=np.float64)
    return np.take(values, as_numpy(column.indices))


def text_times(column: pa.Array, dates: bool) -> NDArray[Any]:
    """Return times as integers or floats or, with ``dates``, as datetime64.

    A text that is not a time becomes NaN or NaT. Dates with a time zone are converted to UTC.
    """
    kinds = [pa.timestamp("us")] if dates else [pa.int64(), pa.float64()]
    for kind in kinds:
        try:
            times = as_numpy(column.cast(kind))
        except pa.ArrowInvalid:
            continue
        return times if times.dtype.kind != "f" else np.where(np.isfinite(times), times, np.nan)
    # Some text is not a time, or Arrow does not understand it: slower, one value at a time.
    texts = pd.Series(column.to_pylist(), dtype=object)
    if dates:
        stamps = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
        return stamps.dt.tz_localize(None).to_numpy("datetime64[us]")
    numbers = np.array([as_number(text) for text in texts], dtype=np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    return bool(np.isfinite(as_number(text)))


def join_ids(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Join the ids of a file's blocks, and empty the list.

    Each block chose its type by its own ids. The result has one type for all: integers if all
    blocks have integers and 64 bits can hold them, else str.
    """
    kinds = {ids.dtype.kind for ids in arrays}
    if kinds == {"i", "u"} and all(_fits_unsigned(ids) for ids in arrays):
        arrays[:] = [ids.astype(np.uint64) for ids in arrays]
    elif len(kinds) > 1:
        arrays[:] = [
            ids if ids.dtype == object else ids.astype(str).astype(object) for ids in arrays
        ]
    return join(arrays)


def _fits_unsigned(ids: NDArray[Any]) -> bool:
    return ids.dtype.kind == "u" or ids.min(initial=0) >= 0


def join(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Join arrays and empty the list, so that only one column at a time is in memory twice."""
    joined = np.concatenate(arrays)
    arrays.clear()
    return joined


def as_number(text: str) -> float:
    """Return a text as a number, NaN if it is not one."""
    if "_" in text:  # float("1_0") is 10 to Python
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan


def as_numpy(array: pa.Array) -> NDArray[Any]:
    """Return an Arrow array as a NumPy array, which may share its memory."""
    out: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return out
