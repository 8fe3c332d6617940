"""Rows of a table as SIMD vectors: the few operations that per-rating kernels are made of.

numba leaves vectorising to LLVM, which cannot know that a user's row and an item's row lie apart, and so checks or
gives up at every rating. Here the kernel says what to load and what to store, as vectors of `_BYTES` bytes; LLVM turns
them into whatever registers the machine has. A table is a C-contiguous matrix whose rows are whole numbers of vectors
(see `padded_rank`), zeros at their ends.

Every operation is a numba intrinsic: it takes and returns vectors of one type, and does what its name says.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

from ._jit import FASTMATH

_BYTES = 64  # of a vector: a cache line, and the widest register there is
_RANK_STEPS = (1, 2, 3, 4, 6)  # vectors per row, and their doubles: bounds how often a kernel is compiled


def padded_rank(rank: int, dtype: np.dtype[Any]) -> int:
    """Return the number of columns of a table for ``rank`` factors: some whole vectors."""
    lanes = _BYTES // dtype.itemsize
    vectors = -(-rank // lanes)
    doubling = 1
    while doubling * _RANK_STEPS[-1] < vectors:
        doubling *= 2
    return lanes * next(steps * doubling for steps in _RANK_STEPS if steps * doubling >= vectors)


def aligned_zeros(n_rows: int, n_columns: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a matrix of zeros that starts at a vector's boundary, so that no load straddles two cache lines."""
    size = n_rows * n_columns * dtype.itemsize
    buffer = np.zeros(size + _BYTES, np.uint8)
    start = -buffer.ctypes.data % _BYTES
    return buffer[start : start + size].view(dtype).reshape(n_rows, n_columns)


def padded_table(factors: NDArray[Any]) -> NDArray[Any]:
    """Copy factors into a table of whole vectors, zeros at the rows' ends."""
    n_rows, rank = factors.shape
    table = aligned_zeros(n_rows, padded_rank(rank, factors.dtype), factors.dtype)
    table[:, :rank] = factors
    return table


def vector_parts(table: NDArray[Any]) -> tuple[int, ...]:
    """Return a tuple as long as a row of the table has vectors: the kernels' way to know that at compile time."""
    return (0,) * int(table.shape[1] * table.dtype.itemsize // _BYTES)


def _operation(function: Callable[..., Any]) -> Any:
    """Make a numba intrinsic; typed here, since numba gives it the signature of its typing function."""
    return intrinsic(function)


class Vector(types.Type):
    """Some numbers of one type, side by side in registers."""

    def __init__(self, number: Any, lanes: int) -> None:
        self.number, self.lanes = number, lanes
        super().__init__(name=f"Vector({number}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        kind = ir.VectorType(manager.lookup(vector.number).get_value_type(), vector.lanes)
        super().__init__(manager, vector, kind)  # type: ignore[no-untyped-call]  # numba ships no types


def _row_vector(table: Any) -> Vector:
    return Vector(table.dtype, _BYTES * 8 // table.dtype.bitwidth)


def _at(context: Any, builder: Any, table: Any, arguments: Any, vector: Vector) -> Any:
    """Point to a vector of a table, given (table, row, part): no wrap-around of negative numbers, no bounds check."""
    matrix, row, part = arguments[:3]
    array = context.make_array(table)(context, builder, matrix)
    n_columns = cgutils.unpack_tuple(builder, array.shape)[1]
    column = builder.mul(part, part.type(vector.lanes))
    place = builder.gep(array.data, [builder.add(builder.mul(row, n_columns), column)])
    return builder.bitcast(place, context.get_value_type(vector).as_pointer())


def _loader(vector_of: Callable[[Any], Vector]) -> Any:
    @_operation
    def load(typing: Any, table: Any, row: Any, part: Any) -> Any:
        vector = vector_of(table)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = _at(context, builder, table, arguments, vector)
            return builder.load(place, align=table.dtype.bitwidth // 8)

        return vector(table, types.int64, types.int64), generate

    return load


load = _loader(_row_vector)  # load(table, row, part): the part-th vector of a row
load4 = _loader(lambda table: Vector(table.dtype, 4))  # load4(table, row, part): four numbers of a row


@_operation
def store(typing: Any, table: Any, row: Any, part: Any, vector: Any) -> Any:
    """Write a vector where ``load`` or ``load4`` of the same row and part reads it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _at(context, builder, table, arguments, vector)
        builder.store(arguments[3], place, align=table.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64, vector), generate


@_operation
def prefetch(typing: Any, table: Any, row: Any, part: Any) -> Any:
    """Ask for a cache line that ``load`` of the same row and part will need soon, to be written to."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8), ir.IntType(32)
        place = builder.bitcast(_at(context, builder, table, arguments, _row_vector(table)), byte.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [place, word(1), word(3), word(1)])  # for writing, keep in all caches, data
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64), generate


@_operation
def splat(typing: Any, number: Any, like: Any) -> Any:
    """Fill a vector of the type of ``like`` with one number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(like)
        nothing, word = ir.Constant(kind, ir.Undefined), ir.IntType(32)
        first = builder.insert_element(nothing, arguments[0], word(0))
        return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(word, kind.count), [0] * kind.count))

    return like(like.number, like), generate


@_operation
def four(typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Make a vector of four numbers."""
    vector = Vector(a, 4)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = ir.Constant(context.get_value_type(vector), ir.Undefined)
        for lane, number in enumerate(arguments):
            value = builder.insert_element(value, number, ir.IntType(32)(lane))
        return value

    return vector(a, a, a, a), generate


@_operation
def lane(typing: Any, vector: Any, k: Any) -> Any:
    """Return one number of a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(arguments[0], builder.trunc(arguments[1], ir.IntType(32)))

    return vector.number(vector, types.int64), generate


def _arithmetic(instruction: str) -> Any:
    @_operation
    def operation(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments, flags=tuple(sorted(FASTMATH)))

        return a(a, b), generate

    return operation


add, subtract, multiply, divide = (_arithmetic(name) for name in ("fadd", "fsub", "fmul", "fdiv"))


def _llvm_function(builder: Any, name: str, result: Any, *takes: Any) -> Any:
    vector = next(kind for kind in takes if isinstance(kind, ir.VectorType))
    width = 32 if isinstance(vector.element, ir.FloatType) else 64
    name = f"llvm.{name}.v{vector.count}f{width}"
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, list(takes)), name)


@_operation
def square_root(typing: Any, vector: Any) -> Any:
    """Return the square root of each number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        return builder.call(_llvm_function(builder, "sqrt", kind, kind), arguments)

    return vector(vector), generate


@_operation
def total(typing: Any, vector: Any) -> Any:
    """Add up the numbers of a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        function = _llvm_function(builder, "vector.reduce.fadd", kind.element, kind.element, kind)
        return builder.call(function, [kind.element(0.0), arguments[0]], fastmath=tuple(sorted(FASTMATH)))

    return vector.number(vector), generate
