"""Lines of text: their fields, and which of these are numbers."""

from __future__ import annotations

import csv
import re
from collections import Counter

import numpy as np

SEPARATORS = ("\t", "::", ";", ",", "|", " ")
LINE_END = re.compile(r"\r\n|\n|\r")
BLANK = " \t\r\n"  # a line of nothing but these is empty
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


def split_line(line: str, separator: str) -> list[str]:
    """Return the fields of a line, which may be quoted if `is_quotable` says so."""
    if separator == " ":
        line = re.sub(" +", " ", line.strip(" "))
    if not is_quotable(separator):
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a field longer than csv's limit
        return line.split(separator)


def is_quotable(separator: str) -> bool:
    """Return whether fields may be quoted, which they may if the separator is a single byte."""
    return len(separator.encode()) == 1


def as_number(text: str) -> float:
    """Return a text as a number, NaN if it is not one."""
    if "_" in text:  # float("1_0") is 10 to Python
        return np.nan
    try:
        return float(text)
    except ValueError:
        return np.nan


def is_number(text: str) -> bool:
    """Return whether a text is a finite number."""
    return bool(np.isfinite(as_number(text)))


def is_decimal_comma(text: str) -> bool:
    """Return whether a text is a number with a decimal comma, such as "2,5"."""
    return _DECIMAL_COMMA.fullmatch(text) is not None


def most_common(counts: list[int]) -> tuple[int, float]:
    """Return the most common number, and its share of all."""
    value, n = Counter(counts).most_common(1)[0]
    return value, n / len(counts)
