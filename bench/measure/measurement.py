"""The one runner: a backend on a case, from the worker's start to the record, whoever asks (pytest, the duel).

`Measurement` is used as a context: ``calibrate()``, then ``time_round()`` as often as wanted, ``refit_unseen()``,
``start_cold()``, ``watch_memory()``, then ``record()``.
Nothing that happens in the worker - an exception, a hang, a kill - escapes: it ends the measurement with a status and
a reason.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Literal, Self, cast

from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.machine.environment import available_cores, machine_facts, throttle_count
from bench.records import SCHEMA, Calibration, Cold, Memory, Record, Round, Status
from bench.text.progress import Say

from .backend_facts import Limits, backend_facts
from .calibration import _slowest, _training_seconds
from .fair_play import check_settings, over_budget, slower
from .fingerprint import result_key
from .worker_process import Ended, WorkerProcess

SLOW_FIT = 20.0  # seconds; slower fits get three rounds, not five

_SAMPLE_SECONDS, _LEAST_SAMPLES = 0.005, 10
_UNSEEN_FITS, _SUSPECT_FITS = 3, 5  # of ratings that are new; and in turns with known ones, before a verdict


class Measurement:
    """One backend measured on one case.

    Parameters
    ----------
    case
        Data, objective and targets.
    backend
        Its row of `backends.list_backends`, with ``name``.
    folder
        Where the case's arrays and the worker's messages are kept meanwhile.
    dtype, threads
        Precision, and the one thread budget of all libraries.
    seeds
        Of the start and of whatever else a solver draws. Each is calibrated and timed in a worker of its own, so that
        their spread holds what differs from process to process.
    rounds
        Timed rounds per seed; None for 5, or 3 with several seeds, and for slow fits 3 rounds or one per seed.
    params
        Hyper-parameters beside those of the case's objective.
    label
        What to call it in the record, where the name of the backend would not tell it from another.
    order
        Whether its rounds follow each other, or take turns with those of others.
    """

    def __init__(
        self,
        case: Case,
        backend: dict[str, Any],
        *,
        run: str,
        command: str,
        folder: Path,
        dtype: str = "float32",
        threads: int | None = None,
        seeds: Sequence[int] = (0,),
        rounds: int | None = None,
        params: dict[str, Any] | None = None,
        label: str | None = None,
        order: Literal["sequential", "interleaved"] = "sequential",
        limits: Limits | None = None,
        say: Say = lambda text: None,
    ) -> None:
        self.case, self.run, self.command, self.say = case, run, command, say
        self.seeds, self.limits, self.order, self._asked = list(seeds), limits or Limits(), order, rounds
        self._name = str(backend["name"])  # in the registry
        self.backend = backend_facts(backend, dtype, threads or available_cores(), params, label)
        settings = [case.target, case.ladder, self.seeds, rounds, order, vars(self.limits)]
        self.key = result_key(case.facts, self.backend, {"time to MSE": settings})
        self.available, self.reason = bool(backend["available"]), str(backend["reason"])
        self.calibrations: list[Calibration] = []
        self.rounds: list[Round] = []
        self.rungs: list[Round] = []
        self.cold: list[Cold] = []
        self.memory: Memory | None = None
        self.environment: dict[str, Any] = {}
        self.ended: Ended | None = None
        self._folder = self._case_file = folder
        self._throttled = throttle_count()
        self._stack = contextlib.ExitStack()
        self._processes: list[WorkerProcess] = []  # one per seed
        self._again = 0  # fits that go into no record
        self._stopped = ""  # why the last calibration ended
        self._alive: dict[int, list[int]] = {}  # by seed, threads of its worker after each timed fit

    def __enter__(self) -> Self:
        try:
            if not self.available:
                raise Ended("unavailable", self.reason)
            if self.case.target is None:
                reasons = "; ".join(f"x{rung['factor']:g}: {rung['dropped']}" for rung in self.case.ladder)
                raise Ended("missed", f"no target is left on this data ({reasons})")
            self._case_file = write_case(self._folder, self.case)
            for seed in self.seeds:
                process = self._stack.enter_context(self._start(f"stderr-{seed}.txt"))
                self._processes.append(process)
                facts = self._open(process, seed)
                self.environment = self.environment or {**machine_facts(), **facts.pop("environment"), **facts}
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

    def calibrate(self) -> bool:
        """Find the number of epochs to each rung with each seed; return whether the target was reached with all.

        A backend that is not deterministic is calibrated three times, and the largest count is taken.
        """
        try:
            for seed, process in () if self.ended else zip(self.seeds, self._processes, strict=True):
                repeats = 1 if self.backend["deterministic"] else 3
                calibration = _slowest([self._calibrate_once(process, seed) for _ in range(repeats)])
                self.calibrations.append(calibration)
                if calibration["epochs"] is None:
                    raise self._miss(calibration)
        except Ended as end:
            self._end(end)
        return not self.ended

    def wanted_rounds(self) -> int:
        """Return the number of timed rounds, over all seeds; 0 when there is nothing to time."""
        if self.ended or not self.calibrations:
            return 0
        slow = any(_training_seconds(one) > SLOW_FIT for one in self.calibrations)
        several = len(self.seeds) > 1
        return (self._asked or ((1 if several else 3) if slow else (3 if several else 5))) * len(self.seeds)

    def time_round(self, rungs: bool = True) -> None:
        """Time a fit to the target, with the seeds in turn, and with ``rungs`` one to each other rung."""
        number, target = len(self.rounds), self.case.target
        if self.ended or target is None:
            return
        turn = number % len(self.seeds)
        calibration, process = self.calibrations[turn], self._processes[turn]
        self.say(f"timing {calibration['epochs']} epochs, round {number + 1}")
        goals = {rung["factor"]: rung["mse"] for rung in self.case.ladder}
        in_turn = {target["factor"]: calibration["epochs"]}
        for one in calibration["rungs"] if rungs else []:
            in_turn.setdefault(one["factor"], one["epochs"])
        wanted = {factor: epochs for factor, epochs in in_turn.items() if epochs is not None}
        done: dict[int, Round] = {}  # by epochs: rungs that were reached in one epoch share a fit
        try:
            for factor, epochs in wanted.items():
                goal = goals[factor]
                if epochs not in done:
                    done[epochs] = self._time(process, epochs, calibration["seed"], number, goal)
                timed = Round({**done[epochs], "factor": factor, "matched": done[epochs]["validation_mse"] <= goal})
                (self.rounds if factor == target["factor"] else self.rungs).append(timed)
        except Ended as end:
            self._end(end)

    def refit_unseen(self) -> None:
        """Time fits of the same problem with contents that are new, beside the first seed's rounds.

        A backend that keeps results from one fit to the next, in the process or on disk, cannot have these. Where they
        are slower, known and new ones are timed in turns: other load that came up meanwhile slows both.
        """
        rounds = [one for one in self.rounds if one["seed"] == self.seeds[0]]
        if not rounds or self.ended:
            return
        self.say("fitting ratings that it has not met")
        least = 1 if rounds[0]["seconds"] > SLOW_FIT / 4 else _UNSEEN_FITS
        try:
            if not slower([self._time_again(unseen=True) for _ in range(least)], rounds):
                return
            pairs = [(self._time_again(unseen=True), self._time_again()) for _ in range(_SUSPECT_FITS)]
        except Ended as end:
            if end.status != "diverged":  # of other contents: says nothing
                self._end(end)
            return
        new, known = zip(*pairs, strict=True)
        if slower(new, known):
            took = [median(one["seconds"] for one in fits) for fits in (new, known)]
            told = (
                f"a fit takes {took[0]:.3g} s with ratings that it has not met, and {took[1]:.3g} s with those it has"
            )
            self._end(Ended("inconsistent", f"{told}: it keeps something from fit to fit"))

    def _time_again(self, unseen: bool = False) -> Round:
        """Time a fit as in the first seed's rounds, of the same ratings or of new ones; it goes into no record."""
        epochs, self._again = self.calibrations[0]["epochs"], self._again + 1
        assert epochs is not None
        seed = self.seeds[0] + self._again * unseen
        answer = self._ask_time(self._processes[0], epochs, seed, 0, float("inf"), unseen=unseen)
        return cast("Round", answer["round"])

    def start_cold(self) -> None:
        """Fit in fresh processes, with caches of compiled kernels empty, then filled. Ends the timed workers."""
        if not self.rounds or self.ended:
            return
        caches = self._folder / "caches"
        shutil.rmtree(caches, ignore_errors=True)  # of the backend before this one
        caches.mkdir()
        for state in ("empty", "filled"):
            self.say(f"cold start, caches {state}")
            answer = self._apart(f"in a cold start, caches {state}", self._fit_cold, caches)
            if answer is None:
                return
            parts = {**answer["parts"], "prepare_seconds": answer["round"]["prepare_seconds"]}
            fit = answer["round"]["seconds"]
            total = parts["import_seconds"] + parts["compile_seconds"] + fit
            self.cold.append(cast("Cold", {"caches": state, **parts, "fit_seconds": fit, "total_seconds": total}))

    def watch_memory(self) -> None:
        """Fit once more in a fresh process, untimed, and watch its memory and threads. Ends the timed workers."""
        if not self.rounds or self.ended:
            return
        self.say("watching the memory of a fit")
        answer = self._apart("while its memory was watched", self._fit_watched)
        if answer is None:
            return
        running = sorted(one.running for one in answer["samples"])
        seen = [one.resident_mb for one in answer["samples"]]  # its child processes included
        before, peak = answer["before_mb"], max(filter(None, [answer["peak_mb"], *seen]), default=None)
        self.memory = Memory(
            peak_mb=peak,
            fit_mb=None if before is None or peak is None else max(peak - before, 0.0),
            device_mb=answer["device_mb"],
            running_threads=float(running[int(0.9 * len(running))]) if len(running) >= _LEAST_SAMPLES else None,
        )

    def record(self) -> Record:
        """Return the record, whatever has happened."""
        if not self.ended:
            self.ended = over_budget(self.backend["threads"], self.rounds, self.memory, list(self._alive.values()))
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
            order=self.order,
            key=self.key,
            status=status,
            reason=reason,
            gave_up_after=self.ended.seconds if self.ended else None,
            backend=self.backend,
            case=case.facts,
            reference=case.reference,
            baselines=case.baselines,
            ladder=case.ladder,
            target=case.target,
            seeds=self.seeds,
            calibrations=self.calibrations,
            rounds=self.rounds,
            rungs=self.rungs,
            cold=self.cold,
            memory=self.memory,
            environment=(self.environment or machine_facts()) | self._throttling(),
        )

    def _throttling(self) -> dict[str, int]:
        """Return how often the processor was throttled since the measurement began, where that can be read."""
        now = throttle_count()
        return {} if now is None or self._throttled is None else {"throttled": now - self._throttled}

    def _start(self, stderr: str, caches: Path | None = None) -> WorkerProcess:
        self.say("starting")
        return WorkerProcess(self.backend["threads"], self._folder / stderr, caches, self.limits.memory_mb)

    def _open(self, process: WorkerProcess, seed: int) -> dict[str, Any]:
        """Let a worker load the case, import the backend and compile it."""
        params = {
            **asdict(self.case.objective),
            "dtype": self.backend["dtype"],
            "n_jobs": self.backend["threads"],
            **self.backend["params"],
        }
        facts = self._ask(process, "open", path=str(self._case_file), backend=self._name, params=params)
        self.say("compiling")
        return facts | self._ask(process, "warm", seed=seed)

    def _calibrate_once(self, process: WorkerProcess, seed: int) -> Calibration:
        assert self.case.target is not None
        self.say(f"calibrating, seed {seed}" if len(self.seeds) > 1 else "calibrating")
        answer = self._ask(
            process,
            "calibrate",
            rungs={f"{rung['factor']:g}": rung["mse"] for rung in self.case.ladder if not rung["dropped"]},
            target=self.case.target["mse"],
            seed=seed,
            max_epochs=self.limits.max_epochs,
            max_seconds=self.limits.max_seconds,
            patience=self.limits.patience,
        )
        calibration = cast("Calibration", answer["calibration"])
        if answer["status"] == "diverged":
            self.calibrations.append(calibration)  # its curve is worth seeing
            raise Ended("diverged", f"its loss exploded after {len(calibration['trace'])} epochs")
        self._stopped = answer["status"]
        return calibration

    def _miss(self, calibration: Calibration) -> Ended:
        """Say why a calibration did not reach the target: given up too early, or no longer getting better."""
        assert self.case.target is not None
        epochs = len(calibration["trace"])
        best = min((point["validation_mse"] for point in calibration["trace"]), default=float("nan"))
        seen = f"best validation MSE {best:.4f} in {epochs} epochs, the target is {self.case.target['mse']:.4f}"
        trained = calibration["trace"][-1]["seconds"] if calibration["trace"] else 0.0
        if self._stopped == "time":
            reason = f"not at the target after {self.limits.max_seconds:g} s of training ({seen})"
            return Ended("timed out", reason, trained)
        if self._stopped == "epochs":
            return Ended("timed out", f"not at the target after the most epochs that are tried ({seen})", trained)
        return Ended("missed", f"no better for {self.limits.patience} epochs ({seen})")

    def _time(self, process: WorkerProcess, epochs: int, seed: int, number: int, goal: float) -> Round:
        answer = self._ask_time(process, epochs, seed, number, goal)
        check_settings(self.backend["threads"], answer["threads"]["settings"])
        if answer["threads"]["alive"] is not None:
            self._alive.setdefault(seed, []).append(answer["threads"]["alive"])
        return cast("Round", answer["round"])

    def _ask_time(
        self, process: WorkerProcess, epochs: int, seed: int, number: int, goal: float, unseen: bool = False
    ) -> dict[str, Any]:
        assert self.case.target is not None
        answer = self._ask(
            process,
            "time",
            epochs=epochs,
            seed=seed,
            round_number=number,
            factor=self.case.target["factor"],
            target=goal,
            objective=self.backend["minimises"] and not unseen,
            unseen=unseen,
        )
        if answer["status"] == "diverged":
            raise Ended("diverged", f"its loss exploded in timed round {number + 1}")
        if answer["status"] == "inconsistent":
            told = f"it tells of {answer['claimed']:.3g} s of work in a fit that took {answer['seconds']:.3g} s"
            raise Ended("inconsistent", f"{told}: some of it was done before")
        return answer

    def _apart(
        self, where: str, fit: Callable[[WorkerProcess], dict[str, Any]], caches: Path | None = None
    ) -> dict[str, Any] | None:
        """Run something in a worker of its own; what goes wrong there ends the measurement, and None is returned."""
        self._stack.close()  # idle threads of the timed worker would take their share of the cores
        try:
            with self._start("stderr-apart.txt", caches) as process:
                return fit(process)
        except Ended as end:
            self._end(Ended(end.status, f"{where}: {end.reason}", end.seconds))
            return None

    def _fit_cold(self, process: WorkerProcess) -> dict[str, Any]:
        facts, epochs = self._open(process, self.seeds[0]), self.calibrations[0]["epochs"]
        assert epochs is not None and self.case.target is not None
        answer = self._ask_time(process, epochs, self.seeds[0], 0, self.case.target["mse"])
        return {**answer, "parts": {name: facts[name] for name in ("import_seconds", "compile_seconds")}}

    def _fit_watched(self, process: WorkerProcess) -> dict[str, Any]:
        self._open(process, self.seeds[0])
        epochs = self.calibrations[0]["epochs"]
        answer = self._ask(process, "memory", every=_SAMPLE_SECONDS, epochs=epochs, seed=self.seeds[0])
        return {**answer, "samples": process.samples}

    def _ask(
        self, process: WorkerProcess, request: str, every: float | None = None, **arguments: Any
    ) -> dict[str, Any]:
        looks = {} if every is None else {"every": every}
        return process.ask({"request": request, **arguments}, self.limits.timeout, self.say, **looks)

    def _end(self, end: Ended) -> None:
        self.ended = end
        self._stack.close()
