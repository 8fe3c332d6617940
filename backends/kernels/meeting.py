"""Threads that wait for each other awake: to put one to sleep and wake it takes as long as many steps of a solver do.

They count themselves, by one instruction each. What a thread wrote before it arrived is seen by all that saw it arrive.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from ._jit import kernel
from .simd import operation

_LONG = ir.IntType(64)


def _place(context: Any, builder: Any, counter: Any, value: Any) -> Any:
    return context.make_array(counter)(context, builder, value).data


@operation
def _count_one_more(typing: Any, counter: Any) -> Any:
    """Add one to a counter; return what it was before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _place(context, builder, counter, arguments[0]), _LONG(1), "acq_rel")

    return types.int64(counter), generate


@operation
def _look_at(typing: Any, counter: Any) -> Any:
    """Return a counter that other threads change."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "x86" in builder.module.triple:  # "pause" leaves a core's other thread its turn, and saves energy
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return builder.load_atomic(_place(context, builder, counter, arguments[0]), "acquire", align=8)

    return types.int64(counter), generate


@kernel
def arrive(arrived: NDArray[np.int64], wanted: int, n_looks: int) -> bool:
    """Count oneself, then wait for the others; return whether all have come, or there was no more time.

    Parameters
    ----------
    arrived
        How many have come so far, shape (1,).
    wanted
        How many that is when all have come.
    n_looks
        How often to look for the others: for so long the thread keeps its core.
    """
    here = _count_one_more(arrived) + 1
    while here < wanted and n_looks > 0:
        here = _look_at(arrived)
        n_looks -= 1
    return bool(here >= wanted)
