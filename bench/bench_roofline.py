"""What an epoch costs beside the machine's limits, for every backend whose work has been counted (`roofline`).

One test measures one backend over ranks and numbers of threads and writes its record. The machine's limits are measured
once, in the same run and in a worker of their own. pytest-benchmark is shown the epoch at the first rank on all
threads, by the worker's clock.
"""

from __future__ import annotations

import datetime
import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .case_file import write_case
from .cases import Case
from .clock import ReportedClock
from .environment import machine_facts
from .process import Ended, WorkerProcess
from .records import SCHEMA, EpochCost, Failure, MachineLimits, RooflineRecord, write_record
from .reference import Say
from .resume import RunFolder, result_key
from .roofline import WORK_MODELS, epoch_cost
from .runner import Limits, backend_facts

_clock = ReportedClock()


@dataclass(frozen=True)
class Machine:
    """The machine's limits, and the bytes of its last-level cache; ``failure`` says why there are none."""

    limits: list[MachineLimits]
    cache: float
    failure: Ended | None = None


@pytest.fixture(scope="session")
def machine(run_options: dict[str, Any], roofline_options: dict[str, Any], say: Callable[[str], None]) -> Machine:
    """Measure the machine's limits."""
    if importlib.util.find_spec("numba") is None:
        pytest.skip("the machine's limits are measured by numba kernels; run: pip install 'factorbench[numba]'")
    say("roofline: measuring the machine's limits")
    return measure_machine(roofline_options["ranks"], roofline_options["threads"], run_options["limits"])


@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")  # by what ends before it is timed
@pytest.mark.benchmark(timer=_clock)
def test_roofline(
    benchmark: BenchmarkFixture,
    request: pytest.FixtureRequest,
    case: Case,
    roofline_backend: str,
    backend_rows: dict[str, dict[str, Any]],
    run_options: dict[str, Any],
    roofline_options: dict[str, Any],
    run_folder: RunFolder,
    say: Callable[[str], None],
) -> None:
    """The cost of an epoch is measured at every rank and number of threads; anything else fails, with its reason."""

    def tell(text: str) -> None:
        say(f"{roofline_backend}: {text}")

    row = backend_rows[roofline_backend]
    facts = backend_facts(row, "float32", max(roofline_options["threads"]))
    key = result_key(case.facts, facts, {"roofline": roofline_options})
    kept = run_folder.kept("roofline", case.facts["name"], facts, key, tell)
    record = cast("RooflineRecord", kept) if kept else None
    if record is None:
        machine = request.getfixturevalue("machine")
        record = measure_epochs(case, row, machine, key=key, **run_options | roofline_options, say=tell)
        write_record(run_folder.path, record)
    benchmark.extra_info["record"] = record
    if record["status"] == "unavailable":
        pytest.skip(record["reason"])
    assert record["status"] == "measured", record["reason"]
    shown = max((one for one in record["costs"] if one["rank"] == roofline_options["ranks"][0]), key=_threads)
    benchmark.group = f"seconds per epoch (median), rank {shown['rank']}, threads: {shown['threads']}"

    benchmark.pedantic(_clock.advance, args=(shown["seconds"],), rounds=1, iterations=1)


def measure_machine(ranks: list[int], threads: list[int], limits: Limits) -> Machine:
    """Measure the machine's limits in a worker of their own; what goes wrong there is in ``failure``."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="factorbench-") as folder,
            WorkerProcess(max(threads), Path(folder) / "stderr.txt") as worker,
        ):
            request = {"request": "limits", "ranks": ranks, "threads": threads}
            answer = worker.ask(request, limits.timeout, lambda text: None)
            return Machine(answer["limits"], answer["cache"])
    except Ended as end:
        return Machine([], 0.0, Ended(end.status, f"the machine's limits were not measured: {end.reason}"))


def measure_epochs(
    case: Case,
    backend: dict[str, Any],
    machine: Machine,
    *,
    run: str,
    command: str,
    folder: Path,
    key: dict[str, str],
    ranks: list[int],
    threads: list[int],
    max_seconds: float,
    limits: Limits,
    say: Say = lambda text: None,
) -> RooflineRecord:
    """Measure what an epoch of a backend costs, and return the record, whatever has happened.

    Parameters
    ----------
    backend
        Its row of `backends.list_backends`, with ``name``.
    max_seconds
        Of epochs at one rank and number of threads.
    """
    model = WORK_MODELS[backend["same_as"] or backend["name"]]
    facts = backend_facts(backend, "float32", max(threads))
    costs: list[EpochCost] = []
    record = RooflineRecord(
        schema=SCHEMA,
        kind="roofline",
        run=run,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        command=command,
        key=key,
        status="measured",
        reason="",
        backend=facts,
        case=case.facts,
        work_model=model.name,
        assumptions=list(model.assumptions),
        cache_mb=machine.cache / 2**20,
        limits=machine.limits,
        costs=costs,
        environment=machine_facts(),
    )
    try:
        if not backend["available"]:
            raise Ended("unavailable", str(backend["reason"]))
        if machine.failure:
            raise machine.failure
        path = write_case(folder, case)
        with WorkerProcess(max(threads), folder / "stderr.txt", memory_mb=limits.memory_mb) as worker:
            ask = partial(_ask, worker, limits.timeout, say)
            say("starting")
            params = asdict(case.objective) | {"dtype": facts["dtype"]}
            opened = ask("open", path=str(path), backend=facts["name"], params=params)
            warmed = ask("warm", seed=case.facts["seed"])
            record["environment"] |= {**warmed.pop("environment"), **opened, **warmed}
            for rank, of_threads in product(ranks, machine.limits):
                count = of_threads["threads"]
                say(f"epochs at rank {rank}, threads: {count}")
                answer = ask("epochs", rank=rank, threads=count, seed=case.facts["seed"], max_seconds=max_seconds)
                if answer["status"] == "diverged":
                    raise Ended("diverged", f"its loss exploded at rank {rank}")
                costs.append(epoch_cost(model, case.facts, machine.cache, of_threads, rank=rank, **answer["cost"]))
    except Ended as end:
        record["status"], record["reason"] = cast("Failure", end.status), end.reason
    return record


def _ask(worker: WorkerProcess, timeout: float, say: Say, request: str, **arguments: Any) -> dict[str, Any]:
    return worker.ask({"request": request, **arguments}, timeout, say)


def _threads(cost: EpochCost) -> int:
    return cost["threads"]
