"""The command that a record keeps is the one that was typed; which tests there are, and which options are refused."""

import os
import subprocess
import sys
from typing import Any

import pytest
from helpers import ROOT

from bench.environment import available_cores
from bench.plugin import _command_line, _thread_counts, _threads_id, pytest_configure, pytest_generate_tests

TESTS = "bench/bench_time_to_mse.py::test_time_to_matching_mse"


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("/env/bin/pytest", "pytest --quick --ratings 'my file.csv'"),
        ("/env/lib/pytest/__main__.py", "pytest --quick --ratings 'my file.csv'"),
        ("/env/lib/bench/__main__.py", "python -m bench --quick --ratings 'my file.csv'"),
    ],
)
def test_the_command_is_what_was_typed(monkeypatch: pytest.MonkeyPatch, program: str, typed: str) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--quick", "--ratings", "my file.csv"])
    assert _command_line() == typed


def collected(*options: str) -> tuple[int, list[str], str]:
    """Status, ids and errors of a run that only collects."""
    words = [sys.executable, "-m", "pytest", "bench/bench_time_to_mse.py", "--collect-only", "-q", *options]
    done = subprocess.run(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    return done.returncode, [line for line in done.stdout.splitlines() if "::" in line], done.stderr


class Metafunc:
    """As much of pytest's as the plugin asks for, without loading a backend."""

    def __init__(self, budget: int, sweep: bool, *fixtures: str) -> None:
        self.options = {"seed": 0, "quick": False, "backend": [], "threads": budget, "sweep": sweep}
        self.config: Any = self
        self.stash: dict[Any, Any] = {}
        self.fixturenames = list(fixtures)
        self.made: list[Any] = []

    def getoption(self, name: str) -> Any:
        return self.options.get(name.removeprefix("--"))

    def parametrize(self, name: str, values: list[int], ids: Any) -> None:
        self.made.append((name, values, [ids(value) for value in values]))


def test_there_is_one_test_of_a_backend() -> None:
    assert collected("--backend", "numba-sgd", "--backend", "numpy", "--backend", "numba-sgd")[:2] == (
        0,
        [f"{TESTS}[numba-sgd]", f"{TESTS}[numpy]"],
    )


def test_a_sweep_makes_one_test_for_each_number_of_threads() -> None:
    most = min(2, available_cores())
    counts = ["1 thread", "2 threads"][:most]
    assert collected("--backend", "numba-sgd", "--sweep", "--threads", str(most))[:2] == (
        0,
        [f"{TESTS}[{count}-numba-sgd]" for count in counts],
    )


@pytest.mark.parametrize(
    ("budget", "counts"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (64, [1, 2, 4, 8, 16, 32, 64])],
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
        ({"backend": ["numpy", "numpi"]}, "no backend is named 'numpi'; did you mean 'numpy'? Known: "),
    ],
)
def test_options_are_refused_in_words(given: dict[str, Any], said: str) -> None:
    config = Metafunc(1, False)
    config.options |= given
    with pytest.raises(pytest.UsageError) as error:
        pytest_configure(config)  # type: ignore[arg-type]
    assert str(error.value).startswith(said)


def test_what_is_refused_ends_the_run_before_anything_is_collected() -> None:
    assert collected("--seeds", "0") == (
        pytest.ExitCode.USAGE_ERROR,
        [],
        "ERROR: --seeds must be at least 1, got 0\n\n",
    )
