"""How the defaults were chosen: the same number of random trials per solver, on several data sets.

``python -m bench.defaults DATA... --trials N`` fits each backend of `RATES` with N draws from
`SPACE` on each data set, all with one seed. A trial's score on a data set is its validation MSE
after the last epoch, divided by the lowest that any trial of its backend reached there. The best
trial over several sets has the lowest mean logarithm of its scores. "Best over the other sets" is
chosen without the set that it is shown on. The test rows only show the result of a choice.

Then every solver is fitted with its defaults on several splits, with and without validation rows.

The command writes every trial (``trials.csv``) and the tables (``README.md``) into
``reports/defaults`` or another folder.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backends import Factorizer, get_backend
from bench.cases.encode import EncodedData, encode
from bench.cases.targets import baselines, bias_mse, mse
from bench.machine.environment import machine_facts
from bench.text import command
from bench.text.progress import StatusLine

from .datasets import load_dataset, load_file

# Log-uniform ranges of the objective's hyper-parameters, and of each backend's learning rate.
SPACE = {
    "reg": (0.015, 0.1),
    "damping": (20.0, 600.0),
    "bias_reg": (0.003, 0.05),
    "user_bias_damping": (1.0, 12.0),
    "item_bias_damping": (0.7, 8.0),
}
RATES = {"numba-sgd": (0.06, 0.2), "numba-gd": (0.3, 1.2)}

# Solvers to fit with their defaults. `numpy` and `torch-cpu-gd` are not among them: they follow the
# trajectory of `numba-gd`.
SOLVERS: dict[str, dict[str, Any]] = {
    "numba-sgd": {},
    "numba-gd": {},
    "numpy-als": {},
    "torch-cpu": {},
}

FOLDER = Path("reports/defaults")

Params = dict[str, Any]


@dataclass
class Trial:
    """Hyper-parameters of a backend, and their MSE on validation and test rows of each data set."""

    backend: str
    number: int
    params: Params
    validation: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def draw(backend: str, rng: np.random.Generator) -> Params:
    """Return random hyper-parameters, rounded to three digits."""
    space = SPACE | {"learning_rate": RATES[backend]}
    logs = {name: rng.uniform(math.log(low), math.log(high)) for name, (low, high) in space.items()}
    return {name: float(f"{math.exp(value):.3g}") for name, value in logs.items()}


def make_trials(backend: str, n: int) -> list[Trial]:
    """Return ``n`` trials to run; the first are the same for every ``n``."""
    rng = np.random.default_rng(0)
    return [Trial(backend, number, draw(backend, rng)) for number in range(1, n + 1)]


def run(trial: Trial, name: str, data: EncodedData, rank: int) -> None:
    """Fit, and add the errors after the last epoch to the trial, infinite if it diverged."""
    start = time.perf_counter()
    solver: Factorizer = get_backend(trial.backend, rank=rank, **trial.params).fit(data.train)
    trial.seconds += time.perf_counter() - start
    model = None if solver.status_ == "diverged" else solver.model_
    for scores, part in ((trial.validation, data.validation), (trial.test, data.test)):
        score = math.inf if model is None else mse(model, part)
        scores[name] = math.nan if score is None else score


def best_over(trials: list[Trial], names: list[str]) -> Trial:
    """Return the trial with the lowest mean logarithm of its scores over the named data sets."""
    lowest = {name: min(trial.validation[name] for trial in trials) for name in names}

    def log_score(trial: Trial) -> float:
        return sum(math.log(trial.validation[name] / lowest[name]) for name in names)

    return min(trials, key=log_score)


def without_factors(data: EncodedData) -> dict[str, float]:
    """Return the test MSE of the mean, of biases with the default damping and of tuned biases."""
    train, test = data.train, data.test
    assert test is not None
    b, c = get_backend("numpy").objective.biases_alone(train)
    scores = baselines(train, data.validation, test)
    return {
        "mean": scores["global mean"]["test_mse"] or math.nan,
        "biases, default damping": bias_mse(train.summary.mean, b, c, test),
        "biases, tuned": scores["biases alone"]["test_mse"] or math.nan,
    }


def defaults_on(data: EncodedData) -> dict[str, float]:
    """Return the test MSE without factors, and of every solver's defaults.

    The solvers are fitted twice, without and with validation rows.
    """
    found = without_factors(data)
    for title, options in SOLVERS.items():
        for suffix, validation in (("", None), (", validated", data.validation)):
            solver = get_backend(title.split(",")[0], **options).fit(data.train, validation)
            score = mse(solver.model_, data.test)
            found[title + suffix] = math.nan if score is None else score
    return found


def search_table(tried: list[Trial], simple: dict[str, dict[str, float]]) -> list[str]:
    """Return the lines that show the result of a search.

    Parameters
    ----------
    tried
        All trials of one backend.
    simple
        Data set -> `without_factors`.
    """
    names = list(simple)
    winner = best_over(tried, names)
    rows: list[list[Any]] = []
    for name in names:
        best_elsewhere = best_over(tried, [other for other in names if other != name])
        best_here = min(tried, key=lambda trial: trial.validation[name])
        rows.append(
            [
                name,
                simple[name]["biases, default damping"],
                simple[name]["biases, tuned"],
                winner.test[name],
                best_elsewhere.test[name],
                best_here.test[name],
            ]
        )
    header = [
        "data",
        "biases, default damping",
        "biases, tuned",
        "best over all sets",
        "best over the other sets",
        "best on this set",
    ]
    seconds = sum(trial.seconds for trial in tried)
    settings = ", ".join(f"{name} {value:g}" for name, value in winner.params.items())
    return [
        f"### {tried[0].backend}",
        "",
        f"{len(tried)} trials, {seconds:.0f} s of fitting. "
        f"Best over all sets: trial {winner.number}, {settings}.",
        "",
        *markdown(header, rows),
        "",
    ]


def markdown(header: list[str], rows: list[list[Any]]) -> list[str]:
    """Return the lines of a table, with four decimals in numbers."""

    def line(cells: list[Any]) -> str:
        shown = (f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)
        return f"| {' | '.join(shown)} |"

    return [line(header), "|" + "---|" * len(header), *(line(row) for row in rows)]


def write_trials(path: Path, trials: dict[str, list[Trial]]) -> None:
    """Write one line per trial and data set."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["backend", "trial", *SPACE, "learning_rate", "data", "validation_mse", "test_mse"]
        )
        for tried in trials.values():
            for trial in tried:
                for name, score in trial.validation.items():
                    values: list[Any] = [trial.backend, trial.number, *trial.params.values(), name]
                    writer.writerow([*values, f"{score:.6f}", f"{trial.test[name]:.6f}"])


def page(command: str, seeds: int, defaults: list[str], searches: list[list[str]]) -> str:
    """Return the page in Markdown: the tables, and what they show."""
    facts, solver = machine_facts(), get_backend("numpy")
    chosen = ", ".join(f"{name} {getattr(solver, name):g}" for name in SPACE)
    rates = ", ".join(f"{get_backend(name).learning_rate:g} ({name})" for name in RATES)
    lines = [
        "# How the defaults were chosen",
        "",
        f"The defaults are {chosen}; learning rates {rates}. They are round numbers near the best "
        "over all sets of searches like those below. Then, on validation rows, reg was lowered and "
        "damping raised until no solver was more than half a percent worse than the biases with "
        "the default damping on any set, which cost the other sets little.",
        "",
        "These defaults were chosen on all of the sets below. The error of a choice on a set that "
        'had no part in it is in the column "best over the other sets" of the searches.',
        "",
        f"`{command}` (files of ratings are named by their folders), on {facts['cores']} cores "
        f"({facts['cpu']}). The rule and the ranges are in `bench/defaults.py`. Every figure is an "
        "MSE on test rows; in the searches these are the test rows of the first split, on whose "
        "validation rows the choices were made.",
        "",
        "## The defaults",
        "",
        f'Medians over {seeds} random splits (80/10/10), rank 16. "Validated" fits used the '
        "validation rows to keep their best epoch.",
        "",
        *defaults,
        "",
        "## The searches",
        "",
    ]
    for search in searches:
        lines += search
    return "\n".join(lines).rstrip() + "\n"


def load(given: str, seed: int) -> EncodedData:
    """Return a data set by its name, or a file of ratings by its path, split at random."""
    path = Path(given)
    return encode(load_file(path, seed=seed) if path.is_file() else load_dataset(given, seed=seed))


def main(arguments: list[str] | None = None) -> None:
    """Search for defaults, and write the tables."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in ("trials", "seeds", "rank"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    given: dict[str, str] = {}  # name in the tables -> what was given
    for source in options.data:
        name = Path(source).resolve().parent.name if Path(source).is_file() else source
        if name in given:
            parser.error(
                f"{given[name]} and {source} are both named {name!r} in the tables: "
                "put them into different folders"
            )
        given[name] = source
    try:
        sets = {name: load(source, 0) for name, source in given.items()}
    except ValueError as error:
        parser.error(str(error))

    show = StatusLine()
    simple = {name: without_factors(data) for name, data in sets.items()}
    trials = {backend: make_trials(backend, options.trials) for backend in RATES}
    for backend, tried in trials.items():
        for trial in tried:
            for name, data in sets.items():
                show(f"{backend}, trial {trial.number}: {name}")
                run(trial, name, data, options.rank)
    defaults = _defaults_table(given, options.seeds, show)
    show.clear()

    command = (
        f"python -m bench.defaults {' '.join(given)} --trials {options.trials} "
        f"--seeds {options.seeds} --rank {options.rank}"
    )
    searches = [search_table(tried, simple) for tried in trials.values()]
    text = page(command, options.seeds, defaults, searches)
    options.output.mkdir(parents=True, exist_ok=True)
    write_trials(options.output / "trials.csv", trials)
    (options.output / "README.md").write_text(text, "utf-8")
    print(text)


def _defaults_table(given: dict[str, str], n_splits: int, show: StatusLine) -> list[str]:
    """Return the table of the defaults' test MSE on each data set, medians over the splits."""
    rows: list[list[Any]] = []
    for name, source in given.items():
        found = []
        for seed in range(n_splits):
            show(f"defaults on {name}, split {seed}")
            found.append(defaults_on(load(source, seed)))
        titles = list(found[0])
        medians = [float(np.median([errors[title] for errors in found])) for title in titles]
        rows.append([name, *medians])
    return markdown(["data", *titles], rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.defaults", description=main.__doc__)
    parser.add_argument(
        "data",
        nargs="+",
        help="names of data sets, or files of ratings, which are named by their folders",
    )
    parser.add_argument(
        "--trials", type=int, default=100, help="random trials per backend (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        help="random splits on which the defaults are shown (default: %(default)s)",
    )
    parser.add_argument(
        "--rank",
        type=int,
        default=16,
        help="number of factors in the search (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=FOLDER, help="folder to write to (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    command.run(main)
