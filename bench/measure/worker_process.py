"""The worker as seen from outside: a process in a group of its own that is asked, waited for, and killed.

What it can be asked for is in `protocol`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Self, cast

import msgspec

from bench.machine.processes import ProcessSample, family, memory_limit_mb, sample, start_of
from bench.records import Status
from bench.text.progress import Say

from .protocol import Answer, Done, Failed, Message, Request, as_line

_MESSAGES = msgspec.json.Decoder(Message)
_LOOK = 0.5  # seconds between two looks at the memory of a worker that is waited for
_MEMORY_SHARE = 0.9  # of what there is; a worker that takes more is ended before the system has to choose whom to kill
# Where compiled kernels are kept between processes; all of them go to one folder for a cold start.
_CACHES = ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH")


class Ended(Exception):
    """A measurement that cannot go on; carries the status and the reason of its record.

    ``seconds`` of training had passed when it was given up for taking too long.
    """

    def __init__(self, status: Status, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.seconds = status, reason, seconds


class WorkerProcess:
    """A `bench.measure.worker` in its own process group, with one thread budget for every library.

    Parameters
    ----------
    stderr
        Where to write what libraries print.
    caches
        A folder to keep compiled kernels in, instead of where they usually are.
    memory_mb
        Resident memory at which the worker is ended; nine tenths of what there is when None.
    """

    def __init__(self, threads: int, stderr: Path, caches: Path | None = None, memory_mb: float | None = None) -> None:
        budget = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)
        )
        places = dict.fromkeys(_CACHES, str(caches)) if caches else {}
        known = memory_limit_mb()
        self.memory_mb = memory_mb or (known and known * _MEMORY_SHARE)
        self._children: dict[int, int | None] = {}
        self.samples: list[ProcessSample] = []  # taken while the last answer was waited for
        self.stderr = stderr
        with stderr.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.measure.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # PASSIVE: threads that wait for each other sleep. Where they spin, as is the default, one other busy
                # process makes every parallel loop ten times slower, and the timings say nothing about the solver.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **budget, **places, "PYTHONPATH": _import_path()},
                start_new_session=True,
            )
        self._guard = _guard(self.process.pid)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: IO[bytes] = self.process.stdin
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._meet(family(self.process.pid)[1:])
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pid, started in self._children.items():  # some may have left its group, or outlived it
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if start_of(pid) == started:  # and not another one of that number
                    os.kill(pid, signal.SIGKILL)
        if self._guard:
            self._guard.kill()
            self._guard.communicate()
        self.process.wait()
        self.reader.join()
        with contextlib.suppress(BrokenPipeError):
            self.requests.close()

    def ask(self, request: Request[Answer], timeout: float, say: Say, every: float = _LOOK) -> Answer:
        """Send a request and return its answer, looking at the process ``every`` so many seconds.

        Raises
        ------
        Ended
            When the worker reports a failure, sends no valid answer, dies, takes longer than ``timeout`` seconds or
            uses too much memory.
        """
        try:
            self.requests.write(as_line(request))
            self.requests.flush()
        except BrokenPipeError:
            raise self._death() from None
        self.samples = []
        heard, trained = time.monotonic(), 0.0  # when the worker last told how long it had trained
        deadline = heard + timeout
        while True:
            try:
                line = self.answers.get(timeout=min(every, max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                # What it has started may hold its end of the pipe, which then tells nothing.
                if self.process.poll() is not None and self.answers.empty():
                    raise self._death() from None
                self._look()
                now = time.monotonic()
                if now < deadline:
                    continue
                reason = f"{request.name} took longer than {timeout:g} s"
                raise Ended("timed out", reason, trained + now - heard) from None
            if not line:
                raise self._death()
            try:
                message = _MESSAGES.decode(line)
                if isinstance(message, Done):
                    return cast("Answer", msgspec.json.decode(message.answer, type=request.answer))
            except msgspec.DecodeError as error:
                raise Ended("crashed", f"the worker answered {request.name} by what is no answer ({error})") from None
            if isinstance(message, Failed):
                raise Ended(message.status, message.reason)
            heard, trained = time.monotonic(), message.seconds
            say(message.text)

    def _meet(self, children: Iterable[int]) -> None:
        """Note which processes the worker has started, to end them when it has left them alone."""
        self._children |= {pid: start_of(pid) for pid in children}

    def _look(self) -> None:
        seen = sample(self.process.pid)
        if seen is None:
            return
        self._meet(seen.children)
        self.samples.append(seen)
        if self.memory_mb is not None and seen.resident_mb > self.memory_mb:
            taken = f"{seen.resident_mb:,.0f} MB resident, {self.memory_mb:,.0f} MB allowed"
            raise Ended("out of memory", f"the worker was ended for taking too much memory ({taken})")

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self.answers.put(line)
        self.answers.put(b"")

    def _death(self) -> Ended:
        code = self.process.wait()
        last = self.stderr.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        status: Status = "out of memory" if code == -signal.SIGKILL else "crashed"
        hint = ", as the system does when memory runs out" if status == "out of memory" else ""
        return Ended(status, f"the worker died by {how}{hint}" + (f": {last[0]}" if last else ""))


def _guard(group: int) -> subprocess.Popen[bytes] | None:
    """Start what ends a process group when this process is gone, however it went: the pipe between them then breaks.

    The worker sees to itself; this is for what it has started. None where there are no process groups.
    """
    if os.name != "posix":
        return None
    wait = ["sh", "-c", 'read nothing; kill -s KILL -- "-$0"', str(group)]
    nothing = subprocess.DEVNULL
    return subprocess.Popen(wait, stdin=subprocess.PIPE, stdout=nothing, stderr=nothing, start_new_session=True)


def _import_path() -> str:
    """Where this package was imported from, so that the worker imports the same code."""
    here = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([here, inherited] if inherited else [here])
