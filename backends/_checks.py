"""Checks of arguments; each error names the argument, what was given and what is expected."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np


def check_number(name: str, value: Any, *, positive: bool = False) -> None:
    """Raise ValueError unless ``value`` is a finite number of at least 0, or above 0 if ``positive``."""
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or value < 0 or (positive and value == 0):
        wanted = "a positive number" if positive else "a finite number of at least 0"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_fits(name: str, value: float, dtype: str) -> None:
    """Raise ValueError if a number that is finite is not so in the precision of the computation."""
    largest = float(np.finfo(dtype).max)
    if value > largest:
        raise ValueError(f"{name} must be at most {largest:.2g} in {dtype}, got {value!r}")


def check_count(name: str, value: Any, *, optional: bool = False, or_else: str = "") -> None:
    """Raise ValueError unless ``value`` is an integer of at least 1, or None if ``optional``.

    ``or_else`` names what else the caller would have taken.
    """
    if optional and value is None:
        return
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        others = "None" if optional else or_else
        wanted = f"{others} or an integer of at least 1" if others else "an integer of at least 1"
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        wanted = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{name} must be {wanted}, got {value!r}")
