"""Processes and the machine as psutil shows them, where there is no /proc: macOS and Windows.

psutil is imported only when something is read, as no worker on Linux should contain it.
"""

from __future__ import annotations

import contextlib
from types import ModuleType
from typing import Any

from .looks import CpuTimes, ProcessSample


def is_there() -> bool:
    """Return whether psutil is installed."""
    return _psutil() is not None


def cpu_times() -> CpuTimes | None:
    """Return the CPU-seconds that all programs used and those that the hypervisor took."""
    psutil = _required()
    try:
        times = psutil.cpu_times()
    except (psutil.Error, OSError):
        return None
    # Each system has some of these. On Windows "system" contains the interrupts.
    busy = sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
    return CpuTimes(busy, getattr(times, "steal", None))


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU-seconds of a process and of children that it has waited for; 0 if gone."""
    psutil = _required()
    with contextlib.suppress(psutil.Error, OSError):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)
    return 0.0


def family(pid: int) -> list[int]:
    """Return the ids of a process and its descendants, the process first; [] if it is gone."""
    psutil = _required()
    try:
        children = psutil.Process(pid).children(recursive=True)
    except (psutil.Error, OSError):
        return []
    return [pid, *(child.pid for child in children)]


def sees_children(pid: int) -> bool:
    """Return whether the children of a process can be found."""
    return bool(family(pid))


def start_of(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch."""
    psutil = _required()
    with contextlib.suppress(psutil.Error, OSError):
        return float(psutil.Process(pid).create_time())
    return None


def marked(mark: str) -> list[int]:
    """Return the ids of all processes that were started with "NAME=value" in their environment."""
    psutil = _required()
    name, _, value = mark.partition("=")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # it has ended, or is another user's
            if process.environ().get(name) == value:
                found.append(process.pid)
    return found


def look(pid: int, is_descendant: bool) -> ProcessSample | None:
    """Return a look at a single process; None if it is gone, or the system refuses."""
    psutil = _required()
    try:
        process = psutil.Process(pid)
        resident = _private(process) if is_descendant else process.memory_info().rss
        return ProcessSample(resident / 2**20, process.num_threads(), None)
    except (psutil.Error, OSError):
        return None


def machine_memory() -> int | None:
    """Return the bytes of memory of the machine."""
    psutil = _psutil()
    return int(psutil.virtual_memory().total) if psutil else None


def peak_memory() -> int | None:
    """Return the peak of this process's resident memory in bytes; None but on Windows."""
    psutil = _psutil()
    return getattr(psutil.Process().memory_info(), "peak_wset", None) if psutil else None


def _private(process: Any) -> int:
    """Return the bytes that a process shares with no other; all, where that takes a privilege."""
    with contextlib.suppress(_required().AccessDenied):
        return int(process.memory_full_info().uss)
    return int(process.memory_info().rss)


def _psutil() -> ModuleType | None:
    try:
        import psutil
    except ImportError:
        return None
    found: ModuleType = psutil
    return found


def _required() -> Any:
    """Return psutil. Nobody asks without it: see `processes`."""
    found = _psutil()
    assert found is not None
    return found
