"""``python -m bench.gpu_check [--smoke]``: verifies and times the torch backend on a GPU.

It measures the device's limits, compares the solvers with the CPU, counts how often an epoch makes
the host wait, and times fits to the matching target, preparation, epochs and the products in them,
on up to 99 million synthetic ratings (the size of the Netflix Prize). Then it verifies and times
the kernels in Triton. Figures are printed as soon as they are measured, and as a table at the end;
``python -m bench.report`` draws the record of a run.

Steps that would begin after seven minutes are skipped, and said so. If a step fails, its traceback
is printed and the next step runs. The exit status is 1 if anything failed or any result is wrong,
and 2 if there is no GPU. ``--smoke`` tests the check itself with tiny sizes on the CPU, where the
CPU is compared with itself and Triton's kernels are interpreted. Steps that the machine does not
support are skipped and listed at the end.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

from backends import BackendUnavailable
from bench.records import RUNS
from bench.text import command
from bench.text.wording import one_line

from .check import Check, table
from .record import NotWritten, recording

ALL_RIGHT = "Everything that ran is right."

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


def run(check: Check, write: Callable[[bool], None]) -> int:
    """Run all steps; print the timings and what was skipped or wrong; return the exit status.

    ``write`` is called after each; see `record.recording`.
    """
    for step in steps():
        title = step.__name__.replace("_", " ")
        if check.is_late():
            check.skip(title, check.too_late)
            continue
        with check.fenced(title):
            step(check)
        write(False)
    write(True)
    print()
    print("\n".join(table(check.timings)))
    for title, notes in (("Skipped", check.skipped), ("Wrong", check.wrong)):
        if notes:
            print(f"\n{title}:")
            for note in notes:
                print(f"  {note}")
    if check.wrong:
        print(f"\n{check.verdict}")
        return 1
    print(f"\n{ALL_RIGHT}")
    return 0


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
    if options.output is not None and os.path.isfile(options.output):
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
    try:
        with recording(check, options.output, words) as write:
            write(False)  # before anything is measured: the folder may be out of reach
            status = run(check, write)
    except NotWritten as error:
        print(one_line(f"error: the record cannot be written ({error})"), file=sys.stderr)
        sys.exit(2)
    sys.exit(status)


if __name__ == "__main__":
    command.run(main)
