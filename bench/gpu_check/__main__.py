"""``python -m bench.gpu_check [--smoke]``: proves and times the torch backend on a GPU.

It holds both solvers against the CPU, counts how often an epoch makes the host wait, times
preparing, epochs and the products inside on up to 99 million synthetic ratings (the size of the
Netflix Prize), and does the same with prototypes of kernels in Triton. Figures are printed as they
come, and once more as a table at the end.

Each part is fenced: what fails is printed with its traceback, and the next part runs. The exit
status is 1 if anything failed or any result is off, and 2 where there is no GPU. ``--smoke`` tests
the check itself: tiny sizes on the CPU (so that the CPU is held against itself), and Triton's
kernels by its interpreter. What a machine lacks is left out, and the end says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable

from backends import BackendUnavailable
from bench.text.wording import plural

from .check import Check, table

ALL_RIGHT = "All that ran is right."

Part = Callable[[Check], None]


def parts() -> list[Part]:
    """Return the parts in their order; torch, which takes seconds to import and may be missing, is imported here."""
    from . import solvers

    return [solvers.correctness, solvers.waits, solvers.graph, solvers.epochs, kernels]


def kernels(check: Check) -> None:
    """Prove and time the prototypes in Triton, where that is installed."""
    if importlib.util.find_spec("triton") is None:
        check.leave_out(
            "Triton's kernels", "the package triton is not installed; run: pip install triton"
        )
        return
    from .kernels import prototypes

    prototypes(check)


def run(check: Check) -> int:
    """Run all parts, print the table and what was wrong or left out; return the exit status."""
    for part in parts():
        with check.fenced(part.__name__):
            part(check)
    print("\n".join(["", *table(check.timings)]))
    for title, notes in (("Left out", check.left_out), ("Wrong", check.wrong)):
        if notes:
            print("\n".join(["", f"{title}:", *(f"  {note}" for note in notes)]))
    verdict = f"{plural(len(check.wrong), 'result')} failed or off" if check.wrong else ALL_RIGHT
    print(f"\n{verdict}")
    return 1 if check.wrong else 0


def main(arguments: list[str] | None = None) -> None:
    """Prove and time the torch backend on a GPU."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu_check", description=main.__doc__)
    smoke = "test the check itself: tiny sizes, on the CPU"
    parser.add_argument("--smoke", action="store_true", help=smoke)
    check = Check(parser.parse_args(arguments).smoke)
    if check.smoke:
        os.environ["TRITON_INTERPRET"] = "1"  # triton reads it when it is imported
    try:
        check.solver()
    except BackendUnavailable as error:
        print(
            f"{error}" if check.smoke else f"{error}; --smoke tests the check itself on the CPU",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(run(check))


if __name__ == "__main__":
    main()
