"""Ratings with weights, split into training and validation, and put into an order of their own."""

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
from helpers import random_ratings

from backends import Ratings, RatingsError, get_backend


def weighted(n: int = 120) -> Ratings:
    train = random_ratings(20, 15, n)
    return dataclasses.replace(train, weights=np.random.default_rng(1).uniform(0.2, 3, n))


def as_set(ratings: Ratings) -> set[tuple[object, ...]]:
    ids = ratings.encoder
    users, items = ratings.users, ratings.items
    if ids is not None:
        users, items = ids.users[users], ids.items[items]
    weights = [1.0] * len(ratings) if ratings.weights is None else ratings.weights.tolist()
    return set(zip(users.tolist(), items.tolist(), ratings.ratings.tolist(), weights, strict=True))


# ---- weights ------------------------------------------------------------------------------------


def test_weights_count_in_the_summary_and_in_rows() -> None:
    train = Ratings([0, 0, 2], [0, 1, 1], [1.0, 2.0, 5.0], n_users=4, weights=[1, 2, 3])
    assert train.weights.dtype == np.float64
    assert not train.weights.flags.writeable
    mean = (1 * 1 + 2 * 2 + 3 * 5) / 6
    variance = (1 * (1 - mean) ** 2 + 2 * (2 - mean) ** 2 + 3 * (5 - mean) ** 2) / 6
    assert train.summary == pytest.approx((1, 5, mean, variance, 6))
    assert (train.user_weights().tolist(), train.item_weights().tolist()) == ([3, 0, 3, 0], [1, 5])
    assert (train.user_counts().tolist(), train.item_counts().tolist()) == ([2, 0, 1, 0], [1, 2])
    plain = dataclasses.replace(train, weights=None)
    assert plain.user_weights().tolist() == [2, 0, 1, 0]
    assert plain.user_weights().dtype == np.float64


def test_the_weighted_summary_is_exact_over_parts() -> None:
    rng = np.random.default_rng(0)
    values, weights, rows = (
        1e6 + rng.normal(size=150_000),
        rng.uniform(0.1, 5, 150_000),
        np.arange(150_000),
    )
    low, high, mean, variance, weight = Ratings(rows, rows, values, weights=weights).summary
    assert (low, high) == (values.min(), values.max())
    assert mean == pytest.approx(np.average(values, weights=weights), rel=1e-14)
    assert variance == pytest.approx(np.average((values - mean) ** 2, weights=weights), rel=1e-9)
    assert weight == pytest.approx(weights.sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            [1.0, 0.0, 1.0],
            "1 of 3 are not, the first is 0.0 at position 1; "
            "leave out ratings that are to weigh nothing",
        ),
        ([1.0, 1.0, -2.0], "1 of 3 are not, the first is -2.0 at position 2"),
        ([np.nan, 1.0, np.inf], "2 of 3 are not, the first is nan at position 0"),
        ([1e-30, 1.0, 1.0], "weights must be positive numbers from 1e-09 to 1e+09: 1 of 3 are not"),
        (
            [1.0, 1.0],
            "weights must be numbers, one for each of the 3 ratings, got float64 of shape (2,)",
        ),
        ("abc", "weights must be numbers, one for each of the 3 ratings, got <U3 of shape ()"),
        ([1.0, None, "x"], "weights must be numbers, got object"),
    ],
)
def test_wrong_weights_are_named(weights: object, message: str) -> None:
    columns = [0, 0, 1], [0, 1, 1], [1.0, 2.0, 3.0]
    for make in (Ratings, Ratings.from_arrays):
        with pytest.raises(RatingsError) as caught:
            make(*columns, weights=weights)
        assert message in str(caught.value)


def test_weights_travel() -> None:
    train = weighted()
    assert as_set(pickle.loads(pickle.dumps(train))) == as_set(train)
    frame = pd.DataFrame(
        {"user": ["a", "a", "b"], "item": [1, 2, 1], "rating": [3.0, 4.0, 5.0], "n": [1, 2, 4]}
    )
    assert Ratings.from_frame(frame, weight="n").weights.tolist() == [1, 2, 4]
    assert Ratings.from_frame(frame).weights is None
    with pytest.raises(RatingsError, match="Name the columns by user=, item=, rating= and weight="):
        Ratings.from_frame(frame, weight="count")
    new = train.encoder.encode_new(
        [1000, 7, 1001], [5, 5, 5], [1.0, 2.0, 3.0], weights=[2.0, 3.0, 4.0]
    ).ratings
    assert new.weights.tolist() == [2, 4]


def test_duplicates_with_weights() -> None:
    columns = ["a", "b", "a"], [1, 1, 1], [2.0, 5.0, 5.0]
    last = Ratings.from_arrays(*columns, weights=[1, 7, 3], duplicates="last")
    assert as_set(last) == {("b", 1, 5.0, 7.0), ("a", 1, 5.0, 3.0)}
    mean = Ratings.from_arrays(*columns, weights=[1, 7, 3], duplicates="mean")
    assert as_set(mean) == {("a", 1, (1 * 2 + 3 * 5) / 4, 2.0), ("b", 1, 5.0, 7.0)}


# ---- splitting ----------------------------------------------------------------------------------


def test_a_split_is_a_partition_that_leaves_every_row_a_rating() -> None:
    train = weighted()
    rest, held_out = train.split(0.3, seed=2)
    assert len(held_out) == 36
    assert as_set(rest) | as_set(held_out) == as_set(train)
    assert not as_set(rest) & as_set(held_out)
    for count, all_of in (
        (rest.user_counts(), train.user_counts()),
        (rest.item_counts(), train.item_counts()),
    ):
        assert (count[all_of > 0] > 0).all()
    assert rest.encoder is held_out.encoder is train.encoder


def test_one_seed_one_split() -> None:
    train = weighted()
    assert as_set(train.split(0.3, seed=2)[1]) == as_set(train.split(0.3, seed=2)[1])
    assert as_set(train.split(0.3, seed=2)[1]) != as_set(train.split(0.3, seed=3)[1])
    # raw draws: the same for every version of NumPy
    assert (
        Ratings(np.arange(20) % 4, np.arange(20) % 5, np.arange(20.0))
        .split(0.2)[1]
        .ratings.tolist()
        == EXPECTED
    )


EXPECTED = [1.0, 6.0, 17.0, 18.0]


def test_what_rows_must_keep_is_not_split_off() -> None:
    users, items = np.arange(50), np.zeros(50, int)
    train = Ratings(np.append(users, users[:3]), np.append(items, [1, 1, 1]), np.ones(53))
    for seed in range(20):
        rest, held_out = train.split(0.9, seed=seed)
        assert 0 < len(held_out) <= 3
        assert (rest.user_counts() > 0).all()
        assert (rest.item_counts() > 0).all()


def test_a_split_that_leaves_nothing_is_refused() -> None:
    lonely = Ratings(np.arange(10), np.arange(10), np.ones(10))
    with pytest.raises(
        ValueError, match=r"10 ratings leave none to validate on: a share of 0\.2 is 2, and 0 "
    ):
        lonely.split(0.2)


# ---- a canonical order --------------------------------------------------------------------------


@pytest.mark.parametrize("weigh", [False, True])
@pytest.mark.parametrize("names", [False, True])
def test_canonical_ratings_do_not_depend_on_their_order(weigh: bool, names: bool) -> None:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(600)[:300], 20)
    ids = (np.array([f"u{u}" for u in users]), 10 * items) if names else (users - 5, items)
    ratings = rng.integers(1, 6, 300).astype(float)
    weights = rng.uniform(1, 2, 300) if weigh else None
    made = []
    for order in (np.arange(300), rng.permutation(300), np.arange(300)[::-1]):
        train = Ratings.from_arrays(
            ids[0][order],
            ids[1][order],
            ratings[order],
            weights=None if weights is None else weights[order],
        )
        made.append(train.canonical())
        assert as_set(made[-1]) == as_set(train)
    first = made[0]
    assert first.encoder.users.tolist() == sorted(set(ids[0].tolist()))
    for other in made[1:]:
        for name in ("users", "items", "ratings", "weights"):
            np.testing.assert_array_equal(getattr(other, name), getattr(first, name))
        np.testing.assert_array_equal(other.encoder.users, first.encoder.users)
        np.testing.assert_array_equal(other.encoder.items, first.encoder.items)


def test_a_fit_of_canonical_ratings_does_not_depend_on_their_order() -> None:
    pytest.importorskip("numba")
    train = random_ratings(60, 50, 1500)
    shuffled = train.take(np.random.default_rng(3).permutation(len(train)))
    one, other = (
        get_backend("numba-sgd").fit(x.canonical()).model_.parameters for x in (train, shuffled)
    )
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name])


def test_canonical_ratings_without_ids_keep_their_rows_and_repeated_pairs() -> None:
    train = Ratings([2, 0, 2, 2], [0, 1, 0, 0], [3.0, 1.0, 2.0, 3.0], n_users=4, n_items=3)
    sorted_ones = train.canonical()
    assert sorted_ones.users.tolist() == [0, 2, 2, 2]
    assert sorted_ones.ratings.tolist() == [1.0, 2.0, 3.0, 3.0]
    assert (sorted_ones.n_users, sorted_ones.n_items) == (4, 3)
