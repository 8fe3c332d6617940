"""Measuring the cost of an epoch and the machine's limits; there is a record whatever happens."""

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
from bench.machine.limits import TURNS
from bench.measure.backend_facts import Contender, Limits
from bench.measure.measurement import Run
from bench.measure.protocol import Diverged, MeasureEpochs, MeasureMachine, Open, Warm
from bench.measure.worker_process import Ended, WorkerProcess
from bench.records import SCHEMA, Failure, MachineLimits, RooflineRecord
from bench.text.privacy import scrub
from bench.text.progress import Notify

from .share import epoch_cost
from .work import WORK_MODELS


@dataclass(frozen=True)
class RooflineOptions:
    """At which ranks and numbers of threads to measure an epoch, and for how long at each."""

    ranks: list[int]
    threads: list[int]
    max_seconds: float  # no further epoch begins after this
    turns: int = TURNS  # how often the kernels that measure the machine's limits are run


@dataclass(frozen=True)
class Machine:
    """The limits of the machine's processor, or of another device in it."""

    limits: list[MachineLimits]  # one per number of threads
    cache: float  # bytes of the last-level cache
    failure: Ended | None = None  # why there are no limits


def measure_machine(options: RooflineOptions, limits: Limits, device: str = "cpu") -> Machine:
    """Measure the limits of a device in a worker; if that fails, ``failure`` is set."""
    try:
        with (
            tempfile.TemporaryDirectory(
                prefix="factorbench-", ignore_cleanup_errors=True
            ) as folder,
            WorkerProcess(max(options.threads), Path(folder) / "stderr.txt") as worker,
        ):
            request = MeasureMachine(
                ranks=options.ranks,
                threads=options.threads,
                turns=options.turns,
                device=device,
            )
            found = worker.ask(request, limits.timeout, lambda text: None)
            return Machine(found.limits, found.cache)
    except Ended as end:
        reason = f"the machine's limits were not measured: {end.reason}"
        return Machine([], 0.0, Ended(end.status, reason))


def measure_epochs(
    case: Case,
    contender: Contender,
    machine: Machine,
    run: Run,
    *,
    key: dict[str, str],
    options: RooflineOptions,
    notify: Notify = lambda text: None,
) -> RooflineRecord:
    """Measure the cost of a backend's epochs and return the record, however it went.

    Parameters
    ----------
    case
        Its data and objective are used, but at other ranks.
    contender
        A backend that has a work model.
    machine
        The machine's limits.
    run
        The run that the record belongs to.
    key
        What the record depends on; see `bench.measure.fingerprint`.
    options
        Ranks, numbers of threads, and time limit.
    notify
        Called with progress messages.
    """
    model = WORK_MODELS[contender.row.work]
    record = RooflineRecord(
        schema=SCHEMA,
        kind="roofline",
        run=run.name,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        command=scrub(run.command),
        key=key,
        status="measured",
        reason="",
        backend=contender.facts(),
        case=case.facts,
        work_model=model.name,
        assumptions=list(model.assumptions),
        cache_mb=machine.cache / 2**20,
        limits=machine.limits,
        costs=[],
        environment=environment_of(machine_facts()),
    )
    try:
        if not contender.row.available:
            raise Ended("unavailable", contender.row.reason)
        if machine.failure:
            raise machine.failure
        _measure(record, case, contender, machine, run, options, notify)
    except Ended as end:
        record["status"], record["reason"] = cast("Failure", end.status), end.reason
    return record


def _measure(
    record: RooflineRecord,
    case: Case,
    contender: Contender,
    machine: Machine,
    run: Run,
    options: RooflineOptions,
    notify: Notify,
) -> None:
    """Fill in the environment and the costs of a record, as far as they can be measured.

    Raises
    ------
    Ended
        When the worker fails or a fit diverges.
    """
    model, seed, timeout = WORK_MODELS[contender.row.work], case.facts["seed"], run.limits.timeout
    path = write_case(run.work, case)
    stderr, memory_mb = run.work / "stderr.txt", run.limits.memory_mb
    with WorkerProcess(contender.threads, stderr, memory_mb=memory_mb) as worker:
        notify("starting")
        params = asdict(case.objective) | {"dtype": contender.dtype}
        request = Open(path=str(path), backend=contender.row.name, params=params)
        opened = worker.ask(request, timeout, notify)
        warmed = worker.ask(Warm(seed=seed), timeout, notify)
        facts = record["environment"] = environment_of(machine_facts(), warmed.environment)
        facts["import_seconds"], facts["device"] = opened.import_seconds, opened.device
        facts["compile_seconds"], facts["watched"] = (
            warmed.compile_seconds,
            worker.watched(opened.elsewhere),
        )
        for rank, limits in product(options.ranks, machine.limits):
            threads = limits["threads"]
            notify(f"epochs with {rank} factors, threads: {threads}")
            measured = worker.ask(
                MeasureEpochs(
                    rank=rank, threads=threads, seed=seed, max_seconds=options.max_seconds
                ),
                timeout,
                notify,
            )
            if isinstance(measured, Diverged):
                raise Ended("diverged", f"its loss exploded with {rank} factors")
            cost = epoch_cost(
                model, case.facts, machine.cache, limits, rank=rank, measured=measured
            )
            record["costs"].append(cost)
            if measured.products:
                record["products"] = measured.products
