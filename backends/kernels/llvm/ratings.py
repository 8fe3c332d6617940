"""Reading ratings in kernels: records of an opposite row, a target and perhaps a weight.

A kernel reads one or several streams of ratings side by side. ``stream_starts`` is a tuple of where
each stream starts in the array, and ``n`` the position in all of them: the ratings read are
ratings[start + n] for each start. Vectors have a lane per stream.

Whether ratings have weights is part of their type. Where they have none, the operations on weights
emit no code.

Nothing here checks an index, and negative ones do not count from the end.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .vectors import FLAGS, WORD, Vector, filled, operation, request


def is_weighted(ratings: Any) -> bool:
    """Return whether ratings of this numba type, arrays of records, have weights."""
    return "weight" in ratings.dtype.fields


def _address(context: Any, builder: Any, ratings: Any, value: Any, n: Any, field: str) -> Any:
    """Return a pointer, to bytes, to a field of the n-th rating."""
    rating = builder.gep(context.make_array(ratings)(context, builder, value).data, [n])
    first_byte = builder.bitcast(rating, ir.IntType(8).as_pointer())
    return builder.gep(first_byte, [WORD(ratings.dtype.offset(field))])


def _fields(context: Any, builder: Any, ratings: Any, arguments: Any, field: str) -> list[Any]:
    """Load a field of one rating per stream; ``arguments`` are (ratings, stream_starts, n)."""
    value, starts, n = arguments
    kind = context.get_value_type(ratings.dtype.typeof(field)).as_pointer()
    positions = [builder.add(start, n) for start in cgutils.unpack_tuple(builder, starts)]
    # All addresses before all loads: LLVM mostly keeps the order, and the loads then overlap.
    pointers = [_address(context, builder, ratings, value, place, field) for place in positions]
    # Records are packed: a float64 behind an int32 is aligned to 4 bytes only.
    return [builder.load(builder.bitcast(pointer, kind), align=4) for pointer in pointers]


def _vector(builder: Any, kind: Any, numbers: list[Any]) -> Any:
    """Return a vector of the given type with the given numbers as its lanes."""
    vector = ir.Constant(kind, ir.Undefined)
    for k, number in enumerate(numbers):
        vector = builder.insert_element(vector, number, WORD(k))
    return vector


@operation
def opposites_at(typing: Any, ratings: Any, stream_starts: Any, n: Any) -> Any:
    """Return the opposite row of one rating per stream, as a tuple of int64."""
    longs = types.UniTuple(types.int64, len(stream_starts))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        loaded = _fields(context, builder, ratings, arguments, "opposite")
        # Rows are never negative, and extending by zeros is free on x86 and ARM.
        rows = [builder.zext(row, ir.IntType(64)) for row in loaded]
        return context.make_tuple(builder, longs, rows)

    return longs(ratings, longs, types.uint64), generate


@operation
def targets_at(typing: Any, ratings: Any, stream_starts: Any, n: Any) -> Any:
    """Return the target of one rating per stream, as a vector."""
    result = Vector(ratings.dtype.typeof("target"), len(stream_starts))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        targets = _fields(context, builder, ratings, arguments, "target")
        return _vector(builder, context.get_value_type(result), targets)

    starts = types.UniTuple(types.int64, len(stream_starts))
    return result(ratings, starts, types.uint64), generate


@operation
def times_weights(typing: Any, values: Any, ratings: Any, stream_starts: Any, n: Any) -> Any:
    """Return ``values``, one lane per stream, times the ratings' weights if they have any.

    With a single stream ``values`` may be a number instead of a vector.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, *where = arguments
        if not is_weighted(ratings):
            return value
        weights = _fields(context, builder, ratings, where, "weight")
        if not isinstance(values, Vector):
            return builder.fmul(value, weights[0], flags=FLAGS)
        return builder.fmul(value, _vector(builder, value.type, weights), flags=FLAGS)

    starts = types.UniTuple(types.int64, len(stream_starts))
    return values(values, ratings, starts, types.uint64), generate


@operation
def by_importance(
    typing: Any,
    values: Any,
    effect: Any,
    ratings: Any,
    stream_starts: Any,
    n: Any,
) -> Any:
    """Return values * w / (1 + max(w - 1, 0) * effect), w the ratings' weights if they have any.

    ``values`` and ``effect`` have two lanes per stream: one for each user, then one for each item.
    See `sgd.plain_step` for what this does.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, effects, *where = arguments
        if not is_weighted(ratings):
            return value
        loaded = _fields(context, builder, ratings, where, "weight")
        # Once for the lanes of the users, and once for those of the items.
        weights = _vector(builder, value.type, [*loaded, *loaded])
        ones = filled(builder, ir.Constant(value.type.element, 1.0), values.lanes)
        zeros = filled(builder, ir.Constant(value.type.element, 0.0), values.lanes)
        # max(w - 1, 0): the formula shortens the steps of weights above 1 only.
        excess = builder.fsub(weights, ones, flags=FLAGS)
        excess = builder.select(builder.fcmp_ordered(">", excess, zeros), excess, zeros)
        divisor = builder.fadd(ones, builder.fmul(excess, effects, flags=FLAGS), flags=FLAGS)
        return builder.fmul(value, builder.fdiv(weights, divisor, flags=FLAGS), flags=FLAGS)

    starts = types.UniTuple(types.int64, len(stream_starts))
    return values(values, effect, ratings, starts, types.uint64), generate


@operation
def copy_weight(typing: Any, ratings: Any, to: Any, source: Any, at: Any, scale: Any) -> Any:
    """Set the weight of ratings[to], if ratings have weights.

    ``source`` is an array of weights in float64, and the weight becomes source[at] * scale; or it
    is another array of ratings, and the weight of source[at] is copied as it is.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if is_weighted(ratings):
            value, to_index, source_value, source_index, factor = arguments
            number = ratings.dtype.typeof("weight")
            kind = context.get_value_type(number).as_pointer()
            # Decided by the type of `source` when the kernel is compiled: one branch is emitted.
            if isinstance(source.dtype, types.Record):
                byte = _address(context, builder, source, source_value, source_index, "weight")
                weight = builder.load(builder.bitcast(byte, kind), align=4)
            else:
                weights = context.make_array(source)(context, builder, source_value).data
                given = builder.load(builder.gep(weights, [source_index]))
                scaled = builder.fmul(given, factor)
                weight = context.cast(builder, scaled, types.float64, number)
            byte = _address(context, builder, ratings, value, to_index, "weight")
            builder.store(weight, builder.bitcast(byte, kind), align=4)
        return context.get_dummy_value()

    return types.void(ratings, types.uint64, source, types.uint64, types.float64), generate


@operation
def prefetch_rating(typing: Any, ratings: Any, n: Any) -> Any:
    """Prefetch the place of a rating that will be written; it may lie beyond the end."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, index = arguments
        address = _address(context, builder, ratings, value, index, "opposite")
        request(builder, address, to_write=True)
        return context.get_dummy_value()

    return types.void(ratings, types.uint64), generate
