"""Measuring several backends in turns, so that whatever slows the machine for a while slows all.

For each seed, every backend gets a worker. All are calibrated, then timed in blocks: in a block
each is timed once, in random order. So the ratio of two backends within a block does not depend on
the speed of the machine from one minute to the next. A short fit follows one that does not count.
Where a backend needs more epochs than its calibration found, there are further blocks, with those
whose fits are not slow, and cannot miss the target by chance themselves::

    seed 0:   a b c calibrated   b c a   c a b   a c b   checked,      every record is written
              started cold: b a c                                      as in progress
    seed 1:   ...                                                      and again
    apart:    a: memory    b: ...    c: ...                            and at its end as final

A run that is cut off goes on with the first seed that is not yet in all records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import cast

import numpy as np

from bench.cases.case import Case
from bench.machine.processes import memory_limit_mb
from bench.records import Record
from bench.text.wording import plural

from .measurement import Measurement
from .run_folder import RunFolder

_SHARE = 0.6  # of the memory there is, which waiting workers may take
_WORKER_MB = 400  # of a worker with the largest library
_COPIES = 3  # of the ratings in a worker: its own, the solver's, and what that makes of them


def take_turns(
    measurements: Sequence[Measurement],
    folder: RunFolder,
    *,
    seed: int,
    rungs: bool = True,
    apart: bool = True,
) -> list[Record]:
    """Measure what is not measured yet, and return the records, one per measurement.

    Every record is written to the folder after each seed, as in progress, and when it is final.

    Parameters
    ----------
    measurements
        With the same case and seeds.
    folder
        Of the run; may contain records from before the run was cut off.
    seed
        Of the random order within blocks.
    rungs
        Whether fits to the other targets are timed as well, one each with the first seed.
    apart
        Whether cold starts are timed, of each kind one with each seed (of slow fits, with the first
        only), and memory is measured.

    Raises
    ------
    CodeChanged
        When code or versions changed during a seed, which is then in no record.
    """
    found = [_stored(measurement, folder) for measurement in measurements]
    turns = [
        (measurement, record)
        for measurement, record in zip(measurements, found, strict=True)
        if record is None or record["status"] == "in progress"
    ]
    _resume(turns)
    if any(record["status"] == "matched" for record in found if record is not None):
        # Not in turns with those that are through already.
        for measurement, _ in turns:
            if len(measurement.measured_seeds) < len(measurement.seeds):
                measurement.order = "sequential"
    for place, fit_seed in enumerate(measurements[0].seeds):
        pending = [
            measurement
            for measurement, _ in turns
            if fit_seed not in measurement.measured_seeds and not measurement.ended
        ]
        if pending:
            rng = np.random.default_rng([seed, fit_seed])
            _measure_seed(pending, fit_seed, place, rng, rungs)
            if apart:
                for index in rng.permutation(len(pending)):
                    pending[index].start_cold()
            for measurement in pending:
                _check_code(measurement)
        for measurement in pending:
            _write(measurement, folder)
    final = {}
    for measurement, _ in turns:
        if apart:
            measurement.watch_memory()
        measurement.finish()
        final[id(measurement)] = _write(measurement, folder)
    return [
        final.get(id(measurement)) or cast("Record", record)
        for measurement, record in zip(measurements, found, strict=True)
    ]


class CodeChanged(Exception):
    """Code or versions changed during a run: its seeds would be of different ones."""


def _check_code(measurement: Measurement) -> None:
    now = measurement.make_key()
    changed = [name for name in ("code", "versions") if now[name] != measurement.key[name]]
    if changed:
        raise CodeChanged(
            f"{' and '.join(changed)} changed meanwhile; start the same command again "
            f"({measurement.backend['name']})"
        )


def room_for(n_workers: int, case: Case) -> bool:
    """Return whether there is memory for so many workers at a time."""
    limit = memory_limit_mb()
    if limit is None:
        return True
    parts = (case.data.train, case.data.validation, case.data.test)
    columns = [(part.users, part.items, part.ratings) for part in parts if part is not None]
    ratings_mb = sum(column.nbytes for part in columns for column in part) / 2**20
    return n_workers * (_WORKER_MB + _COPIES * ratings_mb) <= _SHARE * limit


def _stored(measurement: Measurement, folder: RunFolder) -> Record | None:
    """Return the record of a measurement from before the run was cut off, if it can be used."""
    case, backend = measurement.case.facts["name"], measurement.backend
    record = folder.reusable_record(
        "time to MSE", case, backend, measurement.key, measurement.notify
    )
    return cast("Record | None", record)


def _resume(turns: Sequence[tuple[Measurement, Record | None]]) -> None:
    """Take over the seeds that the records of all contain: only these were measured in turns."""
    done = [
        {calibration["seed"] for calibration in record["calibrations"]} if record else set()
        for _, record in turns
    ]
    shared = set.intersection(*done) if done else set()
    for measurement, record in turns:
        if record:
            n_seeds = plural(len(measurement.seeds), "seed")
            measurement.notify(f"going on, {len(shared)} of {n_seeds} are measured")
            measurement.resume(record, shared)


def _measure_seed(
    measurements: Sequence[Measurement],
    seed: int,
    place: int,
    rng: np.random.Generator,
    rungs: bool,
) -> None:
    """Calibrate all with a seed, then time them in blocks."""
    with contextlib.ExitStack() as stack:
        for measurement in measurements:
            stack.callback(measurement.end)
            measurement.begin(seed)
        for measurement in measurements:
            measurement.calibrate()
        numbers = [timed["round"] for one in measurements for timed in one.rounds]
        first = max(numbers, default=-1) + 1
        timed_now, with_rungs = measurements, measurements if rungs and place == 0 else []
        while timed_now:
            first = _time_blocks(timed_now, rng, first, with_rungs)
            again = [one for one in measurements if one.retries_with_more_epochs()]
            with_rungs = [one for one in with_rungs if one in again]
            steady = [one for one in measurements if one.backend["deterministic"] and not one.slow]
            timed_now = [one for one in measurements if one in again or (again and one in steady)]
        for measurement in measurements:
            measurement.check_fits()


def _time_blocks(
    measurements: Sequence[Measurement],
    rng: np.random.Generator,
    first: int,
    with_rungs: Sequence[Measurement],
) -> int:
    """Time the rounds that each wants, in blocks numbered from ``first``; return the next number.

    ``with_rungs`` are timed to the other targets as well, in the first block.
    """
    wanted = [measurement.wanted_rounds() for measurement in measurements]
    for block in range(max(wanted)):
        for index in rng.permutation(len(measurements)):
            one = measurements[index]
            if block < wanted[index]:
                one.time_round(first + block, rungs=block == 0 and one in with_rungs)
    return first + max(wanted)


def _write(measurement: Measurement, folder: RunFolder) -> Record:
    """Write the record of a measurement, and return what was written."""
    details = measurement.ended.details if measurement.ended else ""
    return folder.write(measurement.record(), details)
