"""A data set as rows: which held-out rows are left out, and that this is reported."""

import numpy as np

from bench.cases.encode import encode
from bench.datasets import Dataset
from bench.datasets.raw import RawRatings
from bench.datasets.splits import Split

USERS = np.array(["a", "b", "a", "b", "new", "a", "b", "a"])
ITEMS = np.array([10, 10, 20, 20, 10, 30, 20, 10])
RATINGS = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])


def dataset(test: list[int] | None, note: str = "") -> Dataset:
    raw = RawRatings(USERS, ITEMS, RATINGS, dropped={"it is bad": 2})
    rows = None if test is None else np.array(test)
    split = Split("by hand", np.arange(4), np.array([4, 5, 6]), rows, note)
    return Dataset("small", raw, split, None)


def test_rows_with_a_user_or_item_unseen_in_training_are_left_out_and_counted() -> None:
    data = encode(dataset([7], note="kept whole"))
    unseen = "2 of 3 validation rows have a user or item unseen in training"
    assert data.dropped == f"2 rows: it is bad; kept whole; {unseen}"
    assert data.validation.ratings.tolist() == [7.0]
    assert data.test is not None
    assert data.test.ratings.tolist() == [8.0]
    assert (data.train.n_users, data.train.n_items) == (2, 2)


def test_rows_stay_what_they_are_in_another_order() -> None:
    data = encode(dataset(None))
    train = data.train
    assert data.test is None
    assert sorted(train.ratings.tolist()) == [1.0, 2.0, 3.0, 4.0]
    user = {int(u): USERS[int(r) - 1] for u, r in zip(train.users, train.ratings, strict=True)}
    item = {int(i): ITEMS[int(r) - 1] for i, r in zip(train.items, train.ratings, strict=True)}
    for u, i, r in zip(train.users, train.items, train.ratings, strict=True):
        assert (user[int(u)], item[int(i)]) == (USERS[int(r) - 1], ITEMS[int(r) - 1])
    validation = data.validation
    assert (user[int(validation.users[0])], item[int(validation.items[0])]) == ("b", 20)


def test_the_hash_stands_for_every_part() -> None:
    assert encode(dataset([7])).hash == encode(dataset([7])).hash
    assert encode(dataset([7])).hash != encode(dataset(None)).hash
