"""The published numbers of ratings, users and items of a data set, and a check against them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.datasets.errors import DatasetError

if TYPE_CHECKING:
    from bench.datasets.raw import RawRatings

Count = int | str | None  # exact; rounded as published ("693.9K"); or unknown

_UNITS = {"K": 1_000, "M": 1_000_000}


class Counts(NamedTuple):
    """Numbers of ratings, users and items after reading; ``cited`` is their source."""

    rows: Count = None
    users: Count = None
    items: Count = None
    cited: str = ""


def check_counts(where: Path, raw: RawRatings, counts: Counts) -> None:
    """Compare the numbers of ratings, users and items with the published ones.

    Raises
    ------
    DatasetError
        If a number differs from the published one or, if that is rounded, does not round to it;
        the message contains both.
    """
    import pandas as pd  # only here, as it takes long: the counts are shown without

    n_users, n_items = (int(pd.Series(ids).nunique()) for ids in (raw.users, raw.items))
    found = {"ratings": len(raw.ratings), "users": n_users, "items": n_items}
    wrong = [
        f"{n:,} {what} instead of {in_words(count)}"
        for (what, n), count in zip(found.items(), counts[:3], strict=True)
        if not _agrees(n, count)
    ]
    if wrong:
        raise DatasetError(
            f"{where} is not the data set as published: it has {'; '.join(wrong)} "
            f"({counts.cited}). Fetch the published data set; to measure on other ratings, pass "
            "their file with --ratings"
        )


def as_number(count: Count) -> int | None:
    """Return a count as a number: "693.9K" is 693900."""
    if not isinstance(count, str):
        return count
    if count[-1] in _UNITS:
        return round(float(count[:-1]) * _UNITS[count[-1]])
    return int(count)


def in_words(count: Count) -> str:
    """Return a count as text, "?" if it is unknown."""
    if count is None:
        return "?"
    return f"{count:,}" if isinstance(count, int) else count


def _agrees(n: int, count: Count) -> bool:
    number = as_number(count)
    if number is None:
        return True
    tolerance = 0.0
    if isinstance(count, str):
        # Rounded to one decimal of its unit, so off by half of that decimal at most.
        tolerance = _UNITS.get(count[-1], 0) / 20
    return abs(n - number) <= tolerance
