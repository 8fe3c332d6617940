"""Threads of one fit, for kernels that release the GIL, and BLAS kept out of their way."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

# A kernel returns to Python after about so many multiply-adds of a thread, or ratings that it sorts, so that a Ctrl-C
# waits for less than half a second.
WORK_PER_CALL = 5e8
RATINGS_PER_CALL = 10_000_000

_limit_lock = threading.Lock()
_limits: list[Any] = []  # the one that all fits under way share
_fits = 0  # under way


@cache
def _blas() -> ThreadpoolController:
    """Return what controls the BLAS that NumPy uses, which is loaded with it: looking for it takes a millisecond."""
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread: its idle threads spin for a while, on the cores that the kernels need.

    The setting is the process's, so fits that overlap share one limit: the first sets it, the last takes it back.
    """
    global _fits
    with _limit_lock:
        if not _fits:
            _limits.append(_blas().limit(limits=1))
        _fits += 1
    try:
        yield
    finally:
        with _limit_lock:
            _fits -= 1
            if not _fits:
                _limits.pop().restore_original_limits()


class Threads:
    """Runs calls side by side on ``n`` threads, of which the caller's is one.

    They belong to one fit and end with it: fits in several threads or after a fork do not meet, which numba's own
    thread pool, one for the process, does not bear. They wait for calls asleep; see `_steps` for calls in step.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._others = ThreadPoolExecutor(n - 1, "factorbench") if n > 1 else None

    def run(
        self,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        give_up: Callable[[], object] = lambda: None,
    ) -> list[Any]:
        """Call ``function`` once with each tuple of arguments and return the results in their order.

        A thread starts with the call of its own number, whose rows are still in its cache from the last time, and then
        takes the next. When a call raises, or a Ctrl-C strikes the caller, those under way end and no further one
        starts; ``give_up`` is called before those are waited for.
        """
        if self._others is None or not arguments:
            return [function(*one) for one in arguments]
        waiting = deque(range(self.n, len(arguments)))
        results: list[Any] = [None] * len(arguments)

        def work(place: int) -> None:
            while True:
                try:
                    results[place] = function(*arguments[place])
                except BaseException:
                    waiting.clear()
                    raise
                try:
                    place = waiting.popleft()
                except IndexError:
                    return

        futures: list[Future[None]] = []
        try:
            for place in range(1, min(self.n, len(arguments))):
                futures.append(self._others.submit(work, place))  # noqa: PERF401  # a Ctrl-C must know those before it
            work(0)
        except BaseException:
            waiting.clear()
            for future in futures:
                future.cancel()
            give_up()
            raise
        finally:
            wait(futures)
        for future in futures:
            future.result()
        return results

    def share(self, n: int, thread: int) -> tuple[int, int]:
        """Return where a thread's run of ``range(n)`` starts and ends, when each takes one."""
        return n * thread // self.n, n * (thread + 1) // self.n

    def cut(self, n: int, longest: int = RATINGS_PER_CALL) -> list[list[tuple[int, int]]]:
        """Cut ``range(n)`` into one run per thread, and each run into as many pieces, none over ``longest``.

        Returns
        -------
        pieces
            The first piece of each thread, then the second of each, and so on: a Ctrl-C is heard between them.
        """
        runs = [self.share(n, thread) for thread in range(self.n)]
        n_pieces = max(1, -(-max(last - first for first, last in runs) // longest))
        return [
            [
                (first + (last - first) * piece // n_pieces, first + (last - first) * (piece + 1) // n_pieces)
                for first, last in runs
            ]
            for piece in range(n_pieces)
        ]
