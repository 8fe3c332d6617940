"""What the processor's packages and a GPU have spent, read off their own counters where they have any.

The counters are of whole devices: what other programs spend meanwhile, and what an idle core draws, is in them.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

_POWERCAP = Path("/sys/class/powercap")  # RAPL, of Intel's and AMD's processors; usually for root only


class Counter(NamedTuple):
    """A counter in joules, and after how many it starts again; infinite where it does not."""

    joules: float
    wraps: float


def read_energy(device: str = "cpu") -> dict[str, Counter]:
    """Read the counters of all packages, and that of a CUDA device; {} where there is none that may be read."""
    found = {}
    for package in sorted(_POWERCAP.glob("*-rapl:*")):
        with contextlib.suppress(OSError, ValueError):
            # Not its parts, core and dram, nor psys, the whole platform: what they count, packages count too.
            if not (package / "name").read_text("utf-8").startswith("package"):
                continue
            spent, wraps = (int((package / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
            found[package.name] = Counter(spent / 1e6, wraps / 1e6)
    if device.startswith("cuda"):
        with contextlib.suppress(Exception):  # NVML has a dozen ways to say that it cannot
            found[device] = Counter(_nvml_joules(device), float("inf"))
    return found


def spent_between(before: dict[str, Counter], after: dict[str, Counter]) -> float | None:
    """Return the joules between two readings, None where nothing could be read; a counter may have wrapped once."""
    both = before.keys() & after.keys()
    if not both:
        return None
    differences = {name: after[name].joules - before[name].joules for name in both}
    return sum(value if value >= 0 else value + before[name].wraps for name, value in differences.items())


def _nvml_joules(device: str) -> float:
    """Return what a GPU has spent since its driver was loaded."""
    pynvml = importlib.import_module("pynvml")  # of nvidia-ml-py, where it is installed

    torch: Any = sys.modules["torch"]
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
