"""What a record depends on, as hashes: code, data, machine, settings, versions.

A run that was cut off can be continued. A record that it left is reused if all these hashes are
still the same (`result_key`); otherwise the backend is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

from bench.machine.environment import machine_facts, machine_key, short_hash
from bench.records import Backend, CaseFacts

# Code that no measurement depends on: it only shows or compares results, or no solver uses it.
_UNMEASURED = (
    "backends/kernels/triton",
    "backends/testing",
    "bench/article",
    "bench/compare",
    "bench/duel.py",
    "bench/gpu_check",
    "bench/measure/peer_install.py",
    "bench/measure/pythons.py",
    "bench/peers.py",
    "bench/report",
    "bench/text",
    "bench/tune.py",
)
_CODE = re.compile(r"\.(py|pyc|so|pyd|dll|dylib)(\.\d+)*$")  # source and compiled code
# Larger files (in bytes), such as libraries of compiled kernels, take too long to read. Their size
# and time of modification have to do instead of their content.
_READ = 1 << 20


def result_key(
    case: CaseFacts, backend: Backend, settings: dict[str, Any], packages: Sequence[str] = ()
) -> dict[str, str]:
    """Return short hashes of everything that a record depends on, by name.

    Parameters
    ----------
    case, backend
        As in the record.
    settings
        All other settings: targets, seeds, rounds, limits.
    packages
        Those of the environment that the backend runs in, with their versions, if it is not this.
    """
    facts = machine_facts()
    # The look is only used in figures.
    measured = {name: value for name, value in backend.items() if name != "look"}
    return {
        "code": code_hash(),
        "data": case["data_hash"],
        "machine": machine_key(facts),
        "settings": short_hash([case, measured, settings]),
        "versions": short_hash(
            [facts["python"], facts["packages"], _third_parties(), list(packages)]
        ),
    }


def code_hash(bench: Path = Path(__file__).parents[1]) -> str:
    """Return a hash of the source that results depend on: the solvers and the measuring.

    ``bench`` is the folder of this package. The solvers' package is in the same parent folder.
    """
    skipped = {bench.parent / name for name in _UNMEASURED}
    sources = {
        str(path.relative_to(bench.parent)): path.read_text("utf-8")
        for folder in (bench.parent / "backends", bench)
        for path in sorted(folder.rglob("*.py"))
        if not skipped.intersection((path, *path.parents))
    }
    return short_hash(sources)


def _third_parties() -> list[str]:
    """Return a hash of each backend that another package registered.

    It covers the package's version, its code, and the versions of its requirements.
    """
    points = metadata.entry_points(group="factorbench.backends")
    # Several backends can be in one module or package, which is then read only once.
    code = {point.module: _package_code(point.module) for point in points}
    packages = {point.dist.name: _distribution(point.dist) for point in points if point.dist}
    hashes = []
    for point in points:
        package = packages[point.dist.name] if point.dist else None
        hashes.append(short_hash([point.name, point.value, code[point.module], package]))
    return sorted(hashes)


def _distribution(package: metadata.Distribution) -> list[Any]:
    """Return an installed package's version, hashes of its code, and its requirements' versions."""
    files = {str(file): Path(str(file.locate())) for file in package.files or []}
    required = {}
    for requirement in package.requires or []:
        name = re.match(r"[\w.-]+", requirement)  # before extras, versions and markers
        if name:
            with contextlib.suppress(metadata.PackageNotFoundError):
                required[name[0]] = metadata.version(name[0])
    return [package.version, _hashes(files), required]


def _package_code(module: str) -> dict[str, str]:
    """Return hashes of the code of the whole top-level package that contains a module.

    The list of files of an editable install does not include its code, so the code is searched for
    where Python would import it from. Nothing of it is imported. Namespace packages are, but they
    contain no code: the search goes on inside them.
    """
    names = module.split(".")
    for depth in range(1, len(names) + 1):
        try:
            spec = util.find_spec(".".join(names[:depth]))
        except (ImportError, ValueError, AttributeError):
            return {}
        if spec is None:
            return {}
        if spec.origin and spec.has_location:  # a package or module; a namespace has no file
            files = {}
            for location in spec.submodule_search_locations or []:
                folder = Path(location)
                for path in folder.rglob("*.*"):
                    files[str(path.relative_to(folder.parent))] = path
            if not files:  # a single module
                files = {Path(spec.origin).name: Path(spec.origin)}
            return _hashes(files)
    return {}


def _hashes(files: dict[str, Path]) -> dict[str, str]:
    """Return a hash by name for each file that is code and can be read."""
    hashes = {}
    for name, path in files.items():
        if not _CODE.search(name) or "__pycache__" in path.parts:
            continue
        with contextlib.suppress(OSError):
            facts = path.stat()
            if facts.st_size > _READ:
                hashes[name] = f"{facts.st_size} bytes of {facts.st_mtime_ns}"
            else:
                hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes
