"""Threads that share tasks, and take naps where one has to wait for long."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from backends.kernels.epoch import CALLED_OFF, DONE, NOTHING, WAITING
from backends.kernels.layout import new_counters

from .threads import Threads, available_cores

# Looks at what others count before a thread goes to sleep. Where a look waits for a `pause`, as on x86, they take about
# as long as it takes to wake a thread, a tenth of a millisecond: waiting costs at most twice what it must.
_LOOKS = 4_000

# Seconds of the first and the longest nap. A thread that sleeps looks by itself: there is no lock for a Ctrl-C to leave
# behind, nor anyone who could fail to wake it.
_NAPS = 2e-5, 1e-3

Hand = NDArray[np.int64]
Counters = NDArray[np.int64]


def share_tasks(
    threads: Threads, n_counters: int, do: Callable[[Hand, Counters, int], int], pause: Callable[[], object]
) -> None:
    """Have each thread call ``do(hand, counters, n_looks)`` until that returns `DONE`; see `do_tasks`.

    The caller's thread calls ``pause`` before each of its calls; what that raises, or a call, ends the others after the
    task that they are at. Threads stay awake for ``n_looks`` only where each has a core.
    """
    counters = new_counters(n_counters)
    n_looks = _LOOKS if threads.n <= available_cores() else 1

    def call_off() -> None:
        counters[:, 0] = CALLED_OFF

    def work(thread: int) -> None:
        hand, nap = np.full(1, NOTHING), _NAPS[0]
        try:
            while True:
                if thread == 0:
                    pause()
                result = do(hand, counters, n_looks)
                if result == DONE:
                    return
                if result == WAITING:
                    time.sleep(nap)
                    nap = min(2 * nap, _NAPS[1])
                else:
                    nap = _NAPS[0]
        except BaseException:
            call_off()
            raise

    threads.run(work, [(thread,) for thread in range(threads.n)], call_off)
