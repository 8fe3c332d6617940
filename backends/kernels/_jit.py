"""The jit options of all kernels, with their reasons.

A kernel's callees live in its own file: numba checks only the caller's file when it decides whether a cached kernel is
stale. After an edit of *this* file, delete the ``__pycache__`` beside it.
"""

from typing import Any

from numba import njit

# Sums may be reordered and multiply-adds fused, which is what lets LLVM use SIMD in dot products; NaN and infinity keep
# their meaning (no "nnan", "ninf"), because divergence must be seen.
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}

# nogil: long loops must not stop the caller's other threads. error_model "numpy": no branch before each division.
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": _FASTMATH, "error_model": "numpy"}

serial = njit(**_OPTIONS)
parallel = njit(parallel=True, **_OPTIONS)

__all__ = ["parallel", "serial"]
