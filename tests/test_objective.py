"""The objective: its value by a plain loop, its gradient by automatic differentiation, and the shared start."""

import itertools
from typing import Literal

import numpy as np
import pytest
from helpers import random_ratings

from backends import Objective, Parameters, Ratings, initial_model
from backends.objective import chunks, mean_squared_error

EXACT = 1e-12
AUTOGRAD = 1e-10
SETTINGS = list(itertools.product(["per_rating", "per_entity"], [True, False], [0.0, 0.3]))


def point(train: Ratings, rank: int, bias: bool) -> Parameters:
    """Parameters far from any special value."""
    rng = np.random.default_rng(5)
    start = initial_model(Objective(rank, bias=bias), train, 1, init_scale=0.7)
    if bias:
        start.user_bias, start.item_bias = rng.normal(size=train.n_users), rng.normal(size=train.n_items)
    return start


@pytest.mark.parametrize(("reg_scaling", "bias", "reg"), SETTINGS)
def test_value_is_that_of_a_plain_loop(reg_scaling: str, bias: bool, reg: float) -> None:
    train = random_ratings(8, 6, 20)
    at = point(train, 2, bias)
    squared_error = penalty = 0.0
    for u, i, r in zip(train.users, train.items, train.ratings, strict=True):
        guess = at.mean + at.user_bias[u] + at.item_bias[i]
        guess += sum(at.user_factors[u, k] * at.item_factors[i, k] for k in range(2))
        squared_error += (r - guess) ** 2
    for rows, factors, biases in (
        (train.users, at.user_factors, at.user_bias),
        (train.items, at.item_factors, at.item_bias),
    ):
        for row in range(len(factors)):
            weight = sum(rows == row) if reg_scaling == "per_rating" else len(train)
            penalty += weight * (sum(x**2 for x in factors[row]) + biases[row] ** 2)
    objective = Objective(2, reg, reg_scaling, bias)
    value, mse = objective.value_and_mse(at, train)
    assert mse == pytest.approx(squared_error / len(train), rel=EXACT)
    assert value == pytest.approx((squared_error + reg * penalty) / len(train), rel=EXACT)
    assert objective.value(at, train) == value


@pytest.mark.parametrize(("reg_scaling", "bias", "reg"), SETTINGS)
def test_gradient_is_that_of_autograd(reg_scaling: str, bias: bool, reg: float) -> None:
    torch = pytest.importorskip("torch")
    train = random_ratings(12, 9, 60)
    at = point(train, 3, bias)
    objective = Objective(3, reg, reg_scaling, bias)
    gradient = objective.gradient(at, train)

    tables = {name: torch.tensor(a, requires_grad=True) for name, a in at.arrays().items()}
    users, items, ratings = (torch.tensor(a.copy()) for a in (train.users, train.items, train.ratings))
    dots = (tables["user_factors"][users] * tables["item_factors"][items]).sum(dim=1)
    errors = ratings - (at.mean + tables["user_bias"][users] + tables["item_bias"][items] + dots)
    weights = [torch.tensor(w) for w in objective.row_weights(train)]
    penalty = sum(
        (w[:, None] * tables[f"{side}_factors"] ** 2).sum() + (w * tables[f"{side}_bias"] ** 2).sum()
        for side, w in zip(("user", "item"), weights, strict=True)
    )
    value = errors.square().mean() + reg * penalty / len(train)
    value.backward()
    assert float(value.detach()) == pytest.approx(objective.value(at, train), rel=EXACT)
    assert gradient.mean == 0
    for name, ours in gradient.arrays().items():
        if name.endswith("bias") and not bias:
            assert not ours.any()
        else:
            assert np.abs(ours - tables[name].grad.numpy()).max() <= AUTOGRAD


def test_gradient_counts_a_repeated_pair_once_per_rating() -> None:
    train = Ratings(np.array([0, 0]), np.array([0, 0]), np.array([1.0, 4.0]))
    at = Parameters(2.5, np.zeros(1), np.zeros(1), np.array([[2.0]]), np.array([[1.0]]))
    # residuals -1.5 + 1.5 - 2 * 2 = -4; dJ/dq = -(2/2) * p * (-4)
    assert Objective(1, 0.0).gradient(at, train).item_factors[0, 0] == pytest.approx(8.0)


def test_gradient_is_float64_and_leaves_its_arguments_alone() -> None:
    train = random_ratings(8, 6, 20)
    at = point(train, 2, bias=True).astype("float32")
    before = {name: a.copy() for name, a in at.arrays().items()}
    gradient = Objective(2).gradient(at, train)
    assert {a.dtype.name for a in gradient.arrays().values()} == {"float64"}
    assert all(np.array_equal(a, before[name]) for name, a in at.arrays().items())


def test_per_rating_weights_are_counts_and_per_entity_weights_are_alike() -> None:
    train = Ratings(np.array([0, 0, 2]), np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0]))
    users, items = Objective(reg_scaling="per_rating").row_weights(train)
    assert (users.tolist(), items.tolist()) == ([2, 0, 1], [1, 2])
    _, items = Objective(reg_scaling="per_entity").row_weights(train)
    assert items.tolist() == [3, 3]


def test_mean_is_that_of_the_ratings_or_zero() -> None:
    train = Ratings.from_arrays([1, 2], [1, 1], np.array([1.0, 4.0], np.float32))
    assert Objective().mean(train) == 2.5
    assert Objective(bias=False).mean(train) == 0.0


def test_mse_of_nothing_is_nan() -> None:
    nothing = Ratings(np.array([], int), np.array([], int), np.array([]), 2, 2)
    assert np.isnan(mean_squared_error(Parameters(0, *np.zeros((2, 2)), *np.zeros((2, 2, 1))), nothing))


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 25])
def test_chunks_cover_everything_once(n: int) -> None:
    covered = [k for part in chunks(n, 10) for k in range(n)[part]]
    assert covered == list(range(n))


# ---- the start ------------------------------------------------------------------------------------------------------


def test_initial_model_is_a_function_of_its_arguments() -> None:
    train = random_ratings()
    one, same, other = (initial_model(Objective(4), train, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.user_factors, same.user_factors)
    assert not np.array_equal(one.user_factors, other.user_factors)
    assert one.user_factors.shape == (train.n_users, 4)
    assert one.item_factors.shape == (train.n_items, 4)
    assert not one.user_bias.any()
    assert one.mean == pytest.approx(train.ratings.mean())


def test_normal_draws_are_normal() -> None:
    """Moments, and how many lie within one, two and three standard deviations; each draw as likely as any other."""
    ratings = Ratings([0], [0], [3.0], n_users=20_000, n_items=1)
    draws = initial_model(Objective(50), ratings, 0, init_scale=1.0).user_factors.ravel()
    moments = [float(np.mean(draws**k)) for k in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.02)
    within = [float(np.mean(np.abs(draws) < deviations)) for deviations in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.0015)
    assert float(np.abs(draws).max()) > 4
    columns = np.corrcoef(draws.reshape(-1, 4).T)  # four draws come from one random number
    assert np.abs(columns - np.eye(4)).max() < 0.01


@pytest.mark.parametrize("init", ["normal", "uniform"])
def test_initial_model_does_not_depend_on_threads_or_precision(init: Literal["normal", "uniform"]) -> None:
    rows = np.arange(10_000)  # more than one stream's
    for unit in (1, 1024):
        train = Ratings(rows, rows % 7, unit * (rows % 3))
        one = initial_model(Objective(3), train, 0, init)
        assert one.user_factors.dtype == np.float64
        assert len(np.unique(one.user_factors, axis=0)) == 10_000  # the streams differ
        for n_threads in (1, 2, 3):
            other = initial_model(Objective(3), train, 0, init, dtype="float32", n_threads=n_threads)
            assert other.user_factors.dtype == np.float32
            for name, values in one.arrays().items():
                np.testing.assert_array_equal(values, other.arrays()[name])


def test_uniform_start_lies_between_zero_and_its_scale() -> None:
    train = random_ratings()
    factors = initial_model(Objective(8), train, 0, "uniform", 3.0).user_factors
    assert 0 <= factors.min() < 0.2
    assert 2.8 < factors.max() < 3.0


def test_normal_start_has_its_scale_as_deviation() -> None:
    assert initial_model(Objective(32), random_ratings(), 0, "normal", 0.5).user_factors.std() == pytest.approx(
        0.5, 0.1
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, "rank must be an integer of at least 1, got 0"),
        ({"rank": "many"}, "rank must be an integer of at least 1, got 'many'"),
        ({"rank": True}, "rank must be an integer of at least 1, got True"),
        ({"reg": -1}, "reg must be a finite number of at least 0, got -1"),
        ({"reg": float("inf")}, "reg must be a finite number of at least 0, got inf"),
        ({"reg": None}, "reg must be a finite number of at least 0, got None"),
        ({"reg_scaling": "flat"}, 'reg_scaling must be "per_rating" or "per_entity", got \'flat\''),
        ({"bias": "yes"}, "bias must be True or False, got 'yes'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        Objective(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("init", "scale", "message"),
    [
        ("zeros", 0.1, 'init must be "normal" or "uniform", got \'zeros\''),
        ("normal", 0, "init_scale must be a positive number, got 0"),
        ("normal", float("nan"), "init_scale must be a positive number, got nan"),
        ("normal", "0.1", "init_scale must be a positive number, got '0.1'"),
    ],
)
def test_wrong_starts_are_named(init: str, scale: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        initial_model(Objective(), random_ratings(), 0, init, scale)
    assert str(caught.value) == message
