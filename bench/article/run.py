"""The article's descent, and the models that it is compared with.

Nothing is printed, drawn or written here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends import (
    BackendUnavailable,
    DivergenceWarning,
    Factorizer,
    Objective,
    Parameters,
    Progress,
    Ratings,
    get_backend,
    mean_squared_error,
)
from bench.cases.reference import Converged
from bench.cases.targets import baselines
from bench.datasets import DatasetError
from bench.machine.environment import environment_of, machine_facts, process_facts
from bench.text.progress import Notify

from .data import ArticleData
from .literal import time_literal
from .results import Fit, Kept, Minimum, Point, Results, Solver

EVERY = 50  # iterations between two evaluations, as the article prints them
DESCENTS = ("numba-gd", "torch-cpu-gd", "numpy")  # the first available runs the article's preset

# What we would run instead: the first available. Rank and epochs were chosen once, on the twin.
_GD: dict[str, Any] = {"rank": 16, "epochs": 60}
OURS: dict[str, dict[str, Any]] = {
    "numba": {"rank": 16, "epochs": 10},
    "torch-cpu-gd": _GD,
    "numpy": _GD,
}
# ALS has converged if J falls by less than this share in an epoch: enough for four digits.
_TOLERANCE = 1e-6
_MAX_EPOCHS = 60

Factors = NDArray[np.floating[Any]]


def run(
    data: ArticleData, iterations: int, notify: Notify, on_point: Callable[[Point], None]
) -> Results:
    """Follow the article's descent, then fit the models to compare it with.

    Parameters
    ----------
    notify
        Called with one line of progress at a time.
    on_point
        Called with each point of the curve as soon as it is known.

    Raises
    ------
    DatasetError
        If a solver diverges on these ratings.
    KeyboardInterrupt
        If the run was interrupted.
    """
    notify("compiling")
    backend, descent = _first_available(
        {name: {"preset": "article", "dtype": "float64"} for name in DESCENTS}
    )
    initial = descent.initial_parameters(data.train, data.facts["seed"])
    curve = follow(descent, data, iterations, initial, notify, on_point)
    notify("timing the gradient as the article computes it")
    literal = time_literal(data.train, initial, descent.reg)
    notify("fitting the baselines")
    scores = baselines(data.train, data.validation, None)
    notify("minimising the article's objective")
    minimum = _minimise(descent, data, initial, notify)
    notify("fitting what we would run instead")
    ours, solver = _first_available(OURS)
    _fit(solver, data, seed=data.facts["seed"])
    return Results(
        data=data.facts,
        descent=_solver(backend, descent),
        curve=curve,
        constant=scores["global mean"],
        biases=scores["biases alone"],
        ours=_outcome(ours, solver, data),
        minimum=minimum,
        kept=_kept(initial, descent.model_.parameters),
        literal=literal,
        environment=environment_of(machine_facts(), process_facts()),
    )


def follow(
    descent: Factorizer,
    data: ArticleData,
    iterations: int,
    initial: Parameters,
    notify: Notify = lambda text: None,
    on_point: Callable[[Point], None] = lambda point: None,
) -> list[Point]:
    """Fit ``descent``; return the errors at the start, every 50 iterations and at the end.

    Raises
    ------
    DatasetError
        If the descent diverges.
    KeyboardInterrupt
        If it was interrupted.
    """
    curve: list[Point] = []

    def note(iteration: int, at: Parameters) -> None:
        twice = mean_squared_error(at, data.twice) if len(data.twice) else None
        train, validation = (
            mean_squared_error(at, data.train),
            mean_squared_error(at, data.validation),
        )
        curve.append(
            Point(iteration=iteration, train_mse=train, validation_mse=validation, twice_mse=twice)
        )
        on_point(curve[-1])

    def watch(now: Progress) -> None:
        if now.record.epoch % EVERY == 0 or now.record.epoch == iterations:
            note(now.record.epoch, now.model.parameters)
        else:
            notify(f"iteration {now.record.epoch} of {iterations}, {now.record.seconds:.0f} s")

    note(0, initial)
    _fit(descent, data, epochs=iterations, initial=initial, callback=watch)
    return curve


def _minimise(
    descent: Factorizer, data: ArticleData, initial: Parameters, notify: Notify
) -> Minimum:
    """Minimise the descent's objective with alternating least squares, from the same start."""
    objective: Objective = descent.objective
    als = get_backend("numpy-als", **asdict(objective))
    stop = Converged(_TOLERANCE, notify, "minimising the article's objective")
    _fit(als, data, epochs=_MAX_EPOCHS, initial=initial, callback=stop, evaluate=True)
    return Minimum(
        fit=_outcome("numpy-als", als, data),
        objective=objective.value(als.model_.parameters, data.train),
        objective_of_descent=objective.value(descent.model_.parameters, data.train),
        pull=objective.reg * len(data.train),
        ratings_per_user=len(data.train) / data.train.n_users,
    )


def _fit(solver: Factorizer, data: ArticleData, **options: Any) -> None:
    """Fit the training ratings; a divergence and an interrupt become errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DivergenceWarning)
        try:
            solver.fit(data.train, **options)
        except DivergenceWarning:
            raise DatasetError(
                f"{type(solver).__name__} diverges on {data.facts['name']} "
                f"({len(data.train):,} training ratings) in epoch {solver.n_epochs_}: "
                "its step is too long for so few ratings; give more ratings"
            ) from None
    # Ctrl-C leaves a model, but one of fewer epochs than the page would state.
    if solver.status_ == "interrupted":
        raise KeyboardInterrupt


def _kept(before: Parameters, after: Parameters) -> Kept:
    return Kept(
        user_factors=_correlation(before.user_factors, after.user_factors),
        item_factors=_correlation(before.item_factors, after.item_factors),
    )


def _correlation(first: Factors, second: Factors) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def _first_available(choices: dict[str, dict[str, Any]]) -> tuple[str, Factorizer]:
    """Return the name of the first backend that can run here, and a solver that is compiled."""
    for name, options in choices.items():
        try:
            solver, spare = get_backend(name, **options), get_backend(name, **options)
        except BackendUnavailable:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)  # this fit only compiles
            spare.fit(Ratings.from_arrays([0, 0, 1], [0, 1, 0], [1.0, 2.0, 3.0]), epochs=1)
        return name, solver
    raise AssertionError("numpy is always available")


def _solver(backend: str, fitted: Factorizer) -> Solver:
    return Solver(
        backend=backend,
        rank=fitted.rank,
        reg=fitted.reg,
        epochs=fitted.n_epochs_,
        threads=fitted.n_threads,
        seconds=fitted.history_[-1].seconds,
    )


def _outcome(backend: str, fitted: Factorizer, data: ArticleData) -> Fit:
    at = fitted.model_.parameters
    return Fit(
        solver=_solver(backend, fitted),
        train_mse=mean_squared_error(at, data.train),
        validation_mse=mean_squared_error(at, data.validation),
    )
