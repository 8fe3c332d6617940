"""How the solvers' defaults were chosen: the same number of random trials for each, on several data sets.

``python -m bench.defaults DATA... --trials N`` fits each backend of `RATES` with N draws from `SPACE` on each data set,
from one seed. A trial's score on a data set is its validation MSE after the last epoch over the lowest that any trial
of its backend reached there; what is best over several sets has the lowest mean logarithm of it. "Best over the other
sets" has not seen the set that it is shown on. Test rows only show what was chosen.

Then every solver is fitted with its defaults on as many splits as asked for, without and with validation rows.

It writes every trial (``trials.csv``) and the tables (``README.md``) into ``reports/defaults``, or another folder.
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

# What is fitted with its defaults; `numpy` and `torch-cpu` otherwise follow the trajectory of `numba-gd`.
SOLVERS: dict[str, dict[str, Any]] = {
    "numba-sgd": {},
    "numba-gd": {},
    "numpy-als": {},
    "torch-cpu, Adam": {"optimizer": "adam"},
}

FOLDER = Path("reports/defaults")

Params = dict[str, Any]


@dataclass
class Trial:
    """One setting of a backend, with its MSE on the validation and test rows of each data set."""

    backend: str
    number: int
    params: Params
    validation: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def draw(backend: str, rng: np.random.Generator) -> Params:
    """Draw a setting, rounded to three digits."""
    space = SPACE | {"learning_rate": RATES[backend]}
    logs = {name: rng.uniform(math.log(low), math.log(high)) for name, (low, high) in space.items()}
    return {name: float(f"{math.exp(value):.3g}") for name, value in logs.items()}


def make_trials(backend: str, n: int) -> list[Trial]:
    """Return ``n`` draws; the first of them do not depend on how many follow."""
    rng = np.random.default_rng(0)
    return [Trial(backend, number, draw(backend, rng)) for number in range(1, n + 1)]


def run(trial: Trial, name: str, data: EncodedData, rank: int) -> None:
    """Fit, and note the errors after the last epoch; infinite ones where it diverged."""
    start = time.perf_counter()
    solver: Factorizer = get_backend(trial.backend, rank=rank, **trial.params).fit(data.train)
    trial.seconds += time.perf_counter() - start
    model = None if solver.status_ == "diverged" else solver.model_
    for scores, part in ((trial.validation, data.validation), (trial.test, data.test)):
        score = math.inf if model is None else mse(model, part)
        scores[name] = math.nan if score is None else score


def best_over(trials: list[Trial], names: list[str]) -> Trial:
    """Return the trial with the lowest mean logarithm of its scores over some data sets."""
    lowest = {name: min(trial.validation[name] for trial in trials) for name in names}
    return min(trials, key=lambda trial: sum(math.log(trial.validation[name] / lowest[name]) for name in names))


def without_factors(data: EncodedData) -> dict[str, float]:
    """Return the test MSE of the mean, and of biases: with the default damping, and with what validates best."""
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
    """Return the test MSE without factors, and of every solver's defaults, without and with validation rows."""
    found = without_factors(data)
    for title, options in SOLVERS.items():
        for suffix, validation in (("", None), (", validated", data.validation)):
            solver = get_backend(title.split(",")[0], **options).fit(data.train, validation)
            score = mse(solver.model_, data.test)
            found[title + suffix] = math.nan if score is None else score
    return found


def search_table(tried: list[Trial], simple: dict[str, dict[str, float]]) -> list[str]:
    """Return the lines that show what a search found."""
    names, biases = list(simple), ("biases, default damping", "biases, tuned")
    winner, seconds = best_over(tried, names), sum(trial.seconds for trial in tried)
    settings = ", ".join(f"{name} {value:g}" for name, value in winner.params.items())
    rows = []
    for name in names:
        others = best_over(tried, [other for other in names if other != name])
        own = min(tried, key=lambda trial: trial.validation[name])
        of_trials = (one.test[name] for one in (winner, others, own))
        rows.append([name, *(simple[name][title] for title in biases), *of_trials])
    return [
        f"### {tried[0].backend}",
        "",
        f"{len(tried)} trials, {seconds:.0f} s of fitting. Best over all sets: trial {winner.number}, {settings}.",
        "",
        *markdown(
            [
                *("data", *biases),
                *("best over all sets", "best over the other sets", "best on this set"),
            ],
            rows,
        ),
        "",
    ]


def markdown(header: list[str], rows: list[list[Any]]) -> list[str]:
    """Return a table, numbers with four digits behind the point."""

    def line(cells: list[Any]) -> str:
        shown = (f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells)
        return f"| {' | '.join(shown)} |"

    return [line(header), "|" + "---|" * len(header), *(line(row) for row in rows)]


def write_trials(path: Path, trials: dict[str, list[Trial]]) -> None:
    """Write one line per trial and data set."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["backend", "trial", *SPACE, "learning_rate", "data", "validation_mse", "test_mse"])
        for tried in trials.values():
            for trial in tried:
                for name, score in trial.validation.items():
                    values: list[Any] = [trial.backend, trial.number, *trial.params.values(), name]
                    writer.writerow([*values, f"{score:.6f}", f"{trial.test[name]:.6f}"])


def page(command: str, seeds: int, defaults: list[str], searches: list[list[str]]) -> str:
    """Return the tables, with what they show, as Markdown."""
    facts, solver = machine_facts(), get_backend("numpy")
    chosen = ", ".join(f"{name} {getattr(solver, name):g}" for name in SPACE)
    rates = ", ".join(f"{get_backend(name).learning_rate:g} ({name})" for name in RATES)
    lines = [
        *("# How the defaults were chosen", ""),
        f"The defaults are {chosen}; learning rates {rates}. They are round numbers near what searches like those "
        "below found best over all sets. Then, on validation rows, reg was lowered and damping raised until no solver "
        "fell more than half a percent behind the biases of the default damping on any set, which cost the other sets "
        "little.",
        "",
        "These defaults were chosen on all of the sets below; what a choice reaches on a set that it has not seen is "
        'the column "best over the other sets" of the searches.',
        "",
        f"`{command}` (files of ratings are named by their folders), on {facts['cores']} cores ({facts['cpu']}). The "
        "rule and the ranges are in `bench/defaults.py`. Every figure is an MSE on test rows, in the searches those of "
        "the first split, on whose validation rows choices were made.",
        "",
        *("## The defaults", ""),
        f'Medians over {seeds} random splits (80/10/10), rank 16. "Validated" fits were given the validation rows and '
        "kept their best epoch.",
        "",
        *defaults,
        *("", "## The searches", ""),
        *(line for search in searches for line in search),
    ]
    return "\n".join(lines).rstrip() + "\n"


def load(given: str, seed: int) -> EncodedData:
    """Load a data set by name, or a file of ratings, split at random."""
    path = Path(given)
    return encode(load_file(path, seed=seed) if path.is_file() else load_dataset(given, seed=seed))


def main(arguments: list[str] | None = None) -> None:
    """Search, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.defaults", description=main.__doc__)
    parser.add_argument("data", nargs="+", help="names of data sets, or files of ratings, named by their folders")
    parser.add_argument("--trials", type=int, default=100, help="random trials of each backend")
    parser.add_argument("--seeds", type=int, default=5, help="splits that the defaults are shown on")
    parser.add_argument("--rank", type=int, default=16, help="number of factors in the search")
    parser.add_argument("--output", type=Path, default=FOLDER, help=f"folder to write to (default: {FOLDER})")
    options = parser.parse_args(arguments)
    for name in ("trials", "seeds", "rank"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    given: dict[str, str] = {}
    for one in options.data:
        name = Path(one).resolve().parent.name if Path(one).is_file() else one
        if name in given:
            parser.error(f"{given[name]} and {one} are both named {name!r} in the tables: put them into folders apart")
        given[name] = one
    try:
        sets = {name: load(one, 0) for name, one in given.items()}
    except ValueError as error:
        parser.error(str(error))

    say = StatusLine()
    simple = {name: without_factors(data) for name, data in sets.items()}
    trials = {backend: make_trials(backend, options.trials) for backend in RATES}
    for backend, tried in trials.items():
        for trial in tried:
            for name, data in sets.items():
                say(f"{backend}, trial {trial.number}: {name}")
                run(trial, name, data, options.rank)
    rows = []
    for name, one in given.items():
        found = []
        for seed in range(options.seeds):
            say(f"defaults on {name}, split {seed}")
            found.append(defaults_on(load(one, seed)))
        rows.append([name, *(float(np.median([each[title] for each in found])) for title in found[0])])
    say.clear()

    arguments_given = f"{' '.join(given)} --trials {options.trials} --seeds {options.seeds} --rank {options.rank}"
    tables = markdown(["data", *found[0]], rows), [search_table(tried, simple) for tried in trials.values()]
    text = page(f"python -m bench.defaults {arguments_given}", options.seeds, *tables)
    options.output.mkdir(parents=True, exist_ok=True)
    write_trials(options.output / "trials.csv", trials)
    (options.output / "README.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
