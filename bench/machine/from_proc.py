"""Processes and the machine as Linux's /proc shows them.

psutil is not used where there is /proc: it does not tell which threads are waiting for a core, and
to find the children of one process it searches all processes of the machine. That takes a
millisecond, and a worker whose memory is watched is sampled every five.

In ``/proc/PID/stat`` the second field, the name of the program in parentheses, may itself contain
spaces and parentheses. So everything here starts after the last ")": field 0 is the state.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .looks import CpuTimes, ProcessSample

_PROC = Path("/proc")


def is_there() -> bool:
    """Return whether there is a /proc like Linux's."""
    return (_PROC / "self" / "task").exists()


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


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU-seconds of a process and of children that it has waited for; 0 if gone."""
    ticks = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = sum(int(field) for field in _stat(_PROC / str(pid))[11:15])
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


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


def sees_children(pid: int) -> bool:
    """Return whether the kernel lists the children of a process."""
    return (_PROC / str(pid) / "task" / str(pid) / "children").exists()


def start_of(pid: int) -> float | None:
    """Return when a process started, in clock ticks since the machine did."""
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


def look(pid: int, is_descendant: bool) -> ProcessSample | None:
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
