"""SIMD vectors as a numba type, with the few operations that the kernels are made of.

numba leaves vectorising to LLVM, which cannot know that a user's row and an item's row do not
overlap in memory, and so checks for it, or gives up, at every rating. Here the kernel says what is
a vector, and LLVM maps it to whatever registers the machine has: 16 float32 lanes are one AVX-512
register, two of AVX, or four of NEON.

Two vectors of one type, and a vector and a number of its precision, are added, subtracted,
multiplied and divided by the usual operators.
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

FLAGS = tuple(sorted(FASTMATH))  # of every arithmetic instruction; numba sets them on its own only
WORD = ir.IntType(32)  # the type of lane numbers in IR


class Vector(types.Type):
    """``lanes`` numbers of one type, as the IR vector <lanes x number>."""

    def __init__(self, number: Any, lanes: int) -> None:
        self.number, self.lanes = number, lanes
        # numba compares types by name, so the name must contain everything that tells them apart.
        super().__init__(name=f"Vector({number}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    """Tells numba how a `Vector` is represented in IR."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        kind = ir.VectorType(manager.lookup(vector.number).get_value_type(), vector.lanes)
        super().__init__(manager, vector, kind)  # type: ignore[no-untyped-call]  # untyped


# The typing function of each operation, by its `id`: `traced` calls them without numba.
OPERATIONS: dict[int, Callable[..., Any]] = {}


def operation(function: Callable[..., Any]) -> Any:
    """Make an operation of a typing function; see the docstring of this package.

    The result is annotated as Any, since it does not have the signature of ``function``.
    """
    made = intrinsic(function)
    OPERATIONS[id(made)] = function
    return made


# ---- IR that several operations emit -----------------------------------------------------------


def shuffled(builder: Any, left: Any, right: Any, lanes: Sequence[int]) -> Any:
    """Pick lanes of two vectors of one type into a new vector, in the given order.

    Lanes of ``left`` are numbered from 0 and those of ``right`` follow. ``right`` may be None.
    """
    right = ir.Constant(left.type, ir.Undefined) if right is None else right
    return builder.shuffle_vector(
        left,
        right,
        ir.Constant(ir.VectorType(WORD, len(lanes)), list(lanes)),
    )


def filled(builder: Any, number: Any, n_lanes: int) -> Any:
    """Return a vector with one number in every lane."""
    single = ir.Constant(ir.VectorType(number.type, 1), ir.Undefined)
    return shuffled(builder, builder.insert_element(single, number, WORD(0)), None, [0] * n_lanes)


def added(builder: Any, terms: Sequence[Any]) -> Any:
    """Add up vectors or numbers, in pairs: additions of one level do not wait for each other."""
    terms = list(terms)
    while len(terms) > 1:
        pairs = [terms[k : k + 2] for k in range(0, len(terms), 2)]
        terms = [builder.fadd(*pair, flags=FLAGS) if len(pair) == 2 else pair[0] for pair in pairs]
    return terms[0]


def totals(builder: Any, vectors: Sequence[Any]) -> Any:
    """Return a vector whose k-th lane is the sum of the lanes of the k-th of 1, 2 or 4 vectors.

    Summing each vector alone takes log2(lanes) shuffles and additions per vector. Here two vectors
    are merged into one, by adding half of the lanes of each to the other half, so that every
    addition works on full vectors::

        (a0 a1 a2 a3), (b0 b1 b2 b3)  ->  (a0+a2  b0+b2  a1+a3  b1+b3)
    """
    sums, n_lanes = list(vectors), vectors[0].type.count
    # On x86 a shuffle within 128 bits takes one cycle, one across them three. So lanes are
    # exchanged within blocks of 128 bits for as long as that is possible.
    lanes_in_128_bits = 2 if isinstance(vectors[0].type.element, ir.DoubleType) else 4
    # Each vector of `sums` holds partial sums of `run` of the given vectors, in turn, over and
    # over: (a b a b ...) for run = 2.
    run = 1
    while len(sums) > 1:
        block = max(2 * run, lanes_in_128_bits)
        # `lower` picks the first half of each block of both vectors, and `upper` the second half.
        # Runs of the two vectors alternate: (a b a b) and (c d c d) become (a b c d).
        lower = [
            start + vector + lane
            for start in range(0, n_lanes, block)
            for place in range(0, block // 2, run)
            for vector in (0, n_lanes)
            for lane in range(place, place + run)
        ]
        upper = [lane + block // 2 for lane in lower]
        sums = [
            added(builder, [shuffled(builder, left, right, lanes) for lanes in (lower, upper)])
            for left, right in zip(sums[::2], sums[1::2], strict=True)
        ]
        run *= 2
    (result,) = sums
    # One vector is left. Its two halves hold partial sums of the same vectors in the same order.
    while result.type.count > len(vectors):
        half = result.type.count // 2
        halves = [shuffled(builder, result, None, range(at, at + half)) for at in (0, half)]
        result = added(builder, halves)
    return result


def request(builder: Any, place: Any, *, to_write: bool) -> None:
    """Prefetch the cache line at an address."""
    byte = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, WORD, WORD, WORD])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    read_or_write, all_cache_levels, data = WORD(int(to_write)), WORD(3), WORD(1)
    address = builder.bitcast(place, byte)
    builder.call(function, [address, read_or_write, all_cache_levels, data])


# ---- operations --------------------------------------------------------------------------------


def arithmetic(builder: Any, instruction: str, kinds: Any, values: Any) -> Any:
    """Emit arithmetic of two vectors, of two numbers, or of a vector and a number."""
    lanes = max(getattr(kind, "lanes", 0) for kind in kinds)
    left, right = (
        filled(builder, value, lanes) if lanes and not isinstance(kind, Vector) else value
        for kind, value in zip(kinds, values, strict=True)
    )
    return getattr(builder, instruction)(left, right, flags=FLAGS)


def _define(symbol: Callable[..., Any], instruction: str) -> None:
    """Define an operator between two vectors, and between a vector and a number."""

    @type_callable(symbol)
    def typing(context: Any) -> Any:
        def result(left: Any, right: Any) -> Any:
            vectors = [kind for kind in (left, right) if isinstance(kind, Vector)]
            numbers = {kind.number if isinstance(kind, Vector) else kind for kind in (left, right)}
            # None means that this operator is not for these types. A number of another precision is
            # refused rather than converted, since it would silently widen the arithmetic.
            if vectors and len(numbers) == 1 and len(set(vectors)) == 1:
                return vectors[0]
            return None

        return result

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arithmetic(builder, instruction, signature.args, arguments)

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
def times_or_zero(typing: Any, factor: Any, vector: Any) -> Any:
    """Return factor times the vector, and zeros for the factor 0 even where a lane is no number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, value = arguments
        product = builder.fmul(filled(builder, number, vector.lanes), value, flags=FLAGS)
        is_zero = builder.fcmp_ordered("==", number, number.type(0))
        return builder.select(is_zero, ir.Constant(value.type, None), product)

    return vector(vector.number, vector), generate


@operation
def square_root(typing: Any, value: Any) -> Any:
    """Return the square root of a number, or of each lane of a vector."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[0].type
        if isinstance(value, Vector):
            name = f"v{value.lanes}f{value.number.bitwidth}"  # such as v8f32
        else:
            name = f"f{value.bitwidth}"
        sqrt_type = ir.FunctionType(kind, [kind])
        function = cgutils.get_or_insert_function(builder.module, sqrt_type, f"llvm.sqrt.{name}")
        return builder.call(function, arguments)

    return value(value), generate


@operation
def clipped(typing: Any, vector: Any, limit: Any) -> Any:
    """Return each lane clipped to [-limit, limit]. NaN stays NaN, so that divergence is seen."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, number = arguments
        for bound, beyond in ((number, ">"), (builder.fneg(number), "<")):
            bounds = filled(builder, bound, vector.lanes)
            # An ordered comparison is false for NaN, which so is never replaced by the bound.
            outside = builder.fcmp_ordered(beyond, value, bounds)
            value = builder.select(outside, bounds, value)
        return value

    return vector(vector, vector.number), generate


@operation
def total(typing: Any, vector: Any) -> Any:
    """Return the sum of all lanes, a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.extract_element(totals(builder, arguments), WORD(0))

    return vector.number(vector), generate


def _lane_numbers(n_lanes: int) -> Any:
    """Return the vector (0 1 2 ...)."""
    return ir.Constant(ir.VectorType(ir.IntType(64), n_lanes), list(range(n_lanes)))


@operation
def after_lane(typing: Any, vector: Any, lane: Any) -> Any:
    """Return the vector with zeros in all lanes up to a lane, that one included."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, number = arguments
        numbers = _lane_numbers(vector.lanes)
        after = builder.icmp_signed(">", numbers, filled(builder, number, vector.lanes))
        return builder.select(after, value, ir.Constant(value.type, None))

    return vector(vector, types.int64), generate


@operation
def with_lane(typing: Any, vector: Any, lane: Any, number: Any) -> Any:
    """Return the vector with another number in one lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, lane, number = arguments
        numbers = _lane_numbers(vector.lanes)
        at_lane = builder.icmp_signed("==", numbers, filled(builder, lane, vector.lanes))
        return builder.select(at_lane, filled(builder, number, vector.lanes), value)

    return vector(vector, types.int64, vector.number), generate


@operation
def joined(typing: Any, left: Any, right: Any) -> Any:
    """Concatenate two vectors of one type: (l0 l1), (r0 r1) to (l0 l1 r0 r1)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return shuffled(builder, arguments[0], arguments[1], range(2 * left.lanes))

    return Vector(left.number, 2 * left.lanes)(left, right), generate


@operation
def exchanged(typing: Any, vector: Any) -> Any:
    """Exchange the halves of a vector: (a b c d) to (c d a b)."""
    half = vector.lanes // 2

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return shuffled(builder, arguments[0], None, [*range(half, 2 * half), *range(half)])

    return vector(vector), generate


@operation
def align_stack(typing: Any) -> Any:
    """Align the stack of the kernel that calls this to cache lines.

    Vectors that do not fit registers are kept on the stack. Whether one straddles two cache lines
    would otherwise depend on where the stack happens to start: some fits would take a tenth longer.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        attributes = builder.function.attributes
        # llvmlite prints no alignment unless there is another attribute. This one is true of all
        # kernels: numba's exceptions are return codes and do not unwind the stack.
        attributes.add("nounwind")
        attributes.alignstack = LINE
        return context.get_dummy_value()

    return types.void(), generate
