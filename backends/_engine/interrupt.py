"""Ctrl-C between whole epochs: striking anywhere, it would leave half an epoch, or half of a library's own state."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_pending: list[Callable[[], object]] = []  # of the main thread, as the next
_holding = False


@contextmanager
def delayed_interrupt() -> Iterator[None]:
    """Hold a Ctrl-C back until the block ends or comes to a `checkpoint`; a second one acts at once.

    Only the main thread receives signals, so elsewhere this does nothing; nor inside another such block.
    """
    global _holding
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or _holding or not callable(previous):
        yield
        return
    act = previous

    def hold(number: int, frame: FrameType | None) -> None:
        if _pending:
            checkpoint()
        _pending.append(lambda: act(number, frame))

    signal.signal(signal.SIGINT, hold)
    _holding = True
    try:
        yield
    finally:
        try:
            _holding = False
            signal.signal(signal.SIGINT, previous)
        finally:  # a second Ctrl-C may have struck before that was done
            signal.signal(signal.SIGINT, previous)
        checkpoint()


def checkpoint() -> None:
    """Let a Ctrl-C that waits take effect here. Call it inside long epochs, where the last whole epoch is safe."""
    if _pending and threading.current_thread() is threading.main_thread():
        _pending.pop()()
