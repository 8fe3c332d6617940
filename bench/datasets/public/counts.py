"""How many ratings, users and items a data set is published to have, and whether what was read has them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.datasets.errors import DatasetError
from bench.datasets.raw import RawRatings

Count = int | str | None  # exact; or rounded, as published ("693.9K"); or not known

_UNITS = {"K": 1_000, "M": 1_000_000}


class Counts(NamedTuple):
    """Ratings, users and items left after reading; ``cited`` is where the numbers were found."""

    rows: Count = None
    users: Count = None
    items: Count = None
    cited: str = ""


def check_counts(where: Path, raw: RawRatings, counts: Counts) -> None:
    """Compare ratings with what is published of them.

    Raises
    ------
    DatasetError
        When a count differs, or rounds to another one than is published, naming both.
    """
    users, items = (int(pd.Series(ids).nunique()) for ids in (raw.users, raw.items))
    found = {"ratings": len(raw.ratings), "users": users, "items": items}
    wrong = [
        f"{n:,} {what} where {count if isinstance(count, str) else format(count, ',')} are published"
        for (what, n), count in zip(found.items(), counts[:3], strict=True)
        if not _agrees(n, count)
    ]
    if wrong:
        raise DatasetError(
            f"{where} is not the data set as published: it has {'; '.join(wrong)} ({counts.cited}). "
            "A file of your own is read by --ratings"
        )


def as_number(count: Count) -> int | None:
    """Return a count as a number: "693.9K" is 693900."""
    if not isinstance(count, str):
        return count
    return round(float(count.rstrip("KM")) * _UNITS[count[-1]]) if count[-1] in _UNITS else int(count)


def in_words(count: Count) -> str:
    """Return a count as people write it, "?" where it is not known."""
    return "?" if count is None else f"{count:,}" if isinstance(count, int) else count


def _agrees(n: int, count: Count) -> bool:
    number = as_number(count)
    # Rounded to one digit after the point: off by half of that digit at most.
    off = _UNITS.get(count[-1], 0) / 20 if isinstance(count, str) else 0
    return number is None or abs(n - number) <= off
