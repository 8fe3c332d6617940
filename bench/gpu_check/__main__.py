"""``python -m bench.gpu_check [--smoke]``: verifies and times the torch backend on a GPU.

It measures the device's limits, compares the solvers with the CPU, counts how often an epoch makes
the host wait, and times fits to the matching target, preparation, epochs and the products in them,
on up to 99 million synthetic ratings (the size of the Netflix Prize). Then it verifies and times
the kernels in Triton. Figures are printed as soon as they are measured, and as a table at the end;
``python -m bench.report`` draws the record of a run.

Steps that would begin after `MOST_MINUTES` are skipped, and said so. If a step fails, its traceback
is printed and the next step runs. The exit status is 1 if anything failed or any result is wrong,
and 2 if there is no GPU. ``--smoke`` tests the check itself with tiny sizes on the CPU, where the
CPU is compared with itself and Triton's kernels are interpreted. Steps that the machine does not
support are skipped and listed at the end.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

from backends import BackendUnavailable
from bench.machine.environment import environment_of, machine_facts, process_facts
from bench.measure.run_folder import open_run
from bench.records import RUNS, SCHEMA, GPUCheck, write_record
from bench.text import command
from bench.text.privacy import scrub
from bench.text.wording import one_line, plural

from .check import Check, table

ALL_RIGHT = "Everything that ran is right."
MOST_MINUTES = 7.0  # after which no step begins

Step = Callable[[Check], None]


def steps() -> list[Step]:
    """Return the steps of the check, in their order."""
    # Imported late: it imports torch, which takes seconds and may be missing.
    from . import alternating, fits, solvers

    return [
        solvers.limits,
        solvers.correctness,
        alternating.alternating_correctness,
        solvers.waits,
        solvers.graph,
        fits.to_target,
        kernels,
        solvers.epochs,
        alternating.alternating_epochs,
    ]


def kernels(check: Check) -> None:
    """Verify and time the kernels in Triton, if that is installed."""
    if importlib.util.find_spec("triton") is None:
        check.skip(
            "Triton's kernels", "the package triton is not installed; run: pip install triton"
        )
        return
    from .kernels import kernels_in_triton

    kernels_in_triton(check)


def run(check: Check) -> int:
    """Run all steps; print the timings and what was skipped or wrong; return the exit status."""
    for step in steps():
        if time.perf_counter() - check.start > 60 * MOST_MINUTES:
            check.skip(step.__name__, f"the check had taken over {MOST_MINUTES:g} minutes")
            continue
        with check.fenced(step.__name__):
            step(check)
    print()
    print("\n".join(table(check.timings)))
    for title, notes in (("Skipped", check.skipped), ("Wrong", check.wrong)):
        if notes:
            print(f"\n{title}:")
            for note in notes:
                print(f"  {note}")
    if check.wrong:
        print(f"\n{plural(len(check.wrong), 'result')} failed or wrong")
        return 1
    print(f"\n{ALL_RIGHT}")
    return 0


def record_of(check: Check, name: str, line: str) -> GPUCheck:
    """Return the record of a run that has ended; ``name`` is the run's, ``line`` its command."""
    facts = environment_of(machine_facts(), process_facts())
    facts["device"] = check.device
    wrong = [one_line(text) for text in check.wrong]
    return GPUCheck(
        schema=SCHEMA,
        kind="GPU check",
        run=name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        command=scrub(line),
        status="wrong" if wrong else "right",
        reason=f"{plural(len(wrong), 'result')} failed or wrong" if wrong else "",
        device=check.device_name(),
        smoke=check.smoke,
        cache_mb=check.cache / 2**20,
        limits=check.limits,
        comparisons=check.comparisons,
        fits=check.fits,
        timings=[timing.as_recorded() for timing in check.timings],
        skipped=check.skipped,
        wrong=[scrub(text) for text in wrong],
        environment=facts,
    )


def write(check: Check, output: Path | None, words: list[str]) -> None:
    """Write the record of a run that has ended into a folder, by default that of a new run.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    line = shlex.join(["python", "-m", "bench.gpu_check", *words])
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        path = write_record(output, record_of(check, output.name, line))
    else:
        folder = open_run(line)
        try:
            path = write_record(folder.path, record_of(check, folder.path.name, line))
            folder.mark_done()
        finally:
            folder.close()
    print(f"Record: {path} (python -m bench.report --input {path.parent})")


def main(arguments: list[str] | None = None) -> None:
    """Verify and time the torch backend on a GPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description=main.__doc__)
    smoke = "test the check itself: tiny sizes, on the CPU"
    parser.add_argument("--smoke", action="store_true", help=smoke)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"folder for the record (default: a new one in {RUNS}; of --smoke, there is none)",
    )
    words = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(words)
    if options.output is not None and options.output.exists() and not options.output.is_dir():
        parser.error(f"--output must be a folder, but {options.output} is a file")
    check = Check(options.smoke)
    if check.smoke:
        os.environ["TRITON_INTERPRET"] = "1"  # triton reads it when it is imported
    try:
        check.solver()
    except BackendUnavailable as error:
        hint = "" if check.smoke else "; --smoke tests the check itself on the CPU"
        print(f"{error}{hint}", file=sys.stderr)
        sys.exit(2)
    status = run(check)
    if options.output is not None or not check.smoke:
        try:
            write(check, options.output, words)
        except OSError as error:
            print(f"error: the record cannot be written ({error})", file=sys.stderr)
            status = 2
    sys.exit(status)


if __name__ == "__main__":
    command.run(main)
