"""Joules read off planted counters; this machine has none."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.machine import energy
from bench.machine.energy import Counter, read_energy, spent_between


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two packages, one with a part, and the whole platform."""
    planted = (
        ("0", "package-0", 5_000_000),
        ("0:0", "core", 4_000_000),
        ("1", "package-1", 1_500_000),
    )
    for number, name, spent in (*planted, ("2", "psys", 9_000_000)):
        folder = tmp_path / f"intel-rapl:{number}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{spent}\n")
        (folder / "max_energy_range_uj").write_text("262143328850\n")
    monkeypatch.setattr(energy, "_POWERCAP", tmp_path)
    return tmp_path


def test_packages_are_read_and_their_parts_are_not_counted_twice(powercap: Path) -> None:
    before = read_energy()
    assert {name: reading.joules for name, reading in before.items()} == {
        "intel-rapl:0": 5.0,
        "intel-rapl:1": 1.5,
    }
    (powercap / "intel-rapl:0" / "energy_uj").write_text("7000000")
    (powercap / "intel-rapl:1" / "energy_uj").write_text("1750000")
    assert spent_between(before, read_energy()) == pytest.approx(2.25)


def test_a_counter_that_wrapped_goes_on(powercap: Path) -> None:
    before = read_energy()
    (powercap / "intel-rapl:0" / "energy_uj").write_text("1000000")
    assert spent_between(before, read_energy()) == pytest.approx(262143.328850 - 4.0)


def test_what_cannot_be_read_is_none(powercap: Path) -> None:
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    (powercap / "intel-rapl:1" / "energy_uj").write_text("denied")
    assert read_energy() == {}
    assert spent_between({}, {}) is None
    assert spent_between({"a": Counter(1, 9)}, {"b": Counter(2, 9)}) is None
    assert spent_between({"a": Counter(1, 9)}, {"a": Counter(3, 9), "b": Counter(5, 9)}) == 2


@pytest.mark.usefixtures("powercap")
def test_a_gpu_is_found_by_its_uuid_and_counts_in_millijoules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []

    def handle_of(uuid: Any) -> str:
        asked.append(uuid)
        return "handle"

    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=handle_of,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: {"handle": 2500}[handle],
    )
    cuda = SimpleNamespace(
        get_device_properties=lambda device: SimpleNamespace(uuid=f"of-{device}")
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert read_energy("cuda:1")["cuda:1"] == Counter(2.5, float("inf"))
    assert asked == ["GPU-of-cuda:1"]
    assert "cuda" not in read_energy("cpu")
    monkeypatch.delitem(sys.modules, "torch")
    assert "cuda:1" not in read_energy("cuda:1")  # nothing is reported that was not read
