"""A Spark session for a solver, with what Spark needs checked before it is started."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from backends._engine.cores import memory_limit
from backends._engine.interrupt import checkpoint
from backends.errors import BackendUnavailable, ClusterError

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext
    from pyspark.sql import SparkSession

T = TypeVar("T")

JAVA = 17  # the oldest that Spark 4 runs on
OLDEST = (4, 1)  # of pyspark: with `DataFrame.repartitionById`

_ANSWERS_WITHIN = 5.0  # seconds, for a master's port
_LOOK_AROUND = 0.02  # seconds between two looks for a Ctrl-C while a job runs
_BETWEEN_CANCELS = 0.2  # seconds
_EXECUTORS_COME_WITHIN, _BETWEEN_EXECUTORS = 10.0, 1.0  # seconds
_FIRST_EXECUTOR_WITHIN = 30.0  # seconds, after which it is said that none has come
# Settings of SQL: so that ratings are not cut into thousands of partitions on their way.
_OF_A_SESSION = {"spark.sql.execution.arrow.maxRecordsPerBatch": "1000000"}
_LOG_LEVELS = Path(__file__).with_name("log4j2.properties")


@cache
def java_missing() -> str:
    """Return why no Java is found that Spark could run on, and the remedy; "" if one is."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    remedy = f"install a Java {JAVA} runtime, or let JAVA_HOME name the folder of one"
    if java is None:
        return f"Spark needs Java {JAVA} or newer, and there is no java on PATH; {remedy}"
    try:
        ran = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"Spark needs Java {JAVA} or newer, and {java} does not run ({error}); {remedy}"
    # "1.8.0_392" up to Java 8, and "17.0.9" since.
    version = re.search(r'version "(?:1\.)?(\d+)', ran.stderr + ran.stdout)
    if ran.returncode or version is None:
        return f"Spark needs Java {JAVA} or newer, and {java} does not tell its version; {remedy}"
    if int(version[1]) < JAVA:
        return f"Spark needs Java {JAVA} or newer, and {java} is Java {version[1]}; {remedy}"
    return ""


def open_session(master: str, n_threads: int, conf: Mapping[str, str]) -> SparkSession:
    """Return the session that is running, or start one.

    Parameters
    ----------
    master
        "local[*]", "spark://host:port", "yarn" or what else Spark knows. In "local[*]" the star
        stands for ``n_threads``.
    n_threads
        Number of tasks that run at once on a local master.
    conf
        Further settings, such as ``{"spark.executor.memory": "8g"}``.

    Raises
    ------
    BackendUnavailable
        Where no Java can be found, or a standalone master does not answer.
    ValueError
        When a session with another master or other settings is running.
    """
    from pyspark.sql import SparkSession
    from pyspark.sql.utils import is_remote

    missing = spark_version_problem() or java_missing()
    if missing:
        raise BackendUnavailable(missing)
    # Its frames of pandas are not used here, only Arrow.
    known = "PySpark does not yet fully support pandas"
    warnings.filterwarnings("ignore", known, FutureWarning)
    if is_remote():
        raise BackendUnavailable(
            "a Spark Connect session is running, which knows neither broadcasts nor groups of "
            "jobs; stop it, or use a process of its own"
        )
    is_local = _is_local(master)
    asked, master = master, re.sub(r"\[\*", f"[{n_threads}", master)
    running = _running()
    if running is not None:
        _check_running(running, (asked, master), conf)
        # A session of our own on the same Spark: the settings of the user's stay as they are.
        session = running.newSession()
        for name, value in _OF_A_SESSION.items():
            session.conf.set(name, value)
        return session
    _check_answers(master)
    settings = {
        **_OF_A_SESSION,
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{_LOG_LEVELS}",
        "spark.driver.maxResultSize": "0",  # results are as large as the driver's own tables
        "spark.driver.memory": f"{_half_of_memory()}m",  # Spark's default is 1 GB
    }
    if is_local:
        settings |= {
            "spark.ui.enabled": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
        }
    builder = SparkSession.builder.master(master).appName("factorbench")
    for name, value in {**settings, **conf}.items():
        builder = builder.config(name, value)
    with _own_ctrl_c(), _same_python(), _quiet_java() as said:
        try:
            session = builder.getOrCreate()
        except Exception as error:
            said.seek(0)
            words = said.read().decode("utf-8", "replace")
            shown = last_line(words) or last_line(str(error))
            raise BackendUnavailable(
                f"Spark does not start with master {master!r} ({shown}); check master and conf"
            ) from error
    if not is_local:
        _wait_for_executors(session)
    return session


def _is_local(master: str) -> bool:
    return master.partition("[")[0] == "local"


def _running() -> SparkSession | None:
    """Return a session of the Spark that is running in this process, if one is.

    It need not be active in this thread. One that has ended, by itself or with its Java, is cleared
    away.
    """
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    context = SparkContext._active_spark_context
    if context is None or context._jsc is None:
        return None
    try:
        ended = bool(context._jsc.sc().isStopped())
    except Exception:  # its Java is gone: py4j raises one of several errors
        ended = True
        SparkContext._gateway = SparkContext._jvm = None
    if not ended:
        # Without settings this changes nothing; with a bare SparkContext it makes a session.
        return SparkSession.builder.getOrCreate()
    with contextlib.suppress(Exception):
        context.stop()
    context._jsc = None
    SparkContext._active_spark_context = None
    return None


def _wait_for_executors(session: SparkSession) -> None:
    """Wait until an executor is there, and no more of them come for a moment.

    How many tasks can run at once decides into how many parts ratings are cut.
    """
    context = session.sparkContext
    # Some clusters start executors only for a job, and a job waits for them without end.
    late = threading.Timer(_FIRST_EXECUTOR_WITHIN, _say_that_none_came, [context])
    late.daemon = True
    late.start()
    try:
        run_job(session, "waiting for executors", lambda: context.parallelize([0], 1).count())
    finally:
        late.cancel()
    before, until = 0, time.monotonic() + _EXECUTORS_COME_WITHIN
    while n_slots(session) > before and time.monotonic() < until:
        before = n_slots(session)
        time.sleep(_BETWEEN_EXECUTORS)


def _say_that_none_came(context: SparkContext) -> None:
    """Warn that the cluster has not started an executor as yet, and say what may be the reason."""
    asked = {
        name: context.getConf().get(f"spark.executor.{name}", default)
        for name, default in (("memory", "1g"), ("cores", "all of a worker"))
    }
    page = f"; see {context.uiWebUrl}" if context.uiWebUrl else ""
    warnings.warn(
        f"no executor has started in {_FIRST_EXECUTOR_WITHIN:g} s at {context.master}: each needs "
        f"{asked['memory']} of memory and {asked['cores']} of cores, and the cluster may be full, "
        f'or too small; ask for less by conf={{"spark.executor.memory": "2g"}}{page}. Still '
        "waiting; Ctrl-C ends it",
        RuntimeWarning,
        stacklevel=2,
    )


def _check_running(
    running: SparkSession, masters: tuple[str, str], conf: Mapping[str, str]
) -> None:
    """Raise ValueError unless the running session is the one that is asked for."""
    found = running.sparkContext.master
    stop = "or stop it first: SparkSession.active().stop()"
    if found not in masters:
        n_jobs = re.fullmatch(r"local\[(\d+)\]", found)
        same = f"n_jobs={n_jobs[1]}" if n_jobs and _is_local(masters[0]) else f"master={found!r}"
        raise ValueError(
            f"a Spark session with master {found!r} is running, and {masters[1]!r} was asked for; "
            f"give {same}, {stop}"
        )
    for name, value in conf.items():
        has = running.conf.get(name, None)
        if has != value:
            raise ValueError(
                f"the Spark session that is running has {name}={has!r}, and {value!r} was asked "
                f"for; leave it out of conf, {stop}"
            )


def _check_answers(master: str) -> None:
    """Raise BackendUnavailable unless one of a standalone cluster's masters can be connected to.

    Spark itself would keep trying for minutes.
    """
    if not master.startswith("spark://"):
        return
    reasons = []
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN):
                return
        except (OSError, ValueError) as error:
            reasons.append(f"{address}: {error}")
    raise BackendUnavailable(
        f"no Spark master answers at {master} ({'; '.join(reasons)}); check that it runs, and that "
        "host and port are those at the top of its web page"
    )


def _half_of_memory() -> int:
    """Return half of what this process may use, in megabytes; the rest is for Python."""
    return max(1024, (memory_limit() or 2**32) // 2**21)


@contextmanager
def _same_python() -> Iterator[None]:
    """Have executors run the driver's Python, unless PYSPARK_PYTHON names one.

    By default Spark takes what is called python3 there, which need not have this package.
    """
    if "PYSPARK_PYTHON" in os.environ:
        yield
        return
    os.environ["PYSPARK_PYTHON"] = sys.executable
    try:
        yield
    finally:
        del os.environ["PYSPARK_PYTHON"]


@contextmanager
def _quiet_java() -> Iterator[BinaryIO]:
    """Have Java write to a file instead of standard error, where it says hello.

    What goes wrong comes back as an exception, with Java's own words.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        try:
            os.dup2(said.fileno(), 2)
            yield said
        finally:
            os.dup2(before, 2)
            os.close(before)


@contextmanager
def _own_ctrl_c() -> Iterator[None]:
    """Keep what a Ctrl-C does: a new SparkContext would replace it for good."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_job(session: SparkSession, what: str, work: Callable[[], T]) -> T:
    """Call a function that starts a Spark job; a Ctrl-C cancels the job.

    Parameters
    ----------
    session
        The session whose jobs ``work`` starts.
    what
        Shown in Spark's web page, and part of errors.
    work
        Called in a thread of its own, as a call into Spark cannot be interrupted.

    Raises
    ------
    ClusterError
        When the job fails; the message says why, and the remedy.
    """
    from pyspark import InheritableThread

    context, group = session.sparkContext, f"factorbench-{uuid.uuid4().hex}"
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            context.setJobGroup(group, what, interruptOnCancel=True)
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = InheritableThread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LOOK_AROUND)
            checkpoint()
    except BaseException:
        while thread.is_alive():  # only jobs that are running can be cancelled, and more may follow
            with contextlib.suppress(Exception):
                context.cancelJobGroup(group)
            thread.join(_BETWEEN_CANCELS)
        raise
    if errors:
        raise in_words(errors[0], what) from errors[0]
    return results[0]


@contextmanager
def users_session_kept() -> Iterator[None]:
    """Leave a session of the user's the active one of this thread.

    To make a frame of ratings makes the session of ours the active one, whose tables and settings
    are not the user's.
    """
    from pyspark.sql import SparkSession

    running = _running()
    if running is None:
        yield
        return
    # Java has one for each thread, and Python one in all.
    in_java, in_python = running._jvm.SparkSession.getActiveSession(), SparkSession._activeSession
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # Spark was stopped meanwhile
            if in_java.isDefined():
                running._jvm.SparkSession.setActiveSession(in_java.get())
            else:
                running._jvm.SparkSession.clearActiveSession()
        SparkSession._activeSession = in_python


def keep_chains_short(session: SparkSession) -> None:
    """Let MLlib write its factors to a folder now and then, where one is sure to do.

    Each of its iterations adds to the chain of what Spark would compute again for a lost executor,
    and after some fifty of them that is deeper than Java's stack. On a cluster all executors have
    to reach the folder, so the user names it.
    """
    context = session.sparkContext
    if not _is_local(context.master) or context.getCheckpointDir() is not None:
        return
    folder = tempfile.mkdtemp(prefix="factorbench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    context.setCheckpointDir(folder)


@contextmanager
def destroyed(*shared: Broadcast[Any]) -> Iterator[None]:
    """Free broadcasts when the block ends, however it ends."""
    try:
        yield
    finally:
        destroy(*shared)


def destroy(*shared: Broadcast[Any]) -> None:
    """Free broadcasts, on the executors and in the driver's folder of temporary files."""
    for each in shared:
        with contextlib.suppress(Exception):  # Spark has ended
            each.destroy()


_ROOM_FOR_PYTHON = (
    "give more parts, a larger spark.executor.memoryOverhead, which is what Python has there, or "
    "fewer spark.executor.cores, each of which has a Python of its own"
)

# A pattern that the text of an error has, and what it means.
_CAUSES = (
    (
        "No space left on device",
        "a disk is full; let spark.local.dir name a folder with room, on the driver and on every "
        "executor",
    ),
    (
        "Cannot run program",
        "the executors cannot start their Python: {last}; let PYSPARK_PYTHON name one that is on "
        "every machine",
    ),
    (
        "ModuleNotFoundError",
        "the executors' Python lacks a package: {last}; install factorbench[spark] there, and let "
        "PYSPARK_PYTHON name that Python",
    ),
    (
        "PYTHON_VERSION_MISMATCH",
        "the executors run another version of Python: {last}; let PYSPARK_PYTHON name one of the "
        "driver's version on every machine",
    ),
    (
        "StackOverflowError",
        'the chain of iterations became too long; let conf={{"spark.checkpoint.dir": ...}} name a '
        "folder that all executors can write to, or give fewer epochs",
    ),
    (
        "OutOfMemory|OutOfDirectMemory",
        "Java had too little memory; give "
        'conf={{"spark.executor.memory": "8g"}}, or "spark.driver.memory" if it was the driver\'s, '
        "as on a local master, or more parts",
    ),
    (
        r"(?m)^\s*(?:\w+\.)*(?:_Array)?MemoryError\b",
        f"an executor's Python had too little memory; {_ROOM_FOR_PYTHON}",
    ),
    (
        "ExecutorLostFailure",
        "executors were lost again and again ({last}); if they were killed for memory, "
        f"{_ROOM_FOR_PYTHON}",
    ),
    (
        "Python worker exited unexpectedly",
        "an executor's Python was ended from outside; if it was killed for memory, "
        f"{_ROOM_FOR_PYTHON}",
    ),
    (
        "SparkContext was shut down",
        "the Spark session was stopped during the job, or the master has ended it; fit again",
    ),
    (
        "maxResultSize",
        "the rows of a side are more than the driver accepts; give "
        'conf={{"spark.driver.maxResultSize": "0"}}',
    ),
)


def in_words(error: BaseException, what: str) -> BaseException:
    """Return the error to raise for one of Spark's; others stay as they are."""
    if not type(error).__module__.startswith(("pyspark", "py4j")):
        return error
    text = str(error)
    last = last_line(text)
    for sign, meaning in _CAUSES:
        if re.search(sign, text):
            return ClusterError(f"Spark gave up while {what}: {meaning.format(last=last)}")
    return ClusterError(f"Spark gave up while {what}: {last}")


def last_line(text: str) -> str:
    """Return the line of a text that most likely says what happened."""
    lines = [line.strip().removeprefix("Caused by: ").lstrip(": ") for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("at ", "... "))]
    # The last line of a Python traceback names its exception, and so does the first of Java's.
    named = [line for line in lines if re.match(r"[\w.$]*(Error|Exception)\b", line)]
    reason = [line for line in lines if "Reason:" in line or "Job aborted" in line]
    chosen: str = (named or reason or lines or [""])[0]
    # Of a task that was lost, what the cluster says of it: all before is of the job.
    return chosen.rpartition("Reason: ")[2].strip(".")[:300]


def n_slots(session: SparkSession) -> int:
    """Return how many tasks can run at once, at least 1."""
    return max(1, int(session.sparkContext.defaultParallelism))


def spark_version_problem() -> str:
    """Return why the installed pyspark is too old, and the remedy; "" if it is not."""
    import pyspark

    version = tuple(int(number) for number in re.findall(r"\d+", pyspark.__version__)[:2])
    if version < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return (
            f"pyspark {pyspark.__version__} is installed, and {wanted} or newer is needed; "
            "run: pip install --upgrade 'factorbench[spark]'"
        )
    return ""
