"""What processes and the machine are doing, by a planted /proc and by this very process."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.machine import from_proc
from bench.machine.processes import (
    CpuTimes,
    ProcessSample,
    cpu_seconds,
    cpu_times,
    family,
    memory_limit_mb,
    sample,
)

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc with one process, 7, of three threads."""
    monkeypatch.setattr(from_proc, "_PROC", tmp_path)
    (tmp_path / "self" / "task").mkdir(parents=True)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text(
        "Name:\tpython\nVmHWM:\t 4096 kB\nVmRSS:\t 2048 kB\nThreads:\t3\n"
    )
    for thread, stat in {
        "7": "7 (python) R 1 7",
        "8": "8 (python) S 1 7",
        "9": "9 (a) R 1 (b) D 1 7",
    }.items():
        (tmp_path / "7" / "task" / thread).mkdir(parents=True)
        (tmp_path / "7" / "task" / thread / "stat").write_text(stat)
    return tmp_path


# ---- the machine --------------------------------------------------------------------------------


def test_busy_time_leaves_out_idling_waiting_and_the_hypervisor(proc: Path) -> None:
    (proc / "stat").write_text(
        "cpu  1000 200 30 99999 88888 4 5 600 70 8\ncpu0 1 2 3 4 5 6 7 8 9 10\n"
    )
    assert cpu_times() == CpuTimes(busy=(1000 + 200 + 30 + 4 + 5) / TICK, stolen=600 / TICK)


@pytest.mark.parametrize("text", [None, "", "cpu  1 2 3 4 5 6 7\n", "cpu  1 2 3 x 5 6 7 8 9 10\n"])
def test_times_that_cannot_be_read_are_none(proc: Path, text: str | None) -> None:
    if text is not None:
        (proc / "stat").write_text(text)
    assert cpu_times() is None


@pytest.mark.load
@linux
def test_busy_time_grows_with_a_busy_loop() -> None:
    before, own, wall = cpu_times(), time.process_time(), time.monotonic()
    assert before is not None
    while time.process_time() - own < 0.3:
        pass
    after, own, wall = cpu_times(), time.process_time() - own, time.monotonic() - wall
    assert after is not None
    cores = os.cpu_count() or 1
    # Ticks are coarse, and other processes are busy too.
    assert own / 2 < after.busy - before.busy < cores * (wall + 0.1)
    assert after.stolen >= before.stolen


# ---- a process ----------------------------------------------------------------------------------


def test_a_process_is_looked_at(proc: Path) -> None:
    # The name of a process may look like a state.
    assert sample(7) == ProcessSample(resident_mb=2.0, threads=3, running=1)


def test_a_thread_that_ends_while_looked_at_does_not_run(proc: Path) -> None:
    (proc / "7" / "task" / "7" / "stat").unlink()
    (proc / "7" / "task" / "8" / "stat").write_text("")
    assert sample(7) == ProcessSample(resident_mb=2.0, threads=3, running=0)


@pytest.mark.parametrize(
    "status", ["Name:\tpython\nState:\tZ (zombie)\n", "VmRSS:\t much kB\n", "VmRSS:"]
)
def test_a_process_without_memory_is_none(proc: Path, status: str) -> None:
    (proc / "7" / "status").write_text(status)
    assert sample(7) is None


def test_a_process_that_does_not_exist_is_none(proc: Path) -> None:
    assert sample(8) is None


@pytest.mark.load
@pytest.mark.process
@linux
def test_a_process_that_has_ended_is_none() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert sample(child.pid) is not None
        child.communicate(b"\n")
    assert sample(child.pid) is None


@pytest.mark.load
@linux
def test_own_threads_are_counted_and_sleeping_ones_do_not_run() -> None:
    before, wake = sample(os.getpid()), threading.Event()
    sleepers = [threading.Thread(target=wake.wait) for _ in range(5)]
    for sleeper in sleepers:
        sleeper.start()
    try:
        deadline = time.monotonic() + 300  # until each has gone to sleep
        while (
            (now := sample(os.getpid()))
            and now.running > now.threads - 5
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
    finally:
        wake.set()
        for sleeper in sleepers:
            sleeper.join()
    assert before is not None
    assert now is not None
    assert now.threads == before.threads + 5
    assert 1 <= now.running <= now.threads - 5  # the thread that looks runs
    assert 1 < now.resident_mb < 100_000


# ---- memory -------------------------------------------------------------------------------------


@linux
def test_memory_here_is_limited_by_something() -> None:
    limit = memory_limit_mb()
    assert limit is not None
    assert 0 < limit <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20


def test_memory_is_counted_in_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.memory_limit", lambda: 64 * 2**20)
    assert memory_limit_mb() == 64


def test_without_sysconf_memory_is_what_psutil_says(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert memory_limit_mb() == psutil.virtual_memory().total / 2**20
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert memory_limit_mb() is None


# ---- what a process has started -----------------------------------------------------------------


def test_a_family_is_all_that_descend_whichever_thread_started_them(proc: Path) -> None:
    for parent, thread, children in ((7, 7, "10 "), (7, 9, "11 12 "), (11, 11, "13 ")):
        (proc / str(parent) / "task" / str(thread)).mkdir(parents=True, exist_ok=True)
        (proc / str(parent) / "task" / str(thread) / "children").write_text(children)
    (proc / "13" / "task" / "13").mkdir(parents=True)
    assert family(7) == [7, 11, 13]  # 10 and 12 have ended
    assert family(99) == []
    (proc / "13" / "smaps_rollup").write_text(
        "Rss: 900 kB\nPrivate_Clean:  24 kB\nPrivate_Dirty:  1000 kB\n"
    )
    (proc / "13" / "status").write_text("VmRSS:\t 9999 kB\n")
    (proc / "13" / "task" / "13" / "stat").write_text("13 (python) R 11 7")
    assert sample(7) == ProcessSample(2 + 1, 3 + 1, 1 + 1, (11, 13))  # 11 cannot be looked at


@pytest.mark.load
@pytest.mark.process
@linux
def test_cpu_time_of_child_processes_counts_while_they_live_and_after() -> None:
    busy = """
import time
end = time.process_time() + 0.3
while time.process_time() < end: pass
print(flush=True)
input()
"""
    before = cpu_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        alive = cpu_seconds() - before
        child.stdin.write("\n")
    ended = cpu_seconds() - before
    assert 0.25 < alive < 1
    assert alive - 0.02 <= ended < 1
