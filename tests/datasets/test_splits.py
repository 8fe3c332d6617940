"""Splits: seeded, complete, disjoint, and the same with every NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.datasets import RawRatings, content_hash, permutation, random_split
from bench.datasets.splits import Split, split_rows

# These hashes must never change, or stored results no longer belong to their data.
GOLDEN_PERMUTATIONS = {0: "947b7af7a75ef566", 7: "025e42fdb2275ba2"}
GOLDEN_SPLITS = {
    "random": "dba6d2566e854a66",
    "leave-1-out": "bb19b447c42a743b",
    "leave-3-out": "b9cdff6b00ae8b5f",
    "temporal": "b6ffc02e981645bf",
    "temporal-leave-1-out": "8aa1deabda1e6f03",
    "5-fold-2": "58ca9f19b9779e44",
}


def example(n: int = 1000, seed: int = 0, n_users: int = 37) -> RawRatings:
    """Ratings from raw draws only, which are the same with every NumPy."""
    draws = np.random.PCG64(seed).random_raw(3 * n).reshape(3, n)
    users, items = (draws[0] % n_users).astype(np.int64), (draws[1] % 10_000).astype(np.int64)
    return RawRatings(users, items, np.ones(n), (draws[2] % 500).astype(np.int64))


def parts(split: Split) -> list[np.ndarray]:
    assert split.test is not None
    return [split.train, split.validation, split.test]


@pytest.mark.parametrize("seed", GOLDEN_PERMUTATIONS)
def test_permutations_are_golden(seed: int) -> None:
    assert content_hash(permutation(1000, seed)) == GOLDEN_PERMUTATIONS[seed]


@pytest.mark.parametrize("method", GOLDEN_SPLITS)
def test_splits_are_golden(method: str) -> None:
    assert content_hash(*parts(split_rows(example(), method, seed=3))) == GOLDEN_SPLITS[method]


@settings(deadline=None, max_examples=50)
@given(
    n=st.integers(1, 400),
    n_users=st.integers(1, 40),
    seed=st.integers(0, 2**40),
    method=st.sampled_from(
        ["random", "leave-1-out", "leave-2-out", "temporal", "temporal-leave-2-out", "3-fold-3"]
    ),
)
def test_parts_are_disjoint_complete_and_ascending(
    n: int, n_users: int, seed: int, method: str
) -> None:
    found = parts(split_rows(example(n, seed % 1000, n_users), method, seed))
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(n))
    assert all((np.diff(part) > 0).all() for part in found)


def test_sizes_and_name_of_a_random_split() -> None:
    split = random_split(1003, seed=1)
    assert [len(part) for part in parts(split)] == [803, 100, 100]
    assert split.name == "random 80/10/10"


def test_no_test_part_where_the_data_brings_its_own() -> None:
    split = random_split(100, seed=1, validation=0.1, test=0)
    assert split.test is None
    assert (len(split.train), len(split.validation)) == (90, 10)
    assert split.name == "random 90/10"


@pytest.mark.parametrize("method", ["random", "leave-1-out", "3-fold-1"])
def test_seeds_differ(method: str) -> None:
    assert not np.array_equal(
        split_rows(example(), method, 0).validation, split_rows(example(), method, 1).validation
    )


def test_time_orders_the_parts() -> None:
    raw = example()
    train, validation, test = (raw.timestamps[part] for part in parts(split_rows(raw, "temporal")))
    assert train.max() <= validation.min()
    assert validation.max() <= test.min()


@pytest.mark.parametrize("k", [1, 3])
def test_each_user_gives_k_rows(k: int) -> None:
    raw = example(n_users=20)
    _, validation, test = parts(split_rows(raw, f"temporal-leave-{k}-out"))
    assert set(np.bincount(raw.users[validation])) == set(np.bincount(raw.users[test])) == {k}
    for user in range(20):
        times = [raw.timestamps[part[raw.users[part] == user]] for part in (validation, test)]
        earlier = raw.timestamps[raw.users == user].size - 2 * k
        assert times[0].max() <= times[1].min()
        assert (
            np.sort(raw.timestamps[raw.users == user])[earlier:] == np.sort(np.concatenate(times))
        ).all()


def test_users_with_few_rows_stay_in_training_and_are_counted() -> None:
    raw = RawRatings(np.array([1, 1, 2, 2, 2, 3]), np.arange(6), np.ones(6))
    split = split_rows(raw, "leave-1-out")
    assert {1, 3} <= set(raw.users[split.train])
    assert [raw.users[part].tolist() for part in parts(split)[1:]] == [[2], [2]]
    assert split.note == "2 users with fewer than 3 ratings stay entirely in training"


def test_folds_cover_every_row_once() -> None:
    raw = example(103)
    folds = [parts(split_rows(raw, f"5-fold-{i}"))[2] for i in range(1, 6)]
    assert np.array_equal(np.sort(np.concatenate(folds)), np.arange(103))
    assert {len(fold) for fold in folds} <= {20, 21}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("by-heart", "no split is named 'by-heart'; known: random, leave-K-out, temporal"),
        ("leave-0-out", "no split is named 'leave-0-out'"),
        ("5-fold-6", "there must be at least 2 folds, counted from 1 to 5; got fold 6 of 5"),
        ("1-fold-1", "there must be at least 2 folds"),
        (
            "temporal",
            "the split 'temporal' needs a time for each rating, and these ratings have none",
        ),
        ("temporal-leave-1-out", "needs a time for each rating"),
    ],
)
def test_what_cannot_be_split_is_named(method: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        split_rows(example()._replace(timestamps=None), method)
    assert message in str(caught.value)


def test_hash_sees_values_shapes_and_types() -> None:
    base = np.arange(6)
    others = [base + 1, base.reshape(2, 3), base.astype(np.int32)]
    assert len({content_hash(array) for array in [base, *others]}) == 4
