"""numba-sgd against `plain_step`, rating by rating; its blocks; what a fit must never do."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from helpers import random_ratings

from backends import Ratings, get_backend, initial_model

pytest.importorskip("numba")

from backends import numba_sgd, per_rating
from backends.kernels.sgd import Row, Shares, plain_step

pytestmark = pytest.mark.fits

UNDAMPED = {"damping": 0, "user_bias_damping": 0, "item_bias_damping": 0}


def with_weights(train: Ratings, seed: int = 0) -> Ratings:
    """The same ratings, of weights around 3."""
    weights = 3 * np.random.default_rng(seed).lognormal(0, 0.5, len(train))
    return replace(train, weights=weights)


def weights_of(train: Ratings) -> np.ndarray:
    return np.ones(len(train)) if train.weights is None else train.weights


# ---- the rule ---


def rows_of(state: Any) -> np.ndarray:
    """The row of each rating, on the side that the kernels call users."""
    rows = np.empty(len(state.blocks.ratings), np.int64)
    for starts, (first, last) in zip(state.blocks.starts, pairwise(state.user_bounds), strict=True):
        for (start, end), ends in zip(pairwise(starts), state.blocks.ends, strict=True):
            counts = np.diff(ends[first:last], prepend=start)
            rows[start:end] = np.repeat(np.arange(first, last), counts)
    return rows


def order_of(state: Any, n_rounds: int) -> list[int]:
    """The positions of the ratings in the order in which an epoch visits them."""
    order: list[int] = []
    n_blocks = len(state.blocks.starts)
    for part in range(n_rounds):
        for turn in range(n_blocks):
            for a, starts in enumerate(state.blocks.starts):
                first, last = starts[(a + turn) % n_blocks :][:2]
                run = (last - first) // state.group
                for n in range(run * part // n_rounds, run * (part + 1) // n_rounds):
                    order += range(first + n, first + n + run * state.group, run)
                if part == n_rounds - 1:
                    order += range(first + run * state.group, last)
    assert sorted(order) == list(range(len(state.blocks.ratings)))
    return order


class Side:
    """Users or items, in units: their rows, and the share of the penalties for each rating."""

    def __init__(self, solver: Any, train: Ratings, name: str, start: Any, unit: float) -> None:
        factors = start.arrays()[f"{name}_factors"] / np.sqrt(unit)
        bias = start.arrays()[f"{name}_bias"] / unit
        accumulator = per_rating.INITIAL_ACCUMULATOR
        pairs = zip(factors, bias, strict=True)
        self.rows = [Row(p, b, accumulator, accumulator) for p, b in pairs]
        rows, weights = getattr(train, f"{name}s"), weights_of(train)
        of_row = np.maximum(np.bincount(rows, weights, len(bias)), 1e-9)
        n = of_row if solver.reg_scaling == "per_rating" else weights.sum()
        reg = solver.reg if solver.reg_unit == "rms" else solver.reg / unit
        bias_damping = getattr(solver, f"{name}_bias_damping")
        penalties = reg * (n + solver.damping), solver.bias_reg * n + bias_damping
        penalties = [np.broadcast_to(penalty, of_row.shape) / of_row for penalty in penalties]
        self.shares = [Shares(*shares) for shares in zip(*penalties, strict=True)]

    def parameters(self, unit: float) -> tuple[np.ndarray, np.ndarray]:
        """Factors and biases in rating units."""
        factors = np.array([row.factors for row in self.rows])
        return factors * np.sqrt(unit), np.array([row.bias for row in self.rows]) * unit


def sgd_by_hand(
    solver: Any,
    train: Ratings,
    state: Any,
    n_epochs: int,
    n_rounds: int,
) -> tuple[dict[str, Any], float]:
    """What some epochs from seed 0 do, by `plain_step` for one rating after the other.

    Only the order of the ratings is taken from the state. Returns the parameters by name, and the
    mean squared error of the last epoch.
    """
    start = initial_model(solver.objective, train, 0)
    places = [rows_of(state), state.blocks.ratings["opposite"]]
    if train.n_items < train.n_users:
        places.reverse()
    pairs = zip(train.users.tolist(), train.items.tolist(), strict=True)
    number = {pair: n for n, pair in enumerate(pairs)}
    order = [number[places[0][n], places[1][n]] for n in order_of(state, n_rounds)]

    weights, targets = weights_of(train), train.ratings - start.mean
    unit = np.sqrt(np.average(targets**2, weights=weights))
    users, items = (Side(solver, train, name, start, unit) for name in ("user", "item"))
    rule = solver.learning_rate, solver.learning_rate * solver.bias, 1 / 16, 10.0, 1.0
    targets, weights = targets / unit, weights / weights.mean()
    for _ in range(n_epochs):
        error_sum = 0.0
        for n in order:
            u, i = train.users[n], train.items[n]
            users.rows[u], items.rows[i], squared_error = plain_step(
                users.rows[u],
                items.rows[i],
                users.shares[u],
                items.shares[i],
                targets[n],
                weights[n],
                rule,
            )
            error_sum += squared_error
    parameters = {}
    for name, side in (("user", users), ("item", items)):
        parameters[f"{name}_factors"], parameters[f"{name}_bias"] = side.parameters(unit)
    return parameters, error_sum * unit**2 / len(targets)


def assert_steps_of_the_rule(solver: Any, train: Ratings, n_epochs: int, n_rounds: int = 1) -> Any:
    """Check the solver's kernel against `plain_step`; return its state."""
    state = solver.prepare(train, initial_model(solver.objective, train, 0), seed=0)
    expected, expected_error = sgd_by_hand(solver, train, state, n_epochs, n_rounds)
    assert solver.step(state, n_epochs) == pytest.approx(expected_error, rel=1e-10)
    after = solver.parameters(state).arrays()
    for name, values in expected.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-9, atol=1e-12, err_msg=name)
    return state


@pytest.mark.parametrize("shape", [(40, 30), (30, 40)])
@pytest.mark.parametrize(
    ("rank", "n_blocks", "run", "n_rounds", "scale", "weighted", "options"),
    [
        (1, 1, 10_000, 1, 1.0, False, {}),
        (7, 2, 1, 8, 1.0, True, {"bias": False}),
        (7, 1, 10_000, 1, 1.0, True, {"damping": 70, "user_bias_damping": 30, "bias_reg": 0.4}),
        (40, 4, 1, 8, 1.0, True, {"reg_scaling": "per_entity", "reg": 1e-3, **UNDAMPED}),
        (16, 1, 10_000, 1, 50.0, False, {"reg": 3.0, "reg_unit": "rating"}),
        (512, 3, 10_000, 1, 0.05, False, {}),
    ],
)
def test_sgd_takes_the_steps_of_its_rule(
    rank: int,
    n_blocks: int,
    run: int,
    n_rounds: int,
    scale: float,
    weighted: bool,
    options: dict[str, Any],
    shape: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With more users than items, where the kernels swap the two, and with fewer."""
    monkeypatch.setattr(numba_sgd, "_MIN_RATINGS_PER_CELL", 20)
    monkeypatch.setattr(numba_sgd, "_MIN_RATINGS_PER_TASK", run)
    plain = random_ratings(*shape)
    train = replace(plain, ratings=plain.ratings * scale)
    train = with_weights(train) if weighted else train
    options = {"rank": rank, "n_blocks": n_blocks, "dtype": "float64", "n_jobs": 2, **options}
    state = assert_steps_of_the_rule(get_backend("numba-sgd", **options), train, 3, n_rounds)
    assert len(state.blocks.starts) == n_blocks
    assert state.exchanged == (shape == (40, 30))
    assert scale == 1 or not 0.2 < state.unit < 5


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize(
    ("users", "n_blocks"),
    [
        ([0] * 7, 3),
        ([0, 12], 5),
        ([0, 1, 2, 3], 4),
        ([0] * 200 + [1, 2, 3, 4, 5], 1),
        ([0] * 90 + list(range(1, 40)) + [40] * 70, 3),
        (list(range(60)), 3),
    ],
)
def test_sgd_takes_the_steps_of_its_rule_for_users_of_any_size(
    users: list[int], n_blocks: int, exchanged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who fills several runs must never be worked on in two places at once.

    Runs may end with tiny users. Where items are fewer than users, the same holds for items.
    """
    monkeypatch.setattr(numba_sgd, "_MIN_RATINGS_PER_CELL", 1)
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(n) for n in np.bincount(users)])
    if max(items) == 0:
        items = rng.integers(0, 9, len(users))
    sides = {"users": np.array(users), "items": items}
    if exchanged:
        sides = {"users": items, "items": np.array(users)}
    more = 1 + max(*users, *items.tolist()) + exchanged  # rows on the other side, rated or not
    sizes = {"n_users": more} if exchanged else {"n_items": more}
    train = Ratings(**sides, ratings=rng.normal(size=len(users)), **sizes)
    solver = get_backend("numba-sgd", rank=3, dtype="float64", n_jobs=2, n_blocks=n_blocks)
    state = assert_steps_of_the_rule(solver, train, 2)
    assert state.exchanged == exchanged


@pytest.mark.parametrize("shape", [(40, 30), (30, 40)])
@pytest.mark.parametrize("weighted", [False, True])
def test_an_error_over_ten_units_counts_as_one_of_ten(
    weighted: bool,
    shape: tuple[int, int],
) -> None:
    """It is cut before weighting, and only for the steps, not in the reported squared error."""
    plain = random_ratings(*shape)
    ratings = plain.ratings.copy()
    ratings[[77, 310]] = 1e4, -1e4
    train = replace(plain, ratings=ratings)
    train = with_weights(train) if weighted else train
    solver = get_backend("numba-sgd", rank=7, dtype="float64", n_jobs=1)
    state = assert_steps_of_the_rule(solver, train, 3)
    targets = state.blocks.ratings["target"]
    assert min(targets) < -12
    assert max(targets) > 12


# ---- the blocks ---


@pytest.mark.parametrize("shape", [(40, 30), (30, 40)])
@pytest.mark.parametrize(
    ("n_blocks", "rank", "group"),
    [(1, 2, 4), (3, 32, 4), (3, 64, 2), (5, 2, 4)],
)
def test_blocks_hold_each_rating_once_and_share_no_rows(
    n_blocks: int, rank: int, group: int, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba_sgd, "_MIN_RATINGS_PER_CELL", 20)
    train = with_weights(random_ratings(*shape))
    options = {"rank": rank, "n_blocks": n_blocks, "dtype": "float64", "n_jobs": 2}
    solver = get_backend("numba-sgd", **options)
    state = solver.prepare(train, initial_model(solver.objective, train, 0), seed=0)
    assert state.group == group
    rows, others, blocks = rows_of(state), state.blocks.ratings["opposite"], state.blocks
    users, items = (others, rows) if shape == (40, 30) else (rows, others)
    order = np.lexsort((items, users))
    expected = np.lexsort((train.items, train.users))
    np.testing.assert_array_equal(users[order], train.users[expected])
    np.testing.assert_array_equal(items[order], train.items[expected])
    targets = (train.ratings[expected] - state.mean) / state.unit
    np.testing.assert_allclose(blocks.ratings["target"][order], targets, rtol=1e-15, atol=0)
    weights = train.weights[expected] * (len(train) / train.weights.sum())
    np.testing.assert_allclose(blocks.ratings["weight"][order], weights, rtol=1e-15)
    assert blocks.starts.shape == (n_blocks, n_blocks + 1)
    owners: list[dict[int, int]] = [{}, {}]  # block of each row
    for a, starts in enumerate(blocks.starts):
        for b, (first, last) in enumerate(pairwise(starts)):
            assert {owners[0].setdefault(u, a) for u in rows[first:last]} <= {a}
            assert {owners[1].setdefault(i, b) for i in others[first:last]} <= {b}
            assert (np.diff(rows[first:last]) >= 0).all()


@pytest.mark.parametrize(
    ("n", "n_blocks", "n_jobs", "expected"),
    [
        (4_999, 8, 4, 1),
        (19_999, 8, 4, 1),
        (20_000, 8, 1, 2),
        (80_000, 8, 3, 4),
        (80_000, 3, 9, 3),
        (80_000, 1, 2, 1),
    ],
)
def test_the_number_of_blocks_follows_from_the_ratings(
    n: int,
    n_blocks: int,
    n_jobs: int,
    expected: int,
) -> None:
    """The number of blocks does not depend on threads; no thread is without a block."""
    rng = np.random.default_rng(0)
    train = Ratings(rng.integers(0, 200, n), rng.integers(0, 300, n), rng.normal(size=n), 200, 300)
    solver = get_backend("numba-sgd", rank=2, n_blocks=n_blocks, n_jobs=n_jobs)
    state = solver.prepare(
        train, initial_model(solver.objective, train, 0, dtype="float32"), seed=0
    )
    assert state.blocks.starts.shape == (expected, expected + 1)
    assert state.blocks.ends.shape == (expected, 200)
    assert state.threads.n == min(n_jobs, expected)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
def test_sgd_needs_no_order_of_the_ratings(shape: tuple[int, int]) -> None:
    """A row's ratings sorted by opposite row are the worst order; even that costs little."""
    plain = random_ratings(*shape, 20_000)
    by_item = plain.take(np.lexsort((plain.items, plain.users)))
    one, other = (
        get_backend("numba-sgd", n_jobs=1).fit(train, epochs=10, evaluate=True).history_[-1]
        for train in (plain, by_item)
    )
    assert other.objective < 1.05 * one.objective


# ---- what no fit may do ---


def test_sgd_copes_with_any_penalty() -> None:
    """The penalty pulls rows of few ratings hundreds of times as hard as a step allows."""
    rng = np.random.default_rng(0)
    users = np.concatenate([np.repeat(np.arange(50), 2000), np.arange(50, 250)])
    items = np.concatenate([np.tile(np.arange(2000), 50), rng.integers(0, 2000, 200)])
    train = Ratings(users, items, rng.normal(size=len(users)))
    for bias in (True, False):
        options = {"rank": 4, "reg": 1e-2, "reg_scaling": "per_entity", "bias": bias, **UNDAMPED}
        solvers = (get_backend(name, **options) for name in ("numba-sgd", "numpy-als"))
        sgd, als = (solver.fit(train, epochs=8, evaluate=True).history_[-1] for solver in solvers)
        assert sgd.objective < 1.02 * als.objective
    tiny = Ratings(users, items, 1e-3 * rng.normal(size=len(users)))
    assert get_backend("numba-sgd", rank=4).fit(tiny, epochs=8).status_ == "epochs"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("reg_scaling", "reg"),
    [("per_rating", 1e20), ("per_rating", 1e38), ("per_entity", 1e17), ("per_entity", 1e38)],
)
@pytest.mark.parametrize(
    ("learning_rate", "init_scale"),
    [(0.15, 0.1), (1e-5, 0.1), (1e-10, 0.1), (0.15, 1e3)],
)
def test_no_penalty_is_too_strong_in_float32(
    reg_scaling: str, reg: float, bias: bool, learning_rate: float, init_scale: float
) -> None:
    plain = random_ratings()
    options = {"rank": 4, "reg": reg, "bias_reg": reg, "reg_scaling": reg_scaling, "bias": bias}
    options |= {"learning_rate": learning_rate, "init_scale": init_scale, "n_jobs": 1}
    options |= UNDAMPED if reg_scaling == "per_entity" else {}
    for scale in (1e-3, 1.0, 1e3):
        train = replace(plain, ratings=plain.ratings * scale)
        solver = get_backend("numba-sgd", **options).fit(train, epochs=3, evaluate=True)
        of_the_mean = np.mean(np.square(train.ratings - solver.model_.parameters.mean))
        assert solver.history_[-1].train_mse == pytest.approx(of_the_mean, rel=1e-6)


@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
@pytest.mark.parametrize("seed", range(4))
def test_one_wrong_rating_makes_no_fit_diverge(seed: int, shape: tuple[int, int]) -> None:
    """A rating of a million among some from 1 to 5."""
    rng = np.random.default_rng(seed)
    users, items = np.divmod(rng.permutation(shape[0] * shape[1])[:20_000], shape[1])
    ratings = rng.integers(1, 6, len(users)).astype(float)
    ratings[rng.integers(len(ratings))] = 1e6
    solver = get_backend("numba-sgd", rank=64, n_jobs=1)
    solver.fit(Ratings(users, items, ratings), epochs=20, seed=seed, evaluate=True)
    assert solver.status_ == "epochs"
    assert solver.history_[-1].train_mse <= 1.001 * np.var(ratings)


@pytest.mark.parametrize("scale", [1e-6, 1e-30])
def test_the_smallest_problems_never_diverge(scale: float) -> None:
    """A single rating, with no biases or anything else to compare its size with."""
    options = {"rank": 3, "reg": 0.01, "damping": 0, "bias": False, "learning_rate": 0.2}
    solver, explained = get_backend("numba-sgd", n_jobs=1, **options), []
    for seed in range(500):
        rating, shares = np.random.default_rng(seed).normal(size=1), []
        for unit in (1.0, scale):
            solver.fit(Ratings([0], [0], unit * rating), epochs=20, seed=seed)
            assert solver.status_ == "epochs"
            shares.append(solver.model_.parameters.predict([0], [0]) / (unit * rating))
        assert shares[1] == pytest.approx(shares[0], rel=1e-5, abs=1e-6)
        explained.append(shares[0])
    assert np.abs(explained).max() < 1
    assert np.mean(explained) > 0.3
