"""The folder of a run: made, found again after a run that was cut off, and which of its records can be kept.

A run that ends marks its folder as done. One that was killed does not, and the same command goes on in its folder: a
record whose key is what it would be now is kept, all others are measured again.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from bench.records import RUNS, AnyRecord, Backend, RecordError, read_record, record_path
from bench.records.store import RUN_STATE, newest_first
from bench.text.files import write_whole
from bench.text.progress import Say

_LOCK, _WORK = "run.lock", "work"
_TIME = "%Y-%m-%dT%H-%M-%S"  # of names of folders, and of their states: each stands in for the other in `newest_first`


class RunFolder:
    """The folder that a run writes into, locked while the run lasts.

    Attributes
    ----------
    path
        The folder; its name is the run's.
    work
        A folder in it for what is needed only while the run lasts.
    continued
        Whether an earlier run of the same command was cut off in it.
    """

    def __init__(self, path: Path, command: str, lock: FileLock, continued: bool) -> None:
        self.path, self.command, self.continued = path, command, continued
        self.work = path / _WORK
        self._lock = lock
        self._write_state(done=False)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def close(self) -> None:
        """Give the folder free."""
        shutil.rmtree(self.work, ignore_errors=True)
        self._lock.release()

    def mark_done(self) -> None:
        """Say that nothing of the run is missing."""
        self._write_state(done=True)

    def kept(self, kind: str, case: str, backend: Backend, key: dict[str, str], say: Say) -> AnyRecord | None:
        """Return the record that a run which was cut off left, where it is what would be measured now."""
        path = record_path(self.path, kind, case, backend)
        try:
            record = read_record(path)
        except FileNotFoundError:
            return None
        except RecordError as error:
            say(f"measured again: {error}")
            return None
        changed = [name for name, value in key.items() if record["key"].get(name) != value]
        if changed:
            say(f"measured again, as another run left a record and {' and '.join(changed)} changed since")
            return None
        say("kept, as measured before the run was cut off")
        return record

    def _write_state(self, done: bool) -> None:
        written = datetime.datetime.now(datetime.UTC).strftime(f"{_TIME}.%fZ")
        state = json.dumps({"command": self.command, "done": done, "written": written})
        write_whole(self.path / RUN_STATE, state + "\n")  # whole at any time: other runs read it


def open_run(command: str, runs: Path = RUNS) -> RunFolder:
    """Return the folder of the newest run of this command if it was cut off, or else a new one.

    A folder that another run holds does not count: it is being written.

    Raises
    ------
    OSError
        When no folder can be made there.
    """
    for folder in newest_first(runs):
        done = _is_done(folder, command)
        if done:
            break
        if done is None or (lock := _locked(folder)) is None:
            continue
        if _is_done(folder, command) is not False:  # read again, as its run may have ended before it was locked
            lock.release()
            break
        return _held(folder, command, lock, continued=True)
    started = datetime.datetime.now(datetime.UTC).strftime(f"{_TIME}Z")
    for name in (started, *(f"{started}-{n}" for n in range(2, 100))):
        with contextlib.suppress(FileExistsError):
            (runs / name).mkdir(parents=True)
            lock = _locked(runs / name)
            assert lock is not None  # a folder that was not there a moment ago
            return _held(runs / name, command, lock, continued=False)
    raise OSError(f"there are a hundred runs of {started}")


def _is_done(folder: Path, command: str) -> bool | None:
    """Return whether the run in a folder is done; None where it is none of this command, or does not say."""
    try:
        state = json.loads((folder / RUN_STATE).read_text("utf-8"))
        return bool(state["done"]) if state["command"] == command else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _held(folder: Path, command: str, lock: FileLock, continued: bool) -> RunFolder:
    try:
        return RunFolder(folder, command, lock, continued)
    except BaseException:
        lock.release()
        raise


def _locked(folder: Path) -> FileLock | None:
    """Lock a folder; None where another run holds it. The system frees the lock of a process that is killed."""
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock
