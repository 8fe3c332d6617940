"""Threads that take steps together: none starts one before all have ended the one before."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ._threads import Threads
from .kernels.meeting import arrive

# Looks for the others before a thread goes to sleep: for about as long as it takes to wake one, a tenth of a
# millisecond. So waiting costs at most twice what it must.
_LOOKS = 4_000
_CALLED_OFF = 1 << 62


class Meetings:
    """Where ``n`` threads wait for each other again and again: awake for a while, then asleep."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._arrived = np.zeros(1, np.int64)
        self._asleep = threading.Condition()

    def meet(self, nth: int) -> bool:
        """Wait until all have come to their ``nth`` meeting, from 1; return whether there still are meetings."""
        wanted = self._n * nth
        if arrive(self._arrived, wanted, _LOOKS):
            with self._asleep:
                self._asleep.notify_all()
        else:
            with self._asleep:
                self._asleep.wait_for(lambda: self._arrived[0] >= wanted)
        return bool(self._arrived[0] < _CALLED_OFF)

    def call_off(self) -> None:
        """Have no more meetings, and let those go who wait."""
        self._arrived[0] = _CALLED_OFF
        with self._asleep:
            self._asleep.notify_all()


def in_step(
    threads: Threads, function: Callable[[int, int], Any], n_steps: int, pause: Callable[[], object]
) -> list[list[Any]]:
    """Call ``function(thread, step)`` for each thread and step; return each thread's results.

    The caller's thread calls ``pause`` before each of its steps; what that raises ends the others after the step that
    they are at.
    """
    meetings = Meetings(threads.n)

    def steps(thread: int) -> list[Any]:
        results = []
        try:
            for step in range(n_steps):
                if thread == 0:
                    pause()
                results.append(function(thread, step))
                if not meetings.meet(step + 1):
                    break  # whoever called them off raises
        except BaseException:
            meetings.call_off()
            raise
        return results

    # Threads that have started wait for those that have not, even if these never will.
    return threads.run(steps, [(thread,) for thread in range(threads.n)], meetings.call_off)
