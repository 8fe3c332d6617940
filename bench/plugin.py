"""The pytest plugin behind every benchmark run: its options, its case, one test per backend, where records go.

``pyproject.toml`` loads it in the repository (``-p bench.plugin``), and `python -m bench` everywhere else.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backends import UnknownBackend, list_backends
from bench.cases.case import Case
from bench.datasets.splits import METHODS
from bench.measure.run_folder import RunFolder, open_run
from bench.roofline.work import WORK_MODELS

from .options import DAMPING_HELP, RANK, REG_HELP, Selection
from .records import RUNS

ROOFLINE_RANKS = [16, 64, 128]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("factorbench", "factorbench: what to measure")
    group.addoption("--dataset", help="twin (made here, the default), or a name from python -m bench.datasets list")
    group.addoption("--split", metavar="NAME", help=f"an official split of the data set (u1), or: {METHODS}")
    group.addoption("--ratings", type=Path, metavar="FILE", help="your own ratings: CSV, TSV or Parquet")
    group.addoption(
        "--backend", action="append", default=[], metavar="NAME", help="repeatable; default: all that can run here"
    )
    group.addoption("--rank", type=int, help="number of factors (default: 16; of the roofline: 16, 64 and 128)")
    group.addoption("--reg", type=float, help=REG_HELP)
    group.addoption("--damping", type=float, help=DAMPING_HELP)
    group.addoption(
        "--seed", type=int, default=0, help="seed of data and split, and the first of the fits (default: 0)"
    )
    group.addoption("--seeds", type=int, help="how many seeds each backend is fitted with (default: 3; quick: 1)")
    group.addoption("--scale", type=float, help="size of the twin; 1 is 6.3 million ratings (default: 0.2)")
    group.addoption("--rounds", type=int, help="timed rounds per seed (default: 3, of one seed 5; fewer of slow fits)")
    group.addoption("--threads", type=int, help="thread budget of every library (default: all cores)")
    group.addoption("--sweep", action="store_true", help="measure with 1, 2, 4, ... threads, up to --threads")
    group.addoption("--quick", action="store_true", help="a look in under a minute: the twin at 0.02")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that make no sense before anything is loaded."""
    try:
        selection(config).check()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    unknown = [name for name in config.getoption("--backend") if name not in _known_backends(config).index]
    if unknown:
        raise pytest.UsageError(str(_unknown(unknown[0])))


_BACKENDS = pytest.StashKey[pd.DataFrame]()
_FOLDER = pytest.StashKey[RunFolder]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per backend."""
    if "run_threads" in metafunc.fixturenames and metafunc.config.getoption("--sweep"):
        metafunc.parametrize("run_threads", _thread_counts(selection(metafunc.config).budget), ids=_threads_id)
    if not {"measured_backend", "roofline_backend"} & set(metafunc.fixturenames):
        return
    known = _known_backends(metafunc.config)
    # A short name stands for another backend: measured only where asked for by that name.
    everyone = [str(name) for name in known.index[known["same_as"] == ""]]
    names = list(dict.fromkeys(metafunc.config.getoption("--backend"))) or everyone
    if "measured_backend" in metafunc.fixturenames:
        metafunc.parametrize("measured_backend", names)
    if "roofline_backend" in metafunc.fixturenames:  # of those whose work has been counted
        counted = [name for name in names if (known.loc[name, "same_as"] or name) in WORK_MODELS]
        metafunc.parametrize("roofline_backend", counted)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Iterator[Callable[[str], None]]:
    """Tell the person who waits what is going on: one line, rewritten in a terminal."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    live = sys.stderr.isatty()

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled():
            if live:
                sys.stderr.write(f"\r\033[K{text[:110]}")
            elif not text.partition(": ")[2].startswith(("epoch", "reference", "choosing")) or text.endswith("0"):
                sys.stderr.write(f"\n{text}")
            sys.stderr.flush()

    yield tell
    if live:
        with capture.global_and_fixture_disabled():
            sys.stderr.write("\r\033[K")


@pytest.fixture(scope="session")
def case(pytestconfig: pytest.Config, say: Callable[[str], None]) -> Case:
    """Build the case that all backends of this run are measured on."""
    try:
        return selection(pytestconfig).build_case(lambda text: say(f"case: {text}"))
    except ValueError as error:  # of the data or of the file
        pytest.exit(f"factorbench: {error}", returncode=4)


@pytest.fixture(scope="session")
def backend_rows(pytestconfig: pytest.Config) -> dict[str, dict[str, Any]]:
    """Return what is known of each backend, by name."""
    table = _known_backends(pytestconfig)
    return {str(name): {"name": name, **table.loc[name].to_dict()} for name in table.index}


@pytest.fixture(scope="session")
def run_options(pytestconfig: pytest.Config, run_folder: RunFolder) -> dict[str, Any]:
    """Return the arguments that are the same for all that is measured."""
    return {
        "run": run_folder.path.name,
        "command": _command_line(),
        "folder": run_folder.work,
        "limits": selection(pytestconfig).limits,
    }


@pytest.fixture(scope="session")
def run_threads(pytestconfig: pytest.Config) -> int:
    """Return the thread budget; a sweep takes the place of this fixture."""
    return selection(pytestconfig).budget


@pytest.fixture(scope="session")
def round_options(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Return the seeds, and the number of rounds if one was asked for."""
    selected = selection(pytestconfig)
    return {"seeds": selected.fit_seeds, "rounds": selected.rounds}


@pytest.fixture(scope="session")
def run_folder(pytestconfig: pytest.Config, say: Callable[[str], None]) -> RunFolder:
    """Make the folder of this run, or go on in that of a run of the same command that was cut off."""
    try:
        folder = open_run(_command_line())
    except OSError as error:
        pytest.exit(f"factorbench: records cannot be written to {RUNS.resolve()} ({error})", returncode=4)
    pytestconfig.stash[_FOLDER] = folder
    if folder.continued:
        say(f"run: going on with {folder.path}, which was cut off")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Mark the run as done, unless it was interrupted, and only then give its folder free.

    Between the two, another run of the same command would take it for one that was cut off.
    """
    try:
        yield  # fixtures that are left end in here
    finally:
        folder = session.config.stash.get(_FOLDER, None)
        if folder:
            try:
                complete = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
                if complete and not session.shouldfail:
                    folder.mark_done()
            finally:
                folder.close()


@pytest.fixture(scope="session")
def roofline_options(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Return the ranks and numbers of threads at which an epoch is measured, and for how many seconds."""
    selected = selection(pytestconfig)
    return {
        "ranks": [selected.rank] if selected.rank else [RANK] if selected.quick else ROOFLINE_RANKS,
        "threads": sorted({1, selected.budget}),
        "max_seconds": 0.3 if selected.quick else 2.0,
    }


def selection(config: pytest.Config) -> Selection:
    """Return what to measure, from the options."""
    return Selection(**{field.name: config.getoption(f"--{field.name}") for field in dataclasses.fields(Selection)})


def _thread_counts(budget: int) -> list[int]:
    """Return 1, 2, 4, ... and the budget."""
    return sorted({1 << power for power in range(budget.bit_length())} | {budget})


def _threads_id(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def _known_backends(config: pytest.Config) -> pd.DataFrame:
    if _BACKENDS not in config.stash:
        config.stash[_BACKENDS] = list_backends()
    return config.stash[_BACKENDS]


def _unknown(name: str) -> UnknownBackend:
    from backends import get_backend

    try:
        get_backend(name)
    except UnknownBackend as error:
        return error
    raise AssertionError(name)


def _command_line() -> str:
    """Return what was typed to start this run."""
    program = Path(sys.argv[0])
    ours = (program.parent.name, program.name) == (Path(__file__).parent.name, "__main__.py")
    return shlex.join([*(["python", "-m", "bench"] if ours else ["pytest"]), *sys.argv[1:]])
