"""Straight-line functions of kernels, which are run by Python instead of being compiled by numba.

numba compiles a function in a dozen passes, over several objects per operation. Where there are no
branches and no loops, nothing of that is needed: when the kernel around it is compiled, a `traced`
function is called once, with arguments that stand for its values, and what it does with them is
appended to the kernel as IR. So it costs a fraction of the time to compile, and is part of its
kernel in any case.

The values are of numba's types, and what can be done with them is what the kernels need:

- operations and other traced functions take them;
- numbers and vectors are added, subtracted, multiplied and divided, where a Python number, which
  may only stand on the right, takes the type of the left;
- elements of tuples, by number or name, and of arrays, and fields of elements that are records, are
  read, and but for the tuples also written; indices are not checked, and not negative;
- None is None, so that an ``if`` can tell it from values.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils, utils
from numba.core.registry import cpu_target

from .vectors import OPERATIONS, Vector, arithmetic, operation

_INSTRUCTIONS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}


class Value:
    """A value in a traced function: a numba type and an IR value.

    Where only types are asked for there is no builder, and no IR value.
    """

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self._context, self._builder = context, builder
        self.kind, self.value = types.unliteral(kind), value

    def _like(self, kind: Any, value: Any) -> "Value":
        return Value(self._context, self._builder, kind, value)

    def as_kind(self, kind: Any) -> "Value":
        """Return the value converted to another type."""
        if kind == self.kind or self._builder is None:
            return self._like(kind, self.value)
        value = self._context.cast(self._builder, self.value, self.kind, kind)
        return self._like(kind, value)

    def _arithmetic(self, symbol: str, other: Any) -> "Value":
        if not isinstance(other, Value):
            kind = self.kind.number if isinstance(self.kind, Vector) else self.kind
            other = self._like(kind, self._context.get_constant(kind, other))
        left, right = self, other
        kinds = left.kind, right.kind
        if any(isinstance(kind, Vector) for kind in kinds):
            kind = next(kind for kind in kinds if isinstance(kind, Vector))
        else:
            kind = self._context.typing_context.unify_types(*kinds)
            left, right = left.as_kind(kind), right.as_kind(kind)
        if self._builder is None:
            return self._like(kind, None)
        values, kinds = (left.value, right.value), (left.kind, right.kind)
        if isinstance(kind, types.Integer):
            return self._like(kind, getattr(self._builder, symbol)(*values))
        return self._like(kind, arithmetic(self._builder, _INSTRUCTIONS[symbol], kinds, values))

    def __add__(self, other: Any) -> "Value":
        return self._arithmetic("add", other)

    def __sub__(self, other: Any) -> "Value":
        return self._arithmetic("sub", other)

    def __mul__(self, other: Any) -> "Value":
        return self._arithmetic("mul", other)

    def __truediv__(self, other: Any) -> "Value":
        return self._arithmetic("truediv", other)

    def __getattr__(self, name: str) -> Any:
        fields = getattr(self.kind, "fields", ())
        if name in fields:
            return self[fields.index(name)]
        raise AttributeError(name)

    def __bool__(self) -> bool:
        raise TypeError("a traced function has no if or while on values: they are not known yet")

    def _address(self, index: Any) -> Any:
        """Return a pointer to an element of an array; in a matrix the index is a tuple."""
        if self._builder is None:
            return None
        builder, long = self._builder, ir.IntType(64)
        array = self._context.make_array(self.kind)(self._context, builder, self.value)
        places = [
            part.as_kind(types.uint64).value if isinstance(part, Value) else long(part)
            for part in (index if isinstance(index, tuple) else (index,))
        ]
        if self.kind.layout == "C":
            place = places[0]
            for part, n in zip(
                places[1:], cgutils.unpack_tuple(builder, array.shape)[1:], strict=True
            ):
                place = builder.add(builder.mul(place, n), part)
            return builder.gep(array.data, [place])
        byte = builder.bitcast(array.data, ir.IntType(8).as_pointer())
        for part, stride in zip(places, cgutils.unpack_tuple(builder, array.strides), strict=True):
            byte = builder.gep(byte, [builder.mul(part, stride)])
        return builder.bitcast(byte, array.data.type)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.kind, types.BaseTuple):
            return tuple(self)[index]
        address = self._address(index)
        if isinstance(self.kind.dtype, types.Record):
            return _Record(self, address)
        return self._like(self.kind.dtype, self._builder and self._builder.load(address))

    def __setitem__(self, index: Any, number: "Value") -> None:
        if self._builder is not None:
            self._builder.store(number.as_kind(self.kind.dtype).value, self._address(index))

    def __iter__(self) -> Any:
        values = [None] * len(self.kind)
        if self._builder is not None:
            values = cgutils.unpack_tuple(self._builder, self.value)
        return iter([self._like(*pair) for pair in zip(self.kind, values, strict=True)])


class _Record:
    """An element of an array of records, whose fields are read and written as attributes."""

    def __init__(self, ratings: Value, address: Any) -> None:
        vars(self).update(_ratings=ratings, _address=address)

    def _field(self, name: str) -> tuple[Any, Any]:
        ratings, builder = self._ratings, self._ratings._builder
        kind = ratings.kind.dtype.typeof(name)
        if builder is None:
            return kind, None
        byte = builder.bitcast(self._address, ir.IntType(8).as_pointer())
        byte = builder.gep(byte, [ir.IntType(32)(ratings.kind.dtype.offset(name))])
        return kind, builder.bitcast(byte, ratings._context.get_value_type(kind).as_pointer())

    def __getattr__(self, name: str) -> Value:
        builder, (kind, address) = self._ratings._builder, self._field(name)
        # Records are packed: a float64 behind an int32 is aligned to 4 bytes only.
        return self._ratings._like(kind, builder and builder.load(address, align=4))

    def __setattr__(self, name: str, number: Value) -> None:
        builder, (kind, address) = self._ratings._builder, self._field(name)
        if builder is not None:
            builder.store(number.as_kind(kind).value, address, align=4)


def _packed(context: Any, builder: Any, thing: Any) -> Value:
    """Return a `Value` of what a traced function takes or returns: a value, a tuple, a number."""
    if isinstance(thing, Value):
        return thing
    if isinstance(thing, tuple):
        parts = [_packed(context, builder, part) for part in thing]
        kind = types.BaseTuple.from_types([part.kind for part in parts])
        values = [part.value for part in parts]
        made = builder and context.make_tuple(builder, kind, values)
        return Value(context, builder, kind, made)
    if thing is None:
        return Value(context, builder, types.none, context.get_dummy_value())
    kind = types.float64 if isinstance(thing, float) else types.int64
    return Value(context, builder, kind, context.get_constant(kind, thing))


def _run(function: Any, context: Any, builder: Any, kinds: Any, values: Any) -> Value:
    """Run a traced function; return its result, whose instructions are appended to the kernel."""

    def calling(definition: Callable[..., Any]) -> Callable[..., Value]:
        def call(*arguments: Any) -> Value:
            given = [_packed(context, builder, argument) for argument in arguments]
            if definition in _FUNCTIONS:
                pairs = [part.kind for part in given], [part.value for part in given]
                return _run(_FUNCTIONS[definition], context, builder, *pairs)
            typing = context.typing_context
            signature, generate = definition(typing, *[part.kind for part in given])
            wanted = zip(given, signature.args, strict=True)
            values = [part.as_kind(kind).value for part, kind in wanted]
            result = builder and generate(context, builder, signature, values)
            return Value(context, builder, signature.return_type, result)

        return call

    names = function.__globals__ | {
        name: calling(OPERATIONS[id(thing)])
        for name, thing in function.__globals__.items()
        if id(thing) in OPERATIONS
    }
    given = [
        None if kind is types.none else Value(context, builder, kind, value)
        for kind, value in zip(kinds, values, strict=True)
    ]
    return _packed(context, builder, type(function)(function.__code__, names)(*given))


# The traced function of each definition of an operation that `traced` made.
_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}


def traced(function: Callable[..., Any]) -> Any:
    """Make an operation of a straight-line function; see the docstring of this module."""

    def definition(typing: Any, *kinds: Any) -> Any:
        # A first run without a builder shows the type of the result.
        context = cpu_target.target_context
        result = _run(function, context, None, kinds, [None] * len(kinds))

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return _run(function, context, builder, kinds, arguments).value

        return result.kind(*kinds), generate

    # numba takes the number of arguments from here, and their names.
    signature_of: Any = utils.pysignature  # type: ignore[attr-defined]
    own, (first, _) = signature_of(function), signature_of(definition).parameters.values()
    vars(definition)["__signature__"] = own.replace(parameters=[first, *own.parameters.values()])
    definition.__name__ = function.__name__
    _FUNCTIONS[definition] = function
    return operation(definition)


__all__ = ["traced"]
