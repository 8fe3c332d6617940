"""Fixtures of all tests, and the count of those that did not run."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backends import Ratings
from bench.cases.case import Case, build_case
from bench.datasets import Dataset, anime_twin, random_split

# On a machine without GPU and MPS, like that of CI.
EXPECTED = Path(__file__).with_name("expected_skips.json")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--expect-skips",
        action="store_true",
        help=f"fail unless as many tests skip or xfail as {EXPECTED.name} says",
    )


def pytest_configure() -> None:
    """Prepare the environment of the processes that tests start."""
    # Tests press Ctrl-C. A shell tells a command in the background to ignore it, and the processes
    # that the command starts inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Under xdist benchmarks would time nothing.
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
        del os.environ[name]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    # With several processes, the one that reports does the counting: it sees the skips of all.
    if not session.config.getoption("--expect-skips") or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    found = sum(len(reporter.stats.get(outcome, [])) for outcome in ("skipped", "xfailed"))
    where = f"{'with' if 'RATINGS_DATA' in os.environ else 'without'} RATINGS_DATA"
    expected = json.loads(EXPECTED.read_text("utf-8"))[where]
    if found != expected:
        reporter.write_line(
            f"\n{found} tests skipped or xfailed {where}, {EXPECTED} expects {expected}", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def ml100k() -> Ratings:
    """MovieLens-100K from the folder that RATINGS_DATA names."""
    folder = os.environ.get("RATINGS_DATA")
    if not folder:
        pytest.skip("RATINGS_DATA names no folder; it must hold ml-100k/u.data")
    columns = np.loadtxt(Path(folder) / "ml-100k" / "u.data", dtype=np.int64).T
    return Ratings.from_arrays(columns[0], columns[1], columns[2].astype(np.float64))


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """A case that is measured in a moment, in place of the one that the plugin builds."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FACTORBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    raw = anime_twin(0.01, seed=0).without_duplicates()
    yield build_case(
        Dataset("small twin", raw, random_split(len(raw.ratings), 0), None),
        rank=4,
        seed=0,
        reg=0.03,
        damping=100.0,
    )
    patch.undo()


@pytest.fixture(scope="session")
def loose(case: Case) -> Case:
    """The same with a target that takes two epochs: enough to see threads, processes and memory."""
    (rung, *_) = case.ladder
    return replace(case, ladder=[rung], target=rung)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the planted backends as another package would: by an entry point on the path."""
    from tests.planted import backends

    info = tmp_path / "planted-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n", "utf-8")
    planted = backends.Planted
    names = [
        name
        for name, value in vars(backends).items()
        if isinstance(value, type) and issubclass(value, planted)
    ]
    lines = [f"{name.lower()} = {backends.__name__}:{name}" for name in names]
    (info / "entry_points.txt").write_text(
        "[factorbench.backends]\n" + "\n".join(lines) + "\n", "utf-8"
    )
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent.parent), str(tmp_path)])
    )
    monkeypatch.syspath_prepend(str(tmp_path))
