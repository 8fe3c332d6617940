"""The pytest plugin of every benchmark run: options, case, one test per backend, run folder.

It is loaded by ``-p bench.plugin``: in a checkout by ``pyproject.toml``, elsewhere by
``python -m bench``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest

from backends import UnknownBackend, get_backend
from bench.cases.case import Case
from bench.measure.backend_facts import BackendRow, Contender, backend_rows
from bench.measure.measurement import Measurement, Run
from bench.measure.run_folder import RunFolder, SameFile, open_run
from bench.measure.tuned import TunedFile, read_tuned
from bench.measure.turns import CodeChanged, room_for, take_turns
from bench.roofline.measure import RooflineOptions
from bench.roofline.work import WORK_MODELS
from bench.text.progress import Notify, StatusLine
from bench.text.wording import plural

from .options import RANK, Selection, add_options
from .records import RUNS, Record, RooflineRecord, Tuning, record_path

ROOFLINE_RANKS = [16, 64, 128]

# Progress messages with these beginnings come so often that a log shows only some of them.
_FREQUENT = ("epoch", "reference", "choosing")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command-line options."""
    group = parser.getgroup("factorbench", "factorbench: what to measure")
    group.addoption(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="backend to measure, can be repeated (default: all of this project)",
    )
    group.addoption(
        "--peers",
        action="store_true",
        help="measure the adapters to other libraries too; python -m bench.peers installs these",
    )
    group.addoption(
        "--tuned",
        type=Path,
        metavar="FILE",
        help="use hyper-parameters that python -m bench.tune found and wrote to this .json file, "
        "for the backends that it names",
    )

    def add(name: str, **settings: Any) -> None:
        if name == "--header":
            # pytest has a --no-header of its own, which `selection` reads.
            settings |= {"action": "store_true", "default": None}
            settings["help"] += "; --no-header, which also hides pytest's own, if it does not"
        group.addoption(name, **settings)

    add_options(add)
    group.addoption(
        "--sweep",
        action="store_true",
        help="measure with 1, 2, 4, ... threads, up to --threads",
    )
    group.addoption(
        "--no-turns",
        action="store_true",
        help="measure one backend after the other: takes less memory, but a drift of the machine's "
        "speed counts as a difference between them",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Reject options that make no sense before anything is loaded."""
    try:
        selection(config).check()
        path = config.getoption("--tuned")
        config.stash[_TUNED] = read_tuned(path) if path else TunedFile("", "", {})
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    unknown = [
        name for name in config.getoption("--backend") if name not in _known_backends(config)
    ]
    if unknown:
        raise pytest.UsageError(str(_unknown(unknown[0])))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what was tuned on what, and which backends were not."""
    path, tuned = config.getoption("--tuned"), config.stash[_TUNED]
    if not path:
        return []
    known = _known_backends(config)
    rows = [known[name] for name in _backend_names(config) if known[name].available]
    others = [row.name for row in rows if (row.same_as or row.name) not in tuned.backends]
    rest = f"; by default: {', '.join(others)}" if others else ""
    return [f"hyper-parameters: tuned on {tuned.case} ({path}){rest}"]


_BACKENDS = pytest.StashKey[dict[str, BackendRow]]()
_TUNED = pytest.StashKey[TunedFile]()
_FOLDER = pytest.StashKey[RunFolder]()
_PLANNED = pytest.StashKey[list["_Planned"]]()


class _Planned(NamedTuple):
    """A record that a collected test is to write."""

    kind: Literal["time to MSE", "roofline"]
    backend: str
    threads: int


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Create one test per backend and, with --sweep, per number of threads."""
    if "run_threads" in metafunc.fixturenames and metafunc.config.getoption("--sweep"):
        counts = _thread_counts(selection(metafunc.config).budget)
        metafunc.parametrize("run_threads", counts, ids=_threads_id)
    if not {"measured_backend", "roofline_backend"} & set(metafunc.fixturenames):
        return
    known = _known_backends(metafunc.config)
    names = _backend_names(metafunc.config)
    if "measured_backend" in metafunc.fixturenames:
        metafunc.parametrize("measured_backend", names)
    if "roofline_backend" in metafunc.fixturenames:  # needs a work model
        counted = [name for name in names if known[name].work in WORK_MODELS]
        metafunc.parametrize("roofline_backend", counted)


@pytest.hookimpl(trylast=True)  # after -k and -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the roofline out of a quick run, unless nothing else was asked for."""
    if not selection(config).quick:
        return
    others = [item for item in items if "roofline_backend" not in getattr(item, "fixturenames", ())]
    if others:
        left_out = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=left_out)
        items[:] = others


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which records the collected tests are to write."""
    config = session.config
    planned: list[_Planned] = []
    for item in session.items:
        callspec = getattr(item, "callspec", None)
        params = callspec.params if callspec else {}
        if "measured_backend" in params:
            threads = params.get("run_threads", selection(config).budget)
            planned.append(_Planned("time to MSE", params["measured_backend"], threads))
        if "roofline_backend" in params:
            threads = selection(config).budget
            planned.append(_Planned("roofline", params["roofline_backend"], threads))
    config.stash[_PLANNED] = list(dict.fromkeys(planned))  # with --keep-duplicates, some are twice


@pytest.fixture(scope="session")
def notify(pytestconfig: pytest.Config) -> Iterator[Notify]:
    """Return a function that shows progress messages despite pytest's capturing.

    A terminal shows each in the same line. A log gets one line per message, but of the frequent
    ones only every tenth or so.
    """
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    live, status = sys.stderr.isatty(), StatusLine()

    def show(text: str) -> None:
        message = text.partition(": ")[2]  # after the name of the backend, or "case"
        with capture.global_and_fixture_disabled():
            if live:
                status(text)
            elif not message.startswith(_FREQUENT) or message.endswith("0"):
                print(f"\n{text}", end="", file=sys.stderr, flush=True)

    yield show
    with capture.global_and_fixture_disabled():
        status.clear()


def refuse_in_parallel(config: pytest.Config) -> None:
    """Fail in a process of pytest-xdist."""
    if hasattr(config, "workerinput"):
        pytest.fail("benchmarks in parallel disturb each other: run them without -n", False)


@pytest.fixture(scope="session")
def case(pytestconfig: pytest.Config, notify: Notify) -> Case:
    """Return the case that all backends of this run are measured on."""
    refuse_in_parallel(pytestconfig)
    try:
        return selection(pytestconfig).build_case(lambda text: notify(f"case: {text}"))
    except ValueError as error:  # the data set or file cannot be used
        pytest.exit(f"factorbench: {error}", returncode=4)


@pytest.fixture(scope="session")
def known_backends(pytestconfig: pytest.Config) -> dict[str, BackendRow]:
    """Return the registry's rows by name of the backend."""
    return _known_backends(pytestconfig)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config, planned_folder: RunFolder) -> Run:
    """Return the run, which all measurements have in common."""
    limits = selection(pytestconfig).limits
    return Run(planned_folder.path.name, _command_line(), planned_folder.work, limits)


@pytest.fixture(scope="session")
def run_threads(pytestconfig: pytest.Config) -> int:
    """Return the thread budget; --sweep replaces this fixture by a parameter."""
    return selection(pytestconfig).budget


@pytest.fixture(scope="session")
def selected(pytestconfig: pytest.Config) -> Selection:
    """Return the options that were given."""
    return selection(pytestconfig)


@pytest.fixture(scope="session")
def run_folder(pytestconfig: pytest.Config, notify: Notify) -> RunFolder:
    """Return the folder of this run: a new one, or that of a run that was cut off."""
    try:
        folder = open_run(_command_line())
    except OSError as error:
        pytest.exit(
            f"factorbench: records cannot be written to {RUNS.resolve()} ({error})", returncode=4
        )
    pytestconfig.stash[_FOLDER] = folder
    if folder.continued:
        notify(f"run: continuing {folder.path}, which was cut off")
    return folder


@pytest.fixture(scope="session")
def planned_folder(
    pytestconfig: pytest.Config,
    case: Case,
    known_backends: dict[str, BackendRow],
    run_folder: RunFolder,
) -> RunFolder:
    """Return the folder of this run, which names all records that are to be written."""
    names = []
    for kind, backend, threads in pytestconfig.stash[_PLANNED]:
        facts = _contender(pytestconfig, known_backends[backend], threads).facts()
        names.append(record_path(run_folder.path, kind, case.facts["name"], facts).name)
    with _ending_the_run():
        run_folder.plan(names)
    return run_folder


@pytest.fixture(scope="session")
def measured(
    pytestconfig: pytest.Config,
    case: Case,
    known_backends: dict[str, BackendRow],
    run: Run,
    planned_folder: RunFolder,
    selected: Selection,
    notify: Notify,
) -> Callable[[str, int], Record]:
    """Return a function that returns a record, for which it may have to measure.

    Then it measures all backends that are to be measured with that number of threads, in turns.
    """
    records: dict[tuple[str, int], Record] = {}

    def measure(names: Sequence[str], threads: int) -> None:
        measurements = [
            Measurement(
                case,
                _contender(pytestconfig, known_backends[name], threads),
                run,
                seeds=selected.fit_seeds,
                rounds=selected.timed_rounds,
                order="interleaved" if len(names) > 1 else "sequential",
                notify=_messages_of(name, notify),
            )
            for name in names
        ]
        for measurement, name in zip(measurements, names, strict=True):
            measurement.tuning = _tuning(pytestconfig, known_backends[name], case)
        with _ending_the_run():
            found = take_turns(measurements, planned_folder, seed=selected.seed)
        for name, record in zip(names, found, strict=True):
            records[name, threads] = record

    def record_of(name: str, threads: int) -> Record:
        if (name, threads) not in records:
            names = [
                planned.backend
                for planned in pytestconfig.stash[_PLANNED]
                if planned.kind == "time to MSE" and planned.threads == threads
            ]
            in_turns = not pytestconfig.getoption("no_turns")
            available = [name for name in names if known_backends[name].available]
            if in_turns and not room_for(len(available), case):
                notify(f"run: not in turns, as {len(available)} workers need too much memory")
                in_turns = False
            measure(names if in_turns else [name], threads)
        return records[name, threads]

    return record_of


@pytest.fixture(scope="session")
def write(planned_folder: RunFolder) -> Callable[[RooflineRecord], RooflineRecord]:
    """Return a function that writes a record into the folder of this run and returns it."""

    def write(record: RooflineRecord) -> RooflineRecord:
        with _ending_the_run():
            return planned_folder.write(record)

    return write


@contextlib.contextmanager
def _ending_the_run() -> Iterator[None]:
    """End the run in one line if a file cannot be written, so that it can be continued."""
    try:
        yield
    except (CodeChanged, SameFile) as error:
        pytest.exit(f"factorbench: the run is not done: {error}", returncode=4)
    except OSError as error:
        pytest.exit(
            f"factorbench: the run is not done, as a file in {RUNS.resolve()} cannot be written "
            f"({error}); the same command continues it",
            returncode=4,
        )


def _backend_names(config: pytest.Config) -> list[str]:
    """Return the names of the backends to measure, each once."""
    names: list[str] = list(config.getoption("--backend"))
    # All but the short names, which would measure another backend once more.
    rows = [row for row in _known_backends(config).values() if not row.same_as]
    if not names:
        names = [row.name for row in rows if not row.library]
    if config.getoption("--peers"):
        names += [row.name for row in rows if row.library]
    return list(dict.fromkeys(names))


def _contender(config: pytest.Config, row: BackendRow, threads: int) -> Contender:
    """Return a backend to measure, with its tuned hyper-parameters if there are any."""
    tuning = _tuning(config, row)
    return Contender(row, threads, params=tuning["params"] if tuning else {})


def _tuning(config: pytest.Config, row: BackendRow, case: Case | None = None) -> Tuning | None:
    """Return how a backend was tuned, and on what if that is not this case; None if it was not."""
    file = config.stash[_TUNED]
    found = file.backends.get(row.same_as or row.name)
    if found is None:
        return None
    tuning = found.tuning
    if case is None or case.facts["name"] == file.case:
        return tuning
    return Tuning({**tuning, "split": f"{tuning['split']} of {file.case}, another case"})


def _messages_of(name: str, notify: Notify) -> Notify:
    return lambda text: notify(f"{name}: {text}")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Mark the run as done, unless it was interrupted, and only then release its folder.

    In the other order, another run of the same command could start in between and continue it.
    """
    try:
        yield  # in here the remaining fixtures end
    finally:
        folder = session.config.stash.get(_FOLDER, None)
        if folder:
            try:
                if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
                    folder.mark_done()
            except OSError as error:
                print(f"\nfactorbench: the run is not done: {error}", file=sys.stderr)
            finally:
                folder.close()


@pytest.fixture(scope="session")
def roofline_options(pytestconfig: pytest.Config, selected: Selection) -> RooflineOptions:
    """Return at which ranks and numbers of threads an epoch is measured, and for how long."""
    threads = {1, selected.budget} if pytestconfig.getoption("--sweep") else {selected.budget}
    options = RooflineOptions(ROOFLINE_RANKS, sorted(threads), max_seconds=1.0)
    if selected.quick:
        options = dataclasses.replace(options, ranks=[RANK], max_seconds=0.3, turns=8)
    if selected.rank:
        options = dataclasses.replace(options, ranks=[selected.rank])
    return options


def selection(config: pytest.Config) -> Selection:
    """Return what to measure, according to the command line."""
    names = [field.name for field in dataclasses.fields(Selection)]
    given = Selection(**{name: config.getoption(name) for name in names})
    if given.ratings and config.getoption("no_header"):
        if given.header:
            raise ValueError("--header and --no-header exclude each other: give one of them")
        return dataclasses.replace(given, header=False)
    return given


def _thread_counts(budget: int) -> list[int]:
    """Return the powers of two up to the budget, and the budget."""
    return sorted({1 << power for power in range(budget.bit_length())} | {budget})


def _threads_id(threads: int) -> str:
    return plural(threads, "thread")


def _known_backends(config: pytest.Config) -> dict[str, BackendRow]:
    """Return the registry's rows, which are read once per run: that imports the backends."""
    if _BACKENDS not in config.stash:
        config.stash[_BACKENDS] = backend_rows()
    return config.stash[_BACKENDS]


def _unknown(name: str) -> UnknownBackend:
    """Return the registry's error for a name it does not have, with its suggestions."""
    try:
        get_backend(name)
    except UnknownBackend as error:
        return error
    raise AssertionError(name)


def _command_line() -> str:
    """Return the command line of this run, as the user typed it."""
    program = Path(sys.argv[0])
    command = ["pytest"]
    if (program.parent.name, program.name) == (Path(__file__).parent.name, "__main__.py"):
        command = ["python", "-m", "bench"]
    return shlex.join([*command, *sys.argv[1:]])
