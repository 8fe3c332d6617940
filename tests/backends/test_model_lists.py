"""Lists for many users: as arrays, frames and files; similar items; vectors for an index."""

import pickle
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from backends import (
    FactorModel,
    Lists,
    Parameters,
    Ratings,
    RatingsError,
    Recommendation,
    UnknownIdError,
    get_backend,
)
from backends import model as model_module


def fitted(n_users: int = 300, n_items: int = 80, *, texts: bool = False) -> FactorModel:
    """A model of random factors, of whose users each has rated some items."""
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(n_users * n_items, size=n_users * 8))
    everybody = np.arange(n_users)
    pairs = np.concatenate([everybody * n_items + everybody % n_items, pairs])
    users, items = np.divmod(np.unique(pairs), n_items)
    user_ids, item_ids = 7 * users + 1000, 3 * items + 5
    ids = [
        [f"{kind}{i}" for i in column] if texts else column
        for kind, column in (("u", user_ids), ("i", item_ids))
    ]
    train = Ratings.from_arrays(*ids, rng.uniform(1, 5, len(users)))
    parameters = Parameters(
        mean=3.0,
        user_bias=rng.normal(size=n_users).astype("f4") / 3,
        item_bias=rng.normal(size=n_items).astype("f4") / 3,
        user_factors=rng.normal(size=(n_users, 6)).astype("f4") / 2,
        item_factors=rng.normal(size=(n_items, 6)).astype("f4") / 2,
    )
    return FactorModel(parameters, train.encoder, (1.0, 5.0), 3.0, train, rating_std=1.0)


def users_of(model: FactorModel) -> list[Any]:
    assert model.encoder is not None
    return model.encoder.users.tolist()


def items_of(model: FactorModel) -> list[Any]:
    assert model.encoder is not None
    return model.encoder.items.tolist()


@pytest.mark.parametrize("texts", [False, True])
def test_lists_of_all_users_are_those_of_each(texts: bool) -> None:
    model = fitted(texts=texts)
    lists = model.recommend(n=5)
    assert isinstance(lists, Lists)
    assert repr(lists) == "Lists(300 users, 5 items each)"
    assert lists.owners.tolist() == users_of(model)
    assert not lists.ids.mask.any()
    for user, items, ratings in zip(lists.owners.tolist(), lists.ids, lists.values, strict=True):
        one = model.recommend(user, 5)
        assert [each.item for each in one] == items.tolist()
        assert [each.rating for each in one] == ratings.tolist()
        assert type(one[0]) is Recommendation


def test_lists_are_by_the_scores_of_unseen_items() -> None:
    model = fitted()
    scores = model.list_scores(None)
    seen = model._seen()
    for user in range(model.n_users):
        scores[user, seen.items[seen.offsets[user] : seen.offsets[user + 1]]] = -np.inf
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert (model.recommend(n=10).rows == expected).all()


def test_some_users_in_any_order_and_repeated() -> None:
    model = fitted()
    users = users_of(model)
    asked = [users[5], users[2], users[5]]
    for given in (asked, np.array(asked), pd.Series(asked), tuple(asked)):
        lists = model.recommend(given, 3)
        assert lists.owners.tolist() == asked
        for user, items in zip(asked, lists.ids.tolist(), strict=True):
            assert [one.item for one in model.recommend(user, 3)] == items
    assert len(model.recommend([], 3)) == 0
    assert len(model.recommend([], 3).frame()) == 0
    assert isinstance(model.recommend(np.array(users[0])), list)
    assert isinstance(model.recommend([users[0]]), Lists)


def test_only_the_given_items_are_listed() -> None:
    model = fitted()
    user, items = users_of(model)[0], items_of(model)
    some = items[40:46]
    everything = [one.item for one in model.recommend(user, 80, exclude_seen=False)]
    found = model.recommend(user, 80, items=some, exclude_seen=False)
    assert [one.item for one in found] == [item for item in everything if item in some]
    unseen = [one.item for one in model.recommend(user, 80)]
    found = model.recommend(user, 80, items=some)
    assert [one.item for one in found] == [item for item in unseen if item in some]
    # The next list is of all items again.
    assert [one.item for one in model.recommend(user, 80)] == unseen
    with pytest.raises(UnknownIdError, match="1 unknown item id"):
        model.recommend(user, items=[*some, 10**6])
    assert model.recommend(user, items=[]) == []


def test_excluded_items_are_in_no_list() -> None:
    model = fitted()
    before = model.recommend(n=80)
    banned = items_of(model)[::3]
    for seen in (True, False):
        lists = model.recommend(n=80, exclude=[*banned, 10**6], exclude_seen=seen)
        assert not set(lists.ids.compressed().tolist()) & set(banned)
    one = before.ids[7].compressed().tolist()
    left = [item for item in one if item not in banned]
    assert model.recommend(n=80, exclude=banned).ids[7].compressed().tolist() == left


def test_items_and_few_ratings_and_exclusions_go_together() -> None:
    model = fitted()
    counts = dict(zip(items_of(model), model.item_counts().tolist(), strict=True))
    some, banned = items_of(model)[10:70], items_of(model)[20:30]
    least = int(np.median(list(counts.values())))
    found = model.recommend(n=80, items=some, exclude=banned, min_ratings=least, exclude_seen=False)
    expected = {i for i in some if i not in banned and counts[i] >= least}
    assert {i for row in found.ids for i in row.compressed()} == expected
    assert (found.ids[:, : len(expected)].mask == False).all()  # noqa: E712  # of an array


def test_a_list_that_ends_is_masked() -> None:
    model = fitted(n_items=10)
    lists = model.recommend(n=10)
    seen = np.diff(model._seen().offsets)
    assert (lists.ids.mask.sum(axis=1) == seen).all()
    assert (np.isnan(lists.values) == lists.ids.mask).all()
    assert ((lists.rows < 0) == lists.ids.mask).all()
    frame = lists.frame()
    assert len(frame) == lists.ids.count()
    assert frame.groupby("user").size().to_dict() == {
        user: 10 - n for user, n in zip(users_of(model), seen.tolist(), strict=True) if n < 10
    }


@pytest.mark.parametrize("texts", [False, True])
def test_a_frame_has_a_line_for_each_place(texts: bool) -> None:
    model = fitted(texts=texts)
    users = users_of(model)[:4]
    frame = model.recommend(users, 3).frame()
    assert list(frame.columns) == ["user", "rank", "item", "rating"]
    lines = [
        (user, place, one.item, one.rating)
        for user in users
        for place, one in enumerate(model.recommend(user, 3), 1)
    ]
    assert list(frame.itertuples(index=False, name=None)) == lines


@pytest.mark.parametrize("texts", [False, True])
def test_lists_go_to_a_file_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: bool
) -> None:
    monkeypatch.setattr(model_module, "_USERS_PER_PART", 128)
    model = fitted(texts=texts)
    path = tmp_path / "lists.parquet"
    assert model.write_lists(path, n=4) == 1200
    assert pq.ParquetFile(path).num_row_groups == 3
    pd.testing.assert_frame_equal(pd.read_parquet(path), model.recommend(n=4).frame())
    users = users_of(model)[:2]
    assert model.write_lists(path, users, 4, min_ratings=3) == 8
    expected = model.recommend(users, 4, min_ratings=3).frame()
    pd.testing.assert_frame_equal(pd.read_parquet(path), expected)
    assert model.write_lists(path, [], 4) == 0
    assert list(pd.read_parquet(path).columns) == ["user", "rank", "item", "rating"]
    with pytest.raises(UnknownIdError):
        model.write_lists(path, ["nobody" if texts else -1])
    assert [each.name for each in tmp_path.iterdir()] == ["lists.parquet"]


def test_a_file_of_lists_takes_memory_for_some_users_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def peak(n_users: int) -> int:
        model = fitted(n_users, 200)
        model.recommend(users_of(model)[0])
        tracemalloc.start()
        try:
            model.write_lists(tmp_path / "lists.parquet", n=50, n_jobs=1)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    monkeypatch.setattr(model_module, "_USERS_PER_PART", 1000)
    assert peak(8000) < 1.5 * peak(2000)


def test_similar_items_are_those_with_the_highest_cosine() -> None:
    model = fitted()
    q = model.parameters.item_factors.astype(np.float64)
    units = q / np.linalg.norm(q, axis=1)[:, None]
    cosines = units @ units.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.argsort(-cosines, axis=1)[:, :5]
    lists = model.similar_items(n=5)
    assert (lists.rows == expected).all()
    np.testing.assert_allclose(
        lists.values, np.take_along_axis(cosines, expected, axis=1), atol=1e-6
    )
    item = items_of(model)[3]
    one = model.similar_items(item, 5)
    assert [each.id for each in one] == lists.ids[3].tolist()
    assert [each.similarity for each in one] == lists.values[3].tolist()
    assert list(lists.frame().columns) == ["item", "rank", "similar_item", "similarity"]
    assert len(model.similar_items(item, 1000)) == model.n_items - 1
    with pytest.raises(UnknownIdError, match="item"):
        model.similar_items(-1)


def test_similar_users_are_found_alike() -> None:
    model = fitted(texts=True)
    lists = model.similar_users(n=3)
    assert lists.rows.shape == (300, 3)
    assert [each.id for each in model.similar_users("u1007", 3)] == lists.ids[1].tolist()
    # Items and users are kept beside each other.
    assert model.similar_items("i5", 3)[0].id != "i5"
    assert [each.id for each in model.similar_users("u1007", 3)] == lists.ids[1].tolist()
    with pytest.raises(RatingsError, match="users are integer"):
        model.similar_users(5)


def test_an_item_without_factors_is_similar_to_none() -> None:
    model = fitted()
    model.parameters.item_factors[4] = 0
    similar = model.similar_items(items_of(model)[4], 3)
    assert [each.similarity for each in similar] == [0, 0, 0]


@pytest.mark.parametrize("metric", ["inner_product", "euclidean"])
def test_vectors_find_the_same_lists(metric: Any, tmp_path: Path) -> None:
    model = fitted()
    items = model.item_vectors(metric=metric).astype(np.float64)
    users = model.user_vectors(metric=metric).astype(np.float64)
    expected = model.recommend(n=10, exclude_seen=False).rows
    if metric == "inner_product":
        near = users @ items.T
        scores = model.list_scores(None)
        users_own = model.parameters.mean + model.parameters.user_bias[:, None]
        np.testing.assert_allclose(near + users_own, scores, atol=1e-5)
    else:
        near = -((users[:, None] - items) ** 2).sum(axis=2)
        np.testing.assert_allclose(np.linalg.norm(items, axis=1), np.linalg.norm(items[0]))
    assert (np.argsort(-near, axis=1)[:, :10] == expected).mean() > 0.999
    some = users_of(model)[3:5]
    assert np.array_equal(model.user_vectors(some, metric=metric), users[3:5].astype("f4"))
    path = tmp_path / "items.parquet"
    model.write_item_vectors(path, metric=metric)
    frame = pd.read_parquet(path)
    assert frame["item"].tolist() == items_of(model)
    assert np.array_equal(np.stack(frame["vector"]), items.astype("f4"))


def test_the_metric_is_checked() -> None:
    for ask in (fitted().item_vectors, fitted().user_vectors):
        with pytest.raises(ValueError, match="metric must be"):
            ask(metric="cosine")


def test_what_lists_were_made_of_does_not_change_unnoticed() -> None:
    model = fitted()
    model.recommend(users_of(model)[0])
    with pytest.raises(ValueError, match="read-only"):
        model.parameters.item_factors[0] = 1


def test_a_copy_has_no_tables() -> None:
    model = fitted()
    model.recommend(n=2)
    copy = pickle.loads(pickle.dumps(model))
    assert model._tables and not copy._tables
    assert (copy.recommend(n=2).rows == model.recommend(n=2).rows).all()


def test_threads_may_ask_at_the_same_time() -> None:
    model = fitted()
    expected = fitted().recommend(n=7).rows
    few = fitted().recommend(n=7, min_ratings=9).rows
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(10):
            least, right = (9, few) if number % 2 else (0, expected)
            if not (model.recommend(n=7, min_ratings=least).rows == right).all():
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("n_jobs", [0, -2, 1.5, "2"])
def test_the_number_of_threads_is_checked(n_jobs: Any) -> None:
    with pytest.raises(ValueError, match="n_jobs must be"):
        fitted().recommend(n_jobs=n_jobs)


def test_a_pair_that_was_rated_twice_counts_twice_whatever_is_asked_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.integers(20, size=300), rng.integers(15, size=300)
    train = Ratings(*pairs, rng.normal(size=300), 20, 15)
    arrays = [rng.normal(size=shape) for shape in (20, 15, (20, 3), (15, 3))]

    def fresh() -> FactorModel:
        return FactorModel(Parameters(3.0, *arrays), None, (1, 5), 3.0, train, rating_std=1.0)

    expected = fresh().item_counts()
    assert expected.sum() == 300
    first, saved, pickled = fresh(), fresh(), fresh()
    first.recommend(0)
    saved.save(tmp_path / "model.npz")
    loaded = FactorModel.load(tmp_path / "model.npz")
    again = pickle.loads(pickle.dumps(pickled))
    for model in (first, saved, pickled, loaded, again):
        assert (model.item_counts() == expected).all()
        assert (model.recommend(n=5).rows == first.recommend(n=5).rows).all()


def test_lists_follow_arrays_that_are_replaced() -> None:
    model = fitted()
    user = users_of(model)[0]
    model.recommend(user)
    model.parameters.item_factors = np.zeros_like(model.parameters.item_factors)
    model.parameters.item_bias = np.zeros_like(model.parameters.item_bias)
    expected = FactorModel(
        model.parameters, model.encoder, (1.0, 5.0), 3.0, model.training, rating_std=1.0
    )
    expected._item_counts = model.item_counts()
    assert model.recommend(user) == expected.recommend(user)


@pytest.mark.parametrize("n_banned", [3, 60])
def test_many_and_few_exclusions_give_the_same_lists(
    n_banned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted()
    banned = items_of(model)[5 : 5 + n_banned]
    found = []
    for few in (1, 1000):
        monkeypatch.setattr(model_module, "_FEW_BANNED", few)
        found.append(model.recommend(n=10, exclude=banned).ids)
        one = model.recommend(users_of(model)[3], 10, exclude=banned)
        assert [each.item for each in one] == found[-1][3].compressed().tolist()
    assert (found[0].filled(-1) == found[1].filled(-1)).all()


def test_a_pickle_of_an_earlier_release_is_taken() -> None:
    model = fitted()
    state = model.__getstate__()
    for name in ("_tables", "versions", "data", "_item_counts"):
        del state[name]
    old = object.__new__(FactorModel)
    old.__setstate__(state)
    assert (old.recommend(n=3).rows == model.recommend(n=3).rows).all()


def test_all_cores_may_be_asked_for_as_in_scikit_learn() -> None:
    model = fitted()
    assert (model.recommend(n=3, n_jobs=-1).rows == model.recommend(n=3).rows).all()


def test_factors_of_any_size_have_similarities() -> None:
    model = fitted()
    expected = model.similar_items(n=3)
    x = model.parameters
    x.item_factors = x.item_factors.astype(np.float64) * 1e200
    assert (model.similar_items(n=3).rows == expected.rows).all()
    with pytest.raises(ValueError, match="too large for float32"):
        model.item_vectors()


def test_advice_is_about_what_was_asked() -> None:
    model = fitted(texts=True)
    with pytest.raises(UnknownIdError, match=r"not in the training ratings\. Leave them out of it"):
        model.recommend("u1000", items=["no"])
    with pytest.raises(RatingsError, match="items are integers"):
        model.recommend("u1000", exclude=[1])
    with pytest.raises(OSError, match=r"no/lists\.parquet"):
        model.write_lists(Path("no") / "lists.parquet")


@pytest.mark.parametrize("kind", ["integer", "text", "rows"])
def test_a_single_id_is_looked_up_as_a_column_is(kind: str) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, 400), rng.integers(0, 20, 400)
    pairs = np.unique(np.stack([users, items], 1), axis=0)
    ratings = rng.normal(3, 1, len(pairs))
    if kind == "rows":
        train = Ratings(pairs[:, 0], pairs[:, 1], ratings, 30, 20)
        ids: list[Any] = list(range(30))
    else:
        column: Any = pairs[:, 0] * 10 - 5
        column = [f"u{each}" for each in column] if kind == "text" else column
        train = Ratings.from_arrays(column, pairs[:, 1], ratings)
        ids = list(dict.fromkeys(column if kind == "text" else column.tolist()))
    model = get_backend("numpy-als", rank=2, n_jobs=1).fit(train, epochs=2).model_
    lists = model.recommend(ids, n=4)
    for id_, row in zip(ids, lists.ids, strict=True):
        assert [each.item for each in model.recommend(id_, n=4)] == row.compressed().tolist()
    same = ids[3] if kind == "text" else np.int64(ids[3])
    assert model.recommend(same, n=4) == model.recommend(ids[3], n=4)
    unknown: list[Any] = ["u7", ""] if kind == "text" else [10**6, -(10**6), 10**30]
    for id_ in unknown:
        with pytest.raises((UnknownIdError, RatingsError)):
            model.recommend(id_)
    with pytest.raises((RatingsError, TypeError)):
        model.recommend(True)
