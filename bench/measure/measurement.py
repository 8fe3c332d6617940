"""The runner: measures one backend on one case, from starting the workers to the record.

A `Measurement` is driven by `turns.take_turns`, for the benchmark suite as for the duel::

    for seed in measurement.seeds:
        measurement.begin(seed)         # a worker of its own
        measurement.calibrate()         # how many epochs each target takes
        measurement.time_round(0)       # one timed fit, between those of other backends; ...
        measurement.retries_with_more_epochs() # then rounds are timed again
        measurement.check_fits()        # does it keep anything from fit to fit?
        measurement.end()
        measurement.start_cold()        # first fits in fresh processes
    measurement.watch_memory()
    record = measurement.record()       # also after each seed: it is in progress then

Whatever goes wrong in a worker (an exception, a hang, a kill) raises `Ended` in here, which
`_recording_end` catches. From then on every step does nothing, and the record states why.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal, TypeVar

from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.cases.targets import meets
from bench.machine.environment import environment_of, machine_facts, throttle_count
from bench.records import (
    SCHEMA,
    Calibration,
    Cold,
    Environment,
    Library,
    ListMetrics,
    Memory,
    Record,
    Round,
    Status,
    Tuning,
)
from bench.text.privacy import scrub
from bench.text.progress import Notify
from bench.text.wording import plural

from . import extras, peers
from .backend_facts import Contender, Limits
from .calibration import Uncalibrated, add_epochs, calibrate, training_seconds
from .fair_play import over_budget
from .fingerprint import result_key
from .session import Session, Setting, epochs_of
from .worker_process import Ended

# Seconds of training. Slower fits get fewer rounds, and only those of the first seed are started
# cold and checked with ratings in another order, for a run would take hours.
_SLOW_FIT = 10.0
# Seconds. Shorter fits are preceded by one that does not count: after the turns of others the
# processor's caches hold their data, and a first fit takes up to twice as long.
_SHORT_FIT = 1.0
# A calibration evaluates after each epoch, which makes it take up to so many times as long.
_SLOWER_WHEN_CALIBRATED = 3.0
# Default number of timed rounds per seed.
_ROUNDS, _ROUNDS_OF_SEVERAL_SEEDS = 5, 3
_SLOW_ROUNDS, _SLOW_ROUNDS_OF_SEVERAL_SEEDS = 3, 1
_MOST_ADDITIONS = 2  # of epochs to the calibration of a seed, where rounds missed the target

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """The run that a measurement belongs to.

    Attributes
    ----------
    name, command
        Name of the run's folder, and the command line that started the run.
    work
        Temporary folder for the case's ratings and for what workers print.
    limits
        When to give up a measurement.
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
        The run that the measurement belongs to.
    seeds
        Seeds of the initial model and of all else that a solver draws. Each seed is calibrated and
        timed in a worker of its own, so the spread over seeds includes differences between
        processes.
    rounds
        Timed rounds per seed. When None: 5 with one seed, 3 with several; for slow fits 3 and 1.
    order
        Whether the rounds of a backend follow each other, or alternate with those of other
        backends.
    notify
        Called with progress messages.

    Attributes
    ----------
    ended
        Why the measurement ended early, None while it goes on.
    complete
        Whether nothing is left to measure. Until then, the record is in progress.
    tuning
        How the hyper-parameters were found, for the record; None if they were not searched for.
    products
        How the backend computed its sums over ratings, "" if it does not say; see `Record`.
    library
        The library that the backend calls, once a worker was started; None for one of our own.
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
        notify: Notify = lambda text: None,
    ) -> None:
        self.case, self.contender, self.run, self.notify = case, contender, run, notify
        self.seeds, self.order, self._rounds_per_seed = list(seeds), order, rounds
        self.backend = contender.facts()
        self._settings = [case.target, case.ladder, self.seeds, rounds, order, asdict(run.limits)]
        self.key = self.make_key()
        self.calibrations: list[Calibration] = []
        self.rounds: list[Round] = []
        self.rungs: list[Round] = []  # to the other targets, under the name of the record's field
        self.lists: list[ListMetrics] = []
        self.products = ""
        self.cold: list[Cold] = []
        self.memory: Memory | None = None
        self.environment: Environment | None = None
        self.tuning: Tuning | None = None
        self.library: Library | None = None
        self.ended: Ended | None = None
        self.complete = False
        self._setting: Setting | None = None  # None until a worker was started
        self._throttled = throttle_count()
        self._worker = contextlib.ExitStack()  # closing it ends the timed worker
        self._session: Session | None = None  # with the worker of the present seed
        self._additions = 0  # of epochs to the calibration of the present seed
        self._alive: list[list[int]] = []  # for each worker, its threads after each fit

    @property
    def measured_seeds(self) -> list[int]:
        """The seeds whose rounds are measured, in the order in which they were."""
        return [calibration["seed"] for calibration in self.calibrations]

    @property
    def slow(self) -> bool:
        """Whether fits with the first seed took long; False before it is calibrated."""
        return any(training_seconds(fit) > _SLOW_FIT for fit in self.calibrations[:1])

    def make_key(self) -> dict[str, str]:
        """Return hashes of all that the results depend on, as it is now."""
        row = self.contender.row
        packages = peers.frozen(row.name) if row.interpreter else []
        if row.library and not row.interpreter:
            with contextlib.suppress(metadata.PackageNotFoundError):
                packages = [f"{row.library}=={metadata.version(row.library)}"]
        settings = {"time to MSE": self._settings}
        return result_key(self.case.facts, self.backend, settings, packages)

    def resume(self, record: Record, seeds: Collection[int]) -> None:
        """Take over what a record in progress contains about some of its seeds."""
        self.calibrations = [one for one in record["calibrations"] if one["seed"] in seeds]
        self.rounds = [one for one in record["rounds"] if one["seed"] in seeds]
        self.rungs = [one for one in record["rungs"] if one["seed"] in seeds]
        self.cold = [one for one in record["cold"] if one["seed"] in seeds]
        if self.calibrations:
            self.lists, self.library = record.get("lists", []), record.get("library")
            self.products = record.get("products", "")
            self.environment = record["environment"]

    def begin(self, seed: int) -> None:
        """Start the worker of a seed."""
        if self.ended:
            return
        with self._recording_end():
            setting = self._setting = self._setting or self._make_setting()
            process = self._worker.enter_context(setting.start(f"stderr-{seed}.txt"))
            self._session, self._additions = Session(setting, process, seed), 0
            self.library = self._session.opened.library
            if self.environment is None:
                self.environment = self._environment(self._session)

    def end(self) -> None:
        """End the worker: its idle threads would compete with what follows."""
        if self._session:
            self._alive.append(self._session.alive)
        self._session = None
        self._worker.close()

    def calibrate(self) -> None:
        """Find how many epochs each target takes with the present seed; see `calibration`."""
        if self.ended or self._session is None:
            return
        with self._recording_end():
            which = f", seed {self._session.seed}" if len(self.seeds) > 1 else ""
            self.notify(f"calibrating{which}")
            before = self.calibrations[-1]["epochs"] if self.calibrations else None
            calibration = calibrate(self._session, before)
            self.calibrations.append({**calibration, "created": _now()})

    def wanted_rounds(self) -> int:
        """Return how many rounds to time with each seed; 0 when there is nothing to time."""
        if self.ended or not self.calibrations:
            return 0
        if self._rounds_per_seed is None:  # decided with the first seed
            if len(self.seeds) > 1:
                rounds = _SLOW_ROUNDS_OF_SEVERAL_SEEDS if self.slow else _ROUNDS_OF_SEVERAL_SEEDS
            else:
                rounds = _SLOW_ROUNDS if self.slow else _ROUNDS
            self._rounds_per_seed = rounds
        return self._rounds_per_seed

    def time_round(self, number: int, rungs: bool = True) -> None:
        """Time one fit to the target with the present seed.

        Parameters
        ----------
        number
            Of the round; rounds of other backends that have the same number belong to its block.
        rungs
            Whether to time one fit to each of the other targets as well.
        """
        target, session = self.case.target, self._session
        if self.ended or target is None or session is None:
            return
        calibration = self.calibrations[-1]
        self.notify(f"timing {calibration['epochs']} epochs, round {len(self.rounds) + 1}")
        # The matching target comes first: if a fit to another target goes wrong, the round is kept.
        epochs_to = {target["factor"]: calibration["epochs"]}
        if rungs:
            for reached in calibration["rungs"]:
                epochs_to.setdefault(reached["factor"], reached["epochs"])
        mse_of = {level["factor"]: level["mse"] for level in self.case.ladder}
        timed: dict[int, Round] = {}  # by epochs: targets that take equally many share one fit
        with self._recording_end():
            if self._is_short(session.seed):
                session.warm_up(epochs_of(calibration))
            for factor, epochs in epochs_to.items():
                if epochs is None:  # the calibration did not reach this target
                    continue
                if epochs not in timed:
                    # The first fit is to the matching target: its model is gated.
                    is_first = not timed and not self.rounds
                    timed[epochs] = session.time(epochs, number, mse_of[factor], lists=is_first)
                    if is_first and session.lists:
                        self.lists.append(session.lists)
                self.products = session.products
                matched = meets(timed[epochs]["validation_mse"], mse_of[factor])
                result = Round({**timed[epochs], "factor": factor, "matched": matched})
                if factor == target["factor"]:
                    self.rounds.append(result)
                else:
                    self.rungs.append(result)

    def retries_with_more_epochs(self) -> bool:
        """Return whether the present seed's rounds have to be timed anew, with more epochs.

        That is so if one missed the target and the backend is not deterministic: fits of as many
        epochs as its calibrations took then end at larger errors now and then. All its rounds of
        this seed are dropped, also those that reached the target, which were the lucky ones.
        """
        if self.ended or self._session is None or self.backend["deterministic"]:
            return False
        seed = self._session.seed
        missed = sum(not timed["matched"] for timed in self._rounds_of(seed))
        if not missed or self._additions == _MOST_ADDITIONS:
            return False
        most_epochs = self._session.setting.limits.max_epochs
        if epochs_of(self.calibrations[-1]) >= most_epochs:
            return False
        self._additions += 1
        self.rounds = [timed for timed in self.rounds if timed["seed"] != seed]
        self.rungs = [timed for timed in self.rungs if timed["seed"] != seed]
        if not self.rounds:
            self.lists = []  # of the first round's model
        self.calibrations[-1] = add_epochs(
            self.calibrations[-1], self._session.setting.target, missed, most_epochs
        )
        return True

    def check_fits(self) -> None:
        """Check that the fits of the present seed owe nothing to earlier ones; see `extras`."""
        session = self._session
        if self.ended or session is None:
            return
        rounds = self._rounds_of(session.seed)
        if not rounds:
            return
        if self.slow and session.seed != self.seeds[0]:
            return
        self.notify("fitting ratings that it has not seen")
        with self._recording_end():
            if session.seed == self.seeds[0]:
                extras.refit_unseen(session, self.calibrations[-1], rounds)
            extras.refit_relabelled(session, self.calibrations[-1], rounds)

    def start_cold(self) -> None:
        """Fit in fresh processes, with empty caches of compiled kernels and then with filled ones.

        With the seed that was calibrated last. The timed worker is ended first.
        """
        if not self.rounds or self.ended or (self.slow and self.cold):
            return
        caches = extras.empty_caches(self.run.work)
        for state in ("empty", "filled"):
            start = partial(extras.start_cold, caches=caches, state=state)
            cold = self._in_fresh_worker(start, self.calibrations[-1])
            if cold is not None:
                self.cold.append(cold)

    def watch_memory(self) -> None:
        """Fit once more in a fresh process, untimed, and watch its memory and threads.

        The timed worker is ended first.
        """
        if self.rounds and not self.ended:
            self.memory = self._in_fresh_worker(extras.watch_memory, self.calibrations[0])

    def finish(self) -> None:
        """Declare that nothing is left to measure."""
        self.complete = True

    def record(self) -> Record:
        """Return the record, however the measurement went."""
        status, reason = self._outcome()
        case = self.case
        environment = self.environment or environment_of(machine_facts())
        environment["throttled"] = self._throttlings()
        record = Record(
            schema=SCHEMA,
            kind="time to MSE",
            run=self.run.name,
            created=_now(),
            command=scrub(self.run.command),
            order=self.order,
            key=self.key,
            status=status,
            reason=reason,
            gave_up_after=self.ended.seconds if self.ended else None,
            backend=self.backend,
            case=case.facts,
            reference=case.reference,
            baselines=case.baselines,
            list_baselines=case.list_baselines,
            ladder=case.ladder,
            target=case.target,
            seeds=self.seeds,
            calibrations=self.calibrations,
            rounds=self.rounds,
            rungs=self.rungs,
            lists=self.lists,
            cold=self.cold,
            memory=self.memory,
            environment=environment,
        )
        if self.tuning:
            record["tuning"] = self.tuning
        if self.products:
            record["products"] = self.products
        if self.library:
            record["library"] = self.library
        return record

    def _is_short(self, seed: int) -> bool:
        """Return whether a fit is over soon, by the last round of the seed or its calibration."""
        rounds = self._rounds_of(seed)
        if rounds:
            return rounds[-1]["seconds"] < _SHORT_FIT
        return training_seconds(self.calibrations[-1]) < _SLOWER_WHEN_CALIBRATED * _SHORT_FIT

    def _rounds_of(self, seed: int) -> list[Round]:
        return [timed for timed in self.rounds if timed["seed"] == seed]

    def _outcome(self) -> tuple[Status, str]:
        """Return the status of the record, and its reason in one line: "" for a match."""
        if not self.ended and self.complete:
            self.ended = over_budget(self.backend["threads"], self.rounds, self.memory, self._alive)
        if self.ended:
            return self.ended.status, self.ended.reason
        if not self.complete:
            seeds = f"{len(self.measured_seeds)} of {plural(len(self.seeds), 'seed')} measured"
            return "in progress", seeds
        if not self.rounds:
            return "missed", "no round was timed"
        missed = [timed["validation_mse"] for timed in self.rounds if not timed["matched"]]
        if missed:
            counts = f"{len(missed)} of {len(self.rounds)}"
            return "missed", f"{counts} timed rounds missed; MSE up to {max(missed):.4f}"
        return "matched", ""

    def _make_setting(self) -> Setting:
        """Return what the workers need; raise Ended when there is nothing to measure."""
        row, case = self.contender.row, self.case
        if not row.available:
            raise Ended("unavailable", row.reason)
        if case.target is None:
            reasons = "; ".join(
                f"x{level['factor']:g}: {level['dropped']}" for level in case.ladder
            )
            raise Ended("missed", f"no target is left on this data ({reasons})")
        case_file = write_case(self.run.work, case)
        return Setting(
            case=case,
            target=case.target,
            case_file=case_file,
            contender=self.contender,
            limits=self.run.limits,
            folder=self.run.work,
            notify=self.notify,
        )

    def _environment(self, session: Session) -> Environment:
        """Return the facts about the machine and about the first worker."""
        facts = environment_of(machine_facts(), session.warmed.environment)
        facts["import_seconds"] = session.opened.import_seconds
        facts["device"] = session.opened.device
        facts["python"], facts["packages"] = session.opened.python, session.opened.packages
        facts["watched"] = session.process.watched(session.opened.elsewhere)
        facts["compile_seconds"] = session.warmed.compile_seconds
        return facts

    def _throttlings(self) -> int | None:
        """Return how often the processor was throttled since the measurement began."""
        now = throttle_count()
        if now is None or self._throttled is None:
            return None
        return now - self._throttled

    def _in_fresh_worker(
        self, measure: Callable[[Setting, Calibration], T], calibration: Calibration
    ) -> T | None:
        """Measure something in a worker of its own; None if that fails, or has failed before."""
        if self.ended:
            return None
        self.end()
        with self._recording_end():
            setting = self._setting = self._setting or self._make_setting()
            return measure(setting, calibration)
        return None  # when `_recording_end` has caught an `Ended`

    @contextlib.contextmanager
    def _recording_end(self) -> Iterator[None]:
        """Catch `Ended`: note it as the end of this measurement, and end its worker."""
        try:
            yield
        except Ended as end:
            if isinstance(end, Uncalibrated):
                self.calibrations.append(end.calibration)
            self.ended = end
        except (Exception, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise  # no fault of the backend
        except BaseException as stop:
            # What pytest and its plugins raise to end a test, such as a time-out by a signal.
            self.ended = Ended("timed out", f"stopped from outside: {stop}")
        if self.ended:
            self.end()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
