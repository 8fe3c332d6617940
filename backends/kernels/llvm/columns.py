"""What a row has beside its factors: four numbers in a table of four columns, and two in a table of two.

Several rows are handled at a time, as `llvm.tables` says, and turned into columns: one vector per number, a lane per
row.
"""

from typing import Any

from numba import types
from numba.core import cgutils

from .tables import load_vector, store_vector
from .vectors import Vector, operation, shuffled

_UNPACK = (0, 4, 1, 5), (2, 6, 3, 7)  # lanes of two vectors of four, as the simplest shuffles pick them


def _transposed(builder: Any, vectors: list[Any]) -> list[Any]:
    """Turn 1, 2 or 4 vectors of four numbers into four vectors of as many."""
    if len(vectors) == 4:
        # In two steps of the simplest shuffles that processors have.
        a, b, c, d = vectors
        low, high = ((shuffled(builder, a, b, lanes), shuffled(builder, c, d, lanes)) for lanes in _UNPACK)
        return [
            shuffled(builder, one, two, lanes) for one, two in (low, high) for lanes in ((0, 1, 4, 5), (2, 3, 6, 7))
        ]
    one, other = vectors[0], vectors[-1]
    return [shuffled(builder, one, other, [column, 4 + column][: len(vectors)]) for column in range(4)]


@operation
def load_columns(typing: Any, table: Any, rows: Any) -> Any:
    """Return the four numbers of rows of a table with four columns, as a tuple of vectors, one per column."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        each = [
            load_vector(context, builder, table, arguments[0], row, row.type(0), 4)
            for row in cgutils.unpack_tuple(builder, arguments[1])
        ]
        return context.make_tuple(builder, signature.return_type, _transposed(builder, each))

    return types.UniTuple(Vector(table.dtype, len(rows)), 4)(table, rows), generate


@operation
def store_columns(typing: Any, table: Any, rows: Any, columns: Any) -> Any:
    """Write the four numbers of rows of a table with four columns."""
    n = len(rows)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = cgutils.unpack_tuple(builder, arguments[2])
        if n == 4:
            vectors = _transposed(builder, vectors)
        else:
            left, right = (shuffled(builder, vectors[k], vectors[k + 1], range(2 * n)) for k in (0, 2))
            vectors = [shuffled(builder, left, right, range(k, 4 * n, n)) for k in range(n)]
        for row, vector in zip(cgutils.unpack_tuple(builder, arguments[1]), vectors, strict=True):
            store_vector(context, builder, table, arguments[0], row, row.type(0), vector)
        return context.get_dummy_value()

    return types.void(table, rows, columns), generate


@operation
def split(typing: Any, columns: Any) -> Any:
    """Return a tuple of the first halves of some vectors, and one of the second halves."""
    half = columns.dtype.lanes // 2
    part = types.UniTuple(Vector(columns.dtype.number, half), columns.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = cgutils.unpack_tuple(builder, arguments[0])
        both = [
            context.make_tuple(builder, part, [shuffled(builder, v, None, range(start, start + half)) for v in vectors])
            for start in (0, half)
        ]
        return context.make_tuple(builder, signature.return_type, both)

    return types.UniTuple(part, 2)(columns), generate


@operation
def pairs_of(typing: Any, table: Any, rows: Any) -> Any:
    """Return the two numbers of some rows of a table with two columns, as a pair of vectors, one per column."""
    result = types.UniTuple(Vector(table.dtype, len(rows)), 2)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pairs = [
            load_vector(context, builder, table, arguments[0], row, row.type(0), 2)
            for row in cgutils.unpack_tuple(builder, arguments[1])
        ]
        while len(pairs) > 1:  # two by two, into one vector of all pairs
            n_lanes = 2 * pairs[0].type.count
            neighbours = zip(pairs[::2], pairs[1::2], strict=True)
            pairs = [shuffled(builder, one, other, range(n_lanes)) for one, other in neighbours]
        columns = [shuffled(builder, pairs[0], None, range(at, 2 * len(rows), 2)) for at in (0, 1)]
        return context.make_tuple(builder, result, columns)

    return result(table, rows), generate
