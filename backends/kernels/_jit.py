"""The compiler options of all kernels, and a disk cache that never serves a stale kernel.

numba recompiles a cached kernel when the file it is written in changes, but not when the file of a
function that it calls changes, nor when these options do. So the name under which a kernel is
cached ends in a hash of all Python files in this folder and below. Kernels of older versions stay
on disk until the ``__pycache__`` here is deleted.

Where neither this folder nor the user's cache folder can be written to, each process compiles the
kernels again, which takes seconds. NUMBA_CACHE_DIR names another folder.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

# Sums may be reordered and multiply-adds fused, which is what lets LLVM use SIMD in dot products.
# NaN and infinity keep their meaning (no "nnan", no "ninf"), because a diverging fit is recognised
# by them.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}

_OPTIONS: dict[str, Any] = {
    "nogil": True,  # long loops must not stop the caller's other threads
    "fastmath": FASTMATH,
    "error_model": "numpy",  # no branch before each division to raise ZeroDivisionError
    "no_cfunc_wrapper": True,  # a C entry point, which nobody calls, is a tenth of the compile time
}
# For functions that only kernels call. Without an entry point from Python they compile faster, and
# calling them from Python crashes.
_INTERNAL_OPTIONS = _OPTIONS | {"no_cpython_wrapper": True}


def _source_hash(folder: Path) -> str:
    """Return a hash of the names and contents of all Python files in a folder and below."""
    digest = hashlib.sha256()
    # Not the prototypes in Triton, which no kernel here calls.
    paths = (path for path in folder.rglob("*.py") if path.parent.name != "triton")
    for path in sorted(paths):
        name = path.relative_to(folder).as_posix().encode()
        digest.update(name + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


_VERSION = _source_hash(Path(__file__).parent)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel at its first call with given types, and cache it on disk if possible.

    A kernel runs on one thread; solvers call it on several threads at once. numba's parallel loops
    take several times as long to compile, and their thread pool spins, does not survive a fork, and
    cannot be used by two callers at a time.
    """
    function.__qualname__ += f"_{_VERSION}"
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:
        # numba's message when it can write to none of its cache folders
        if "no locator available" not in str(error):
            raise
        return njit(**_OPTIONS)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that is always inlined into the kernel that calls it.

    Arguments that are vectors would otherwise be passed through memory. And a function that is not
    inlined exists twice: compiled for itself, and within its kernel, with sums in another order.
    The process that compiles the kernel calls the one, and those that load it from the cache the
    other, so their results differ in the last digit.
    """
    return njit(forceinline=True, **_INTERNAL_OPTIONS)(function)


__all__ = ["FASTMATH", "inlined", "kernel"]
