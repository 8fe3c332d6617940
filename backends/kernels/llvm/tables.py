"""Loading, storing and prefetching rows of tables.

A table is a C-contiguous matrix whose rows are padded with zeros to whole vectors of `layout.LINE`
bytes. ``row_vectors`` is a tuple with one entry per vector of a row, and ``rows`` a tuple with one
row number per row. Tuples' lengths are part of their types, so all loops here are unrolled.

Nothing here checks an index, and negative ones do not count from the end.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from backends.kernels.layout import LINE

from .vectors import WORD, Vector, operation, request

# ---- one vector of a row ------------------------------------------------------------------------


def lanes_of(number: Any) -> int:
    """Return how many numbers of a type fill `layout.LINE` bytes: 16 float32, or 8 float64."""
    return LINE * 8 // int(number.bitwidth)


def _address(
    context: Any,
    builder: Any,
    table: Any,
    array: Any,
    row: Any,
    vector: Any,
    n_lanes: int,
) -> Any:
    """Return a pointer to the ``vector``-th vector of ``n_lanes`` lanes in a row."""
    # numba passes an array as a struct of data pointer, shape and strides. Strides are not used:
    # the table is C-contiguous.
    matrix = context.make_array(table)(context, builder, array)
    n_columns = cgutils.unpack_tuple(builder, matrix.shape)[1]
    row_start = builder.mul(row, n_columns)
    start = builder.add(row_start, builder.mul(vector, vector.type(n_lanes)))
    # The pointer to a number becomes a pointer to a vector, so that one load gets all lanes.
    kind = ir.VectorType(context.get_value_type(table.dtype), n_lanes)
    return builder.bitcast(builder.gep(matrix.data, [start]), kind.as_pointer())


def load_vector(
    context: Any,
    builder: Any,
    table: Any,
    array: Any,
    row: Any,
    vector: Any,
    n_lanes: int,
) -> Any:
    """Load a vector of a row. Only the alignment of one number is assumed."""
    address = _address(context, builder, table, array, row, vector, n_lanes)
    return builder.load(address, align=table.dtype.bitwidth // 8)


def store_vector(
    context: Any,
    builder: Any,
    table: Any,
    array: Any,
    row: Any,
    vector: Any,
    value: Any,
) -> None:
    """Store a vector of a row."""
    address = _address(context, builder, table, array, row, vector, value.type.count)
    builder.store(value, address, align=table.dtype.bitwidth // 8)


@operation
def load(typing: Any, table: Any, row: Any, vector: Any) -> Any:
    """Return the ``vector``-th vector of a row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, row, vector = arguments
        return load_vector(context, builder, table, matrix, row, vector, lanes_of(table.dtype))

    return Vector(table.dtype, lanes_of(table.dtype))(table, types.int64, types.int64), generate


@operation
def store(typing: Any, table: Any, row: Any, vector: Any, value: Any) -> Any:
    """Write the ``vector``-th vector of a row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, row, vector, value = arguments
        store_vector(context, builder, table, matrix, row, vector, value)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64, value), generate


@operation
def copy_rows(typing: Any, table: Any, to: Any, first: Any, last: Any) -> Any:
    """Copy the rows ``first:last`` of a table to the same rows of another of its shape."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, to_value, first_row, last_row = arguments
        matrix = context.make_array(table)(context, builder, value)
        n_columns = cgutils.unpack_tuple(builder, matrix.shape)[1]
        start = builder.mul(first_row, n_columns)
        source = builder.gep(matrix.data, [start])
        target = builder.gep(context.make_array(to)(context, builder, to_value).data, [start])
        size = builder.mul(builder.sub(last_row, first_row), n_columns)
        cgutils.raw_memcpy(builder, target, source, size, table.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(table, to, types.int64, types.int64), generate


@operation
def prefetch(typing: Any, table: Any, rows: Any, row_vectors: Any) -> Any:
    """Prefetch rows that will be read."""
    return _prefetch(table, rows, row_vectors, to_write=False)


@operation
def prefetch_to_write(typing: Any, table: Any, rows: Any, row_vectors: Any) -> Any:
    """Prefetch rows that will be written.

    This takes the cache lines away from other cores. If they were fetched for reading, the first
    write would have to wait for that.
    """
    return _prefetch(table, rows, row_vectors, to_write=True)


@operation
def prefetch_vector(typing: Any, table: Any, row: Any, vector: Any) -> Any:
    """Prefetch the ``vector``-th vector of a row that will be read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, row, vector = arguments
        n_lanes = lanes_of(table.dtype)
        address = _address(context, builder, table, matrix, row, vector, n_lanes)
        request(builder, address, to_write=False)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64), generate


def _prefetch(table: Any, rows: Any, row_vectors: Any, *, to_write: bool) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        n_lanes = lanes_of(table.dtype)
        for row in cgutils.unpack_tuple(builder, arguments[1]):
            # A vector is as long as a cache line, so this requests every line of the row.
            for vector in range(len(row_vectors)):
                address = _address(
                    context,
                    builder,
                    table,
                    arguments[0],
                    row,
                    row.type(vector),
                    n_lanes,
                )
                request(builder, address, to_write=to_write)
        return context.get_dummy_value()

    return types.void(table, rows, row_vectors), generate


# ---- row numbers -------------------------------------------------------------------------------


@operation
def first_of(typing: Any, ids: Any, group: Any) -> Any:
    """Return the first ``len(group)`` numbers of an array of int64 as a tuple."""
    longs = types.UniTuple(types.int64, len(group))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(ids)(context, builder, arguments[0]).data
        numbers = [builder.load(builder.gep(data, [WORD(k)])) for k in range(len(group))]
        return context.make_tuple(builder, longs, numbers)

    return longs(ids, group), generate


@operation
def first_rating(typing: Any, ends: Any, row: Any) -> Any:
    """Return where the ratings of a row start: where those of the row before end, or 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, number = arguments
        is_first = builder.icmp_signed("==", number, number.type(0))
        before = builder.select(is_first, number, builder.sub(number, number.type(1)))
        data = context.make_array(ends)(context, builder, value).data
        end = builder.load(builder.gep(data, [before]))
        return builder.select(is_first, end.type(0), end)

    return types.int64(ends, types.int64), generate


@operation
def all_distinct(typing: Any, rows: Any) -> Any:
    """Return whether no number occurs twice in a tuple, by comparing all pairs, at most 6."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        numbers = cgutils.unpack_tuple(builder, arguments[0])
        result = ir.IntType(1)(1)  # true, for a single row
        for k, number in enumerate(numbers):
            for earlier in numbers[:k]:
                result = builder.and_(result, builder.icmp_unsigned("!=", number, earlier))
        return result

    return types.boolean(rows), generate
