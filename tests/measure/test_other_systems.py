"""Measurements on macOS and Windows, in so far as Linux can be made to look like them."""

import errno
import io
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import ROOT, is_gone, is_running
from measured import hurry, measure

from bench.cases.case import Case
from bench.machine import from_proc, from_psutil
from bench.machine.ending import apart, guard
from bench.machine.environment import machine_facts, peak_memory_mb
from bench.machine.processes import ProcessSample, cpu_seconds, watched
from bench.measure.backend_facts import Limits
from bench.measure.extras import _running_threads
from bench.measure.protocol import Warm
from bench.measure.worker_process import Ended, WorkerProcess
from tests.other_systems import System, pretending

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /proc")
pytestmark = [linux, pytest.mark.usefixtures("planted", "without_warm_up")]

AT_ONCE = "how many threads run at once"
ENDED = "the CPU time of child processes that have ended"
NOTHING = (
    "all but memory, the number of threads, how many threads run at once, the load of other "
    "programs"
)
SYSTEMS = pytest.mark.parametrize(
    ("system", "psutil", "seen"),
    [
        ("macOS", True, f"all but {AT_ONCE}"),
        ("Windows", True, f"all but {AT_ONCE} and {ENDED}"),
        ("macOS", False, f"{NOTHING} and child processes"),
        ("Windows", False, f"{NOTHING}, child processes and {ENDED}"),
    ],
    ids=["macOS", "Windows", "macOS without psutil", "Windows without psutil"],
)
WITH_PSUTIL = pytest.mark.parametrize("system", ["macOS", "Windows"])


@pytest.fixture
def without_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the fits would not count."""
    monkeypatch.setattr("bench.measure.measurement._SHORT_FIT", 0.0)


def test_on_linux_everything_is_watched(loose: Case) -> None:
    assert watched(os.getpid()) == "all"
    executors = "memory, threads and CPU time of the cluster's executors"
    assert watched(os.getpid(), elsewhere=True) == f"all but {executors}"
    assert measure(loose, "numpy-als", rounds=1, cold=False)["environment"]["watched"] == "all"


@pytest.mark.load
@pytest.mark.process
@SYSTEMS
def test_a_match(loose: Case, tmp_path: Path, system: System, psutil: bool, seen: str) -> None:
    with pretending(system, tmp_path, psutil):
        record = measure(loose, "numpy-als")
    assert (record["status"], record["reason"]) == ("matched", "")
    assert record["environment"]["watched"] == seen
    memory = record["memory"]
    assert memory is not None
    assert memory["running_threads"] is None
    assert (memory["peak_mb"] is None) == (system == "Windows" and not psutil)
    others = [one["others_seconds"] for one in record["rounds"]]
    assert (None in others) == (not psutil)


@pytest.mark.load
@pytest.mark.process
@WITH_PSUTIL
def test_too_much_memory_ends_a_worker(loose: Case, tmp_path: Path, system: System) -> None:
    with pretending(system, tmp_path):
        record = measure(loose, "growsforever", Limits(timeout=60, memory_mb=600))
    assert record["status"] == "out of memory"
    assert record["reason"].endswith("MB resident, 600 MB allowed)")


@pytest.mark.load
@pytest.mark.process
def test_memory_of_child_processes_is_seen(loose: Case, tmp_path: Path) -> None:
    with pretending("Windows", tmp_path):  # where no other peak is known
        memory = measure(loose, "growselsewhere", rounds=1, cold=False)["memory"]
    assert memory is not None
    assert memory["peak_mb"] is not None
    assert memory["peak_mb"] > 340  # 300 of these are the child's


@pytest.mark.load
@pytest.mark.process
@SYSTEMS
def test_a_hung_backend_is_ended(
    loose: Case,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: System,
    psutil: bool,
    seen: str,
) -> None:
    monkeypatch.setenv("PLANTED_CACHE", str(tmp_path))
    hurry(monkeypatch, "calibrate", 2)
    if not psutil:  # the child holds the worker's pipe, which need not be waited for
        monkeypatch.setattr("bench.measure.worker_process._PATIENCE", 0.1)
    with pretending(system, tmp_path, psutil):
        record = measure(loose, "hangsbeside", Limits(timeout=60))
    assert record["status"] == "timed out"
    worker, child = map(int, (tmp_path / "processes").read_text("utf-8").split())
    assert is_gone(worker)
    try:
        assert is_gone(child) if psutil else is_running(child)
        assert ("child processes" in seen.replace(ENDED, "")) == (not psutil)  # as it says
    finally:
        if not psutil:
            os.kill(child, 9)


@pytest.mark.load
@pytest.mark.process
@WITH_PSUTIL
def test_an_orphan_that_nobody_saw_is_found_by_its_mark(
    loose: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: System
) -> None:
    monkeypatch.setenv("PLANTED_CACHE", str(tmp_path))
    with pretending(system, tmp_path):
        record = measure(loose, "leavesandholds", Limits(timeout=30))
    assert record["status"] == "crashed"
    assert is_gone(int((tmp_path / "child").read_text("utf-8")))


@pytest.mark.load
@pytest.mark.process
@WITH_PSUTIL
def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path, system: System) -> None:
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo; wait"], stdout=subprocess.PIPE, start_new_session=True
    ) as worker:
        assert worker.stdout is not None
        worker.stdout.readline()  # once its child is there
        guard = f"from bench.machine.ending import guard; guard({worker.pid}, 'x=y')"
        script = f"import time; {guard}; print(flush=True); time.sleep(60)"
        with (
            pretending(system, tmp_path),
            subprocess.Popen(
                [sys.executable, "-c", script],
                env=os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])},
                stdout=subprocess.PIPE,
            ) as parent,
        ):
            assert parent.stdout is not None
            parent.stdout.readline()
            (child,) = from_psutil.family(worker.pid)[1:]
            os.kill(parent.pid, 9)
            assert worker.wait(timeout=60) < 0
        assert is_gone(child)


@pytest.mark.process
def test_how_processes_are_started(tmp_path: Path) -> None:
    assert apart() == {"start_new_session": True}
    with pretending("Windows", tmp_path), pytest.MonkeyPatch.context() as patch:
        assert apart() == {"creationflags": 0}
        patch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
        assert apart() == {"creationflags": 0x200}
    for system in ("macOS", "Windows"):  # no shell finds a mark there
        with pretending(system, tmp_path), guard(os.getpid(), "x=y") as one:
            assert one.args[0] == sys.executable  # type: ignore[index]
            one.kill()


@pytest.mark.process
def test_a_worker_that_is_gone_is_noticed_when_it_is_asked(tmp_path: Path) -> None:
    """Windows says that the argument is invalid, others that the pipe is broken."""

    class Gone(io.RawIOBase):
        def write(self, data: Any) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

        def close(self) -> None:
            raise OSError(errno.EINVAL, "Invalid argument")

    with WorkerProcess(1, tmp_path / "stderr.txt") as worker:
        worker.requests.close()
        worker.requests = Gone()  # type: ignore[assignment]
        with pytest.raises(Ended) as caught:
            worker.ask(Warm(seed=0), 60, lambda text: None)
    assert caught.value.status == "crashed"


# ---- psutil beside /proc ------------------------------------------------------------------------


@pytest.mark.load
@pytest.mark.process
def test_psutil_sees_what_proc_shows() -> None:
    # Of this test alone: others may run it at the same time.
    mark = f"FACTORBENCH_TEST={uuid.uuid4().hex}"
    # The grandchild itself says that it runs. When Popen returns, its program may still be being
    # loaded, and until the system has set up its environment, that reads as empty.
    code = """
import subprocess
child = subprocess.Popen(["sh", "-c", "echo; read nothing"], stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
input()
"""
    began = time.time()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | dict([mark.split("=")]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as one:
        assert one.stdout is not None
        one.stdout.readline()
        started = time.time()
        for read in ("family", "marked"):
            what: Any = {"family": one.pid, "marked": mark}[read]
            found = sorted(getattr(from_psutil, read)(what))
            assert found == sorted(getattr(from_proc, read)(what)), read
            assert len(found) == 2, read
        for is_descendant in (True, False):
            by_proc = from_proc.look(one.pid, is_descendant)
            by_psutil = from_psutil.look(one.pid, is_descendant)
            assert by_proc is not None
            assert by_psutil is not None
            assert by_psutil.resident_mb == pytest.approx(by_proc.resident_mb, abs=0.5)
            assert (by_psutil.threads, by_psutil.running) == (by_proc.threads, None)
        assert from_psutil.cpu_seconds_of(one.pid) == pytest.approx(
            from_proc.cpu_seconds_of(one.pid), abs=0.05
        )
        start = from_psutil.start_of(one.pid)
        assert start is not None and began - 2 <= start <= started + 2  # the clocks are coarse
        os.killpg(one.pid, 9)
    assert from_psutil.family(one.pid) == []
    assert from_psutil.look(one.pid, False) is None
    assert from_psutil.start_of(one.pid) is None
    assert from_psutil.cpu_seconds_of(one.pid) == 0
    # However long the machine is busy with others in between.
    before, times, after = from_proc.cpu_times(), from_psutil.cpu_times(), from_proc.cpu_times()
    assert before is not None and times is not None and after is not None
    assert before.busy - 0.1 <= times.busy <= after.busy + 0.1
    assert before.stolen - 0.1 <= times.stolen <= after.stolen + 0.1


@pytest.mark.load
@pytest.mark.process
@WITH_PSUTIL
def test_cpu_time_of_living_child_processes_counts(tmp_path: Path, system: System) -> None:
    busy = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True); input()"
    with pretending(system, tmp_path):
        before = cpu_seconds()
        with subprocess.Popen(
            [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            assert 0.35 < cpu_seconds() - before < 2
            child.communicate(b"\n")


def test_what_psutil_is_refused_is_not_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psutil: Any = pytest.importorskip("psutil")

    def refuse(*_: Any, **__: Any) -> None:
        raise psutil.AccessDenied

    with pretending("macOS", tmp_path):
        monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
        assert watched(os.getpid()) == f"all but {AT_ONCE}"
        assert from_psutil.look(os.getpid(), True) is not None
        monkeypatch.setattr(psutil.Process, "memory_info", refuse)
        unseen = "memory, the number of threads"
        assert watched(os.getpid()) == f"all but {unseen} and {AT_ONCE}"
        monkeypatch.setattr(psutil, "cpu_times", refuse)
        monkeypatch.setattr(psutil.Process, "children", refuse)
        assert watched(os.getpid()) == f"{NOTHING} and child processes"


def test_not_every_system_counts_what_hypervisors_take(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil: Any = pytest.importorskip("psutil")
    of_windows = SimpleNamespace(user=3.0, system=2.0, idle=99.0, interrupt=0.5, dpc=0.25)
    monkeypatch.setattr(psutil, "cpu_times", lambda: of_windows)
    assert from_psutil.cpu_times() == (5.0, None)


def test_the_machine_is_described(tmp_path: Path) -> None:
    here = machine_facts()
    with pretending("Windows", tmp_path):
        there = machine_facts()
        assert peak_memory_mb() is None  # psutil knows the peak on Windows alone
    assert there["memory_gb"] is not None
    assert there["memory_gb"] == here["memory_gb"]
    assert there["cores"]
    assert there["cpu"]
    assert there["caches"] is None
    with pretending("Windows", tmp_path, psutil=False):
        assert machine_facts()["memory_gb"] is None


def test_one_process_whose_running_threads_are_unknown_makes_all_unknown() -> None:
    known, unknown = ProcessSample(1.0, 1, 1), ProcessSample(1.0, 1, None)
    assert _running_threads([known] * 10) == 1
    more = ProcessSample(1.0, 4, 4)
    assert _running_threads([*[known] * 8, *[more] * 2]) == 1  # for a moment
    assert _running_threads([*[known] * 7, *[more] * 3]) == 4
    assert _running_threads([*[known] * 10, unknown]) is None
