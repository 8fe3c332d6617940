"""A worker process as the runner sees it: started, asked, watched, and killed with its children.

`WorkerProcess.ask` sends a request of `protocol` and waits for the answer. While it waits it looks
at the process twice a second (more often if asked to), to find out that it has died, uses too much
memory or takes too long. Each of these ends the measurement with an `Ended`, never the run.

A backend may start processes of its own, and these may leave the worker's process group or outlive
it. So the descendants that are seen are remembered, and killed with the worker. If the runner
itself is killed, a guard kills the worker; see `bench.machine.ending`.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import IO, Self, cast

import msgspec

from bench.machine.ending import apart, end_tree, guard
from bench.machine.processes import ProcessSample, memory_limit_mb, sample, start_of, watched
from bench.records import Status
from bench.text.progress import Notify

from .protocol import MOST_TRACE, Answer, Done, Failed, Message, Request, Update, as_line

_DECODER = msgspec.json.Decoder(Message)
# What a worker's interpreter runs. It imports what this process would, from the same places in the
# same order: its own idea of them depends on how it was started.
_MAIN = "from bench.measure.worker import main; main()"
_START = f"import sys; sys.path[:] = sys.argv[1:]; del sys.argv[1:]; {_MAIN}"
# Another interpreter imports only these two packages from where we have them. All others are its
# own: those beside ours may be of another version of Python.
_START_ELSEWHERE = f"""
import importlib.machinery, sys
class Ours:
    folder = sys.argv.pop(1)
    def find_spec(name, path=None, target=None):
        if name in ("backends", "bench"):
            return importlib.machinery.PathFinder.find_spec(name, [Ours.folder])
sys.meta_path.insert(0, Ours)
{_MAIN}
"""
_PACKAGES_FOLDER = str(Path(__file__).parents[2])
_MARK = "FACTORBENCH_WORKER"  # environment variable that identifies a worker
_LONGEST_LINE = 1 << 26  # bytes of an answer; the longest honest ones have some hundred thousand
_PATIENCE = 5.0  # seconds to wait for something that should happen at once
_SIGKILL = 9  # which the module `signal` does not know on Windows, where no exit status is negative
_LOOK_SECONDS = 0.5  # between two looks at a worker whose answer is awaited
# A worker may use this share of the memory there is. Beyond it we end the worker ourselves, before
# the system has to choose a process to kill.
_MEMORY_SHARE = 0.9
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
# How long OpenMP's threads wait for each other before they sleep, in turns of a loop (GNU) or in
# milliseconds (LLVM, Intel). With GNU's own 300,000 turns, a single other busy process makes some
# of torch's loops 30 times slower. If they sleep at once, the same loops take 1.5 times as long on
# an idle machine, and with 10,000 turns 1.1 times. Whoever runs the benchmark may set others.
# Backends take turns: threads of those that wait must not spin.
_WAITING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "0"}
# Where libraries keep compiled kernels between processes. A cold start directs all to one folder.
_CACHE_VARIABLES = (
    "NUMBA_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "CUDA_CACHE_PATH",
)


class Ended(Exception):
    """A measurement that cannot go on, with the status and reason for its record.

    Attributes
    ----------
    status, reason
        For the record.
    seconds
        How long it had trained when it was given up for taking too long, else None.
    details
        A traceback and what the worker printed, for a file beside the record; "" for none.
    """

    def __init__(
        self, status: Status, reason: str, seconds: float | None = None, details: str = ""
    ) -> None:
        super().__init__(reason)
        self.status, self.reason, self.seconds, self.details = status, reason, seconds, details


class WorkerProcess:
    """A `bench.measure.worker` in its own process group; a context manager that kills it at exit.

    Parameters
    ----------
    threads
        Thread budget for every library.
    stderr
        File for what libraries print.
    caches
        Folder for compiled kernels; where libraries usually keep them when None.
    memory_mb
        Resident memory at which the worker is ended; nine tenths of what there is when None.
    interpreter
        The Python that it runs in; this one when None. See `bench.measure.peers`.

    Attributes
    ----------
    samples
        Looks at the process while the last answer was awaited, oldest first.
    """

    def __init__(
        self,
        threads: int,
        stderr: Path,
        caches: Path | None = None,
        memory_mb: float | None = None,
        interpreter: Path | None = None,
    ) -> None:
        available = memory_limit_mb()
        if memory_mb is None and available is not None:
            memory_mb = _MEMORY_SHARE * available
        self.memory_mb = memory_mb
        self.samples: list[ProcessSample] = []
        self.stderr = stderr
        # Whatever the worker starts inherits this mark, unless it clears its environment.
        self._mark = f"{_MARK}={uuid.uuid4().hex}"
        # Every descendant that was seen, with its start time: process ids are reused, and only the
        # two together identify a process.
        self._descendants: dict[int, float | None] = {}
        # In the mode "a", as reading must not move the place where the worker writes. Opened here,
        # it can be read even if the backend deletes the file.
        self._errors = stderr.open("w+b")
        try:
            with stderr.open("ab") as errors:
                self.process = subprocess.Popen(
                    _command(interpreter),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=_worker_environment(threads, caches, self._mark, stderr.parent),
                    **apart(),
                )
        except BaseException as error:
            self._errors.close()
            if isinstance(error, OSError):
                raise Ended("crashed", f"the worker did not start: {error}") from None
            raise
        self._guard = guard(self.process.pid, self._mark)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: IO[bytes] = self.process.stdin
        # A pipe cannot be read with a timeout on every system, but a queue can: a thread reads the
        # pipe and puts every line into the queue, and b"" at its end.
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self.reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end_tree(self.process.pid, self._mark, self._descendants)
        self._guard.kill()
        self._guard.communicate()
        self.process.wait()
        # A process that none of this found may hold the pipe open. The reader then stays behind.
        self.reader.join(timeout=_PATIENCE)
        self._errors.close()
        with contextlib.suppress(OSError):  # the worker cannot read what was not sent yet
            self.requests.close()

    def ask(
        self,
        request: Request[Answer],
        timeout: float,
        notify: Notify,
        every: float = _LOOK_SECONDS,
        silence: float = math.inf,
    ) -> Answer:
        """Send a request and return its answer.

        Parameters
        ----------
        request
            See `protocol`.
        timeout
            Seconds to wait for the answer.
        notify
            Called with the text of each progress message.
        every
            Seconds between two looks at the process.
        silence
            Seconds to wait for a progress message, or the answer.

        Raises
        ------
        Ended
            When the worker reports a failure, sends no valid answer, dies, takes longer than
            ``timeout`` or ``silence``, or uses too much memory.
        """
        try:
            self.requests.write(as_line(request))
            self.requests.flush()
        except OSError:  # BrokenPipeError but on Windows
            raise self._death() from None
        self.samples = []
        sent = last_update = time.monotonic()
        trained = 0.0  # seconds of training, as of `last_update`
        while True:
            line = self._next_line(every, min(sent + timeout, last_update + silence))
            if line is None:
                # The training continued after the last update; as far as we know, all the time.
                seconds = trained + time.monotonic() - last_update
                reason = f"{request.name} took longer than {timeout:g} s"
                if time.monotonic() < sent + timeout:
                    reason = f"{request.name} made no progress for {silence:g} s"
                raise Ended("timed out", reason, seconds)
            try:
                message = _DECODER.decode(line)
                if isinstance(message, Done):
                    answer = msgspec.json.decode(message.answer, type=request.answer)
                    return cast("Answer", answer)
            # Something else was written to the pipe. Bytes that are no UTF-8 are a ValueError.
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                reason = f"the worker's answer to {request.name} is not valid ({error})"
                raise Ended("crashed", reason, details=self._printed()) from None
            if isinstance(message, Failed):
                details = "\n".join(filter(None, (message.trace, self._printed())))
                raise Ended(message.status, message.reason, details=details)
            assert isinstance(message, Update)
            last_update, trained = time.monotonic(), message.seconds
            notify(message.text)

    def watched(self, elsewhere: bool = False) -> str:
        """Return what can be watched of the worker here; see `bench.machine.processes.watched`."""
        return watched(self.process.pid, elsewhere)

    def _next_line(self, every: float, deadline: float) -> bytes | None:
        """Return the next line from the worker, None when there is none until the deadline."""
        while True:
            remaining = deadline - time.monotonic()
            try:
                line = self.answers.get(timeout=min(every, max(0.0, remaining)))
            except queue.Empty:
                # The end of the pipe does not show that the worker is dead: a process that it has
                # started can hold the other end open. So ask the system as well.
                if self.process.poll() is not None and self.answers.empty():
                    raise self._death() from None
                self._look()
                if time.monotonic() >= deadline:
                    return None
                continue
            if not line.endswith(b"\n") and len(line) < _LONGEST_LINE:  # the end of the pipe
                raise self._death()
            return line

    def _look(self) -> None:
        """Take a sample of the process; raise `Ended` if it uses too much memory."""
        seen = sample(self.process.pid)
        if seen is None:
            return
        for pid in seen.children:
            self._descendants[pid] = start_of(pid)
        self.samples.append(seen)
        if self.memory_mb is not None and seen.resident_mb > self.memory_mb:
            used = f"{seen.resident_mb:,.0f} MB resident, {self.memory_mb:,.0f} MB allowed"
            reason = f"the worker was ended for using too much memory ({used})"
            raise Ended("out of memory", reason)

    def _read(self, stream: IO[bytes]) -> None:
        """Move lines from the pipe to the queue; run by the reader thread."""
        with stream:
            while line := stream.readline(_LONGEST_LINE):
                self.answers.put(line)
        self.answers.put(b"")

    def _death(self) -> Ended:
        """Return how a worker that died on its own came to its end."""
        try:
            code = self.process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            return Ended("crashed", "the worker closed its answer pipe", details=self._printed())
        status: Status = "crashed"
        reason = f"the worker ended with exit status {code}"
        if code < 0:  # minus the number of the signal that killed it
            reason = f"the worker was killed by {_signal_name(-code)}"
        if code == -_SIGKILL:
            # We did not kill it, and the system gives no reason when it does. But running out of
            # memory is the only one it usually has.
            status = "out of memory"
            reason += ", as the system does when memory runs out"
        printed = self._printed()
        if printed:
            reason += f": {printed.splitlines()[-1]}"
        return Ended(status, reason, details=printed)

    def _printed(self) -> str:
        """Return the end of what the worker and its libraries printed."""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - MOST_TRACE))
        return self._errors.read().decode("utf-8", errors="replace").strip()


def _command(interpreter: Path | None) -> list[str]:
    """Return the command that starts a worker, in this interpreter if None is given."""
    if interpreter is None:
        return [sys.executable, *_interpreter_flags(), "-c", _START, *sys.path]
    # -I: neither the current folder nor PYTHONPATH, which may be of another version of Python.
    return [str(interpreter), "-I", "-c", _START_ELSEWHERE, _PACKAGES_FOLDER]


def _interpreter_flags() -> list[str]:
    """Return the flags of this interpreter, such as -I or -O, without those about warnings."""
    # What `multiprocessing` uses for the same purpose.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [flag for flag in flags if not flag.startswith("-W")]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"


def _worker_environment(
    threads: int, caches: Path | None, mark: str, temporary: Path
) -> dict[str, str]:
    """Return the environment variables of a worker: ours, with its budget, caches and mark.

    Temporary files, of which a worker that is killed leaves some, go into the run's own folder.
    """
    environment = dict(os.environ)
    if "OMP_WAIT_POLICY" not in environment:
        environment = _WAITING | environment
    environment |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary.absolute()))
    if caches:
        environment |= dict.fromkeys(_CACHE_VARIABLES, str(caches))
    # A warning that a backend's library gives is no fault of the backend.
    environment.pop("PYTHONWARNINGS", None)
    name, _, value = mark.partition("=")
    return environment | {name: value}
