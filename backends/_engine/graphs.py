"""Work that is the same every time, recorded once as a CUDA graph and launched as a whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

_PLAIN_RUNS = 2  # before recording: libraries allocate what they need in their first runs
_MOST_GRAPHS = 64  # of a fit: each takes memory, and time to record

_recording = threading.Lock()  # torch records one graph of a process at a time


class Graphs:
    """What records the work of one fit.

    Parameters
    ----------
    device
        Where the work is done.
    n
        How many pieces of work there are. With very many none is recorded.
    enabled
        Whether to record at all.
    """

    def __init__(self, device: torch.device, n: int = 1, *, enabled: bool = True) -> None:
        self.device = device
        self.module: Any = getattr(torch, device.type)
        self.records = enabled and n <= _MOST_GRAPHS and hasattr(self.module, "CUDAGraph")
        # All pieces share a stream and memory: none of them leaves anything there for another.
        self.stream: Any = self.module.Stream(device) if self.records else None
        self.pool = self.module.graph_pool_handle() if self.records else None


class Recorder:
    """Runs one piece of work again and again: launch by launch at first, then as a recorded graph.

    Recording saves the time that the host takes for each launch. The work must read and write the
    same memory every time, and must not wait for the device. On a device without graphs, or if the
    work cannot be recorded, it is always run as it is.

    Attributes
    ----------
    problem
        Why the work could not be recorded; "" if it was, or was not tried.
    """

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._graph: Any = None
        self._n_runs = 0
        self.problem = ""

    @property
    def is_recorded(self) -> bool:
        """Whether the work is launched as a graph."""
        return self._graph is not None

    def forget(self) -> None:
        """Run the work launch by launch from now on."""
        self._graph, self.problem = None, "forgotten"

    def run(self, work: Callable[[], object]) -> None:
        """Run the work once."""
        if self._graph is not None:
            self._graph.replay()
        elif not self._graphs.records or self.problem:
            work()
        elif self._n_runs < _PLAIN_RUNS:
            self._n_runs += 1
            self._on_the_stream(work)
        else:
            self._record(work)
            self.run(work)

    def _on_the_stream(self, work: Callable[[], object]) -> None:
        """Run the work on the stream that it will be recorded on."""
        graphs = self._graphs
        current = graphs.module.current_stream(graphs.device)
        graphs.stream.wait_stream(current)
        with graphs.module.stream(graphs.stream):
            work()
        current.wait_stream(graphs.stream)

    def _record(self, work: Callable[[], object]) -> None:
        """Record the work; nothing is executed."""
        graphs, graph = self._graphs, self._graphs.module.CUDAGraph()
        options = {"pool": graphs.pool, "stream": graphs.stream}
        try:
            # Other threads may use the device meanwhile.
            with (
                _recording,
                graphs.module.graph(graph, **options, capture_error_mode="thread_local"),
            ):
                work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.problem = str(error).splitlines()[0]
        else:
            self._graph = graph
