"""`python -m backends.compile`: kernels that are there before the first fit, and its refusals."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT, in_fresh_process

pytestmark = pytest.mark.process


def compiled(*arguments: str, status: int = 0, folder: Path = ROOT) -> tuple[str, str]:
    """Run the command of the package in a folder; its standard output and its standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "backends.compile", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize("name", ["numba-sgd", "numba-gd", "numba-als"])
def test_a_fit_in_another_process_compiles_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    first, _ = compiled(name, "--rank", "16")
    assert re.fullmatch(rf"{name}  rank 16    \d+\.\d s\nThe compiled kernels: .+\n", first)
    assert str(tmp_path) in first
    again, _ = compiled(name, "--rank", "16")
    assert again == re.sub(r"\d+\.\d s", "already compiled", first)
    code = f"""
import numpy as np
from backends import Ratings, get_backend
from backends.kernels import _jit
users, items = np.divmod(np.random.default_rng(0).permutation(300**2), 300)
for dtype in ("float32", "float64"):
    ratings = (np.arange(300**2) % 5 + 0.5).astype(dtype)
    train = Ratings.from_arrays(users, items, ratings)
    get_backend("{name}", rank=16, n_jobs=2).fit(train, epochs=2)
print([sum(sum(counts.values()) for counts in found) for found in zip(
    *((kernel.stats.cache_hits, kernel.stats.cache_misses) for kernel in _jit.KERNELS)
)])
"""
    hits, misses = ast.literal_eval(in_fresh_process(code))
    assert hits >= 5
    assert misses == 0


def test_all_backends_and_ranks_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that serve several ranks are compiled once."""
    pytest.importorskip("numba")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    *lines, last = compiled("--rank", "5", "--rank", "20", "--dtype", "float64")[0].splitlines()
    shown = [line.split(maxsplit=3) for line in lines]
    assert [(name, rank) for name, _, rank, _ in shown] == [
        (name, rank) for name in ("numba-als", "numba-gd", "numba-sgd") for rank in ("5", "20")
    ]
    assert [took == "already compiled" for *_, took in shown] == [False, True, *4 * [False]]
    assert last.startswith("The compiled kernels: ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numba-sdg", "no backend is named 'numba-sdg'; did you mean 'numba-sgd'? Known: "),
        ("numpy", "backend 'numpy' compiles no kernels that could be kept"),
    ],
)
def test_backends_without_kernels_are_refused_in_a_line(name: str, message: str) -> None:
    _, error = compiled(name, status=1)
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_without_numba_the_remedy_is_named() -> None:
    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "numba" else find(name)
from backends.compile import main
sys.argv, sys.stderr = ["compile"], sys.stdout
print(main())
"""
    *_, error, status = in_fresh_process(code).splitlines()
    assert error.endswith(
        "the package numba is not installed; run: pip install 'factorbench[numba]'"
    )
    assert status == "1"


@pytest.mark.parametrize("variable", ["unset", "set"])
def test_kernels_that_cannot_be_kept_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    pytest.importorskip("numba")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "backends", tmp_path / "backends", ignore=ignore)
    (tmp_path / "backends" / "kernels" / "__pycache__").touch()  # a file, which stops even root
    (tmp_path / "file").touch()
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    if variable == "set":
        monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    _, error = compiled("numba-gd", status=1, folder=tmp_path)
    assert error.count("\n") == 1
    assert error.endswith(
        "each process will compile again; set NUMBA_CACHE_DIR to a folder that can be written to\n"
    )
