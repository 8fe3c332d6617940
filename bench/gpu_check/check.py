"""One run of the check: its timings, and what was wrong or skipped."""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from backends import Factorizer, get_backend
from bench.records import CheckComparison, CheckFit, CheckTiming, MachineLimits
from bench.text.wording import plural

MOST_MINUTES = 7.0  # after which nothing new begins

Optimizer = Literal["gd", "adam"]


class Timing(NamedTuple):
    """A time in seconds, for ``n`` ratings and, if known, ``n_bytes`` of memory traffic."""

    what: str
    n: int
    seconds: float
    n_bytes: int = 0

    def as_recorded(self) -> CheckTiming:
        """Return the timing as a record has it."""
        what, n, seconds, n_bytes = self
        return CheckTiming(what=what.strip(), n=n, seconds=max(seconds, 1e-9), bytes=n_bytes)

    def cells(self) -> list[str]:
        """Return the cells of the table: what was timed, ms, ns per rating, TB/s."""
        rate = f"{self.n_bytes / self.seconds / 1e12:.2f}" if self.n_bytes else ""
        return [self.what, f"{1e3 * self.seconds:,.3f}", f"{1e9 * self.seconds / self.n:.4f}", rate]


@dataclass
class Check:
    """One run: where it computes, what it found, what was wrong, what was skipped and why.

    ``limits`` has the device's, once they are measured, and ``cache`` the bytes of its cache.
    """

    smoke: bool
    limits: list[MachineLimits] = field(default_factory=list)
    cache: int = 0
    comparisons: list[CheckComparison] = field(default_factory=list)
    fits: list[CheckFit] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    start: float = field(default_factory=time.perf_counter)

    @property
    def verdict(self) -> str:
        """How much failed or is wrong, in words."""
        return f"{plural(len(self.wrong), 'result')} failed or wrong"

    @property
    def too_late(self) -> str:
        """Why something is skipped that would begin now."""
        return f"the check had taken over {MOST_MINUTES:g} minutes"

    def is_late(self) -> bool:
        """Return whether nothing more is to begin."""
        return time.perf_counter() - self.start > 60 * MOST_MINUTES

    @property
    def device(self) -> str:
        """The device under test."""
        return "cpu" if self.smoke else "cuda"

    @property
    def n_jobs(self) -> int:
        """The host's threads that a solver may use."""
        return 1 if self.smoke else 4

    @cached_property
    def device_name(self) -> str:
        """The name of the device under test, as torch has it."""
        if self.smoke:
            return self.device
        import torch

        return torch.cuda.get_device_name()

    @contextmanager
    def fenced(self, what: str) -> Iterator[None]:
        """Print and record an exception in this block, and continue."""
        try:
            yield
        except Exception as error:
            self.log(f"{what}: FAILED")
            traceback.print_exc(file=sys.stdout)
            self.wrong.append(f"{what}: {type(error).__name__}: {error}")
        if not self.smoke:
            import torch

            with suppress(RuntimeError):  # some of the exceptions above leave the device unusable
                torch.cuda.empty_cache()

    def log(self, text: str) -> None:
        """Print a line with the time since the start of the run."""
        print(f"[{time.perf_counter() - self.start:6.1f} s] {text}", flush=True)

    def skip(self, what: str, why: str) -> None:
        """Record that something cannot run here."""
        self.skipped.append(f"{what}: {why}")
        self.log(f"skipped: {what}: {why}")

    def expect(self, what: str, value: float, limit: float) -> None:
        """Print a number, and record it as wrong unless it is at most ``limit``; NaN is wrong."""
        good = value <= limit
        finite = float(value) if math.isfinite(value) else None
        self.comparisons.append(CheckComparison(what=what, value=finite, limit=limit))
        text = f"{what}: {value:.3g} (limit {limit:.3g})"
        self.log(text if good else f"{text}  <-- WRONG")
        if not good:
            self.wrong.append(text)

    def wait(self) -> None:
        """Wait until the device has finished all its work."""
        if not self.smoke:
            import torch

            torch.cuda.synchronize()

    def add(self, timing: Timing) -> None:
        """Record a timing for the table, and print it."""
        self.timings.append(timing)
        what, milliseconds, per_rating, rate = timing.cells()
        more = f", {rate} TB/s" if rate else ""
        self.log(f"{what}: {milliseconds} ms, {per_rating} ns/rating{more}")

    def time(
        self,
        what: str,
        n: int,
        work: Callable[[], object],
        *,
        repeats: int = 15,
        n_bytes: int = 0,
    ) -> None:
        """Time calls of ``work`` by the device's own clock; record their median.

        Two calls before are not timed. A smoke run times a single call, by the host's clock.
        """
        work()
        if self.smoke:
            began = time.perf_counter()
            work()
            self.add(Timing(what, n, time.perf_counter() - began, n_bytes))
            return

        work()
        self.wait()
        import torch

        seconds = []
        for _ in range(repeats):
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            work()
            after.record()
            after.synchronize()
            seconds.append(before.elapsed_time(after) / 1e3)
        self.add(Timing(what, n, float(np.median(seconds)), n_bytes))

    def solver(
        self,
        optimizer: Optimizer = "gd",
        *,
        device: str | None = None,
        **params: Any,
    ) -> Factorizer:
        """Return a torch solver on the given device, or on the device under test."""
        name = f"torch-{device or self.device}"
        if optimizer == "gd":
            name += "-gd"
        return get_backend(name, n_jobs=self.n_jobs, **params)


def table(timings: list[Timing]) -> list[str]:
    """Return the lines of the table of timings."""
    rows = [["what", "ms", "ns/rating", "TB/s"], *(timing.cells() for timing in timings)]
    # The first column is aligned left, the numbers right.
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for what, *numbers in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, others, strict=True)]
        lines.append("  ".join([what.ljust(first), *cells]).rstrip())
    return lines
