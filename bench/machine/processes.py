"""What processes and the machine are doing at this moment.

It is read from /proc on Linux and by psutil elsewhere. Functions return None, or an empty list,
where it cannot be read; `watched` says in words what that is.
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from bench.text.wording import words

from . import from_proc, from_psutil
from .looks import CpuTimes, ProcessSample

__all__ = [
    "CpuTimes",
    "ProcessSample",
    "cpu_seconds",
    "cpu_times",
    "family",
    "marked",
    "memory_limit_mb",
    "sample",
    "start_of",
    "watched",
]


class _Reader(Protocol):
    """What `from_proc` and `from_psutil` have in common."""

    def cpu_times(self) -> CpuTimes | None: ...

    def cpu_seconds_of(self, pid: int) -> float: ...

    def family(self, pid: int) -> list[int]: ...

    def sees_children(self, pid: int) -> bool: ...

    def start_of(self, pid: int) -> float | None: ...

    def marked(self, mark: str) -> list[int]: ...

    def look(self, pid: int, is_descendant: bool) -> ProcessSample | None: ...


def cpu_times() -> CpuTimes | None:
    """Return the CPU-seconds that all programs used and those that the hypervisor took."""
    reader = _reader()
    return reader.cpu_times() if reader else None


def cpu_seconds() -> float:
    """Return the CPU-seconds of this process and its descendants, including those that ended."""
    own = time.process_time()
    times = os.times()
    ended = times.children_user + times.children_system
    reader = _reader()
    if reader is None:
        return own + ended
    # Those that this process has not waited for yet.
    living = sum(reader.cpu_seconds_of(pid) for pid in reader.family(os.getpid())[1:])
    return own + ended + living


def family(pid: int) -> list[int]:
    """Return the ids of a process and its descendants, the process first; [] if it is gone."""
    reader = _reader()
    return reader.family(pid) if reader else []


def start_of(pid: int) -> float | None:
    """Return when a process started, by a clock of the system's.

    Ids are reused; an id together with this time identifies a process.
    """
    reader = _reader()
    return reader.start_of(pid) if reader else None


def marked(mark: str) -> list[int]:
    """Return the ids of all processes that were started with "NAME=value" in their environment."""
    reader = _reader()
    return reader.marked(mark) if reader else []


def sample(pid: int) -> ProcessSample | None:
    """Return a look at a process and its descendants; None if the process is gone."""
    reader = _reader()
    if reader is None:
        return None
    descendants = reader.family(pid)[1:]
    own = reader.look(pid, is_descendant=False)
    if own is None:
        return None
    looks = [own]
    for descendant in descendants:
        look = reader.look(descendant, is_descendant=True)
        if look is not None:  # else it ended just now
            looks.append(look)
    running = [look.running for look in looks if look.running is not None]
    return ProcessSample(
        resident_mb=sum(look.resident_mb for look in looks),
        threads=sum(look.threads for look in looks),
        running=sum(running) if len(running) == len(looks) else None,
        children=tuple(descendants),
    )


def watched(pid: int, elsewhere: bool = False) -> str:
    """Return what can be watched of a worker that is alive: "all", or "all but ..." in words.

    ``elsewhere`` is whether processes that are not its descendants work for it.
    """
    reader, seen = _reader(), sample(pid)
    is_seen = {
        "memory": seen is not None,
        "the number of threads": seen is not None,
        "how many threads run at once": seen is not None and seen.running is not None,
        "the load of other programs": cpu_times() is not None,
        "child processes": reader is not None and reader.sees_children(pid),
        # Where it is counted, the parent can ask for it.
        "the CPU time of child processes that have ended": hasattr(os, "wait4"),
        "memory, threads and CPU time of the cluster's executors": not elsewhere,
    }
    unseen = [name for name, is_ in is_seen.items() if not is_]
    return f"all but {words(unseen)}" if unseen else "all"


def memory_limit_mb() -> float | None:
    """Return how much memory a process can use: the machine's, or a control group's limit."""
    # Imported only here, so that what ends processes starts quickly.
    from backends import memory_limit

    limit = memory_limit() or from_psutil.machine_memory()
    return None if limit is None else limit / 2**20


def _reader() -> _Reader | None:
    """Return what to read from; None where there is neither /proc nor psutil."""
    if from_proc.is_there():
        return from_proc
    return from_psutil if from_psutil.is_there() else None
