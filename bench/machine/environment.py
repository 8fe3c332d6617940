"""The environment of a result: machine, operating system, versions, and thread settings.

Facts that cannot be read on a system are None. `machine_key` is a hash of those facts that make two
machines incomparable.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from bench.records import Environment, MachineFacts, ProcessFacts

from . import from_psutil
from .variables import library_variables, worker_settings

_PACKAGES = (
    "factorbench",
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "torch",
    "triton",
    "pandas",
    "threadpoolctl",
    # numba and BLAS libraries use these where they are installed.
    "tbb",
    "icc-rt",
    "intel-cmplr-lib-rt",
    "intel-openmp",
    "mkl",
)
# Where these facts differ, a result on one machine says nothing about the other.
_MACHINE = (
    "cpu",
    "cores",
    "cpu_limit",
    "caches",
    "memory_gb",
    "system",
    "hypervisor",
    "governor",
    "gpus",
    "settings",
)
# Facts that were added later. They are left out where they are unknown, so that the key of such a
# machine is the same as in older records.
_MACHINE_WHERE_KNOWN = ("no_turbo",)
_CPU = Path("/sys/devices/system/cpu/cpu0")


def machine_facts() -> MachineFacts:
    """Return the facts that do not change during a run."""
    # Imported only here: comparing records from two machines (`machine_key`) needs no solver.
    from backends import available_cores, cpu_quota

    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "cpu_limit": cpu_quota(),
        "caches": _caches(),
        "governor": _text(_CPU / "cpufreq" / "scaling_governor"),
        "frequency_driver": _text(_CPU / "cpufreq" / "scaling_driver"),
        "no_turbo": _text(_CPU.parent / "intel_pstate" / "no_turbo"),
        "hypervisor": "yes" if " hypervisor" in _cpuinfo("flags") else None,
        "gpus": _gpus(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()}",
        "python": python_version(),
        "packages": package_versions(),
        "git": _git_state(),
        "settings": worker_settings(),
    }


def environment_of(machine: MachineFacts, process: ProcessFacts | None = None) -> Environment:
    """Return the environment of a record, with None for what is not known yet.

    ``process`` is None if no worker has started.
    """
    if process is None:
        process = {"variables": None, "thread_pools": None, "load_average": None}
    names = ("import_seconds", "compile_seconds", "device", "throttled", "watched")
    unknown = dict.fromkeys(names)
    return cast("Environment", {**machine, **process, **unknown})


def machine_key(facts: Mapping[str, Any]) -> str:
    """Return a short hash of a machine; results with different ones cannot be compared."""
    known = {name: facts[name] for name in _MACHINE_WHERE_KNOWN if facts.get(name) is not None}
    return short_hash({name: facts.get(name) for name in _MACHINE} | known)


def short_hash(value: Any) -> str:
    """Return a short hash of a value that can be written as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def thread_settings() -> dict[str, int]:
    """Return how many threads each library is set to use, for libraries that are loaded."""
    from threadpoolctl import threadpool_info

    settings: dict[str, int] = {}
    for pool in threadpool_info():
        name = str(pool["internal_api"])  # two copies of a library have the same
        settings[name] = max(settings.get(name, 0), int(pool["num_threads"]))
    torch, numba = sys.modules.get("torch"), sys.modules.get("numba")
    if torch:
        settings["torch"] = int(torch.get_num_threads())
    if numba:
        # Not get_num_threads(), which would start the threads.
        settings["numba"] = int(numba.config.NUMBA_NUM_THREADS)
    return settings


def throttle_count() -> int | None:
    """Return how often the first core was slowed down because of heat since the machine started."""
    text = _text(_CPU / "thermal_throttle" / "core_throttle_count")
    return int(text) if text and text.isdecimal() else None


def process_facts() -> ProcessFacts:
    """Return the facts about this process: variables, BLAS and OpenMP libraries, load."""
    from threadpoolctl import threadpool_info

    fields = ("internal_api", "version", "num_threads", "architecture")
    pools = [{key: pool[key] for key in fields if pool.get(key)} for pool in threadpool_info()]
    return {
        "variables": library_variables(),
        "thread_pools": sorted(pools, key=str),  # found in an order that means nothing
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def peak_memory_mb() -> float | None:
    """Return the peak of this process's resident memory in MB; None where it cannot be read."""
    try:
        # On Linux, getrusage's peak would include the memory of the parent when it forked.
        status = Path("/proc/self/status").read_text("utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        pass  # not Linux
    try:
        import resource
    except ImportError:  # Windows
        found = from_psutil.peak_memory()
        return None if found is None else found / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    units_per_mb = 1 << 20 if platform.system() == "Darwin" else 1 << 10  # macOS counts bytes
    return peak / units_per_mb


def _cpu_model() -> str:
    known = _cpuinfo("model name") or _printed("sysctl", "-n", "machdep.cpu.brand_string")
    return known or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    """Return a field of the first core in /proc/cpuinfo; "" if there is none."""
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        field, _, value = line.partition(":")
        if field.strip() == name:
            return value.strip()
    return ""


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", errors="replace").strip()
    except OSError:
        return None


def _caches() -> str | None:
    """Return the sizes of the first core's caches: "L1 32K, L2 512K, L3 32768K"."""
    found = {}
    for folder in sorted((_CPU / "cache").glob("index*")):
        level, kind, size = (_text(folder / name) for name in ("level", "type", "size"))
        if level and size and kind != "Instruction":
            found[f"L{level}"] = size
    return ", ".join(f"{level} {size}" for level, size in found.items()) or None


def _gpus() -> str | None:
    """Return names, memory and driver of NVIDIA GPUs, or the names of AMD's."""
    query = "--query-gpu=name,memory.total,driver_version"
    printed = _printed("nvidia-smi", query, "--format=csv,noheader") or ""
    if not printed:
        # A header, and a line for each card: its number, its name, and what else is known of it.
        table = (_printed("rocm-smi", "--showproductname", "--csv") or "").splitlines()
        rows = [line.split(",") for line in table if line.startswith("card")]
        return "; ".join(row[1].strip() for row in rows if len(row) > 1) or None
    return "; ".join(printed.splitlines()) or None


def _printed(*command: str) -> str | None:
    """Return what a program prints; None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _memory_gb() -> float | None:
    try:
        found: int | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        found = from_psutil.machine_memory()
    return None if found is None else round(found / 2**30, 1)


def python_version() -> str:
    """Return the implementation and version of this interpreter."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def package_versions() -> dict[str, str]:
    """Return the versions of those of `_PACKAGES` that are installed."""
    versions = {}
    for package in _PACKAGES:
        version = _version(package)
        if version:
            versions[package] = version
    return versions


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state() -> str | None:
    """Return the commit of this code, with "+changes" if it was edited; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", *words]
        done = subprocess.run(
            command, cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        # The package may be installed inside the checkout of another project.
        if not git("ls-files", "--", Path(__file__).name):
            return None
        commit = git("rev-parse", "--short=12", "HEAD")
        if git("status", "--porcelain", "--untracked-files=no"):
            commit += "+changes"
        return commit
    except (OSError, subprocess.SubprocessError):
        return None
