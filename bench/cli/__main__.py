"""``factorbench COMMAND ...``, or ``python -m bench.cli COMMAND ...``."""

from __future__ import annotations

import argparse
import runpy
import sys
from collections.abc import Callable, Sequence

from backends import (
    BackendUnavailable,
    ModelFileError,
    RatingsError,
    UnknownBackend,
    UnknownIdError,
)
from bench.datasets import DatasetError
from bench.text import command
from bench.text.missing import how_to_install
from bench.text.wording import one_line

from . import fitting, serving
from .answers import CommandError

# Commands with a module, and options, of their own.
_MODULES = {
    "bench": ("bench", "run the benchmarks"),
    "report": ("bench.report", "write the report of a run"),
    "duel": ("bench.duel", "compare backends that take turns"),
    "compare": ("bench.compare", "compare two runs"),
    "tune": ("bench.tune", "search for hyper-parameters, with equal effort for each backend"),
    "defaults": ("bench.defaults", "measure what the default hyper-parameters are worth"),
    "data": ("bench.datasets", "list and download public data sets"),
    "peers": ("bench.peers", "install the libraries that others use, beside ours"),
    "article": ("bench.article", "run what the article ran, then and now"),
    "gpu-check": ("bench.gpu_check", "check and time what runs on a GPU"),
}
_EXPECTED_ERRORS = (
    BackendUnavailable,
    CommandError,
    DatasetError,
    ModelFileError,
    OSError,
    RatingsError,
    UnknownBackend,
    UnknownIdError,
    ValueError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    It is 1 if a fit diverged, 2 after an error, which is one line on standard error, and 130 after
    Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in _MODULES:
        return _run_module(given[0], given[1:])
    options = _parser().parse_args(given)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except _EXPECTED_ERRORS as error:
        print(one_line(f"error: {error}"), file=sys.stderr)
        return 2


def entry() -> None:
    """Run the console script."""
    command.run(main, "nothing was written")


def _run_module(name: str, arguments: list[str]) -> int:
    """Run a command of another module as ``python -m`` would; it exits by itself."""
    module, _ = _MODULES[name]
    sys.argv = [f"factorbench {name}", *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="factorbench",
        description="Fit matrix factorisation to ratings, recommend by it, and measure solvers.",
        epilog="factorbench COMMAND --help tells the options of a command.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fitting.add_commands(commands)
    serving.add_commands(commands)
    for name, (_, help_text) in _MODULES.items():
        # Only for the list of commands: `main` runs them before it comes to this parser.
        commands.add_parser(name, help=help_text, add_help=False)
    completion = commands.add_parser(
        "completion", help="print what completes these commands in a shell"
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    completion.set_defaults(run=lambda options: _print_completion(parser, options.shell))
    return parser


def _print_completion(parser: argparse.ArgumentParser, shell: str) -> int:
    try:
        import shtab
    except ModuleNotFoundError:
        raise CommandError(
            f"the package shtab is not installed; run: {how_to_install('shtab')}"
        ) from None
    print(shtab.complete(parser, shell))
    return 0


if __name__ == "__main__":
    command.run(main, "nothing was written")
