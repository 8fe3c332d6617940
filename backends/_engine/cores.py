"""How many cores and how much memory this process may use.

Beside the machine and the affinity of the process, Linux's control groups limit both: those of
containers, systemd's slices and batch systems. A limit of any group that the process is in counts,
from its own up to the topmost one that can be seen. Groups come in two versions, side by side on
some systems; see cgroups(7), and proc(5) for the files of the process.
"""

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

_PROC = Path("/proc/self")


def available_cores() -> int:
    """Return how many cores this process may use: those it may run on, or fewer by a CPU quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else min(cores, max(1, int(quota)))


@lru_cache(maxsize=1)  # a fit asks before every epoch
def cpu_quota() -> float | None:
    """Return the least CPU quota of the control groups, in cores; None without one.

    It is read once in the life of a process.
    """
    return min(filter(None, map(_quota_of, _groups("cpu"))), default=None)


def memory_limit() -> int | None:
    """Return how many bytes of memory this process may use; None where that is not known."""
    try:
        limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    except (ValueError, OSError, AttributeError):
        return None
    for group in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _text(group / name)
            # No limit is "max" in version 2, and in version 1 a number beyond any memory.
            if text.isdecimal():
                limits.append(int(text))
    return min(limits)


def _quota_of(group: Path) -> float | None:
    """Return the CPU quota of one group in cores, by the files of either version."""
    text = _text(group / "cpu.max") or " ".join(
        _text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")
    )
    quota, _, period = text.partition(" ")  # of CPU time in each period of time
    # No quota is "max" in version 2, and -1 in version 1.
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period)


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of the groups by which a controller limits this process.

    They may not exist: in a container the process may be told the path of its group on the host,
    while the folder that is mounted is the group itself. So the mounted folder always is among
    them.
    """
    paths: dict[str, str] = {}
    for line in _text(_PROC / "cgroup").splitlines():
        # "0::PATH" in version 2, "4:cpu,cpuacct:PATH" in version 1
        names, _, path = line.partition(":")[2].partition(":")
        paths |= dict.fromkeys(names.split(","), path)
    for line in _text(_PROC / "mountinfo").splitlines():
        # "ID PARENT DEVICE ROOT MOUNTED-AT OPTIONS... - TYPE SOURCE OPTIONS"
        before, _, after = line.partition(" - ")
        place, (kind, *source) = before.split(" "), after.split(" ")
        if kind == "cgroup" and source and controller in source[-1].split(","):
            path = paths.get(controller, "/")
        elif kind == "cgroup2":
            path = paths.get("", "/")
        else:
            continue
        if len(place) < 5:
            continue
        root, mounted = PurePosixPath(place[3]), Path(place[4])
        inside = PurePosixPath(path)
        below = inside.relative_to(root) if inside.is_relative_to(root) else PurePosixPath()
        yield from (mounted / folder for folder in (below, *below.parents))


def _text(path: Path) -> str:
    """Return the text of a file; "" if it cannot be read."""
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return ""
