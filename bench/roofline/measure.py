"""Measuring what an epoch costs, and the machine's limits beside it; whatever happens, there is a record."""

from __future__ import annotations

import datetime
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, cast

from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.machine.environment import machine_facts
from bench.measure.backend_facts import Limits, backend_facts
from bench.measure.worker_process import Ended, WorkerProcess
from bench.records import SCHEMA, EpochCost, Failure, MachineLimits, RooflineRecord
from bench.text.progress import Say

from .share import epoch_cost
from .work import WORK_MODELS


@dataclass(frozen=True)
class Machine:
    """The machine's limits, and the bytes of its last-level cache; ``failure`` says why there are none."""

    limits: list[MachineLimits]
    cache: float
    failure: Ended | None = None


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
