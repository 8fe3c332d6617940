"""Ctrl-C and threads: only the main thread's fit hears it."""

import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from backends import Ratings
from backends._interrupt import checkpoint, delayed_interrupt
from backends._threads import Threads
from bench.reference import find_reference


def test_a_held_interrupt_acts_at_a_checkpoint() -> None:
    passed: list[str] = []
    with pytest.raises(KeyboardInterrupt), delayed_interrupt():
        signal.raise_signal(signal.SIGINT)
        passed.append("held")
        checkpoint()
        passed.append("too far")
    assert passed == ["held"]


def test_a_held_interrupt_acts_at_the_end_of_the_block() -> None:
    passed: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        with delayed_interrupt():
            signal.raise_signal(signal.SIGINT)
            passed.append("whole")
        passed.append("too far")
    assert passed == ["whole"]


def test_another_threads_checkpoint_leaves_it_to_the_main_thread() -> None:
    heard: list[str] = []

    def background() -> None:
        try:
            checkpoint()
        except KeyboardInterrupt:
            heard.append("background")

    with pytest.raises(KeyboardInterrupt), delayed_interrupt():
        signal.raise_signal(signal.SIGINT)
        thread = threading.Thread(target=background)
        thread.start()
        thread.join()
    assert heard == []


# ---- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_calls", [0, 1, 2, 3, 12])
def test_each_call_is_made_once_and_results_keep_their_order(n_calls: int) -> None:
    made: list[int] = []
    arguments = [(n, 10 * n) for n in range(n_calls)]
    assert Threads(3).run(lambda a, b: made.append(a) or a + b, arguments) == [11 * n for n in range(n_calls)]
    assert sorted(made) == list(range(n_calls))


def test_many_calls_are_shared_by_all_threads() -> None:
    """Each call waits for another beside it: the caller must take as many as its one helper."""
    both = threading.Barrier(2)
    helpers = Threads(2).run(lambda n: (both.wait(60), threading.current_thread())[1], [(n,) for n in range(8)])
    assert helpers.count(threading.current_thread()) == 4


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


def test_an_interrupted_reference_is_none_and_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit takes Ctrl-C for the wish to have its model as it is; a reference of such a model would be wrong."""
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path))
    rng = np.random.default_rng(0)
    parts = [Ratings(*rng.integers(0, 30, (2, 900)), rng.normal(3, 1, 900), 30, 30) for _ in range(2)]

    def strike(text: str) -> None:
        if text.startswith("reference, seed 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_reference(*parts, None, rank=2, reg=0.1, key="a key", say=strike)
    assert list(tmp_path.rglob("*.json")) == []
    find_reference(*parts, None, rank=2, reg=0.1, key="a key")
    assert len(list(tmp_path.rglob("*.json"))) == 1
