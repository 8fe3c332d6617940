"""What processes and the machine are doing, read from the system at one moment. None where it cannot be read.

Linux's /proc is read by hand: psutil would say the same of processes, but not which threads wait for a core.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")


class CpuTimes(NamedTuple):
    """CPU-seconds since the machine started, of all cores together."""

    busy: float
    stolen: float


class ProcessSample(NamedTuple):
    """One look at a process."""

    resident_mb: float
    threads: int
    running: int  # threads that run or wait for a core


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


def sample(pid: int) -> ProcessSample | None:
    """Look at a process."""
    try:
        status = (_PROC / str(pid) / "status").read_text("utf-8")
        resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        tasks = list((_PROC / str(pid) / "task").iterdir())
    except (OSError, IndexError, ValueError):
        return None
    return ProcessSample(resident, len(tasks), sum(_state(task) == "R" for task in tasks))


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


def _state(task: Path) -> str:
    """Return the letter of a thread's state, "" for one that has ended."""
    try:
        return (task / "stat").read_text("utf-8").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
