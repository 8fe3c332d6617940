"""With the core alone, a command says in one line which package it needs and how to install it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fake_records import fake_record
from helpers import ROOT
from test_command import COMMANDS

from bench.records import write_record
from bench.text import missing
from bench.text.missing import how_to_install

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
MODULES = {"pillow": "PIL", "vl-convert-python": "vl_convert"}
NOT_OURS = ("hypothesis", "polars", "duckdb", "hatchling")
# In a process of its own, packages as if they were not installed.
BLOCK = """
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in {names!r}:
            return super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""
# What a command is asked, where it would ask the user for something before it needs a package.
ASKED = {
    "bench.compare": ["a", "b"],
    "bench.datasets": ["fetch", "ml-100k"],
    "bench.duel": ["numpy", "numpy-als"],
}
Run = Callable[..., subprocess.CompletedProcess[str]]


def extra(*names: str) -> list[str]:
    """Modules of the packages of extras."""
    packages = [
        one.partition(">")[0] for name in names for one in PROJECT["optional-dependencies"][name]
    ]
    return [MODULES.get(package, package.replace("-", "_")) for package in packages]


@pytest.fixture
def without(tmp_path: Path) -> Callable[[Sequence[str]], Run]:
    """Return how to run Python without some modules."""

    def prepared(names: Sequence[str]) -> Run:
        (tmp_path / "sitecustomize.py").write_text(BLOCK.format(names=sorted(names)), "utf-8")

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            path = os.pathsep.join([str(tmp_path), *sys.path, str(ROOT)])
            return subprocess.run(
                [sys.executable, *arguments],
                env=os.environ | {"PYTHONPATH": path, "FACTORBENCH_CACHE": ""},
                capture_output=True,
                text=True,
                cwd=tmp_path,
                check=False,
            )

        return run

    return prepared


@pytest.fixture
def core(without: Callable[[Sequence[str]], Run]) -> Run:
    """Return how to run Python with the core alone."""
    return without([*extra("bench", "numba", "torch", "page", "xls"), "markupsafe", "requests"])


@pytest.mark.process
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "bench.cli"])
def test_a_command_names_what_it_needs(core: Run, name: str) -> None:
    done = core("-m", name, *ASKED.get(name, []))
    assert done.returncode == 2
    assert done.stdout == ""
    (said,) = done.stderr.splitlines()
    others = {"bench": "pytest", "bench.datasets": "platformdirs", "bench.peers": "filelock"}
    needed = others.get(name, "msgspec")
    assert said.startswith(f"error: this needs {needed}, which is not installed: pip install ")
    assert "[bench]'" in said


@pytest.mark.process
def test_a_model_is_fitted_and_asked_by_the_core(core: Run, tmp_path: Path) -> None:
    lines = [f"{user},{item},{1 + (user * item) % 5}" for user in range(30) for item in range(20)]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item,rating", *lines]))
    done = core("-m", "bench.cli", "fit", "ratings.csv", "-o", "model.npz", "--rank", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "numpy-als" in done.stdout
    done = core("-m", "bench.cli", "predict", "model.npz", "--user", "1", "--item", "2")
    assert (done.returncode, done.stderr) == (0, "")
    done = core("-m", "bench.cli", "report")
    assert done.returncode == 2
    assert done.stderr.startswith("error: this needs msgspec, which is not installed: pip install ")
    done = core("-m", "bench.cli", "completion", "bash")
    assert done.stderr.startswith("error: the package shtab is not installed; run: pip install ")


@pytest.mark.process
@pytest.mark.parametrize("asked", [["list"], ["info", "ml-100k"]])
def test_data_sets_are_described_by_the_core(core: Run, asked: list[str]) -> None:
    done = core("-m", "bench.datasets", *asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ml-100k" in done.stdout
    assert "no" in done.stdout.split()


@pytest.mark.process
def test_data_sets_are_described_without_reading_libraries(core: Run) -> None:
    code = (
        "import sys; from bench.datasets.__main__ import main; main(sys.argv[1:]); "
        "print(*sys.modules)"
    )
    for asked in (["list"], ["info", "netflix"]):
        *_, loaded = core("-c", code, *asked).stdout.splitlines()
        assert not {"numpy", "pandas", "pyarrow", "scipy"} & set(loaded.split())
        assert "bench.datasets.public.known" in loaded.split()


def test_every_name_of_the_package_of_data_sets_is_found_where_it_says() -> None:
    import bench.datasets as datasets

    assert sorted(datasets._MODULE_OF) == sorted(datasets.__all__)
    for name, module in datasets._MODULE_OF.items():
        assert name in vars(sys.modules[f"bench.datasets.{module}"]) or getattr(datasets, name)
    with pytest.raises(AttributeError, match="has no attribute 'ratings'"):
        datasets.ratings  # noqa: B018


@pytest.mark.process
@pytest.mark.parametrize(
    ("imported", "ours"),
    [("jinja2", True), ("PIL.Image", True), ("vl_convert", True), ("lightfm", False)],
)
def test_only_packages_of_ours_count_wherever_they_are_imported(
    without: Callable[[Sequence[str]], Run], imported: str, ours: bool
) -> None:
    run = without([imported.partition(".")[0]])
    # As a command does whose function imports something, after Python has found the command.
    code = (
        "import sys; sys.argv[0] = '-m'; sys.orig_argv[1:] = ['-m', 'bench.report']; "
        "import bench; from bench.text import command; "
        f"command.run(lambda: __import__({imported!r}))"
    )
    done = run("-c", code)
    if ours:
        (said,) = done.stderr.splitlines()
        assert said.startswith("error: this needs ")
        assert done.returncode == 2
    else:
        assert "Traceback" in done.stderr
        assert done.returncode == 1


@pytest.mark.process
def test_programs_of_others_fail_as_ever(without: Callable[[Sequence[str]], Run]) -> None:
    run = without(["msgspec"])
    for arguments in (["-c", "import bench.records"], ["-m", "bench_of_others"]):
        done = run(*arguments)
        assert done.returncode == 1
        assert "error: this needs" not in done.stderr


@pytest.mark.process
def test_a_plugin_that_cannot_be_imported_is_explained_too(
    without: Callable[[Sequence[str]], Run],
) -> None:
    done = without(["msgspec"])("-m", "bench", "--quick")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: this needs msgspec, which is not")


@pytest.mark.draws
@pytest.mark.process
def test_a_report_without_vl_convert_has_still_pictures(
    without: Callable[[Sequence[str]], Run], tmp_path: Path
) -> None:
    for name in ("numpy", "numba-sgd"):
        write_record(tmp_path / "run", fake_record(name))
    asked = ["-m", "bench.report", "--input", "run", "--output", "report"]
    with_it = without([])(*asked)
    assert (with_it.returncode, with_it.stderr) == (0, "")
    assert "Vega-Lite" in (tmp_path / "report" / "index.html").read_text("utf-8")
    done = without(["vl_convert"])(*asked)
    assert done.returncode == 0
    assert done.stdout == with_it.stdout
    (said,) = done.stderr.splitlines()
    assert said.startswith(
        "figures are still pictures, as vl-convert-python is not installed: pip install "
    )
    assert "[page]'" in said
    page = (tmp_path / "report" / "index.html").read_text("utf-8")
    assert "Vega-Lite" not in page
    assert "Figures are drawn by Matplotlib" in page
    assert "function embed(figure)" in page
    assert len(page) < 1e6
    assert (tmp_path / "report" / "seconds.png").is_file()


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("msgspec", "bench"),
        ("numba", "numba"),
        ("python-calamine", "xls"),
        ("torch", "torch"),
        ("vl-convert-python", "page"),
        ("numpy", "bench"),  # it is in no extra
    ],
)
def test_advice_fits_how_it_was_installed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str, extra: str
) -> None:
    assert how_to_install(package) == f"pip install -e '.[{extra}]' in {ROOT}"
    # A wheel's metadata repeat in each extra what it contains of others.
    info = tmp_path / "factorbench-9.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: factorbench", "Version: 9"]
    lines += [f"Requires-Dist: {one}" for one in PROJECT["dependencies"]]
    extras = PROJECT["optional-dependencies"]
    whole = [one for name in ("numba", "torch", "bench", "page", "xls") for one in extras[name]]
    for name, needed in ({"all": whole} | extras | {"all": whole}).items():
        lines += [f"Requires-Dist: {one}; extra == '{name}'" for one in needed]
    (info / "METADATA").write_text("\n".join(lines) + "\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(missing, "_ROOT", tmp_path)
    assert how_to_install(package) == f"pip install 'factorbench[{extra}]'"
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'another'\n", "utf-8")
    assert how_to_install(package) == f"pip install 'factorbench[{extra}]'"
