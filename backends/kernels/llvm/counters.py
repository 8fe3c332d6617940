"""Atomic counters that threads share, and waiting for one of them in a loop.

A counter is a row of an array of shape (n_counters, 8): a cache line of its own, so that threads
that poll one counter do not slow down those that increment another.

Incrementing releases and loading acquires, in the terms of C++'s memory model: whatever a thread
wrote before it incremented a counter is visible to every thread that has read the new count. That
is how one task's rows reach the next without a lock.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from backends.kernels._jit import inlined
from backends.kernels.layout import _COUNTERS_PER_LINE

from .vectors import operation

_LONG = ir.IntType(64)


def _address(context: Any, builder: Any, counters: Any, value: Any, index: Any) -> Any:
    """Return a pointer to a counter: the first number of its row."""
    data = context.make_array(counters)(context, builder, value).data
    return builder.gep(data, [builder.mul(index, _LONG(_COUNTERS_PER_LINE))])


@operation
def increment(typing: Any, counters: Any, index: Any) -> Any:
    """Add 1 to a counter and return what it was before: no two threads get the same number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, counters, *arguments)
        # Reads, adds and writes in one step. Release: this thread's earlier writes are visible to
        # whoever sees the new count. Acquire: a claimed task sees what was written before it.
        return builder.atomic_rmw("add", address, _LONG(1), "acq_rel")

    return types.int64(counters, types.int64), generate


@operation
def load_counter(typing: Any, counters: Any, index: Any) -> Any:
    """Return a counter. A plain load could be moved out of a loop, and would never see a change."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, counters, *arguments)
        # Later reads of this thread are not moved before this one: they see what was published.
        return builder.load_atomic(address, "acquire", align=8)

    return types.int64(counters, types.int64), generate


@operation
def _pause(typing: Any) -> Any:
    """Emit x86's ``pause``, which saves energy and lets the core's other hyper-thread run.

    Elsewhere it emits nothing.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "x86" in builder.module.triple:
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), generate


@inlined
def wait_for(counters: NDArray[np.int64], index: int, target: int, n_polls: int) -> bool:
    """Wait until a counter is at least ``target``; give up after ``n_polls`` loads, at least one.

    Returns whether it got there.
    """
    while load_counter(counters, index) < target:
        n_polls -= 1
        if n_polls <= 0:
            return False
        _pause()
    return True
