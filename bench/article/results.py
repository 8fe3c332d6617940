"""What a run leaves, as plain data that goes into ``results.json``, figure and page; and the published figures."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, TypedDict

from bench.records import Environment, Score

PUBLISHED: dict[str, Any] = json.loads(files(__package__).joinpath("published.json").read_text("utf-8"))


class Mistaken(TypedDict):
    """A validation row, by raw ids, and whose rows of the factors it is scored with when ids are encoded twice."""

    user: str
    item: str
    taken_user: str
    taken_item: str


class DataFacts(TypedDict):
    """What was split, and how many rows each step kept."""

    name: str
    seed: int
    n_ratings: int
    n_users: int  # in training, as the next
    n_items: int
    n_train: int
    n_held_out: int  # validation rows before any is dropped
    n_validation: int  # those whose user and item training has
    n_twice: int  # those that are left, on wrong pairs, when ids are encoded twice
    dropped: dict[str, int]  # why -> rows of the source that were not split
    mistaken: Mistaken | None


class Point(TypedDict):
    """Mean squared errors after so many iterations; ``twice_mse`` is that of the wrong pairs, None without any."""

    iteration: int
    train_mse: float
    validation_mse: float
    twice_mse: float | None


class Solver(TypedDict):
    """What ran, and its training seconds: preparation included; compilation and evaluation not."""

    backend: str
    rank: int
    reg: float
    epochs: int
    threads: int
    seconds: float


class Fit(TypedDict):
    """A solver, and the errors it left."""

    solver: Solver
    train_mse: float
    validation_mse: float


class Minimum(TypedDict):
    """The stated objective J: its value where the descent stopped and where exact minimisation ends."""

    fit: Fit
    objective: float
    objective_of_descent: float
    pull: float  # reg N, which each row of the factors is held against its ratings with
    ratings_per_user: float


class Kept(TypedDict):
    """How much of its random start the descent leaves: correlation of the factors before and after, -1 to 1."""

    user_factors: float
    item_factors: float


class Literal(TypedDict):
    """The article's gradient as its code computes it: median seconds of a few calls."""

    calls: int
    seconds: float


class Results(TypedDict):
    """All that the page shows."""

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
