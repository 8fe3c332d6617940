"""Threads that take steps together, and wait for each other in between."""

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers import in_fresh_process

numba = pytest.importorskip("numba")

from backends import _steps  # noqa: E402  # they need numba
from backends._steps import Meetings, in_step  # noqa: E402
from backends._threads import Threads  # noqa: E402
from backends.kernels.meeting import all_here, arrive  # noqa: E402


def test_threads_that_started_do_not_wait_for_one_that_cannot() -> None:
    code = """
from backends._steps import in_step
from backends._threads import Threads
threads, started = Threads(3), []
submit = threads._others.submit
def submit_one(*call):
    if started:
        raise RuntimeError("can't start new thread")
    started.append(call)
    return submit(*call)
threads._others.submit = submit_one
try:
    in_step(threads, lambda thread, step: None, 5, lambda: None)
except RuntimeError as error:
    print(error)
"""
    assert in_fresh_process(code, timeout=60).strip() == "can't start new thread"


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_threads_go_in_step(n_threads: int) -> None:
    """None starts a step before all have ended the one before; the caller's thread pauses before each of its own."""
    ended: list[int] = []
    pauses: list[int] = []

    def call(thread: int, step: int) -> tuple[int, int]:
        assert len(ended) >= step * n_threads
        time.sleep(0.001 * thread)
        ended.append(step)
        return thread, step

    got = in_step(Threads(n_threads), call, 5, lambda: pauses.append(len(ended)))
    assert got == [[(thread, step) for step in range(5)] for thread in range(n_threads)]
    assert len(pauses) == 5
    assert ended == sorted(ended)


@pytest.fixture(params=["awake", "napping"])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for as long as they must in one of the two ways."""
    awake = request.param == "awake"
    monkeypatch.setattr(_steps, "available_cores", lambda: 8 if awake else 1)
    monkeypatch.setattr(_steps, "_LOOKS", 10**8)
    if awake:
        monkeypatch.setattr(_steps, "_NAPS", (3600, 3600))


def run_daemons(*calls: Callable[[], object]) -> None:
    """Run calls in threads of their own; fail where one does not end."""
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.usefixtures("waiting")
def test_threads_meet_once_all_have_come() -> None:
    meetings, came, counts = Meetings(3), [], []

    def come(thread: int) -> None:
        for nth in range(1, 20):
            time.sleep(0.0005 * ((thread + nth) % 3))
            came.append(nth)
            assert meetings.meet(nth)
            counts.append(came.count(nth))

    run_daemons(*(partial(come, thread) for thread in range(3)))
    assert counts == [3] * 57


@pytest.mark.usefixtures("waiting")
def test_meetings_that_are_called_off_let_go_who_waits() -> None:
    meetings, met = Meetings(3), []
    waiting = [lambda: met.append(meetings.meet(1))] * 2
    run_daemons(*waiting, lambda: (time.sleep(0.01), meetings.call_off()))
    assert met == [False, False]
    assert not meetings.meet(1)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that interrupts")
@pytest.mark.usefixtures("waiting")
def test_an_interrupt_in_a_meeting_leaves_nobody_behind() -> None:
    """A second Ctrl-C strikes anywhere."""
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for trial in range(100):
            meetings = Meetings(2)

            def come(meetings: Meetings = meetings) -> None:
                nth = 1
                while meetings.meet(nth):
                    nth += 1

            other = threading.Thread(target=come, daemon=True)
            other.start()
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 7e-6 * trial)
                come()
            meetings.call_off()
            other.join(60)
            assert not other.is_alive()
    finally:
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize(("n_cores", "looks"), [(1, 1), (2, 4_000), (3, 4_000)])
def test_threads_stay_awake_only_where_each_has_a_core(
    n_cores: int, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(_steps, "available_cores", lambda: n_cores)
    monkeypatch.setattr(_steps, "all_here", lambda arrived, wanted, n_looks: asked.append((wanted, n_looks)) or True)
    assert Meetings(2).meet(3)
    assert asked == [(6, looks)]


def test_every_arrival_counts() -> None:
    arrived = np.zeros(1, np.int64)

    @numba.njit(nogil=True)
    def arrive_often(arrived: Any) -> None:
        for _ in range(1_000_000):
            arrive(arrived)
            all_here(arrived, 0, 1)  # else the compiler might make one addition of all

    Threads(2).run(arrive_often, [(arrived,)] * 2)
    assert arrived == 2_000_000
    assert all_here(arrived, 2_000_000, 1)
    assert not all_here(arrived, 2_000_001, 10)


@pytest.mark.parametrize("who", [0, 1])
def test_a_step_that_raises_is_the_last_of_all_threads(who: int) -> None:
    steps: list[int] = []

    def call(thread: int, step: int) -> None:
        steps.append(step)
        if (thread, step) == (who, 2):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_step(Threads(3), call, 100, lambda: None)
    assert max(steps) == 2


def test_an_interrupt_in_a_pause_ends_all_threads() -> None:
    steps: list[int] = []

    def pause() -> None:
        if len(steps) >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_step(Threads(3), lambda thread, step: steps.append(step), 100, pause)
    assert max(steps) <= 3
