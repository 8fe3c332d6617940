"""Metrics of lists, compared with a plain loop over users; what is relevant and who is counted."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backends import Parameters, Ratings, get_backend
from bench.cases import lists
from bench.cases.lists import (
    baseline_lists,
    list_metrics,
    model_scorer,
    relevance_threshold,
)
from bench.records import ListMetrics

COLUMNS = ("users", "items", "ratings")


def random_parts(n_items: int = 30) -> tuple[Ratings, Ratings]:
    """Training and held-out ratings of 40 users; some users have no held-out ratings."""
    rng = np.random.default_rng(3)
    pairs = rng.permutation(40 * n_items)[:500]
    users, items = pairs // n_items, pairs % n_items
    values = rng.integers(1, 6, 500).astype(float)
    first, last = slice(0, 350), slice(350, 500)
    return (
        Ratings(users[first], items[first], values[first], 40, n_items),
        Ratings(users[last], items[last], values[last], 40, n_items),
    )


def plain_list_metrics(
    table: NDArray[Any], train: Ratings, held_out: Ratings, threshold: float
) -> ListMetrics:
    """The definition, one user and one place after the other."""
    seen = [set(train.items[train.users == user].tolist()) for user in range(train.n_users)]
    counts = np.bincount(train.items, minlength=train.n_items)
    precisions, recalls, gains, shown = [], [], [], []
    for user in range(train.n_users):
        of_user = (held_out.users == user) & (held_out.ratings >= threshold)
        relevant = set(held_out.items[of_user].tolist()) - seen[user]
        if not relevant:
            continue
        left = [item for item in range(train.n_items) if item not in seen[user]]
        best = sorted(left, key=lambda item: -table[user, item])[:10]
        hits = [item in relevant for item in best]
        precisions.append(sum(hits) / 10)
        recalls.append(sum(hits) / len(relevant))
        ideal = sum(1 / math.log2(2 + k) for k in range(min(10, len(relevant))))
        gains.append(sum(hit / math.log2(2 + k) for k, hit in enumerate(hits)) / ideal)
        shown += best
    return ListMetrics(
        threshold=threshold,
        users=len(precisions),
        precision=float(np.mean(precisions)),
        recall=float(np.mean(recalls)),
        ndcg=float(np.mean(gains)),
        coverage=len(set(shown)) / train.n_items,
        rare=float(np.mean([counts[item] <= lists.RARE for item in shown])),
    )


@pytest.mark.parametrize("n_items", [8, 30])
@pytest.mark.parametrize("batch", [1, 100, 10**9])
def test_metrics_are_those_of_a_plain_loop(
    n_items: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_BATCH_SCORES", batch)
    train, held_out = random_parts(n_items) if n_items == 30 else small_parts()
    table = np.random.default_rng(0).random((train.n_users, train.n_items))
    found = list_metrics(lambda users: table[users].copy(), train, held_out)
    expected = plain_list_metrics(table, train, held_out, relevance_threshold(train))
    assert found == pytest.approx(expected, rel=1e-12)


def small_parts() -> tuple[Ratings, Ratings]:
    """Fewer items than a list has places; user 1 has seen all but one."""
    seen = [(0, 0), (0, 1), *[(1, item) for item in range(7)], (2, 3)]
    users, items = np.array(seen).T
    train = Ratings(users, items, np.array([1, 2, 3, 4, 5, 1, 2, 3, 4, 5.0]), 3, 8)
    held_out = Ratings([0, 0, 1, 2], [5, 6, 7, 3], np.array([5, 1, 5, 5.0]), 3, 8)
    return train, held_out


def test_an_item_is_relevant_from_a_quantile_of_the_training_ratings_on() -> None:
    users = np.arange(10)
    values = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10.0])
    assert relevance_threshold(Ratings(users, users, values)) == 6
    assert relevance_threshold(Ratings(users, users, np.full(10, 3.0))) == 3


def test_perfect_lists_have_an_ndcg_of_one() -> None:
    train, held_out = random_parts()
    table = np.zeros((train.n_users, train.n_items))
    table[held_out.users, held_out.items] = held_out.ratings
    found = list_metrics(lambda users: table[users].copy(), train, held_out)
    assert found is not None
    assert (found["ndcg"], found["recall"]) == (1.0, 1.0)


def test_nothing_relevant_means_no_metrics() -> None:
    train, held_out = random_parts()
    low = Ratings(held_out.users, held_out.items, np.zeros(len(held_out)), 40, 30)
    assert list_metrics(lambda users: np.zeros((len(users), 30)), train, low) is None
    assert baseline_lists(train, low) == {}


def test_many_users_are_sampled_the_same_way_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "_MOST_USERS", 5)
    train, held_out = random_parts()
    asked: list[list[int]] = []

    def scorer(users: NDArray[np.int64]) -> NDArray[np.float64]:
        asked.append(users.tolist())
        return np.zeros((len(users), train.n_items))

    for _ in range(2):
        found = list_metrics(scorer, train, held_out)
        assert found is not None
        assert found["users"] == 5
    first, second = asked
    assert first == second == sorted(set(first))
    monkeypatch.setattr(lists, "_MOST_SCORES", 3 * train.n_items)
    found = list_metrics(scorer, train, held_out)
    assert found is not None
    assert found["users"] == 3


def test_what_is_known_otherwise_is_neither_listed_nor_relevant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "RARE", 12)
    train, rest = random_parts()
    held_out, known = rest.take(np.arange(75)), rest.take(np.arange(60, 150))
    table = np.random.default_rng(1).random((train.n_users, train.n_items))
    found = list_metrics(lambda users: table[users].copy(), train, held_out, known)
    assert found is not None
    both = Ratings(
        *(np.concatenate([getattr(part, name) for part in (train, known)]) for name in COLUMNS),
        40,
        30,
    )
    threshold = relevance_threshold(train)
    expected = plain_list_metrics(table, both, held_out, threshold)
    # How rare an item is, is a matter of training ratings alone.
    assert found == pytest.approx({**expected, "rare": found["rare"]}, rel=1e-12)
    assert found["rare"] > expected["rare"]
    without = list_metrics(lambda users: table[users].copy(), train, held_out)
    assert without is not None
    assert without["users"] > found["users"]


def test_ties_go_to_the_items_that_come_first() -> None:
    """Also where the last places of a list are tied."""
    train, held_out = random_parts()
    coarse = np.random.default_rng(5).integers(0, 4, (train.n_users, train.n_items)).astype(float)
    found = list_metrics(lambda users: coarse[users].copy(), train, held_out)
    expected = plain_list_metrics(coarse, train, held_out, relevance_threshold(train))
    assert found == pytest.approx(expected, rel=1e-12)


def test_the_baselines_are_by_popularity_and_at_random() -> None:
    train, held_out = random_parts()
    found = baseline_lists(train, held_out)
    assert list(found) == ["most popular", "random"]
    counts = train.item_counts().astype(float)
    popular = np.tile(counts, (train.n_users, 1))
    by_count = list_metrics(lambda users: popular[users].copy(), train, held_out)
    assert found["most popular"] == by_count
    assert found["random"]["coverage"] > found["most popular"]["coverage"]
    assert found == baseline_lists(train, held_out)


def test_a_models_lists_are_those_that_recommend_returns() -> None:
    train, held_out = random_parts()
    model = get_backend("numpy", rank=4).fit(train, epochs=3).model_
    users = np.arange(5)
    scores = model_scorer(model.parameters, train)(users)
    np.testing.assert_array_equal(scores, model.list_scores(users))
    for user in users.tolist():
        scores[user, train.items[train.users == user]] = -np.inf
        best = np.argsort(-scores[user], kind="stable")[:10]
        assert [item for item, _ in model.recommend(user, 10)] == best.tolist()
    assert isinstance(model.parameters, Parameters)
    assert list_metrics(model_scorer(model.parameters, train), train, held_out) is not None
