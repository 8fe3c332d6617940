"""Ctrl-C and threads: only the main thread's fit hears it."""

import signal
import threading

import pytest

from backends._interrupt import checkpoint, delayed_interrupt


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
