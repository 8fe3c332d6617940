"""Momentum gradient descent: every engine follows NumPy, and NumPy follows ``torch.optim.SGD``."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import Trajectory, penalty_of, random_ratings, relative_differences, trajectory

from backends import (
    Factorizer,
    Objective,
    Parameters,
    Ratings,
    RatingsError,
    get_backend,
    initial_model,
)

AT = (1, 2, 10, 50)  # iterations at which trajectories are compared
PARITY = {"float64": 1e-9, "float32": 1e-5}
AUTOGRAD = 1e-10

ENGINES: dict[str, dict[str, Any]] = {
    "numba-gd": {},
    "torch-cpu-gd sparse": {"products": "sparse"},
    "torch-cpu-gd gather": {"products": "gather"},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "article": {"preset": "article"},
    "rewinds": {"learning_rate": 3.0},
    "unscaled": {"row_scaling": False, "learning_rate": 2.0},
    "per_entity": {
        "reg": 1e-3,
        "reg_scaling": "per_entity",
        "damping": 0,
        "user_bias_damping": 0,
        "item_bias_damping": 0,
    },
    "bias-free": {"bias": False},
    "damped": {"damping": 40, "bias_reg": 0.1, "user_bias_damping": 20, "item_bias_damping": 0.5},
    "weighted": {},
}


def engine(title: str, **params: Any) -> Factorizer:
    name = title.split()[0]
    if name != "numpy":
        pytest.importorskip(name.split("-")[0])
    return get_backend(name, **ENGINES.get(title, {}), n_jobs=1, **params)


@pytest.fixture(scope="module")
def small() -> Ratings:
    return random_ratings()


def ratings_for(settings: str, train: Ratings) -> Ratings:
    if settings != "weighted":
        return train
    return dataclasses.replace(train, weights=np.random.default_rng(1).uniform(0.1, 4, len(train)))


@pytest.fixture(scope="module")
def reference(small: Ratings) -> dict[tuple[str, str], Trajectory]:
    """NumPy's trajectories, by settings and precision."""
    return {
        (name, dtype): trajectory(
            engine("numpy", dtype=dtype, **SETTINGS[name]), ratings_for(name, small), AT
        )
        for name in SETTINGS
        for dtype in PARITY
    }


def assert_same(mine: Trajectory, numpys: Trajectory, tolerance: float) -> None:
    assert mine.learning_rates == numpys.learning_rates  # the same decisions at the same iterations
    worst = [
        max(relative_differences(a, b).values())
        for a, b in zip(mine.points, numpys.points, strict=True)
    ]
    assert len(worst) == len(AT)
    assert max(worst) <= tolerance, dict(zip(AT, worst, strict=True))


@pytest.mark.parametrize("dtype", PARITY)
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("title", ENGINES)
def test_engines_follow_one_trajectory(
    small: Ratings,
    reference: dict[tuple[str, str], Trajectory],
    title: str,
    settings: str,
    dtype: str,
) -> None:
    train = ratings_for(settings, small)
    mine = trajectory(engine(title, dtype=dtype, **SETTINGS[settings]), train, AT)
    assert_same(mine, reference[settings, dtype], PARITY[dtype])


def test_the_safeguard_acts_where_its_parity_is_tested(
    reference: dict[tuple[str, str], Trajectory],
) -> None:
    assert reference["rewinds", "float64"].n_rewinds >= 2
    assert reference["rewinds", "float32"].n_rewinds >= 2
    assert reference["article", "float64"].n_rewinds == 0


@pytest.fixture(scope="module")
def numpy_on_movielens(ml100k: Ratings) -> Callable[[str, str], Trajectory]:
    """NumPy's trajectory by settings and precision, computed once for all engines."""

    @functools.cache
    def follow(settings: str, dtype: str) -> Trajectory:
        return trajectory(engine("numpy", dtype=dtype, **SETTINGS[settings]), ml100k, AT)

    return follow


@pytest.mark.real_data
@pytest.mark.parametrize("dtype", PARITY)
@pytest.mark.parametrize("settings", ["default", "article", "rewinds"])
@pytest.mark.parametrize("title", ENGINES)
def test_engines_follow_one_trajectory_on_movielens(
    ml100k: Ratings,
    numpy_on_movielens: Callable[[str, str], Trajectory],
    title: str,
    settings: str,
    dtype: str,
) -> None:
    numpys = numpy_on_movielens(settings, dtype)
    assert_same(
        trajectory(engine(title, dtype=dtype, **SETTINGS[settings]), ml100k, AT),
        numpys,
        PARITY[dtype],
    )
    if settings == "rewinds":
        assert numpys.n_rewinds >= 1


@pytest.mark.parametrize("title", ["numba-gd", "torch-cpu-gd sparse"])
def test_threads_do_not_change_the_trajectory(small: Ratings, title: str) -> None:
    one, two = (
        trajectory(engine(title, dtype="float64").set_params(n_jobs=n), small, AT) for n in (1, 2)
    )
    assert_same(two, one, PARITY["float64"])


@pytest.mark.parametrize("title", ["numpy", *ENGINES])
@pytest.mark.parametrize(
    ("momentum", "dampening"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.9), (0.5, 0.3)]
)
def test_the_rule_is_that_of_torch_sgd(
    small: Ratings, title: str, momentum: float, dampening: float
) -> None:
    torch = pytest.importorskip("torch")
    rule = {"momentum": momentum, "dampening": dampening}
    plain = {"learning_rate": 0.5, "row_scaling": False, "safeguard": False}
    solver = engine(title, rank=3, reg=0.05, dtype="float64", **rule, **plain)
    start = initial_model(solver.objective, small, 0, init_scale=0.5)
    ours = trajectory(solver, small, (1, 2, 3, 10), start).points

    tables = {name: torch.tensor(a, requires_grad=True) for name, a in start.arrays().items()}
    users, items, ratings = (
        torch.tensor(a.copy()) for a in (small.users, small.items, small.ratings)
    )
    sgd = torch.optim.SGD(list(tables.values()), lr=0.5, **rule)
    for iteration in range(1, 11):
        sgd.zero_grad()
        dots = (tables["user_factors"][users] * tables["item_factors"][items]).sum(dim=1)
        errors = ratings - (
            start.mean + tables["user_bias"][users] + tables["item_bias"][items] + dots
        )
        penalty = penalty_of(tables, solver.objective, small)
        (errors.square().mean() + penalty / len(small)).backward()
        sgd.step()
        if iteration in (1, 2, 3, 10):
            theirs = Parameters(
                start.mean, **{name: t.detach().numpy() for name, t in tables.items()}
            )
            assert max(relative_differences(ours.pop(0), theirs).values()) <= AUTOGRAD
    assert not ours


def test_the_first_step_is_a_plain_gradient_step(small: Ratings) -> None:
    solver = engine(
        "numpy",
        rank=3,
        dtype="float64",
        learning_rate=0.3,
        momentum=0.9,
        dampening=0.9,
        row_scaling=False,
    )
    start = initial_model(solver.objective, small, 0)
    gradient = solver.objective.gradient(start, small)
    (after,) = trajectory(solver, small, (1,), start).points
    expected = start.user_factors - 0.3 * gradient.user_factors
    assert np.linalg.norm(after.user_factors - expected) <= AUTOGRAD * np.linalg.norm(expected)


def test_row_scaling_moves_a_row_by_its_mean_residual_gradient() -> None:
    # Users with 1 rating and with 3 have their biases moved equally far if their residuals agree.
    train = Ratings.from_arrays(["a", "b", "b", "b"], [0, 1, 2, 3], [4.0, 4.0, 4.0, 4.0])
    free = {"reg": 0, "bias_reg": 0, "user_bias_damping": 0, "item_bias_damping": 0}
    solver = engine("numpy", rank=1, dtype="float64", learning_rate=0.5, **free)
    start = Parameters(3.0, np.zeros(2), np.zeros(4), np.zeros((2, 1)), np.zeros((4, 1)))
    (after,) = trajectory(solver, train, (1,), start).points
    assert after.user_bias == pytest.approx([0.5, 0.5])
    damped = engine(
        "numpy", rank=1, dtype="float64", learning_rate=0.5, **free | {"user_bias_damping": 2}
    )
    (after,) = trajectory(damped, train, (1,), start).points
    assert after.user_bias == pytest.approx([0.5 / 3, 0.5 * 3 / 5])  # n / (n + damping) of it


def test_damping_costs_no_epochs() -> None:
    """A row's step is divided by its curvature, penalty included: strong damping slows nothing."""
    train, needed = random_ratings(150, 100, 4000), []
    for damping in (0, 3, 10, 30, 100):
        dampings = {
            "damping": damping,
            "user_bias_damping": damping / 3,
            "item_bias_damping": damping / 3,
        }
        solver = engine("numba-gd", rank=3, dtype="float64", **dampings).fit(
            train, epochs=300, evaluate=True
        )
        course = [record.objective for record in solver.history_]
        needed.append(next(epoch for epoch, at in enumerate(course, 1) if at <= 1.01 * min(course)))
    assert max(needed) <= 1.1 * needed[0], needed


def test_the_safeguard_brings_a_wild_rate_down(small: Ratings) -> None:
    solver = engine("numpy", rank=3, dtype="float64", learning_rate=1e4).fit(
        small, epochs=150, evaluate=True
    )
    start = initial_model(solver.objective, small, 0)
    assert solver.status_ == "epochs"
    assert solver.history_[-1].objective < 0.5 * solver.objective.value(start, small)


@pytest.mark.parametrize("title", ["numpy", *ENGINES])
def test_the_last_step_is_guarded_too(small: Ratings, title: str) -> None:
    # no sweep follows the last move, so nothing has yet checked where it led
    solver = engine(title, rank=3, dtype="float64", learning_rate=1e4)
    start = solver.objective.value(initial_model(solver.objective, small, 0), small)
    for epochs in (1, 2, 3):
        solver.fit(small, epochs=epochs, evaluate=True)
        assert solver.history_[-1].objective <= start


@pytest.fixture
def twice() -> Ratings:
    """The first pair is rated twice."""
    return Ratings(
        np.array([0, 1, 0, 1, 0]), np.array([0, 0, 1, 1, 0]), np.array([4.0, 2.0, 3.0, 5.0, 1.0])
    )


def test_sparse_products_refuse_a_repeated_pair(twice: Ratings) -> None:
    pytest.importorskip("torch")
    with pytest.raises(
        RatingsError,
        match=r'products="sparse" needs distinct \(user, item\) pairs; take products="gather"',
    ):
        engine("torch-cpu-gd sparse").fit(twice)


@pytest.mark.parametrize("title", ["numpy", "numba-gd", "torch-cpu-gd", "torch-cpu-gd gather"])
def test_a_repeated_pair_counts_once_per_rating(twice: Ratings, title: str) -> None:
    solver = engine(
        title, rank=2, dtype="float64", learning_rate=0.2, row_scaling=False, safeguard=False
    )
    start = initial_model(solver.objective, twice, 0)
    gradient = solver.objective.gradient(start, twice)
    (after,) = trajectory(solver, twice, (1,), start).points
    expected = start.user_factors - solver.learning_rate * gradient.user_factors
    assert np.linalg.norm(after.user_factors - expected) <= AUTOGRAD * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("momentum", "heavy"),
        ("dampening", 1),
        ("dampening", None),
    ],
)
def test_wrong_parameters_are_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must (be|lie)") as caught:
        get_backend("numpy", **{name: value})
    assert str(caught.value).endswith(f", got {value!r}")


@pytest.mark.parametrize(
    ("name", "value", "choices"),
    [
        ("optimizer", "sgd", ["gd", "adam"]),
        ("products", "dense", ["auto", "fused", "sparse", "gather"]),
        ("batch_size", 0, ["1"]),
    ],
)
def test_wrong_torch_parameters_are_named(name: str, value: object, choices: list[str]) -> None:
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match=f"^{name} must be ") as caught:
        get_backend("torch-cpu", **{name: value})
    assert [choice for choice in choices if choice not in str(caught.value)] == []
    assert str(caught.value).endswith(f", got {value!r}")


def test_adam_gradient_is_that_of_the_objective(small: Ratings) -> None:
    # one batch of all ratings and a tiny rate: Adam's first step is -rate * sign(gradient)
    pytest.importorskip("torch")
    solver = get_backend(
        "torch-cpu",
        learning_rate=1e-4,
        batch_size=len(small),
        rank=3,
        dtype="float64",
    )
    start = initial_model(solver.objective, small, 0, init_scale=0.5)
    gradient = solver.objective.gradient(start, small)
    after = solver.fit(small, epochs=1, initial=start).model_.parameters
    for name, g in gradient.arrays().items():
        clear = np.abs(g) > 1e-6
        assert clear.any()
        step = (after.arrays()[name] - start.arrays()[name])[clear]
        assert np.array_equal(np.sign(step), -np.sign(g[clear]))


def test_the_article_preset_is_the_article() -> None:
    solver = get_backend("numpy", preset="article")
    assert solver.objective == Objective(
        rank=3,
        reg=2e-4,
        reg_scaling="per_entity",
        bias=False,
        reg_unit="rating",
        damping=0,
        user_bias_damping=0,
        item_bias_damping=0,
    )
    assert (solver.epochs, solver.learning_rate, solver.momentum, solver.dampening) == (
        800,
        1.0,
        0.9,
        0.9,
    )
    assert (solver.init, solver.init_scale) == ("uniform", 11 / 3)
    assert not solver.row_scaling
    assert not solver.safeguard
    assert get_backend("numpy", preset="article", rank=5).rank == 5
    fields = {field.name for field in dataclasses.fields(solver)}
    assert set(type(solver).presets["article"]) <= fields


@pytest.mark.parametrize("title", ["numpy", *ENGINES])
@pytest.mark.parametrize("settings", ["default", "per_entity"])
def test_the_safeguard_sees_the_objective(title: str, settings: str, small: Ratings) -> None:
    """The J that decides about a step, and the training MSE, are taken at the point reached."""
    solver = engine(title, dtype="float64", **SETTINGS[settings])
    with solver.threads():
        state = solver.prepare(small, initial_model(solver.objective, small, 0), seed=0)
        train_mse = solver.step(state, 5)
        value, mse = solver.objective.value_and_mse(solver.parameters(state), small)
    assert float(state.course.objective) == pytest.approx(value, rel=1e-9)
    assert train_mse == pytest.approx(mse, rel=1e-9)
