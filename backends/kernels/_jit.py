"""The compiler options of all kernels, and a disk cache that never serves a stale kernel.

numba recompiles a cached kernel when the file it is written in changes, but not when the file of a
function that it calls changes, nor when these options do. So the name under which a kernel is
cached ends in a hash of all Python files in this folder and below. Kernels of older versions stay
on disk until the ``__pycache__`` here is deleted.

Where neither this folder nor the user's cache folder can be written to, each process compiles the
kernels again, which takes seconds. NUMBA_CACHE_DIR names another folder. ``python -m
backends.compile`` fills the cache ahead of the first fit.
"""

import gc
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typed_passes import NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes

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


# The classes below override parts of numba that its documentation does not promise. With a newer
# version than they were tested with, kernels are compiled as numba compiles any function. That
# takes twice as long, and sums may be rounded otherwise.
_TESTED = (0, 68)


class _NoCollection:
    """A context in which no garbage is collected, which several threads may be in at a time.

    The last one to leave restores what was before, and so does a child that is forked meanwhile:
    none of its threads is in here.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._collects = threading.Lock(), 0, False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._collects = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._collects:
                gc.enable()

    def _after_fork(self) -> None:
        if self._inside and self._collects:
            gc.enable()
        self._lock, self._inside = threading.Lock(), 0


_NO_COLLECTION = _NoCollection()


class _KernelLibrary(JITCodeLibrary):
    """The code of one kernel, for which LLVM is asked for less than numba would ask for.

    numba optimises a kernel twice, first so that references that are counted in vain are found.
    Kernels count none, and are optimised once.
    """

    def add_ir_module(self, ir_module: Any) -> None:
        """Add functions to the kernel; the one that Python calls is compiled as it is.

        It only unpacks the arguments, but has more branches than many a kernel.
        """
        if ir_module.name == "wrapper":
            for function in ir_module.functions:
                if not function.is_declaration:
                    function.attributes.add("noinline")
                    function.attributes.add("optnone")
        super().add_ir_module(ir_module)  # type: ignore[no-untyped-call]  # no types in numba

    def _optimize_final_module(self) -> None:
        passes = self._codegen._module_pass_manager()
        # A manager alone in older versions of numba, and with what builds its passes in newer ones.
        manager, *builder = passes if isinstance(passes, tuple) else (passes,)
        manager.run(self._final_module, *builder)


class _InlinedLibrary(_KernelLibrary):
    """The code of a function that only kernels call.

    It is neither optimised nor turned into machine code: the kernel that it becomes a part of is.
    """

    def finalize(self) -> None:
        """Link what this function calls, and nothing else."""
        self._raise_if_finalized()  # type: ignore[no-untyped-call]  # no types in numba
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return that there is no machine code."""
        self._ensure_finalized()  # type: ignore[no-untyped-call]  # no types in numba
        return 0

    @property
    def codegen(self) -> Any:
        """Of which numba uses `set_env` alone."""
        return self

    def set_env(self, env_name: str, env: Any) -> None:
        """Do nothing: what numba would set is a place in machine code."""


class _KernelCompiler(Compiler):
    """numba's compiler, with a library of another kind and without passes that find nothing here.

    Kernels have no closures, no generator expressions and no arithmetic of whole arrays.
    """

    library_class = _KernelLibrary
    unused = (InlineClosureLikes, NopythonRewrites)

    def compile_extra(self, func: Any) -> Any:
        """Compile a function. Garbage is not collected meanwhile, which would take a tenth longer.

        Nearly all of the many objects that numba makes are still in use when a collection looks for
        those that are not.
        """
        with _NO_COLLECTION:
            return super().compile_extra(func)  # type: ignore[no-untyped-call]  # no types in numba

    def define_pipelines(self) -> Any:
        """Return the pipeline of passes."""
        codegen = self.state.targetctx.codegen()
        name = self.state.func_id.func_qualname
        self.state.library = self.library_class(  # type: ignore[no-untyped-call]  # no types in numba
            codegen, name
        )
        self.state.library.enable_object_caching()
        (passes,) = super().define_pipelines()  # type: ignore[no-untyped-call]  # no types in numba
        passes.passes = [item for item in passes.passes if item[0] not in self.unused]
        passes.finalize()
        return [passes]


class _InlinedCompiler(_KernelCompiler):
    library_class = _InlinedLibrary


def _source_hash(folder: Path) -> str:
    """Return a hash of the names and contents of all Python files in a folder and below."""
    digest = hashlib.sha256()
    # Not the prototypes in Triton, which no kernel here calls.
    paths = (path for path in folder.rglob("*.py") if path.parent.name != "triton")
    for path in sorted(paths):
        name = path.relative_to(folder).as_posix().encode()
        digest.update(name + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _pipeline(compiler: type[Compiler]) -> dict[str, Any]:
    """Return the option that has a function compiled by one of the compilers above."""
    try:
        major, minor = (int(part) for part in numba.__version__.split(".")[:2])
    except ValueError:  # of a build without a version: "0+untagged"
        return {}
    return {"pipeline_class": compiler} if (major, minor) <= _TESTED else {}


_VERSION = _source_hash(Path(__file__).parent)

# A child that is forked while another thread compiles would wait for ever for the lock that numba
# compiles under: the thread that holds it is not in the child. So a fork waits for it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )

KERNELS: list[Any] = []  # all that were imported, with numba's counts of what was compiled


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a kernel at its first call with given types, and cache it on disk if possible.

    A kernel runs on one thread; solvers call it on several threads at once. numba's parallel loops
    take several times as long to compile, and their thread pool spins, does not survive a fork, and
    cannot be used by two callers at a time.
    """
    function.__qualname__ += f"_{_VERSION}"
    try:
        made = njit(cache=True, **_pipeline(_KernelCompiler), **_OPTIONS)(function)
    except RuntimeError as error:
        # numba's message when it can write to none of its cache folders
        if "no locator available" not in str(error):
            raise
        made = njit(**_pipeline(_KernelCompiler), **_OPTIONS)(function)
    KERNELS.append(made)
    return made


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that is always inlined into the kernel that calls it.

    Arguments that are vectors would otherwise be passed through memory. And a function that is not
    inlined could exist twice: compiled for itself, and within its kernel, with sums in another
    order. What calls which would then decide the last digit. Where a function has no loops and no
    branches, `llvm.traced` compiles faster.
    """
    options = _pipeline(_InlinedCompiler) | _INTERNAL_OPTIONS
    return njit(forceinline=True, **options)(function)


__all__ = ["FASTMATH", "KERNELS", "inlined", "kernel"]
