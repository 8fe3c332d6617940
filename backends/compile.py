"""Compiling kernels ahead of the first fit: ``python -m backends.compile [NAME ...]``.

A numba backend compiles its kernels in the first fit that needs them, for seconds, and keeps them
on disk. This command makes that first fit, of a few ratings, which takes the same kernels as one of
many.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .errors import BackendUnavailable, UnknownBackend
from .ratings import Ratings
from .registry import BackendInfo, all_backends, backend_info, get_backend

# Kernels with a row of factors in registers are compiled for each length of a row: one for all
# lengths would keep rows in memory. These are the ranks that people use.
RANKS = (16, 32, 64, 128)


class KernelsNotKept(RuntimeError):
    """A backend has no kernels that could be kept, or they cannot be written to disk."""


class Compiled(NamedTuple):
    """What compiling the kernels of a backend took.

    Attributes
    ----------
    n_kernels
        How many were compiled; the others were in the cache.
    seconds
        The first fit's, imports included; much less if nothing was compiled.
    folder
        Where the kernels are kept.
    """

    n_kernels: int
    seconds: float
    folder: str


def compile_kernels(name: str, *, rank: int = 16, dtype: DTypeLike = "float32") -> Compiled:
    """Compile the kernels that unweighted fits of a backend need, and keep them on disk.

    Parameters
    ----------
    name
        A name from `list_backends`.
    rank, dtype
        As in the fits to come.

    Raises
    ------
    UnknownBackend, BackendUnavailable
        As in `get_backend`.
    KernelsNotKept
        If the backend compiles nothing, or the compiled kernels cannot be kept.
    """
    start = perf_counter()
    info = backend_info(name)
    if not _has_kernels(info):
        raise KernelsNotKept(f"backend {name!r} compiles no kernels that could be kept")
    solver = get_backend(name, rank=rank, dtype=np.dtype(dtype).name)
    from backends.kernels._jit import KERNELS

    def n_compiled() -> int:
        return sum(sum(kernel.stats.cache_misses.values()) for kernel in KERNELS)

    folders = [kernel.stats.cache_path for kernel in KERNELS]
    if None in folders:
        raise KernelsNotKept(_not_kept("numba finds no folder that it can write kernels to"))
    before = n_compiled()
    try:
        for kind in (np.float32, np.float64):  # ratings are either
            solver.fit(Ratings.from_arrays([0, 0, 1], [0, 1, 0], np.array([1, 2, 4], kind)))
    except OSError as error:
        raise KernelsNotKept(_not_kept(f"kernels cannot be written to disk ({error})")) from error
    except Exception as error:
        # What unpickling raises, by which numba reads its cache.
        if type(error).__name__ not in ("EOFError", "UnpicklingError"):
            raise
        reason = f"the cache of compiled kernels is damaged ({error}); delete {folders[0]}"
        raise KernelsNotKept(reason) from error
    return Compiled(n_compiled() - before, perf_counter() - start, folders[0])


def _has_kernels(info: BackendInfo) -> bool:
    """Return whether a backend has kernels of this package, which are kept; others' are not."""
    # Kernels that run elsewhere, in Spark's tasks, are those of numba-als.
    return info.requires == ("numba",) and not info.library


def _not_kept(reason: str) -> str:
    remedy = "set NUMBA_CACHE_DIR to a folder that can be written to"
    return f"{reason}: each process will compile again; {remedy}"


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m backends.compile",
        description="Compile the kernels of numba backends ahead of the first fit.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="backends; by default all")
    parser.add_argument(
        "--rank",
        action="append",
        type=int,
        metavar="N",
        help=f"rank of the fits to come, can be repeated (default: {', '.join(map(str, RANKS))})",
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    return parser.parse_args()


def main() -> int:
    """Compile what the command line asks for; return the exit status."""
    options = _parsed()
    names = options.names or [
        name for name, info in all_backends().items() if _has_kernels(info) and not info.same_as
    ]
    folder, width = "", max(map(len, names))
    try:
        for name in names:
            backend_info(name)  # raises for an unknown name, before anything is compiled
        for name in names:
            for rank in options.rank or RANKS:
                result = compile_kernels(name, rank=rank, dtype=options.dtype)
                took = f"{result.seconds:.1f} s" if result.n_kernels else "already compiled"
                print(f"{name:{width}}  rank {rank:<4}  {took}", flush=True)
                folder = result.folder
    except (BackendUnavailable, KernelsNotKept, UnknownBackend, ValueError, MemoryError) as error:
        print(f"error: {error or 'there is not enough memory'}", file=sys.stderr)
        return 1
    print(f"The compiled kernels: {folder}")
    return 0


def _run() -> int:
    """Return the status of `main`, however it ends."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may show ASCII only
    try:
        return main()
    except KeyboardInterrupt:
        print("\ninterrupted; what was compiled is kept", file=sys.stderr)
        return 130
    except OSError as error:
        # What is written later must not fail again as Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever reads the output has left
            return 141
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_run())


__all__ = ["RANKS", "Compiled", "KernelsNotKept", "compile_kernels"]
