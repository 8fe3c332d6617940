"""How many cores and how much memory a process may use, by planted files of control groups."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from backends import available_cores, cpu_quota, memory_limit
from backends._engine import cores

MACHINE = 4096 * 1_000_000  # bytes

Plant = Callable[..., None]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plant]:
    """Write files for a process on a machine of eight cores, and their folders as mounted groups.

    Mounts are given as "ROOT MOUNTED-AT TYPE OPTIONS", groups as lines of /proc/self/cgroup.
    """
    monkeypatch.setattr(cores, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1_000_000}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__, raising=False)
    cpu_quota.cache_clear()

    def write(groups: str, mounts: list[str], files: Mapping[str, str]) -> None:
        lines = []
        for mount in mounts:
            root, place, kind, options = mount.split(" ")
            lines.append(
                f"31 23 0:28 {root} {tmp_path / place} rw,nosuid shared:9 - {kind} none {options}\n"
            )
        (tmp_path / "proc").mkdir(exist_ok=True)
        (tmp_path / "proc" / "cgroup").write_text(groups)
        (tmp_path / "proc" / "mountinfo").write_text("".join(lines))
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        cpu_quota.cache_clear()

    yield write
    cpu_quota.cache_clear()


V2 = ["/ cg cgroup2 rw,nsdelegate"]
V1 = ["/ cpu cgroup rw,cpu,cpuacct", "/ set cgroup rw,cpuset", "/ memory cgroup rw,memory"]
SLICE = "0::/user.slice/user-7.slice/job.scope\n"


def test_cores_are_those_that_the_process_may_run_on(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (available_cores(), cpu_quota(), memory_limit()) == (8, None, MACHINE)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 4, 5})
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("text", "quota", "n_cores"),
    [
        ("200000 100000\n", 2.0, 2),
        ("350000 100000", 3.5, 3),
        ("50000 100000", 0.5, 1),  # there is no less
        ("6400000 100000", 64.0, 8),  # more than the machine has
        ("max 100000", None, 8),
        ("", None, 8),
        ("150000", None, 8),
        ("x y", None, 8),
        ("1 0", None, 8),
    ],
)
def test_a_quota_limits_the_cores(
    plant: Plant, text: str, quota: float | None, n_cores: int
) -> None:
    plant("0::/\n", V2, {"cg/cpu.max": text})
    assert (cpu_quota(), available_cores()) == (quota, n_cores)


def test_the_affinity_may_be_less_than_the_quota(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant("0::/\n", V2, {"cg/cpu.max": "400000 100000"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    assert available_cores() == 3


@pytest.mark.parametrize("holder", ["user.slice/user-7.slice/job.scope", "user.slice", "."])
def test_the_least_limit_of_the_own_group_and_of_those_above_counts(
    plant: Plant, holder: str
) -> None:
    files = {"cg/user.slice/user-7.slice/cpu.max": "600000 100000", "cg/other/cpu.max": "1 100000"}
    files |= {"cg/user.slice/user-7.slice/memory.max": "900000000", "cg/other/memory.max": "1"}
    least = {f"cg/{holder}/cpu.max": "300000 100000", f"cg/{holder}/memory.max": "800000000"}
    plant(SLICE, V2, files)
    assert (cpu_quota(), memory_limit()) == (6.0, 900_000_000)
    plant(SLICE, V2, least)
    assert (cpu_quota(), memory_limit()) == (3.0, 800_000_000)


def test_groups_of_version_1(plant: Plant) -> None:
    groups = "5:cpuset:/\n4:cpu,cpuacct:/batch/job\n3:memory:/batch/big\n1:name=systemd:/x\n"
    files = {
        "cpu/batch/job/cpu.cfs_quota_us": "-1",
        "cpu/batch/job/cpu.cfs_period_us": "100000",
        "cpu/batch/cpu.cfs_quota_us": "100000",
        "cpu/batch/cpu.cfs_period_us": "50000",
        "memory/batch/big/memory.limit_in_bytes": "700000000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
        # The groups of other controllers do not limit these.
        "set/batch/job/cpu.cfs_quota_us": "1",
        "set/batch/job/cpu.cfs_period_us": "50000",
        "memory/batch/job/memory.limit_in_bytes": "1",
    }
    plant(groups, V1, files)
    assert (cpu_quota(), available_cores(), memory_limit()) == (2.0, 2, 700_000_000)


def test_no_limit_in_version_1(plant: Plant) -> None:
    files = {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}
    files["memory/memory.limit_in_bytes"] = "9223372036854771712\n"
    plant("4:cpu,cpuacct:/\n3:memory:/\n", V1, files)
    assert (cpu_quota(), available_cores(), memory_limit()) == (None, 8, MACHINE)


@pytest.mark.parametrize("root", ["/", "/docker/0f3", "/../.."])
def test_in_a_container_the_mounted_folder_is_the_group(plant: Plant, root: str) -> None:
    mounts = [f"{root} {place} cgroup rw,{place}" for place in ("cpu", "memory")]
    files = {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}
    files["memory/memory.limit_in_bytes"] = "600000000"
    plant("4:cpu:/docker/0f3\n3:memory:/docker/0f3\n", mounts, files)
    assert (cpu_quota(), memory_limit()) == (1.5, 600_000_000)


def test_a_group_within_a_container(plant: Plant) -> None:
    files = {"cpu/job/cpu.cfs_quota_us": "250000", "cpu/job/cpu.cfs_period_us": "100000"}
    plant("4:cpu:/docker/0f3/job\n", ["/docker/0f3 cpu cgroup rw,cpu"], files)
    assert cpu_quota() == 2.5


def test_both_versions_side_by_side(plant: Plant) -> None:
    groups = "4:cpu,cpuacct:/a\n0::/b\n"
    files = {
        "cpu/a/cpu.cfs_quota_us": "300000",
        "cpu/a/cpu.cfs_period_us": "100000",
        "cg/b/memory.max": "500000000",
    }
    plant(groups, [*V1, *V2], files)
    assert (cpu_quota(), memory_limit()) == (3.0, 500_000_000)


def test_files_that_make_no_sense_limit_nothing(plant: Plant, tmp_path: Path) -> None:
    plant("\nnonsense\n4\n::\n", [], {})
    (tmp_path / "proc" / "mountinfo").write_bytes(b"\n - \n1 2 - cgroup\n1 - cgroup2 x y\n\xff\n")
    assert (cpu_quota(), available_cores(), memory_limit()) == (None, 8, MACHINE)


def test_the_files_are_read_once(plant: Plant, tmp_path: Path) -> None:
    """A fit asks before every epoch."""
    plant("0::/\n", V2, {"cg/cpu.max": "200000 100000"})
    assert available_cores() == 2
    (tmp_path / "cg" / "cpu.max").write_text("400000 100000")
    assert available_cores() == 2


def test_without_sysconf_memory_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert memory_limit() is None
