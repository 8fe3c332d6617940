"""How numbers and lists are written in sentences, tables and labels."""

from __future__ import annotations

import math

DASH, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with significant digits, never in exponents unless it is tiny; a dash for None."""
    if value is None:
        return DASH
    if value == 0 or not math.isfinite(value) or abs(value) < 1e-6:
        return f"{value:.3g}"
    decimals = digits - 1 - math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    return f"{value:,.{max(decimals, 0)}f}"


def mse(value: float | None) -> str:
    """Write a mean squared error: four decimals around 1, fewer where it is large."""
    return number(value, 4 if value is None or abs(value) < 1 else 5)


def words(items: list[str]) -> str:
    """Join items as in prose: "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def plural(count: float, thing: str) -> str:
    """Write a count of things: "1 round", "2.5 cores"."""
    written = str(count) if isinstance(count, int) else f"{count:g}"
    return f"{written} {thing}" if count == 1 else f"{written} {thing}s"


def one_line(text: str) -> str:
    """Return text on one line, without what would steer a terminal."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
