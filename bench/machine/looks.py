"""What is seen of the machine and of its processes, whatever it was read from."""

from __future__ import annotations

from typing import NamedTuple


class CpuTimes(NamedTuple):
    """CPU-seconds of all cores together since the machine started."""

    busy: float  # used by any program or by the system
    stolen: float | None  # taken by the hypervisor; None where the system does not count it


class ProcessSample(NamedTuple):
    """A look at a process and its descendants; the numbers are totals."""

    resident_mb: float
    threads: int
    running: int | None  # threads that are running or waiting for a core; None if it is not shown
    children: tuple[int, ...] = ()  # ids of all descendants
