"""Vectors of numbers as a type of numba's, with the few operations that the kernels are made of.

numba leaves vectorising to LLVM, which cannot know that a user's row and an item's row lie apart, and so checks or
gives up at every rating. Here the kernel says what is a vector; LLVM turns it into whatever registers the machine has.

Vectors of one type, and vectors and numbers of one precision, are added, subtracted, multiplied and divided by the
usual operators.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from backends.kernels._jit import FASTMATH
from backends.kernels.layout import LINE

FLAGS = tuple(sorted(FASTMATH))
WORD = ir.IntType(32)


class Vector(types.Type):
    """Some numbers of one type, side by side in registers."""

    def __init__(self, number: Any, lanes: int) -> None:
        self.number, self.lanes = number, lanes
        super().__init__(name=f"Vector({number}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        kind = ir.VectorType(manager.lookup(vector.number).get_value_type(), vector.lanes)
        super().__init__(manager, vector, kind)  # type: ignore[no-untyped-call]  # numba ships no types


def operation(function: Callable[..., Any]) -> Any:
    """Make a numba intrinsic; typed here, since numba gives it the signature of its typing function."""
    return intrinsic(function)


# ---- what makes the code of an operation -----------------------------------------------------------------------------


def shuffled(builder: Any, one: Any, other: Any, lanes: Sequence[int]) -> Any:
    """Pick lanes of two vectors of one type, numbered through, or of one vector and None."""
    other = ir.Constant(one.type, ir.Undefined) if other is None else other
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(WORD, len(lanes)), list(lanes)))


def filled(builder: Any, number: Any, n_lanes: int) -> Any:
    """Make a vector of one number."""
    one = ir.Constant(ir.VectorType(number.type, 1), ir.Undefined)
    return shuffled(builder, builder.insert_element(one, number, WORD(0)), None, [0] * n_lanes)


def added(builder: Any, terms: Sequence[Any]) -> Any:
    """Add up vectors or numbers, in pairs."""
    terms = list(terms)
    while len(terms) > 1:
        pairs = [terms[k : k + 2] for k in range(0, len(terms), 2)]
        terms = [builder.fadd(*pair, flags=FLAGS) if len(pair) == 2 else pair[0] for pair in pairs]
    return terms[0]


def totals(builder: Any, vectors: Sequence[Any]) -> Any:
    """Return the sums of 1, 2 or 4 vectors as the lanes of one."""
    sums, n_lanes = list(vectors), vectors[0].type.count
    n_cheap = 2 if isinstance(vectors[0].type.element, ir.DoubleType) else 4  # lanes of 128 bits: cheap to shuffle
    run = 1  # lanes with parts of one sum each; a vector is such a run again and again
    while len(sums) > 1:
        # Two vectors become one, of their runs in turn: the first half of each block, and the second, are added up.
        block = max(2 * run, n_cheap)
        lower = [
            start + vector + lane
            for start in range(0, n_lanes, block)
            for place in range(0, block // 2, run)
            for vector in (0, n_lanes)
            for lane in range(place, place + run)
        ]
        upper = [lane + block // 2 for lane in lower]
        sums = [
            added(builder, [shuffled(builder, one, other, lanes) for lanes in (lower, upper)])
            for one, other in zip(sums[::2], sums[1::2], strict=True)
        ]
        run *= 2
    (result,) = sums
    while result.type.count > len(vectors):
        half = result.type.count // 2
        result = added(builder, [shuffled(builder, result, None, range(at, at + half)) for at in (0, half)])
    return result


def request(builder: Any, place: Any, *, to_write: bool) -> None:
    """Ask for the cache line of a place that will be needed soon."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, WORD, WORD, WORD])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    # To be kept in all caches; data.
    builder.call(function, [builder.bitcast(place, byte), WORD(int(to_write)), WORD(3), WORD(1)])


# ---- operations ------------------------------------------------------------------------------------------------------


def _define(symbol: Callable[..., Any], instruction: str) -> None:
    """Define an operator between vectors, and between a vector and a number."""

    @type_callable(symbol)
    def typing(context: Any) -> Any:
        def result(one: Any, other: Any) -> Any:
            vectors = [kind for kind in (one, other) if isinstance(kind, Vector)]
            numbers = {kind.number if isinstance(kind, Vector) else kind for kind in (one, other)}
            return vectors[0] if vectors and len(numbers) == 1 and len(set(vectors)) == 1 else None

        return result

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        both = [
            value if isinstance(kind, Vector) else filled(builder, value, signature.return_type.lanes)
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        return getattr(builder, instruction)(*both, flags=FLAGS)

    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(symbol, *kinds)(generate)


_define(operator.add, "fadd")
_define(operator.sub, "fsub")
_define(operator.mul, "fmul")
_define(operator.truediv, "fdiv")


@operation
def zeros_like(typing: Any, vector: Any) -> Any:
    """Return a vector of zeros of the same type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(arguments[0].type, None)

    return vector(vector), generate


@operation
def square_root(typing: Any, vector: Any) -> Any:
    """Return the square root of each number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        name = f"llvm.sqrt.v{kind.count}f{vector.number.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name)
        return builder.call(function, arguments)

    return vector(vector), generate


@operation
def clipped(typing: Any, vector: Any, limit: Any) -> Any:
    """Return each number, but none over the limit, and none under its negative."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, number = arguments
        for bound, beyond in ((number, ">"), (builder.fneg(number), "<")):
            bounds = filled(builder, bound, vector.lanes)
            value = builder.select(builder.fcmp_ordered(beyond, value, bounds), bounds, value)
        return value

    return vector(vector, vector.number), generate


@operation
def total(typing: Any, vector: Any) -> Any:
    """Add up the numbers of a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(totals(builder, arguments), WORD(0))

    return vector.number(vector), generate


@operation
def joined(typing: Any, one: Any, other: Any) -> Any:
    """Put two vectors of one type behind each other."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return shuffled(builder, arguments[0], arguments[1], range(2 * one.lanes))

    return Vector(one.number, 2 * one.lanes)(one, other), generate


@operation
def exchanged(typing: Any, vector: Any) -> Any:
    """Exchange the halves of a vector."""
    half = vector.lanes // 2

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return shuffled(builder, arguments[0], None, [*range(half, 2 * half), *range(half)])

    return vector(vector), generate


@operation
def align_stack(typing: Any) -> Any:
    """Have the kernel that calls this keep vectors that do not fit the registers where none straddles two cache lines.

    Whether they did would otherwise hang on where the stack happens to lie: some fits would take a tenth longer.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        attributes = builder.function.attributes
        attributes.add("nounwind")  # true of all kernels; llvmlite leaves the alignment out if there is nothing else
        attributes.alignstack = LINE
        return context.get_dummy_value()

    return types.void(), generate
