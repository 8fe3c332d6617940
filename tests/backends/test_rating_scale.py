"""No unit anywhere: scaled or shifted ratings give the same predictions in the new numbers."""

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backends import Objective, Ratings, RatingsError, get_backend, initial_model
from backends.objective import mean_squared_error

pytestmark = pytest.mark.fits

SOLVERS: dict[str, dict[str, Any]] = {
    "numba-als": {"epochs": 8},
    "numba-gd": {},
    "numba-sgd": {},
    "numpy": {},
    "numpy-als": {"epochs": 8},
    "torch-als": {"epochs": 8},
    "torch-cpu": {"epochs": 8},
    "torch-cpu-gd": {},
}
EXACT = [
    "numba-als",
    "numba-gd",
    "numpy",
    "numpy-als",
    "torch-cpu-gd",
]  # whose course does not depend on rounding


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
    train, validation = (
        Ratings(users[part], items[part], ratings[part], n_users, n_items) for part in parts
    )
    return train, validation


def rescaled(ratings: Ratings, scale: float, shift: float) -> Ratings:
    """The same ratings times ``scale``, moved by ``shift`` standard deviations."""
    moved = ratings.ratings + shift * float(films()[0].ratings.std())
    return dataclasses.replace(ratings, ratings=scale * moved)


@cache
def predictions(title: str, scale: float, shift: float, dtype: str) -> NDArray[np.float64]:
    """What a fit by defaults predicts for the validation ratings, at scale 1, less their mean."""
    train, validation = (rescaled(x, scale, shift) for x in films())
    name, options = title.split()[0], {"n_jobs": 1} | SOLVERS[title]
    if name != "numpy" and not name.startswith("numpy"):
        pytest.importorskip(name.split("-")[0])
    solver = get_backend(name, dtype=dtype, **options).fit(train)
    assert solver.status_ == "epochs"
    return (solver.predict(validation.users, validation.items) - train.summary.mean) / scale


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [4.0**-10, 4.0**-3, 4.0**5, 4.0**10])
@pytest.mark.parametrize("title", SOLVERS)
def test_predictions_scale_with_powers_of_four(title: str, scale: float, dtype: str) -> None:
    apart = np.abs(predictions(title, scale, 0.0, dtype) - predictions(title, 1.0, 0.0, dtype))
    assert apart.max() <= 1e-5 * films()[0].ratings.std()


@pytest.mark.parametrize("scale", [1e-17, 1e-30, 1e17, 1e30, 1e160])
@pytest.mark.parametrize("name", ["numpy", "numba-gd", "torch-cpu-gd"])
def test_ratings_whose_squares_leave_single_precision_are_refused(name: str, scale: float) -> None:
    if name != "numpy":
        pytest.importorskip(name.split("-")[0])
    train = rescaled(films()[0], scale, 0.0)
    with pytest.raises(RatingsError, match=r'float32 takes 1e-15 to 1e\+15: .* dtype="float64"'):
        get_backend(name, n_jobs=1).fit(train)
    if scale < 1e100:  # in float64 squares overflow as well
        solver = get_backend(name, n_jobs=1, dtype="float64").fit(train, epochs=2)
        assert solver.status_ == "epochs"


@pytest.mark.parametrize(
    ("scale", "shift"), [(1e-6, 0), (0.37, 1000), (1.0, -1000), (1e6, 30), (7.0, 0)]
)
@pytest.mark.parametrize("title", EXACT)
def test_predictions_scale_with_anything_in_float64(title: str, scale: float, shift: float) -> None:
    apart = np.abs(
        predictions(title, scale, shift, "float64") - predictions(title, 1.0, 0.0, "float64")
    )
    assert apart.max() <= 1e-6 * films()[0].ratings.std()


@pytest.mark.parametrize(
    ("scale", "shift"), [(1e-6, 0), (0.37, 1000), (1.0, -1000), (1e6, 30), (7.0, 0)]
)
@pytest.mark.parametrize("title", ["numba-sgd", "torch-cpu"])
def test_solvers_that_draw_predict_as_well_on_any_scale(
    title: str, scale: float, shift: float
) -> None:
    actual = films()[1].ratings - films()[0].summary.mean
    plain, scaled = (
        float(np.mean((predictions(title, *where, "float32") - actual) ** 2))
        for where in ((1.0, 0.0), (scale, shift))
    )
    assert scaled == pytest.approx(plain, rel=0.01)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [1e5, 1e7, 1e9])
def test_a_shift_by_millions_is_no_rounding(shift: float, dtype: str) -> None:
    """In float64 ratings: from there on, float32 ones are rounded themselves."""
    apart = np.abs(
        predictions("numpy-als", 1.0, shift, dtype) - predictions("numpy-als", 1.0, 0.0, dtype)
    )
    assert apart.max() <= max(1e-4, 1e-14 * shift) * films()[0].ratings.std()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("wrong", [1e6, -1e6, 1e4])
@pytest.mark.parametrize("title", SOLVERS)
def test_one_wrong_rating_makes_no_solver_diverge(title: str, wrong: float, bias: bool) -> None:
    train = films()[0]
    ratings = train.ratings.copy()
    ratings[17] = wrong
    name = title.split()[0]
    if not name.startswith("numpy"):
        pytest.importorskip(name.split("-")[0])
    solver = get_backend(name, n_jobs=1, bias=bias, **SOLVERS[title])
    solver.fit(dataclasses.replace(train, ratings=ratings))
    assert solver.status_ == "epochs"
    assert solver.model_.parameters.is_finite()


@pytest.mark.parametrize("title", SOLVERS)
def test_a_fit_is_about_as_good_as_exact_minimisation(title: str) -> None:
    mse = {}
    for name in (title, "numpy-als"):
        options = (
            {"n_jobs": 1, "rank": 4} | (SOLVERS[title] if name == title else {}) | {"epochs": 60}
        )
        solver = get_backend(name.split()[0], **options).fit(films()[0])
        mse[name] = mean_squared_error(solver.model_.parameters, films()[1])
    assert mse[title] < 1.02 * mse["numpy-als"]


@pytest.mark.parametrize(
    "penalty",
    [
        {"reg": 1e30},
        {"reg": 3e38},
        {"damping": 1e38},
        {"bias_reg": 1e30},
        {"item_bias_damping": 1e38},
    ],
)
@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
@pytest.mark.parametrize(
    "title", ["numba-als", "numba-gd", "numba-sgd", "numpy", "numpy-als", "torch-cpu-gd"]
)
def test_what_is_penalised_beyond_all_measure_vanishes(
    title: str, scale: float, penalty: dict[str, float]
) -> None:
    if not title.startswith("numpy"):
        pytest.importorskip(title.split("-")[0])
    train = rescaled(films()[0], scale, 0)
    solver = get_backend(title, rank=4, n_jobs=1, dtype="float32", **penalty).fit(train, epochs=30)
    x, unit = solver.model_.parameters, float(train.ratings.std())
    assert solver.status_ == "epochs"
    if "reg" in penalty or "damping" in penalty:
        products = np.abs(x.user_factors @ x.item_factors.T).max()
        assert products < 1e-3 * unit
        assert np.abs(x.user_bias).max() > 0.01 * unit  # the biases go on
    else:
        assert np.abs(x.item_bias).max() < 1e-3 * unit


def test_the_start_is_in_the_unit_of_the_ratings() -> None:
    train, _ = films()
    for bias in (True, False):
        objective = Objective(16, bias=bias)
        plain = initial_model(objective, train, 0)
        assert plain.user_factors.std() == pytest.approx(
            0.1 * objective.unit(train) ** 0.5, rel=0.05
        )
        for factor, root in ((4.0**-7, 2.0**-7), (4.0**100, 2.0**100)):
            found = initial_model(objective, rescaled(train, factor, 0), 0)
            for side in ("user_factors", "item_factors"):
                np.testing.assert_array_equal(found.arrays()[side], root * plain.arrays()[side])


def test_a_uniform_start_is_taken_literally() -> None:
    train, _ = films()
    one, other = (
        initial_model(Objective(3), x, 0, "uniform", 11 / 3)
        for x in (train, rescaled(train, 4.0**7, 0))
    )
    np.testing.assert_array_equal(one.user_factors, other.user_factors)
