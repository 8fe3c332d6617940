"""What people use a solver for: a first fit on a machine, a fit in a new process, fits in a loop.

The backend that is fastest in a loop may be the slowest at a first fit, which includes compiling.
So every verdict is given for each use: `case_for` returns the case as that use sees it, with the
seconds of the use in the place of those of the rounds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

from bench.records import Record, Round

from .cases import Case, Entry, ratio


class Use(NamedTuple):
    """A use of a solver.

    Attributes
    ----------
    name
        In tables and figures.
    title
        In sentences.
    caches
        State of the caches of compiled kernels in the starts that are counted; "" for the rounds.
    """

    name: str
    title: str
    caches: Literal["empty", "filled", ""]


FIRST = Use("First fit", "A first fit on a machine, nothing compiled", "empty")
PROCESS = Use("New process", "A fit in a new process, compiled before", "filled")
LOOP = Use("In a loop", "Fits in a loop", "")
USES = (FIRST, PROCESS, LOOP)
NO_START = "no such start was timed"  # why a ranked backend has no place for a use


def rounds_for(record: Record, use: Use) -> list[Round]:
    """Return the times of a use as rounds, so that `stats` can compare them.

    Those of cold starts have none of the facts that only timed rounds have.
    """
    if not use.caches or not record["rounds"]:
        return record["rounds"]
    unknown = dict.fromkeys(("cpu_seconds", "others_seconds", "stolen_seconds", "energy_joules"))
    return [
        Round(
            {
                **record["rounds"][0],
                **unknown,  # type: ignore[typeddict-item]
                "seed": start["seed"],
                "round": 0,  # a seed has one start of each kind: all backends' are one block
                "seconds": start["total_seconds"],
            }
        )
        for start in record["cold"]
        if start["caches"] == use.caches
    ]


def case_for(case: Case, use: Use) -> Case:
    """Return a case in which the seconds of the ranked backends are those of a use."""
    if use is LOOP:
        return case
    ranked, unranked = [], list(case.unranked)
    for entry in case.ranked:
        timed = _entry_for(entry, use)
        if timed.record["rounds"]:
            ranked.append(timed)
        else:
            unranked.append(replace(entry, why=NO_START))
    ranked.sort(key=lambda entry: (entry.median, entry.name))
    return replace(case, ranked=ranked, unranked=unranked, observation="start")


def seconds_for(entry: Entry, use: Use) -> float | None:
    """Return the median seconds of a use; None if it was not timed, or the entry has no place."""
    if entry.why:
        return None
    timed = _entry_for(entry, use)
    return timed.median if timed.record["rounds"] else None


def compile_seconds(entry: Entry) -> float | None:
    """Return what compiling ahead spares a first fit; None if that is little, or may be noise.

    That is the difference between starts with empty and with filled caches.
    """
    first, process = (_entry_for(entry, use) for use in (FIRST, PROCESS))
    if entry.why or not first.record["rounds"] or not process.record["rounds"]:
        return None
    gain = ratio(first, process)
    least = gain.interval[0] if gain.interval else gain.value / _MARGIN
    return first.median - process.median if least > _LITTLE else None


_LITTLE = 1.1  # a ratio of starts, of which the lower one may have been slowed by something else
_MARGIN = 1.3  # by which starts of one seed may differ by chance


def _entry_for(entry: Entry, use: Use) -> Entry:
    return replace(entry, record=Record({**entry.record, "rounds": rounds_for(entry.record, use)}))
