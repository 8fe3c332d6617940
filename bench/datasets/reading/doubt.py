"""Files without a header whose columns may be in another order than user, item, rating, time.

A wrong guess gives wrong numbers without a word, so what looks odd is an error: it states the
reason, a better guess if there is one, and the option that settles it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError

from .lines import is_decimal_comma
from .options import Source

_SMALLEST_TIME = 1e8  # Unix time of a day in 1973; no rating scale reaches it
_LARGEST_RATING = 100
_MOST_RATINGS = 101  # distinct whole ratings: those of a scale from 0 to 100
_SMALL_SCALE = 10  # most ratings are at most this, in steps of a half
_DATE = re.compile(r"\s*\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?|\s*\d{1,2}[-/.]\d{1,2}[-/.]\d{4}.*")
_MOST_OF_SMALL = 21  # distinct ratings of a scale up to 10
_CLOCK = 8.5e8, 2.2e9  # Unix times from 1997 to 2039
_FEWEST_COUNTED = 3  # rows from which on 1, 2, 3 is no coincidence

_PLACES = ("first", "second", "third", "fourth")


class _Column(NamedTuple):
    """What the texts of a column look like."""

    numbers: NDArray[np.float64]  # those of its texts that are numbers
    is_date: bool
    n_texts: int

    @property
    def is_numeric(self) -> bool:
        return 2 * len(self.numbers) > self.n_texts

    @property
    def counts(self) -> bool:
        """Whether it counts rows: 0, 1, 2, ... or 1, 2, 3, ..."""
        x = self.numbers
        return len(x) >= _FEWEST_COUNTED and x[0] in (0, 1) and bool((np.diff(x) == 1).all())

    @property
    def has_decimals(self) -> bool:
        return bool((self.numbers % 1 != 0).any())

    @property
    def is_time(self) -> bool:
        big = self.numbers >= _SMALLEST_TIME
        return self.is_date or (self.is_numeric and bool(big.mean() > 0.5))

    @property
    def is_rating(self) -> bool:
        """Whether all could be ratings on some scale up to 100."""
        x = self.numbers
        if not self.is_numeric or (np.abs(x) > _LARGEST_RATING).any():
            return False
        return self.has_decimals or len(np.unique(x)) <= _MOST_RATINGS

    @property
    def is_clock(self) -> bool:
        """Whether all are Unix times, in seconds or milliseconds, since 1997."""
        x, (first, last) = self.numbers, _CLOCK
        if not self.is_numeric:
            return False
        seconds = x / 1000 if (x > last).all() else x
        return bool(((seconds >= first) & (seconds <= last)).all())

    @property
    def varies(self) -> bool:
        """Whether there are several numbers."""
        return len(np.unique(self.numbers)) > 1

    def is_scale(self, largest: float) -> bool:
        """Whether they are several numbers up to a largest one, in steps of a half, in no order."""
        x = self.numbers
        if not self.is_numeric or not len(x) or (np.abs(x) > largest).any():
            return False
        return (
            bool((2 * x % 1 == 0).all()) and len(np.unique(x)) > 1 and bool((np.diff(x) < 0).any())
        )


def check_order(
    rows: Sequence[Sequence[str]],
    positions: Sequence[int],
    first_line: str,
    source: Source,
    *,
    comma: bool = False,
) -> None:
    """Check the columns of a file without a header, which are to be user, item, rating, time.

    Parameters
    ----------
    rows
        The first rows, of three or four columns; others are not questioned here.
    positions
        Where the columns are in the file, for the advice.
    first_line
        The beginning of the error.
    source
        For the advice.
    comma
        Whether a comma may be a decimal comma.

    Raises
    ------
    DatasetError
        If a column counts the rows, an id has decimals, the third column cannot be ratings, or
        another one looks more like ratings.
    """
    # The columns of a data set that is known by its name are known too.
    if source.stand == "data set" or not rows or not 3 <= len(rows[0]) <= 5:
        return
    columns = [_column([row[n] for row in rows], comma) for n in range(len(rows[0]))]
    why = _doubt(columns)
    if why is None:
        return
    guess, is_sure = _guess(columns)
    if guess == tuple(range(len(columns))):
        if is_sure:  # nothing fits better
            return
        guess = None
    advice = (
        "Say where user, item and rating are by their positions from 0: {} if they are as usual"
    )
    if guess is None:
        shown = source.advice(advice, columns=tuple(positions[:3]))
    else:
        advice = (
            "They may be {}: if so, {{}}; if they are user, item, rating{} after all, {{}}"
        ).format(
            ", ".join(
                f"column {positions[n]} the {role}" for n, role in zip(guess, _ROLES, strict=False)
            ),
            " and time" if len(columns) == 4 else "",
        )
        shown = _two_options(source, advice, guess, positions, len(columns))
    raise DatasetError(f"{first_line} has no header, and {why}. {shown}")


_ROLES = ("user", "item", "rating", "time")


def _two_options(
    source: Source, advice: str, guess: Sequence[int], positions: Sequence[int], n: int
) -> str:
    guessed = source.how("columns", tuple(positions[n] for n in guess))
    as_is = source.how("columns", tuple(positions[: min(n, 4)]))
    return advice.format(guessed, as_is)


def looks_like_ratings(texts: Sequence[str], *, comma: bool) -> bool:
    """Return whether a column could be ratings on some scale up to 100."""
    column = _column(texts, comma)
    return column.is_rating and not column.is_time


def _column(texts: Sequence[str], comma: bool) -> _Column:
    numbers = []
    for text in texts:
        if comma and is_decimal_comma(text):
            text = text.replace(",", ".")
        try:
            number = float(text) if "_" not in text else np.nan
        except ValueError:
            continue
        if np.isfinite(number):
            numbers.append(number)
    n_dates = sum(_DATE.fullmatch(text) is not None for text in texts)
    return _Column(np.array(numbers, np.float64), 2 * n_dates > len(texts), len(texts))


def _doubt(columns: list[_Column]) -> str | None:
    """Return why the columns may be others than user, item, rating and time; None if they fit."""
    if sum(column.has_decimals and not column.is_time for column in columns) > 1:
        return "several of its columns have decimals, as those of a matrix of ratings do"
    for n in (0, 1):
        # Items count if a single user rated all of them.
        is_one_user = n == 1 and (not columns[0].varies or columns[2].is_scale(_SMALL_SCALE))
        if columns[n].counts and columns[n].is_numeric and not is_one_user:
            return f"its {_PLACES[n]} column counts the rows, as an index does"
        if columns[n].is_date:
            return f"its {_PLACES[n]} column looks like dates, not like ids"
        if columns[n].is_clock and not any(one.is_time for one in columns[2:]):
            return f"its {_PLACES[n]} column looks like times, not like ids"
        if columns[n].is_numeric and columns[n].has_decimals:
            what = "user" if n == 0 else "item"
            return f"its {_PLACES[n]} column has decimals, which {what} ids do not have"
    rating = columns[2]
    if rating.is_time:
        what = "dates" if rating.is_date else "times"
        return f"its third column looks like {what}, not ratings"
    if not rating.is_numeric:
        return None  # its rows are bad ones, which are reported by line
    if not rating.is_rating:
        most = f"{rating.numbers.max():g}"
        return f"its third column, with numbers up to {most}, does not look like ratings"
    n_ratings = len(np.unique(rating.numbers))
    for n in (0, 1, 3):
        if n >= len(columns) or columns[n].is_time:
            continue
        if n == 3 and columns[n].is_rating and columns[n].varies:
            return f"its {_PLACES[n]} column looks like ratings too"
        # Ratings up to 100 can be taken for a few items, and a few items for such ratings.
        if n == 1 and n_ratings > _MOST_OF_SMALL and columns[n].is_scale(_LARGEST_RATING):
            return f"its {_PLACES[n]} column looks like ratings too"
        if not columns[n].is_scale(_SMALL_SCALE):
            continue
        # A column of few users can look like ratings. It is in doubt if there are more "ratings".
        if n == 3 or n_ratings > 2 * len(np.unique(columns[n].numbers)):
            return f"its {_PLACES[n]} column looks like ratings too"
    return None


def _guess(columns: list[_Column]) -> tuple[tuple[int, ...] | None, bool]:
    """Return the positions of user, item, rating and time that would fit best, or None.

    It is sure of it if a single column looks like ratings.
    """
    left = [n for n, column in enumerate(columns) if not column.counts]
    times = [n for n in left if columns[n].is_time]
    left = [n for n in left if n not in times]
    if len(left) != 3 or len(times) > 1:
        return None, False
    scales = [n for n in left if columns[n].is_rating and columns[n].has_decimals]
    scales = scales or [n for n in left if columns[n].is_scale(_SMALL_SCALE)]
    is_sure = len(scales) == 1
    if not is_sure:  # ids come first
        scales = [n for n in left[-1:] if columns[n].is_rating]
    if len(scales) != 1:
        return None, False
    ids = [n for n in left if n != scales[0]]
    return (*ids, scales[0], *times), is_sure
