"""``python -m bench.peers``: installs the libraries of other projects, each in its environment.

A benchmark measures the backends of `backends.peers` in these environments. They lie in the cache,
and nothing else on this machine changes but the cache of pip.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import time
from collections.abc import Sequence
from functools import partial

from bench.datasets.public.download import CACHE_FOLDER
from bench.measure.peer_install import Busy, install, remove
from bench.measure.peers import (
    ENVIRONMENTS,
    LOG,
    Environment,
    Installed,
    environment_of,
    library_of,
    peers_folder,
    problem_of,
    read_installed,
    state_of,
)
from bench.text import command
from bench.text.progress import StatusLine
from bench.text.terminal import aligned, wrapped
from bench.text.wording import plural

_ALL = "all"
_SHOWN = 10  # lines of the log of an installation that failed
_HEAD = ["name", "backends", "library", "Python", "MB", "state", "licence"]
_status = StatusLine()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status.

    It is 1 if an environment could not be installed, 2 after an error, which is one line on
    standard error, and 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            print("\n".join(table()))
            return 0
        chosen = find_environments(options.names)
        if options.command == "install":
            return install_all(chosen, again=options.again)
        return remove_all(chosen)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        _status.clear()
        print(
            f"error: an environment in {peers_folder()} cannot be written or removed ({error}); "
            f"make room there, or set {CACHE_FOLDER} to another folder",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        _status.clear()
        print(
            "interrupted: what was not complete is removed or counts as absent; the same command "
            "goes on",
            file=sys.stderr,
        )
        return command.INTERRUPTED


def find_environments(names: Sequence[str]) -> list[Environment]:
    """Return the environments of these names, or names of backends, each once.

    Raises
    ------
    ValueError
        For an unknown name, with the closest one and all that are known.
    """
    found: dict[str, Environment] = {}
    for name in names:
        if name == _ALL:
            found |= ENVIRONMENTS
            continue
        environment = ENVIRONMENTS.get(name) or environment_of(name)
        if environment is None:
            backends = [each for one in ENVIRONMENTS.values() for each in one.backends]
            known = dict.fromkeys([*ENVIRONMENTS, *backends, _ALL])
            similar = difflib.get_close_matches(name.lower().replace("_", "-"), known, n=1)
            suggestion = f"; did you mean {similar[0]!r}?" if similar else "."
            raise ValueError(
                f"no environment, and no backend that needs one, is named {name!r}{suggestion} "
                f"Known: {', '.join(known)}"
            )
        found[environment.name] = environment
    return list(found.values())


def install_all(environments: Sequence[Environment], *, again: bool = False) -> int:
    """Install environments that are not ready, say how it went, and return the exit status."""
    started, ready = time.monotonic(), 0
    for environment in environments:
        name, there = environment.name, read_installed(environment)
        if there is not None and state_of(environment) == "ready" and not again:
            print(f"{name}: is ready ({_facts(there)}); --again installs it anew")
            ready += 1
            continue
        try:
            installed = install(environment, partial(_step, name), _status.of(name))
        except Busy as error:
            _complain(f"{name}: {error}")
            continue
        _status.clear()
        if installed.state == "failed":
            _complain(_failure(environment, installed))
            continue
        minutes = f"{installed.seconds / 60:.1f} min"
        print(f"{name}: ready after {minutes} ({_facts(installed)})", flush=True)
        ready += 1
    if len(environments) > 1:
        minutes = f"{(time.monotonic() - started) / 60:.1f} min"
        print(f"{ready} of {plural(len(environments), 'environment')} ready after {minutes}")
    return 0 if ready == len(environments) else 1


def remove_all(environments: Sequence[Environment]) -> int:
    """Remove environments, say which, and return the exit status."""
    status = 0
    for environment in environments:
        try:
            removed = remove(environment)
        except Busy as error:
            _complain(f"{environment.name}: {error}")
            status = 1
            continue
        print(f"{environment.name}: {'removed' if removed else 'nothing to remove'}")
    return status


def table() -> list[str]:
    """Return the lines of the table of all environments, with what is wrong with each below it."""
    rows: list[list[str]] = [_HEAD]
    notes: list[list[str]] = [[]]
    for environment in ENVIRONMENTS.values():
        installed = read_installed(environment)
        state = state_of(environment)
        rows.append(
            [
                environment.name,
                ", ".join(environment.backends),
                library_of(environment),
                installed.python if installed else "",
                f"{installed.megabytes:,.0f}" if installed and state != "failed" else "",
                state,
                environment.licence,
            ]
        )
        notes.append([problem_of(environment)] if problem_of(environment) else [])
    return aligned(rows, notes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description="Other libraries that the benchmark compares with: install them, each in an "
        "environment of its own, list them, remove them.",
        epilog=f"They are in ${CACHE_FOLDER}/peers, or in the user's cache folder. NAME is an "
        f"environment, a backend, or {_ALL}. On Linux, all take about 10 GB and a quarter of an "
        "hour; 6 GB are lenskit's, whose torch comes with CUDA. With PIP_EXTRA_INDEX_URL="
        "https://download.pytorch.org/whl/cpu pip finds one without.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    installing = commands.add_parser("install", help="install what is not there, or out of date")
    installing.add_argument(
        "--again", action="store_true", help="install anew what is ready as well"
    )
    commands.add_parser("list", help="list all environments, and what is on this machine")
    removing = commands.add_parser("remove", help="remove environments from the cache")
    for each in (installing, removing):
        each.add_argument("names", nargs="+", metavar="NAME")
    return parser


def _facts(installed: Installed) -> str:
    return f"Python {installed.python}, {installed.megabytes:,.0f} MB"


def _failure(environment: Environment, installed: Installed) -> str:
    """Return why an installation failed, and the end of its output."""
    lines = [f"{environment.name}: was not installed: {installed.reason}"]
    if installed.output:
        lines.append(f"  The end of {environment.folder / LOG}:")
        lines += wrapped(f"    {line}" for line in installed.output[-_SHOWN:])
    return "\n".join(lines)


def _step(name: str, text: str) -> None:
    """Show what comes next: on the status line, or in a log in a line of its own."""
    if sys.stderr is not None and sys.stderr.isatty():
        _status(f"{name}: {text}")
    elif sys.stderr is not None:
        print(f"{name}: {text}", file=sys.stderr, flush=True)


def _complain(text: str) -> None:
    _status.clear()
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    command.run(main)
