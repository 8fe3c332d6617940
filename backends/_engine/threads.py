"""Threads of one fit, for kernels that release the GIL, and BLAS kept out of their way."""

import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from queue import Empty, SimpleQueue
from typing import Any

from .interrupt import delayed_interrupt

# A kernel returns to Python after about so many multiply-adds of a thread, or ratings that it sorts, so that a Ctrl-C
# waits for less than half a second.
WORK_PER_CALL = 5e8
RATINGS_PER_CALL = 10_000_000

_UNHEARD = 0.05  # seconds after which a thread that waits for others looks for itself

_limit_lock = threading.Lock()
_limits: list[Any] = []  # the one that all fits under way share
_fits = 0  # under way


def available_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _blas(n_modules: int) -> Any:
    """Return what controls the BLAS that are loaded; looked for, which takes a millisecond, only after an import."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread: its idle threads spin for a while, on the cores that the kernels need.

    The setting is the process's, so fits that overlap share one limit: the first sets it, the last takes it back.
    """
    global _fits
    with _limit_lock:
        if not _fits:
            _limits.append(_blas(len(sys.modules)).limit(limits=1))
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
    thread pool, one for the process, does not bear. They wait for calls asleep; see `tasks` for what they share awake.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._calls: SimpleQueue[Any] = SimpleQueue()
        self._others: list[threading.Thread] = []
        # When this object is gone, its weak reference lies among the calls and sends the threads home. That is one call
        # of C: a Ctrl-C cannot strike in it.
        self._end = weakref.ref(self, self._calls.put)

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
        if self.n == 1 or not arguments:
            return [function(*one) for one in arguments]
        waiting = deque(range(self.n, len(arguments)))
        results: list[Any] = [None] * len(arguments)
        errors: list[BaseException] = []
        wanted = min(self.n, len(arguments))
        if len(self._others) < wanted - 1:
            with delayed_interrupt():  # Python's own way to start a thread has locks that a Ctrl-C can leave shut
                while len(self._others) < wanted - 1:
                    thread = threading.Thread(
                        target=_serve, args=(self._calls, self._end), name="factorbench", daemon=True
                    )
                    thread.start()
                    self._others.append(thread)
        sent: deque[None] = deque()
        ended: deque[int] = deque()
        bell: SimpleQueue[None] = SimpleQueue()

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

        def serve(place: int) -> None:
            try:
                work(place)
            except BaseException as error:  # the caller raises it
                errors.append(error)
            finally:
                ended.append(place)
                bell.put(None)

        # A Ctrl-C strikes between any two steps of Python, so nothing here hangs on two that belong together, as a lock
        # and its release would: calls are counted in the step that sends them, and a bell that was heard and forgotten
        # is only a wait longer.
        failed = True
        try:
            sent.extend(map(self._calls.put, [partial(serve, place) for place in range(1, wanted)]))
            work(0)
            failed = False
        finally:
            while len(ended) < len(sent):
                if failed:
                    waiting.clear()
                    give_up()
                with suppress(Empty):
                    bell.get(timeout=_UNHEARD)
        if errors:
            try:
                raise errors[0]
            finally:
                errors.clear()  # or else the error would hold this call, and this call the error
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


def _serve(calls: SimpleQueue[Any], end: object) -> None:
    """Do calls until the end lies among them, and leave it there for the next thread."""
    while (call := calls.get()) is not end:
        call()
        del call  # it holds what it was given until the next one comes
    calls.put(end)
