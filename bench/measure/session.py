"""A session with one worker, whose methods send the requests of `protocol`.

`Setting` is what all workers of a measurement have in common, `Session` one worker with one seed.
"""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.machine.processes import ProcessSample
from bench.records import Calibration, ListMetrics, Round, Target
from bench.text.progress import Notify

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
    RatingsKind,
    Time,
    Timed,
    Warm,
    Warmed,
    WatchMemory,
)
from .worker_process import Ended, WorkerProcess

_SAMPLE_SECONDS = 0.005  # between two looks at a worker whose memory is watched
_MISSING = "is not installed"  # what `backends.unavailable_reason` says of a package
_GRACE = 15.0  # seconds for preparing a fit and for scoring its model


@dataclass(frozen=True)
class Setting:
    """What all workers of a measurement have in common.

    Attributes
    ----------
    case, target
        The case, and its matching target.
    case_file
        File with the case's ratings, which workers read.
    contender
        The backend, as it was asked for.
    limits
        When to give up.
    folder
        Folder for what workers print and for compiled kernels.
    notify
        Called with progress messages.
    """

    case: Case
    target: Target
    case_file: Path
    contender: Contender
    limits: Limits
    folder: Path
    notify: Notify

    def start(self, stderr: str, caches: Path | None = None) -> WorkerProcess:
        """Start a worker whose standard error goes to a new file of the folder."""
        self.notify("starting")
        if not self.case_file.exists():  # a backend may have deleted the folder
            write_case(self.folder, self.case)
        path = self.folder / f"{uuid.uuid4().hex}-{stderr}"
        limits, row = self.limits, self.contender.row
        return WorkerProcess(
            self.contender.threads, path, caches, limits.memory_mb, interpreter=row.interpreter
        )


class Session:
    """A worker that has loaded the case, and imported and compiled the backend.

    Attributes
    ----------
    opened, warmed
        The worker's answers about the import and the compilation.
    seed
        Seed of its fits.
    lists
        Metrics of the lists of the first timed fit's model, once it was timed; None if nothing is
        relevant.
    products
        How the last timed fit computed its sums over ratings; see `bench.records.Record`.
    alive
        Number of threads of the process after each timed fit, where they can be counted.
    """

    def __init__(self, setting: Setting, process: WorkerProcess, seed: int) -> None:
        self.setting, self.process, self.seed = setting, process, seed
        self.alive: list[int] = []
        self.lists: ListMetrics | None = None
        self.products = ""
        contender = setting.contender
        objective = asdict(setting.case.objective)
        if contender.row.library:
            # No library has this objective: reg is in its own unit, and it has no dampings.
            objective = {"rank": setting.case.objective.rank}
        params = {
            **objective,
            "dtype": contender.dtype,
            "n_jobs": contender.threads,
            **contender.params,
        }
        timeout, notify = setting.limits.timeout, setting.notify
        request = Open(
            path=str(setting.case_file),
            backend=contender.row.name,
            params=params,
            adapter=bool(contender.row.library),
        )
        self.opened: Opened = self._open(request)
        notify("compiling")
        self.warmed: Warmed = process.ask(Warm(seed=seed), timeout, notify)

    def _open(self, request: Open) -> Opened:
        """Have the worker open the case; of a damaged environment, say how to mend it."""
        row = self.setting.contender.row
        try:
            return self.process.ask(request, self.setting.limits.timeout, self.setting.notify)
        except Ended as end:
            if row.interpreter is None or not (end.status == "crashed" or _MISSING in end.reason):
                raise
            remedy = f"to make it anew: python -m bench.peers install --again {row.name}"
            reason = f"in its environment: {end.reason}; if that is damaged, {remedy}"
            raise Ended(end.status, reason, end.seconds, end.details) from None

    def calibrate(self, first_epochs: int = 1) -> Calibrated:
        """Fit with an evaluation after each epoch; see `protocol.Calibrate`."""
        limits, restarts = self.setting.limits, not self.setting.contender.row.steppable
        # How many epochs each target takes would be another search for each.
        ladder = [self.setting.target] if restarts else self.setting.case.ladder
        targets = {
            f"{target['factor']:g}": target["mse"] for target in ladder if not target["dropped"]
        }
        request = Calibrate(
            targets=targets,
            target=self.setting.target["mse"],
            seed=self.seed,
            max_epochs=limits.max_epochs,
            max_seconds=limits.max_seconds,
            patience=limits.patience,
            first_epochs=first_epochs,
            total_seconds=limits.of_all_fits,
        )
        # An epoch, or a fit that starts again, may not take longer than all epochs together.
        silence = limits.max_seconds + _GRACE
        timeout = limits.timeout + (limits.of_all_fits if restarts else 0.0)
        return self.process.ask(request, timeout, self.setting.notify, silence=silence)

    def time(self, epochs: int, number: int, target: float, lists: bool = False) -> Round:
        """Time a fit, score it (``lists`` too if wanted), and check the threads that it leaves.

        Raises
        ------
        Ended
            When the fit fails, or a library was set to use more threads than the budget.
        """
        answer = self._time(epochs, self.seed, number, target, lists=lists)
        if lists:
            self.lists = answer.lists
        self.products = answer.products
        check_settings(self.setting.contender.threads, answer.thread_settings)
        self._note_threads(answer)
        return answer.round

    def warm_up(self, epochs: int) -> None:
        """Fit before a round, so that the processor's caches are those of a loop of fits."""
        self._note_threads(self._time(epochs, self.seed, 0, None))

    def fit(self, epochs: int, *, seed: int | None = None, ratings: RatingsKind = "known") -> Round:
        """Time a fit outside the rounds, without checking score or threads.

        Parameters
        ----------
        epochs
            How many.
        seed
            Of the fit; the session's when None.
        ratings
            Which; see `worker.Worker.ratings_of`. The result goes into no record unless they are
            the known ones.
        """
        return self._time(epochs, self.seed if seed is None else seed, 0, None, ratings).round

    def watch_memory(self, epochs: int) -> tuple[FitMemory, list[ProcessSample]]:
        """Fit, untimed; return the memory that it took, and samples of the process meanwhile."""
        request = WatchMemory(epochs=epochs, seed=self.seed)
        timeout, notify = self.setting.limits.timeout, self.setting.notify
        answer = self.process.ask(request, timeout, notify, _SAMPLE_SECONDS)
        return answer, self.process.samples

    def _note_threads(self, answer: Timed) -> None:
        if answer.alive is not None:
            self.alive.append(answer.alive)

    def _time(
        self,
        epochs: int,
        seed: int,
        number: int,
        target: float | None,
        ratings: RatingsKind = "known",
        lists: bool = False,
    ) -> Timed:
        """Time a fit in the worker; raise Ended if it diverged or contradicts the clock."""
        request = Time(
            epochs=epochs,
            seed=seed,
            round_number=number,
            factor=self.setting.target["factor"],
            target=target,
            objective=self.setting.contender.row.minimises and ratings == "known",
            ratings=ratings,
            lists=lists,
        )
        answer = self.process.ask(request, self.setting.limits.timeout, self.setting.notify)
        if isinstance(answer, Diverged):
            raise Ended("diverged", f"its loss exploded in timed round {number + 1}")
        if isinstance(answer, Inconsistent):
            raise Ended(
                "inconsistent",
                f"it reports {answer.claimed:.3g} s of work in a fit that took "
                f"{answer.seconds:.3g} s: some of it was done before",
            )
        return answer


def epochs_of(calibration: Calibration) -> int:
    """Return the number of epochs of a calibration that reached the target."""
    epochs = calibration["epochs"]
    assert epochs is not None
    return epochs
