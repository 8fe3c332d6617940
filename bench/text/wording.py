"""How numbers and lists are written in sentences, tables and labels."""

from __future__ import annotations

import math

MOST_REASON = 500  # characters; a backend may raise an error with megabytes of text
_MOST_DIGITS, _MOST_DECIMALS = 4, 9  # of a value with an interval; of one that is close to 1
DASH, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` significant digits; a dash for None.

    Exponents are used only for numbers below 1e-6.
    """
    if value is None:
        return DASH
    if value == 0 or not math.isfinite(value) or abs(value) < 1e-6:
        return f"{value:.3g}"
    # Rounding can add a digit in front (9.996 becomes 10.0), so round before counting the digits.
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{value:,.{max(decimals, 0)}f}"


def rounded(value: float, low: float, high: float) -> tuple[str, str, str]:
    """Return a value and the bounds of its interval with as many digits as the interval supports.

    The last digit is the first one of half the interval's width, but the value has at most three
    digits. There are more where the rounded interval would otherwise contain 1 and the exact one
    does not, or the other way round. What would be rounded to zero has one digit.
    """
    half = (high - low) / 2
    if value and half > 0 and math.isfinite(half):
        fewest = min(
            -math.floor(math.log10(half)), _MOST_DIGITS - 1 - math.floor(math.log10(abs(value)))
        )
        for decimals in range(fewest, max(fewest, _MOST_DECIMALS) + 1):
            first, *bounds = (_fixed(each, decimals) for each in (value, low, high))
            shown_low, shown_high = (float(text.replace(",", "")) for text in bounds)
            if (shown_low <= 1 <= shown_high) == (low <= 1 <= high):
                return first, bounds[0], bounds[1]
    return number(value), number(low), number(high)


def _fixed(value: float, decimals: int) -> str:
    """Return a number rounded to a decimal place, or to tens, hundreds, ... where negative."""
    shown = round(value, decimals)
    return f"{shown:,.{max(decimals, 0)}f}" if shown or not value else number(value, 1)


def mse(value: float | None) -> str:
    """Return a mean squared error with four decimals around 1, and fewer if it is large."""
    return number(value, 4 if value is None or abs(value) < 1 else 5)


def words(items: list[str], last: str = "and") -> str:
    """Return items as in prose: "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def plural(count: float, thing: str) -> str:
    """Return a count of things: "1 round", "2.5 cores"."""
    written = str(count) if isinstance(count, int) else f"{count:g}"
    return f"{written} {thing}" if count == 1 else f"{written} {thing}s"


def reason(text: str, most: int = MOST_REASON) -> str:
    """Return the reason for a result on one line of at most so many characters."""
    line = one_line(without_surrogates(text))
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def without_surrogates(text: str) -> str:
    """Return text that UTF-8 can encode: lone surrogates become "?".

    They come from names of files that are not UTF-8, and from errors that quote such names.
    """
    return text.encode("utf-8", "replace").decode()


def one_line(text: str) -> str:
    """Return text on one line, without characters that control a terminal."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())
