"""Numba's thread pool, for the backends that run on it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
from threadpoolctl import threadpool_limits


@contextmanager
def numba_threads(n_threads: int) -> Iterator[None]:
    """Let numba use ``n_threads`` threads (at most those it was started with) inside the block, and BLAS one.

    The threads of a BLAS pool spin for a while after each call, on the cores that the next kernel needs: with both
    pools at two threads on two cores, gradient descent takes twice as long as with this limit.
    """
    before = numba.get_num_threads()
    started_with = int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009  # set at import, so unknown to mypy
    with threadpool_limits(1, user_api="blas"):
        numba.set_num_threads(min(n_threads, started_with))
        try:
            yield
        finally:
            numba.set_num_threads(before)
