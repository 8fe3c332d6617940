"""The anime twin: what it promises about its size, its statistics and its bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.datasets import twin
from bench.datasets.raw import RawRatings
from bench.datasets.twin import anime_twin

PUBLISHED = json.loads(Path(twin.__file__).with_name("anime_statistics.json").read_text("utf-8"))
SMALL = 0.02


@pytest.fixture(scope="module")
def small() -> RawRatings:
    return anime_twin(SMALL, seed=0)


@pytest.fixture(scope="module")
def full() -> RawRatings:
    return anime_twin(1.0, seed=0)


def pair_keys(raw: RawRatings) -> NDArray[np.int64]:
    return raw.users.astype(np.int64) << 32 | raw.items


def counts_of(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.unique(ids, return_counts=True)[1]


def rows_of(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    return np.unique(ids, return_inverse=True)[1]


def shares_of_ratings(raw: RawRatings) -> NDArray[np.float64]:
    return np.bincount(raw.ratings.astype(np.int64), minlength=11)[1:] / raw.ratings.size


def bias_mse(
    raw: RawRatings, seed: int = 0, reg: float = 0.02, n_sweeps: int = 8
) -> tuple[float, float]:
    """Validation MSE of the global mean and of regularised biases, on a random 80/20 split."""
    users, items = rows_of(raw.users), rows_of(raw.items)
    is_training = np.random.default_rng(seed).permutation(users.size) < 0.8 * users.size
    mean = raw.ratings[is_training].mean(dtype=np.float64)
    residual = raw.ratings.astype(np.float64) - mean
    user_bias, item_bias = np.zeros(users.max() + 1), np.zeros(items.max() + 1)
    u, i, r = users[is_training], items[is_training], residual[is_training]
    n_u = np.maximum(np.bincount(u, minlength=user_bias.size), 1)
    n_i = np.maximum(np.bincount(i, minlength=item_bias.size), 1)
    for _ in range(n_sweeps):
        user_bias = np.bincount(u, weights=r - item_bias[i], minlength=n_u.size) / n_u / (1 + reg)
        item_bias = np.bincount(i, weights=r - user_bias[u], minlength=n_i.size) / n_i / (1 + reg)
    left = (residual - user_bias[users] - item_bias[items])[~is_training]
    return float(np.mean(residual[~is_training] ** 2)), float(np.mean(left**2))


@pytest.mark.parametrize("scale", [0.001, 0.003, SMALL])
@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_are_distinct_and_sorted(scale: float, seed: int) -> None:
    assert (np.diff(pair_keys(anime_twin(scale, seed))) > 0).all()


def test_chunks_do_not_leave_gaps_or_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    # The busiest users have 702 ratings: they need a chunk each.
    monkeypatch.setattr(twin, "_CHUNK", 500)
    raw = anime_twin(SMALL)
    assert (np.diff(pair_keys(raw)) > 0).all()
    np.testing.assert_array_equal(
        np.sort(counts_of(raw.users)), np.sort(counts_of(anime_twin(SMALL).users))
    )


def test_same_seed_gives_the_same_bytes(small: RawRatings) -> None:
    again = anime_twin(SMALL, seed=0)
    for first, second in zip(small[:3], again[:3], strict=True):
        assert first.dtype == second.dtype
        assert first.tobytes() == second.tobytes()


def test_another_seed_gives_other_data(small: RawRatings) -> None:
    other = anime_twin(SMALL, seed=1)
    assert small.users.tobytes() != other.users.tobytes()
    assert small.items.tobytes() != other.items.tobytes()
    assert small.ratings.tobytes() != other.ratings.tobytes()


def test_types_and_values(small: RawRatings) -> None:
    assert [column.dtype for column in small[:3]] == [np.int32, np.int32, np.float32]
    np.testing.assert_array_equal(np.unique(small.ratings), np.arange(1, 11))
    assert small.users.min() >= 1
    assert small.items.min() >= 1


@pytest.mark.parametrize("scale", [0.001, 0.003, 0.01, SMALL, 0.05])
def test_users_grow_with_scale_and_items_with_its_root(scale: float) -> None:
    raw = anime_twin(scale)
    n_items = round(9_927 * scale**0.5)
    per_user = counts_of(raw.users)
    assert per_user.size == round(69_600 * scale)
    assert counts_of(raw.items).size == n_items
    assert per_user.max() == min(n_items // 2, 3_747)


def test_histogram_of_ratings_is_the_published_one_at_any_scale(small: RawRatings) -> None:
    published = np.array(PUBLISHED["ratings_per_value"]) / PUBLISHED["ratings"]
    np.testing.assert_allclose(shares_of_ratings(small), published, atol=1e-4)


def test_published_totals_agree() -> None:
    assert sum(PUBLISHED["ratings_per_value"]) == PUBLISHED["ratings"] == 6_337_241


def test_popular_anime_mostly_have_low_ids(small: RawRatings) -> None:
    ids, counts = np.unique(small.items, return_counts=True)
    popular = ids[counts > np.quantile(counts, 0.9)]
    assert np.median(popular) < 0.6 * np.median(ids)


@pytest.mark.parametrize("scale", [1 / 1001, 101, 0, -1.0, float("nan"), float("inf")])
def test_scale_out_of_range(scale: float) -> None:
    message = rf"^scale must be a number from 1/1000 to 100 .*{scale!r}$"
    with pytest.raises(ValueError, match=message):
        anime_twin(scale)


def test_biases_beat_the_mean(small: RawRatings) -> None:
    of_mean, of_biases = bias_mse(small)
    assert of_mean == pytest.approx(2.47, rel=0.05)
    assert of_biases < 0.65 * of_mean


def test_taste_is_what_the_factors_can_find(
    monkeypatch: pytest.MonkeyPatch, small: RawRatings
) -> None:
    """Without planted factors the biases explain more: they cannot see a user's taste."""
    monkeypatch.setattr(twin, "_TASTE_STD", 0.0)
    assert bias_mse(anime_twin(SMALL))[1] < bias_mse(small)[1] - 0.05


@pytest.mark.slow
def test_full_size_ratings(full: RawRatings) -> None:
    assert full.ratings.size == 6_337_241
    assert (np.diff(pair_keys(full)) > 0).all()
    published = np.array(PUBLISHED["ratings_per_value"]) / PUBLISHED["ratings"]
    np.testing.assert_allclose(shares_of_ratings(full), published, atol=1e-3)
    assert full.ratings.mean(dtype=np.float64) == pytest.approx(7.808497, rel=0.01)
    assert full.ratings.var(dtype=np.float64) == pytest.approx(2.472743, rel=0.01)


@pytest.mark.slow
def test_full_size_ratings_per_user(full: RawRatings) -> None:
    per_user = counts_of(full.users)
    assert (per_user.size, per_user.max()) == (69_600, 3_747)
    assert full.users.max() <= 73_516
    quantiles = {
        0.01: 1,
        0.05: 2,
        0.1: 3,
        0.25: 13,
        0.5: 45,
        0.75: 114,
        0.9: 230,
        0.95: 333,
        0.99: 641,
    }
    quantiles[0.999] = 1_259  # not published: follows from the histogram of counts and the total
    np.testing.assert_allclose(
        np.quantile(per_user, list(quantiles)), list(quantiles.values()), rtol=0.1
    )


@pytest.mark.slow
def test_full_size_ratings_per_anime(full: RawRatings) -> None:
    per_item = counts_of(full.items)
    assert per_item.size == 9_927
    assert full.items.max() <= 34_519
    assert per_item.mean() == pytest.approx(638.38, rel=1e-4)
    assert np.median(per_item) == pytest.approx(57, rel=0.1)
    assert per_item.max() == pytest.approx(34_226, rel=0.1)
    assert (per_item >= 15).sum() == pytest.approx(6_903, rel=0.1)
    assert (per_item == 1).sum() == pytest.approx(735, rel=0.1)


@pytest.mark.slow
def test_full_size_biases_reach_the_published_error(full: RawRatings) -> None:
    assert bias_mse(full)[1] == pytest.approx(1.42, rel=0.02)
