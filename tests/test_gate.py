"""The gate: what matches, what does not, and which targets are left out."""

import numpy as np
import pytest

from backends import Ratings, get_backend
from bench.gate import baselines, ladder, matching_rung, mse
from bench.records import Reference, Score


def reference(mse: float, spread: float = 0.0) -> Reference:
    return Reference(validation_mse=mse, test_mse=None, objective=1.0, spread=spread, seeds=3)


def scores(biases: float) -> dict[str, Score]:
    return {"biases alone": Score(validation_mse=biases, test_mse=None, reg=0.02)}


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(60 * 40)[:1500], 40)
    values = 3 + rng.normal(0, 1, 60)[users] + rng.normal(0, 0.5, 40)[items] + rng.normal(0, 0.3, 1500)
    return Ratings(users, items, values, 60, 40)


def test_mse_is_unclipped_float64_and_from_predict(ratings: Ratings) -> None:
    model = get_backend("numpy", rank=2, dtype="float32").fit(ratings, epochs=3, evaluate=False).model_
    p = model.parameters
    wide = [a.astype(np.float64) for a in (p.user_bias, p.item_bias, p.user_factors, p.item_factors)]
    u, i = ratings.users, ratings.items
    by_hand = p.mean + wide[0][u] + wide[1][i] + (wide[2][u] * wide[3][i]).sum(axis=1) - ratings.ratings
    assert mse(model, ratings) == pytest.approx(float(np.mean(by_hand**2)), rel=1e-12)
    assert mse(model, None) is None


def test_baselines_are_fitted(ratings: Ratings) -> None:
    found = baselines(ratings, ratings, None)
    variance = float(np.var(ratings.ratings))
    assert found["global mean"]["validation_mse"] == pytest.approx(variance, rel=1e-9)
    # Biases leave the noise, of variance 0.09, and here they are scored on the rows that they were fitted to.
    assert 0.07 < found["biases alone"]["validation_mse"] < 0.1
    assert found["biases alone"]["reg"] == 0.0
    assert found["global mean"]["test_mse"] is None


def test_the_matching_rung_is_one_percent() -> None:
    rungs = ladder(reference(1.0), scores(2.0))
    assert [(r["factor"], r["dropped"]) for r in rungs] == [(1.05, ""), (1.01, ""), (1.001, "")]
    target = matching_rung(rungs)
    assert target is not None
    assert target["mse"] == 1.01


def test_rungs_inside_the_spread_are_dropped_and_the_looser_one_matches() -> None:
    rungs = ladder(reference(1.0, spread=0.02), scores(2.0))
    assert [bool(r["dropped"]) for r in rungs] == [False, True, True]
    assert "spread of the reference over its seeds (0.0200)" in rungs[1]["dropped"]
    target = matching_rung(rungs)
    assert target is not None
    assert target["factor"] == 1.05


def test_rungs_that_biases_reach_are_dropped() -> None:
    rungs = ladder(reference(1.0), scores(1.02))
    assert [bool(r["dropped"]) for r in rungs] == [True, False, False]
    assert "not below the biases alone (1.0200)" in rungs[0]["dropped"]
    assert matching_rung(ladder(reference(1.0), scores(0.9))) is None
