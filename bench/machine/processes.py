"""What processes and the machine are doing at this moment, read from Linux's /proc.

Functions return None, or an empty list, where that cannot be read.

psutil is not used: it does not tell which threads are waiting for a core, and to find the children
of one process it searches all processes of the machine. That takes a millisecond, and a worker
whose memory is watched is sampled every five.

In ``/proc/PID/stat`` the second field, the name of the program in parentheses, may itself contain
spaces and parentheses. So everything here starts after the last ")": field 0 is the state.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

from backends import memory_limit

_PROC = Path("/proc")


class CpuTimes(NamedTuple):
    """CPU-seconds of all cores together since the machine started."""

    busy: float  # used by any program or by the system
    stolen: float  # taken by the hypervisor


class ProcessSample(NamedTuple):
    """A look at a process and its descendants; the numbers are totals."""

    resident_mb: float
    threads: int
    running: int  # threads that are running or waiting for a core
    children: tuple[int, ...] = ()  # ids of all descendants


def cpu_times() -> CpuTimes | None:
    """Return the CPU-seconds that all programs used and those that the hypervisor took."""
    try:
        fields = (_PROC / "stat").read_text("utf-8").split(maxsplit=9)  # of the line "cpu ..."
        # The two that are left out are idle time and time waiting for disks.
        user, nice, system, _, _, irq, soft, stolen = (int(field) for field in fields[1:9])
    except (OSError, ValueError):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    return CpuTimes((user + nice + system + irq + soft) / tick, stolen / tick)


def cpu_seconds() -> float:
    """Return the CPU-seconds of this process and its descendants, including those that ended."""
    own = time.process_time()
    times = os.times()
    ended = times.children_user + times.children_system
    return own + ended + _of_living_descendants(os.getpid())


def family(pid: int) -> list[int]:
    """Return the ids of a process and its descendants, the process first; [] if it is gone."""
    try:
        threads = list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []
    found = [pid]
    for thread in threads:  # children are listed by the thread that started them
        with contextlib.suppress(OSError):  # a thread that has ended, or a kernel without the file
            for child in (thread / "children").read_text("utf-8").split():
                found += family(int(child))
    return found


def start_of(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the machine did.

    Ids are reused; an id together with this time identifies a process.
    """
    try:
        return int(_stat(_PROC / str(pid))[19])
    except (OSError, ValueError, IndexError):
        return None


def marked(mark: str) -> list[int]:
    """Return the ids of all processes that were started with "NAME=value" in their environment."""
    found = []
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def sample(pid: int) -> ProcessSample | None:
    """Return a look at a process and its descendants; None if the process is gone."""
    descendants = family(pid)[1:]
    own = _look(pid, is_descendant=False)
    if own is None:
        return None
    looks = [own]
    for descendant in descendants:
        look = _look(descendant, is_descendant=True)
        if look is not None:  # else it ended just now
            looks.append(look)
    return ProcessSample(
        resident_mb=sum(look.resident_mb for look in looks),
        threads=sum(look.threads for look in looks),
        running=sum(look.running for look in looks),
        children=tuple(descendants),
    )


def memory_limit_mb() -> float | None:
    """Return how much memory a process can use: the machine's, or a control group's limit."""
    limit = memory_limit()
    return None if limit is None else limit / 2**20


def _of_living_descendants(pid: int) -> float:
    """Return the CPU-seconds of a process's descendants that it has not waited for yet."""
    ticks = 0
    for descendant in family(pid)[1:]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            # User and system time, of the process itself and of children that it has waited for.
            ticks += sum(int(field) for field in _stat(_PROC / str(descendant))[11:15])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _look(pid: int, is_descendant: bool) -> ProcessSample | None:
    """Return a look at a single process; None if it is gone.

    Memory that a descendant shares with others, such as libraries, is not counted again.
    """
    folder = _PROC / str(pid)
    try:
        if is_descendant:
            resident_kb = _private_kb(folder)
        else:
            status = (folder / "status").read_text("utf-8")
            resident_kb = int(status.partition("VmRSS:")[2].split()[0])
        threads = list((folder / "task").iterdir())
    except (OSError, IndexError, ValueError):
        return None
    running = sum(_is_running(thread) for thread in threads)
    return ProcessSample(resident_kb / 1024, len(threads), running)


def _private_kb(folder: Path) -> int:
    lines = (folder / "smaps_rollup").read_text("utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _is_running(thread: Path) -> bool:
    """Return whether a thread is running or waiting for a core; False if it has ended."""
    try:
        return _stat(thread)[0] == "R"
    except (OSError, IndexError):
        return False


def _stat(folder: Path) -> list[str]:
    """Return the fields of a process's or thread's stat file that follow its name."""
    return (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
