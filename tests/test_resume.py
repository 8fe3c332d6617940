"""A run that is killed loses the case in flight, and nothing else; nothing is kept after what it depends on changed."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT

from bench.records import read_record, record_path, write_record
from bench.resume import open_run, result_key
from tests.fake_records import fake_record

KEY = {name: name for name in ("code", "data", "machine", "settings", "versions")}
# What a clock, a look at the machine or a process that differs from run to run puts into a record.
TIMINGS = {"created", "run", "cold", "memory", "load_average", "key", "git"}
KILLS = int(os.environ.get("FACTORBENCH_KILLS", "6"))  # twenty take three minutes
COMMAND = [sys.executable, "-m", "bench", "-q", "-k", "mse", "--scale", "0.01", "--rank", "4", "--reg", "0.14"]
COMMAND += ["--seeds", "1", "--rounds", "1", "--threads", "1"]
COMMAND += [word for name in ("numpy-als", "numpy") for word in ("--backend", name)]


def start(folder: Path, cache: Path) -> "subprocess.Popen[str]":
    env = os.environ | {"PYTHONPATH": str(ROOT), "FACTORBENCH_CACHE": str(cache)}
    return subprocess.Popen(
        COMMAND,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finished(folder: Path, cache: Path, done: bool = False) -> dict[str, Any]:
    """Run to the end, unless that is done, and return the run's records by file name, without timings."""
    if not done:
        process = start(folder, cache)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    (run,) = (folder / "reports" / "runs").iterdir()
    assert not (run / "work").exists()
    return {path.name: without_timings(json.loads(path.read_text("utf-8"))) for path in sorted(run.glob("*.json"))}


def without_timings(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: without_timings(inner)
            for name, inner in value.items()
            if name not in TIMINGS and not name.endswith("seconds")
        }
    return [without_timings(inner) for inner in value] if isinstance(value, list) else value


def workers_of(folder: Path) -> list[str]:
    """Processes of a run: workers have the run's folder in their requests, but its cache in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes()
            state = (process / "stat").read_text("utf-8").rpartition(")")[2].split()[0]
            if str(folder).encode() in environment and state != "Z":
                found.append((process / "cmdline").read_text("utf-8"))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc for workers that stayed behind")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (tmp_path / "whole").mkdir()
    began = time.monotonic()
    whole = finished(tmp_path / "whole", cache)
    took = time.monotonic() - began
    assert {len(one["rounds"]) for one in whole.values()} == {1}
    moments, kept, kills, attempt = random.Random(3), 0, 0, 0
    while kills < KILLS:
        attempt += 1
        folder = tmp_path / str(attempt)
        folder.mkdir()
        while kills < KILLS:  # the same run again and again, until it gets through
            process = start(folder, cache)
            time.sleep(moments.uniform(0.1, 1.0) * took)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            kept += process.communicate()[0].count("kept, as measured")
            through = '"done": true' in "".join(one.read_text("utf-8") for one in folder.rglob("run.state"))
            if through:
                break
        time.sleep(0.2)
        assert workers_of(cache) == []
        assert finished(folder, cache, done=through) == whole
    assert kept > 0


def test_a_run_that_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    first = open_run("c", tmp_path)
    assert not first.continued
    first.close()
    other = open_run("d", tmp_path)
    assert other.path != first.path
    again = open_run("c", tmp_path)
    assert again.continued
    assert again.path == first.path
    assert list(again.work.iterdir()) == []
    again.mark_done()
    again.close()
    new = open_run("c", tmp_path)
    assert not new.continued
    assert new.path not in (first.path, other.path)
    beside = open_run("c", tmp_path)  # the first still runs
    assert beside.path != new.path
    for one in (other, new, beside):
        one.close()


@pytest.mark.parametrize("state", ["", "{", "[]", '{"done": 0}'])
def test_a_damaged_state_is_no_run_to_go_on_with(tmp_path: Path, state: str) -> None:
    run = open_run("c", tmp_path)
    run.close()
    (run.path / "run.state").write_text(state, "utf-8")
    new = open_run("c", tmp_path)
    assert not new.continued
    new.close()


def test_records_are_kept_only_where_their_key_is_what_it_would_be_now(tmp_path: Path) -> None:
    run, said = open_run("c", tmp_path), list[str]()
    record = fake_record("numpy")
    ask = ("time to MSE", record["case"]["name"], record["backend"])
    assert run.kept(*ask, KEY, said.append) is None
    assert said == []
    write_record(run.path, record)
    assert run.kept(*ask, KEY, said.append) == record
    assert said == ["kept, as measured before the run was cut off"]
    for name in KEY:
        said.clear()
        assert run.kept(*ask, KEY | {name: "new"}, said.append) is None
        assert said == [f"measured again, as another run left a record and {name} changed since"]
    record_path(run.path, *ask).write_text("{", "utf-8")
    assert run.kept(*ask, KEY, said.append) is None
    assert "is not a record" in said[-1]
    run.close()


def test_the_key_says_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    record = fake_record("numpy")
    case, backend = record["case"], record["backend"]
    key = result_key(case, backend, {"rounds": 5})
    assert result_key(case, backend, {"rounds": 5}) == key

    def changed(new: dict[str, str]) -> list[str]:
        return [name for name in key if key[name] != new[name]]

    assert changed(result_key(case, backend, {"rounds": 6})) == ["settings"]
    assert changed(result_key({**case, "data_hash": "other"}, backend, {"rounds": 5})) == ["data", "settings"]
    assert changed(result_key(case, {**backend, "threads": 7}, {"rounds": 5})) == ["settings"]
    monkeypatch.setattr("bench.resume._code_hash", lambda: "edited")
    assert changed(result_key(case, backend, {"rounds": 5})) == ["code"]
    monkeypatch.undo()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    assert changed(result_key(case, backend, {"rounds": 5})) == ["machine"]
    monkeypatch.undo()
    monkeypatch.setattr("bench.environment._version", lambda package: "0.0")
    assert changed(result_key(case, backend, {"rounds": 5})) == ["versions"]


def test_a_record_says_what_it_depends_on(tmp_path: Path) -> None:
    path = write_record(tmp_path, fake_record("numpy"))
    assert set(read_record(path)["key"]) == set(KEY)
