"""Tiles: small matrices of sums of products, which stay in registers while they are added up.

A tile is a `Rows` of one vector each: the part of a product of two tables, left^T right, that lies
in as many rows as ``tile_rows`` has entries, and in the columns of one vector. Its rows share the
loaded vector of the right table, so a tile of 8 rows takes one load for 8 multiply-adds.

Nothing here checks an index, and negative ones do not count from the end.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .rows import Rows
from .tables import lanes_of, load_vector, store_vector
from .vectors import FLAGS, filled, operation


@operation
def zero_tile(typing: Any, table: Any, tile_rows: Any) -> Any:
    """Return a tile of zeros in the precision of a table."""
    tile = Rows(table.dtype, len(tile_rows), 1)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(tile), None)

    return tile(table, tile_rows), generate


@operation
def plus_products(
    typing: Any,
    tile: Any,
    left: Any,
    column: Any,
    right: Any,
    vector: Any,
    n: Any,
) -> Any:
    """Return the tile plus the products of the n-th rows of two tables.

    Row k of the tile grows by left[n, column + k] times the ``vector``-th vector of right[n].
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        result, left_array, first_column, right_array, right_vector, row = arguments
        n_lanes = lanes_of(tile.number)
        shared = load_vector(context, builder, right, right_array, row, right_vector, n_lanes)
        matrix = context.make_array(left)(context, builder, left_array)
        n_columns = cgutils.unpack_tuple(builder, matrix.shape)[1]
        start = builder.add(builder.mul(row, n_columns), first_column)
        for k in range(tile.n_rows):
            # One number in all lanes. On x86 this load is a part of the multiply-add.
            number = builder.load(builder.gep(matrix.data, [builder.add(start, start.type(k))]))
            product = builder.fmul(filled(builder, number, n_lanes), shared, flags=FLAGS)
            sums = builder.fadd(builder.extract_value(result, [k, 0]), product, flags=FLAGS)
            result = builder.insert_value(result, sums, [k, 0])
        return result

    long = types.int64
    return tile(tile, left, long, right, long, long), generate


@operation
def add_tile(typing: Any, table: Any, row: Any, vector: Any, tile: Any, factor: Any) -> Any:
    """Add factor times a tile to the ``vector``-th vectors of the rows from ``row`` of a table."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, first_row, vector, value, factor = arguments
        n_lanes = lanes_of(tile.number)
        factors = filled(builder, factor, n_lanes)
        for k in range(tile.n_rows):
            row = builder.add(first_row, first_row.type(k))
            before = load_vector(context, builder, table, array, row, vector, n_lanes)
            sums = builder.extract_value(value, [k, 0])
            after = builder.fadd(before, builder.fmul(factors, sums, flags=FLAGS), flags=FLAGS)
            store_vector(context, builder, table, array, row, vector, after)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64, tile, tile.number), generate
