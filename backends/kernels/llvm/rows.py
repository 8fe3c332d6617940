"""Whole rows of tables, in registers as far as there are enough.

Several rows may be handled at a time, as `tables` says; one number of each then makes a vector.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from .tables import lanes_of, load_vector, store_vector
from .vectors import FLAGS, Vector, added, filled, operation, shuffled, totals

_SUMS = 2  # of a dot product that are added up apart, so that they do not wait for each other


class Rows(types.Type):
    """Some rows of a table, whole; in registers, as far as there are enough."""

    def __init__(self, number: Any, n_rows: int, n_parts: int) -> None:
        self.number, self.n_rows, self.n_parts = number, n_rows, n_parts
        super().__init__(name=f"Rows({number}, {n_rows}, {n_parts})")


@register_model(Rows)
class _RowsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, rows: Rows) -> None:
        vector = ir.VectorType(manager.lookup(rows.number).get_value_type(), lanes_of(rows.number))
        kind = ir.ArrayType(ir.ArrayType(vector, rows.n_parts), rows.n_rows)
        super().__init__(manager, rows, kind)  # type: ignore[no-untyped-call]  # numba ships no types


def _loaded(context: Any, builder: Any, rows: Rows, table: Any, array: Any, ids: Any) -> list[list[Any]]:
    """As many rows of a table as there are in ``rows``, each as its vectors."""
    return [
        [
            load_vector(context, builder, table, array, row, row.type(part), lanes_of(rows.number))
            for part in range(rows.n_parts)
        ]
        for row in cgutils.unpack_tuple(builder, ids)
    ]


@operation
def load_rows(typing: Any, table: Any, rows: Any, parts: Any) -> Any:
    """Return rows of a table."""
    result = Rows(table.dtype, len(rows), len(parts))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = ir.Constant(context.get_value_type(result), ir.Undefined)
        for k, vectors in enumerate(_loaded(context, builder, result, table, arguments[0], arguments[1])):
            for part, vector in enumerate(vectors):
                value = builder.insert_value(value, vector, [k, part])
        return value

    return result(table, rows, parts), generate


@operation
def store_rows(typing: Any, table: Any, rows: Any, values: Any) -> Any:
    """Write rows of a table."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        for k, row in enumerate(cgutils.unpack_tuple(builder, arguments[1])):
            for part in range(values.n_parts):
                vector = builder.extract_value(arguments[2], [k, part])
                store_vector(context, builder, table, arguments[0], row, row.type(part), vector)
        return context.get_dummy_value()

    return types.void(table, rows, values), generate


def _dots(builder: Any, ones: list[list[Any]], others: list[list[Any]]) -> Any:
    """Dot products of rows with rows, each given as its vectors, as the lanes of a vector."""
    sums = []
    for one, other in zip(ones, others, strict=True):
        products = [builder.fmul(*pair, flags=FLAGS) for pair in zip(one, other, strict=True)]
        chains = products[:_SUMS]
        for part, product in enumerate(products[_SUMS:]):
            chains[part % _SUMS] = builder.fadd(chains[part % _SUMS], product, flags=FLAGS)
        sums.append(added(builder, chains))
    return totals(builder, sums)


def _vectors(builder: Any, rows: Rows, value: Any) -> list[list[Any]]:
    return [[builder.extract_value(value, [k, part]) for part in range(rows.n_parts)] for k in range(rows.n_rows)]


@operation
def with_norms(typing: Any, columns: Any, rows: Any) -> Any:
    """Return the columns with the last replaced by the dot product of each row with itself."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _vectors(builder, rows, arguments[1])
        each = [*cgutils.unpack_tuple(builder, arguments[0])[:-1], _dots(builder, vectors, vectors)]
        return context.make_tuple(builder, signature.return_type, each)

    return columns(columns, rows), generate


@operation
def dots(typing: Any, rows: Any, table: Any, opposites: Any) -> Any:
    """Return the dot product of each row with an opposite one, which lies in a table, as a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        theirs = _loaded(context, builder, rows, table, arguments[1], arguments[2])
        return _dots(builder, _vectors(builder, rows, arguments[0]), theirs)

    return Vector(rows.number, rows.n_rows)(rows, table, opposites), generate


@operation
def zero_row(typing: Any, table: Any, parts: Any) -> Any:
    """Return a row of zeros."""
    row = Rows(table.dtype, 1, len(parts))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(row), None)

    return row(table, parts), generate


@operation
def plus_opposite(typing: Any, row: Any, factor: Any, table: Any, opposite: Any) -> Any:
    """Return a row plus ``factor`` times an opposite one, which lies in a table."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        result, factor, matrix, at = arguments
        factors = filled(builder, factor, lanes_of(row.number))
        for part, vector in enumerate(_loaded(context, builder, row, table, matrix, at)[0]):
            product = builder.fmul(factors, vector, flags=FLAGS)
            total = builder.fadd(builder.extract_value(result, [0, part]), product, flags=FLAGS)
            result = builder.insert_value(result, total, [0, part])
        return result

    return row(row, factor, table, opposite), generate


@operation
def add_to_opposite(typing: Any, table: Any, opposite: Any, factor: Any, row: Any) -> Any:
    """Add ``factor`` times a row to an opposite one, which lies in a table."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix, at, factor, value = arguments
        (place,) = cgutils.unpack_tuple(builder, at)
        factors = filled(builder, factor, lanes_of(row.number))
        for part, vector in enumerate(_loaded(context, builder, row, table, matrix, at)[0]):
            product = builder.fmul(factors, builder.extract_value(value, [0, part]), flags=FLAGS)
            after = builder.fadd(vector, product, flags=FLAGS)
            store_vector(context, builder, table, matrix, place, place.type(part), after)
        return context.get_dummy_value()

    return types.void(table, opposite, factor, row), generate


@operation
def mixed(typing: Any, rows: Any, table: Any, opposites: Any, keep: Any, take: Any) -> Any:
    """Replace each row p and its opposite q by ``keep`` p + ``take`` q and ``keep`` q + ``take`` p; return the rows.

    ``keep`` and ``take`` are vectors: for each row, then for each opposite one.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        result, matrix, ids = arguments[:3]
        mine = _vectors(builder, rows, result)
        for k, row in enumerate(cgutils.unpack_tuple(builder, ids)):
            # All rows would not fit the registers, so the opposite ones are loaded one by one.
            keep_p, keep_q, take_q, take_p = (
                shuffled(builder, steps, None, [lane] * lanes_of(rows.number))
                for steps in arguments[3:]
                for lane in (k, rows.n_rows + k)
            )
            for part in range(rows.n_parts):
                p = mine[k][part]
                q = load_vector(context, builder, table, matrix, row, row.type(part), lanes_of(rows.number))
                new_q = added(builder, [builder.fmul(keep_q, q, flags=FLAGS), builder.fmul(take_p, p, flags=FLAGS)])
                new_p = added(builder, [builder.fmul(keep_p, p, flags=FLAGS), builder.fmul(take_q, q, flags=FLAGS)])
                store_vector(context, builder, table, matrix, row, row.type(part), new_q)
                result = builder.insert_value(result, new_p, [k, part])
        return result

    return rows(rows, table, opposites, keep, take), generate
