"""Threads that work off the tasks of one epoch, and sleep where a task has to wait for long."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from backends.kernels.epoch import CANCELLED, DONE, NO_TASK, WAITING
from backends.kernels.layout import new_counters

from .cores import available_cores
from .threads import Threads

# How many times a waiting thread reads a counter before it goes to sleep. On x86 each read is
# followed by a `pause`, and so many take about 0.1 ms, as long as it takes to wake a thread: a wait
# then costs at most twice what it would if its length were known beforehand.
_POLLS = 4_000

# Seconds. Each sleep of a wait is twice as long as the one before. The sleeper wakes by itself: a
# lock or a condition to wake it could be left locked by a Ctrl-C.
_FIRST_SLEEP = 2e-5
_LONGEST_SLEEP = 1e-3

ClaimedTask = NDArray[np.int64]
Counters = NDArray[np.int64]


def share_tasks(
    threads: Threads,
    n_counters: int,
    do_tasks: Callable[[ClaimedTask, Counters, int], int],
    check: Callable[[], object],
) -> None:
    """Have every thread call ``do_tasks`` until it returns `DONE`.

    Parameters
    ----------
    n_counters
        Number of counters that the tasks share; they start at zero.
    do_tasks
        Called as ``do_tasks(claimed_task, counters, n_polls)``; see `kernels.epoch.do_tasks`.
    check
        Called by the caller's thread before each of its calls, to raise a pending Ctrl-C. When it
        or a call raises, the other threads finish the task that they are at and stop.
    """
    counters = new_counters(n_counters)
    # Polling pays only where the thread that is waited for has a core to run on meanwhile.
    n_polls = _POLLS if threads.n <= available_cores() else 1

    def cancel() -> None:
        counters[:, 0] = CANCELLED

    def work(thread: int) -> None:
        claimed_task, sleep = np.full(1, NO_TASK), _FIRST_SLEEP
        try:
            while True:
                if thread == 0:
                    check()
                result = do_tasks(claimed_task, counters, n_polls)
                if result == DONE:
                    return
                if result == WAITING:
                    time.sleep(sleep)
                    sleep = min(2 * sleep, _LONGEST_SLEEP)
                else:
                    sleep = _FIRST_SLEEP
        except BaseException:
            # The others may be waiting for the task that this thread will not finish.
            cancel()
            raise

    threads.run(work, [(thread,) for thread in range(threads.n)], cancel)
