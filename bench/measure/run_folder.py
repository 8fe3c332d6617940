"""The folder of a run: created, or found again after a run that was cut off.

A run that ends marks its folder as done. A run that was killed does not, and the same command then
continues in its folder: a record is reused if it depends on nothing that has changed since (see
`fingerprint`), all others are measured again.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from bench.records import (
    RUNS,
    AnyRecord,
    Backend,
    RecordError,
    read_record,
    read_state,
    record_path,
)
from bench.records.store import RUN_STATE, newest_first
from bench.text.files import write_whole
from bench.text.progress import Notify

_LOCK, _WORK = "run.lock", "work"
# Both the name of a folder and the time in its state. `newest_first` compares one with the other.
_TIME = "%Y-%m-%dT%H-%M-%S"


class RunFolder:
    """The folder that a run writes into, locked while the run lasts.

    Attributes
    ----------
    path
        The folder. Its name is the name of the run.
    work
        A folder inside for temporary files.
    continued
        Whether this run continues one that was cut off.
    """

    def __init__(self, path: Path, command: str, lock: FileLock, continued: bool) -> None:
        self.path, self.command, self.continued = path, command, continued
        self.work = path / _WORK
        self._lock = lock
        self._write_state(done=False)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def close(self) -> None:
        """Delete the temporary files and release the folder."""
        shutil.rmtree(self.work, ignore_errors=True)
        self._lock.release()

    def mark_done(self) -> None:
        """Mark the run as complete."""
        self._write_state(done=True)

    def reusable_record(
        self, kind: str, case: str, backend: Backend, key: dict[str, str], notify: Notify
    ) -> AnyRecord | None:
        """Return a record of the run that was cut off, None if there is none that can be reused.

        Parameters
        ----------
        kind, case, backend
            What the record is of; see `record_path`.
        key
            What a new record would depend on; see `fingerprint.result_key`.
        notify
            Called with the reason for reusing the record or not.
        """
        path = record_path(self.path, kind, case, backend)
        try:
            record = read_record(path)
        except FileNotFoundError:
            return None
        except RecordError as error:
            notify(f"measured again: {error}")
            return None
        changed = [name for name, value in key.items() if record["key"].get(name) != value]
        if changed:
            names = " and ".join(changed)
            notify(f"measured again: there is a record, but {names} changed since")
            return None
        notify("reusing the record from before the run was cut off")
        return record

    def _write_state(self, done: bool) -> None:
        written = datetime.datetime.now(datetime.UTC).strftime(f"{_TIME}.%fZ")
        state = json.dumps({"command": self.command, "done": done, "written": written})
        write_whole(self.path / RUN_STATE, state + "\n")  # other runs may read it at any time


def open_run(command: str, runs: Path = RUNS) -> RunFolder:
    """Return the folder of the newest run of a command if it was cut off, otherwise a new one.

    Raises
    ------
    OSError
        When no folder can be created.
    """
    for folder in newest_first(runs):
        done = _is_done(folder, command)
        if done is None:
            continue
        if done:
            break
        lock = _locked(folder)
        if lock is None:  # a run that still goes on
            continue
        # Read the state once more: the run may have ended between the two lines above.
        if _is_done(folder, command) is not False:
            lock.release()
            break
        return _opened(folder, command, lock, continued=True)
    return _new_folder(command, runs)


def _new_folder(command: str, runs: Path) -> RunFolder:
    """Create a folder named by the time; runs that start in the same second get a number."""
    started = datetime.datetime.now(datetime.UTC).strftime(f"{_TIME}Z")
    names = [started] + [f"{started}-{n}" for n in range(2, 100)]
    for name in names:
        with contextlib.suppress(FileExistsError):
            (runs / name).mkdir(parents=True)
            lock = _locked(runs / name)
            assert lock is not None  # nobody else knows the new folder yet
            return _opened(runs / name, command, lock, continued=False)
    raise OSError(f"no folder for the run can be created: {runs} has {len(names)} of {started}")


def _is_done(folder: Path, command: str) -> bool | None:
    """Return whether a folder's run is complete; None if it is of another command or unreadable."""
    state = read_state(folder)
    return state.done if state and state.command == command else None


def _opened(folder: Path, command: str, lock: FileLock, continued: bool) -> RunFolder:
    """Return the `RunFolder` of a locked folder; release the lock if that fails."""
    try:
        return RunFolder(folder, command, lock, continued)
    except BaseException:
        lock.release()
        raise


def _locked(folder: Path) -> FileLock | None:
    """Lock a folder; None if another run has locked it.

    When a process is killed, the system releases its locks.
    """
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock
