"""The pytest plugin behind every benchmark run: its options, its case, one test per backend, where records go.

``pyproject.toml`` loads it in the repository (``-p bench.plugin``), and `python -m bench` everywhere else.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import UnknownBackend, get_backend
from bench.cases.case import Case
from bench.measure.backend_facts import BackendRow, backend_rows
from bench.measure.measurement import Run
from bench.measure.run_folder import RunFolder, open_run
from bench.roofline.measure import RooflineOptions
from bench.roofline.work import WORK_MODELS
from bench.text.progress import Say, StatusLine
from bench.text.wording import plural

from .options import RANK, Selection, add_options
from .records import RUNS

ROOFLINE_RANKS = [16, 64, 128]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("factorbench", "factorbench: what to measure")
    group.addoption(
        "--backend", action="append", default=[], metavar="NAME", help="repeatable; default: all that can run here"
    )
    add_options(group.addoption)
    group.addoption("--sweep", action="store_true", help="measure with 1, 2, 4, ... threads, up to --threads")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that make no sense before anything is loaded."""
    try:
        selection(config).check()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    unknown = [name for name in config.getoption("--backend") if name not in _known_backends(config)]
    if unknown:
        raise pytest.UsageError(str(_unknown(unknown[0])))


_BACKENDS = pytest.StashKey[dict[str, BackendRow]]()
_FOLDER = pytest.StashKey[RunFolder]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per backend."""
    if "run_threads" in metafunc.fixturenames and metafunc.config.getoption("--sweep"):
        metafunc.parametrize("run_threads", _thread_counts(selection(metafunc.config).budget), ids=_threads_id)
    if not {"measured_backend", "roofline_backend"} & set(metafunc.fixturenames):
        return
    known = _known_backends(metafunc.config)
    # A short name stands for another backend: measured only where asked for by that name.
    everyone = [row.name for row in known.values() if not row.same_as]
    names = list(dict.fromkeys(metafunc.config.getoption("--backend"))) or everyone
    if "measured_backend" in metafunc.fixturenames:
        metafunc.parametrize("measured_backend", names)
    if "roofline_backend" in metafunc.fixturenames:  # of those whose work has been counted
        counted = [name for name in names if known[name].work in WORK_MODELS]
        metafunc.parametrize("roofline_backend", counted)


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Iterator[Say]:
    """Tell the person who waits what is going on: one line, rewritten in a terminal; some of the texts in a log."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    live, status = sys.stderr.isatty(), StatusLine()

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled():
            if live:
                status(text)
            elif not text.partition(": ")[2].startswith(("epoch", "reference", "choosing")) or text.endswith("0"):
                print(f"\n{text}", end="", file=sys.stderr, flush=True)

    yield tell
    with capture.global_and_fixture_disabled():
        status.clear()


@pytest.fixture(scope="session")
def case(pytestconfig: pytest.Config, say: Say) -> Case:
    """Build the case that all backends of this run are measured on."""
    try:
        return selection(pytestconfig).build_case(lambda text: say(f"case: {text}"))
    except ValueError as error:  # of the data or of the file
        pytest.exit(f"factorbench: {error}", returncode=4)


@pytest.fixture(scope="session")
def known_backends(pytestconfig: pytest.Config) -> dict[str, BackendRow]:
    """Return what is known of each backend, by name."""
    return _known_backends(pytestconfig)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config, run_folder: RunFolder) -> Run:
    """Return what is the same for all that is measured."""
    return Run(run_folder.path.name, _command_line(), run_folder.work, selection(pytestconfig).limits)


@pytest.fixture(scope="session")
def run_threads(pytestconfig: pytest.Config) -> int:
    """Return the thread budget; a sweep takes the place of this fixture."""
    return selection(pytestconfig).budget


@pytest.fixture(scope="session")
def selected(pytestconfig: pytest.Config) -> Selection:
    """Return what was asked for."""
    return selection(pytestconfig)


@pytest.fixture(scope="session")
def run_folder(pytestconfig: pytest.Config, say: Say) -> RunFolder:
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
def roofline_options(selected: Selection) -> RooflineOptions:
    """Return the ranks and numbers of threads at which an epoch is measured, and for how many seconds."""
    ranks = ROOFLINE_RANKS
    if selected.quick:
        ranks = [RANK]
    if selected.rank:
        ranks = [selected.rank]
    return RooflineOptions(ranks, sorted({1, selected.budget}), 0.3 if selected.quick else 2.0)


def selection(config: pytest.Config) -> Selection:
    """Return what to measure, from the options."""
    return Selection(**{field.name: config.getoption(f"--{field.name}") for field in dataclasses.fields(Selection)})


def _thread_counts(budget: int) -> list[int]:
    """Return 1, 2, 4, ... and the budget."""
    return sorted({1 << power for power in range(budget.bit_length())} | {budget})


def _threads_id(threads: int) -> str:
    return plural(threads, "thread")


def _known_backends(config: pytest.Config) -> dict[str, BackendRow]:
    if _BACKENDS not in config.stash:
        config.stash[_BACKENDS] = backend_rows()
    return config.stash[_BACKENDS]


def _unknown(name: str) -> UnknownBackend:
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
