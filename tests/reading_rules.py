"""The documented rules for ids, ratings, times and bad rows, applied by other code.

Nothing of `bench` is used, so that a mistake there is not repeated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

MISSING = {"NULL", "null", r"\N", "NaN", "nan", "NA", "<NA>", "N/A", "n/a", "None"}
ROLES = ("user", "item", "rating", "time")
# Unicode's spaces without the separators of ASCII, and characters that have no width.
_UNSEEN = "".join(chr(n) for n in range(0x3001) if chr(n).isspace() and n not in range(28, 32))
_UNSEEN += "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)(\.0+)?")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?")


class CannotTell(Exception):
    """Readers may differ on this file for good reasons."""


class Rows(NamedTuple):
    """The wanted columns as they are in a file; None for what is missing or cannot be used."""

    users: list[str | None]
    items: list[str | None]
    ratings: list[float | None]
    times: list[Any] | None
    n_others: int = 0  # rows with a wrong number of fields, and comments among the rows
    refuse: str = ""  # why nobody should read this, if so


def difference(raw: Any, rows: Rows, *, drop: bool, sentinel: float | None) -> str:
    """Return in what way ratings that were read are not those of the rows; "" if they are."""
    if rows.refuse:
        return f"should be refused: {rows.refuse}"
    times = rows.times if rows.times is not None else [0] * len(rows.users)
    columns = (rows.users, rows.items, rows.ratings, times)
    sound = [row for row in zip(*columns, strict=True) if None not in row]
    n_bad = len(rows.users) - len(sound) + rows.n_others
    if n_bad - rows.n_others and not drop:
        return f"{n_bad} bad rows were read without a word"
    kept = [row for row in sound if row[2] != sentinel]
    if len(kept) != len(raw.ratings):
        return f"{len(raw.ratings)} rows instead of {len(kept)}"
    for role, found, column in zip(ROLES, (raw.users, raw.items), (0, 1), strict=False):
        right = as_ids([row[column] for row in kept])
        if right is None:
            return f"should be refused: one {role} written in two ways"
        if found.tolist() != right:
            return f"{role} ids {_first_difference(found.tolist(), right)}"
        if found.dtype.kind not in ("iu" if isinstance(right[0], int) else "O"):
            return f"{role} ids of type {found.dtype}"
    ratings = [row[2] for row in kept]
    if raw.ratings.tolist() != ratings:
        return f"ratings {_first_difference(raw.ratings.tolist(), ratings)}"
    if (raw.timestamps is None) != (rows.times is None):
        return "a column of times, or none"
    if rows.times is not None and (why := _other_times(raw.timestamps, [row[3] for row in kept])):
        return why
    n_dropped = sum(raw.dropped.values())
    if n_dropped != n_bad + len(sound) - len(kept):
        return f"{n_dropped} rows counted as dropped instead of {n_bad + len(sound) - len(kept)}"
    return ""


def as_ids(texts: Sequence[str]) -> list[Any] | None:
    """Return ids by the documented rules: integers if all are; None if one is in two spellings."""
    if all(_WHOLE.fullmatch(text) and not text.startswith("-0") for text in texts):
        numbers = [int(text.split(".")[0]) for text in texts]
        low, high = min(numbers, default=0), max(numbers, default=0)
        if low >= -(2**63) and high < (2**64 if low >= 0 else 2**63):
            return list(numbers)
    known = set(texts)
    if any(re.search(r"\.0+$", text) and re.sub(r"\.0+$", "", text) in known for text in known):
        return None
    return list(texts)


def table_rows(columns: Sequence[Sequence[Any]]) -> Rows:
    """Return the rows of columns with types, given as Python's values."""
    users, items = ([_typed_id(value) for value in column] for column in columns[:2])
    ratings = [_typed_rating(value) for value in columns[2]]
    times = of_one_kind([_typed_time(value) for value in columns[3]]) if columns[3:] else None
    return Rows(users, items, ratings, times)


def of_one_kind(times: list[Any]) -> list[Any]:
    if len({isinstance(time, np.datetime64) for time in times if time is not None}) > 1:
        raise CannotTell("times of two kinds")
    return times


def _typed_id(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return trimmed_id(value, ())
    if value != int(value):
        raise CannotTell("ids with decimals")
    return str(int(value))


def _typed_rating(value: Any) -> float | None:
    if value is None or isinstance(value, str):
        return None if value is None else rating(value, ".")
    return float(value) if math.isfinite(value) else None


def _typed_time(value: Any) -> Any:
    if isinstance(value, str):
        return time(value)
    if value is None or value != value:
        return None
    if hasattr(value, "year"):  # a date or a time
        return np.datetime64(value if isinstance(value, datetime) else value.isoformat(), "us")
    return value


def trimmed_id(text: str, missing: Sequence[str] | set[str]) -> str | None:
    text = text.strip(_UNSEEN)
    return None if not text or text in missing or "\0" in text else text


def rating(text: str, decimal: str) -> float | None:
    text = text.strip(" \t")
    if decimal == ",":
        text = "" if "." in text else text.replace(",", ".")
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    if not text.isascii() or text != text.strip():
        raise CannotTell("a rating with unusual characters")
    return None


def time(text: str) -> Any:
    text = text.strip(" \t")
    if re.fullmatch("-?(0|[1-9][0-9]*)", text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    if _DATE.fullmatch(text):
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            return None
        time = time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
        return np.datetime64(time, "us")
    if re.search("[0-9]", text):
        raise CannotTell("a time in an unusual spelling")
    return None


def _other_times(found: Any, right: list[Any]) -> str:
    """Return in what way times differ: dates to the microsecond, integers exactly."""
    if found.dtype.kind == "M":
        values: list[Any] = list(found.astype("datetime64[us]"))
    else:
        values = found.tolist()
    if any(isinstance(one, float) or (isinstance(one, int) and abs(one) >= 2**63) for one in right):
        right = [float(time) for time in right]
    return f"times {_first_difference(values, right)}" if values != right else ""


def _first_difference(found: Sequence[Any], right: Sequence[Any]) -> str:
    n = next(n for n, pair in enumerate(zip(found, right, strict=True)) if pair[0] != pair[1])
    return f"differ in row {n}: {found[n]!r} instead of {right[n]!r}"
