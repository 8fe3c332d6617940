"""Measuring what an epoch costs, and the machine's limits beside it; whatever happens, there is a record."""

from __future__ import annotations

import datetime
import tempfile
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import cast

from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.machine.environment import environment_of, machine_facts
from bench.measure.backend_facts import Contender, Limits
from bench.measure.measurement import Run
from bench.measure.protocol import Diverged, MeasureEpochs, MeasureMachine, Open, Warm
from bench.measure.worker_process import Ended, WorkerProcess
from bench.records import SCHEMA, EpochCost, Failure, MachineLimits, RooflineRecord
from bench.text.progress import Say

from .share import epoch_cost
from .work import WORK_MODELS


@dataclass(frozen=True)
class RooflineOptions:
    """Ranks and numbers of threads at which an epoch is measured, and for how many seconds at each of them."""

    ranks: list[int]
    threads: list[int]
    max_seconds: float


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
            request = MeasureMachine(ranks=ranks, threads=threads)
            found = worker.ask(request, limits.timeout, lambda text: None)
            return Machine(found.limits, found.cache)
    except Ended as end:
        return Machine([], 0.0, Ended(end.status, f"the machine's limits were not measured: {end.reason}"))


def measure_epochs(
    case: Case,
    contender: Contender,
    machine: Machine,
    run: Run,
    *,
    key: dict[str, str],
    options: RooflineOptions,
    say: Say = lambda text: None,
) -> RooflineRecord:
    """Measure what an epoch of a backend costs, and return the record, whatever has happened."""
    row, timeout = contender.row, run.limits.timeout
    model = WORK_MODELS[row.work]
    costs: list[EpochCost] = []
    record = RooflineRecord(
        schema=SCHEMA,
        kind="roofline",
        run=run.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        command=run.command,
        key=key,
        status="measured",
        reason="",
        backend=contender.facts(),
        case=case.facts,
        work_model=model.name,
        assumptions=list(model.assumptions),
        cache_mb=machine.cache / 2**20,
        limits=machine.limits,
        costs=costs,
        environment=environment_of(machine_facts()),
    )
    seed = case.facts["seed"]
    try:
        if not row.available:
            raise Ended("unavailable", row.reason)
        if machine.failure:
            raise machine.failure
        path = write_case(run.work, case)
        with WorkerProcess(contender.threads, run.work / "stderr.txt", memory_mb=run.limits.memory_mb) as worker:
            say("starting")
            params = asdict(case.objective) | {"dtype": contender.dtype}
            opened = worker.ask(Open(path=str(path), backend=row.name, params=params), timeout, say)
            warmed = worker.ask(Warm(seed=seed), timeout, say)
            facts = record["environment"] = environment_of(machine_facts(), warmed.environment)
            facts["import_seconds"], facts["device"] = opened.import_seconds, opened.device
            facts["compile_seconds"] = warmed.compile_seconds
            for rank, limits in product(options.ranks, machine.limits):
                count = limits["threads"]
                say(f"epochs at rank {rank}, threads: {count}")
                request = MeasureEpochs(rank=rank, threads=count, seed=seed, max_seconds=options.max_seconds)
                found = worker.ask(request, timeout, say)
                if isinstance(found, Diverged):
                    raise Ended("diverged", f"its loss exploded at rank {rank}")
                costs.append(epoch_cost(model, case.facts, machine.cache, limits, rank=rank, measured=found))
    except Ended as end:
        record["status"], record["reason"] = cast("Failure", end.status), end.reason
    return record
