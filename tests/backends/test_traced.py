"""`llvm.traced`: straight-line functions of kernels do what Python would."""

from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import njit

from backends.kernels.llvm.traced import traced
from backends.kernels.llvm.vectors import square_root


class Pair(NamedTuple):
    numbers: Any
    scale: Any


@traced
def _root(x: Any) -> Any:
    return square_root(x)


@traced
def _mixed(n: Any, pair: Any, matrix: Any, records: Any, other: Any) -> Any:
    numbers, (first, _) = pair.numbers, (n + 1, n)
    numbers[n] = numbers[first] * pair[1] - 1
    matrix[n, first] += numbers[n] / 2
    record = records[n]
    record.wide = record.narrow + record.wide
    if other is not None:
        numbers[first] += other[n]
    return _root(numbers[n]), n - 3, matrix[n, 0]


def in_python(n: int, pair: Pair, matrix: Any, records: Any, other: Any) -> Any:
    numbers = pair.numbers
    numbers[n] = numbers[n + 1] * pair.scale - 1
    matrix[n, n + 1] += numbers[n] / 2
    records["wide"][n] += records["narrow"][n]
    if other is not None:
        numbers[n + 1] += other[n]
    return np.sqrt(numbers[n]), n - 3, matrix[n, 0]


def arguments(strided: bool, other: bool) -> Any:
    records = np.zeros(4, [("narrow", "i4"), ("wide", "f8")])
    records["narrow"], records["wide"] = [1, 2, 3, 4], [0.5, 0.25, 2.0, 8.0]
    numbers = np.array([3.0, 1.0, 7.0, 0.0, 5.0, 2.0], np.float32)
    numbers = numbers[::2] if strided else numbers
    more = np.arange(4, dtype=np.float32) if other else None
    return 1, Pair(numbers, np.float32(2)), np.ones((3, 4)), records, more


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("other", [False, True])
def test_a_traced_function_does_what_python_does(strided: bool, other: bool) -> None:
    @njit
    def kernel(n: Any, pair: Any, matrix: Any, records: Any, other: Any) -> Any:
        return _mixed(n, pair, matrix, records, other)

    expected, given = arguments(strided, other), arguments(strided, other)
    assert kernel(*given) == pytest.approx(in_python(*expected))
    assert kernel.nopython_signatures[0].return_type[0].bitwidth == 32  # nothing was widened
    for got, wanted in zip(given[1:4], expected[1:4], strict=True):
        got, wanted = ((part.numbers if isinstance(part, Pair) else part) for part in (got, wanted))
        np.testing.assert_array_equal(got, wanted)


def test_branches_on_values_are_refused() -> None:
    @traced
    def branching(x: Any) -> Any:
        return x if x else x + 1

    @njit
    def kernel(x: Any) -> Any:
        return branching(x)

    with pytest.raises(TypeError, match="no if or while"):
        kernel(1.0)
