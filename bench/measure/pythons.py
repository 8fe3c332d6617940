"""Finding a Python of a suitable version on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

Version = tuple[int, ...]

_SECONDS = 30  # that a candidate may take to start
_NEWEST = 30  # minor version; where a name on PATH cannot be newer
# In words that Python 2 understands too. Wheels suit neither other implementations, nor builds
# without the global lock, nor versions before their release, nor programs of 32 bits.
_ASK = """
import sys, sysconfig
usual = sys.version_info[3] == "final" and sys.maxsize > 2 ** 32
usual = usual and getattr(getattr(sys, "implementation", None), "name", "") == "cpython"
usual = usual and not sysconfig.get_config_var("Py_GIL_DISABLED")
print("%d.%d.%d" % sys.version_info[:3] if usual else "of another kind")
"""


class Python(NamedTuple):
    """An interpreter and its version."""

    path: Path
    version: Version


class NoPython(ValueError):
    """No suitable Python was found; the message says which were, and how to get one."""


def find_python(least: Version, most: Version | None = None) -> Python:
    """Return a Python between two versions: this one, or the first that is found elsewhere.

    The search goes on in PATH, from the newest name to the oldest, in the versions of pyenv, and
    with ``uv python find``. Each candidate is asked for its version, as names do not tell all of
    it: "python3.12" may be too old for a package that needs 3.12.5.

    Parameters
    ----------
    least, most
        Such as (3, 12, 5) and (3, 14). Every 3.14 is suitable then.

    Raises
    ------
    NoPython
        If there is none.
    """
    seen = set()
    asked = set()
    for path in _candidates(least, most):
        real = path.resolve()
        if real in asked:
            continue
        asked.add(real)
        version = version_of(path)
        if version is not None:
            if suits(version, least, most):
                return Python(path, version)
            seen.add(version)
    listed = ", ".join(map(dotted, sorted(seen))) or "none"
    raise NoPython(
        f"Python {range_in_words(least, most)} is needed, and was found neither on PATH nor by "
        f"pyenv or uv; versions seen: {listed}. Install one, for example by `pyenv install 3.13` "
        "or `uv python install 3.13`, then run the same command"
    )


def suits(version: Version, least: Version, most: Version | None) -> bool:
    """Return whether a version is in a range."""
    return version >= least and (most is None or version[: len(most)] <= most)


def version_of(path: Path) -> Version | None:
    """Return the version of an interpreter, as it says itself; None if it cannot be used."""
    try:
        done = subprocess.run(
            [str(path), "-E", "-S", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return tuple(int(part) for part in done.stdout.strip().split("."))
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def range_in_words(least: Version, most: Version | None) -> str:
    """Return a range of versions as in prose: "3.11 to 3.14"."""
    return f"{dotted(least)} or newer" if most is None else f"{dotted(least)} to {dotted(most)}"


def dotted(version: Version) -> str:
    """Return a version as text."""
    return ".".join(map(str, version))


def _candidates(least: Version, most: Version | None) -> Iterator[Path]:
    """Yield interpreters in the order in which they are preferred; some may not work."""
    yield Path(sys.executable)
    newest = most[1] if most else _NEWEST
    names = [f"python{least[0]}.{minor}" for minor in range(newest, least[1] - 1, -1)]
    for name in (*names, "python3", "python"):
        found = shutil.which(name)
        if found:
            yield Path(found)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = [*root.glob("versions/*/bin/python"), *root.glob("pyenv-win/versions/*/python.exe")]
    yield from sorted(versions, key=_as_in_pyenv, reverse=True)
    yield from _of_uv(least, most)


def _as_in_pyenv(path: Path) -> Version:
    """Return the version that a folder of pyenv is named after, () for another name."""
    name = path.parts[path.parts.index("versions") + 1]
    return tuple(int(part) for part in name.split(".") if part.isdecimal())


def _of_uv(least: Version, most: Version | None) -> Iterator[Path]:
    """Yield what uv has, if it is there; it is told to download nothing."""
    uv = shutil.which("uv")
    if uv is None:
        return
    wanted = f">={dotted(least)}"
    if most is not None:
        wanted += f",<{dotted((*most[:-1], most[-1] + 1))}"
    try:
        done = subprocess.run(
            [uv, "python", "find", "--no-project", wanted],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"UV_PYTHON_DOWNLOADS": "never"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode == 0 and done.stdout.strip():
        yield Path(done.stdout.strip())
