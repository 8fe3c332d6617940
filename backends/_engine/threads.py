"""The threads of one fit, for kernels that release the GIL, and a limit on those of BLAS."""

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

# A Ctrl-C is noticed only when kernels return to Python. So a call does at most about this many
# multiply-adds, or sorts at most this many ratings, on each thread: less than half a second.
WORK_PER_CALL = 5e8
RATINGS_PER_CALL = 10_000_000

# Seconds. A thread that waits for others checks for itself this often, in case it missed the
# notification that one of them has ended.
_RECHECK_INTERVAL = 0.05

_limit_lock = threading.Lock()
_limits: list[Any] = []  # the limit on BLAS that all running fits share; one at most
_n_fits = 0  # running fits that use it


@lru_cache(maxsize=1)
def _blas(n_modules: int) -> Any:
    """Return the controller of the loaded BLAS libraries.

    Looking for them takes a millisecond. ``n_modules`` is the number of imported modules: the
    cached controller serves until another module is imported, which may have loaded another BLAS.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread: its idle threads spin for a while on cores that the kernels need.

    The limit holds for the process, so fits that overlap in time share one: the first fit sets it,
    and the last one restores what was before.
    """
    global _n_fits
    with _limit_lock:
        if not _n_fits:
            _limits.append(_blas(len(sys.modules)).limit(limits=1))
        _n_fits += 1
    try:
        yield
    finally:
        with _limit_lock:
            _n_fits -= 1
            if not _n_fits:
                _limits.pop().restore_original_limits()


class Threads:
    """Runs calls side by side on ``n`` threads, one of which is the caller's.

    The threads start when they are first needed and end with this object, which belongs to one fit.
    So fits in several threads, or in a forked process, do not share threads. numba's own thread
    pool is one per process and supports neither. Between calls the threads sleep; during an epoch
    they wait for each other by polling, see `tasks`.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._calls: SimpleQueue[Any] = SimpleQueue()
        self._workers: list[threading.Thread] = []
        # When this object is deleted, the callback of its weak reference puts the reference itself
        # into the queue, and `_serve` takes that as the signal to end. Creating the reference with
        # its callback is a single C call, which a Ctrl-C cannot interrupt.
        self._end = weakref.ref(self, self._calls.put)

    def run(
        self,
        function: Callable[..., Any],
        arguments: Sequence[tuple[Any, ...]],
        give_up: Callable[[], object] = lambda: None,
    ) -> list[Any]:
        """Call ``function`` once with each tuple of arguments; return the results in that order.

        Call k starts on thread k, as in the run before: if the calls split up the same rows in the
        same way, those are still in that core's cache. Further calls go to whichever thread is
        free.

        Parameters
        ----------
        give_up
            Called when a call raises on the caller's thread, or a Ctrl-C arrives there, before the
            calls on the other threads are waited for; it can make them return early.

        Raises
        ------
        BaseException
            What a call raised first. Calls that had started are finished, and no further one
            starts.
        """
        if self.n == 1 or not arguments:
            return [function(*tuple_of_arguments) for tuple_of_arguments in arguments]
        waiting = deque(range(self.n, len(arguments)))
        results: list[Any] = [None] * len(arguments)
        errors: list[BaseException] = []
        n_used = min(self.n, len(arguments))
        self._start(n_used - 1)
        sent: deque[None] = deque()
        ended: deque[int] = deque()
        notifications: SimpleQueue[None] = SimpleQueue()

        def work(call: int) -> None:
            """Make a call, and then those that are still waiting."""
            while True:
                try:
                    results[call] = function(*arguments[call])
                except BaseException:
                    waiting.clear()
                    raise
                try:
                    call = waiting.popleft()
                except IndexError:
                    return

        def serve(call: int) -> None:
            """Do the work of a thread other than the caller's."""
            try:
                work(call)
            except BaseException as error:  # raised by the caller's thread, below
                errors.append(error)
            finally:
                ended.append(call)
                notifications.put(None)

        # A Ctrl-C can raise between any two bytecodes below. So nothing may depend on two steps
        # that belong together, as acquiring and releasing a lock do. `sent` grows in the same C
        # call that puts a call into the queue, so it always is the number of calls that are on
        # their way; and a notification that is received but lost only costs one
        # `_RECHECK_INTERVAL`.
        failed = True
        try:
            calls = [partial(serve, call) for call in range(1, n_used)]
            sent.extend(map(self._calls.put, calls))
            work(0)
            failed = False
        finally:
            while len(ended) < len(sent):
                if failed:
                    waiting.clear()
                    give_up()
                with suppress(Empty):
                    notifications.get(timeout=_RECHECK_INTERVAL)
        if errors:
            try:
                raise errors[0]
            finally:
                # The traceback refers to this frame, and this frame to the error. Without breaking
                # that cycle the arguments, which are large, would live until the next collection.
                errors.clear()
        return results

    def _start(self, n_workers: int) -> None:
        """Start threads until there are ``n_workers`` beside the caller's."""
        if len(self._workers) >= n_workers:
            return
        # `Thread.start` takes locks in Python code, which a Ctrl-C could leave locked.
        with delayed_interrupt():
            while len(self._workers) < n_workers:
                thread = threading.Thread(
                    target=_serve,
                    args=(self._calls, self._end),
                    name="factorbench",
                    daemon=True,
                )
                thread.start()
                self._workers.append(thread)

    def share(self, n: int, thread: int) -> tuple[int, int]:
        """Return the first element of a thread's share of ``range(n)``, and one past its last."""
        return n * thread // self.n, n * (thread + 1) // self.n

    def cut(self, n: int, longest: int = RATINGS_PER_CALL) -> list[list[tuple[int, int]]]:
        """Cut ``range(n)`` into a share per thread, and shares into pieces of at most ``longest``.

        Returns
        -------
        list of list of (first, last)
            The first piece of every thread, then the second piece of every thread, and so on.
            Between two of these lists the caller can notice a Ctrl-C.
        """
        shares = [self.share(n, thread) for thread in range(self.n)]
        n_pieces = max(1, -(-max(last - first for first, last in shares) // longest))
        return [
            [
                (
                    first + (last - first) * piece // n_pieces,
                    first + (last - first) * (piece + 1) // n_pieces,
                )
                for first, last in shares
            ]
            for piece in range(n_pieces)
        ]


def _serve(calls: SimpleQueue[Any], end: object) -> None:
    """Make calls from the queue until ``end`` comes, which is put back for the next thread."""
    while (call := calls.get()) is not end:
        call()
        # Otherwise the last call's arguments would live until the next call comes.
        del call
    calls.put(end)
