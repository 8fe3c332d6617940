"""Whole rows of tables, held in vector registers as far as there are enough.

Several rows may be handled at a time, see `tables`: a dot product of each then makes one vector,
with a lane per row. In the docstrings p is a row of the side that the kernel goes through, which it
holds in registers, and q its opposite row, which is read from a table where it is needed.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from .tables import lanes_of, load_vector, store_vector
from .vectors import FLAGS, Vector, added, filled, operation, shuffled, totals

# A dot product is added up in this many independent sums. An addition takes about four cycles, and
# in a single sum each would wait for the one before it.
_CHAINS = 2


class Rows(types.Type):
    """The factors of ``n_rows`` rows, each of ``n_vectors`` vectors."""

    def __init__(self, number: Any, n_rows: int, n_vectors: int) -> None:
        self.number, self.n_rows, self.n_vectors = number, n_rows, n_vectors
        super().__init__(name=f"Rows({number}, {n_rows}, {n_vectors})")


@register_model(Rows)
class _RowsModel(models.PrimitiveModel):
    """Represents `Rows` as the IR array [n_rows x [n_vectors x vector]].

    It is a value and has no address, so LLVM keeps each vector in a register of its own. Numbers
    are put in and taken out by insertvalue and extractvalue, which emit no machine code.
    """

    def __init__(self, manager: Any, rows: Rows) -> None:
        number = manager.lookup(rows.number).get_value_type()
        vector = ir.VectorType(number, lanes_of(rows.number))
        kind = ir.ArrayType(ir.ArrayType(vector, rows.n_vectors), rows.n_rows)
        super().__init__(manager, rows, kind)  # type: ignore[no-untyped-call]  # no types in numba


def _loaded(
    context: Any,
    builder: Any,
    rows: Rows,
    table: Any,
    array: Any,
    ids: Any,
) -> list[list[Any]]:
    """Load the rows ``ids`` of a table, each as a list of its vectors."""
    return [
        [
            load_vector(
                context,
                builder,
                table,
                array,
                row,
                row.type(vector),
                lanes_of(rows.number),
            )
            for vector in range(rows.n_vectors)
        ]
        for row in cgutils.unpack_tuple(builder, ids)
    ]


def _vectors(builder: Any, rows: Rows, value: Any) -> list[list[Any]]:
    """Return the vectors of each row of a `Rows` value."""

    def of_row(k: int) -> list[Any]:
        return [builder.extract_value(value, [k, n]) for n in range(rows.n_vectors)]

    return [of_row(k) for k in range(rows.n_rows)]


@operation
def load_rows(typing: Any, table: Any, rows: Any, row_vectors: Any) -> Any:
    """Return rows of a table as `Rows`."""
    result = Rows(table.dtype, len(rows), len(row_vectors))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # An undefined array, whose elements are then set one by one.
        value = ir.Constant(context.get_value_type(result), ir.Undefined)
        loaded = _loaded(context, builder, result, table, arguments[0], arguments[1])
        for k, vectors in enumerate(loaded):
            for n, vector in enumerate(vectors):
                value = builder.insert_value(value, vector, [k, n])
        return value

    return result(table, rows, row_vectors), generate


@operation
def store_rows(typing: Any, table: Any, rows: Any, values: Any) -> Any:
    """Write `Rows` to rows of a table."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for k, row in enumerate(cgutils.unpack_tuple(builder, arguments[1])):
            for n in range(values.n_vectors):
                vector = builder.extract_value(arguments[2], [k, n])
                store_vector(context, builder, table, arguments[0], row, row.type(n), vector)
        return context.get_dummy_value()

    return types.void(table, rows, values), generate


def _dots(builder: Any, rows: list[list[Any]], opposites: list[list[Any]]) -> Any:
    """Return the dot product of each row with its opposite, one per lane of a vector."""
    sums = []
    for p, q in zip(rows, opposites, strict=True):
        pairs = zip(p, q, strict=True)
        products = [builder.fmul(p_vector, q_vector, flags=FLAGS) for p_vector, q_vector in pairs]
        # The first products start the sums; each later one is added to them in turn.
        chains = products[:_CHAINS]
        for n, product in enumerate(products[_CHAINS:]):
            chain = n % _CHAINS
            # LLVM fuses this addition with the product's multiplication.
            chains[chain] = builder.fadd(chains[chain], product, flags=FLAGS)
        sums.append(added(builder, chains))
    return totals(builder, sums)


@operation
def with_norms(typing: Any, columns: Any, rows: Any) -> Any:
    """Return the columns with the last one replaced by |p|^2 of each row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _vectors(builder, rows, arguments[1])
        unchanged = cgutils.unpack_tuple(builder, arguments[0])[:-1]
        norms = _dots(builder, vectors, vectors)
        return context.make_tuple(builder, signature.return_type, [*unchanged, norms])

    return columns(columns, rows), generate


@operation
def dots(typing: Any, rows: Any, table: Any, opposites: Any) -> Any:
    """Return p . q of each row and its opposite, as a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = _loaded(context, builder, rows, table, arguments[1], arguments[2])
        return _dots(builder, _vectors(builder, rows, arguments[0]), loaded)

    return Vector(rows.number, rows.n_rows)(rows, table, opposites), generate


@operation
def zero_row(typing: Any, table: Any, row_vectors: Any) -> Any:
    """Return one row of zeros as `Rows`, like a row of the table."""
    row = Rows(table.dtype, 1, len(row_vectors))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(row), None)

    return row(table, row_vectors), generate


@operation
def plus_opposite(typing: Any, row: Any, factor: Any, table: Any, opposite: Any) -> Any:
    """Return p + factor q, for a single row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        result, factor, matrix, opposite_id = arguments
        factors = filled(builder, factor, lanes_of(row.number))
        (q,) = _loaded(context, builder, row, table, matrix, opposite_id)
        for n, vector in enumerate(q):
            product = builder.fmul(factors, vector, flags=FLAGS)
            before = builder.extract_value(result, [0, n])
            after = builder.fadd(before, product, flags=FLAGS)
            result = builder.insert_value(result, after, [0, n])
        return result

    return row(row, factor, table, opposite), generate


@operation
def add_to_opposite(typing: Any, table: Any, opposite: Any, factor: Any, row: Any) -> Any:
    """Replace q by q + factor p in its table, for a single row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, opposite_id, factor, value = arguments
        (place,) = cgutils.unpack_tuple(builder, opposite_id)
        factors = filled(builder, factor, lanes_of(row.number))
        (q,) = _loaded(context, builder, row, table, matrix, opposite_id)
        for n, vector in enumerate(q):
            p_vector = builder.extract_value(value, [0, n])
            product = builder.fmul(factors, p_vector, flags=FLAGS)
            after = builder.fadd(vector, product, flags=FLAGS)
            store_vector(context, builder, table, matrix, place, place.type(n), after)
        return context.get_dummy_value()

    return types.void(table, opposite, factor, row), generate


@operation
def update_pairs(typing: Any, rows: Any, table: Any, opposites: Any, shrink: Any, step: Any) -> Any:
    """Replace each p and its q by shrink p + step q and shrink q + step p; return the new rows p.

    The new rows q are written to their table. ``shrink`` and ``step`` are vectors with two lanes
    per pair: first the factors of all the rows p, then those of all the rows q.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        result, matrix, ids, shrinks, steps = arguments
        p_vectors = _vectors(builder, rows, result)
        n_lanes = lanes_of(rows.number)
        for k, row in enumerate(cgutils.unpack_tuple(builder, ids)):
            # One pair at a time, and q is loaded again although the dot product has just read it:
            # all rows p and q together would not fit the registers, and q is still in the cache.
            shrink_p = shuffled(builder, shrinks, None, [k] * n_lanes)
            shrink_q = shuffled(builder, shrinks, None, [rows.n_rows + k] * n_lanes)
            step_p = shuffled(builder, steps, None, [k] * n_lanes)
            step_q = shuffled(builder, steps, None, [rows.n_rows + k] * n_lanes)
            for n in range(rows.n_vectors):
                p = p_vectors[k][n]
                q = load_vector(context, builder, table, matrix, row, row.type(n), n_lanes)
                shrunk_q = builder.fmul(shrink_q, q, flags=FLAGS)
                new_q = added(builder, [shrunk_q, builder.fmul(step_q, p, flags=FLAGS)])
                shrunk_p = builder.fmul(shrink_p, p, flags=FLAGS)
                new_p = added(builder, [shrunk_p, builder.fmul(step_p, q, flags=FLAGS)])
                store_vector(context, builder, table, matrix, row, row.type(n), new_q)
                result = builder.insert_value(result, new_p, [k, n])
        return result

    return rows(rows, table, opposites, shrink, step), generate
