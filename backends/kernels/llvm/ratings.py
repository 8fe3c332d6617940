"""Ratings as the kernels hold them: records of an opposite row's id and a target, side by side as they are needed.

Several ratings may be taken at a time, one of each of some runs: where the runs start is a tuple, and ``n`` is how far
behind that the ratings are. Nothing here checks an index, and none counts from the end.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .vectors import FLAGS, WORD, Vector, filled, operation, request


def is_weighted(ratings: Any) -> bool:
    """Whether ratings of this numba type, arrays of records, have weights."""
    return "weight" in ratings.dtype.fields


def _byte(context: Any, builder: Any, ratings: Any, value: Any, n: Any, field: str) -> Any:
    """Point to a field of the n-th rating."""
    rating = builder.gep(context.make_array(ratings)(context, builder, value).data, [n])
    return builder.gep(builder.bitcast(rating, ir.IntType(8).as_pointer()), [WORD(ratings.dtype.offset(field))])


def _fields(context: Any, builder: Any, ratings: Any, arguments: Any, field: str) -> list[Any]:
    """Load a field of some ratings, for arguments (ratings, starts, n)."""
    value, starts, n = arguments
    kind = context.get_value_type(ratings.dtype.typeof(field)).as_pointer()
    places = [builder.add(start, n) for start in cgutils.unpack_tuple(builder, starts)]
    pointers = [_byte(context, builder, ratings, value, place, field) for place in places]
    return [builder.load(builder.bitcast(pointer, kind), align=4) for pointer in pointers]


def _vector(builder: Any, kind: Any, numbers: list[Any]) -> Any:
    """Make a vector of as many numbers as it has lanes."""
    vector = ir.Constant(kind, ir.Undefined)
    for k, number in enumerate(numbers):
        vector = builder.insert_element(vector, number, WORD(k))
    return vector


@operation
def others_at(typing: Any, ratings: Any, starts: Any, n: Any) -> Any:
    """Return the opposite rows of some ratings, as a tuple of int64."""
    longs = types.UniTuple(types.int64, len(starts))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        each = _fields(context, builder, ratings, arguments, "other")
        return context.make_tuple(builder, longs, [builder.zext(other, ir.IntType(64)) for other in each])

    return longs(ratings, longs, types.uint64), generate


@operation
def targets_at(typing: Any, ratings: Any, starts: Any, n: Any) -> Any:
    """Return the targets of some ratings, as a vector."""
    result = Vector(ratings.dtype.typeof("target"), len(starts))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        each = _fields(context, builder, ratings, arguments, "target")
        return _vector(builder, context.get_value_type(result), each)

    return result(ratings, types.UniTuple(types.int64, len(starts)), types.uint64), generate


@operation
def times_weights(typing: Any, vector: Any, ratings: Any, starts: Any, n: Any) -> Any:
    """Return a vector with one number per rating, times the ratings' weights; as it is where all weigh 1.

    Of a single rating it may be a number. Whether ratings have weights is known when a kernel is compiled: those that
    have none cost nothing here.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, *where = arguments
        if not is_weighted(ratings):
            return value
        each = _fields(context, builder, ratings, where, "weight")
        if not isinstance(vector, Vector):
            return builder.fmul(value, each[0], flags=FLAGS)
        return builder.fmul(value, _vector(builder, value.type, each), flags=FLAGS)

    return vector(vector, ratings, types.UniTuple(types.int64, len(starts)), types.uint64), generate


@operation
def by_importance(typing: Any, vector: Any, effect: Any, ratings: Any, starts: Any, n: Any) -> Any:
    """Return ``vector`` times w / (1 + max(w - 1, 0) effect), w the weight of each rating; as it is without weights.

    The vectors hold two numbers per rating: first of all ratings one, then of all the other.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, effects, *where = arguments
        if not is_weighted(ratings):
            return value
        weights = _vector(builder, value.type, _fields(context, builder, ratings, where, "weight") * 2)
        one, zero = (filled(builder, ir.Constant(value.type.element, x), vector.lanes) for x in (1.0, 0.0))
        excess = builder.fsub(weights, one, flags=FLAGS)
        excess = builder.select(builder.fcmp_ordered(">", excess, zero), excess, zero)
        divisor = builder.fadd(one, builder.fmul(excess, effects, flags=FLAGS), flags=FLAGS)
        return builder.fmul(value, builder.fdiv(weights, divisor, flags=FLAGS), flags=FLAGS)

    return vector(vector, effect, ratings, types.UniTuple(types.int64, len(starts)), types.uint64), generate


@operation
def copy_weight(typing: Any, ratings: Any, to: Any, source: Any, at: Any, scale: Any) -> Any:
    """Give the rating at ``to`` the weight of another one times ``scale``, where ratings have weights.

    ``source`` is an array of weights, in float64, or of ratings.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if is_weighted(ratings):
            value, place, others, other, factor = arguments
            number = ratings.dtype.typeof("weight")
            kind = context.get_value_type(number).as_pointer()
            if isinstance(source.dtype, types.Record):
                byte = _byte(context, builder, source, others, other, "weight")
                weight = builder.load(builder.bitcast(byte, kind), align=4)
            else:
                place_of = builder.gep(context.make_array(source)(context, builder, others).data, [other])
                scaled = builder.fmul(builder.load(place_of), factor)
                weight = context.cast(builder, scaled, types.float64, number)
            byte = _byte(context, builder, ratings, value, place, "weight")
            builder.store(weight, builder.bitcast(byte, kind), align=4)
        return context.get_dummy_value()

    return types.void(ratings, types.uint64, source, types.uint64, types.float64), generate


@operation
def prefetch_rating(typing: Any, ratings: Any, n: Any) -> Any:
    """Ask for the place of a rating that will soon be written; it may lie behind the last."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, place = arguments
        request(builder, _byte(context, builder, ratings, value, place, "other"), to_write=True)
        return context.get_dummy_value()

    return types.void(ratings, types.uint64), generate
