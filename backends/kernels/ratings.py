"""Ratings as the kernels hold them: records of an opposite row's id and a target, side by side as they are needed.

Several ratings may be taken at a time, one of each of some runs: where the runs start is a tuple, and ``n`` is how far
behind that the ratings are. Nothing here checks an index, and none counts from the end.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import DTypeLike

from .simd import WORD, Vector, operation, request

LOOK_AHEAD = 16  # ratings of row 0 that must lie behind the last, since kernels read ahead what they will need soon


def ratings_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the type of ratings grouped by row."""
    return np.dtype([("other", np.int32), ("target", dtype)])


def keyed_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    """Return the type of ratings that still say whose they are."""
    return np.dtype([("key", np.int32), ("other", np.int32), ("target", dtype)])


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
        value = ir.Constant(context.get_value_type(result), ir.Undefined)
        for k, target in enumerate(_fields(context, builder, ratings, arguments, "target")):
            value = builder.insert_element(value, target, WORD(k))
        return value

    return result(ratings, types.UniTuple(types.int64, len(starts)), types.uint64), generate


@operation
def prefetch_rating(typing: Any, ratings: Any, n: Any) -> Any:
    """Ask for the place of a rating that will soon be written; it may lie behind the last."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, place = arguments
        request(builder, _byte(context, builder, ratings, value, place, "other"), to_write=True)
        return context.get_dummy_value()

    return types.void(ratings, types.uint64), generate
