"""Ctrl-C at a chosen place inside a step, for the conformance suite."""

from __future__ import annotations

import gc
import math
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from backends.factorizer import Factorizer
from backends.ratings import Ratings

INTERRUPT_POINTS = 24  # places inside a step at which a Ctrl-C is tried, besides the last ones
LAST_POINTS = 12  # the end of a step, where an epoch takes effect, is tried place by place


class InterruptedStep:
    """A fit in which SIGINT is raised at one place in the third epoch.

    A place is a call or return, of Python or C functions, counted from the start of the step to the
    start of the next: the interpreter looks for signals there, so any of them may be where a real
    Ctrl-C takes effect.
    """

    def __init__(self, solver: Factorizer, at: int | None) -> None:
        self.solver, self.at, self.n_events, self._steps = solver, at, 0, 0
        self._step = solver.step
        vars(solver)["step"] = self._counted_step

    def fit(self, train: Ratings) -> Factorizer:
        """Fit four epochs, interrupted at the chosen place."""
        before, collects = sys.getprofile(), gc.isenabled()
        # A collection calls back whoever wants to know of it, such as Hypothesis. These calls would
        # be counted in one fit and not in the next, and what is raised in them is ignored.
        gc.disable()
        try:
            with default_sigint():
                self.solver.fit(train, epochs=4, max_seconds=math.inf, evaluate=False)
        finally:
            sys.setprofile(before)
            if collects:
                gc.enable()
            del vars(self.solver)["step"]
        return self.solver

    def _counted_step(self, state: Any, n_epochs: int) -> float:
        self._steps += 1
        if self._steps == 3:
            sys.setprofile(self._count)
        elif self._steps == 4:
            sys.setprofile(None)
        return self._step(state, n_epochs)

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code is InterruptedStep._counted_step.__code__ and self.n_events:
            return  # the end of the wrapper itself, and the start of the next step
        self.n_events += 1
        if self.n_events == self.at:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)


@contextmanager
def default_sigint() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt inside the block, as outside a test runner."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def needs_main_thread() -> None:
    """Skip a test whose Ctrl-C would reach another thread."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("Ctrl-C reaches the main thread only, and this is another")
