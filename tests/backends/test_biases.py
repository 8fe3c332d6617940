"""Damped biases alone: the minimum of the objective without factors, by a direct solve."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers import random_ratings

from backends import Objective, Parameters, Ratings, damped_biases, get_backend

DAMPINGS = list(itertools.product([0.5, 3.0, 40.0], [0.1, 2.0, 25.0], [0.0, 0.2]))


def solved(
    train: Ratings, user_damping: float, item_damping: float, reg: float
) -> tuple[np.ndarray, np.ndarray]:
    """Biases by one linear system over users and items."""
    weights = np.ones(len(train)) if train.weights is None else train.weights
    n = train.n_users + train.n_items
    left, right = np.zeros((n, n)), np.zeros(n)
    mean = float(np.average(train.ratings, weights=weights))
    for u, i, r, w in zip(
        train.users, train.n_users + train.items, train.ratings, weights, strict=True
    ):
        left[u, u] += (1 + reg) * w
        left[i, i] += (1 + reg) * w
        left[u, i] += w
        left[i, u] += w
        right[u] += w * (r - mean)
        right[i] += w * (r - mean)
    left[np.arange(n), np.arange(n)] += [user_damping] * train.n_users + [
        item_damping
    ] * train.n_items
    found = np.linalg.solve(left, right)
    return found[: train.n_users], found[train.n_users :]


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize(("user_damping", "item_damping", "reg"), DAMPINGS)
def test_biases_are_those_of_a_direct_solve(
    user_damping: float, item_damping: float, reg: float, weigh: bool
) -> None:
    train = random_ratings(20, 15, 120)
    if weigh:
        train = dataclasses.replace(
            train, weights=np.random.default_rng(1).uniform(0.2, 3, len(train))
        )
    found = damped_biases(train, user_damping=user_damping, item_damping=item_damping, reg=reg)
    exact = solved(train, user_damping, item_damping, reg)
    # The sums of the biases for every user with every item.
    apart = (found[0][:, None] + found[1]) - (exact[0][:, None] + exact[1])
    assert np.abs(apart).max() < 0.005 * train.ratings.std()


def test_they_minimise_the_objective_without_factors() -> None:
    train = random_ratings(20, 15, 120)
    objective = Objective(1, bias_reg=0.1, user_bias_damping=4, item_bias_damping=1)
    b, c = damped_biases(train, user_damping=4, item_damping=1, reg=0.1)
    zeros = np.zeros((20, 1)), np.zeros((15, 1))
    gradient = objective.gradient(Parameters(train.summary.mean, b, c, *zeros), train)
    at_zero = objective.gradient(Parameters(train.summary.mean, 0 * b, 0 * c, *zeros), train)
    for name in ("user_bias", "item_bias"):
        assert np.abs(gradient.arrays()[name]).max() < 0.01 * np.abs(at_zero.arrays()[name]).max()


def test_damping_is_that_many_ratings_at_the_mean() -> None:
    train = Ratings([0, 0, 1], [0, 1, 2], [5.0, 5.0, 2.0])
    b, c = damped_biases(train, user_damping=2, item_damping=1e12)
    assert b == pytest.approx([(2 * 1.0) / (2 + 2), -2.0 / (1 + 2)])
    assert np.abs(c).max() < 1e-9


def test_rows_without_ratings_are_zero_and_equal_ratings_leave_none() -> None:
    train = Ratings([0, 2], [1, 1], [1.0, 3.0], n_users=4, n_items=3)
    b, c = damped_biases(train, user_damping=0, item_damping=0)
    assert (b[1], b[3], c[0], c[2]) == (0, 0, 0, 0)
    b, c = damped_biases(Ratings([0, 1], [0, 1], [3.0, 3.0]), user_damping=1, item_damping=1)
    assert (b.tolist(), c.tolist()) == ([0, 0], [0, 0])


@pytest.mark.parametrize("name", ["user_damping", "item_damping", "reg"])
def test_wrong_parameters_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a finite number of at least 0, got -1$"):
        damped_biases(random_ratings(), **{"user_damping": 1, "item_damping": 1} | {name: -1})


def test_a_model_of_biases_alone_can_be_started_from_saved_and_recommended_by(tmp_path) -> None:
    train = random_ratings(20, 15, 120)
    solver = get_backend("numpy", rank=3, n_jobs=1)
    objective = solver.objective
    b, c = damped_biases(
        train,
        user_damping=objective.user_bias_damping,
        item_damping=objective.item_bias_damping,
        reg=objective.bias_reg,
    )
    exact = train.summary.mean + b[train.users] + c[train.items]
    solver.fit(train, dataclasses.replace(train, ratings=exact), epochs=2)
    assert solver.best_epoch_ == 0
    solver.model_.save(tmp_path / "model.npz")
    again = type(solver.model_).load(tmp_path / "model.npz")
    assert again.fit == {**solver.model_.fit}
    assert again.fit["epoch"] == 0
    assert len(again.recommend(train.encoder.users[0], 3)) == 3
    get_backend("numpy", rank=3, n_jobs=1).fit(train, epochs=2, initial=solver.model_)
