"""The objective and the shared start.

The objective's value is checked by a plain loop, its gradient by automatic differentiation.
"""

import dataclasses
import itertools
from typing import Literal

import numpy as np
import pytest
from helpers import penalty_of, random_ratings

from backends import Objective, Parameters, Ratings, initial_model
from backends._arrays import chunks
from backends.objective import mean_squared_error

EXACT = 1e-12
AUTOGRAD = 1e-10
DAMPED = {"damping": 3.0, "bias_reg": 0.2, "user_bias_damping": 2.0, "item_bias_damping": 0.5}
UNDAMPED = {"damping": 0, "bias_reg": 0.2, "user_bias_damping": 0, "item_bias_damping": 0}
OBJECTIVES = [
    Objective(
        2, reg, reg_scaling, bias, reg_unit, **(DAMPED if reg_scaling == "per_rating" else UNDAMPED)
    )
    for reg_scaling, bias, reg, reg_unit in itertools.product(
        ["per_rating", "per_entity"], [True, False], [0.0, 0.3], ["rms", "rating"]
    )
]


def weighted(train: Ratings) -> Ratings:
    weights = np.random.default_rng(3).uniform(0.2, 3, len(train))
    return dataclasses.replace(train, weights=weights)


def point(train: Ratings, rank: int, bias: bool) -> Parameters:
    """Parameters far from any special value."""
    rng = np.random.default_rng(5)
    start = initial_model(Objective(rank, bias=bias), train, 1, init_scale=0.7)
    if bias:
        start.user_bias, start.item_bias = (
            rng.normal(size=train.n_users),
            rng.normal(size=train.n_items),
        )
    return start


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_value_is_that_of_a_plain_loop(objective: Objective, weigh: bool) -> None:
    train = random_ratings(8, 6, 20)
    train = weighted(train) if weigh else train
    weights = train.weights if weigh else np.ones(len(train))
    at = point(train, 2, objective.bias)
    n, squared_error, penalty = sum(weights), 0.0, 0.0
    mean = sum(weights * train.ratings) / n if objective.bias else 0.0
    assert at.mean == pytest.approx(mean, rel=EXACT)
    unit = (
        (sum(weights * (train.ratings - mean) ** 2) / n) ** 0.5
        if objective.reg_unit == "rms"
        else 1.0
    )
    for u, i, r, w in zip(train.users, train.items, train.ratings, weights, strict=True):
        guess = at.mean + at.user_bias[u] + at.item_bias[i]
        guess += sum(at.user_factors[u, k] * at.item_factors[i, k] for k in range(2))
        squared_error += w * (r - guess) ** 2
    for rows, factors, biases, bias_damping in (
        (train.users, at.user_factors, at.user_bias, objective.user_bias_damping),
        (train.items, at.item_factors, at.item_bias, objective.item_bias_damping),
    ):
        for row in set(rows.tolist()):
            size = sum(weights[rows == row]) if objective.reg_scaling == "per_rating" else n
            squares = sum(x**2 for x in factors[row])
            penalty += objective.reg * unit * (size + objective.damping) * squares
            penalty += (objective.bias_reg * size + bias_damping) * biases[row] ** 2
    value, mse = objective.value_and_mse(at, train)
    assert mse == pytest.approx(squared_error / n, rel=EXACT)
    assert value == pytest.approx((squared_error + penalty) / n, rel=EXACT)
    assert objective.value(at, train) == value


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradient_is_that_of_autograd(objective: Objective, weigh: bool) -> None:
    torch = pytest.importorskip("torch")
    train = random_ratings(12, 9, 60)
    train = weighted(train) if weigh else train
    weights = torch.tensor(train.weights.copy() if weigh else np.ones(len(train)))
    at = point(train, 2, objective.bias)
    gradient = objective.gradient(at, train)

    tables = {name: torch.tensor(a, requires_grad=True) for name, a in at.arrays().items()}
    users, items, ratings = (
        torch.tensor(a.copy()) for a in (train.users, train.items, train.ratings)
    )
    dots = (tables["user_factors"][users] * tables["item_factors"][items]).sum(dim=1)
    errors = ratings - (at.mean + tables["user_bias"][users] + tables["item_bias"][items] + dots)
    value = (
        (weights * errors.square()).sum() + penalty_of(tables, objective, train)
    ) / weights.sum()
    value.backward()
    assert float(value.detach()) == pytest.approx(objective.value(at, train), rel=EXACT)
    assert gradient.mean == 0
    for name, ours in gradient.arrays().items():
        if name.endswith("bias") and not objective.bias:
            assert not ours.any()
        else:
            assert np.abs(ours - tables[name].grad.numpy()).max() <= AUTOGRAD


def test_weight_two_is_the_row_twice() -> None:
    train = random_ratings(12, 9, 60)
    weights = np.random.default_rng(0).integers(1, 4, len(train))
    double = dataclasses.replace(train, weights=weights.astype(float))
    repeated = train.take(np.repeat(np.arange(len(train)), weights))
    at, objective = point(train, 2, bias=True), Objective(2, **DAMPED)
    assert double.summary == pytest.approx(repeated.summary, rel=EXACT)
    assert objective.value(at, double) == pytest.approx(objective.value(at, repeated), rel=1e-9)
    one, other = (objective.gradient(at, x).arrays() for x in (double, repeated))
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 3.0, 4.0**10])
def test_the_objective_has_no_unit(scale: float) -> None:
    """With ratings and biases times s, and factors times the root of s, J is s^2 times as big."""
    train = random_ratings(12, 9, 60)
    at, objective = point(train, 2, bias=True), Objective(2, **DAMPED)
    scaled = dataclasses.replace(train, ratings=scale * train.ratings)
    biases, root = (scale * at.user_bias, scale * at.item_bias), scale**0.5
    there = Parameters(scale * at.mean, *biases, root * at.user_factors, root * at.item_factors)
    assert objective.value(there, scaled) == pytest.approx(
        scale**2 * objective.value(at, train), rel=1e-10
    )
    literal = Objective(2, reg_unit="rating", **DAMPED)
    assert literal.unit(scaled) == 1
    assert objective.unit(scaled) == pytest.approx(scale * float(train.ratings.std()), rel=EXACT)


@pytest.mark.parametrize("value", [0.1, 3.0, -1e9, 0.0])
def test_the_unit_of_equal_ratings_is_one(value: float) -> None:
    train = random_ratings(12, 9, 60)
    for dtype in (np.float32, np.float64):
        equal = dataclasses.replace(train, ratings=np.full(len(train), value, dtype))
        assert Objective().unit(equal) == 1
        assert not initial_model(Objective(3), equal, 0).user_factors.any()
        assert Objective(bias=False).unit(equal) == (
            pytest.approx(abs(value), rel=1e-7) if value else 1
        )


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


def test_penalties_grow_with_the_rows_ratings_or_are_alike() -> None:
    train = Ratings(np.array([0, 0, 2]), np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0]))
    damped = Objective(
        reg=0.5,
        reg_unit="rating",
        damping=2,
        bias_reg=0.1,
        user_bias_damping=3,
        item_bias_damping=4,
    )
    users, items = damped.penalties(train)
    assert users.factors.tolist() == [2, 0, 1.5]
    assert items.factors.tolist() == [1.5, 2]
    assert users.biases == pytest.approx([3.2, 0, 3.1])
    assert items.biases == pytest.approx([4.1, 4.2])
    alike = Objective(reg=0.5, reg_scaling="per_entity", reg_unit="rating", **UNDAMPED)
    users, items = alike.penalties(train)
    assert (users.factors.tolist(), items.factors.tolist()) == ([1.5, 0, 1.5], [1.5, 1.5])
    assert items.biases == pytest.approx([0.6, 0.6])


@pytest.mark.parametrize("unit", [1.0, 0.25, 3.7, 100.0])
def test_the_model_in_units_predicts_so_many_units(unit: float) -> None:
    rng = np.random.default_rng(0)
    shapes = (3,), (4,), (3, 2), (4, 2)
    x = Parameters(7.0, *(rng.normal(size=shape) for shape in shapes))
    inside = x.in_units(unit)
    pairs = np.arange(3), np.arange(3)
    expected = 7.0 + unit * (inside.predict(*pairs) - 7.0)
    np.testing.assert_allclose(x.predict(*pairs), expected, rtol=1e-12)
    for name, array in inside.from_units(unit).arrays().items():
        np.testing.assert_allclose(array, x.arrays()[name], rtol=1e-15)


def test_mean_is_that_of_the_ratings_or_zero() -> None:
    train = Ratings.from_arrays([1, 2], [1, 1], np.array([1.0, 4.0], np.float32))
    assert Objective().mean(train) == 2.5
    assert Objective(bias=False).mean(train) == 0.0


def test_mse_of_nothing_is_nan() -> None:
    nothing = Ratings(np.array([], int), np.array([], int), np.array([]), 2, 2)
    assert np.isnan(
        mean_squared_error(Parameters(0, *np.zeros((2, 2)), *np.zeros((2, 2, 1))), nothing)
    )


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 25])
def test_chunks_cover_everything_once(n: int) -> None:
    covered = [k for part in chunks(n, 10) for k in range(n)[part]]
    assert covered == list(range(n))


# ---- the start ----------------------------------------------------------------------------------


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
    """Moments, the shares within 1, 2 and 3 standard deviations, and each draw equally likely."""
    ratings = Ratings([0, 1], [0, 0], [2.0, 4.0], n_users=20_000, n_items=1)  # of unit 1
    draws = initial_model(Objective(50), ratings, 0, init_scale=1.0).user_factors.ravel()
    moments = [float(np.mean(draws**k)) for k in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.02)
    within = [float(np.mean(np.abs(draws) < deviations)) for deviations in (1, 2, 3)]
    assert within == pytest.approx([0.6827, 0.9545, 0.9973], abs=0.0015)
    assert float(np.abs(draws).max()) > 4
    columns = np.corrcoef(draws.reshape(-1, 4).T)  # four draws come from one random number
    assert np.abs(columns - np.eye(4)).max() < 0.01


@pytest.mark.parametrize("init", ["normal", "uniform"])
def test_initial_model_does_not_depend_on_threads_or_precision(
    init: Literal["normal", "uniform"],
) -> None:
    rows = np.arange(10_000)  # more than one stream's
    for unit in (1, 1024):
        train = Ratings(rows, rows % 7, unit * (rows % 3))
        one = initial_model(Objective(3), train, 0, init)
        assert one.user_factors.dtype == np.float64
        assert len(np.unique(one.user_factors, axis=0)) == 10_000  # the streams differ
        for n_threads in (1, 2, 3):
            other = initial_model(
                Objective(3), train, 0, init, dtype="float32", n_threads=n_threads
            )
            assert other.user_factors.dtype == np.float32
            for name, values in one.arrays().items():
                np.testing.assert_array_equal(values, other.arrays()[name])


def test_uniform_start_lies_between_zero_and_its_scale() -> None:
    train = random_ratings()
    factors = initial_model(Objective(8), train, 0, "uniform", 3.0).user_factors
    assert 0 <= factors.min() < 0.2
    assert 2.8 < factors.max() < 3.0


def test_normal_start_has_its_scale_as_deviation() -> None:
    train = random_ratings()
    for factor in (1.0, 100.0):
        scaled = dataclasses.replace(train, ratings=factor * train.ratings)
        start = initial_model(Objective(32), scaled, 0, "normal", 0.5)
        unit = float(scaled.ratings.std())
        assert start.user_factors.std() == pytest.approx(0.5 * unit**0.5, rel=0.1)


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
        ({"reg_unit": "std"}, 'reg_unit must be "rms" or "rating", got \'std\''),
        ({"damping": -1}, "damping must be a finite number of at least 0, got -1"),
        (
            {"reg_scaling": "per_entity", "damping": 0, "item_bias_damping": 0},
            'user_bias_damping must be 0 with reg_scaling="per_entity", '
            "where all rows are penalised alike, got "
            f"{Objective.user_bias_damping!r}; "
            "give damping=0, user_bias_damping=0, item_bias_damping=0",
        ),
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
