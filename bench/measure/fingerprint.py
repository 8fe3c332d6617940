"""What a record depends on, as hashes: code, data, machine, settings, versions."""

from __future__ import annotations

import contextlib
import hashlib
import re
from importlib import metadata, util
from pathlib import Path
from typing import Any

from bench.machine.environment import machine_facts, machine_key, short_hash
from bench.records import Backend, CaseFacts

# What no figure depends on: it prints, draws or compares what was measured, or no solver uses it.
_UNMEASURED = (
    *("bench/article", "bench/compare", "bench/duel.py", "bench/gpu_check", "bench/report", "bench/text"),
    *("backends/kernels/triton", "backends/testing"),
)
_CODE = re.compile(r"\.(py|pyc|so|pyd|dll|dylib)(\.\d+)*$")  # source, and what it was compiled to
_READ = 1 << 20  # bytes; a larger file, as libraries of kernels are, stands for itself by its size and time of change


def result_key(case: CaseFacts, backend: Backend, settings: dict[str, Any]) -> dict[str, str]:
    """Return what a record depends on, by name, each as a short hash.

    Parameters
    ----------
    settings
        What else was asked for: targets, seeds, rounds, limits.
    """
    facts = machine_facts()
    measured = {name: value for name, value in backend.items() if name != "look"}  # which is only drawn
    return {
        "code": code_hash(),
        "data": case["data_hash"],
        "machine": machine_key(facts),
        "settings": short_hash([case, measured, settings]),
        "versions": short_hash([facts["python"], facts["packages"], _third_parties()]),
    }


def code_hash(bench: Path = Path(__file__).parents[1]) -> str:
    """Return a hash of the source that figures depend on: the solvers, and how they are measured.

    ``bench`` is the folder of this package; that of the solvers lies beside it.
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
    """Return a hash of each backend that another package registered: its version, its code, and what it requires."""
    points = metadata.entry_points(group="factorbench.backends")
    code = {point.module: _package_code(point.module) for point in points}
    packages = {point.dist.name: _distribution(point.dist) for point in points if point.dist}
    return sorted(
        short_hash([point.name, point.value, code[point.module], packages.get(point.dist.name) if point.dist else None])
        for point in points
    )


def _distribution(package: metadata.Distribution) -> list[Any]:
    """Return the version of an installed package, the code that it brought along, and versions of what it requires."""
    names = {found[0] for one in package.requires or [] if (found := re.match(r"[\w.-]+", one))}
    required = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            required[name] = metadata.version(name)
    return [package.version, _hashes({str(file): Path(str(file.locate())) for file in package.files or []}), required]


def _package_code(module: str) -> dict[str, str]:
    """Return hashes of the code of the whole package that a module is in.

    An editable install lists no code of its own, so it is looked for where it would be imported from. Nothing is
    imported for that but namespaces, which hold no code: they are looked through for the package inside.
    """
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        try:
            spec = util.find_spec(".".join(parts[:depth]))
        except (ImportError, ValueError, AttributeError):
            return {}
        if spec is None:
            return {}
        if spec.origin and spec.has_location:
            folders = [Path(folder) for folder in spec.submodule_search_locations or []]
            inside = {str(path.relative_to(one.parent)): path for one in folders for path in one.rglob("*.*")}
            return _hashes(inside or {Path(spec.origin).name: Path(spec.origin)})
    return {}


def _hashes(files: dict[str, Path]) -> dict[str, str]:
    """Return a hash of each of the files that are code and there, by name."""
    found = {}
    for name, path in files.items():
        if _CODE.search(name) and "__pycache__" not in path.parts:
            with contextlib.suppress(OSError):
                facts = path.stat()
                large = f"{facts.st_size} bytes of {facts.st_mtime_ns}"
                found[name] = large if facts.st_size > _READ else hashlib.sha256(path.read_bytes()).hexdigest()
    return found
