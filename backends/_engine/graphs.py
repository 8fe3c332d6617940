"""Work that is the same every time, recorded once as a CUDA graph and launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_PLAIN_RUNS = 2  # before recording: libraries allocate what they need in their first runs


class Recorder:
    """Runs one piece of work again and again: launch by launch at first, then as a recorded graph.

    Recording saves the time that the host takes for each launch. The work must read and write the
    same memory every time, and must not wait for the device. On a device without graphs, or if the
    work cannot be recorded, it is always run as it is.

    Parameters
    ----------
    device
        Where the work is done.
    enabled
        Whether to record at all.

    Attributes
    ----------
    problem
        Why the work could not be recorded; "" if it was, or was not tried.
    """

    def __init__(self, device: torch.device, *, enabled: bool = True) -> None:
        self._device = device
        self._module: Any = getattr(torch, device.type)
        self._graph: Any = None
        self._n_runs = 0
        self._records = enabled and hasattr(self._module, "CUDAGraph")
        self.problem = ""

    def run(self, work: Callable[[], object]) -> None:
        """Run the work once."""
        if not self._records:
            work()
        elif self._n_runs < _PLAIN_RUNS:
            self._n_runs += 1
            self._on_another_stream(work)
        elif self._graph is None:
            self._record(work)
            self.run(work)
        else:
            self._graph.replay()

    def _on_another_stream(self, work: Callable[[], object]) -> None:
        """Run the work as it will be recorded, on another stream than the current one."""
        current = self._module.current_stream(self._device)
        other = self._module.Stream(self._device)
        other.wait_stream(current)
        with self._module.stream(other):
            work()
        current.wait_stream(other)

    def _record(self, work: Callable[[], object]) -> None:
        """Record the work; nothing is executed."""
        graph = self._module.CUDAGraph()
        try:
            with self._module.device(self._device), self._module.graph(graph):
                work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._records, self.problem = False, str(error).splitlines()[0]
        else:
            self._graph = graph
