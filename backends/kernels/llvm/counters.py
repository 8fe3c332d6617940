"""Counters that several threads change and look at, and waiting awake for what others count.

A counter is a row of an array of shape (n_counters, 8): a cache line of its own, so that those who wait for one do not
slow down those who count another. What a thread wrote before it counted is seen by all that have seen it counted.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from backends.kernels._jit import inlined
from backends.kernels.layout import _WIDTH

from .vectors import operation

_LONG = ir.IntType(64)


def _place(context: Any, builder: Any, counters: Any, value: Any, nth: Any) -> Any:
    data = context.make_array(counters)(context, builder, value).data
    return builder.gep(data, [builder.mul(nth, _LONG(_WIDTH))])


@operation
def count(typing: Any, counters: Any, nth: Any) -> Any:
    """Add one to a counter; return what it was before, which no other thread is told."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _place(context, builder, counters, *arguments), _LONG(1), "acq_rel")

    return types.int64(counters, types.int64), generate


@operation
def look_at(typing: Any, counters: Any, nth: Any) -> Any:
    """Return what a counter is now that other threads change."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, counters, *arguments), "acquire", align=8)

    return types.int64(counters, types.int64), generate


@operation
def _pause(typing: Any) -> Any:
    """Leave a core's other thread its turn, and save energy, where the processor has an instruction for that."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "x86" in builder.module.triple:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), generate


@inlined
def reaches(counters: NDArray[np.int64], nth: int, wanted: int, n_looks: int) -> bool:
    """Return whether a counter comes to ``wanted``; False once ``n_looks`` looks, of at least one, found it lower."""
    while look_at(counters, nth) < wanted:
        n_looks -= 1
        if n_looks <= 0:
            return False
        _pause()
    return True
