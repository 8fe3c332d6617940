"""The results of a run as plain data, for ``results.json``, figure and page; published figures."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, TypedDict

from bench.records import Environment, Score

PUBLISHED: dict[str, Any] = json.loads(
    files(__package__).joinpath("published.json").read_text("utf-8")
)


class Mistaken(TypedDict):
    """A validation rating that is scored with the factors of another user and another item."""

    user: str  # raw ids of the rating
    item: str
    taken_user: str  # raw ids of those whose factors are used
    taken_item: str


class DataFacts(TypedDict):
    """The data, and how many rows were left by each step."""

    name: str
    seed: int
    n_ratings: int
    n_users: int  # in training
    n_items: int  # in training
    n_train: int
    n_held_out: int  # validation rows before any is dropped
    n_validation: int  # those whose user and item are in training
    n_twice: int  # those that are left, on wrong pairs, if ids are encoded twice
    dropped: dict[str, int]  # reason -> rows of the source that were left out
    mistaken: Mistaken | None  # an example of a wrong pair, if there is any


class Point(TypedDict):
    """Mean squared errors after a number of iterations."""

    iteration: int
    train_mse: float
    validation_mse: float
    twice_mse: float | None  # on the wrong pairs, None if there are none


class Solver(TypedDict):
    """What ran, and its training time.

    The seconds include preparation, but neither compilation nor evaluation.
    """

    backend: str
    rank: int
    reg: float
    epochs: int
    threads: int
    seconds: float


class Fit(TypedDict):
    """A solver, and the errors of its model."""

    solver: Solver
    train_mse: float
    validation_mse: float


class Minimum(TypedDict):
    """The article's objective J at its minimum, and where the descent stopped."""

    fit: Fit
    objective: float  # J at the minimum
    objective_of_descent: float
    pull: float  # reg N, the penalty of a row in the scale of its sum of squared errors
    ratings_per_user: float  # the mean


class Kept(TypedDict):
    """Correlation of the factors before and after the descent, from -1 to 1."""

    user_factors: float
    item_factors: float


class Literal(TypedDict):
    """Median time of a few calls of the gradient as the article's code computes it."""

    calls: int
    seconds: float


class Results(TypedDict):
    """Everything that the page shows."""

    data: DataFacts
    descent: Solver
    curve: list[Point]
    constant: Score
    biases: Score
    ours: Fit
    minimum: Minimum
    kept: Kept
    literal: Literal
    environment: Environment
