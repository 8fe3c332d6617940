"""The folder of a run: made, found again after a run that was cut off, and which of its records can be kept.

A run that ends marks its folder as done. One that was killed does not, and the same command goes on in its folder: a
record whose key is what it would be now is kept, all others are measured again.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .environment import machine_facts, machine_key, short_hash
from .records import RUNS, AnyRecord, Backend, CaseFacts, RecordError, read_record, record_path
from .reference import Say

_STATE, _LOCK, _WORK = "run.state", "run.lock", "work"
_UNMEASURED = ("report", "article")  # folders of this package that no figure depends on


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
        state = json.dumps({"command": self.command, "done": done})
        (self.path / _STATE).write_text(state + "\n", "utf-8")


def open_run(command: str, runs: Path = RUNS) -> RunFolder:
    """Return the folder of the newest run of this command if it was cut off, or else a new one.

    Raises
    ------
    OSError
        When no folder can be made there.
    """
    for folder in reversed(_folders(runs)):
        if _command_if_cut_off(folder) == command and (lock := _locked(folder)):
            return RunFolder(folder, command, lock, continued=True)
    started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    for name in (started, *(f"{started}-{n}" for n in range(2, 100))):
        with contextlib.suppress(FileExistsError):
            (runs / name).mkdir(parents=True)
            lock = _locked(runs / name)
            assert lock is not None  # a folder that was not there a moment ago
            return RunFolder(runs / name, command, lock, continued=False)
    raise OSError(f"there are a hundred runs of {started}")


def result_key(case: CaseFacts, backend: Backend, settings: dict[str, Any]) -> dict[str, str]:
    """Return what a record depends on, by name, each as a short hash.

    Parameters
    ----------
    settings
        What else was asked for: targets, seeds, rounds, limits.
    """
    facts = machine_facts()
    return {
        "code": _code_hash(),
        "data": case["data_hash"],
        "machine": machine_key(facts),
        "settings": short_hash([case, backend, settings]),
        "versions": short_hash([facts["python"], facts["packages"], sorted(_third_parties())]),
    }


def _folders(runs: Path) -> list[Path]:
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []


def _command_if_cut_off(folder: Path) -> str | None:
    try:
        state = json.loads((folder / _STATE).read_text("utf-8"))
        return None if state["done"] else str(state["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _locked(folder: Path) -> FileLock | None:
    """Lock a folder; None where another run holds it. The system frees the lock of a process that is killed."""
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _code_hash() -> str:
    """Return a hash of the source that figures depend on: the solvers, and how they are measured."""
    here = Path(__file__).parent
    skipped = {here / name for name in _UNMEASURED}
    sources = {
        str(path.relative_to(here.parent)): path.read_text("utf-8")
        for folder in (here, here.parent / "backends")
        for path in sorted(folder.rglob("*.py"))
        if not skipped.intersection(path.parents)
    }
    return short_hash(sources)


def _third_parties() -> Iterator[str]:
    """Yield name, version and source of each backend that another package registered."""
    for point in metadata.entry_points(group="factorbench.backends"):
        version = point.dist.version if point.dist else ""
        try:
            spec = util.find_spec(point.module)
            source = Path(spec.origin).read_text("utf-8", errors="replace") if spec and spec.origin else ""
        except (ImportError, OSError, ValueError, AttributeError):
            source = ""
        yield short_hash([point.name, point.value, version, source])
