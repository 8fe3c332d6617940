"""The one runner: a backend on a case, from the worker's start to the record, whoever asks (pytest, the duel).

`Measurement` is used as a context: ``calibrate()``, then ``time_round()`` as often as wanted, ``refit_unseen()``,
``start_cold()``, ``watch_memory()``, then ``record()``.
Nothing that happens in the worker - an exception, a hang, a kill - escapes: it ends the measurement with a status and
a reason.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.cases.targets import meets
from bench.machine.environment import environment_of, machine_facts, throttle_count
from bench.records import SCHEMA, Calibration, Cold, Environment, Memory, Record, Round, Status
from bench.text.progress import Say

from . import extras
from .backend_facts import Contender, Limits
from .calibration import Uncalibrated, calibrate, training_seconds
from .fair_play import over_budget
from .fingerprint import result_key
from .session import Session, Setting
from .worker_process import Ended

SLOW_FIT = 20.0  # seconds; slower fits get three rounds, not five

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """The run that a measurement belongs to.

    Attributes
    ----------
    name, command
        The name of its folder, and what was typed to start it.
    work
        A folder where the case's arrays and the workers' messages are kept meanwhile.
    limits
        When a measurement is given up.
    """

    name: str
    command: str
    work: Path
    limits: Limits


class Measurement:
    """One backend measured on one case.

    Parameters
    ----------
    case
        Data, objective and targets.
    contender
        The backend, as it was asked for.
    run
        The run that it belongs to.
    seeds
        Of the start and of whatever else a solver draws. Each is calibrated and timed in a worker of its own, so that
        their spread holds what differs from process to process.
    rounds
        Timed rounds per seed; None for 5, or 3 with several seeds, and for slow fits 3 rounds or one per seed.
    order
        Whether its rounds follow each other, or take turns with those of others.
    """

    def __init__(
        self,
        case: Case,
        contender: Contender,
        run: Run,
        *,
        seeds: Sequence[int] = (0,),
        rounds: int | None = None,
        order: Literal["sequential", "interleaved"] = "sequential",
        say: Say = lambda text: None,
    ) -> None:
        self.case, self.contender, self.run, self.say = case, contender, run, say
        self.seeds, self.order, self._asked = list(seeds), order, rounds
        self.backend = contender.facts()
        settings = [case.target, case.ladder, self.seeds, rounds, order, asdict(run.limits)]
        self.key = result_key(case.facts, self.backend, {"time to MSE": settings})
        self.calibrations: list[Calibration] = []
        self.rounds: list[Round] = []
        self.rungs: list[Round] = []
        self.cold: list[Cold] = []
        self.memory: Memory | None = None
        self.environment: Environment | None = None
        self.ended: Ended | None = None
        self._setting: Setting | None = None  # None where no worker can be started
        self._throttled = throttle_count()
        self._stack = contextlib.ExitStack()
        self._sessions: list[Session] = []  # one per seed

    def __enter__(self) -> Self:
        try:
            with self._ending():
                setting = self._setting = self._make_setting()
                for seed in self.seeds:
                    process = self._stack.enter_context(setting.start(f"stderr-{seed}.txt"))
                    self._sessions.append(Session(setting, process, seed))
                    if self.environment is None:
                        self.environment = self._environment(self._sessions[0])
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
        if self.ended:
            return False
        with self._ending():
            for session in self._sessions:
                self.say(f"calibrating, seed {session.seed}" if len(self.seeds) > 1 else "calibrating")
                self.calibrations.append(calibrate(session))
        return not self.ended

    def wanted_rounds(self) -> int:
        """Return the number of timed rounds, over all seeds; 0 when there is nothing to time."""
        if self.ended or not self.calibrations:
            return 0
        slow = any(training_seconds(one) > SLOW_FIT for one in self.calibrations)
        of_one_seed = {False: 5, True: 3}
        of_several = {False: 3, True: 1}
        usual = of_several if len(self.seeds) > 1 else of_one_seed
        return (self._asked or usual[slow]) * len(self.seeds)

    def time_round(self, rungs: bool = True) -> None:
        """Time a fit to the target, with the seeds in turn, and with ``rungs`` one to each other rung."""
        target = self.case.target
        if self.ended or target is None:
            return
        number = len(self.rounds)
        turn = number % len(self.seeds)
        calibration, session = self.calibrations[turn], self._sessions[turn]
        self.say(f"timing {calibration['epochs']} epochs, round {number + 1}")
        goals = {rung["factor"]: rung["mse"] for rung in self.case.ladder}
        epochs_to = {target["factor"]: calibration["epochs"]}
        if rungs:
            epochs_to = {one["factor"]: one["epochs"] for one in calibration["rungs"]} | epochs_to
        # The target first: a fit to another rung that goes wrong then costs no round.
        in_turn = sorted(epochs_to.items(), key=lambda item: item[0] != target["factor"])
        done: dict[int, Round] = {}  # by epochs: rungs that were reached in one epoch share a fit
        with self._ending():
            for factor, epochs in in_turn:
                if epochs is None:
                    continue
                goal = goals[factor]
                if epochs not in done:
                    done[epochs] = session.time(epochs, number, goal)
                timed = Round(
                    {**done[epochs], "factor": factor, "matched": meets(done[epochs]["validation_mse"], goal)}
                )
                (self.rounds if factor == target["factor"] else self.rungs).append(timed)

    def refit_unseen(self) -> None:
        """Time fits of ratings that the backend cannot have met, beside the first seed's rounds; see `extras`."""
        rounds = [one for one in self.rounds if one["seed"] == self.seeds[0]]
        if not rounds or self.ended:
            return
        self.say("fitting ratings that it has not met")
        with self._ending():
            extras.refit_unseen(self._sessions[0], self.calibrations[0], rounds)

    def start_cold(self) -> None:
        """Fit in fresh processes, with caches of compiled kernels empty, then filled. Ends the timed workers."""
        if not self.rounds or self.ended or self._setting is None:
            return
        caches = extras.empty_caches(self._setting)
        for state in ("empty", "filled"):
            cold = self._apart(partial(extras.start_cold, caches=caches, state=state))
            if cold is not None:
                self.cold.append(cold)

    def watch_memory(self) -> None:
        """Fit once more in a fresh process, untimed, and watch its memory and threads. Ends the timed workers."""
        self.memory = self._apart(extras.watch_memory)

    def record(self) -> Record:
        """Return the record, whatever has happened."""
        status, reason = self._outcome()
        case = self.case
        environment = self.environment or environment_of(machine_facts())
        environment["throttled"] = self._throttlings()
        return Record(
            schema=SCHEMA,
            kind="time to MSE",
            run=self.run.name,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            command=self.run.command,
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
            environment=environment,
        )

    def _outcome(self) -> tuple[Status, str]:
        """Return the status of the record, and the reason in one line; a match needs none."""
        if not self.ended:
            alive = [session.alive for session in self._sessions if session.alive]
            self.ended = over_budget(self.backend["threads"], self.rounds, self.memory, alive)
        if self.ended:
            return self.ended.status, self.ended.reason
        missed = [one for one in self.rounds if not one["matched"]]
        if missed:
            worst = max(one["validation_mse"] for one in missed)
            return "missed", f"{len(missed)} of {len(self.rounds)} timed rounds missed; MSE up to {worst:.4f}"
        return ("matched", "") if self.rounds else ("missed", "no round was timed")

    def _make_setting(self) -> Setting:
        """Return what the workers need, or raise Ended where there is nothing to measure."""
        row, case = self.contender.row, self.case
        if not row.available:
            raise Ended("unavailable", row.reason)
        if case.target is None:
            reasons = "; ".join(f"x{rung['factor']:g}: {rung['dropped']}" for rung in case.ladder)
            raise Ended("missed", f"no target is left on this data ({reasons})")
        case_file = write_case(self.run.work, case)
        return Setting(case, case.target, case_file, self.contender, self.run.limits, self.run.work, self.say)

    def _environment(self, session: Session) -> Environment:
        facts = environment_of(machine_facts(), session.warmed.environment)
        facts["import_seconds"], facts["device"] = session.opened.import_seconds, session.opened.device
        facts["compile_seconds"] = session.warmed.compile_seconds
        return facts

    def _throttlings(self) -> int | None:
        """Return how often the processor was throttled since the measurement began, where that can be read."""
        now = throttle_count()
        return None if now is None or self._throttled is None else now - self._throttled

    def _apart(self, measure: Callable[[Setting, Calibration], T]) -> T | None:
        """Measure something in workers of its own; what goes wrong there ends the measurement."""
        if not self.rounds or self.ended or self._setting is None:
            return None
        self._stack.close()  # idle threads of the timed workers would take their share of the cores
        with self._ending():
            return measure(self._setting, self.calibrations[0])
        return None

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """Let Ended end the measurement, and no one else's."""
        try:
            yield
        except Ended as end:
            if isinstance(end, Uncalibrated):
                self.calibrations.append(end.calibration)
            self.ended = end
            self._stack.close()
