"""What runs that have not ended are to measure, and what of it is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench.records import Measured, read_state, record_path
from bench.records.store import RUN_STATE
from bench.text.wording import plural, words

_MOST_NAMES = 10  # in a sentence
_ROOFLINE = "roofline--"


class Group(NamedTuple):
    """The measurements of one kind on one case, with the case's name as in names of files."""

    is_roofline: bool
    case: str


@dataclass(frozen=True)
class Plan:
    """The records that runs are to write which have not ended.

    Attributes
    ----------
    files
        Their file names.
    ended
        Whether every run that is known has ended.
    """

    files: Sequence[str] = ()
    ended: bool = False


NO_PLAN = Plan()


class Missing(NamedTuple):
    """The measurements that are planned and not complete.

    Attributes
    ----------
    names
        The backends that are missing.
    planned
        How many measurements are planned.
    files
        The file names of the missing ones.
    """

    names: list[str]
    planned: int
    files: list[str]

    @property
    def text(self) -> str:
        """How many of how many are missing, and which."""
        return _sentence(len(self.files), self.planned, _listed(self.names))


def read_plan(sources: Iterable[Path]) -> Plan:
    """Return what the runs in some folders are still to measure.

    Files, and folders of runs that have ended or have no state, plan nothing.
    """
    files: list[str] = []
    done: list[bool] = []
    for source in sources:
        for path in sorted(source.rglob(RUN_STATE)):
            state = read_state(path.parent)
            if state:
                done.append(state.done)
                files += [] if state.done else state.planned
    return Plan(tuple(dict.fromkeys(files)), ended=bool(done) and all(done))


def file_of(record: Measured) -> str:
    """Return the name of the file that a run writes a record to."""
    return record_path(Path(), record["kind"], record["case"]["name"], record["backend"]).name


def complete_files(records: Iterable[Measured]) -> set[str]:
    """Return the file names of records that are not in progress."""
    return {file_of(record) for record in records if record["status"] != "in progress"}


def group_of(file: str) -> Group:
    """Return the measurements that a file name of a record belongs to."""
    case = file.removeprefix(_ROOFLINE).rsplit("--", 2)[0]
    return Group(file.startswith(_ROOFLINE), case)


def find_missing(plan: Plan, group: Group, complete: set[str]) -> Missing | None:
    """Return what is missing of one group of measurements, None for nothing.

    Parameters
    ----------
    complete
        The file names of all records that are complete.
    """
    planned = [file for file in plan.files if group_of(file) == group]
    files = [file for file in planned if file not in complete]
    if not files:
        return None
    counts = Counter(_backend(file)[0] for file in planned)
    names = []
    for file in files:
        name, threads = _backend(file)
        several = counts[name] > 1 and threads.isdecimal()
        names.append(f"{name} ({plural(int(threads), 'thread')})" if several else name)
    return Missing(sorted(names), len(planned), files)


def all_missing(plan: Plan, titles: Mapping[Group, str], complete: set[str]) -> str:
    """Return what is missing of all groups in one sentence, "" for nothing.

    Parameters
    ----------
    titles
        The titles of the groups that the report shows, each of which says itself what is missing
        of it. "" is returned if that is everything and there is a single case.
    complete
        As in `find_missing`.
    """
    found = {
        group: missing
        for group in dict.fromkeys(map(group_of, plan.files))
        if (missing := find_missing(plan, group, complete))
    }
    n_cases = sum(not group.is_roofline for group in titles)
    if not found or (n_cases < 2 and found.keys() <= titles.keys()):
        return ""
    clauses = []
    for group, missing in found.items():
        # Of a group without any record only the name in names of files is known.
        title = titles.get(group) or group.case.replace("_", " ")
        what = f"{'roofline of ' if group.is_roofline else ''}{title}"
        clauses.append(f"{what}: {_listed(missing.names)}")
    count = sum(len(missing.files) for missing in found.values())
    return _sentence(count, len(plan.files), "; ".join(clauses))


def _sentence(count: int, planned: int, names: str) -> str:
    be = "is" if count == 1 else "are"
    # From outside, a run that was killed and one that goes on look the same.
    return (
        f"the run is not complete: {count} of {plural(planned, 'measurement')} {be} missing "
        f"({names})"
    )


def _backend(file: str) -> tuple[str, str]:
    """Return the backend and the number of threads in a file name."""
    _, *rest = file.removesuffix(".json").rsplit("--", 2)
    return (rest[0], rest[1]) if len(rest) == 2 else (file, "")


def _listed(names: list[str]) -> str:
    if len(names) <= _MOST_NAMES:
        return words(names)
    return words([*names[:_MOST_NAMES], f"{len(names) - _MOST_NAMES} more"])
