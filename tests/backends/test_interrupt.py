"""Ctrl-C and threads: only a fit in the main thread receives it."""

import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from backends import Ratings
from backends._engine.interrupt import checkpoint, delayed_interrupt
from bench.cases.reference import find_reference


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


def test_an_interrupted_reference_is_none_and_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Ctrl-C a fit keeps its model as it is; a reference of such a model would be wrong."""
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path))
    rng = np.random.default_rng(0)
    parts = [
        Ratings(*rng.integers(0, 30, (2, 900)), rng.normal(3, 1, 900), 30, 30) for _ in range(2)
    ]

    def strike(text: str) -> None:
        if text.startswith("reference, seed 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_reference(*parts, None, rank=2, reg=0.1, damping=1.0, key="a key", notify=strike)
    assert list(tmp_path.rglob("*.json")) == []
    find_reference(*parts, None, rank=2, reg=0.1, damping=1.0, key="a key")
    assert len(list(tmp_path.rglob("*.json"))) == 1
