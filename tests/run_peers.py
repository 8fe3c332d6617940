"""``python tests/run_peers.py NAME...|all``: the tests of adapters, each where its library is.

The libraries are installed before by ``python -m bench.peers install``. Each test file of
`tests/peers` runs with the Python of its library's environment, to which nothing is added: pytest
lies in a folder beside the environments. What the tests say goes to the terminal, and in short into
``reports/peers/tests.txt`` unless only some are named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.measure.peers import (  # noqa: E402  # the path comes first
    ENVIRONMENTS,
    Environment,
    environment_of,
    library_of,
    peers_folder,
    problem_of,
    read_installed,
    state_of,
)

LOG = ROOT / "reports" / "peers" / "tests.txt"
HERE = "pytorch"  # its library is in this environment


def pytest_folder() -> Path:
    """Return a folder that contains pytest, of the version used here, and what it needs."""
    version = metadata.version("pytest")
    folder = peers_folder() / f"pytest-{version}"
    if not (folder / "pytest").is_dir():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        words = ["install", "--quiet", "--disable-pip-version-check", "--target", str(partial)]
        subprocess.run([sys.executable, "-m", "pip", *words, f"pytest=={version}"], check=True)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return folder


def run(name: str, python: Path) -> tuple[int, list[str]]:
    """Run the tests of a library; return the exit status and the lines of their summary."""
    words = ["-m", "pytest", "-c", "tests/peers/pytest.ini", f"tests/peers/test_{name}.py"]
    paths = [str(ROOT), str(pytest_folder())]
    done = subprocess.run(
        [str(python), *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
    )
    print(done.stdout, flush=True)
    lines = [line.strip("= ") for line in done.stdout.splitlines() if line.strip("= ")]
    kept = [line for line in lines if line.startswith(("FAILED", "ERROR", "SKIPPED", "XFAIL"))]
    return done.returncode, [*kept, *lines[-1:]]


def describe(environment: Environment) -> str:
    """Return the library with its version, and the Python that it runs in."""
    installed = read_installed(environment)
    return f"{library_of(environment)}, Python {installed.python if installed else '?'}"


def main(names: list[str]) -> int:
    """Run the tests of the named libraries; return 1 if one fails or is not installed."""
    # A backend's name stands for its library.
    names = [getattr(environment_of(name), "name", name) for name in names]
    unknown = set(names) - {*ENVIRONMENTS, HERE, "all"}
    if unknown or not names:
        known = ", ".join([*ENVIRONMENTS, HERE, "all"])
        print(f"error: name libraries to test, of: {known}; got {names}", file=sys.stderr)
        return 2
    everything = "all" in names
    log: list[str] = []
    status = 0
    for name in [*ENVIRONMENTS, HERE] if everything else dict.fromkeys(names):
        if name == HERE:
            title, python = f"torch {metadata.version('torch')}, here", Path(sys.executable)
        else:
            environment = ENVIRONMENTS[name]
            title, python = describe(environment), environment.python
            if state_of(environment) != "ready":
                problem = problem_of(environment) or f"python -m bench.peers install {name}"
                log += [f"{name}: not installed: {problem}", ""]
                status = 1
                continue
        code, lines = run(name, python)
        log += [f"{name} ({title})", *(f"  {line}" for line in lines), ""]
        status = status or int(code != 0)
    if everything:
        LOG.parent.mkdir(parents=True, exist_ok=True)
        LOG.write_text("\n".join(log), "utf-8")
    print("\n".join(log))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
