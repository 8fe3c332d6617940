"""The machine's limits: memory bandwidth, arithmetic rate, and latency of the dependency chain.

Each limit is measured with a small kernel, on as many threads as the solver has: `_read` adds up an
array much larger than the caches, `_multiply_add` computes in registers, and `_chain` updates one
row by one rating after another. `bench.roofline` compares solvers with these limits.
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

DEFAULT_CACHE = 32 << 20  # bytes, assumed if the system does not report the size
_CORES = Path("/sys/devices/system/cpu")  # Linux: a folder per core, with its caches
_FLOAT = 4  # bytes of a float32
_BEYOND_CACHE = 128 << 20  # least number of bytes to read
# Every kernel is run many times, and the best time counts: disturbances only make it slower. A run
# takes a few milliseconds (more only to read far beyond a large cache), which is short enough to
# find a quiet moment even on a busy machine.
TURNS = 25
_SWEEPS = 40_000  # of the multiply-adds over their values
_ROUNDS = 12_000  # of the chain over its rows
# Multiply-adds between the load of a value and its store: enough to hide both, few enough that the
# processor can overlap several values and keep all its units busy.
_DEPTH = 8
_VALUES = 512  # for the multiply-adds: 2 KB, many more vectors than are in flight at a time
_ROWS = 8  # for the chain: 4.5 KB at rank 128 with its own row, so all are in the first cache
_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}


def measure_limits(ranks: list[int], threads: list[int], turns: int = TURNS) -> list[MachineLimits]:
    """Measure the machine's limits for each number of threads; this needs numba.

    Parameters
    ----------
    ranks
        Lengths of the rows for which to measure the latency of the dependency chain.
    threads
        Numbers of threads.
    turns
        How often each kernel is run; the best time counts.
    """
    read, multiply_add, chain = (_compiled(kernel) for kernel in (_read, _multiply_add, _chain))
    numbers = np.empty(max(_BEYOND_CACHE, 4 * last_level_cache()) // _FLOAT, np.float32)
    # The system hands out the memory as it is first written: on all cores in less time than on one.
    with ThreadPoolExecutor(max(threads)) as pool:
        list(pool.map(lambda share: share.fill(1), np.array_split(numbers, max(threads))))
    ratings, half = np.ones(_ROWS, np.float32), np.float32(0.5)
    rate, penalty = np.float32(0.01), np.float32(0.1)
    limits = []
    for n_threads in threads:
        # For each limit, what each thread does. Reading is divided, the rest done by every thread.
        jobs: dict[Any, list[Callable[[], object]]] = {
            "read": [partial(read, share) for share in np.array_split(numbers, n_threads)],
            "multiply": [
                partial(multiply_add, _aligned(_VALUES), half, half, _SWEEPS)
                for _ in range(n_threads)
            ],
        }
        for rank in ranks:
            jobs[rank] = [
                partial(
                    chain, _aligned(rank), _aligned(_ROWS, rank), ratings, rate, penalty, _ROUNDS
                )
                for _ in range(n_threads)
            ]
        seconds = _best_seconds(jobs, n_threads, turns)
        flops = 2 * _VALUES * _DEPTH * _SWEEPS * n_threads
        limits.append(
            MachineLimits(
                threads=n_threads,
                memory_gb_per_s=numbers.nbytes / seconds["read"] / 1e9,
                gflop_per_s=flops / seconds["multiply"] / 1e9,
                chain=[
                    ChainLatency(rank=rank, ns=seconds[rank] / (_ROUNDS * _ROWS) * 1e9)
                    for rank in ranks
                ],
            )
        )
    return limits


def last_level_cache() -> int:
    """Return the total size in bytes of the last-level caches of the cores we may use.

    `DEFAULT_CACHE` if it is unknown.
    """
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    sizes: dict[str, int] = {}  # by the list of cores that share a cache, which identifies it
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


def _best_seconds(
    jobs: dict[Any, list[Callable[[], object]]], threads: int, turns: int
) -> dict[Any, float]:
    """Return the fewest seconds of each job, from the first thread's start to the last one's end.

    Parameters
    ----------
    jobs
        For each name, one function per thread. The jobs take turns, so that a disturbance does not
        hit all runs of one of them.
    threads
        Number of threads.
    turns
        How often each job is timed.
    """
    best = dict.fromkeys(jobs, float("inf"))
    barrier = Barrier(threads)

    def times(function: Callable[[], object]) -> tuple[float, float]:
        barrier.wait()  # so that all threads start together
        start = time.perf_counter()
        function()
        return start, time.perf_counter()

    with ThreadPoolExecutor(threads) as pool:
        for turn in range(turns + 1):
            for name, functions in jobs.items():
                starts, ends = zip(*pool.map(times, functions), strict=True)
                if turn > 0:  # the first turn includes compilation
                    best[name] = min(best[name], max(ends) - min(starts))
                # The scheduler favours threads that have just slept, which helps on a busy machine.
                time.sleep(0.001)
    return best


def _compiled(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel that releases the GIL, so that several threads can run at once."""
    from numba import njit  # imported only here, so that the module can be imported without it

    # Reassociation would allow LLVM to merge the multiply-adds of a value into fewer.
    flags = {"contract"} if kernel is _multiply_add else _FASTMATH
    compiled: Callable[..., Any] = njit(nogil=True, fastmath=flags, error_model="numpy")(kernel)
    return compiled


def _read(numbers: NDArray[np.float32]) -> np.float32:
    """Return the sum of an array, which is much larger than the last cache."""
    total = np.float32(0)
    for i in range(numbers.size):
        total += numbers[i]
    return total


def _multiply_add(
    values: NDArray[np.float32], factor: np.float32, term: np.float32, sweeps: int
) -> None:
    """Do `_DEPTH` multiply-adds on each value, again and again.

    The results are stored, so the compiler cannot leave any out.
    """
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
    penalty: np.float32,
    rounds: int,
) -> np.float32:
    """Take SGD steps on one row ``p``, shape (rank,), with a few opposite ``rows``, over and over.

    Each dot product has to wait for the update of ``p`` before it. That is the dependency chain.
    """
    total = np.float32(0)
    for _ in range(rounds):
        for n in range(ratings.size):
            q = rows[n]
            error = ratings[n]
            for k in range(p.size):
                error -= p[k] * q[k]
            for k in range(p.size):
                p[k] += rate * (error * q[k] - penalty * p[k])
            total += error
    return total


def _aligned(*shape: int) -> NDArray[np.float32]:
    """Return an array filled with 0.1 that starts at a cache line.

    Otherwise a vector may span two cache lines, and loading what was just stored takes much longer.
    """
    size = int(np.prod(shape)) * _FLOAT
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + size].view(np.float32).reshape(shape)
    out[:] = 0.1
    return out
