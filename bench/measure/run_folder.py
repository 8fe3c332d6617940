"""The folder of a run: created, or found again after a run that was cut off.

A run is done when each record that it has planned is written. Until then the same command continues
in its folder: a record is reused if it depends on nothing that has changed since (see
`fingerprint`), one in progress is continued, and all others are measured again.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from bench.records import (
    RUNS,
    Backend,
    Measured,
    Record,
    RecordError,
    RooflineRecord,
    RunState,
    checked,
    read_record,
    read_state,
    record_path,
    write_record,
)
from bench.records.store import newest_first, write_state
from bench.text.files import write_whole
from bench.text.privacy import scrub
from bench.text.progress import Notify
from bench.text.wording import plural, reason, without_surrogates

AnyRecordT = TypeVar("AnyRecordT", Record, RooflineRecord)

_LOCK, _WORK = "run.lock", "work"
# Both the name of a folder and the time in its state. `newest_first` compares one with the other.
_TIME = "%Y-%m-%dT%H-%M-%S"
_STAMP = f"{_TIME}.%fZ"


class SameFile(ValueError):
    """Two records of a run would have the same file."""


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
    missing
        File names of the planned records that were neither written nor reused as yet.
    """

    def __init__(self, path: Path, command: str, lock: FileLock, continued: bool) -> None:
        self.path, self.command, self.continued = path, command, continued
        self.work = path / _WORK
        self._lock = lock
        state = read_state(path)
        self._planned: list[str] = list(state.planned) if state else []
        self.missing: set[str] = set(self._planned)
        self._write_state(done=False)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(exist_ok=True)  # Windows deletes no file that another program has open

    def close(self) -> None:
        """Delete the temporary files and release the folder."""
        shutil.rmtree(self.work, ignore_errors=True)
        self._lock.release()

    def plan(self, records: Iterable[str]) -> None:
        """State the file names of all records that the run is to write, see `record_path`.

        Raises
        ------
        SameFile
            When two have the same name.
        """
        self._planned = list(records)
        double = [name for name, times in Counter(self._planned).items() if times > 1]
        if double:
            raise SameFile(f"two backends would share the record {double[0]}; rename one of them")
        self.missing = set(self._planned)
        self._write_state(done=False)

    def write(self, record: AnyRecordT, details: str = "") -> AnyRecordT:
        """Write a record into the folder, and return what was written.

        Parameters
        ----------
        record
            Final, or in progress.
        details
            A traceback, and what the backend printed. They are written to a text file beside the
            record, whose reason then names that file.

        Raises
        ------
        OSError
            When there is no room. An earlier version of the record is left as it was.
        """
        path = record_path(self.path, record["kind"], record["case"]["name"], record["backend"])
        notes = path.with_suffix(".txt")
        notes.unlink(missing_ok=True)
        record["reason"] = scrub(record["reason"])
        if details:
            write_whole(notes, scrub(without_surrogates(details)) + "\n")
            record["reason"] = f"{reason(record['reason'], 300)} (details: {notes.name})"
        record = checked(record)
        write_record(self.path, record)
        if record["status"] != "in progress":
            self.missing.discard(path.name)
        return record

    def mark_done(self) -> None:
        """Mark the run as complete, unless a planned record is missing."""
        if not self.missing:
            self._write_state(done=True)

    def reusable_record(
        self, kind: str, case: str, backend: Backend, key: dict[str, str], notify: Notify
    ) -> Measured | None:
        """Return a record of the run that was cut off, None if there is none that can be reused.

        It may be in progress.

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
        if record["kind"] == "GPU check":
            return None
        changed = [name for name, value in key.items() if record["key"].get(name) != value]
        if changed:
            names = " and ".join(changed)
            notify(f"measured again: there is a record, but {names} changed since")
            return None
        if record["status"] == "in progress":
            return record
        self.missing.discard(path.name)
        days = _days_since(record["created"])
        age = f", {plural(days, 'day')} ago" if days else ""
        notify(f"reusing the record from before the run was cut off{age}")
        return record

    def _write_state(self, done: bool) -> None:
        written = _after_all_others(self.path.parent)
        state = RunState(self.command, done, written, tuple(self._planned))
        write_state(self.path, state)  # other runs may read it at any time


def open_run(command: str, runs: Path = RUNS) -> RunFolder:
    """Return the folder of the newest run of a command if it was cut off, otherwise a new one.

    Raises
    ------
    OSError
        When no folder can be created.
    """
    command = scrub(without_surrogates(command))  # as it is stored
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


def _after_all_others(runs: Path) -> str:
    """Return the time now, or one just after the latest in any state if the clock was set back."""
    now = datetime.datetime.now(datetime.UTC).strftime(_STAMP)
    latest = max(
        (state.written for folder in runs.iterdir() if (state := read_state(folder))), default=""
    )
    if latest < now:
        return now
    try:
        later = datetime.datetime.strptime(latest, _STAMP) + datetime.timedelta(microseconds=1)
    except (ValueError, OverflowError):  # no time
        return now
    return later.strftime(_STAMP)


def _days_since(created: str) -> int:
    """Return how many whole days ago a record was written; 0 if that cannot be told."""
    try:
        then = datetime.datetime.fromisoformat(created)
        return max((datetime.datetime.now(datetime.UTC) - then).days, 0)
    except (ValueError, TypeError):  # not a time, or one without a time zone
        return 0


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
