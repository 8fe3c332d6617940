"""Ctrl-C between whole epochs only.

Python raises KeyboardInterrupt between any two bytecodes, so in the middle of an epoch it would
leave a half-updated model, or a library in an inconsistent state. So the signal is recorded while
an epoch runs, and raised at the next safe place.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# Signals reach the main thread only, so these two belong to it and need no lock.
_pending: list[Callable[[], object]] = []  # handlers of recorded signals; one at most
_delaying = False  # whether the main thread is inside a `delayed_interrupt`


@contextmanager
def delayed_interrupt() -> Iterator[None]:
    """Delay a Ctrl-C until the block ends or calls `checkpoint`; a second one acts at once.

    Outside the main thread this does nothing, nor inside another such block.
    """
    global _delaying
    previous = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    # The previous handler is no function if Ctrl-C is ignored or handled outside Python.
    if not in_main_thread or _delaying or not callable(previous):
        yield
        return
    act = previous

    def record(number: int, frame: FrameType | None) -> None:
        # The second one raises the first here: whoever presses Ctrl-C twice does not want to wait.
        if _pending:
            checkpoint()
        _pending.append(lambda: act(number, frame))

    signal.signal(signal.SIGINT, record)
    _delaying = True
    try:
        yield
    finally:
        # A second Ctrl-C may raise at any place in here. Whatever happens, the previous handler
        # must be restored, so the inner `finally` does it once more.
        try:
            _delaying = False
            signal.signal(signal.SIGINT, previous)
        finally:
            signal.signal(signal.SIGINT, previous)
        checkpoint()


def checkpoint() -> None:
    """Raise a delayed Ctrl-C here, if there is one.

    Solvers call it now and then inside long epochs, where the parameters are those of the last
    whole epoch.
    """
    if _pending and threading.current_thread() is threading.main_thread():
        # Removed before it acts: a handler that raises must not leave it pending.
        _pending.pop()()
