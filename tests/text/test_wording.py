"""How numbers are written: ratios with as many digits as their intervals support."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report.outcome.verdict import with_interval
from bench.stats import Ratio
from bench.text.wording import number, rounded, words


@pytest.mark.parametrize(
    ("exact", "shown"),
    [
        ((2.017, 1.72, 2.36), ("2.0", "1.7", "2.4")),
        ((8.004, 7.963, 8.061), ("8.00", "7.96", "8.06")),
        ((80.4, 61.0, 97.0), ("80", "60", "100")),
        ((12345.0, 9300.0, 15400.0), ("12,000", "9,000", "15,000")),
        # One digit would contain 1, or end there, where the exact interval does not.
        ((1.3, 1.04, 1.7), ("1.30", "1.04", "1.70")),
        ((1.2, 0.96, 1.44), ("1.2", "1.0", "1.4")),
        ((1.002, 1.0004, 1.0041), ("1.0020", "1.0004", "1.0041")),
        ((0.98, 0.9, 0.9996), ("0.9800", "0.9000", "0.9996")),
        ((1.5, 0.9999, 2.4), ("1.5", "1.0", "2.4")),
        # What is not zero is not shown as zero.
        ((1.5, 0.02, 100.0), ("2", "0.02", "100")),
        ((4e-5, 1e-5, 7e-5), ("0.00004", "0.00001", "0.00007")),
        # Not more digits than a reader can use, as of rounds that were all the same.
        ((2.0, 1.9999999999999996, 2.0000000000000004), ("2.000", "2.000", "2.000")),
        ((1.0, 0.9999999999999998, 1.0000000000000002), ("1.000", "1.000", "1.000")),
        ((1.0000000000000002, 1.0000000000000002, 1.0000000000000004), ("1.00", "1.00", "1.00")),
        ((12345.6, 12345.5, 12345.7), ("12,350", "12,350", "12,350")),
        # No width, or none that is a number.
        ((2.0, 2.0, 2.0), ("2.00", "2.00", "2.00")),
        ((2.0, 0.5, math.inf), ("2.00", "0.500", "inf")),
        ((2.0, 3.0, 1.0), ("2.00", "3.00", "1.00")),
    ],
    ids=str,
)
def test_a_ratio_has_the_digits_of_its_interval(
    exact: tuple[float, float, float], shown: tuple[str, str, str]
) -> None:
    assert rounded(*exact) == shown


POSITIVE = st.floats(1e-9, 1e12)


@given(POSITIVE, POSITIVE, POSITIVE)
def test_rounding_keeps_the_order_and_the_side_of_1(a: float, b: float, c: float) -> None:
    low, value, high = sorted((a, b, c))
    texts = rounded(value, low, high)
    shown_value, shown_low, shown_high = (float(text.replace(",", "")) for text in texts)
    assert shown_low <= shown_value <= shown_high
    assert all(shown > 0 for shown in (shown_value, shown_low, shown_high))
    if high - low > 1e-6:
        assert (shown_low <= 1 <= shown_high) == (low <= 1 <= high)
    assert all(len(text) < 30 for text in texts)


def test_a_ratio_without_an_interval_is_never_one_that_it_is_not() -> None:
    shown = {value: with_interval(Ratio(value, None)) for value in (1.0, 1.03, 1.07, 2.04, 81.4)}
    assert shown == {1.0: "1.0", 1.03: "1.03", 1.07: "1.1", 2.04: "2.0", 81.4: "81"}
    assert with_interval(Ratio(2.017, (1.72, 2.36))) == "2.0 (95 % interval 1.7 to 2.4)"
    assert with_interval(Ratio(2.017, (1.72, 2.36)), "") == "2.0 (1.7 to 2.4)"


def test_choices_are_joined_by_or() -> None:
    assert words(["a", "b", "c"], "or") == "a, b or c"
    assert words(["a", "b"]) == "a and b" and words([], "or") == ""
    assert number(0.0512, 2) == "0.051"
