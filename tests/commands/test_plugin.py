"""The recorded command is the one typed; which tests there are, and which options are refused."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from helpers import ROOT, without_torch

from backends import available_cores
from bench.measure.tuned import TunedFile
from bench.options import Selection
from bench.plugin import (
    _TUNED,
    _command_line,
    _thread_counts,
    _threads_id,
    pytest_collection_finish,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_generate_tests,
    pytest_report_header,
    refuse_in_parallel,
    selection,
)
from bench.records import read_state

pytestmark = pytest.mark.process

TESTS = "bench/bench_time_to_mse.py::test_time_to_matching_mse"


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("/env/bin/pytest", "pytest --quick --ratings 'my file.csv'"),
        ("/env/lib/pytest/__main__.py", "pytest --quick --ratings 'my file.csv'"),
        ("/env/lib/bench/__main__.py", "python -m bench --quick --ratings 'my file.csv'"),
    ],
)
def test_the_command_is_what_was_typed(
    monkeypatch: pytest.MonkeyPatch, program: str, typed: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--quick", "--ratings", "my file.csv"])
    assert _command_line() == typed


def collected(folder: Path, *options: str) -> tuple[int, list[str], str]:
    """Status, ids and errors of a run that only collects, without torch; uses the folder."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "bench/bench_time_to_mse.py",
        "--collect-only",
        "-q",
        *options,
    ]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), without_torch(folder)])}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    return done.returncode, [line for line in done.stdout.splitlines() if "::" in line], done.stderr


class Metafunc:
    """As much of pytest's session as the plugin needs, without loading a backend."""

    def __init__(self, budget: int, sweep: bool, *fixtures: str) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(Selection)}
        self.options = defaults | {"backend": [], "threads": budget, "sweep": sweep}
        self.config: Any = self
        self.stash: dict[Any, Any] = {}
        self.fixturenames = list(fixtures)
        self.made: list[Any] = []

    def getoption(self, name: str) -> Any:
        return self.options.get(name.removeprefix("--"))

    def parametrize(self, name: str, values: list[int], ids: Any) -> None:
        self.made.append((name, values, [ids(value) for value in values]))


def test_there_is_one_test_of_a_backend(tmp_path: Path) -> None:
    asked = ["--backend", "numba-sgd", "--backend", "numpy", "--backend", "numba-sgd"]
    assert collected(tmp_path, *asked)[:2] == (
        0,
        [f"{TESTS}[numba-sgd]", f"{TESTS}[numpy]"],
    )


def test_libraries_of_others_are_measured_if_they_are_asked_for(tmp_path: Path) -> None:
    status, without, _ = collected(tmp_path)
    assert status == 0
    _, with_peers, _ = collected(tmp_path, "--peers")
    added = {name.partition("[")[2].rstrip("]") for name in with_peers} - {
        name.partition("[")[2].rstrip("]") for name in without
    }
    assert {"cornac", "libmf", "pytorch-tutorial", "surprise-svd"} <= added
    assert not {name for name in added if name.startswith(("numba", "numpy"))}
    _, named, _ = collected(tmp_path, "--backend", "cornac")
    assert named == [f"{TESTS}[cornac]"]


def test_a_file_of_tuned_hyper_parameters_is_read_before_anything_else(tmp_path: Path) -> None:
    status, ids, error = collected(tmp_path, "--tuned", str(tmp_path / "none.json"))
    assert (status, ids) == (4, [])
    assert "none.json cannot be read (No such file or directory); give the .json file" in error


def test_the_header_says_what_was_tuned_on_what_and_what_was_not() -> None:
    config = Metafunc(2, False)
    config.options |= {"backend": ["numpy", "numpy-als"], "tuned": Path("found.json")}
    config.stash[_TUNED] = TunedFile("the case", "", {"numpy": cast("Any", None)})
    assert pytest_report_header(cast("Any", config)) == [
        "hyper-parameters: tuned on the case (found.json); by default: numpy-als"
    ]
    config.options["tuned"] = None
    assert pytest_report_header(cast("Any", config)) == []


def test_a_sweep_makes_one_test_for_each_number_of_threads(tmp_path: Path) -> None:
    most = min(2, available_cores())
    counts = ["1 thread", "2 threads"][:most]
    asked = ["--backend", "numba-sgd", "--sweep", "--threads", str(most)]
    assert collected(tmp_path, *asked)[:2] == (
        0,
        [f"{TESTS}[{count}-numba-sgd]" for count in counts],
    )


@pytest.mark.parametrize(
    ("budget", "counts"),
    [
        (1, [1]),
        (2, [1, 2]),
        (3, [1, 2, 3]),
        (4, [1, 2, 4]),
        (6, [1, 2, 4, 6]),
        (64, [1, 2, 4, 8, 16, 32, 64]),
    ],
)
def test_a_sweep_doubles_the_threads_up_to_the_budget(budget: int, counts: list[int]) -> None:
    assert _thread_counts(budget) == counts
    swept = Metafunc(budget, True, "run_threads")
    pytest_generate_tests(swept)  # type: ignore[arg-type]
    assert swept.made == [("run_threads", counts, [_threads_id(count) for count in counts])]


def test_only_what_asks_for_threads_is_swept_and_only_where_wanted() -> None:
    for plain in (Metafunc(4, False, "run_threads"), Metafunc(4, True, "case")):
        pytest_generate_tests(plain)  # type: ignore[arg-type]
        assert plain.made == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"threads": 0}, "--threads must be at least 1, got 0"),
        (
            {"backend": ["numpy", "numpi"]},
            "no backend is named 'numpi'; did you mean 'numpy'? Known: ",
        ),
    ],
)
def test_options_are_refused_in_words(given: dict[str, Any], said: str) -> None:
    config = Metafunc(1, False)
    config.options |= given
    with pytest.raises(pytest.UsageError) as error:
        pytest_configure(config)  # type: ignore[arg-type]
    assert str(error.value).startswith(said)


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({}, None),
        ({"header": True}, True),
        ({"no_header": True}, False),
        ({"no_header": True, "ratings": None}, None),  # pytest's own is meant
    ],
)
def test_pytests_no_header_says_that_the_ratings_have_none(
    given: dict[str, Any], header: bool | None
) -> None:
    config = Metafunc(1, False)
    config.options |= {"ratings": Path("mine.csv"), **given}
    assert selection(config).header is header  # type: ignore[arg-type]


def test_there_is_a_header_or_none() -> None:
    config = Metafunc(1, False)
    config.options |= {"ratings": Path("mine.csv"), "header": True, "no_header": True}
    with pytest.raises(pytest.UsageError, match="--header and --no-header exclude each other"):
        pytest_configure(config)  # type: ignore[arg-type]


# ---- the folder of the run ----------------------------------------------------------------------

# Two runs of one command, in each of the folders: what the second finds when the first ends, and
# afterwards. All in one process, as its start takes longer than the runs.
SESSION = """
import json, os, sys
from pathlib import Path
import pytest
from bench.plugin import _command_line
from bench.measure.run_folder import RunFolder, open_run

def done(folder):
    return json.loads((folder / "run.state").read_text("utf-8"))["done"]

def close(folder, close=RunFolder.close):
    print("CLOSED", done(folder.path))
    close(folder)

RunFolder.close = close

class Beside:
    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self):
        second = open_run(_command_line())
        print("\\nBESIDE", second.continued)
        second.mark_done()
        second.close()

options = ["-q", "-p", "bench.plugin", "-p", "no:cacheprovider"]
for folder in sys.argv[1:]:
    os.chdir(folder)
    print("FOLDER", folder)
    status = pytest.main([*options, *map(str, Path().glob("test_*.py"))], [Beside()])
    states = [done(path) for path in sorted(Path("reports/runs").iterdir())]
    left = [path.name for path in Path("reports/runs").glob("*/work")]
    third = open_run(_command_line())
    print("AFTER", int(status), states, left, third.continued)
"""
# The body of a test and of a session's fixture, and what is found after the run.
SESSIONS = [
    ("pass", "yield", "0 [True, True] [] False"),
    ("assert False", "yield", "1 [True, True] [] False"),
    ("raise KeyboardInterrupt", "yield", "2 [False, True] [] False"),
    ("pass", "raise KeyboardInterrupt", "2 [False, True] [] False"),
    ("pass", "pytest.exit('no such data', returncode=4)", "4 [False, True] [] False"),
    ("pass", "yield; raise RuntimeError", "1 [True, True] [] False"),
]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[list[str], str]]:
    """For each of `SESSIONS` the lines that are about its folder, and all that was printed."""
    folders = [tmp_path_factory.mktemp("session") for _ in SESSIONS]
    for folder, (body, fixture, _) in zip(folders, SESSIONS, strict=True):
        # Of a name that no other has: Python imports a module once.
        (folder / f"test_{folder.name}.py").write_text(
            "import pytest\n\n@pytest.fixture(scope='session')\n"
            f"def needed(run_folder):\n    {fixture}\n\ndef test(needed):\n    {body}\n"
        )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", SESSION, *map(str, folders)]
    done = subprocess.run(words, cwd=folders[0], env=env, capture_output=True, text=True)
    begun, *parts = done.stdout.split("FOLDER ")
    assert begun == "", done.stdout + done.stderr
    assert [part.partition("\n")[0] for part in parts] == words[3:], done.stdout + done.stderr
    kinds = ("BESIDE", "CLOSED", "AFTER")
    return [
        ([line for line in part.splitlines() if line.startswith(kinds)], part + done.stderr)
        for part in parts
    ]


@pytest.mark.parametrize("number", range(len(SESSIONS)), ids=[" / ".join(s) for s in SESSIONS])
def test_a_folder_is_freed_after_its_run_is_marked_as_done(
    sessions: list[tuple[list[str], str]], number: int
) -> None:
    (*_, after), (said, printed) = SESSIONS[number], sessions[number]
    was_done = after.split()[1].strip("[,")
    expected = ["BESIDE False", "CLOSED True", f"CLOSED {was_done}", f"AFTER {after}"]
    assert said == expected, printed


def test_what_is_refused_ends_the_run_before_anything_is_collected(tmp_path: Path) -> None:
    assert collected(tmp_path, "--seeds", "0") == (
        pytest.ExitCode.USAGE_ERROR,
        [],
        "ERROR: --seeds must be at least 1, got 0\n\n",
    )


class Item:
    """As much of a test as the plugin's choice of tests needs."""

    def __init__(self, *fixtures: str) -> None:
        self.fixturenames = fixtures


class Config:
    """As much of pytest's configuration as that needs; remembers what was left out."""

    def __init__(self, **options: Any) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(Selection)}
        self.options = defaults | options
        self.hook: Any = self
        self.left_out: list[Any] = []

    def getoption(self, name: str) -> Any:
        return self.options[name.removeprefix("--")]

    def pytest_deselected(self, items: list[Any]) -> None:
        self.left_out = items


def test_a_quick_run_leaves_the_roofline_out_unless_it_is_all_that_was_asked_for() -> None:
    timed, roofline = Item("measured_backend"), Item("roofline_backend")
    for quick, given, kept in [
        (True, [roofline, timed], [timed]),
        (True, [roofline], [roofline]),
        (True, [timed], [timed]),
        (False, [roofline, timed], [roofline, timed]),
    ]:
        config, items = Config(quick=quick), list(given)
        pytest_collection_modifyitems(config, items)  # type: ignore[arg-type]
        assert items == kept
        assert config.left_out == [item for item in given if item not in kept]


# ---- runs that are cut off, in parallel, or short of room ---------------------------------------

TINY_RUN = ["--scale", "0.005", "--rank", "2", "--reg", "0.14", "--seeds", "1", "--rounds", "1"]
TINY_RUN += ["--threads", "1", "--backend", "numpy-als"]


def run_in(folder: Path, *options: str, limit: str = "") -> subprocess.CompletedProcess[str]:
    """Run the benchmark in a folder without torch, with a limit on the size of files if wanted."""
    words = [sys.executable, "-m", "bench", "-q", "-k", "mse", *TINY_RUN, *options]
    shell = ["sh", "-c", f'{limit or "true"} && exec "$@"', "sh"]
    env = os.environ | {"FACTORBENCH_CACHE": str(folder / "cache")}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), without_torch(folder)])
    return subprocess.run([*shell, *words], cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.load
def test_a_run_without_room_is_not_done(tmp_path: Path) -> None:
    """No file may be larger than 64 KB, which the ratings are."""
    full = run_in(tmp_path, limit="ulimit -f 128")
    assert full.returncode == 4, full.stdout + full.stderr
    said = [line for line in full.stdout.splitlines() if "factorbench: " in line]
    assert len(said) == 1
    assert "the run is not done, as a file in" in said[0]
    assert "File too large" in said[0]
    assert "Traceback" not in full.stdout + full.stderr
    (folder,) = (tmp_path / "reports" / "runs").iterdir()
    state = read_state(folder)
    assert state is not None
    assert (state.done, len(state.planned)) == (False, 1)


def test_benchmarks_in_parallel_are_refused() -> None:
    refuse_in_parallel(cast("pytest.Config", SimpleNamespace()))
    worker = SimpleNamespace(workerinput={})  # as pytest-xdist marks its processes
    with pytest.raises(pytest.fail.Exception, match="disturb each other: run them without -n"):
        refuse_in_parallel(cast("pytest.Config", worker))


class Planned(NamedTuple):
    """As much of a collected test as is looked at."""

    callspec: Any


def test_the_records_of_a_run_are_planned() -> None:
    """With each number of threads of a sweep; the roofline has one for each backend."""
    config = Metafunc(2, True)
    params: list[dict[str, Any]] = [
        {"measured_backend": "numpy", "run_threads": 1},
        {"measured_backend": "numpy"},
        {"roofline_backend": "numba-sgd"},
        {"other": 1},
    ]
    session = SimpleNamespace(
        config=config, items=[Planned(SimpleNamespace(params=one)) for one in params] + [object()]
    )
    pytest_collection_finish(session)  # type: ignore[arg-type]
    (planned,) = config.stash.values()
    assert [tuple(one) for one in planned] == [
        ("time to MSE", "numpy", 1),
        ("time to MSE", "numpy", 2),
        ("roofline", "numba-sgd", 2),
    ]
