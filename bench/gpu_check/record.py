"""The record of a check of a GPU, written anew after each step, so that what is cut off is kept."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.machine.environment import environment_of, machine_facts, process_facts
from bench.measure.run_folder import open_run
from bench.records import SCHEMA, Environment, GPUCheck, write_record
from bench.text.privacy import scrub
from bench.text.wording import one_line

from .check import Check

CUT_OFF = "the check was cut off"


class NotWritten(Exception):
    """There is no room for the record, or no such place."""


@contextmanager
def recording(
    check: Check, output: Path | None, words: Sequence[str]
) -> Iterator[Callable[[bool], None]]:
    """Yield a function that writes the record as it is so far; its argument is whether it is whole.

    Parameters
    ----------
    output
        Folder for the record. None for that of a new run, or for no record of a smoke run.
    words
        The arguments of the command.

    Raises
    ------
    NotWritten
        Also by the function.
    """
    if output is None and check.smoke:
        yield lambda whole: None
        return
    line = scrub(shlex.join(["python", "-m", "bench.gpu_check", *words]))
    environment = environment_of(machine_facts(), process_facts())
    environment["device"] = check.device
    try:
        folder = open_run(line) if output is None else None
        where = folder.path if folder else Path(output or "")
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritten(error) from error
    now = datetime.datetime.now(datetime.UTC)
    name = folder.path.name if folder else now.strftime("%Y-%m-%dT%H-%M-%SZ")
    try:
        yield lambda whole: _write(where, record_of(check, name, line, environment, whole))
        if folder:
            folder.mark_done()
    finally:
        if folder:
            folder.close()
    report = shlex.join(["python", "-m", "bench.report", "--input", str(where)])
    print(one_line(f"Record: {where / 'gpu-check.json'} ({report})"))


def _write(folder: Path, record: GPUCheck) -> None:
    try:
        write_record(folder, record)
    except OSError as error:
        raise NotWritten(error) from error


def record_of(
    check: Check, name: str, line: str, environment: Environment, whole: bool
) -> GPUCheck:
    """Return the record of a run that has ended, or is not ``whole``.

    ``name`` is that of the run, and ``line`` its command.
    """
    return GPUCheck(
        schema=SCHEMA,
        kind="GPU check",
        run=name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        command=line,
        status="wrong" if check.wrong else "right" if whole else "cut off",
        reason=check.verdict if check.wrong else "" if whole else CUT_OFF,
        device=check.device_name,
        smoke=check.smoke,
        cache_mb=check.cache / 2**20,
        limits=check.limits,
        comparisons=check.comparisons,
        fits=check.fits,
        timings=[timing.as_recorded() for timing in check.timings],
        skipped=[*check.skipped, *([] if whole else [f"all further steps: {CUT_OFF}"])],
        wrong=[scrub(one_line(text)) for text in check.wrong],
        environment=environment,
    )
