"""Numba's thread pool, for the backends that run on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba


@contextmanager
def numba_threads(n_threads: int) -> Iterator[None]:
    """Let numba use ``n_threads`` threads (at most those it was started with) inside the block."""
    before = numba.get_num_threads()
    numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)
