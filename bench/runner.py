"""The one runner: a backend on a case, from the worker's start to the record, whoever asks (pytest, a script).

`Measurement` is used as a context: ``calibrate()``, then ``time_round()`` as often as wanted, then ``record()``.
Nothing that happens in the worker - an exception, a hang, a kill - escapes: it ends the measurement with a status and
a reason.
"""

from __future__ import annotations

import contextlib
import datetime
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np

from .cases import Case
from .environment import available_cores, machine_facts
from .process import Ended, WorkerProcess
from .records import SCHEMA, Backend, Calibration, Record, Round, RungReached, Status
from .reference import Say

SLOW_FIT = 20.0  # seconds; slower fits get three rounds, not five


class Limits:
    """When a measurement is given up."""

    def __init__(
        self, max_epochs: int = 2000, max_seconds: float = 180.0, patience: int = 100, timeout: float = 600.0
    ) -> None:
        self.max_epochs = max_epochs  # of a calibration
        self.max_seconds = max_seconds  # of training, in a calibration
        self.patience = patience  # epochs without a new best, in a calibration
        self.timeout = timeout  # seconds that any one request may take


class Measurement:
    """One backend measured on one case.

    Parameters
    ----------
    case
        Data, objective and targets.
    backend
        Its row of `backends.list_backends`, with ``name``.
    dtype, threads
        Precision, and the one thread budget of all libraries.
    """

    def __init__(
        self,
        case: Case,
        backend: dict[str, Any],
        *,
        run: str,
        command: str,
        dtype: str = "float32",
        threads: int | None = None,
        limits: Limits | None = None,
        say: Say = lambda text: None,
    ) -> None:
        self.case, self.run, self.command, self.say = case, run, command, say
        self.limits = limits or Limits()
        self.backend = backend_facts(backend, dtype, threads or available_cores())
        self.available, self.reason = bool(backend["available"]), str(backend["reason"])
        self.calibration: Calibration | None = None
        self.rounds: list[Round] = []
        self.reported_seconds = 0.0  # what the worker's clock has added up to
        self.environment: dict[str, Any] = {}
        self.peak_memory_mb: float | None = None
        self.ended: Ended | None = None
        self._stack = contextlib.ExitStack()
        self._process: WorkerProcess | None = None
        self._stopped = ""  # why the last calibration ended

    def __enter__(self) -> Self:
        try:
            if not self.available:
                raise Ended("unavailable", self.reason)
            if self.case.target is None:
                reasons = "; ".join(f"x{rung['factor']:g}: {rung['dropped']}" for rung in self.case.ladder)
                raise Ended("missed", f"no target is left on this data ({reasons})")
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="factorbench-")))
            path = folder / "case.npz"
            write_case(path, self.case)
            self._process = self._stack.enter_context(WorkerProcess(self.backend["threads"], folder / "stderr.txt"))
            params = {
                "rank": self.case.objective.rank,
                "reg": self.case.objective.reg,
                "dtype": self.backend["dtype"],
                "n_jobs": self.backend["threads"],
            }
            self.say("starting")
            facts = self._ask("open", path=str(path), backend=self.backend["name"], params=params)
            self.say("compiling")
            facts |= self._ask("warm", seed=self.case.facts["seed"])
            self.environment = {**machine_facts(), **facts.pop("environment"), **facts}
        except Ended as end:
            self._end(end)
        except BaseException:  # a Ctrl-C while the worker starts must not leave it behind
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def calibrate(self) -> int | None:
        """Find the number of epochs to the target; None when it is not reached or the worker failed.

        A backend that is not deterministic is calibrated three times, and the largest count is taken.
        """
        if self.ended:
            return None
        try:
            attempts = [self._calibrate_once() for _ in range(1 if self.backend["deterministic"] else 3)]
        except Ended as end:
            self._end(end)
            return None
        self.calibration = _slowest(attempts)
        if self.calibration["epochs"] is None:
            self._end(self._miss(self.calibration))
        return self.calibration["epochs"]

    def wanted_rounds(self) -> int:
        """Return 5, or 3 where one fit takes over 20 s; 0 when there is nothing to time."""
        if self.ended or self.calibration is None:
            return 0
        epochs = self.calibration["epochs"]
        seconds = next((p["seconds"] for p in self.calibration["trace"] if p["epoch"] == epochs), 0.0)
        return 3 if seconds > SLOW_FIT else 5

    def time_round(self) -> None:
        """Time one fit of the calibrated number of epochs; its seconds are added to ``reported_seconds``."""
        if self.ended or self.calibration is None or self.case.target is None:
            return
        self.say(f"timing {self.calibration['epochs']} epochs, round {len(self.rounds) + 1}")
        try:
            answer = self._ask(
                "time",
                epochs=self.calibration["epochs"],
                seed=self.case.facts["seed"],
                round_number=len(self.rounds),
                target=self.case.target["mse"],
                objective=self.backend["minimises"],
            )
            if answer["status"] == "diverged":
                raise Ended("diverged", f"its loss exploded in timed round {len(self.rounds) + 1}")
        except Ended as end:
            self._end(end)
            return
        self.rounds.append(answer["round"])
        self.peak_memory_mb = answer["peak_memory_mb"]
        self.reported_seconds += answer["round"]["seconds"]

    def record(self) -> Record:
        """Return the record, whatever has happened."""
        status: Status
        if self.ended:
            status, reason = self.ended.status, self.ended.reason
        else:
            missed = [one for one in self.rounds if not one["matched"]]
            status, reason = "matched", ""
            if missed:
                worst = max(one["validation_mse"] for one in missed)
                status, reason = (
                    "missed",
                    f"{len(missed)} of {len(self.rounds)} timed rounds missed; MSE up to {worst:.4f}",
                )
            elif not self.rounds:
                status, reason = "missed", "no round was timed"
        case = self.case
        return Record(
            schema=SCHEMA,
            kind="time to MSE",
            run=self.run,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            command=self.command,
            status=status,
            reason=reason,
            backend=self.backend,
            case=case.facts,
            reference=case.reference,
            baselines=case.baselines,
            ladder=case.ladder,
            target=case.target,
            calibration=self.calibration,
            rounds=self.rounds,
            peak_memory_mb=self.peak_memory_mb,
            environment=self.environment or machine_facts(),
        )

    def _calibrate_once(self) -> Calibration:
        assert self.case.target is not None
        self.say("calibrating")
        answer = self._ask(
            "calibrate",
            rungs={f"{rung['factor']:g}": rung["mse"] for rung in self.case.ladder if not rung["dropped"]},
            target=self.case.target["mse"],
            seed=self.case.facts["seed"],
            max_epochs=self.limits.max_epochs,
            max_seconds=self.limits.max_seconds,
            patience=self.limits.patience,
        )
        calibration = cast("Calibration", answer["calibration"])
        if answer["status"] == "diverged":
            self.calibration = calibration  # its curve is worth seeing
            raise Ended("diverged", f"its loss exploded after {len(calibration['trace'])} epochs")
        self._stopped = answer["status"]
        return calibration

    def _miss(self, calibration: Calibration) -> Ended:
        """Say why a calibration did not reach the target: given up too early, or no longer getting better."""
        assert self.case.target is not None
        epochs = len(calibration["trace"])
        best = min((point["validation_mse"] for point in calibration["trace"]), default=float("nan"))
        seen = f"best validation MSE {best:.4f} in {epochs} epochs, the target is {self.case.target['mse']:.4f}"
        if self._stopped == "time":
            return Ended("timed out", f"not at the target after {self.limits.max_seconds:g} s of training ({seen})")
        if self._stopped == "epochs":
            return Ended("timed out", f"not at the target after the most epochs that are tried ({seen})")
        return Ended("missed", f"no better for {self.limits.patience} epochs ({seen})")

    def _ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        assert self._process is not None
        return self._process.ask({"request": request, **arguments}, self.limits.timeout, self.say)

    def _end(self, end: Ended) -> None:
        self.ended = end
        self._stack.close()


def backend_facts(row: dict[str, Any], dtype: str, threads: int) -> Backend:
    """Return what a record says of a backend, from its row of `backends.list_backends`, with ``name``."""
    return Backend(
        name=str(row["name"]),
        algorithm=str(row["algorithm"]),
        device=str(row["device"]),
        dtype=dtype,
        threads=threads,
        deterministic=bool(row["deterministic"]),
        minimises=bool(row["minimises"]),
    )


def write_case(path: Path, case: Case) -> None:
    """Write the arrays of a case where a worker's ``open`` reads them."""
    data = case.data
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    arrays: dict[str, Any] = {"shape": np.array([data.train.n_users, data.train.n_items])}
    for name, part in parts.items():
        if part is not None:
            arrays |= {f"{name}_{column}": getattr(part, column) for column in ("users", "items", "ratings")}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _slowest(attempts: list[Calibration]) -> Calibration:
    """Return the attempt that took the most epochs; one that missed counts as the most. Rungs likewise."""

    def count(epochs: int | None) -> float:
        return float("inf") if epochs is None else epochs

    worst = max(attempts, key=lambda attempt: count(attempt["epochs"]))
    rungs = [
        RungReached(factor=same[0]["factor"], epochs=max((one["epochs"] for one in same), key=count))
        for same in zip(*(attempt["rungs"] for attempt in attempts), strict=True)
    ]
    return Calibration(epochs=worst["epochs"], repeats=len(attempts), trace=worst["trace"], rungs=rungs)
