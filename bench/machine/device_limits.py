"""The limits of a torch device: memory bandwidth, arithmetic rate, and the size of its cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from bench.records import MachineLimits

from .limits import DEFAULT_CACHE, TURNS, last_level_cache

_BYTES = 1 << 30  # of the array that is read and copied, many times the cache of any GPU
_SIDE = 4096  # of the matrices that are multiplied
_CALLS = 10  # timed together, so that starting them takes no noticeable part of it


def measure_device(
    device: str, threads: int, turns: int = TURNS, *, n_bytes: int = _BYTES, side: int = _SIDE
) -> tuple[MachineLimits, int]:
    """Measure the limits of a device; this needs torch.

    The bandwidth is that of adding up an array or of copying it, whichever moves more bytes, and
    the arithmetic rate that of a product of two square float32 matrices.

    Parameters
    ----------
    device
        The torch device, such as "cuda".
    threads
        Number of the host's threads, which the limits are recorded for.
    turns
        How often each is timed; the best time counts.
    n_bytes, side
        Size of the array, and of the matrices.

    Returns
    -------
    limits, cache
        ``cache`` is the size in bytes of the device's last-level cache, or `DEFAULT_CACHE` if torch
        does not know it.
    """
    import torch  # imported only here, so that the module can be imported without it

    on = torch.device(device)
    backend = getattr(torch, on.type)  # such as torch.cuda
    numbers = torch.ones(n_bytes // 4, device=on)
    copy, result = torch.empty_like(numbers), torch.empty((side, side), device=on)
    left, right = torch.rand(2, side, side, device=on)

    def seconds(work: Callable[[], object]) -> float:
        """Return the seconds of a call."""
        backend.synchronize()
        start = time.perf_counter()
        for _ in range(_CALLS):
            work()
        backend.synchronize()
        return (time.perf_counter() - start) / _CALLS

    jobs: dict[str, Callable[[], object]] = {
        "read": numbers.sum,
        "copy": partial(copy.copy_, numbers),
        "multiply": partial(torch.mm, left, right, out=result),
    }
    best = dict.fromkeys(jobs, float("inf"))
    for turn in range(turns + 1):
        for name, work in jobs.items():
            if turn == 0:
                work()  # loads the kernels
            else:
                best[name] = min(best[name], seconds(work))
    moved = max(numbers.nbytes / best["read"], 2 * numbers.nbytes / best["copy"])
    limits = MachineLimits(
        threads=threads,
        memory_gb_per_s=moved / 1e9,
        gflop_per_s=2 * side**3 / best["multiply"] / 1e9,
        chain=[],
    )
    if not hasattr(backend, "get_device_properties"):  # the CPU
        return limits, last_level_cache()
    return limits, getattr(backend.get_device_properties(on), "L2_cache_size", 0) or DEFAULT_CACHE
