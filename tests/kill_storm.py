"""``python tests/kill_storm.py``: kill a run at random moments, resume it each time, let it end.

Except for times, its records must equal those of an undisturbed run, and no process may be left
behind. Twenty kills take some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from helpers import ROOT, without_torch

# Fields of a record that come from a clock, the machine or the process, and differ between runs.
_TIMINGS = {"created", "run", "cold", "memory", "load_average", "key", "git"}
_COMMAND = [sys.executable, "-m", "bench", "-q", "-k", "mse", "--scale", "0.01", "--rank", "4"]
_COMMAND += ["--reg", "0.14", "--damping", "30", "--seeds", "2", "--rounds", "1"]
_COMMAND += ["--threads", "1"]
BACKENDS = ("numpy-als", "numpy")
_CONTINUED = re.compile("reusing the record|going on, [12] of 2 seeds")
_PATIENCE = 300.0  # seconds to wait for something that must happen

# Returns when a run is to be killed, given its folder and its cache.
Moment = Callable[[Path, Path], None]


def main() -> None:
    """Raise a storm of random kills."""
    parser = argparse.ArgumentParser(prog="python tests/kill_storm.py", description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backends", nargs="+", default=[*BACKENDS, "numba-gd"])
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        left_alone(folder, options.backends)
        took, late = time.monotonic() - began, 0

        def random_moment(place: Path, cache: Path) -> None:
            nonlocal late
            time.sleep(draw.uniform(0.1, 1.0) * took)
            late += bool(stored(place))

        kept = storm(folder, [random_moment] * options.kills, options.backends)
    print(
        f"killed {options.kills} times, {late} of them with a record there; {kept} records were "
        "continued or reused, all as if nothing had happened"
    )


def left_alone(folder: Path, backends: Sequence[str] = BACKENDS) -> dict[str, Any]:
    """Return the records of a run that nobody kills, by file name, without timings; made once."""
    whole = folder / "whole"
    if not whole.exists():
        whole.mkdir()
        end(start(whole, folder / "cache", backends))
    return records_of(whole)


def storm(folder: Path, moments: Sequence[Moment], backends: Sequence[str] = BACKENDS) -> int:
    """Kill a run at each of some moments, and go on with it; return how many records were kept.

    A run that ends before it is killed is followed by a new one. All end with the same records.
    """
    cache, kept, killed = folder / "cache", 0, list(moments)
    whole = left_alone(folder, backends)
    attempt = 0
    while killed:
        attempt += 1
        place = folder / str(attempt)
        place.mkdir()
        while killed and not is_through(place):
            process = start(place, cache, backends)
            killed.pop(0)(place, cache)
            os.kill(process.pid, signal.SIGKILL)  # if it has ended, it still waits to be collected
            kept += len(_CONTINUED.findall(process.communicate()[0]))
        until(lambda: not workers_of(cache))
        if not is_through(place):
            left = len(stored(place))
            again = len(_CONTINUED.findall(end(start(place, cache, backends))))
            # A seed counts once all backends are through with it.
            kept_now = left if left == len(backends) else 0
            assert again == kept_now, f"{again} of {left} records were kept"
            kept += again
        assert (found := records_of(place)) == whole, list(differences(found, whole))[:5]
    return kept


def start(folder: Path, cache: Path, backends: Sequence[str]) -> subprocess.Popen[str]:
    """Start a run in a folder."""
    paths = os.pathsep.join([str(ROOT), without_torch(folder)])
    env = os.environ | {"PYTHONPATH": paths, "FACTORBENCH_CACHE": str(cache)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    named = [word for name in backends for word in ("--backend", name)]
    return subprocess.Popen(
        [*_COMMAND, *named], cwd=folder, env=env, start_new_session=True, **pipes
    )


def end(process: subprocess.Popen[str]) -> str:
    """Let a run end, and return what it said."""
    output, _ = process.communicate(timeout=5 * _PATIENCE)
    assert process.returncode == 0, output
    return output


def stored(folder: Path) -> list[Path]:
    """Return the files of the records that there are in a run's folder."""
    return sorted(folder.glob("reports/runs/*/*.json"))


def is_through(folder: Path) -> bool:
    """Tell whether a run says that nothing is missing."""
    return any(json.loads(path.read_bytes())["done"] for path in folder.rglob("run.state"))


def records_of(folder: Path) -> dict[str, Any]:
    """Return the records of the one run in a folder by file name, without timings."""
    (run,) = (folder / "reports" / "runs").iterdir()
    assert not (run / "work").exists()
    found = {path.name: json.loads(path.read_text("utf-8")) for path in stored(folder)}
    return {name: without_timings(record) for name, record in found.items()}


def without_timings(value: Any) -> Any:
    """Return a record without what differs from run to run."""
    if isinstance(value, dict):
        return {
            name: without_timings(inner)
            for name, inner in value.items()
            if name not in _TIMINGS and not name.endswith("seconds")
        }
    return [without_timings(inner) for inner in value] if isinstance(value, list) else value


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Yield where two nested values differ, and in what."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from differences(one[name], other[name], f"{place}.{name}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{place}[{index}]")
    elif one != other:
        yield f"{place}: {one!r} and {other!r}"


def workers_of(cache: Path) -> list[str]:
    """Return the command lines of a run's workers, which have its cache in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environment = (process / "environ").read_bytes()
            state = (process / "stat").read_text("utf-8").rpartition(")")[2].split()[0]
            if str(cache).encode() in environment and state != "Z":
                found.append((process / "cmdline").read_text("utf-8"))
    return found


def until(happened: Callable[[], object]) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + _PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


if __name__ == "__main__":
    main()
