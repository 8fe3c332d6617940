"""Tables of rows made of whole vectors, and what kernels do with rows of them.

A table is a C-contiguous matrix whose rows are whole numbers of vectors of `layout.LINE` bytes, zeros at their ends.
Rows may be taken several at a time: ids come as a tuple as long as there are rows, which is known when a kernel is
compiled, and so is the tuple ``parts``, as long as a row has vectors. The numbers in ``parts`` are not used.

Nothing here checks an index, and none counts from the end.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from backends.kernels.layout import LINE

from .vectors import WORD, Vector, operation, request

# ---- one vector of a row ---------------------------------------------------------------------------------------------


def lanes_of(number: Any) -> int:
    """Return how many numbers of numba's type make a vector."""
    return LINE * 8 // int(number.bitwidth)


def _place(context: Any, builder: Any, table: Any, array: Any, row: Any, part: Any, n_lanes: int) -> Any:
    """Point to the part-th vector of ``n_lanes`` of a row."""
    matrix = context.make_array(table)(context, builder, array)
    n_columns = cgutils.unpack_tuple(builder, matrix.shape)[1]
    start = builder.add(builder.mul(row, n_columns), builder.mul(part, part.type(n_lanes)))
    kind = ir.VectorType(context.get_value_type(table.dtype), n_lanes)
    return builder.bitcast(builder.gep(matrix.data, [start]), kind.as_pointer())


def load_vector(context: Any, builder: Any, table: Any, array: Any, row: Any, part: Any, n_lanes: int) -> Any:
    """Load the part-th vector of a row."""
    place = _place(context, builder, table, array, row, part, n_lanes)
    return builder.load(place, align=table.dtype.bitwidth // 8)


def store_vector(context: Any, builder: Any, table: Any, array: Any, row: Any, part: Any, vector: Any) -> None:
    """Store the part-th vector of a row."""
    place = _place(context, builder, table, array, row, part, vector.type.count)
    builder.store(vector, place, align=table.dtype.bitwidth // 8)


@operation
def load(typing: Any, table: Any, row: Any, part: Any) -> Any:
    """Return the part-th vector of a row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, row, part = arguments
        return load_vector(context, builder, table, matrix, row, part, lanes_of(table.dtype))

    return Vector(table.dtype, lanes_of(table.dtype))(table, types.int64, types.int64), generate


@operation
def store(typing: Any, table: Any, row: Any, part: Any, vector: Any) -> Any:
    """Write the part-th vector of a row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        store_vector(context, builder, table, *arguments)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64, vector), generate


@operation
def prefetch(typing: Any, table: Any, rows: Any, parts: Any) -> Any:
    """Ask for rows that will be needed soon."""
    return _prefetch(table, rows, parts, to_write=False)


@operation
def prefetch_to_write(typing: Any, table: Any, rows: Any, parts: Any) -> Any:
    """Ask for rows that will be needed soon and written to: another thread that only reads them would lose them."""
    return _prefetch(table, rows, parts, to_write=True)


def _prefetch(table: Any, rows: Any, parts: Any, *, to_write: bool) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for row in cgutils.unpack_tuple(builder, arguments[1]):
            for part in range(len(parts)):
                place = _place(context, builder, table, arguments[0], row, row.type(part), lanes_of(table.dtype))
                request(builder, place, to_write=to_write)
        return context.get_dummy_value()

    return types.void(table, rows, parts), generate


# ---- ids -------------------------------------------------------------------------------------------------------------


@operation
def first_of(typing: Any, ids: Any, group: Any) -> Any:
    """Return the first numbers of an array of int64, as many as the tuple ``group`` is long, as a tuple."""
    longs = types.UniTuple(types.int64, len(group))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(ids)(context, builder, arguments[0]).data
        each = [builder.load(builder.gep(data, [WORD(k)])) for k in range(len(group))]
        return context.make_tuple(builder, longs, each)

    return longs(ids, group), generate


@operation
def all_distinct(typing: Any, rows: Any) -> Any:
    """Whether no row occurs twice in the tuple."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        each = cgutils.unpack_tuple(builder, arguments[0])
        result = ir.IntType(1)(1)
        for k, one in enumerate(each):
            for other in each[:k]:
                result = builder.and_(result, builder.icmp_unsigned("!=", one, other))
        return result

    return types.boolean(rows), generate
