"""Tests that need pyspark and Java; ``make test-spark`` installs the former, and runs them.

They are skipped elsewhere, also where both are there: they take longer than all other tests.
"""

import os
from collections.abc import Iterator

import pytest

REASON = "" if os.environ.get("FACTORBENCH_SPARK") else "make test-spark runs these"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them all, and skip them unless they are asked for; without Spark they fail then."""
    for item in items:
        if "tests/spark" in item.path.as_posix():
            item.add_marker(pytest.mark.spark)
            # pyspark leaves the sockets open by which results came.
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
            known = "ignore:PySpark does not yet fully support pandas:FutureWarning"
            item.add_marker(pytest.mark.filterwarnings(known))
            if REASON:
                item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session", autouse=True)
def loopback() -> Iterator[None]:
    """Spark talks to itself: without a network, and past a firewall."""
    patch = pytest.MonkeyPatch()
    if "SPARK_LOCAL_IP" not in os.environ:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    yield
    patch.undo()
