"""``python -m bench.tune``: tunes backends with equal budgets, and measures what it gains.

Every backend gets the same number of trials, each a fit with other hyper-parameters: first what the
case has, then points that cover its ``search_space`` evenly (a scrambled Halton sequence, the same
every time), as in the external tuning of AlgoPerf (Dahl et al. 2023, "Benchmarking neural network
training algorithms"). The trials are fitted to nine tenths of the training ratings and scored on
the last tenth, by the seconds of training to the matching target there. A trial is given up once it
has trained for twice as long as the fastest one took. Trials that do not reach the target come
after those that do, by their lowest MSE. The best few and the first are then timed four times more
(once, if that takes over five seconds), and only these times decide, since the best of many single
times is fast by luck. The first trial is kept unless all times of another are below all of its own
(or, without the target, the MSE is half a percent lower). The first trial of another library has
that library's defaults.

The case's test ratings have no part in it, and its validation ratings only through the case's reg
and damping, which suit ALS best on them: these are what the first trial has.

Then each backend is measured on the case itself, as it was and with the best trial's
hyper-parameters. The records go into a new run, for `python -m bench.report`, and all trials into
``reports/tuning``. A run that is cut off goes on after the backends whose trials are done.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from scipy.stats import qmc

from backends import BackendUnavailable, UnknownBackend, backend_class
from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.cases.inner import inner_case
from bench.machine.environment import machine_facts, machine_key, short_hash
from bench.measure.backend_facts import (
    BackendRow,
    Contender,
    Limits,
    backend_rows,
    check_backend,
)
from bench.measure.calibration import training_seconds
from bench.measure.measurement import Measurement, Run
from bench.measure.run_folder import RunFolder, open_run
from bench.measure.session import Session, Setting
from bench.measure.tuned import (
    TriedOnce,
    TunedBackend,
    TunedFile,
    read_tuned,
    tuned_file,
)
from bench.measure.turns import CodeChanged, take_turns
from bench.measure.worker_process import Ended
from bench.report.outcome.verdict import with_interval
from bench.text import command
from bench.text.files import write_all
from bench.text.privacy import scrub
from bench.text.progress import Notify, StatusLine
from bench.text.wording import DASH, mse, number

from .options import Selection, add_options
from .records import RUNS, TUNED, Record, Tuning
from .stats import ratio, summary

TRIALS = 20
SECONDS = 30.0
FOLDER = Path("reports/tuning")
_SEED = 0  # of the sequence of trials, and of the trials' initial models
_FINALISTS, _MORE_TIMES = 3, 4  # the best trials are timed this many times more
_LONG, _MORE_TIMES_OF_LONG = 5.0, 1  # seconds of a trial, and how often it is timed again then
_LOST = 2.0  # times the seconds of the fastest trial: then another one is given up
_OF_TRIALS = 6  # columns of the table that are about the trials alone
_FAULTS = ("crashed", "unavailable", "out of memory")  # what no trial should end with
_DIGITS = 3  # to which hyper-parameters are rounded
_SPLIT = "90/10 of the training ratings"
_OTHER_HELP = {  # of options whose defaults differ from those of the other commands
    "rank": "number of factors (default: 16)",
    "quick": "the twin at 0.02, or at most 100,000 ratings of whole users",
}
_status = StatusLine()


@dataclass
class Trial:
    """A fit with some hyper-parameters.

    Attributes
    ----------
    number
        Counted from 1.
    params
        Hyper-parameters beside the case's; empty for the first.
    times
        Seconds of training to the target, one for each time that it was fitted; empty if the target
        was not reached.
    mse
        The lowest validation MSE; infinite if there is none.
    ended
        How the first fit ended, in a word; or why it failed.
    epochs
        How many the last fit took to the target; None if it was not reached.
    """

    number: int
    params: dict[str, Any]
    times: list[float] = field(default_factory=list)
    mse: float = math.inf
    ended: str = ""
    epochs: int | None = None

    @property
    def seconds(self) -> float | None:
        """Median seconds to the target; None if it was not reached."""
        return statistics.median(self.unbiased_times) if self.times else None

    @property
    def unbiased_times(self) -> list[float]:
        """The times after the first, by which the trial was picked; the first if it is alone."""
        return self.times[1:] or self.times

    @property
    def key(self) -> tuple[int, float]:
        """By which trials are ordered: those that reach the target first, the fastest before."""
        return (1, self.mse) if self.seconds is None else (0, self.seconds)


@dataclass
class Search:
    """The trials of one backend, and the seconds that they took."""

    row: BackendRow
    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def best(self) -> Trial:
        """The best trial: the first unless another is clearly faster, or has a lower error."""
        first = self.trials[0]
        timed_again = [trial for trial in self.trials if len(trial.times) > 1]
        best = min(timed_again or self.trials, key=lambda trial: trial.key)
        if first.times and best.times:
            is_clear = max(best.unbiased_times) < min(first.unbiased_times)
        else:
            is_clear = bool(best.times) or best.mse < first.mse
        return best if is_clear else first

    @property
    def finalists(self) -> list[Trial]:
        """The first trial and the best ones, of those that reached the target."""
        reached = sorted((trial for trial in self.trials if trial.times), key=lambda t: t.key)
        first = self.trials[0]
        return list({trial.number: trial for trial in [first, *reached[:_FINALISTS]]}.values())

    def stored(self, most_seconds: float) -> TunedBackend:
        """Return the search as it is stored."""
        trials = [
            TriedOnce(
                trial.number,
                trial.params,
                trial.times,
                trial.mse if math.isfinite(trial.mse) else None,
                trial.ended,
            )
            for trial in self.trials
        ]
        return TunedBackend(self.facts(most_seconds), trials)

    @classmethod
    def from_stored(cls, row: BackendRow, found: TunedBackend) -> Self:
        """Return a search that was stored."""
        trials = [
            Trial(
                one.number,
                one.params,
                one.times,
                math.inf if one.mse is None else one.mse,
                one.ended,
            )
            for one in found.trials
        ]
        return cls(row, trials, found.tuning["seconds"])

    def facts(self, most_seconds: float) -> Tuning:
        """Return the search's entry for a record."""
        by_seconds = self.best.seconds is not None

        def score(trial: Trial) -> float | None:
            found = trial.seconds if by_seconds else trial.mse
            return found if found is not None and math.isfinite(found) else None

        return Tuning(
            trials=len(self.trials),
            seconds=self.seconds,
            most_seconds=most_seconds,
            split=_SPLIT,
            score="seconds to the target" if by_seconds else "lowest validation MSE",
            default=score(self.trials[0]),
            best=score(self.best),
            best_trial=self.best.number,
            params=self.best.params,
        )


def make_trials(space: dict[str, tuple[float, float]], n: int) -> list[Trial]:
    """Return ``n`` trials to run; the first are the same for every ``n``.

    Values between integers are integers, others are rounded to three digits.

    Raises
    ------
    ValueError
        If there is nothing to vary, or a range is not of positive numbers, the smaller one first.
    """
    if not space:
        raise ValueError("search_space is empty: there is nothing to tune")
    for name, (low, high) in space.items():
        if not 0 < low < high < math.inf:
            raise ValueError(
                f"search_space must have a smallest value above 0 and a larger one for each "
                f"hyper-parameter, got {(low, high)} for {name}"
            )
    trials = [Trial(1, {})]
    if n > 1:
        points = qmc.Halton(len(space), seed=_SEED).random(n - 1)
        for place, point in enumerate(points, 2):
            params: dict[str, Any] = {}
            for (name, (low, high)), share in zip(space.items(), point, strict=True):
                value = low * (high / low) ** share
                whole = isinstance(low, int) and isinstance(high, int)
                params[name] = round(value) if whole else float(f"{value:.{_DIGITS}g}")
            trials.append(Trial(place, params))
    return trials


def run_trial(trial: Trial, setting: Setting) -> None:
    """Fit in a worker of its own, with an evaluation after each epoch, and note the score."""
    tried = replace(setting, contender=replace(setting.contender, params=trial.params))
    try:
        with tried.start("stderr-tuning.txt") as process:
            # Where a solver starts again for every number of epochs, it begins where it ended.
            answer = Session(tried, process, _SEED).calibrate(trial.epochs or 1)
    except Ended as end:
        trial.ended = trial.ended or f"{end.status}: {end.reason}"
        return
    trial.ended = trial.ended or answer.status
    if answer.status == "diverged":
        return
    trace = answer.calibration["trace"]
    trial.mse = min([trial.mse, *(point["validation_mse"] for point in trace)])
    if answer.calibration["epochs"] is not None:
        trial.times.append(training_seconds(answer.calibration))
        trial.epochs = answer.calibration["epochs"]


def search(row: BackendRow, setting: Setting, n_trials: int, notify: Notify) -> Search:
    """Run all trials of one backend, and the best ones again."""
    found = Search(row, make_trials(backend_class(row.name).search_space, n_trials))
    start = time.perf_counter()
    most_seconds = setting.limits.max_seconds
    for trial in found.trials:
        notify(f"trial {trial.number} of {n_trials}")
        fastest = min((done.seconds for done in found.trials if done.seconds), default=math.inf)
        limits = replace(setting.limits, max_seconds=min(most_seconds, _LOST * fastest))
        run_trial(trial, replace(setting, limits=limits))
    finalists = found.finalists
    fastest = min((trial.seconds or math.inf for trial in finalists), default=math.inf)
    turns = _MORE_TIMES if fastest < _LONG else _MORE_TIMES_OF_LONG
    for turn in range(turns if len(finalists) > 1 else 0):
        for trial in finalists:
            notify(f"trial {trial.number} again, {turn + 1} of {turns}")
            run_trial(trial, setting)
    found.seconds = time.perf_counter() - start
    return found


def measure(
    case: Case,
    contenders: Sequence[Contender],
    run: Run,
    selection: Selection,
    folder: RunFolder,
    tuning: Tuning,
) -> list[Record]:
    """Measure contenders on the case in turns, and write and return their records."""
    measurements = [
        Measurement(
            case,
            entrant,
            run,
            seeds=selection.fit_seeds,
            rounds=selection.timed_rounds,
            order="interleaved",
            notify=_status.of(entrant.label),
        )
        for entrant in contenders
    ]
    for measurement in measurements:
        measurement.tuning = tuning
    return take_turns(measurements, folder, seed=selection.seed, rungs=False)


@dataclass
class Tables:
    """The files that a run of this command writes, anew after each backend."""

    folder: Path
    stem: str
    command: str
    most_seconds: float  # of training in a trial
    key: str  # hash of what the trials depend on
    n_backends: int = 0  # that the files have

    @property
    def trials(self) -> Path:
        """The file of all trials."""
        return self.folder / f"{self.stem}.csv"

    def write(self, case: Case, searches: Sequence[Search], records: Sequence[Record]) -> str:
        """Write the files, and return the page."""
        text = page(
            case,
            self.command,
            outcome_rows(searches, records),
            most_seconds=self.most_seconds,
            measured=bool(records),
        )
        backends = {found.row.name: found.stored(self.most_seconds) for found in searches}
        tuned = TunedFile(case.facts["name"], self.key, backends)
        contents = {
            f"{self.stem}.md": text.encode(),
            f"{self.stem}.csv": trials_csv(searches).encode(),
            f"{self.stem}.json": tuned_file(tuned),
        }
        write_all(self.folder, contents)
        self.n_backends = len(searches)
        return text

    def stored(self, rows: Sequence[BackendRow]) -> dict[str, Search]:
        """Return the searches that an earlier run of the same kind has done, by backend.

        Those of another search space are left out, and those in which no trial could run.
        """
        try:
            found = read_tuned(self.folder / f"{self.stem}.json")
        except ValueError:  # there is none, or none of this release
            return {}
        if found.key != self.key:
            return {}
        stored = {}
        for row in rows:
            if row.name in found.backends:
                search = Search.from_stored(row, found.backends[row.name])
                space = backend_class(row.name).search_space
                wanted = [trial.params for trial in make_trials(space, len(search.trials))]
                ran = [trial for trial in search.trials if not trial.ended.startswith(_FAULTS)]
                if ran and [trial.params for trial in search.trials] == wanted:
                    stored[row.name] = search
        return stored


def tune(
    case: Case,
    inner: Case,
    rows: Sequence[BackendRow],
    selection: Selection,
    folder: RunFolder,
    tables: Tables,
    *,
    n_trials: int,
    most_seconds: float,
    only_trials: bool = False,
) -> str:
    """Tune the backends one after the other, measure each, and return the page about all.

    ``only_trials`` leaves out measuring them on the case itself.
    """
    assert inner.target is not None
    limits = Limits(
        max_seconds=most_seconds,
        timeout=10 * most_seconds + 60,  # evaluations and compilation come on top
    )
    work = folder.work / "tuning"
    work.mkdir()
    case_file = write_case(work, inner)
    run = Run(folder.path.name, tables.command, folder.work, selection.limits)
    done = tables.stored(rows)
    searches: list[Search] = []
    records: list[Record] = []
    text = ""
    for row in rows:
        plain = Contender(row, selection.budget, label=row.name)
        setting = Setting(
            case=inner,
            target=inner.target,
            case_file=case_file,
            contender=plain,
            limits=limits,
            folder=work,
            notify=lambda text: None,
        )
        notify = _status.of(row.name)
        if row.name in done:
            notify("its trials were run before")
        found = done.get(row.name) or search(row, setting, n_trials, notify)
        searches.append(found)
        contenders = [plain]
        if found.best.params:
            contenders.append(replace(plain, params=found.best.params, label=row.name + TUNED))
        if not only_trials:
            facts = found.facts(most_seconds)
            records += measure(case, contenders, run, selection, folder, facts)
        text = tables.write(case, searches, records)
    return text


def outcome_rows(searches: Sequence[Search], records: Sequence[Record]) -> list[list[str]]:
    """Return one row per backend: cost, choice, and what it had before and after.

    Both are given by the trials' score and, unless only trials were run, by seconds and test MSE on
    the case itself.
    """
    by_name = {record["backend"]["name"]: record for record in records}
    rows = []
    for found in searches:
        first = by_name.get(found.row.name)
        tuned = by_name.get(found.row.name + TUNED, first)
        measured = [record for record in (first, tuned) if record is not None]
        gain = DASH
        if (
            first is not None
            and tuned is not None
            and first["status"] == tuned["status"] == "matched"
            and tuned is not first
        ):
            gain = with_interval(ratio(first["rounds"], tuned["rounds"], paired=True))
        rows.append(
            [
                found.row.name,
                str(len(found.trials)),
                f"{found.seconds:.0f}",
                as_text(found.best.params),
                *[_score(trial) for trial in (found.trials[0], found.best)],
                *([_seconds(record) for record in measured] or [DASH] * 2),
                gain,
                *(
                    [mse(summary(record["rounds"], "test_mse")) for record in measured]
                    or [DASH] * 2
                ),
            ]
        )
    return rows


def _seconds(record: Record) -> str:
    """Return the seconds to the target as text, or the status of what has none."""
    if record["target"] is None:
        return DASH
    return number(summary(record["rounds"])) if record["status"] == "matched" else record["status"]


def _score(trial: Trial) -> str:
    """Return what a trial was compared by, as text."""
    if trial.seconds is not None:
        return f"{number(trial.seconds)} s"
    return f"MSE {mse(trial.mse)}" if math.isfinite(trial.mse) else "failed"


def as_text(params: dict[str, Any]) -> str:
    """Return hyper-parameters as text, "the first trial" for none."""
    return ", ".join(f"{name}={value:g}" for name, value in params.items()) or "the first trial"


def page(
    case: Case,
    command: str,
    rows: Sequence[Sequence[str]],
    *,
    most_seconds: float,
    measured: bool = True,
) -> str:
    """Return the page in Markdown about one run of this command.

    ``measured`` is whether the backends were measured on the case itself, by the last columns.
    """
    header = ["backend", "trials", "cost, s", "chosen", "first trial", "best trial"]
    header += ["as it was, s", "tuned, s", "gain", "as it was, test MSE", "tuned, test MSE"]
    facts, objective = machine_facts(), case.objective
    lines = [
        f"# Tuning on {case.facts['name']}",
        "",
        f"`{command}`, on {facts['cores']} cores ({facts['cpu']}).",
        "",
        f"Trials were fitted and scored on {_SPLIT}: by the seconds of training to the matching "
        "target there, or by the lowest MSE if it was not reached. The first trial has the case's "
        f"reg ({objective.reg:g}) and damping ({objective.damping:g}), which suit ALS best on its "
        "validation ratings, and the backend's other defaults; the first trial of another library "
        f"has that library's defaults. A trial was given up after {most_seconds:g} s of training; "
        "for a solver that starts again for every number of epochs that holds for each of its "
        "fits, and five times as long for all of them.",
    ]
    if measured:
        lines[-1] += (
            " Seconds, gain and test MSE are measured on the case itself, whose test ratings had "
            "no part in anything: medians over the seeds."
        )
    else:
        header, rows = header[:_OF_TRIALS], [row[:_OF_TRIALS] for row in rows]
    if case.target is None:
        reasons = dict.fromkeys(level["dropped"] for level in case.ladder if level["dropped"])
        lines += ["", f"Nothing was measured there: it has no target ({'; '.join(reasons)})."]
    lines += ["", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def trials_csv(searches: Sequence[Search]) -> str:
    """Return all trials as CSV."""
    names = list(dict.fromkeys(name for s in searches for t in s.trials for name in t.params))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["backend", "trial", *names, "seconds", "validation_mse", "ended"])
    for found in searches:
        for trial in found.trials:
            values = [trial.params.get(name, "") for name in names]
            seconds = "" if trial.seconds is None else f"{trial.seconds:.6g}"
            score = f"{trial.mse:.6f}" if math.isfinite(trial.mse) else ""
            writer.writerow([found.row.name, trial.number, *values, seconds, score, trial.ended])
    return out.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Tune, measure and write the tables; return the exit status: 130 after Ctrl-C, else 0."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = vars(parser.parse_args(words))
    selection = Selection(**{one.name: options[one.name] for one in fields(Selection)})
    output: Path = options["output"]
    try:
        selection.check()
        if options["trials"] < 1:
            raise ValueError(f"--trials must be at least 1, got {options['trials']}")
        if not 0 < options["seconds"] < math.inf:
            raise ValueError(f"--seconds must be a finite number above 0, got {options['seconds']}")
        rows = _rows(options["backend"], options["peers"])
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass  # it can be written to
        case = selection.build_case(_status.of("case"))
        inner = inner_case(case, _status.of("tuning"))
    except (ValueError, UnknownBackend, BackendUnavailable) as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"--output must be a folder that can be written to, got {output} ({error})")
    except KeyboardInterrupt:
        return _interrupted(None)
    command = shlex.join(["python", "-m", "bench.tune", *words])
    stem = _stem(case, options["backend"], options["peers"])
    n_trials, seconds = options["trials"], options["seconds"]
    facts = [inner.data.hash, inner.target, case.facts["rank"], case.facts["reg"]]
    key = short_hash([*facts, machine_key(machine_facts()), n_trials, seconds, selection.budget])
    if options["again"]:
        (output / f"{stem}.json").unlink(missing_ok=True)
    tables = Tables(output, stem, scrub(command), seconds, key)
    try:
        folder = open_run(command)
    except OSError as error:
        parser.error(f"records cannot be written to {RUNS.resolve()} ({error})")
    try:
        for left in folder.path.glob("*.json"):
            left.unlink()  # of a run of the same command that was cut off: all is measured again
        text = tune(
            case,
            inner,
            rows,
            selection,
            folder,
            tables,
            n_trials=n_trials,
            most_seconds=seconds,
            only_trials=options["only_trials"],
        )
        folder.mark_done()
    except KeyboardInterrupt:
        return _interrupted(tables)
    except CodeChanged as error:
        _status.clear()
        print(f"error: the run is not done: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        _status.clear()
        where = f"{folder.path} or {output}"
        print(f"error: a file in {where} cannot be written ({error})", file=sys.stderr)
        return 2
    finally:
        folder.close()
    _status.clear()
    print(text)
    print(f"Trials: {tables.trials}. Records: {folder.path} ", end="")
    print(f"(python -m bench.report --input {folder.path})")
    return 0


def _stem(case: Case, backends: Sequence[str], peers: bool) -> str:
    """Return the name of the files: the case, and the backends if they were chosen."""
    parts = [case.facts["name"], *dict.fromkeys(backends), *(["peers"] if peers else [])]
    letters = "".join(letter if letter.isalnum() else " " for letter in " ".join(parts))
    return "-".join(letters.split())


def _rows(names: Sequence[str], peers: bool) -> list[BackendRow]:
    """Return the backends to tune: those named, or all that can run here.

    Adapters to other libraries are among all if ``peers``; those that cannot run are named on
    standard error.

    Raises
    ------
    UnknownBackend, BackendUnavailable, ValueError
        For a name that does not exist or cannot run here, and for a space that cannot be searched.
    """
    known = backend_rows()
    available = [row for row in known.values() if row.available and not row.same_as]
    names = list(names) or [row.name for row in available if not row.library]
    if peers:
        names += [row.name for row in available if row.library]
        for row in known.values():
            if row.library and not row.available:
                print(f"{row.name} is not tuned: {row.reason}", file=sys.stderr)
    for name in names:
        check_backend(name, known)
        make_trials(backend_class(name).search_space, 1)
    names = [known[name].same_as or name for name in names]  # a short name is no other backend
    return [known[name] for name in dict.fromkeys(names)]


def _interrupted(tables: Tables | None) -> int:
    _status.clear()
    done = ""
    if tables and tables.n_backends:
        done = (
            f": the backends that were done ({tables.n_backends}) are in {tables.trials}, and the "
            "same command goes on after them"
        )
    print(f"interrupted{done}", file=sys.stderr)
    return 130  # the shell's convention for a command that Ctrl-C ended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.tune", description=__doc__)
    parser.add_argument(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="backend to tune, can be repeated (default: all of this project that can run here)",
    )
    parser.add_argument(
        "--peers", action="store_true", help="tune the adapters to other libraries too"
    )
    parser.add_argument(
        "--trials", type=int, default=TRIALS, help="trials per backend (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="most seconds of training in a trial (default: %(default)g)",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="run all trials anew, also those that an earlier run of the same kind has done on "
        "this machine, which are in the .json file",
    )
    parser.add_argument(
        "--only-trials",
        action="store_true",
        help="leave out measuring on the case itself, which a benchmark run with --tuned does",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=FOLDER,
        help="folder for the table and the trials (default: %(default)s)",
    )
    add_options(parser.add_argument, _OTHER_HELP)
    return parser


if __name__ == "__main__":
    command.run(main)
