"""The gate: what matches, what does not, and which targets are left out."""

import numpy as np
import pytest

from backends import Ratings, damped_biases, get_backend
from bench.cases import targets
from bench.cases.targets import (
    DAMPINGS,
    baselines,
    ladder,
    matching_target,
    meets,
    mse,
    walk_downhill,
)
from bench.records import Reference, Score
from tests.fake_records import fake_score


def reference(mse: float, spread: float = 0.0) -> Reference:
    return Reference(validation_mse=mse, test_mse=None, objective=1.0, spread=spread, seeds=3)


def scores(biases: float) -> dict[str, Score]:
    return {"biases alone": fake_score(biases, user_damping=5.0, item_damping=2.0)}


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(60 * 40)[:1500], 40)
    values = (
        3 + rng.normal(0, 1, 60)[users] + rng.normal(0, 0.5, 40)[items] + rng.normal(0, 0.3, 1500)
    )
    return Ratings(users, items, values, 60, 40)


def test_mse_is_unclipped_float64_and_from_predict(ratings: Ratings) -> None:
    model = get_backend("numpy", rank=2, dtype="float32").fit(ratings, epochs=3).model_
    p = model.parameters
    wide = [
        a.astype(np.float64) for a in (p.user_bias, p.item_bias, p.user_factors, p.item_factors)
    ]
    u, i = ratings.users, ratings.items
    by_hand = (
        p.mean + wide[0][u] + wide[1][i] + (wide[2][u] * wide[3][i]).sum(axis=1) - ratings.ratings
    )
    assert mse(model, ratings) == pytest.approx(float(np.mean(by_hand**2)), rel=1e-12)
    assert mse(model, None) is None


def test_baselines_are_fitted(ratings: Ratings) -> None:
    found = baselines(ratings, ratings, None)
    variance = float(np.var(ratings.ratings))
    assert found["global mean"]["validation_mse"] == pytest.approx(variance, rel=1e-9)
    # Biases leave the noise, of variance 0.09. They are scored on the rows they were fitted to.
    assert 0.07 < found["biases alone"]["validation_mse"] < 0.1
    assert found["global mean"]["test_mse"] is None
    assert found["global mean"] == fake_score(found["global mean"]["validation_mse"])


def halves(ratings: Ratings, seed: int) -> tuple[Ratings, Ratings]:
    held_out = np.random.default_rng(seed).random(len(ratings)) < 0.4
    return ratings.take(~held_out), ratings.take(held_out)


def mse_of_biases(
    train: Ratings, scored: Ratings, user_damping: float, item_damping: float
) -> float:
    b, c = damped_biases(train, user_damping=user_damping, item_damping=item_damping)
    mean = float(np.mean(train.ratings))
    return float(np.mean((mean + b[scored.users] + c[scored.items] - scored.ratings) ** 2))


def noisy_ratings(user_spread: float, item_spread: float, noise: float = 1.0) -> Ratings:
    """Return ratings of 300 users and 40 items whose biases have these standard deviations."""
    rng = np.random.default_rng(1)
    users, items = np.divmod(rng.permutation(300 * 40)[:3000], 40)
    values = rng.normal(0, user_spread, 300)[users] + rng.normal(0, item_spread, 40)[items]
    return Ratings(users, items, 3 + values + rng.normal(0, noise, 3000), 300, 40)


@pytest.mark.parametrize(
    ("user_spread", "item_spread", "user_damping", "item_damping"),
    # The best damping is about the noise's variance over that of the biases.
    [(0.5, 0.3, 5.0, 20.0), (0.3, 0.7, 10.0, 2.0), (0.7, 0.7, 2.0, 2.0)],
)
def test_the_dampings_of_users_and_items_are_tuned_apart(
    user_spread: float, item_spread: float, user_damping: float, item_damping: float
) -> None:
    train, validation = halves(noisy_ratings(user_spread, item_spread), seed=0)
    found = baselines(train, validation, validation)["biases alone"]
    assert (found["user_damping"], found["item_damping"]) == (user_damping, item_damping)
    assert (found["reg"], found["note"]) == (None, "")
    whole = [[mse_of_biases(train, validation, u, i) for i in DAMPINGS] for u in DAMPINGS]
    assert found["validation_mse"] == found["test_mse"] == np.min(whole)


def test_dampings_at_an_edge_of_those_tried_are_reported() -> None:
    train, validation = halves(noisy_ratings(5.0, 0.0), seed=0)
    found = baselines(train, validation, None)["biases alone"]
    assert (found["user_damping"], found["item_damping"]) == (0.5, 50.0)
    assert found["note"] == "user damping is the smallest tried; item damping is the largest tried"
    assert found["test_mse"] is None
    train, validation = halves(noisy_ratings(5.0, 0.3), seed=0)
    found = baselines(train, validation, None)["biases alone"]
    assert found["note"] == "user damping is the smallest tried"


def test_few_dampings_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[float, float]] = []

    def counted(
        ratings: Ratings, *, user_damping: float, item_damping: float
    ) -> tuple[np.ndarray, np.ndarray]:
        tried.append((user_damping, item_damping))
        return damped_biases(ratings, user_damping=user_damping, item_damping=item_damping)

    monkeypatch.setattr(targets, "damped_biases", counted)
    baselines(*halves(noisy_ratings(0.5, 0.7), seed=0), None)
    assert sorted(tried) == [
        (2.0, 2.0),
        (5.0, 1.0),
        (5.0, 2.0),
        (5.0, 5.0),
        (10.0, 2.0),
    ]  # the best and its neighbours


def test_a_walk_downhill_ends_where_no_neighbour_is_better() -> None:
    asked: list[tuple[int, ...]] = []

    def score(at: tuple[int, ...]) -> float:
        asked.append(at)
        x, y = at
        return (x - 6) ** 2 + (y - 1) ** 2 + 0.5 * (x - 6) * (y - 1)

    assert walk_downhill(score, [2, 5], [8, 7]) == (6, 1)
    assert len(asked) == len(set(asked)) < 8 * 7 / 2
    assert walk_downhill(score, [0, 0], [4, 1]) == (3, 0)  # at the edges
    assert walk_downhill(lambda at: 1.0, [3], [7]) == (3,)
    assert walk_downhill(lambda at: float("nan"), [3], [7]) == (3,)


def test_a_score_at_the_target_meets_it() -> None:
    assert meets(0.7, 0.7)
    assert meets(np.nextafter(0.7, 0), 0.7)
    assert not meets(np.nextafter(0.7, 1), 0.7)
    assert not meets(float("nan"), 0.7)


def test_the_matching_target_is_one_percent() -> None:
    levels = ladder(reference(1.0), scores(2.0))
    assert [(r["factor"], r["dropped"]) for r in levels] == [(1.05, ""), (1.01, ""), (1.001, "")]
    target = matching_target(levels)
    assert target is not None
    assert target["mse"] == 1.01


def test_targets_inside_the_spread_are_dropped_and_the_looser_one_matches() -> None:
    levels = ladder(reference(1.0, spread=0.02), scores(2.0))
    assert [bool(r["dropped"]) for r in levels] == [False, True, True]
    assert "spread of the reference over its seeds (0.0200)" in levels[1]["dropped"]
    target = matching_target(levels)
    assert target is not None
    assert target["factor"] == 1.05


def test_targets_that_biases_reach_are_dropped() -> None:
    levels = ladder(reference(1.0), scores(1.02))
    assert [bool(r["dropped"]) for r in levels] == [True, False, False]
    assert "not below the biases alone (1.0200)" in levels[0]["dropped"]
    assert matching_target(ladder(reference(1.0), scores(0.9))) is None


def test_targets_that_the_mean_reaches_are_dropped() -> None:
    """On ratings at random, biases can be worse than the mean."""
    found = scores(1.02)
    found["global mean"] = {**found["biases alone"], "validation_mse": 1.005}
    levels = ladder(reference(1.0), found)
    assert [bool(r["dropped"]) for r in levels] == [True, True, False]
    assert levels[1]["dropped"] == "not below the global mean (1.0050)"
