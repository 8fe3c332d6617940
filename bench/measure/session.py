"""A session with a worker: one backend on one case, asked in the measurement's words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from bench.cases.case import Case
from bench.machine.processes import ProcessSample
from bench.records import Calibration, Round, Target
from bench.text.progress import Say

from .backend_facts import Contender, Limits
from .fair_play import check_settings
from .protocol import (
    Calibrate,
    Calibrated,
    Diverged,
    FitMemory,
    Inconsistent,
    Open,
    Opened,
    Time,
    Timed,
    Warm,
    Warmed,
    WatchMemory,
)
from .worker_process import Ended, WorkerProcess

_SAMPLE_SECONDS = 0.005  # between two looks at a worker whose memory is watched


@dataclass(frozen=True)
class Setting:
    """What all workers of a measurement have in common."""

    case: Case
    target: Target
    case_file: Path
    contender: Contender
    limits: Limits
    folder: Path
    say: Say

    def start(self, stderr: str, caches: Path | None = None) -> WorkerProcess:
        """Start a process, whose messages go to a file of the folder; see `WorkerProcess`."""
        self.say("starting")
        return WorkerProcess(self.contender.threads, self.folder / stderr, caches, self.limits.memory_mb)


class Session:
    """A worker process in which the case is loaded and the backend compiled; see `protocol` for what it is asked.

    Attributes
    ----------
    opened, warmed
        What importing and compiling took.
    seed
        That it was compiled with, and that its fits are started from.
    alive
        Threads of the process after each timed fit, where they can be counted.
    """

    def __init__(self, setting: Setting, process: WorkerProcess, seed: int) -> None:
        self.setting, self.process, self.seed = setting, process, seed
        self.alive: list[int] = []
        contender = setting.contender
        params = {
            **asdict(setting.case.objective),
            "dtype": contender.dtype,
            "n_jobs": contender.threads,
            **contender.params,
        }
        timeout, say = setting.limits.timeout, setting.say
        request = Open(path=str(setting.case_file), backend=contender.row.name, params=params)
        self.opened: Opened = process.ask(request, timeout, say)
        say("compiling")
        self.warmed: Warmed = process.ask(Warm(seed=seed), timeout, say)

    def calibrate(self) -> Calibrated:
        """Fit once, scored after each epoch."""
        limits, case = self.setting.limits, self.setting.case
        request = Calibrate(
            rungs={f"{rung['factor']:g}": rung["mse"] for rung in case.ladder if not rung["dropped"]},
            target=self.setting.target["mse"],
            seed=self.seed,
            max_epochs=limits.max_epochs,
            max_seconds=limits.max_seconds,
            patience=limits.patience,
        )
        return self.process.ask(request, limits.timeout, self.setting.say)

    def time(self, epochs: int, number: int, goal: float) -> Round:
        """Time a fit and score it; raise Ended where it used more threads than it may."""
        answer = self._time(epochs, self.seed, number, goal)
        check_settings(self.setting.contender.threads, answer.thread_settings)
        if answer.alive is not None:
            self.alive.append(answer.alive)
        return answer.round

    def time_again(self, epochs: int) -> Round:
        """Time a fit of the same ratings, apart from the rounds: no verdict on its score, nor on its threads."""
        return self._time(epochs, self.seed, 0, None).round

    def time_unseen(self, epochs: int, seed: int) -> Round:
        """Time a fit of ratings that nobody can have met; it goes into no record."""
        return self._time(epochs, seed, 0, None, unseen=True).round

    def watch_memory(self, epochs: int) -> tuple[FitMemory, list[ProcessSample]]:
        """Fit, untimed; return its memory, and what was seen of the process meanwhile."""
        request = WatchMemory(epochs=epochs, seed=self.seed)
        answer = self.process.ask(request, self.setting.limits.timeout, self.setting.say, _SAMPLE_SECONDS)
        return answer, self.process.samples

    def _time(self, epochs: int, seed: int, number: int, goal: float | None, unseen: bool = False) -> Timed:
        request = Time(
            epochs=epochs,
            seed=seed,
            round_number=number,
            factor=self.setting.target["factor"],
            target=goal,
            objective=self.setting.contender.row.minimises and not unseen,
            unseen=unseen,
        )
        answer = self.process.ask(request, self.setting.limits.timeout, self.setting.say)
        if isinstance(answer, Diverged):
            raise Ended("diverged", f"its loss exploded in timed round {number + 1}")
        if isinstance(answer, Inconsistent):
            told = f"it tells of {answer.claimed:.3g} s of work in a fit that took {answer.seconds:.3g} s"
            raise Ended("inconsistent", f"{told}: some of it was done before")
        return answer


def epochs_of(calibration: Calibration) -> int:
    """Return the epochs to the target of a calibration that reached it."""
    epochs = calibration["epochs"]
    assert epochs is not None
    return epochs
