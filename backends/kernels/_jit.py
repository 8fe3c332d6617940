"""The jit options of all kernels, with their reasons, and a cache on disk that never serves a stale kernel.

numba notices an edit of the file that a kernel is written in, not one of the files of its callees or of these options.
So the name under which a kernel is cached ends in a hash of all files of this folder and of those inside it. What an
older version left behind stays until the ``__pycache__`` here is deleted.

Where nothing can be written, neither here nor in the user's own cache folder, each process compiles the kernels anew,
which takes seconds; NUMBA_CACHE_DIR names another folder.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

# Sums may be reordered and multiply-adds fused, which is what lets LLVM use SIMD in dot products; NaN and infinity keep
# their meaning (no "nnan", "ninf"), because divergence must be seen.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}

# nogil: long loops must not stop the caller's other threads. error_model "numpy": no branch before each division.
# no_cfunc_wrapper: nobody calls a kernel by its address, and a way in for that takes a tenth of the time to compile.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": FASTMATH,
    "error_model": "numpy",
    "no_cfunc_wrapper": True,
}
# What only kernels call has no way in from Python, which takes time to compile too: called from there, it crashes.
_PART = _OPTIONS | {"no_cpython_wrapper": True}


def _source_hash(folder: Path) -> str:
    """Return a hash of the names and contents of the Python files in a folder and those inside it."""
    digest = hashlib.sha256()
    # Not the prototypes in Triton, which no kernel here calls.
    paths = (path for path in folder.rglob("*.py") if path.parent.name != "triton")
    for path in sorted(paths):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


_VERSION = _source_hash(Path(__file__).parent)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel, when it is first called with these types; kept on disk where a folder can be written to.

    All kernels run on one thread, and several calls side by side: numba's parallel loops take several times as long to
    compile, and bring a thread pool that spins and that neither forks nor concurrent callers can use.
    """
    function.__qualname__ += f"_{_VERSION}"
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):  # numba's words for: none of its folders can be written to
            raise
        return njit(**_OPTIONS)(function)


def part(function: Callable[..., Any]) -> Any:
    """Compile a part of kernels that stays a function of its own; only kernels can call it."""
    return njit(**_PART)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a part of kernels, which LLVM must not leave a function of its own: vectors would go through memory."""
    return njit(forceinline=True, **_PART)(function)


__all__ = ["FASTMATH", "inlined", "kernel", "part"]
