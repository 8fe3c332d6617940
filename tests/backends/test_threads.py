"""A fit's own threads: which calls what, and that none is left behind or kept alive."""

import gc
import signal
import threading
import time
import weakref

import pytest

from backends._engine import threads
from backends._engine.threads import Threads


@pytest.mark.parametrize("n_calls", [0, 1, 2, 3, 12])
def test_each_call_is_made_once_and_results_keep_their_order(n_calls: int) -> None:
    made: list[int] = []

    def add(a: int, b: int) -> int:
        made.append(a)
        return a + b

    arguments = [(n, 10 * n) for n in range(n_calls)]
    assert Threads(3).run(add, arguments) == [11 * n for n in range(n_calls)]
    assert sorted(made) == list(range(n_calls))


def test_many_calls_are_shared_by_all_threads() -> None:
    """Each call waits for a second one: the caller must take as many as its one helper."""
    both = threading.Barrier(2)

    def meet(n: int) -> threading.Thread:
        both.wait(60)
        return threading.current_thread()

    callers = Threads(2).run(meet, [(n,) for n in range(8)])
    assert callers.count(threading.current_thread()) == 4


@pytest.mark.parametrize("who", ["caller", "helper"])
def test_no_call_starts_after_one_that_raised(who: str) -> None:
    started: list[int] = []
    together = threading.Barrier(2)

    def call(n: int) -> None:
        started.append(n)
        if n < 2:
            together.wait(60)
            if (who == "caller") == (threading.current_thread() is threading.main_thread()):
                raise KeyboardInterrupt
        time.sleep(0.02)

    with pytest.raises(KeyboardInterrupt):
        Threads(2).run(call, [(n,) for n in range(200)])
    assert len(started) < 100


def test_an_index_error_of_a_call_is_not_taken_for_the_end() -> None:
    with pytest.raises(IndexError, match="of the call"):
        Threads(2).run(out_of_range, [(n,) for n in range(3)])


def out_of_range(n: int) -> None:
    raise IndexError("of the call")


def gone(thread: threading.Thread) -> bool:
    gc.collect()
    thread.join(60)
    return not thread.is_alive()


def test_threads_that_started_go_home_if_another_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def start_one(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Threads(3).run(lambda n: n, [(0,), (1,), (2,)])
    assert gone(started[0])


def test_threads_go_home_with_their_owner() -> None:
    def pause(n: int) -> threading.Thread:
        time.sleep(0.01)
        return threading.current_thread()

    threads = Threads(3)
    owned = threads.run(pause, [(0,), (1,), (2,)])[1:]
    assert len(set(owned)) == 2
    threads.cycle = threads  # type: ignore[attr-defined]  # so that the garbage collector finds it
    del threads
    assert all(map(gone, owned))


def test_a_ctrl_c_waits_until_threads_have_started(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def struck(thread: threading.Thread) -> None:
        if len(threads._workers) == 0:
            signal.raise_signal(signal.SIGINT)
        start(thread)

    threads = Threads(3)
    monkeypatch.setattr(threading.Thread, "start", struck)
    with pytest.raises(KeyboardInterrupt):
        threads.run(lambda n: n, [(0,), (1,), (2,)])
    assert len(threads._workers) == 2
    assert threads.run(lambda n: n, [(0,), (1,), (2,)]) == [0, 1, 2]


def test_no_more_threads_start_than_there_are_calls() -> None:
    threads = Threads(100_000)
    assert threads.run(lambda n: n, [(7,)]) == [7]
    assert len(threads._workers) == 0
    assert threads.run(lambda n: n, [(7,), (8,)]) == [7, 8]
    assert len(threads._workers) == 1


def test_a_call_that_ends_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_RECHECK_INTERVAL", 3600)
    assert Threads(2).run(lambda seconds: time.sleep(seconds), [(0,), (0.05,)]) == [None, None]


@pytest.mark.parametrize("who", [0, 1])
def test_when_a_call_raises_the_others_are_told_to_give_up(who: int) -> None:
    """The caller's error comes at once, a helper's when the caller is done."""
    told = threading.Event()

    def call(place: int) -> None:
        if place == who:
            raise ZeroDivisionError
        assert who == 1 or told.wait(60)

    with pytest.raises(ZeroDivisionError):
        Threads(2).run(call, [(0,), (1,)], told.set)
    assert told.is_set() == (who == 0)


def test_an_error_keeps_nothing_alive() -> None:
    class Tables:
        pass

    tables = Tables()
    watched = weakref.ref(tables)

    def call(place: int, tables: Tables) -> None:
        if place:
            raise ZeroDivisionError

    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError):
            Threads(2).run(call, [(0, tables), (1, tables)])
        del tables
        assert watched() is None
    finally:
        gc.enable()
