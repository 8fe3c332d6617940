"""Making an environment of another library (see `peers`), and removing one.

All is in the environment's folder: a virtual environment, the log, and last what is known of it. An
installation that fails leaves the log and the reason. One that is interrupted leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from filelock import FileLock, Timeout

from bench.machine.ending import apart, end_tree, guard
from bench.text.privacy import scrub
from bench.text.progress import Notify
from bench.text.wording import one_line, reason, without_surrogates

from .peers import LOG, Environment, Installed, library_of, write_installed
from .pythons import NoPython, Python, dotted, find_python

_LOCK, _TEMPORARY = "install.lock", "tmp"
_MARK = "FACTORBENCH_INSTALL"  # environment variable that identifies what an installation starts
_KEPT = 40  # lines of output
_ROOT = Path(__file__).resolve().parents[2]  # of the packages `backends` and `bench`
# Signs in pip's output of what kept it from installing.
_OFFLINE = ("after connection broken by", "Temporary failure in name resolution")
_BUILDING = ("Failed to build", "Failed building", "subprocess-exited-with-error")
_PIN = re.compile(r"[\w.-]+(==| @ )")  # a line of `pip freeze`, and no warning
# Settings of pip that would install into another place. All of Python's are removed as well.
_PLACES = ("PIP_PREFIX", "PIP_ROOT", "PIP_TARGET", "PIP_USER", "__PYVENV_LAUNCHER__")
# The library, and what a worker needs; what the environment has comes before what is beside us.
_CHECK = (
    "import importlib, sys; sys.path.append(sys.argv[1]); "
    "importlib.import_module(sys.argv[2]); import bench.measure.worker, pandas, pyarrow, scipy"
)


class Busy(Exception):
    """Another process installs or removes the same environment."""


class Step(NamedTuple):
    """A command of an installation, and what it does, in words."""

    text: str
    command: list[str]
    lists: bool = False  # prints what is installed, which is no progress to show


def install(environment: Environment, step: Notify, notify: Notify) -> Installed:
    """Install an environment anew, and return how it went, which is also written to its folder.

    Parameters
    ----------
    environment
        What to install.
    step
        Called with what comes next.
    notify
        Called with each line that pip prints.

    Raises
    ------
    Busy
        If another process does the same.
    OSError
        If its folder cannot be written to.
    """
    with _locked(environment):
        _clear(environment)
        started = time.monotonic()
        output: deque[str] = deque(maxlen=_KEPT)
        version, why = "", ""
        freeze: list[str] = []
        try:
            with (environment.folder / LOG).open("w", encoding="utf-8") as log:
                try:
                    python = find_python(environment.least_python, environment.most_python)
                    version = dotted(python.version)
                    for each in steps(environment, python):
                        step(each.text)
                        freeze = _run(each, environment.folder, log, output, notify)
                except NoPython as failed:
                    why = str(failed)
                except _Failed as failed:
                    why = _explained(str(failed), environment, output)
                log.write(f"{why}\n")
            shutil.rmtree(environment.folder / _TEMPORARY, ignore_errors=True)
            if why:
                shutil.rmtree(environment.venv, ignore_errors=True)
            installed = Installed(
                state="failed" if why else "ready",
                requirements=environment.requirements,
                python=version,
                freeze=() if why else tuple(filter(_PIN.match, freeze)),
                seconds=round(time.monotonic() - started, 1),
                megabytes=round(_megabytes(environment.folder), 1),
                output=tuple(output),
                reason=why,
            )
            write_installed(environment, installed)
        except BaseException:
            _clear(environment)
            raise
    return installed


def remove(environment: Environment) -> bool:
    """Remove an environment with its log; return whether there was anything to remove.

    Raises
    ------
    Busy
        If it is just being installed.
    OSError
        If a file cannot be removed.
    """
    if not environment.folder.is_dir():
        return False
    with _locked(environment):
        _clear(environment)
    return True


def steps(environment: Environment, python: Python) -> list[Step]:
    """Return the commands that make an environment; the last one prints what it contains."""
    inside = [str(environment.python), "-I"]  # -I: with nothing of the user's
    pip = [*inside, "-m", "pip"]
    options = ["--disable-pip-version-check", "--no-input", "--progress-bar", "off"]
    pins = environment.requirements
    return [
        Step(
            f"makes an environment with Python {dotted(python.version)}",
            [str(python.path), "-I", "-m", "venv", str(environment.venv)],
        ),
        Step(f"installs {library_of(environment)}", [*pip, "install", *options, *pins]),
        Step(
            "checks that it can be imported",
            [*inside, "-c", _CHECK, str(_ROOT), environment.module],
        ),
        Step("lists what is installed", [*pip, "freeze", *options[:2]], lists=True),
    ]


class _Failed(Exception):
    """A step of an installation failed."""


def _run(step: Step, folder: Path, log: IO[str], output: deque[str], notify: Notify) -> list[str]:
    """Run a step and return the lines that it prints, which also go into the log and ``output``.

    What it starts ends with it: at Ctrl-C, and if this process is killed.
    """
    mark = uuid.uuid4().hex
    lines = []
    log.write(f"--- {step.text}\n")
    try:
        process = subprocess.Popen(
            step.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=folder,
            env=_variables(folder) | {_MARK: mark},
            **apart(),
        )
    except OSError as error:
        raise _Failed(f"it {step.text}: {step.command[0]} does not start ({error})") from error
    watcher = guard(process.pid, f"{_MARK}={mark}")
    try:
        assert process.stdout is not None
        for line in process.stdout:
            # An address may contain a password, and a file name may be no UTF-8.
            text = scrub(without_surrogates(line.rstrip()))
            log.write(f"{text}\n")
            log.flush()
            lines.append(text)
            if text and not step.lists:
                output.append(text)
                notify(one_line(text))
        code = process.wait()
    finally:
        if process.poll() is None:
            end_tree(process.pid, f"{_MARK}={mark}")
            process.wait()
        watcher.kill()
        watcher.communicate()
        if process.stdout is not None:
            process.stdout.close()
    if code:
        raise _Failed(f"the step that {step.text} ended with exit status {code}: {_last(lines)}")
    return [line for line in lines if line]


def _last(lines: list[str]) -> str:
    """Return the last error that pip names (a hint may follow it), else the last line."""
    written = [line.strip() for line in lines if line.strip()] or ["it printed nothing"]
    errors = [line.removeprefix("ERROR: ") for line in written if line.startswith("ERROR: ")]
    return reason(errors[-1] if errors else written[-1])


def _explained(why: str, environment: Environment, output: deque[str]) -> str:
    """Return why an installation failed, with what may mend it."""
    if any("No space left on device" in line for line in output):
        return (
            f"{why}; the disk of {environment.folder} is full: make room, or set "
            "FACTORBENCH_CACHE to a folder on another"
        )
    text = "\n".join(output)
    if any(sign in text for sign in _OFFLINE):
        return (
            f"{why}; the package index cannot be reached: check the network, or set PIP_INDEX_URL"
        )
    if environment.needs and any(sign in text for sign in _BUILDING):
        return f"{why}; its build needs {environment.needs}"
    return why


def _variables(folder: Path) -> dict[str, str]:
    """Return the environment variables of a step; builds get a temporary folder inside."""
    temporary = folder / _TEMPORARY
    temporary.mkdir(exist_ok=True)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and name not in _PLACES
    }
    return kept | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))


@contextlib.contextmanager
def _locked(environment: Environment) -> Iterator[None]:
    """Lock the folder of an environment, which is created, and removed if it stays empty."""
    environment.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(environment.folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(
            f"another process installs or removes {environment.name}; wait until it has ended, "
            "then run the same command"
        ) from None
    try:
        yield
    finally:
        lock.release()
        with contextlib.suppress(OSError):  # somebody else has just come
            if all(each.name == _LOCK for each in environment.folder.iterdir()):
                (environment.folder / _LOCK).unlink(missing_ok=True)
                environment.folder.rmdir()


def _clear(environment: Environment) -> None:
    """Remove all in the folder of an environment but its lock, and first what says it is ready.

    Links are removed, and what they lead to is left.
    """
    entries = sorted(environment.folder.iterdir(), key=lambda entry: entry.is_dir())
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != _LOCK:
            entry.unlink()


def _megabytes(folder: Path) -> float:
    """Return the size of all files in a folder."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total / 2**20
