"""A real cluster: a master and two workers as processes, one of which is killed during a fit."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, random_ratings

from backends import get_backend

SCRIPT = """
import sys, time
import numpy as np
from helpers import random_ratings
from backends import get_backend
def callback(progress):
    print("epoch", progress.record.epoch, flush=True)
    if progress.record.epoch == 2:
        sys.stdin.readline()  # until a worker is gone
solver = get_backend(
    "spark", master=sys.argv[1], conf={"spark.executor.memory": "600m", "spark.cores.max": "2"},
    rank=5, dtype="float64", damping=3.0, parts=6,
)
solver.fit(random_ratings(), epochs=5, callback=callback)
np.save(sys.argv[2], solver.model_.parameters.user_factors)
executors = solver._session().sparkContext._jsc.sc().statusTracker().getExecutorInfos()
print("executors", len(executors) - 1, flush=True)
"""


TOO_LARGE = """
import sys, warnings
from helpers import random_ratings
from backends import get_backend
from backends.spark import session
session._FIRST_EXECUTOR_WITHIN = 3.0
def said(message, *others, **more):
    print(message, flush=True)
warnings.showwarning = said
conf = {"spark.executor.memory": "40g"}
get_backend("spark", master=sys.argv[1], conf=conf).fit(random_ratings(), epochs=1)
"""


@pytest.mark.slow
@pytest.mark.process
def test_executors_that_do_not_fit_into_any_worker_are_reported(tmp_path: Path) -> None:
    from tests.spark.standalone import standalone

    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "SPARK_LOCAL_IP": "127.0.0.1"}
    with standalone(tmp_path, n_workers=1) as cluster:
        driver = subprocess.Popen(
            [sys.executable, "-c", TOO_LARGE, cluster.master],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert driver.stdout is not None
        watchdog = threading.Timer(90, driver.kill)
        watchdog.start()
        line = driver.stdout.readline()
        driver.kill()
        driver.wait()
        watchdog.cancel()
    assert line.startswith(f"no executor has started in 3 s at {cluster.master}: each needs 40g")


@pytest.mark.slow
@pytest.mark.process
def test_a_worker_that_is_killed_during_a_fit_changes_nothing(tmp_path: Path) -> None:
    from tests.spark.standalone import standalone

    paths = [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "SPARK_LOCAL_IP": "127.0.0.1"}
    with standalone(tmp_path) as cluster:
        driver = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, cluster.master, str(tmp_path / "users.npy")],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(tmp_path / "driver.log").open("wb"),
            text=True,
        )
        assert driver.stdin is not None
        assert driver.stdout is not None
        watchdog = threading.Timer(170, driver.kill)
        watchdog.start()
        words = [driver.stdout.readline().strip() for _ in range(2)]
        assert words == ["epoch 1", "epoch 2"], (tmp_path / "driver.log").read_text()[-3000:]
        cluster.kill_worker(0)
        time.sleep(0.5)  # Spark notices when the connection breaks
        driver.stdin.write("\n")
        driver.stdin.flush()
        rest = driver.stdout.read().split("\n")
        driver.wait()
        watchdog.cancel()
    assert rest[:4] == ["epoch 3", "epoch 4", "epoch 5", "executors 1"], (
        tmp_path / "driver.log"
    ).read_text()[-3000:]
    solver = get_backend("numpy-als", rank=5, dtype="float64", damping=3.0)
    expected = solver.fit(random_ratings(), epochs=5).model_.parameters.user_factors
    assert np.abs(np.load(tmp_path / "users.npy") - expected).max() < 1e-9
