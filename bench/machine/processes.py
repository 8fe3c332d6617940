"""What processes and the machine are doing, read from the system at one moment. None where it cannot be read.

Linux's /proc is read by hand: psutil would say the same of processes, but not which threads wait for a core, and it
looks through all processes of the machine for the children of one: a millisecond, where a look is taken every five.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class CpuTimes(NamedTuple):
    """CPU-seconds since the machine started, of all cores together."""

    busy: float
    stolen: float


class ProcessSample(NamedTuple):
    """One look at a process and all that descend from it."""

    resident_mb: float
    threads: int
    running: int  # threads that run or wait for a core
    children: tuple[int, ...] = ()  # that descend from it


def cpu_times() -> CpuTimes | None:
    """Read what all programs have used, and what the hypervisor took."""
    try:
        user, nice, system, _, _, irq, soft, stolen = (
            int(one) for one in (_PROC / "stat").read_text("utf-8").split(maxsplit=9)[1:9]
        )
    except (OSError, ValueError):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    return CpuTimes((user + nice + system + irq + soft) / tick, stolen / tick)


def cpu_seconds() -> float:
    """Return the CPU-seconds of this process and all that descend from it, those that have ended included."""
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system + _of_the_living(os.getpid())


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it; [] where that cannot be read."""
    try:
        tasks = [task.name for task in (_PROC / str(pid) / "task").iterdir()]
    except OSError:
        return []
    found = [pid]
    for task in tasks:
        with contextlib.suppress(OSError):  # a thread that has ended, or a system without such a file
            children = (_PROC / str(pid) / "task" / task / "children").read_text("utf-8").split()
            found += [one for child in children for one in family(int(child))]
    return found


def start_of(pid: int) -> int | None:
    """Return when a process began, in ticks since the machine did: what tells it from an earlier one of its number."""
    try:
        return int((_PROC / str(pid) / "stat").read_text("utf-8").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def sample(pid: int) -> ProcessSample | None:
    """Look at a process and all that descend from it."""
    first, *children = family(pid) or [pid]
    own = _look(first, first=True)
    if own is None:
        return None
    looks = [own, *filter(None, (_look(child, first=False) for child in children))]
    resident, threads, running, _ = zip(*looks, strict=True)
    return ProcessSample(sum(resident), sum(threads), sum(running), tuple(children))


def memory_limit_mb() -> float | None:
    """Return what a process may use here: the machine's memory, or the limit of the control group it runs in."""
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20]
    except (ValueError, OSError, AttributeError):
        return None
    for path in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int((Path("/sys/fs/cgroup") / path).read_text("utf-8")) / 2**20)
        except (OSError, ValueError):  # no control groups of this version, or "max"
            continue
    return min(limits)


def _of_the_living(pid: int) -> float:
    """Return the CPU-seconds of those that descend from a process and have not been waited for."""
    ticks = 0
    for child in family(pid)[1:]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (_PROC / str(child) / "stat").read_text("utf-8").rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])  # user and system, its own and of its ended children
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _look(pid: int, first: bool) -> ProcessSample | None:
    """Look at one process; of one that another one started, only the memory that is not shared counts."""
    folder = _PROC / str(pid)
    try:
        status = (folder / "status").read_text("utf-8")
        resident = int(status.partition("VmRSS:")[2].split()[0]) if first else _private_kb(folder)
        tasks = list((folder / "task").iterdir())
    except (OSError, IndexError, ValueError):
        return None
    return ProcessSample(resident / 1024, len(tasks), sum(_state(task) == "R" for task in tasks))


def _private_kb(folder: Path) -> int:
    lines = (folder / "smaps_rollup").read_text("utf-8").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _state(task: Path) -> str:
    """Return the letter of a thread's state, "" for one that has ended."""
    try:
        return (task / "stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
