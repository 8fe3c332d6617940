"""Processes apart from this one: started out of the terminal's reach, ended with all they started.

POSIX has groups of processes and SIGKILL for that, Windows has neither: there each process is found
and ended by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from . import from_proc
from .processes import family, marked, start_of

# What waits for the end of this process and then ends a worker: a shell where /proc can be searched
# by one, as that starts in no time, and Python elsewhere. Both wait for a line from a pipe.
_SHELL = (
    'read nothing; kill -s KILL -- "-$0"; for turn in 1 2 3; do '
    'for found in $(grep -lsa "$1" /proc/[0-9]*/environ); do '
    'found="${found#/proc/}"; kill -s KILL "${found%/environ}"; done; sleep 0.02; done'
)
_PYTHON = (
    "import sys; _, pid, mark, *sys.path[:] = sys.argv; "
    "from bench.machine.ending import end_tree; "
    "sys.stdin.readline(); end_tree(int(pid), mark)"
)
# To find processes by their mark: one may just be starting another, whose mark is not to be seen
# while the system sets up its memory. The shell above has as many, with as much time between.
_ATTEMPTS, _PAUSE = 3, 0.02


def apart() -> dict[str, Any]:
    """Return the options of Popen for a process that no Ctrl-C in the terminal reaches."""
    if hasattr(os, "killpg"):
        return {"start_new_session": True}  # which also makes a group, named by the process's id
    return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def end_tree(pid: int, mark: str, seen: Mapping[int, float | None] | None = None) -> None:
    """Kill a process that was started with `apart`, and what it has started.

    That is its group, its descendants, and processes elsewhere that inherited its mark.

    Parameters
    ----------
    pid
        The process.
    mark
        "NAME=value", a variable of its environment that no other process has.
    seen
        Ids of descendants that were seen, with their `start_of`.
    """
    descendants = dict(seen or {}) | {one: start_of(one) for one in family(pid)[1:]}
    _kill_group(pid)
    # Descendants may have left the group. One whose start time differs is another process that got
    # the same id after ours ended.
    for one, started in descendants.items():
        if started is not None and start_of(one) == started:
            _kill(one)
    for attempt in range(_ATTEMPTS):  # those never seen
        if attempt:
            time.sleep(_PAUSE)
        for one in marked(mark):
            _kill(one)


def guard(pid: int, mark: str) -> subprocess.Popen[bytes]:
    """Start a process that calls `end_tree` as soon as this process ends, however it ends.

    It waits for a line from a pipe of which this process holds the other end. When this process is
    gone, even by SIGKILL, the system closes that end and the wait is over. A worker would notice by
    itself (see `bench.measure.worker`), but the processes that it has started would not.
    """
    command = [sys.executable, "-c", _PYTHON, str(pid), mark, *sys.path]
    if from_proc.is_there():
        command = ["sh", "-c", _SHELL, str(pid), mark]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, **apart()
    )


def _kill_group(pid: int) -> None:
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):  # it is gone
            os.killpg(pid, signal.SIGKILL)
    else:
        _kill(pid)


def _kill(pid: int) -> None:
    # On Windows every signal but two ends a process at once.
    with contextlib.suppress(OSError):  # it is gone
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
