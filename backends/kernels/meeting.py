"""Counting threads that wait for each other awake: to fall asleep and be woken can take longer than a solver's step.

Each counts itself by an atomic addition. What it wrote before that is seen by all that have seen it counted.
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
    """Add one to a counter, at once for all threads."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.atomic_rmw("add", _place(context, builder, counter, arguments[0]), _LONG(1), "acq_rel")
        return context.get_dummy_value()

    return types.void(counter), generate


@operation
def _look_at(typing: Any, counter: Any) -> Any:
    """Return what a counter is now that other threads change."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "x86" in builder.module.triple:  # "pause" leaves a core's other thread its turn, and saves energy
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return builder.load_atomic(_place(context, builder, counter, arguments[0]), "acquire", align=8)

    return types.int64(counter), generate


@kernel
def arrive(arrived: NDArray[np.int64]) -> None:
    """Count oneself among those who have come, shape (1,)."""
    _count_one_more(arrived)


@kernel
def all_here(arrived: NDArray[np.int64], wanted: int, n_looks: int) -> bool:
    """Return whether ``wanted`` threads have come; False once ``n_looks`` looks, of at least one, found too few."""
    here = _look_at(arrived)
    while here < wanted and n_looks > 1:
        here = _look_at(arrived)
        n_looks -= 1
    return bool(here >= wanted)
