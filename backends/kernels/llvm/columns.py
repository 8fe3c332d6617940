"""What a row has besides its factors: four numbers in one table, and two in another.

In memory the numbers of a row are next to each other, so that one load gets them all. For the
arithmetic of a step they are turned into columns: one vector per number, with a lane per row.
"""

from typing import Any

from numba import types
from numba.core import cgutils

from .tables import load_vector, store_vector
from .vectors import Vector, operation, shuffled

# Interleave the first halves, or the second halves, of two vectors of four lanes. Every processor
# has an instruction for these two shuffles, such as x86's unpcklps and unpckhps.
_INTERLEAVE_LOW = (0, 4, 1, 5)
_INTERLEAVE_HIGH = (2, 6, 3, 7)


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """Turn 1, 2 or 4 vectors of 4 lanes into 4 vectors of 1, 2 or 4 lanes."""
    if len(vectors) == 4:
        a, b, c, d = vectors
        ab_low = shuffled(builder, a, b, _INTERLEAVE_LOW)  # (a0 b0 a1 b1)
        cd_low = shuffled(builder, c, d, _INTERLEAVE_LOW)  # (c0 d0 c1 d1)
        ab_high = shuffled(builder, a, b, _INTERLEAVE_HIGH)  # (a2 b2 a3 b3)
        cd_high = shuffled(builder, c, d, _INTERLEAVE_HIGH)  # (c2 d2 c3 d3)
        return [
            shuffled(builder, ab_low, cd_low, (0, 1, 4, 5)),  # (a0 b0 c0 d0)
            shuffled(builder, ab_low, cd_low, (2, 3, 6, 7)),  # (a1 b1 c1 d1)
            shuffled(builder, ab_high, cd_high, (0, 1, 4, 5)),  # (a2 b2 c2 d2)
            shuffled(builder, ab_high, cd_high, (2, 3, 6, 7)),  # (a3 b3 c3 d3)
        ]
    if len(vectors) == 2:
        a, b = vectors
        return [shuffled(builder, a, b, [column, 4 + column]) for column in range(4)]
    (a,) = vectors
    return [shuffled(builder, a, None, [column]) for column in range(4)]


@operation
def load_columns(typing: Any, table: Any, rows: Any) -> Any:
    """Return the four numbers of each row of a table with four columns: a tuple of four vectors."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = [
            load_vector(context, builder, table, arguments[0], row, row.type(0), 4)
            for row in cgutils.unpack_tuple(builder, arguments[1])
        ]
        columns = _transposed(builder, loaded)
        return context.make_tuple(builder, signature.return_type, columns)

    return types.UniTuple(Vector(table.dtype, len(rows)), 4)(table, rows), generate


@operation
def store_columns(typing: Any, table: Any, rows: Any, columns: Any) -> Any:
    """Write the four numbers of each row of a table with four columns."""
    n = len(rows)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = cgutils.unpack_tuple(builder, arguments[2])
        if n == 4:
            vectors = _transposed(builder, vectors)
        else:
            # All 4 n numbers in one vector, column by column. Every n-th of them is one row.
            left = shuffled(builder, vectors[0], vectors[1], range(2 * n))
            right = shuffled(builder, vectors[2], vectors[3], range(2 * n))
            vectors = [shuffled(builder, left, right, range(k, 4 * n, n)) for k in range(n)]
        rows_and_vectors = zip(cgutils.unpack_tuple(builder, arguments[1]), vectors, strict=True)
        for row, vector in rows_and_vectors:
            store_vector(context, builder, table, arguments[0], row, row.type(0), vector)
        return context.get_dummy_value()

    return types.void(table, rows, columns), generate


@operation
def split(typing: Any, columns: Any) -> Any:
    """Return a tuple of the first halves of some vectors, and a tuple of their second halves."""
    half = columns.dtype.lanes // 2
    halves = types.UniTuple(Vector(columns.dtype.number, half), columns.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = cgutils.unpack_tuple(builder, arguments[0])
        both = []
        for start in (0, half):
            lanes = range(start, start + half)
            picked = [shuffled(builder, vector, None, lanes) for vector in vectors]
            both.append(context.make_tuple(builder, halves, picked))
        return context.make_tuple(builder, signature.return_type, both)

    return types.UniTuple(halves, 2)(columns), generate


@operation
def pairs_of(typing: Any, table: Any, rows: Any) -> Any:
    """Return the two numbers of each row of a table with two columns: a tuple of two vectors."""
    result = types.UniTuple(Vector(table.dtype, len(rows)), 2)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = [
            load_vector(context, builder, table, arguments[0], row, row.type(0), 2)
            for row in cgutils.unpack_tuple(builder, arguments[1])
        ]
        # Concatenate neighbours until one vector holds all pairs, (a0 a1 b0 b1 ...). The even lanes
        # of that are the first column, and the odd lanes the second.
        while len(vectors) > 1:
            n_lanes = 2 * vectors[0].type.count
            neighbours = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [shuffled(builder, left, right, range(n_lanes)) for left, right in neighbours]
        (pairs,) = vectors
        first = shuffled(builder, pairs, None, range(0, 2 * len(rows), 2))
        second = shuffled(builder, pairs, None, range(1, 2 * len(rows), 2))
        return context.make_tuple(builder, result, [first, second])

    return result(table, rows), generate
