"""Data of the conformance suite, values computed by plain loops, and comparing models."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends.factorizer import Factorizer
from backends.model import FactorModel
from backends.objective import Parameters
from backends.ratings import Ratings


class Example(NamedTuple):
    """Training and validation ratings over the same rows."""

    train: Ratings
    validation: Ratings


def example_ratings(seed: int = 0) -> Example:
    """Return a small low-rank data set with noise and raw string ids.

    It has 24 users, 16 items and 230 training ratings.

    The ratings are multiples of 0.5, so that their sums, and with them the mean, are exact in any
    order.
    """
    rng = np.random.default_rng(seed)
    n_users, n_items = 24, 16
    taste, kind = rng.normal(size=(n_users, 3)), rng.normal(size=(n_items, 3))
    user_bias, item_bias = 0.5 * rng.normal(size=(n_users, 1)), 0.5 * rng.normal(size=n_items)
    exact = 3.0 + user_bias + item_bias + 0.4 * taste @ kind.T
    noisy = np.clip(np.round(2 * (exact + 0.2 * rng.normal(size=exact.shape))) / 2, 0.5, 5.0)
    cells = rng.permutation(n_users * n_items)[:280]
    users, items = np.divmod(cells, n_items)
    names = (
        np.array([f"user {u}" for u in range(n_users)]),
        np.array([f"item {i}" for i in range(n_items)]),
    )
    columns = names[0][users], names[1][items], noisy[users, items]
    train = Ratings.from_arrays(*(column[:230] for column in columns))
    assert train.encoder is not None
    return Example(train, train.encoder.encode_new(*(column[230:] for column in columns)).ratings)


def columns(ratings: Ratings) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return users, items and ratings, shape (n,) each."""
    return ratings.users, ratings.items, ratings.ratings


def raw_ids(model: FactorModel, ratings: Ratings) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the raw ids of users and of items, or their rows where a model has no others."""
    if model.encoder is None:
        return ratings.users, ratings.items
    return model.encoder.user_ids(ratings.users), model.encoder.item_ids(ratings.items)


def weights_of(ratings: Ratings) -> list[float]:
    """Return the weights of ratings, 1 each where they have none."""
    return [1.0] * len(ratings) if ratings.weights is None else ratings.weights.tolist()


def mse_by_hand(model: FactorModel, ratings: Ratings) -> float:
    """Weighted mean squared error, from nothing but ``predict``."""
    predicted, weights = model.predict(*raw_ids(model, ratings)), weights_of(ratings)
    rows = zip(weights, predicted.tolist(), ratings.ratings.tolist(), strict=True)
    return math.fsum(w * (guess - rating) ** 2 for w, guess, rating in rows) / math.fsum(weights)


def objective_by_hand(solver: Factorizer, model: FactorModel, ratings: Ratings) -> float:
    """J, row by row, from the solver's hyper-parameters."""
    x, weights = model.parameters, weights_of(ratings)
    n, unit = math.fsum(weights), 1.0
    if solver.reg_unit == "rms":
        squares = ((r - x.mean) ** 2 for r in ratings.ratings.tolist())
        weighted = (w * square for w, square in zip(weights, squares, strict=True))
        unit = math.sqrt(math.fsum(weighted) / n)
    penalty = 0.0
    for rows, factors, bias, bias_damping in (
        (ratings.users, x.user_factors, x.user_bias, solver.user_bias_damping),
        (ratings.items, x.item_factors, x.item_bias, solver.item_bias_damping),
    ):
        for row in set(rows.tolist()):
            of_row = np.flatnonzero(rows == row)
            mine = math.fsum(weights[n] for n in of_row)
            size = mine if solver.reg_scaling == "per_rating" else n
            of_factors = math.fsum(float(number) ** 2 for number in factors[row])
            penalty += solver.reg * unit * (size + solver.damping) * of_factors
            penalty += (solver.bias_reg * size + bias_damping) * float(bias[row]) ** 2
    return mse_by_hand(model, ratings) + penalty / n


def is_equal(first: Parameters, second: Parameters) -> bool:
    """Whether two models are equal to the bit."""
    arrays = zip(first.arrays().values(), second.arrays().values(), strict=True)
    return first.mean == second.mean and all(np.array_equal(a, b) for a, b in arrays)


def assert_equal(first: Parameters, second: Parameters) -> None:
    """Equal to the bit, naming the arrays that are not."""
    other = second.arrays()
    assert first.mean == second.mean
    assert [name for name, a in first.arrays().items() if not np.array_equal(a, other[name])] == []


def assert_close(first: Parameters, second: Parameters, tolerance: float) -> None:
    """Equal up to ``tolerance`` relative to the norm of all parameters together."""
    one, two = (np.concatenate([a.ravel() for a in x.arrays().values()]) for x in (first, second))
    assert np.linalg.norm(one - two) <= tolerance * np.linalg.norm(two)
