"""The pytest plugin behind every benchmark run: its options, its case, one test per backend, where records go.

``pyproject.toml`` loads it in the repository (``-p bench.plugin``), and `python -m bench` everywhere else.
"""

from __future__ import annotations

import datetime
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backends import UnknownBackend, list_backends

from .cases import Case, build_case
from .datasets import load_dataset, load_file
from .datasets.splits import METHODS
from .datasets.twin import SCALE_RANGE
from .environment import available_cores
from .records import RUNS
from .roofline import WORK_MODELS
from .runner import Limits

RANK = 16
ROOFLINE_RANKS = [16, 64, 128]
SCALE = 0.2  # of the twin: 1.27 million ratings
QUICK_SCALE = 0.02  # of the twin: about 127,000 ratings
QUICK_ROUNDS = 5


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
    group.addoption("--reg", type=float, help="regularisation (default: the one that serves ALS best)")
    group.addoption("--seed", type=int, default=0, help="seed of data, split and initial factors (default: 0)")
    group.addoption("--scale", type=float, help="size of the twin; 1 is 6.3 million ratings (default: 0.2)")
    group.addoption("--rounds", type=int, help="timed rounds (default: 5; 3 where one fit takes over 20 s)")
    group.addoption("--threads", type=int, help="thread budget of every library (default: all cores)")
    group.addoption("--quick", action="store_true", help="a look in under a minute: the twin at 0.02")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that make no sense before anything is loaded."""
    option = config.getoption
    least = {"--rank": 1, "--rounds": 1, "--threads": 1, "--seed": 0}
    for name, lowest in least.items():
        if option(name) is not None and option(name) < lowest:
            raise pytest.UsageError(f"{name} must be at least {lowest}, got {option(name)}")
    if option("--threads") is not None and option("--threads") > available_cores():
        raise pytest.UsageError(
            f"--threads must be at most {available_cores()}, the cores here; got {option('--threads')}"
        )
    if option("--reg") is not None and not (math.isfinite(option("--reg")) and option("--reg") >= 0):
        raise pytest.UsageError(f"--reg must be a finite number of at least 0, got {option('--reg')}")
    if option("--scale") is not None and not SCALE_RANGE[0] <= option("--scale") <= SCALE_RANGE[1]:
        raise pytest.UsageError(f"--scale must lie between 1/1000 and 100, got {option('--scale')}")
    if option("--ratings") and option("--dataset") is not None:
        raise pytest.UsageError("--ratings and --dataset exclude each other: measure one of them")
    if option("--scale") is not None and (option("--ratings") or option("--dataset") not in (None, "twin")):
        raise pytest.UsageError("--scale is the size of the twin and goes with no other data")
    unknown = [name for name in option("--backend") if name not in _known_backends(config).index]
    if unknown:
        raise pytest.UsageError(str(_unknown(unknown[0])))


_BACKENDS = pytest.StashKey[pd.DataFrame]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test per backend."""
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
    option = pytestconfig.getoption
    scale = option("--scale") or (QUICK_SCALE if option("--quick") else SCALE)
    name = option("--dataset") or "twin"
    how = {"seed": option("--seed"), "split": option("--split")}
    say(f"case: loading {option('--ratings') or name}")
    try:
        dataset = (
            load_file(option("--ratings"), **how) if option("--ratings") else load_dataset(name, scale=scale, **how)
        )
        return build_case(
            dataset,
            rank=option("--rank") or RANK,
            reg=option("--reg"),
            seed=option("--seed"),
            say=lambda text: say(f"case: {text}"),
        )
    except ValueError as error:  # of the data or of the file
        pytest.exit(f"factorbench: {error}", returncode=4)


@pytest.fixture(scope="session")
def backend_rows(pytestconfig: pytest.Config) -> dict[str, dict[str, Any]]:
    """Return what is known of each backend, by name."""
    table = _known_backends(pytestconfig)
    return {str(name): {"name": name, **table.loc[name].to_dict()} for name in table.index}


@pytest.fixture(scope="session")
def run_options(pytestconfig: pytest.Config, run_folder: Path) -> dict[str, Any]:
    """Return the arguments of a `Measurement` that are the same for all backends, and where records go."""
    return {
        "run": run_folder.name,
        "command": _command_line(),
        "threads": pytestconfig.getoption("--threads"),
        "limits": Limits(max_seconds=15, timeout=60) if pytestconfig.getoption("--quick") else Limits(),
    }


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """Make the folder of this run, named after the time it started; no two runs share one."""
    started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    for name in (started, *(f"{started}-{n}" for n in range(2, 100))):
        try:
            (RUNS / name).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            pytest.exit(f"factorbench: records cannot be written to {RUNS.resolve()} ({error})", returncode=4)
        return RUNS / name
    pytest.exit(f"factorbench: too many runs at {started}", returncode=4)


@pytest.fixture(scope="session")
def n_rounds(pytestconfig: pytest.Config) -> int | None:
    """Return the number of rounds asked for, if one was."""
    asked: int | None = pytestconfig.getoption("--rounds")
    return asked or (QUICK_ROUNDS if pytestconfig.getoption("--quick") else None)


@pytest.fixture(scope="session")
def roofline_options(pytestconfig: pytest.Config) -> dict[str, Any]:
    """Return the ranks and numbers of threads at which an epoch is measured, and for how many seconds."""
    option = pytestconfig.getoption
    default = [RANK] if option("--quick") else ROOFLINE_RANKS
    return {
        "ranks": [option("--rank")] if option("--rank") else default,
        "threads": sorted({1, option("--threads") or available_cores()}),
        "max_seconds": 0.3 if option("--quick") else 2.0,
    }


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
