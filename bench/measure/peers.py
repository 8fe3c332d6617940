"""The environments of other libraries: which backends run in which, and what is installed of them.

Libraries of other projects need packages and versions of Python that do not suit each other. So
each has an environment of its own, in the cache: a worker is started with the interpreter that
`interpreter` returns. ``python -m bench.peers`` makes them, by `peer_install`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from bench.datasets.public.download import cache_folder
from bench.text.files import write_whole
from bench.text.wording import reason

from .pythons import Version

LOG = "install.log"  # what venv and pip print, in an environment's folder
_FACTS = "environment.json"  # written last: a folder without it was cut off, and counts as absent

# What a worker imports, with the versions of constraints.txt. They have wheels for `_PYTHONS`.
_OF_A_WORKER = (
    "numpy==2.4.6",
    "scipy==1.17.1",
    "pandas==3.1.1",
    "pyarrow==26.0.1",
    "threadpoolctl==3.8.0",
    "msgspec==0.23.0",
    # What processes do, where there is no /proc.
    *(() if sys.platform == "linux" else ("psutil==7.2.2",)),
)
_PYTHONS = ((3, 11), (3, 14))

State = Literal["ready", "absent", "failed", "other pins", "no Python"]


@dataclass(frozen=True)
class Environment:
    """An environment for one library.

    Attributes
    ----------
    name
        Its name, and that of its folder.
    backends
        The backends that it serves.
    library
        The requirement that it is for, pinned; with markers, if versions differ by Python.
    module
        The library's name in ``import``.
    licence
        The library's.
    others
        Further requirements, pinned, beside those of a worker.
    least_python, most_python
        The oldest and the newest version that is suitable.
    needs
        What an installation needs that pip does not bring, "" for nothing.
    """

    name: str
    backends: tuple[str, ...]
    library: tuple[str, ...]
    module: str
    licence: str
    others: tuple[str, ...] = ()
    least_python: Version = _PYTHONS[0]
    most_python: Version | None = _PYTHONS[1]
    needs: str = ""

    @property
    def requirements(self) -> tuple[str, ...]:
        """All that pip is told to install."""
        return (*self.library, *self.others, *_OF_A_WORKER)

    @property
    def folder(self) -> Path:
        """Its folder, which may not be there."""
        return peers_folder() / self.name

    @property
    def venv(self) -> Path:
        """The virtual environment in its folder."""
        return self.folder / "venv"

    @property
    def python(self) -> Path:
        """The interpreter of that."""
        return self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


_ALL = (
    Environment(
        "cmfrec",
        ("cmfrec-als", "cmfrec-als-cg", "cmfrec-lbfgs"),
        ("cmfrec==3.5.1.post14",),  # it needs threadpoolctl as well, and does not say so
        "cmfrec",
        "MIT",
        needs="a C compiler",
    ),
    Environment("cornac", ("cornac",), ("cornac==3.0.1",), "cornac", "Apache 2.0"),
    Environment(
        "kernelmf",
        ("kernelmf",),
        ("matrix-factorization==1.3",),
        "matrix_factorization",
        "MIT",
        others=("numba==0.68.1",),  # which compiles its loops, so that its speed depends on it
    ),
    Environment(
        "lenskit",
        ("lenskit-als",),
        ("lenskit==2026.4.0",),
        "lenskit",
        "MIT",
        # On Linux a build with CUDA, of 5 GB, unless PIP_EXTRA_INDEX_URL names an index with builds
        # for the CPU.
        others=("torch==2.14.1",),
        least_python=(3, 12, 5),
    ),
    Environment(
        "libmf",
        ("libmf", "libmf-raw"),
        ("libmf==0.9.2",),
        "libmf",
        "BSD-3-Clause (LIBMF), MIT (the Python package)",
        needs="a C++ compiler",
    ),
    Environment(
        "myfm",
        ("myfm",),
        # The newest for each Python.
        ("myfm==0.4.0; python_version < '3.12'", "myfm==0.5.0; python_version >= '3.12'"),
        "myfm",
        "MIT",
    ),
    Environment("smurff", ("smurff",), ("smurff==1.1",), "smurff", "MIT"),
    Environment(
        "surprise", ("surprise-svd",), ("scikit-surprise==1.1.5",), "surprise", "BSD-3-Clause"
    ),
)
ENVIRONMENTS = {environment.name: environment for environment in _ALL}
_BY_BACKEND = {name: environment for environment in _ALL for name in environment.backends}


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an installation, in its folder as `_FACTS`.

    Attributes
    ----------
    state
        How it ended.
    requirements
        What pip was told to install.
    python
        The version, "" if there was none that is suitable.
    freeze
        What ``pip freeze`` says, a line for each package.
    seconds, megabytes
        How long it took, and the space that it takes on disk.
    output
        The last lines that pip printed.
    reason
        Why it failed, "" if it did not.
    """

    state: Literal["ready", "failed"]
    requirements: tuple[str, ...]
    python: str
    freeze: tuple[str, ...]
    seconds: float
    megabytes: float
    output: tuple[str, ...]
    reason: str = ""


def peers_folder() -> Path:
    """Return the folder of all environments, which may not be there."""
    return cache_folder().absolute() / "peers"


def environment_of(backend: str) -> Environment | None:
    """Return the environment that serves a backend; None for those that need none."""
    return _BY_BACKEND.get(backend)


def interpreter(backend: str) -> Path | None:
    """Return the Python of the ready environment that serves a backend, None if there is none."""
    environment = environment_of(backend)
    if environment is None or state_of(environment) != "ready":
        return None
    return environment.python


def problem(backend: str) -> str:
    """Return in a line what is wrong with a backend's environment, and the remedy.

    It is "" for an environment that is ready, one that nobody has tried to install, and a backend
    that needs none.
    """
    environment = environment_of(backend)
    return "" if environment is None else problem_of(environment)


def frozen(backend: str) -> list[str]:
    """Return Python's version and what ``pip freeze`` says of the ready environment of a backend.

    It is [] without one.
    """
    environment = environment_of(backend)
    if environment is None or state_of(environment) != "ready":
        return []
    installed = read_installed(environment)
    return [f"Python {installed.python}", *installed.freeze] if installed else []


def library_of(environment: Environment) -> str:
    """Return an environment's library and its version: "cornac 3.0.1".

    It is the version that is installed, or the one that would be, by Python if these differ.
    """
    installed = read_installed(environment)
    pins = [pin.partition(";")[0].strip().split("==") for pin in environment.library]
    library = pins[0][0]
    for line in installed.freeze if installed else ():
        name, _, version = line.partition("==")
        if name.replace("_", "-").lower() == library:
            return f"{library} {version}"
    return f"{library} {' or '.join(version for _, version in pins)}"


def state_of(environment: Environment) -> State:
    """Return the state of an environment on this machine.

    It is of "other pins" if it was installed for another table of requirements, and has "no Python"
    if the one that it was made with has been removed.
    """
    installed = read_installed(environment)
    if installed is None:
        return "absent"
    if installed.state == "failed":
        return "failed"
    if installed.requirements != environment.requirements:
        return "other pins"
    return "ready" if environment.python.is_file() else "no Python"


def problem_of(environment: Environment) -> str:
    """Return in a line what is wrong with an environment, and the remedy; see `problem`."""
    state, installed = state_of(environment), read_installed(environment)
    again = f"python -m bench.peers install {environment.name}"
    if installed is None or state == "ready":
        return ""
    if state == "failed":
        return (
            f"the last installation of {environment.name} failed: {reason(installed.reason)} "
            f"(log: {environment.folder / LOG}); to try it again: {again}"
        )
    if state == "no Python":
        return (
            f"the environment of {environment.name} was made with a Python {installed.python} that "
            f"is gone; to make it anew: {again}"
        )
    had, wants = installed.requirements, environment.requirements
    new = ", ".join(pin for pin in wants if pin not in had)
    old = ", ".join(pin for pin in had if pin not in wants)
    return (
        f"the environment of {environment.name} is of other pins than today's (it has "
        f"{old or 'nothing else'}, today's are {new or 'fewer'}); to make it anew: {again}"
    )


def read_installed(environment: Environment) -> Installed | None:
    """Return what is known of an installation; None if there is none, or it was cut off."""
    # One that cannot be read says as little as one that is not there.
    with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
        content = (environment.folder / _FACTS).read_bytes()
        return msgspec.json.decode(content, type=Installed)
    return None


def write_installed(environment: Environment, installed: Installed) -> None:
    """Write what is known of an installation, as the last thing that is done for it."""
    content = msgspec.json.format(msgspec.json.encode(installed), indent=2)
    write_whole(environment.folder / _FACTS, content + b"\n")
