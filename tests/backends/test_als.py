"""Alternating least squares: exact half-epochs, the same in NumPy and numba, and singular rows."""

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import random_ratings, relative_differences

from backends import Objective, Parameters, Ratings, get_backend, mean_squared_error
from backends._engine import least_squares
from backends._engine.least_squares import Equations, least_norm

pytestmark = pytest.mark.fits

UNPENALISED = {
    "reg": 0.0,
    "damping": 0.0,
    "bias_reg": 0.0,
    "user_bias_damping": 0.0,
    "item_bias_damping": 0.0,
}


def weighted(train: Ratings) -> Ratings:
    return replace(train, weights=np.random.default_rng(0).lognormal(0, 1, len(train)))


# ---- equations without a single solution --------------------------------------------------------


def test_the_solution_of_least_norm_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    designs = rng.normal(size=(5, 3, 6))  # six unknowns and three equations
    targets = rng.normal(size=(5, 3))
    gram, right = designs.transpose(0, 2, 1) @ designs, np.einsum("rnk,rn->rk", designs, targets)
    solved = least_norm(gram, right)
    expected = [np.linalg.lstsq(a, y)[0] for a, y in zip(designs, targets, strict=True)]
    np.testing.assert_allclose(solved, expected, rtol=1e-9)


def equations(designs: Any, targets: Any, penalty: float = 0.0) -> Equations:
    """Rows of the given regressors and targets, shapes (n_rows, n, rank) and (n_rows, n)."""
    n_rows, n, rank = designs.shape
    return Equations(
        offsets=np.arange(0, n_rows * n + 1, n),
        opposites=np.arange(n_rows * n, dtype=np.int32),
        targets=targets.ravel(),
        weights=None,
        penalty=np.full(n_rows, penalty),
        bias_penalty=None,
        factors=designs.reshape(-1, rank),
        bias=np.zeros(n_rows * n),
        own_bias=None,
    )


def test_equations_that_are_not_finite_have_no_solution() -> None:
    gram = np.stack([np.eye(2), np.full((2, 2), np.inf), np.full((2, 2), np.nan)])
    solved = least_norm(gram, np.ones((3, 2)))
    assert solved[0].tolist() == [1, 1]
    assert np.isnan(solved[1:]).all()
    designs = np.stack([np.eye(2), np.full((2, 2), np.inf), np.full((2, 2), np.nan)])
    with np.errstate(invalid="ignore"):
        solved, errors = equations(designs, np.ones((3, 2))).solve(np.arange(3), "float64")
    assert solved[0].tolist() == [1, 1]
    assert errors[0] == 0
    assert np.isnan(solved[1:]).all() and np.isnan(errors[1:]).all()


@pytest.mark.parametrize("n", [3, 8])  # ratings, fewer than factors and more
def test_a_singular_row_leaves_the_others_of_its_batch_alone(n: int) -> None:
    rng = np.random.default_rng(0)
    designs, targets = rng.normal(size=(50, n, 4)), rng.normal(size=(50, n))
    designs[7, :, 2] = designs[7, :, 1]
    designs[30] = 0
    solved, errors = equations(designs, targets).solve(np.arange(50), "float64")
    for row in range(50):
        expected = np.linalg.lstsq(designs[row], targets[row])[0]
        np.testing.assert_allclose(solved[row], expected, rtol=1e-8, atol=1e-12)
        left = np.square(targets[row] - designs[row] @ expected).sum()
        assert errors[row] == pytest.approx(left, abs=1e-12)
    # Solved for without the two, the others are the same to the last bit.
    others = np.delete(np.arange(50), [7, 30])
    again, _ = equations(designs, targets).solve(others, "float64")
    np.testing.assert_array_equal(solved[others], again)


def test_rows_that_float32_takes_for_singular_are_solved_in_float64() -> None:
    """A weak penalty is rounding error of a float32 diagonal, but decides what the solution is."""
    rng = np.random.default_rng(0)
    designs, targets = rng.normal(size=(5, 3, 6)).astype("f4"), rng.normal(size=(5, 3)).astype("f4")
    solved, _ = equations(designs, targets, 1e-7).solve(np.arange(5), "float32")
    for a, y, found in zip(designs.astype("f8"), targets.astype("f8"), solved, strict=True):
        expected = np.linalg.solve(a.T @ a + 1e-7 * np.eye(6), a.T @ y)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("penalty", [0.0, 0.5])
def test_a_long_row_is_cut_into_parts(penalty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, checks = np.random.default_rng(0), []
    designs, targets = rng.normal(size=(2, 100, 4)), rng.normal(size=(2, 100))
    designs[0, :, 2] = designs[0, :, 1]
    whole = equations(designs, targets, penalty).solve(np.arange(2), "float64")
    monkeypatch.setattr(least_squares, "_BATCH_ELEMENTS", 64)
    monkeypatch.setattr(least_squares, "checkpoint", lambda: checks.append(1))
    parts = equations(designs, targets, penalty).solve(np.arange(2), "float64")
    assert len(checks) >= 2 * 100 / 8
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


class Problem(NamedTuple):
    """A tiny problem without penalties, in which rows may have fewer ratings than unknowns."""

    train: Ratings
    rank: int
    bias: bool


def tiny_problem(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    n_users, n_items = rng.integers(1, 12, 2)
    cells = rng.permutation(n_users * n_items)[: rng.integers(1, n_users * n_items + 1)]
    users, items = np.divmod(cells, n_items)
    weights = rng.uniform(0.2, 3, len(cells)) if rng.integers(2) else None
    train = Ratings(
        users, items, rng.normal(size=len(cells)), int(n_users), int(n_items), weights=weights
    )
    return Problem(train, int(rng.integers(1, 10)), bool(rng.integers(2)))


def squared_errors(x: Parameters, train: Ratings, rows: Any, n_rows: int) -> Any:
    """The weighted sum of squared errors of each row."""
    errors = np.square(x.predict(train.users, train.items) - train.ratings)
    weights = np.ones(len(train)) if train.weights is None else train.weights
    return np.bincount(rows, weights * errors, n_rows)


def least_squared_errors(
    train: Ratings,
    rows: Any,
    opposites: Any,
    factors: Any,
    bias: Any,
    mean: float,
    problem: Problem,
) -> Any:
    """The least that each row can reach with the other side fixed, by a direct solve."""
    least = np.zeros(rows.max() + 1)
    for row in np.unique(rows):
        own = rows == row
        design = factors[opposites[own]]
        if problem.bias:
            design = np.column_stack([np.ones(own.sum()), design])
        root = np.ones(own.sum()) if train.weights is None else np.sqrt(train.weights[own])
        targets = root * (train.ratings[own] - mean - bias[opposites[own]])
        a = root[:, None] * design
        least[row] = np.square(targets - a @ np.linalg.lstsq(a, targets)[0]).sum()
    return least


@pytest.mark.parametrize("name", ["numpy-als", "numba-als", "torch-als"])
@pytest.mark.parametrize("part", range(4))
def test_degenerate_problems_are_solved_as_well_as_by_a_direct_solve(name: str, part: int) -> None:
    """Half-epoch by half-epoch, each from the same other side, over 100 problems."""
    pytest.importorskip(name.split("-")[0])
    for seed in range(25 * part, 25 * (part + 1)):
        problem = tiny_problem(seed)
        train = problem.train
        options = {"rank": problem.rank, "bias": problem.bias, "dtype": "float64", **UNPENALISED}
        solver = get_backend(name, n_jobs=1, **options)
        start = solver.initial_parameters(train, seed=seed)
        with solver.threads():
            state = solver.prepare(train, start, seed=0)
            solver.step(state, 1)
            x = solver.parameters(state)
        assert x.is_finite()
        # Users were solved for at the items' start, and items at the users' solution.
        users = replace(x, item_factors=start.item_factors, item_bias=start.item_bias)
        sides: list[tuple[Parameters, Any, Any, Any, Any]] = [
            (users, train.users, train.items, start.item_factors, start.item_bias),
            (x, train.items, train.users, x.user_factors, x.user_bias),
        ]
        scale = np.square(train.ratings).sum() + 1
        for point, rows, opposites, factors, bias in sides:
            reached = squared_errors(point, train, rows, rows.max() + 1)
            least = least_squared_errors(train, rows, opposites, factors, bias, x.mean, problem)
            assert (reached <= least + 1e-9 * scale).all(), (seed, problem)


# ---- fixed biases -------------------------------------------------------------------------------

SOLVERS = ["numpy-als", "numba-als", "torch-als"]


@pytest.mark.parametrize("name", SOLVERS)
def test_fixed_biases_are_the_damped_ones(name: str) -> None:
    pytest.importorskip(name.split("-")[0])
    train = weighted(random_ratings())
    solver = get_backend(name, rank=3, dtype="float64", bias="fixed")
    solver.fit(train, epochs=30, evaluate=True)
    x = solver.model_.parameters
    b, c = Objective(3).biases_alone(train)
    np.testing.assert_allclose(x.user_bias, b, rtol=1e-12)
    np.testing.assert_allclose(x.item_bias, c, rtol=1e-12)
    gradient = solver.objective.gradient(x, train)
    assert np.abs(gradient.user_factors).max() < 1e-4 < np.abs(gradient.user_bias).max()
    values = [record.objective for record in solver.history_]
    assert all(after <= before for before, after in pairwise(values))


@pytest.mark.parametrize("name", SOLVERS)
def test_biases_of_a_given_start_are_fixed(name: str) -> None:
    pytest.importorskip(name.split("-")[0])
    train = random_ratings()
    solver = get_backend(name, rank=2, dtype="float64", bias="fixed")
    start = get_backend(name, rank=2, dtype="float64").initial_parameters(train, seed=1)
    start.user_bias[:], start.item_bias[:] = 0.5, -0.25
    fitted = solver.fit(train, epochs=2, initial=start).model_.parameters
    assert (fitted.user_bias == 0.5).all() and (fitted.item_bias == -0.25).all()
    # The same as factors alone of what is left of the ratings.
    left = replace(train, ratings=train.ratings - start.mean - 0.25)
    start.user_bias[:], start.item_bias[:], start.mean = 0, 0, 0
    options = {
        "bias": False,
        "reg": solver.reg * solver.objective.unit(train),
        "reg_unit": "rating",
    }
    alone = get_backend(name, rank=2, dtype="float64", **options).fit(left, epochs=2, initial=start)
    for side in ("user_factors", "item_factors"):
        np.testing.assert_allclose(
            getattr(fitted, side), getattr(alone.model_.parameters, side), rtol=1e-9
        )


def test_another_word_for_the_biases_is_refused() -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        get_backend("numpy-als", bias="joint")
    assert str(caught.value) == "bias must be True, False or \"fixed\", got 'joint'"
    with pytest.raises(ValueError) as caught:  # compared below
        get_backend("numpy", bias="fixed")
    assert str(caught.value) == "bias must be True or False, got 'fixed'"


# ---- numba-als ----------------------------------------------------------------------------------

numba = pytest.importorskip("numba")

from backends._engine import row_solver  # noqa: E402
from backends.kernels import als  # noqa: E402
from backends.kernels.als_cg import improve_rows  # noqa: E402
from backends.kernels.layout import (  # noqa: E402
    LINE,
    LOOK_AHEAD,
    aligned_zeros,
    padded_table,
    ratings_dtype,
)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("has_weights", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rank", [1, 16, 17, 40])
def test_a_row_is_what_its_definition_says(
    rank: int, dtype: str, has_weights: bool, with_bias: bool
) -> None:
    """Rows of no rating, of one, of several chunks, and with fewer ratings than unknowns."""
    counts = np.array([0, 1, 5, als.CHUNK, als.CHUNK + 1, 200, 0, 30])
    rng, n, n_opposite = np.random.default_rng(0), counts.sum(), 50
    ratings = np.zeros(n + LOOK_AHEAD, ratings_dtype(dtype, weighted=has_weights))
    ratings["opposite"][:n] = rng.integers(n_opposite, size=n)
    ratings["target"][:n] = rng.normal(size=n)
    weights = np.ones(n)
    if has_weights:
        weights = ratings["weight"][:n] = rng.uniform(0.5, 2, n)
    number: Any = np.dtype(dtype).type
    size = -(-rank // (LINE // number().itemsize)) * (LINE // number().itemsize)
    opposites = padded_table(rng.normal(size=(n_opposite, rank)).astype(dtype), size)
    opposite_bias = rng.normal(size=n_opposite).astype(dtype) if with_bias else np.zeros(50, dtype)
    penalty = (2 + counts / 3).astype(dtype)
    bias_penalty = (1 + counts / 5).astype(dtype)
    rows = np.full((8, size), 7, dtype), np.full(8, 7, dtype)
    singular, errors = np.zeros(8, np.bool_), np.zeros(8)
    limits = number(1e-6), number(1e-30), number(1e-6)
    rule = als.Rule(rank, with_bias, False, True, *limits, number(1), (0,) * als.TILE_ROWS)
    workspace = row_solver._workspace(size, np.dtype(dtype))
    als.solve_rows(
        *(0, 8, np.cumsum(counts), ratings[:n], (opposites, opposite_bias), penalty, bias_penalty),
        *(workspace, rule, rows, singular, errors),
    )
    assert not singular.any()
    for row, count in enumerate(counts):
        own = slice(counts[:row].sum(), counts[: row + 1].sum())
        if not count:
            assert (rows[0][row] == 7).all() and rows[1][row] == 7 and errors[row] == 0
            continue
        q = opposites[ratings["opposite"][own], :rank].astype(np.float64)
        targets = ratings["target"][own] - opposite_bias[ratings["opposite"][own]]
        # An endless penalty of the bias is a model without.
        bias_strength = float(bias_penalty[row]) if with_bias else 1e30
        factors, bias = als.plain_solution(
            q, targets, weights[own], float(penalty[row]), bias_strength
        )
        near = {"rtol": 0, "atol": 1e-12 if dtype == "float64" else 1e-5}
        np.testing.assert_allclose(rows[0][row, :rank], factors, **near)
        np.testing.assert_allclose(rows[1][row], bias, **near)
        assert not rows[0][row, rank:].any()
        left = weights[own] @ np.square(targets - bias - q @ factors)
        assert errors[row] == pytest.approx(left, rel=1e-10 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"reg_scaling": "per_entity", "damping": 0.0, "user_bias_damping": 0.0}
        | {"item_bias_damping": 0.0, "reg": 0.01},
        {"reg": 0.001, "damping": 0.0},
        {"rank": 1},
        {"rank": 70},
        {"bias": "fixed"},
    ],
)
@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.parametrize("name", ["numba-als", "torch-als"])
def test_all_take_the_same_course_as_numpy(
    name: str, has_weights: bool, options: dict[str, Any]
) -> None:
    pytest.importorskip(name.split("-")[0])
    train = weighted(random_ratings()) if has_weights else random_ratings()
    fits = [
        get_backend(which, dtype="float64", n_jobs=n_jobs, **options).fit(
            train, epochs=8, evaluate=True
        )
        for which, n_jobs in ((name, 2), ("numpy-als", 1))
    ]
    ours, plain = (fit.model_.parameters for fit in fits)
    assert max(relative_differences(ours, plain).values()) < 1e-9
    for a, b in zip(*(fit.history_ for fit in fits), strict=True):
        assert a.train_mse == pytest.approx(b.train_mse, rel=1e-10)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_loss_of_a_step_is_the_mean_squared_error(name: str) -> None:
    pytest.importorskip(name.split("-")[0])
    for train in (random_ratings(), weighted(random_ratings())):
        for bias in (True, False, "fixed"):
            solver = get_backend(name, rank=3, dtype="float64", bias=bias)
            with solver.threads():
                state = solver.prepare(train, solver.initial_parameters(train), seed=0)
                loss = solver.step(state, 2)
                expected = mean_squared_error(solver.parameters(state), train)
            assert loss == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("rank", [1, 16, 33, 512])
def test_the_number_of_threads_changes_no_bit(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train = weighted(random_ratings())
    fits = {
        n: get_backend("numba-als", rank=rank, n_jobs=n).fit(train, epochs=2) for n in (1, 2, 3)
    }
    monkeypatch.setattr(row_solver, "_ratings_per_part", lambda size: als.CHUNK // 8)
    # Less than that of any row, so that each is cut, or has a call of its own.
    monkeypatch.setattr(row_solver, "WORK_PER_CALL", rank**2)
    parts = {
        n: get_backend("numba-als", rank=rank, n_jobs=n).fit(train, epochs=2) for n in (1, 2, 3)
    }
    for runs in (fits, parts):
        first = runs[1].model_.parameters.arrays()
        for run in runs.values():
            for name, array in run.model_.parameters.arrays().items():
                np.testing.assert_array_equal(array, first[name])
    whole, cut = (runs[1].model_.parameters for runs in (fits, parts))
    assert 0 < max(relative_differences(cut, whole).values()) < 1e-4


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_rows_whose_ratings_are_shared_are_solved_alike(
    n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for train in (random_ratings(), weighted(random_ratings())):
        for bias in (True, False, "fixed"):
            solver = get_backend("numba-als", rank=5, dtype="float64", bias=bias, n_jobs=n_jobs)
            with solver.threads():
                start = solver.initial_parameters(train)
                whole = solver.prepare(train, start, seed=0)
                loss = solver.step(whole, 3)
                with monkeypatch.context() as patched:
                    patched.setattr(row_solver, "_ratings_per_part", lambda size: 7)
                    patched.setattr(row_solver, "WORK_PER_CALL", 1)
                    parts = solver.prepare(train, start, seed=0)
                    assert len(parts.sides[0].long_rows) > 20
                    assert solver.step(parts, 3) == pytest.approx(loss, rel=1e-12)
                x, y = solver.parameters(whole), solver.parameters(parts)
            assert max(relative_differences(y, x).values()) < 1e-12


def test_only_singular_rows_are_solved_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without penalties, those with fewer ratings than unknowns."""
    train, rows = random_ratings(), []
    solve = Equations.solve

    def recorded(self: Equations, batch: Any, dtype: Any) -> Any:
        rows.extend(batch.tolist())
        return solve(self, batch, dtype)

    monkeypatch.setattr(Equations, "solve", recorded)
    options = {"rank": 13, "dtype": "float64", "bias": False, **UNPENALISED}
    get_backend("numba-als", **options).fit(train, epochs=1)
    users = np.flatnonzero(train.user_counts() < 13)
    assert len(users) > 0
    assert sorted(rows[: len(users)]) == users.tolist()
    assert len(rows) < 2 * len(users)
    rows.clear()
    get_backend("numba-als", rank=13, dtype="float64").fit(train, epochs=1)
    assert not rows  # none with penalties


@pytest.mark.parametrize("name", ["numpy-als", "numba-als", "torch-als"])
def test_float32_solves_for_what_weak_penalties_decide(name: str) -> None:
    """J after an epoch is that in float64, though in float32 nearly all rows look singular."""
    pytest.importorskip(name.split("-")[0])
    train = random_ratings()
    weights = 10 ** np.random.default_rng(0).uniform(-2, 2, len(train))
    train = replace(train, weights=weights)
    options = {"rank": 20, "reg": 1e-5, "damping": 0.0, "n_jobs": 2}
    values = {}
    for dtype in ("float32", "float64"):
        fit = get_backend(name, dtype=dtype, **options).fit(train, epochs=1, evaluate=True)
        values[dtype] = fit.history_[-1].objective
    assert values["float32"] == pytest.approx(values["float64"], rel=1e-2)


def test_work_is_cut_into_calls_that_let_ctrl_c_through(monkeypatch: pytest.MonkeyPatch) -> None:
    train, checks = random_ratings(), []
    solver = get_backend("numba-als", n_jobs=1)
    whole = solver.fit(train, epochs=1).model_.parameters
    monkeypatch.setattr(row_solver, "WORK_PER_CALL", 16 * 16 / 2 * als.CHUNK)
    monkeypatch.setattr(row_solver, "_ROW_COST", 0)
    monkeypatch.setattr(row_solver, "checkpoint", lambda: checks.append(1))
    pieces = solver.fit(train, epochs=1).model_.parameters
    # Each side takes 600 times 16^2 / 2 multiply-adds.
    assert len(checks) >= 2 * 600 / als.CHUNK
    assert max(relative_differences(whole, pieces).values()) < 1e-6


def test_the_objective_never_rises() -> None:
    train = weighted(random_ratings())
    for options in ({}, {"reg": 0.0}, {"bias": False}, UNPENALISED):
        fit = get_backend("numba-als", rank=6, dtype="float64", **options).fit(
            train, epochs=15, evaluate=True
        )
        values = [record.objective for record in fit.history_]
        assert all(b <= a * (1 + 1e-9) for a, b in pairwise(values))


def test_the_gradient_is_zero_where_it_ends() -> None:
    train = random_ratings()
    fit = get_backend("numba-als", rank=3, dtype="float64").fit(train, epochs=400)
    gradient = Objective(rank=3).gradient(fit.model_.parameters, train)
    assert max(np.abs(array).max() for array in gradient.arrays().values()) < 1e-8


def test_tables_are_aligned() -> None:
    workspace = row_solver._workspace(16, np.dtype("float32"))
    for table in (
        workspace.gathered,
        workspace.gram,
        workspace.sides,
        aligned_zeros(3, 16, np.dtype("f4")),
    ):
        assert table.ctypes.data % LINE == 0


# ---- conjugate gradients ------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False, "fixed"])
@pytest.mark.parametrize("has_weights", [False, True])
def test_as_many_steps_as_unknowns_are_exact(has_weights: bool, bias: Any) -> None:
    train = weighted(random_ratings()) if has_weights else random_ratings()
    options = {"rank": 7, "dtype": "float64", "bias": bias}
    exact = get_backend("numba-als", **options).fit(train, epochs=3, evaluate=True)
    steps = get_backend("numba-als", method="cg", cg_steps=20, **options)
    steps.fit(train, epochs=3, evaluate=True)
    differences = relative_differences(steps.model_.parameters, exact.model_.parameters)
    assert max(differences.values()) < 1e-10
    assert steps.history_[-1].train_mse == pytest.approx(exact.history_[-1].train_mse, rel=1e-10)


def test_a_few_steps_from_the_last_solution_end_at_the_minimum() -> None:
    train = weighted(random_ratings())
    for dtype in ("float32", "float64"):
        solver = get_backend("numba-als", rank=5, dtype=dtype, method="cg", cg_steps=2)
        values = [
            record.objective for record in solver.fit(train, epochs=150, evaluate=True).history_
        ]
        gradient = solver.objective.gradient(solver.model_.parameters, train)
        small = 1e-7 if dtype == "float64" else 1e-3
        assert max(np.abs(array).max() for array in gradient.arrays().values()) < small
        assert all(after <= before * (1 + 1e-6) for before, after in pairwise(values))


def test_steps_do_not_depend_on_the_number_of_threads() -> None:
    train = random_ratings()
    one, three = (
        get_backend("numba-als", rank=40, method="cg", n_jobs=n).fit(train, epochs=2).model_
        for n in (1, 3)
    )
    for name, array in one.parameters.arrays().items():
        np.testing.assert_array_equal(three.parameters.arrays()[name], array)


def test_rows_with_more_ratings_than_a_call_takes_are_solved_exactly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = random_ratings()
    exact = get_backend("numba-als", rank=5, dtype="float64").fit(train, epochs=2)
    monkeypatch.setattr(row_solver, "_ratings_per_part", lambda size: 3)
    monkeypatch.setattr(row_solver, "WORK_PER_CALL", 1)
    steps = get_backend("numba-als", rank=5, dtype="float64", method="cg", cg_steps=1)
    steps.fit(train, epochs=2)
    differences = relative_differences(steps.model_.parameters, exact.model_.parameters)
    assert max(differences.values()) < 1e-10


def test_a_long_row_that_looks_singular_is_not_left_to_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its parts let a Ctrl-C through; a kernel for the whole row would not."""
    rng = np.random.default_rng(0)
    n = 4000
    train = Ratings(np.zeros(n, int), rng.integers(0, 12, n), rng.normal(size=n), 1, 12)
    options = {"rank": 30, "dtype": "float32", "n_jobs": 2, **UNPENALISED}
    whole = get_backend("numba-als", **options).fit(train, epochs=2)
    taken: list[int] = []
    solve_pieces = row_solver.RowSolver._solve_pieces

    def spy(solver: Any, side: Any, *rest: Any) -> Any:
        taken.append(int(np.diff(side.ratings.ends[0], prepend=0).max(initial=0)))
        return solve_pieces(solver, side, *rest)

    monkeypatch.setattr(row_solver.RowSolver, "_solve_pieces", spy)
    monkeypatch.setattr(row_solver, "WORK_PER_CALL", 30 * 30 / 2 * als.CHUNK)
    parts = get_backend("numba-als", **options).fit(train, epochs=2)
    # The user's row is in the pieces of its side, which leave it out, and in no copy in float64.
    assert taken.count(n) == 2
    expected = whole.model_.predict(np.zeros(12, int), np.arange(12))
    np.testing.assert_allclose(
        parts.model_.predict(np.zeros(12, int), np.arange(12)), expected, atol=1e-4
    )


def test_a_penalty_beyond_all_measure_leaves_nothing() -> None:
    train = random_ratings()
    fit = get_backend("numba-als", rank=3, method="cg", reg=1e25).fit(train, epochs=6)
    assert fit.status_ == "epochs"
    x = fit.model_.parameters
    assert np.abs(x.user_factors @ x.item_factors.T).max() < 1e-3


def test_steps_without_penalties_stay_finite() -> None:
    for seed in range(60):
        problem = tiny_problem(seed)
        options = {"rank": problem.rank, "bias": problem.bias, "dtype": "float64", **UNPENALISED}
        solver = get_backend("numba-als", method="cg", **options).fit(problem.train, epochs=5)
        assert solver.status_ == "epochs"
        assert solver.model_.parameters.is_finite()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("method", "lu", 'method must be "cholesky" or "cg", got \'lu\''),
        ("cg_steps", 0, "cg_steps must be an integer of at least 1, got 0"),
    ],
)
def test_wrong_parameters_are_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        get_backend("numba-als", **{name: value})
    assert str(caught.value) == message


# ---- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("has_weights", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="sparse files differ there")
def test_ratings_are_addressed_beyond_32_bits(has_weights: bool, tmp_path: Path) -> None:
    """The same three ratings at the start of an array, and behind 2^31 others of no row."""
    at, dtype = 2**31 + 10, ratings_dtype("float64", weighted=has_weights)
    values = [(1, 1.0, 2.0), (0, -2.0, 0.5), (1, 0.5, 3.0)]
    near = np.zeros(3 + LOOK_AHEAD, dtype)
    near[:3] = [value if has_weights else value[:2] for value in values]
    far = np.memmap(tmp_path / "ratings", dtype=dtype, mode="w+", shape=(at + 64,))
    far[at : at + 3] = near[:3]
    q, one, penalty = padded_table(np.full((3, 3), 0.3)), np.float64(1), np.full(3, 0.5)
    limits = np.float64(1e-12), np.float64(1e-300), np.float64(1e-12)
    rule = als.Rule(3, True, False, True, *limits, one, (0,) * als.TILE_ROWS)
    results = []
    for first, ratings in ((0, near), (at, far)):
        ends = np.array([first, first + 2, first + 3])
        for method in ("solve", "improve"):
            rows = np.zeros_like(q), np.zeros(3)
            workspace = row_solver._workspace(q.shape[1], np.dtype("float64"))
            shared = (1, 3, ends, ratings, (q, np.zeros(3)), penalty, penalty)
            if method == "solve":
                flags = np.zeros(3, np.bool_), np.zeros(3)
                als.solve_rows(*shared, workspace, rule, rows, *flags)
            else:
                before = np.zeros_like(q), np.zeros(3)
                improve_rows(*shared, 9, workspace, rule, before, rows, np.zeros(3))
            results.append(rows)
    for factors, bias in results:
        np.testing.assert_allclose(factors, results[0][0], rtol=1e-12)
        np.testing.assert_allclose(bias, results[0][1], rtol=1e-12)
    assert (np.abs(results[0][0][1:, :3]) > 1e-3).all()
