"""What a result was measured on: machine, operating system, versions, thread settings."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from bench.records import Environment, MachineFacts, ProcessFacts

_PACKAGES = (
    *("factorbench", "numpy", "scipy", "numba", "llvmlite", "torch", "pandas", "threadpoolctl"),
    *("tbb", "icc-rt", "intel-cmplr-lib-rt", "intel-openmp", "mkl"),  # that numba and BLAS take where they are
)
# The facts that make another machine: what was measured on one says nothing about the other.
_MACHINE = ("cpu", "cores", "cpu_limit", "caches", "memory_gb", "system", "hypervisor", "governor", "gpus", "settings")
_MACHINE_WHERE_KNOWN = ("no_turbo",)  # came later: machines that do not tell keep the key that older records have
# Variables that change how numerical libraries run. There are too many to name each, and a new release brings more: a
# variable too many is recorded in vain, but one too few lets a record pass for what it is not.
_PREFIXES = re.compile(
    "(ATEN|BLIS|CUBLAS|CUDNN|DNNL|GOMP|KMP|MALLOC|MKL|NPY|NUMBA|OMP|ONEDNN|OPENBLAS|PYTORCH|TORCH[A-Z]*|TRITON)_"
)
_VARIABLES = {
    *("CUDA_DEVICE_MAX_CONNECTIONS", "CUDA_DEVICE_ORDER", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING"),
    *("CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES", "LD_AUDIT", "LD_LIBRARY_PATH", "LD_PRELOAD", "NVIDIA_TF32_OVERRIDE"),
    *("VECLIB_MAXIMUM_THREADS", "XLA_FLAGS"),
}
# Not those that only say where something lies, nor what is nobody's business: records are shown around.
_LEFT_OUT = re.compile("_(DIR|FILE|FOLDER|HOME|PATH|ROOT)$|AUTH|CREDENTIAL|PASSW|SECRET|TOKEN|(^|_)KEY(_|$)")
# What workers get in any case, whatever is set outside, tells one run from another no more.
_BUDGETS = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"}
_DEFAULTS = {("OMP_WAIT_POLICY", "PASSIVE")}
# What libraries set themselves when they are imported (threadpoolctl, scikit-learn): whether they have been is chance.
_SET_BY_IMPORTS = {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
_CPU = Path("/sys/devices/system/cpu/cpu0")


def machine_facts() -> MachineFacts:
    """Return what does not change while a run lasts."""
    from backends import available_cores  # here, as who only compares two machines needs no solver

    return {
        "cpu": _cpu_model(),
        "cores": available_cores(),
        "cpu_limit": _cpu_limit(),
        "caches": _caches(),
        "governor": _text(_CPU / "cpufreq" / "scaling_governor"),
        "frequency_driver": _text(_CPU / "cpufreq" / "scaling_driver"),
        "no_turbo": _text(_CPU.parent / "intel_pstate" / "no_turbo"),
        "hypervisor": "yes" if " hypervisor" in _cpuinfo("flags") else None,
        "gpus": _gpus(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "git": _git_state(),
        "settings": _worker_settings(),
    }


def environment_of(machine: MachineFacts, process: ProcessFacts | None = None) -> Environment:
    """Return the facts of a record that are known when its worker has started, or has not."""
    nothing: ProcessFacts = {"variables": None, "thread_pools": None, "load_average": None}
    unknown: dict[str, None] = dict.fromkeys(("import_seconds", "compile_seconds", "device", "throttled"))
    return cast("Environment", {**machine, **(process or nothing), **unknown})


def machine_key(facts: Mapping[str, Any]) -> str:
    """Return a short hash of the facts that make another machine."""
    known = {name: facts[name] for name in _MACHINE_WHERE_KNOWN if facts.get(name) is not None}
    return short_hash({name: facts.get(name) for name in _MACHINE} | known)


def short_hash(value: Any) -> str:
    """Return a short hash of a value of JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def thread_settings() -> dict[str, int]:
    """Read back how many threads each library that this process has loaded is set to use."""
    from threadpoolctl import threadpool_info

    found: dict[str, int] = {}
    for pool in threadpool_info():
        name = str(pool["internal_api"])
        found[name] = max(found.get(name, 0), int(pool["num_threads"]))
    if torch := sys.modules.get("torch"):
        found["torch"] = int(torch.get_num_threads())
    if numba := sys.modules.get("numba"):
        found["numba"] = int(numba.config.NUMBA_NUM_THREADS)  # get_num_threads() would start them
    return found


def throttle_count() -> int | None:
    """Return how often the first core was slowed down for being too hot since it started; None where unreadable."""
    text = _text(_CPU / "thermal_throttle" / "core_throttle_count")
    return int(text) if text and text.isdecimal() else None


def process_facts() -> ProcessFacts:
    """Return what belongs to this process: its thread settings and the BLAS and OpenMP libraries it has loaded."""
    from threadpoolctl import threadpool_info

    return {
        "variables": _library_variables(),
        "thread_pools": [
            {key: pool.get(key) for key in ("internal_api", "version", "num_threads", "architecture") if pool.get(key)}
            for pool in threadpool_info()
        ],
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def peak_memory_mb() -> float | None:
    """Return the most memory that this process has had resident so far, in MB; None where it cannot be read.

    Linux: VmHWM, because getrusage's figure starts at what the parent held when it forked.
    """
    try:
        status = Path("/proc/self/status").read_text("utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        pass  # not Linux
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if platform.system() == "Darwin" else 1 << 10)


def _library_variables() -> dict[str, str]:
    """Return the variables of this process that change how numerical libraries run."""
    by_prefix = {name for name in os.environ if _PREFIXES.match(name) and not _LEFT_OUT.search(name)}
    found = (by_prefix | (_VARIABLES & os.environ.keys())) - _SET_BY_IMPORTS
    return {name: os.environ[name] for name in sorted(found)}


def _worker_settings() -> dict[str, str]:
    """Return those of them that make a difference to the workers of this process."""
    found = _library_variables().items()
    return {name: value for name, value in found if name not in _BUDGETS and (name, value) not in _DEFAULTS}


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    """Return what /proc/cpuinfo says of the first core, "" where it does not."""
    lines = (_text(Path("/proc/cpuinfo")) or "").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


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


def _cpu_limit() -> float | None:
    """Return the cores' worth of time that a control group allows, None without a limit."""
    quota, _, period = (_text(Path("/sys/fs/cgroup/cpu.max")) or "max").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() else None


def _gpus() -> str | None:
    """Return names, memory and driver of NVIDIA's GPUs."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return "; ".join(done.stdout.strip().splitlines()) or None


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state() -> str | None:
    """Commit of the code that runs, with "+changes" where it was edited; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()

    try:
        if not git("ls-files", "--", Path(__file__).name):  # installed into an environment inside some other checkout
            return None
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
