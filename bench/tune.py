"""``python -m bench.tune``: tunes backends with equal budgets, and measures what it gains.

Every backend gets the same number of trials, each a fit with other hyper-parameters: first its
defaults, then points that cover its ``search_space`` evenly (a scrambled Halton sequence, the same
every time), as in the external tuning of AlgoPerf (Dahl et al. 2023, "Benchmarking neural network
training algorithms"). The trials are fitted to nine tenths of the training ratings and scored on
the last tenth, by the seconds of training to the matching target there, or by the lowest MSE where
biases alone reach that target. The validation and test ratings of the case have no part in it.

Then each backend is measured on the case itself, with its defaults and with the best trial's
hyper-parameters. The records go into a new run, for `python -m bench.report`, and all trials into
``reports/tuning``.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from scipy.stats import qmc

from backends import BackendUnavailable, UnknownBackend, get_backend
from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.cases.inner import inner_case
from bench.machine.environment import machine_facts
from bench.measure.backend_facts import BackendRow, Contender, Limits, backend_rows
from bench.measure.calibration import training_seconds
from bench.measure.measurement import Measurement, Run
from bench.measure.run_folder import RunFolder, open_run
from bench.measure.session import Session, Setting
from bench.measure.worker_process import Ended
from bench.text.files import write_all
from bench.text.progress import Notify, StatusLine
from bench.text.wording import DASH, mse, number

from .options import Selection, add_options
from .records import RUNS, TUNED, Record, Tuning, write_record
from .stats import ratio, summary

TRIALS = 20
SECONDS = 60.0
FOLDER = Path("reports/tuning")
_SEED = 0  # of the sequence of trials, and of the trials' initial models
_PATIENCE = 20  # epochs without a new best score after which a trial ends
_DIGITS = 3  # to which hyper-parameters are rounded
_SPLIT = "90/10 of the training ratings"
_status = StatusLine()


@dataclass
class Trial:
    """A fit with some hyper-parameters.

    Attributes
    ----------
    number
        Counted from 1; the first is with the defaults.
    params
        Hyper-parameters; empty for the defaults.
    seconds
        Of training to the target; None if it was not reached.
    mse
        The lowest validation MSE; infinite if the fit failed.
    failure
        Why there is no score, "" if there is one.
    """

    number: int
    params: dict[str, Any]
    seconds: float | None = None
    mse: float = math.inf
    failure: str = ""

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
        """The best trial; the earlier one of equally good ones."""
        return min(self.trials, key=lambda trial: trial.key)

    def facts(self, by_seconds: bool, most_seconds: float) -> Tuning:
        """Return the search's entry for a record."""

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
        If a range is not of positive numbers, the smaller one first.
    """
    for name, (low, high) in space.items():
        if not 0 < low < high < math.inf:
            raise ValueError(
                f"search_space must have a smallest value above 0 and a larger one for each "
                f"hyper-parameter, got {(low, high)} for {name}"
            )
    trials = [Trial(1, {})]
    if n > 1:
        points = qmc.Halton(len(space), seed=_SEED).random(n - 1)
        for number_, point in enumerate(points, 2):
            params: dict[str, Any] = {}
            for (name, (low, high)), share in zip(space.items(), point, strict=True):
                value = low * (high / low) ** share
                whole = isinstance(low, int) and isinstance(high, int)
                params[name] = round(value) if whole else float(f"{value:.{_DIGITS}g}")
            trials.append(Trial(number_, params))
    return trials


def run_trial(trial: Trial, setting: Setting) -> None:
    """Fit in a worker of its own, with an evaluation after each epoch, and note the score."""
    tried = replace(setting, contender=replace(setting.contender, params=trial.params))
    try:
        with tried.start("stderr-tuning.txt") as process:
            answer = Session(tried, process, _SEED).calibrate()
    except Ended as end:
        trial.failure = f"{end.status}: {end.reason}"
        return
    calibration = answer.calibration
    if answer.status == "diverged":
        trial.failure = "diverged"
        return
    trial.mse = min(point["validation_mse"] for point in calibration["trace"])
    if calibration["epochs"] is not None:
        trial.seconds = training_seconds(calibration)


def search(row: BackendRow, setting: Setting, n_trials: int, notify: Notify) -> Search:
    """Run all trials of one backend."""
    found = Search(row, make_trials(get_backend(row.name).search_space, n_trials))
    start = time.perf_counter()
    for trial in found.trials:
        best = min(
            (done for done in found.trials if done.seconds), key=lambda t: t.key, default=None
        )
        so_far = f", best {number(best.seconds)} s" if best else ""
        notify(f"trial {trial.number} of {n_trials}{so_far}")
        run_trial(trial, setting)
    found.seconds = time.perf_counter() - start
    return found


def measure(
    case: Case, contenders: Sequence[Contender], run: Run, selection: Selection
) -> list[Record]:
    """Measure contenders on the case; their rounds alternate."""
    with contextlib.ExitStack() as stack:
        measurements = [
            stack.enter_context(
                Measurement(
                    case,
                    entrant,
                    run,
                    seeds=selection.fit_seeds,
                    rounds=selection.timed_rounds,
                    notify=_status.of(entrant.label),
                )
            )
            for entrant in contenders
        ]
        for measurement in measurements:
            measurement.calibrate()
        for turn in range(max(measurement.wanted_rounds() for measurement in measurements)):
            for measurement in measurements:
                if turn < measurement.wanted_rounds():
                    measurement.time_round(rungs=False)
        for measurement in measurements:
            measurement.refit_unseen()
        for measurement in measurements:
            measurement.start_cold()
            measurement.watch_memory()
        return [measurement.record() for measurement in measurements]


def tune(
    case: Case,
    rows: Sequence[BackendRow],
    selection: Selection,
    folder: RunFolder,
    command: str,
    *,
    n_trials: int,
    most_seconds: float,
) -> tuple[list[Search], list[Record]]:
    """Tune the backends one after the other, measure each, and write the records."""
    inner = inner_case(case, _status.of("tuning"))
    assert inner.target is not None
    by_seconds = inner.target["mse"] > 0
    limits = Limits(
        max_seconds=most_seconds,
        patience=_PATIENCE,
        timeout=10 * most_seconds + 60,  # evaluations and compilation come on top
    )
    work = folder.work / "tuning"
    work.mkdir()
    case_file = write_case(work, inner)
    run = Run(folder.path.name, command, folder.work, selection.limits)
    searches, records = [], []
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
        found = search(row, setting, n_trials, _status.of(row.name))
        searches.append(found)
        contenders = [plain]
        if found.best.params:
            contenders.append(replace(plain, params=found.best.params, label=row.name + TUNED))
        for record in measure(case, contenders, run, selection):
            record["tuning"] = found.facts(by_seconds, most_seconds)
            write_record(folder.path, record)
            records.append(record)
    return searches, records


def outcome_rows(searches: Sequence[Search], records: Sequence[Record]) -> list[list[str]]:
    """Return one row per backend: cost, choice, and what it had before and after.

    Both are given by the trials' score, and by seconds and test MSE on the case itself.
    """
    by_name = {record["backend"]["name"]: record for record in records}
    rows = []
    for found in searches:
        default = by_name[found.row.name]
        tuned = by_name.get(found.row.name + TUNED, default)
        gain = DASH
        if default["status"] == tuned["status"] == "matched" and tuned is not default:
            gain = number(ratio(default["rounds"], tuned["rounds"]).value)
        rows.append(
            [
                found.row.name,
                str(len(found.trials)),
                f"{found.seconds:.0f}",
                as_text(found.best.params),
                *[_score(trial) for trial in (found.trials[0], found.best)],
                *[number(summary(record["rounds"])) for record in (default, tuned)],
                gain,
                *[mse(summary(record["rounds"], "test_mse")) for record in (default, tuned)],
            ]
        )
    return rows


def _score(trial: Trial) -> str:
    """Return what a trial was compared by, as text."""
    if trial.failure:
        return "failed"
    return f"MSE {mse(trial.mse)}" if trial.seconds is None else f"{number(trial.seconds)} s"


def as_text(params: dict[str, Any]) -> str:
    """Return hyper-parameters as text, "the defaults" for none."""
    return ", ".join(f"{name}={value:g}" for name, value in params.items()) or "the defaults"


def page(case: Case, command: str, rows: Sequence[Sequence[str]]) -> str:
    """Return the page in Markdown about one run of this command."""
    header = ["backend", "trials", "cost, s", "chosen", "default, trial", "best trial"]
    header += ["default, s", "tuned, s", "gain", "default, test MSE", "tuned, test MSE"]
    facts = machine_facts()
    lines = [
        f"# Tuning on {case.facts['name']}",
        "",
        f"`{command}`, on {facts['cores']} cores ({facts['cpu']}).",
        "",
        f"Trials were fitted and scored on {_SPLIT}: by the seconds of training to the matching "
        "target there, or by the lowest MSE if it was not reached. Seconds, gain and test MSE are "
        "measured on the case itself, whose validation and test ratings had no part in the choice: "
        "medians over the seeds.",
        *(
            ["", "The case has no target, as factors do not help: nothing was measured on it."]
            if case.target is None
            else []
        ),
        "",
        f"| {' | '.join(header)} |",
        "|" + "---|" * len(header),
        *[f"| {' | '.join(row)} |" for row in rows],
    ]
    return "\n".join(lines) + "\n"


def trials_csv(searches: Sequence[Search]) -> str:
    """Return all trials as CSV."""
    names = list(dict.fromkeys(name for s in searches for t in s.trials for name in t.params))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["backend", "trial", *names, "seconds", "validation_mse", "failure"])
    for found in searches:
        for trial in found.trials:
            values = [trial.params.get(name, "") for name in names]
            seconds = "" if trial.seconds is None else f"{trial.seconds:.6g}"
            score = f"{trial.mse:.6f}" if math.isfinite(trial.mse) else ""
            writer.writerow([found.row.name, trial.number, *values, seconds, score, trial.failure])
    return out.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Tune, measure and write the tables; return the exit status: 130 after Ctrl-C, else 0."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = vars(parser.parse_args(words))
    selection = Selection(**{one.name: options[one.name] for one in fields(Selection)})
    try:
        selection.check()
        if options["trials"] < 1:
            raise ValueError(f"--trials must be at least 1, got {options['trials']}")
        if not 0 < options["seconds"] < math.inf:
            raise ValueError(f"--seconds must be a finite number above 0, got {options['seconds']}")
        rows = _rows(options["backend"])
        case = selection.build_case(_status.of("case"))
    except (ValueError, UnknownBackend, BackendUnavailable) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return _interrupted()
    command = shlex.join(["python", "-m", "bench.tune", *words])
    try:
        folder = open_run(command)
    except OSError as error:
        parser.error(f"records cannot be written to {RUNS.resolve()} ({error})")
    try:
        searches, records = tune(
            case,
            rows,
            selection,
            folder,
            command,
            n_trials=options["trials"],
            most_seconds=options["seconds"],
        )
        folder.mark_done()
    except KeyboardInterrupt:
        return _interrupted()
    finally:
        folder.close()
    _status.clear()
    text = page(case, command, outcome_rows(searches, records))
    print(text)
    stem = "-".join("".join(c if c.isalnum() else " " for c in case.facts["name"]).split())
    output: Path = options["output"]
    output.mkdir(parents=True, exist_ok=True)
    write_all(
        output,
        {f"{stem}.md": text.encode(), f"{stem}.csv": trials_csv(searches).encode()},
    )
    print(f"Trials: {output / stem}.csv. Records: {folder.path} ", end="")
    print(f"(python -m bench.report --input {folder.path})")
    return 0


def _rows(names: Sequence[str]) -> list[BackendRow]:
    """Return the backends to tune: those named, or all that can run here.

    Raises
    ------
    UnknownBackend, BackendUnavailable, ValueError
        For a name that does not exist or cannot run here, and for a space that cannot be searched.
    """
    known = backend_rows()
    if not names:
        names = [row.name for row in known.values() if row.available and not row.same_as]
    for name in names:
        make_trials(get_backend(name).search_space, 1)
    return [known[name] for name in dict.fromkeys(names)]


def _interrupted() -> int:
    _status.clear()
    print("interrupted: the backends that were done have their records", file=sys.stderr)
    return 130  # the shell's convention for a command that Ctrl-C ended


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.tune", description=__doc__)
    parser.add_argument(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="backend to tune, can be repeated (default: all that can run here)",
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
        "--output",
        type=Path,
        default=FOLDER,
        help="folder for the table and the trials (default: %(default)s)",
    )
    add_options(parser.add_argument)
    return parser


if __name__ == "__main__":
    sys.exit(main())
