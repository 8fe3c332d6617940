"""What the machine can do at best: memory bandwidth, multiply-adds, and the latency of the dependency chain.

Each limit is measured by a small kernel, with as many threads as the solver has. `bench.roofline` holds solvers against
them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.records import ChainLatency, MachineLimits

DEFAULT_CACHE = 32 << 20  # bytes, where the system does not say
_CORES = Path("/sys/devices/system/cpu")  # Linux: a folder per core, with its caches
_FLOAT = 4  # bytes of a number
_BEYOND_CACHE = 128 << 20  # bytes to read at the least
# Each kernel runs for a few milliseconds (longer only to read far beyond a large cache), and many times over: whatever
# disturbs only makes slower, so the best counts, and a short run finds a quiet moment even on a busy machine.
_TURNS = 25
_SWEEPS = 40_000  # of the multiply-adds over their values
_ROUNDS = 12_000  # of the chain over its rows
_DEPTH = 8  # multiply-adds between a load and its store: enough to hide both, few enough to keep all pipes busy
_VALUES = 512  # that the multiply-adds run over: 2 KB, many more vectors than are in flight at a time
_ROWS = 8  # that the chain goes round: with its own row 4.5 KB at rank 128, so all lie in the nearest cache
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


def measure_limits(ranks: list[int], threads: list[int]) -> list[MachineLimits]:
    """Measure what the machine does at best, for each number of threads. Needs numba."""
    read, multiply_add, chain = (_compiled(kernel) for kernel in (_read, _multiply_add, _chain))
    numbers = np.ones(max(_BEYOND_CACHE, 4 * last_level_cache()) // _FLOAT, np.float32)
    goals, rate, pull, half = np.ones(_ROWS, np.float32), np.float32(0.01), np.float32(0.1), np.float32(0.5)
    found = []
    for count in threads:
        jobs: dict[Any, list[Callable[[], object]]] = {
            "read": [partial(read, share) for share in np.array_split(numbers, count)],
            "multiply": [partial(multiply_add, _aligned(_VALUES), half, half, _SWEEPS) for _ in range(count)],
        }
        for rank in ranks:
            jobs[rank] = [
                partial(chain, _aligned(rank), _aligned(_ROWS, rank), goals, rate, pull, _ROUNDS) for _ in range(count)
            ]
        seconds = _best_seconds(jobs, count)
        found.append(
            MachineLimits(
                threads=count,
                memory_gb_per_s=numbers.nbytes / seconds["read"] / 1e9,
                gflop_per_s=2 * _VALUES * _DEPTH * _SWEEPS * count / seconds["multiply"] / 1e9,
                chain=[ChainLatency(rank=rank, ns=seconds[rank] / (_ROUNDS * _ROWS) * 1e9) for rank in ranks],
            )
        )
    return found


def last_level_cache() -> int:
    """Return the size of the last-level caches of this process's cores in bytes, `DEFAULT_CACHE` where unknown."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    sizes: dict[str, int] = {}  # by the cores that share it
    for core in cores:
        try:
            caches = sorted((_CORES / f"cpu{core}" / "cache").glob("index*"), key=_level)
            size = (caches[-1] / "size").read_text().strip()
            sizes[(caches[-1] / "shared_cpu_list").read_text()] = int(size.rstrip("K")) << 10
        except (OSError, ValueError, IndexError):
            return DEFAULT_CACHE
    return sum(sizes.values()) or DEFAULT_CACHE


def _level(cache: Path) -> int:
    return int((cache / "level").read_text())


def _best_seconds(jobs: dict[Any, list[Callable[[], object]]], threads: int) -> dict[Any, float]:
    """Return the least seconds from the first thread's start to the last one's end for each job, job by job in turn."""
    best = dict.fromkeys(jobs, float("inf"))
    together = Barrier(threads)

    def times(part: Callable[[], object]) -> tuple[float, float]:
        together.wait()
        start = time.perf_counter()
        part()
        return start, time.perf_counter()

    with ThreadPoolExecutor(threads) as pool:
        for turn in range(_TURNS + 1):
            for name, parts in jobs.items():
                starts, ends = zip(*pool.map(times, parts), strict=True)
                if turn:  # the first compiles
                    best[name] = min(best[name], max(ends) - min(starts))
                time.sleep(0.001)  # a thread that has slept is let run at once
    return best


def _compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel so that it runs beside others; only here is numba needed."""
    from numba import njit

    # The multiply-adds of one value must stay in their order: reassociated, LLVM could fold them into fewer.
    flags = {"contract"} if kernel is _multiply_add else _FASTMATH
    compiled: Callable[..., Any] = njit(nogil=True, fastmath=flags, error_model="numpy")(kernel)
    return compiled


def _read(numbers: NDArray[np.float32]) -> np.float32:
    """Add up an array far beyond the last cache."""
    total = np.float32(0)
    for i in range(numbers.size):
        total += numbers[i]
    return total


def _multiply_add(values: NDArray[np.float32], factor: np.float32, term: np.float32, sweeps: int) -> None:
    """Do `_DEPTH` multiply-adds on each value, over and over; the values are stored, so none can be left out."""
    for _ in range(sweeps):
        for i in range(values.size):
            x = values[i]
            for _ in range(_DEPTH):
                x = x * factor + term
            values[i] = x


def _chain(
    p: NDArray[np.float32],
    rows: NDArray[np.float32],
    ratings: NDArray[np.float32],
    rate: np.float32,
    pull: np.float32,
    rounds: int,
) -> np.float32:
    """Update one row by one rating after another: each dot product waits for the update before it."""
    total = np.float32(0)
    for _ in range(rounds):
        for n in range(ratings.size):
            q = rows[n]
            error = ratings[n]
            for k in range(p.size):
                error -= p[k] * q[k]
            for k in range(p.size):
                p[k] += rate * (error * q[k] - pull * p[k])
            total += error
    return total


def _aligned(*shape: int) -> NDArray[np.float32]:
    """Return an array of 0.1 that starts on a cache line: across two, a row's stores reach its loads much later."""
    size = int(np.prod(shape)) * _FLOAT
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + size].view(np.float32).reshape(shape)
    out[:] = 0.1
    return out
