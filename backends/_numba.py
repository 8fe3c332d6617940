"""Numba's thread pool, for the backends that run on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba


@contextmanager
def numba_threads(n_threads: int) -> Iterator[None]:
    """Let numba use ``n_threads`` threads (at most those it was started with) inside the block."""
    before = numba.get_num_threads()
    started_with = int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009  # set at import, so unknown to mypy
    numba.set_num_threads(min(n_threads, started_with))
    try:
        yield
    finally:
        numba.set_num_threads(before)
