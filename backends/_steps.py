"""Threads that take steps together: none starts one before all have ended the one before."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ._cores import available_cores
from ._threads import Threads
from .kernels.meeting import all_here, arrive

# Looks for the others before a thread goes to sleep. Where a look waits for a `pause`, as on x86, they take about as
# long as it takes to wake a thread, a tenth of a millisecond: waiting costs at most twice what it must.
_LOOKS = 4_000

# Seconds of the first and the longest nap. A thread that sleeps looks by itself: there is no lock for a Ctrl-C to leave
# behind, nor anyone who could fail to wake it.
_NAPS = 2e-5, 1e-3

_CALLED_OFF = 1 << 62


class Meetings:
    """Where ``n`` threads wait for each other again and again: awake for a while if each has a core, then in naps."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._arrived = np.zeros(1, np.int64)
        self._looks = _LOOKS if n <= available_cores() else 1

    def meet(self, nth: int) -> bool:
        """Wait until all have come to their ``nth`` meeting, from 1; return whether none is called off yet."""
        arrive(self._arrived)
        looks, nap = self._looks, _NAPS[0]
        while not all_here(self._arrived, self._n * nth, looks):
            time.sleep(nap)
            looks, nap = 1, min(2 * nap, _NAPS[1])
        return bool(self._arrived[0] < _CALLED_OFF)

    def call_off(self) -> None:
        """Have no more meetings, and let those go who wait."""
        self._arrived[0] = _CALLED_OFF


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
