"""Linux made to look like another system to the Python code of a process. Collects no tests.

What another system lacks is taken away: functions, constants and modules, and all that is in /proc
and /sys. Only psutil may still read there, as it has other sources on other systems.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol

ROOT = Path(__file__).resolve().parent.parent
System = Literal["macOS", "Windows"]

_ONLY_LINUX = ("sched_getaffinity", "sched_setaffinity", "pidfd_open")
# What POSIX has and Windows has not, of all that the benchmark could use. The planted backends need
# os.fork and os.setsid.
_ONLY_POSIX: dict[Any, tuple[str, ...]] = {
    os: ("getloadavg", "getpgid", "getuid", "killpg", "sysconf", "wait4", "waitid"),
    signal: ("SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "alarm", "pthread_kill"),
}
_ONLY_POSIX_MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
_READERS: dict[Any, tuple[str, ...]] = {
    builtins: ("open",),
    io: ("open",),
    os: ("listdir", "scandir", "stat"),
}


class _Patch(Protocol):
    """The methods of pytest's MonkeyPatch that are used here."""

    def setattr(self, target: Any, name: str, value: Any) -> None: ...

    def delattr(self, target: Any, name: str) -> None: ...

    def setitem(self, target: Any, name: str, value: Any) -> None: ...


class _ForGood:
    """Changes that are not undone; a worker does not import pytest for them."""

    def setattr(self, target: Any, name: str, value: Any) -> None:
        setattr(target, name, value)

    def delattr(self, target: Any, name: str) -> None:
        delattr(target, name)

    def setitem(self, target: Any, name: str, value: Any) -> None:
        target[name] = value


def become(system: System, psutil: bool, patch: _Patch | None = None) -> None:
    """Take away what a system lacks, and psutil unless it is to be there.

    A new process that this one starts is changed only if its `sitecustomize` calls this.
    """
    patch = patch or _ForGood()
    if psutil:
        importlib.import_module("psutil")  # which needs on Linux what Windows lacks
    else:
        patch.setitem(sys.modules, "psutil", None)
    for name in _ONLY_LINUX:
        patch.delattr(os, name)
    if system == "Windows":
        for module, names in _ONLY_POSIX.items():
            for name in names:
                patch.delattr(module, name)
        for name in _ONLY_POSIX_MODULES:
            patch.setitem(sys.modules, name, None)
        # Python's own way to end a process, which needs none of the above on Windows.
        patch.setattr(subprocess.Popen, "kill", lambda process: process.send_signal(9))
    for module, names in _READERS.items():
        for name in names:
            patch.setattr(module, name, _blind(getattr(module, name)))


@contextmanager
def pretending(system: System, folder: Path, psutil: bool = True) -> Iterator[None]:
    """Let this process, and those that it starts meanwhile, run on another system.

    ``folder`` must be on PYTHONPATH: an interpreter finds there what it does before all else.
    """
    import pytest

    custom = folder / "sitecustomize.py"
    custom.write_text(
        f"import sys; before, sys.path[:] = sys.path[:], {[str(ROOT), *sys.path]}\n"
        "from tests.other_systems import become\n"
        f"become({system!r}, {psutil})\n"
        "sys.path[:] = before\n",
        "utf-8",
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            become(system, psutil, patch)
            yield
    finally:
        custom.unlink()


def _blind(read: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that finds nothing in /proc and /sys, unless it is psutil that asks."""

    def blind(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        if isinstance(path, str | os.PathLike) and _is_hidden(os.fspath(path), sys._getframe(1)):
            raise FileNotFoundError(errno.ENOENT, "taken away", os.fspath(path))
        return read(path, *arguments, **options)

    return blind


def _is_hidden(path: Any, caller: FrameType | None) -> bool:
    if not f"{path}/".startswith(("/proc/", "/sys/")):
        return False
    while caller is not None:
        if str(caller.f_globals.get("__name__")).partition(".")[0] == "psutil":
            return False
        caller = caller.f_back
    return True
