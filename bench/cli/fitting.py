"""``factorbench fit``: ratings in, a model out, with what its predictions are worth."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from backends import DivergenceWarning, Factorizer, Progress, Ratings, get_backend
from bench.text.progress import StatusLine
from bench.text.wording import number, plural

from .answers import CommandError, add_output, add_ratings, answer, read

# By the benchmark's "new process": numba-sgd is the fastest there, and NumPy has nothing to
# compile or to load.
AUTO = (
    "auto takes numba-sgd where numba is installed, the fastest backend in a new process of the "
    "benchmark, and numpy-als elsewhere"
)
_FEWEST_TO_VALIDATE = 100
_SHARE = 0.1
_MOST_EPOCHS = 500  # while validation ratings say when to stop
_ANY_MSE = 1e300
_status = StatusLine()


def add_commands(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser(
        "fit",
        help="fit a model to a file of ratings",
        description="Fit a model to ratings and save it. Some ratings are held out first, to find "
        "the number of epochs and what predictions are worth; then all of them are fitted.",
    )
    add_ratings(parser, "a file (CSV, Parquet, ...), or the name of a data set, see data list")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MODEL", help="where the model goes"
    )
    parser.add_argument(
        "--backend", default="auto", metavar="NAME", help=f"which solver (default: auto). {AUTO}"
    )
    parser.add_argument("--rank", type=int, help="number of factors (default: 16)")
    parser.add_argument("--reg", type=float, help="regularisation of the factors")
    parser.add_argument(
        "--epochs", type=int, help="epochs, at most (default: as many as improve the validation)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed (default: 0)")
    parser.add_argument(
        "--validation",
        type=float,
        default=_SHARE,
        metavar="SHARE",
        help="share of the ratings to hold out (default: 0.1); 0: none",
    )
    parser.add_argument("--threads", type=int, help="number of threads (default: all cores)")
    parser.add_argument(
        "--max-seconds", type=float, metavar="SECONDS", help="limit of each of the two fits"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a further hyper-parameter of the backend, such as damping=50; may be repeated",
    )
    add_output(parser)
    parser.set_defaults(run=run_fit)


def run_fit(options: argparse.Namespace) -> int:
    """Fit, save and say what came of it."""
    if not 0 <= options.validation < 1:
        raise CommandError(
            f"--validation must be a share from 0 to less than 1, got {options.validation:g}"
        )
    if not options.output.name:
        raise CommandError("--output must name a file")
    if options.threads is not None and options.threads < 1:
        raise CommandError(f"--threads must be at least 1, got {options.threads}")
    # What can be wrong with the options is said before a large file is read.
    solver = _solver(options)
    _status(f"reading {options.ratings}")
    ratings = read(options)
    _status.clear()
    size = f"{len(ratings):,} ratings of {ratings.n_items:,} items by {ratings.n_users:,} users"
    facts: dict[str, Any] = {
        "ratings": len(ratings),
        "users": ratings.n_users,
        "items": ratings.n_items,
        "backend": options.backend,
    }
    lines = [f"{options.ratings}: {size}"]
    begin = time.perf_counter()
    share = options.validation if len(ratings) >= _FEWEST_TO_VALIDATE else 0
    epochs = options.epochs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)  # `_check_fitted` says it
        if share:
            most = _MOST_EPOCHS if epochs is None else epochs
            _fit(solver, ratings, "held out", options, most, share)
            epochs, found = _judged(solver, facts)
            lines.append(found)
        if share and not epochs:
            _fit_biases_alone(solver, ratings, options)
        elif not share or solver.status_ != "interrupted":
            _fit(solver, ratings, "all ratings", options, epochs)
    _status.clear()
    solver.model_.save(options.output)
    seconds = time.perf_counter() - begin
    facts |= {
        "epochs": solver.best_epoch_,
        "status": solver.status_,
        "seconds": seconds,
        "model": str(options.output),
    }
    epochs_said = plural(solver.best_epoch_, "epoch")
    lines.append(
        f"{options.output}: {options.backend}, {epochs_said} on all ratings, "
        f"{number(seconds)} s in all"
    )
    if solver.status_ == "interrupted":
        lines[-1] = f"{options.output}: the model so far, as the fit was interrupted"
    answer(options, facts, lines)
    return 130 if solver.status_ == "interrupted" else 0


def _solver(options: argparse.Namespace) -> Factorizer:
    """Return the solver of the options; "auto" is replaced by its name."""
    if options.backend == "auto":
        options.backend = "numba-sgd" if importlib.util.find_spec("numba") else "numpy-als"
    params = {"rank": options.rank, "reg": options.reg, "n_jobs": options.threads}
    params = {name: value for name, value in params.items() if value is not None}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--set takes NAME=VALUE, got {text!r}")
        try:
            params[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            params[name] = value
    return get_backend(options.backend, **params)


def _fit(
    solver: Factorizer,
    ratings: Ratings,
    what: str,
    options: argparse.Namespace,
    epochs: int | None,
    share: float | None = None,
) -> None:
    """Fit, with a line of progress after each epoch."""

    def tell(progress: Progress) -> None:
        rmse = math.sqrt(progress.record.validation_mse)
        error = "" if math.isnan(rmse) else f", validation RMSE {rmse:.4f}"
        _status(f"{what}: epoch {progress.record.epoch}{error}")

    _status(f"{what}: {options.backend} begins")
    solver.fit(
        ratings,
        share,
        epochs=epochs,
        seed=options.seed,
        max_seconds=options.max_seconds,
        callback=tell,
    )
    if solver.status_ == "diverged":
        _status.clear()
        raise CommandError(
            f"{options.backend} diverged in epoch {solver.n_epochs_}, and no model was written; "
            "raise --reg, or lower --set learning_rate=..., and check the scale of the ratings"
        )


def _fit_biases_alone(solver: Factorizer, ratings: Ratings, options: argparse.Namespace) -> None:
    """Fit the biases of all ratings, without factors: epoch 0, which is at any target."""
    some = ratings.take(np.arange(min(len(ratings), 100)))
    solver.fit(ratings, some, seed=options.seed, target_mse=_ANY_MSE)


def _judged(solver: Factorizer, facts: dict[str, Any]) -> tuple[int, str]:
    """Return the best number of epochs, and what held-out ratings say; note both."""
    errors = {record.epoch: math.sqrt(record.validation_mse) for record in solver.history_}
    best = solver.best_epoch_
    facts |= {"validation_rmse": errors[best], "best_epoch": best, "biases_rmse": errors.get(0)}
    said = f"held-out ratings: RMSE {errors[best]:.4f} after {plural(best, 'epoch')}"
    if 0 in errors:
        said += f" (biases alone: {errors[0]:.4f})"
    if not best:
        said = f"held-out ratings: no epoch is better than biases alone (RMSE {errors[0]:.4f})"
    elif solver.status_ == "epochs" and best == max(errors):
        said += "; more epochs may improve it: --epochs"
    elif solver.status_ == "time":
        said += "; the time was over: --max-seconds"
    return best, said
