"""Energy used by the processor's packages and a GPU, from their own counters where there are any.

The counters are of whole devices, so they include what other programs and idle cores use.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

# RAPL, the energy counters of Intel and AMD processors. Usually only root may read them.
_POWERCAP = Path("/sys/class/powercap")


class Counter(NamedTuple):
    """The reading of an energy counter."""

    joules: float
    wraps: float  # joules after which the counter starts again from 0; infinite if it never does


def read_energy(device: str = "cpu") -> dict[str, Counter]:
    """Return the readings of all packages and of a CUDA device, by name; only what can be read."""
    found = {}
    for package in sorted(_POWERCAP.glob("*-rapl:*")):
        with contextlib.suppress(OSError, ValueError):
            # There are also counters of parts (core, dram) and of the whole platform (psys), which
            # would count the same energy twice.
            if not (package / "name").read_text("utf-8").startswith("package"):
                continue
            microjoules = int((package / "energy_uj").read_text())
            wraps = int((package / "max_energy_range_uj").read_text())
            found[package.name] = Counter(microjoules / 1e6, wraps / 1e6)
    if device.startswith("cuda"):
        with contextlib.suppress(Exception):  # NVML has a dozen errors for a counter it lacks
            found[device] = Counter(_nvml_joules(device), float("inf"))
    return found


def spent_between(before: dict[str, Counter], after: dict[str, Counter]) -> float | None:
    """Return the joules used between two readings; None if nothing could be read."""
    both = before.keys() & after.keys()
    if not both:
        return None
    total = 0.0
    for name in both:
        joules = after[name].joules - before[name].joules
        if joules < 0:  # the counter started again in between, once
            joules += before[name].wraps
        total += joules
    return total


def _nvml_joules(device: str) -> float:
    """Return the energy that a GPU has used since its driver was loaded."""
    pynvml = importlib.import_module("pynvml")  # from nvidia-ml-py, which may not be installed

    torch: Any = sys.modules["torch"]
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByUUID(
        f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    )
    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
