"""Which versions the script `other_versions` installs."""

import re
import sys
import tomllib

from helpers import ROOT

from tests.other_versions import ENVIRONMENTS, Environment, find_python, pinned, requirements

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_all_that_tests_need_is_installed() -> None:
    required = requirements()
    assert set(PROJECT["dependencies"]) < set(required)
    extras = PROJECT["optional-dependencies"]
    for extra in ("numba", "torch", "bench", "page", "xls"):
        assert set(extras[extra]) < set(required)
    assert not any(one.startswith("factorbench") for one in required)
    # Every bound can be turned into a version.
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", one) for one in required)


def test_the_oldest_are_the_lower_bounds_but_for_torch() -> None:
    required = requirements()
    (torch,) = re.findall(r"^torch==.*$", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    oldest = pinned(Environment("3.11", "oldest"), required)
    newest = pinned(Environment("3.11", "newest"), required)
    for one, old, new in zip(required, oldest, newest, strict=True):
        if one.startswith("torch>"):
            assert old == new == torch
        else:
            assert (old, new) == (one.replace(">=", "=="), one)


def test_every_python_that_is_promised_is_tested() -> None:
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert {environment.python for environment in ENVIRONMENTS} == set(promised)


def test_a_python_is_found_by_its_version() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert find_python(version) == sys.executable
    assert find_python("2.99") is None
