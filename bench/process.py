"""The worker as seen from outside: a process in a group of its own that is asked, waited for, and killed.

What it is asked for is `runner`'s business, what it answers is `worker`'s.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Self, cast

from .records import Status
from .reference import Say


class Ended(Exception):
    """A measurement that cannot go on; carries the status and the reason of its record."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class WorkerProcess:
    """A `bench.worker` in its own process group, with one thread budget for every library."""

    def __init__(self, threads: int, stderr: Path) -> None:
        budget = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads)
        )
        self.stderr = stderr
        with stderr.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # PASSIVE: threads that wait for each other sleep. Where they spin, as is the default, one other busy
                # process makes every parallel loop ten times slower, and the timings say nothing about the solver.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **budget, "PYTHONPATH": _import_path()},
                start_new_session=True,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: IO[str] = self.process.stdin
        self.answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        with contextlib.suppress(BrokenPipeError):
            self.requests.close()

    def ask(self, request: dict[str, Any], timeout: float, say: Say) -> dict[str, Any]:
        """Send a request and return its answer.

        Raises
        ------
        Ended
            When the worker answers with an error, dies, or takes longer than ``timeout`` seconds.
        """
        try:
            self.requests.write(json.dumps(request) + "\n")
            self.requests.flush()
        except BrokenPipeError:
            raise self._death() from None
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise Ended("timed out", f"{request['request']} took longer than {timeout:g} s") from None
            if not line:
                raise self._death()
            answer: dict[str, Any] = json.loads(line)
            if "progress" in answer:
                say(answer["progress"])
            elif "error" in answer:
                raise Ended(answer["error"], answer["reason"])
            else:
                return cast("dict[str, Any]", answer["answer"])

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.answers.put(line)
        self.answers.put("")

    def _death(self) -> Ended:
        code = self.process.wait()
        last = self.stderr.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        status: Status = "out of memory" if code == -signal.SIGKILL else "crashed"
        hint = ", as the system does when memory runs out" if status == "out of memory" else ""
        return Ended(status, f"the worker died by {how}{hint}" + (f": {last[0]}" if last else ""))


def _import_path() -> str:
    """Where this package was imported from, so that the worker imports the same code."""
    here = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([here, inherited] if inherited else [here])
