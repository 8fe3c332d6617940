"""Every solver takes ratings on any scale with its defaults: no start, step length or accumulator has a hidden unit."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from backends import Objective, Ratings, get_backend, initial_model
from backends.objective import mean_squared_error
from backends.testing import example_ratings

SOLVERS = ["numba-gd", "numba-sgd", "numpy", "numpy-als", "torch-cpu"]


def unexplained(name: str, scale: float) -> float:
    """Return the share of the mean square that is left, on the same problem in other units.

    Without biases the objective has a scale: factors grow with its root, reg with the scale itself.
    """
    train, _ = example_ratings()
    ratings = Ratings(train.users, train.items, train.ratings * scale, train.n_users, train.n_items)
    options = {"rank": 4, "reg": 0.1 * scale, "init_scale": 0.5, "bias": False}
    solver = get_backend(name, dtype="float64", n_jobs=1, **options).fit(ratings, epochs=150)
    assert solver.status_ == "epochs"
    return solver.history_[-1].train_mse / float(np.mean(np.square(ratings.ratings)))


@pytest.mark.parametrize("scale", [1e-3, 100.0, 4096.0])
@pytest.mark.parametrize("name", SOLVERS)
def test_a_fit_explains_as_much_on_any_scale(name: str, scale: float) -> None:
    assert unexplained(name, scale) == pytest.approx(unexplained(name, 1.0), rel=0.1)


@cache
def films() -> tuple[Ratings, Ratings]:
    """Ratings like those of films, from 1 to 5: for training and for validation."""
    rng = np.random.default_rng(0)
    n_users, n_items, n = 300, 200, 12_000
    taste, kind = rng.normal(size=(n_users, 4)), rng.normal(size=(n_items, 4))
    users, items = np.divmod(rng.permutation(n_users * n_items)[:n], n_items)
    exact = 3.5 + 0.4 * rng.normal(size=n_users)[users] + 0.4 * rng.normal(size=n_items)[items]
    exact += 0.4 * np.einsum("nk,nk->n", taste[users], kind[items])
    ratings = np.clip(np.rint(exact + 0.5 * rng.normal(size=n)), 1, 5)
    parts = slice(0, 10_000), slice(10_000, n)
    train, validation = (Ratings(users[part], items[part], ratings[part], n_users, n_items) for part in parts)
    return train, validation


@cache
def validation_mse(name: str, scale: float, rank: int, **options: Any) -> float:
    """Return the validation MSE of a fit by defaults, biases included, in the units of scale 1."""
    train, validation = (Ratings(x.users, x.items, x.ratings * scale, x.n_users, x.n_items) for x in films())
    solver = get_backend(name, rank=rank, reg=0.08 * scale, n_jobs=1, **options).fit(train, evaluate=False)
    assert solver.status_ == "epochs"
    return mean_squared_error(solver.model_.parameters, validation) / scale**2


@pytest.mark.parametrize("scale", [0.01, 1e3])
@pytest.mark.parametrize("rank", [16, 128])
@pytest.mark.parametrize(
    ("name", "options"), [("numba-sgd", {}), ("numba-gd", {}), ("numpy", {}), ("torch-cpu", {"optimizer": "adam"})]
)
def test_a_fit_predicts_as_well_on_any_scale(name: str, options: dict[str, Any], rank: int, scale: float) -> None:
    """Beside exact minimisation: the penalty of biases has no scale, so the minimum itself is another on each."""
    plain, scaled = (
        validation_mse(name, x, rank, **options) / validation_mse("numpy-als", x, rank) for x in (1.0, scale)
    )
    assert 0.9 < plain < 1.01
    assert scaled == pytest.approx(plain, rel=0.02)


def test_the_start_is_in_the_unit_of_the_ratings() -> None:
    train, _ = films()
    for bias in (True, False):
        objective = Objective(16, bias=bias)
        plain = initial_model(objective, train, 0)
        assert plain.user_factors.std() == pytest.approx(0.1, rel=0.05)
        for factor, root in ((4.0**-7, 2.0**-7), (4.0**100, 2.0**100), (3.7, 2.0)):
            scaled = Ratings(train.users, train.items, train.ratings * factor, train.n_users, train.n_items)
            found = initial_model(objective, scaled, 0)
            for side in ("user_factors", "item_factors"):
                np.testing.assert_array_equal(found.arrays()[side], root * plain.arrays()[side])


def test_a_uniform_start_is_taken_literally() -> None:
    train, _ = films()
    scaled = Ratings(train.users, train.items, train.ratings * 4.0**7, train.n_users, train.n_items)
    one, other = (initial_model(Objective(3), x, 0, "uniform", 11 / 3) for x in (train, scaled))
    np.testing.assert_array_equal(one.user_factors, other.user_factors)
