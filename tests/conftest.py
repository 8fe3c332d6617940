"""Fixtures of all tests, and the count of those that did not run."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends import Ratings

EXPECTED = Path(__file__).with_name("expected_skips.json")  # on a machine without GPU and MPS, as CI's


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--expect-skips", action="store_true", help=f"fail unless as many tests skip or xfail as {EXPECTED.name} says"
    )


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    if not session.config.getoption("--expect-skips"):
        return
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    found = sum(len(reporter.stats.get(outcome, [])) for outcome in ("skipped", "xfailed"))
    where = f"{'with' if 'RATINGS_DATA' in os.environ else 'without'} RATINGS_DATA"
    expected = json.loads(EXPECTED.read_text("utf-8"))[where]
    if found != expected:
        reporter.write_line(f"\n{found} tests skipped or xfailed {where}, {EXPECTED} expects {expected}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def ml100k() -> Ratings:
    """MovieLens-100K from the folder that RATINGS_DATA names."""
    folder = os.environ.get("RATINGS_DATA")
    if not folder:
        pytest.skip("RATINGS_DATA names no folder; it must hold ml-100k/u.data")
    columns = np.loadtxt(Path(folder) / "ml-100k" / "u.data", dtype=np.int64).T
    return Ratings.from_arrays(columns[0], columns[1], columns[2].astype(np.float64))
