"""A standalone cluster on loopback: a master and workers, each a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyspark

SECONDS = 60  # for a daemon to start


class Cluster(NamedTuple):
    master: str
    workers: list[subprocess.Popen[bytes]]
    folder: Path

    def kill_worker(self, number: int) -> None:
        """Kill a worker and its executors, as when a machine is gone."""
        os.killpg(self.workers[number].pid, signal.SIGKILL)
        self.workers[number].wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextlib.contextmanager
def standalone(folder: Path, n_workers: int = 2, memory: str = "1500m") -> Iterator[Cluster]:
    """Start a cluster whose workers have one core each; end it and all it started."""
    home = Path(pyspark.__file__).parent
    env = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_LOG_DIR": str(folder),
    }
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str, *words: str) -> subprocess.Popen[bytes]:
        with (folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        processes.append(process)
        return process

    port = free_port()
    address = ["--host", "127.0.0.1", "--webui-port", "0"]
    try:
        start("master.Master", *address, "--port", str(port))
        wait_for(folder / "master.Master.log", "I have been elected leader")
        master = f"spark://127.0.0.1:{port}"
        workers = []
        for number in range(n_workers):
            words = (*address, "--cores", "1", "--memory", memory, master)
            workers.append(start("worker.Worker", *words))
            wait_for(folder / "master.Master.log", "Registering worker", number + 1)
        yield Cluster(master, workers, folder)
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(log: Path, words: str, times: int = 1) -> None:
    """Wait until a log contains words."""
    deadline = time.monotonic() + SECONDS
    while log.read_text("utf-8", "replace").count(words) < times:
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"no {words!r} in {log}: {log.read_text('utf-8', 'replace')[-2000:]}"
            )
        time.sleep(0.1)
