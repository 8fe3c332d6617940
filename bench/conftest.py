"""What `pytest bench/` adds to pytest: the options of a run, its case, one test per backend, the records."""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backends import UnknownBackend, list_backends

from .cases import Case, build_case
from .datasets import DatasetError, load_dataset, load_file
from .datasets.splits import METHODS
from .records import RUNS
from .runner import Limits

QUICK_SCALE = 0.02  # of the twin: about 127,000 ratings
QUICK_ROUNDS = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("factorbench", "factorbench: what to measure")
    group.addoption(
        "--dataset", default="twin", help="twin (made here, the default), or a name from python -m bench.datasets list"
    )
    group.addoption("--split", metavar="NAME", help=f"an official split of the data set (u1), or: {METHODS}")
    group.addoption("--ratings", type=Path, metavar="FILE", help="your own ratings: CSV, TSV or Parquet")
    group.addoption(
        "--backend", action="append", default=[], metavar="NAME", help="repeatable; default: all that can run here"
    )
    group.addoption("--rank", type=int, default=16, help="number of factors (default: 16)")
    group.addoption("--reg", type=float, help="regularisation (default: the one that serves ALS best)")
    group.addoption("--seed", type=int, default=0, help="seed of data, split and initial factors (default: 0)")
    group.addoption("--scale", type=float, help="size of the twin; 1 is 6.3 million ratings (default: 0.2)")
    group.addoption("--rounds", type=int, help="timed rounds (default: 5; 3 where one fit takes over 20 s)")
    group.addoption("--threads", type=int, help="thread budget of every library (default: all cores)")
    group.addoption("--quick", action="store_true", help="a look in under a minute: twin at 0.02, 3 rounds")


def pytest_configure(config: pytest.Config) -> None:
    """Name the run after the time it started."""
    config.stash[_RUN] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H-%M-%SZ")


_RUN = pytest.StashKey[str]()
_BACKENDS = pytest.StashKey[pd.DataFrame]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per backend; a misspelt name ends the collection."""
    if "backend" not in metafunc.fixturenames:
        return
    known, asked = _known_backends(metafunc.config), metafunc.config.getoption("--backend")
    unknown = [name for name in asked if name not in known.index]
    if unknown:
        raise pytest.UsageError(str(_unknown(unknown[0])))
    # A short name stands for another backend: measured only where asked for by that name.
    names = asked or [str(name) for name in known.index[known["same_as"] == ""]]
    metafunc.parametrize("backend", names)


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
    option = pytestconfig.getoption
    scale = option("--scale") or (QUICK_SCALE if option("--quick") else 0.2)
    say(f"case: loading {option('--ratings') or option('--dataset')}")
    try:
        if option("--ratings"):
            dataset = load_file(option("--ratings"), seed=option("--seed"), split=option("--split"))
        else:
            dataset = load_dataset(option("--dataset"), seed=option("--seed"), scale=scale, split=option("--split"))
        return build_case(
            dataset,
            rank=option("--rank"),
            reg=option("--reg"),
            seed=option("--seed"),
            say=lambda text: say(f"case: {text}"),
        )
    except (DatasetError, ValueError) as error:
        pytest.exit(f"factorbench: {error}", returncode=4)


@pytest.fixture(scope="session")
def backend_rows(pytestconfig: pytest.Config) -> dict[str, dict[str, Any]]:
    """Return what is known of each backend, by name."""
    table = _known_backends(pytestconfig)
    return {str(name): {"name": name, **table.loc[name].to_dict()} for name in table.index}


@pytest.fixture(scope="session")
def run_options(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Return the arguments of a `Measurement` that are the same for all backends, and where records go."""
    return {
        "run": pytestconfig.stash[_RUN],
        "command": shlex.join(["pytest", *pytestconfig.invocation_params.args]),
        "threads": pytestconfig.getoption("--threads"),
        "limits": Limits(max_seconds=15, timeout=60) if pytestconfig.getoption("--quick") else Limits(),
    }


@pytest.fixture(scope="session")
def run_folder(pytestconfig: pytest.Config) -> Path:
    """Where this run's records go."""
    return RUNS / pytestconfig.stash[_RUN]


@pytest.fixture(scope="session")
def n_rounds(pytestconfig: pytest.Config) -> int | None:
    """Return the number of rounds asked for, if one was."""
    asked: int | None = pytestconfig.getoption("--rounds")
    return asked or (QUICK_ROUNDS if pytestconfig.getoption("--quick") else None)


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
