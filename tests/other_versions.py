"""``python tests/other_versions.py``: the fast tests with other versions of Python and of packages.

For each environment of the table at the end it creates a virtual environment in a temporary folder,
installs this checkout and what its tests need, runs the fast tests, and deletes the environment.
"oldest" are the lower bounds of pyproject.toml, "newest" what pip chooses without any. torch is
always the version of constraints.txt, and is left out on Linux where pip finds no build of it for
CPUs, as those for GPUs are gigabytes to download. The exit status is 1 if an environment is missing
or cannot be installed, or if a test fails.

Names of environments limit the run to these: ``python tests/other_versions.py "3.11 oldest"``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
FAST = "not (browser or draws or fits or load or process or slow)"  # as `make test-fast`
SHOWN = ("numpy", "scipy", "pandas", "pyarrow", "numba", "torch")  # columns of the table


class Environment(NamedTuple):
    """A version of Python, and which of the versions that pyproject.toml allows."""

    python: str
    packages: str

    def __str__(self) -> str:
        return f"{self.python} {self.packages}"


ENVIRONMENTS = [
    Environment("3.11", "oldest"),
    Environment("3.11", "newest"),
    Environment("3.12", "newest"),
    Environment("3.13", "newest"),
]


class Outcome(NamedTuple):
    """What became of an environment: a row of the table."""

    environment: Environment
    versions: dict[str, str]
    good: bool
    text: str
    seconds: float


def main() -> int:
    """Test the environments that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python tests/other_versions.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    known = {str(environment): environment for environment in ENVIRONMENTS}
    names = ", ".join(f'"{name}"' for name in known)
    parser.add_argument("environment", nargs="*", help=f"one of {names} (default: all)")
    options = parser.parse_args()
    for name in options.environment:
        if name not in known:
            parser.error(f"no environment {name!r}; there are {names}")
    outcomes = [_outcome(known[name]) for name in options.environment or known]
    _show(outcomes)
    return 0 if all(outcome.good for outcome in outcomes) else 1


def requirements() -> list[str]:
    """Return what the project and its tests need, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]

    def expanded(requirement: str) -> list[str]:
        named = re.fullmatch(rf"{project['name']}\[(.*)\]", requirement)
        if not named:
            return [requirement]
        return [
            one for extra in named[1].split(",") for each in extras[extra] for one in expanded(each)
        ]

    return project["dependencies"] + expanded(f"{project['name']}[test]")


def pinned(environment: Environment, required: list[str]) -> list[str]:
    """Return requirements with the versions of an environment; torch's is that of CI."""
    if environment.packages == "oldest":
        required = [requirement.replace(">=", "==") for requirement in required]
    torch = next(line for line in _constraints() if line.startswith("torch=="))
    return [
        torch if requirement.startswith(("torch=", "torch>")) else requirement
        for requirement in required
    ]


def find_python(version: str) -> str | None:
    """Return the interpreter of a version such as "3.12", from PATH or from pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = sorted((pyenv / "versions").glob(f"{version}.*/bin/python"), reverse=True)
    for candidate in (sys.executable, f"python{version}", *map(str, installed)):
        command = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):  # such as a shim of pyenv's for no version
            continue
        if found.strip() == version:
            return candidate
    return None


def _outcome(environment: Environment) -> Outcome:
    """Install an environment, run the tests in it, and delete it."""
    print(f"\n==== Python {environment}", flush=True)
    start = time.monotonic()
    versions: dict[str, str] = {}
    python = find_python(environment.python)
    if python is None:
        good, text = False, f"no python{environment.python} on PATH or in pyenv"
    else:
        with tempfile.TemporaryDirectory(prefix="factorbench-") as folder:
            created = _install(environment, python, Path(folder))
            if created is None:
                good, text = False, "cannot be installed, see above"
            else:
                versions = _versions(created)
                good, text = _test(environment, created, Path(folder) / "tests.xml")
    return Outcome(environment, versions, good, text, time.monotonic() - start)


def _install(environment: Environment, python: str, folder: Path) -> Path | None:
    """Create a virtual environment in a folder; return its interpreter, None if pip fails."""
    _run([python, "-m", "venv", str(folder / "venv")])
    created = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = pinned(environment, requirements())
    torch = next(requirement for requirement in wanted if requirement.startswith("torch="))
    if not _is_small(created, torch):
        print(f"{torch} is left out: pip finds no build for CPUs", flush=True)
        wanted.remove(torch)
    pip = [str(created), "-m", "pip", "install", "--quiet", "--no-cache-dir"]
    done = _run([*pip, *wanted]) or _run([*pip, "--no-deps", "--editable", str(ROOT)])
    return created if done == 0 else None


def _is_small(python: Path, torch: str) -> bool:
    """Return whether pip would install torch for CPUs, which is so wherever there is no Linux."""
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--no-deps",
        "--dry-run",
        "--quiet",
        "--report",
        "-",
    ]
    done = subprocess.run([*pip, torch], capture_output=True, cwd=ROOT)
    if done.returncode != 0:
        return False
    (found,) = json.loads(done.stdout)["install"]
    return sys.platform != "linux" or found["metadata"]["version"].endswith("+cpu")


def _test(environment: Environment, python: Path, results: Path) -> tuple[bool, str]:
    """Run the fast tests; return whether all passed, and how many did."""
    options = ["-q", "-n", "2", "--dist", "worksteal", "-p", "no:cacheprovider", "-m", FAST]
    if environment.packages == "oldest":  # old releases warn of each other
        options += ["-W", "default::DeprecationWarning"]
    status = _run([str(python), "-m", "pytest", *options, f"--junitxml={results}"])
    if not results.exists():
        return False, f"pytest ended with exit status {status}"
    suite = next(ElementTree.parse(results).getroot().iter("testsuite"))
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    failed = counts["failures"] + counts["errors"]
    passed = counts["tests"] - failed - counts["skipped"]
    return status == 0, f"{passed} passed, {failed} failed, {counts['skipped']} skipped"


def _constraints() -> list[str]:
    return (ROOT / "constraints.txt").read_text("utf-8").splitlines()


def _versions(python: Path) -> dict[str, str]:
    """Return the versions of all packages, and of Python."""
    code = (
        "import json, platform, sys; from importlib.metadata import distributions; "
        "found = {one.name.lower(): one.version for one in distributions()}; "
        "print(json.dumps(found | {'Python': platform.python_version()}))"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, check=True)
    versions: dict[str, str] = json.loads(done.stdout)
    return versions


def _run(command: list[str]) -> int:
    """Run a command in the checkout, without what the environment says to Python and pytest."""
    foreign = ("PYTHON", "PYTEST_", "VIRTUAL_ENV")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.run(command, cwd=ROOT, env=clean).returncode


def _show(outcomes: list[Outcome]) -> None:
    """Print the table."""
    columns = ("Python", *SHOWN)
    rows = [("environment", *columns, "seconds", "tests")]
    for outcome in outcomes:
        versions = (outcome.versions.get(name, "-") for name in columns)
        rows.append((str(outcome.environment), *versions, f"{outcome.seconds:.0f}", outcome.text))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("  ".join(cell.ljust(width) for cell, width in cells).rstrip())


if __name__ == "__main__":
    sys.exit(main())
