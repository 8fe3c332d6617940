"""``python -m bench`` is the same in whatever folder it is started, and says what it cannot run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from helpers import ROOT, without_torch

pytestmark = pytest.mark.process

COLLECTED = ["::test_time_to_matching_mse[numpy-als]", "::test_roofline[NOTSET]"]
TINY = [
    *("-q", "-k", "mse", "--scale", "0.01", "--rank", "4", "--reg", "0.14", "--damping", "30"),
    *("--seeds", "1", "--rounds", "1", "--threads", "1", "--backend", "numpy-als"),
]
MORE_PATHS: list[str] = []  # behind this working tree


def python(
    folder: Path, *words: str, env: Mapping[str, str] | None = None, path: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with this working tree on its path."""
    paths = [str(path), *filter(None, [(env or {}).get("PYTHONPATH")]), *MORE_PATHS]
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | (env or {}) | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def torchless(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python is started without torch."""
    folder = without_torch(tmp_path_factory.mktemp("torchless"))
    monkeypatch.setattr(sys.modules[__name__], "MORE_PATHS", [folder])


def collect(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
    """The benchmarks that would be run; fails with pytest's output."""
    command = ["-m", "bench", "--collect-only", "-q", "--backend", "numpy-als"]
    done = python(folder, *words, *command, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


HOSTILE = """
addopts = --no-such-option
python_functions = check_*
filterwarnings = error
minversion = 999
required_plugins = no-such-plugin
"""


FILES = {
    "pytest.ini": f"[pytest]{HOSTILE}",
    "setup.cfg": f"[tool:pytest]{HOSTILE}",
    "pyproject.toml": "this is no TOML",
    "conftest.py": "raise RuntimeError",
}


@pytest.mark.usefixtures("torchless")
def test_no_file_of_other_tests_is_read(tmp_path: Path) -> None:
    """Neither of the folder nor of those above."""
    below = tmp_path / "below"
    below.mkdir()
    for file, text in FILES.items():
        (tmp_path / file).write_text(f"{text}\n")
    assert collect(tmp_path) == COLLECTED
    assert collect(below) == COLLECTED


def broken_plugin(folder: Path) -> None:
    """Install a pytest plugin that cannot be imported."""
    info = folder / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\nbroken = broken_plugin\n")
    (folder / "broken_plugin.py").write_text("raise RuntimeError('a broken plugin')\n")


@pytest.mark.usefixtures("torchless")
def test_nothing_in_the_environment_changes_the_run(tmp_path: Path) -> None:
    broken_plugin(tmp_path / "installed")
    env = {
        "PYTHONPATH": str(tmp_path / "installed"),
        "PYTEST_ADDOPTS": "--no-such-option",
        "PYTEST_PLUGINS": "no_such_plugin",
        "PYTEST_XDIST_WORKER": "gw0",
        "PYTHONWARNINGS": "error",
    }
    assert collect(tmp_path, "-W", "error", env=env) == COLLECTED


@pytest.mark.usefixtures("torchless")
def test_the_users_options_count(tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "bench", "--collect-only", *TINY)
    assert [line for line in done.stdout.splitlines() if "::" in line] == COLLECTED[:1]
    (tmp_path / "mine.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    refused = python(tmp_path, "-m", "bench", "-c", "mine.ini", "--collect-only")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--no-such-option" in refused.stderr


@pytest.mark.slow
def test_a_run_in_a_hostile_folder(tmp_path: Path) -> None:
    """All at once, and a backend is measured: also its worker is not disturbed."""
    here = tmp_path / "here"
    here.mkdir()
    broken_plugin(tmp_path / "installed")
    (here / "conftest.py").write_text("raise RuntimeError\n")
    (here / "pytest.ini").write_text(
        "[pytest]\naddopts = --no-such-option\npython_functions = x\nfilterwarnings = error\n"
    )
    env = {
        "PYTHONPATH": str(tmp_path / "installed"),
        "PYTEST_ADDOPTS": "--no-such-option",
        "PYTHONWARNINGS": "error",
        "FACTORBENCH_CACHE": str(tmp_path / "installed" / "METADATA" / "x"),
    }
    (tmp_path / "installed" / "METADATA").touch()  # so that the cache cannot be written to
    done = python(here, "-W", "error", "-m", "bench", *TINY, "--benchmark-json=times.json", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the reference cannot be stored" in done.stdout
    (record,) = here.glob("reports/runs/*/*.json")
    assert json.loads(record.read_text("utf-8"))["status"] == "matched"
    assert len(json.loads((here / "times.json").read_text("utf-8"))["benchmarks"]) == 1


# ---- packages of the same names -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("bench", "backends.py"),
        ("bench", "backends/__init__.py"),
        ("bench.report", "backends.py"),
        ("bench.duel", "backends/__init__.py"),
    ],
)
def test_a_package_of_the_users_that_hides_ours_is_named_in_one_line(
    tmp_path: Path, command: str, file: str
) -> None:
    theirs = tmp_path / file
    theirs.parent.mkdir(exist_ok=True)
    theirs.write_text("raise RuntimeError('it was run')\n")
    done = python(tmp_path, "-m", command)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    shown = theirs.parent if theirs.name == "__init__.py" else theirs
    assert line.partition("(ImportError: ")[2] == (
        f"the benchmark needs {ROOT / 'backends'}, but Python finds {shown} first: rename that, "
        "start from another folder, or let Python leave out this one with -P, as in "
        "python -P -m bench)"
    )


@pytest.mark.usefixtures("torchless")
def test_with_p_python_does_not_look_into_the_folder(tmp_path: Path) -> None:
    for name in ("backends.py", "bench.py"):
        (tmp_path / name).write_text("raise RuntimeError('it was run')\n")
    assert collect(tmp_path, "-P") == COLLECTED


@pytest.mark.usefixtures("torchless")
def test_a_folder_without_a_package_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "backends").mkdir()
    assert collect(tmp_path) == COLLECTED


def test_solvers_need_no_benchmark(tmp_path: Path) -> None:
    """A `bench.py` of the user's, and its `backends` beside it, are none of the solvers' business.

    Another copy of both packages is no mistake either, as long as they belong together.
    """
    (tmp_path / "bench.py").write_text("raise RuntimeError('it was run')\n")
    code = "from backends import get_backend; print(get_backend('numpy'))"
    assert python(tmp_path, "-c", code).returncode == 0
    ignored = shutil.ignore_patterns("__pycache__")
    copy = tmp_path / "copy"
    for package in ("backends", "bench"):
        shutil.copytree(ROOT / package, copy / package, ignore=ignored)
    done = python(tmp_path, "-P", "-c", "import bench; print(bench.__file__)", path=copy)
    assert done.stdout.strip() == str(copy / "bench" / "__init__.py")


@pytest.mark.usefixtures("torchless")
def test_pytest_puts_no_folder_in_front_of_the_path(tmp_path: Path) -> None:
    """Workers import from the same places as this process: in a wheel install, not from others."""
    script = (
        "import sys; from bench.__main__ import main; before = list(sys.path); "
        "sys.argv[1:] = ['--collect-only', '-q']; status = main(); "
        "assert (status, sys.path) == (0, before), (status, sys.path, before)"
    )
    done = python(tmp_path, "-c", script)
    assert done.returncode == 0, done.stdout + done.stderr
