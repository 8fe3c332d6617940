"""A sample of users has all their ratings, in the part of the split that they were in."""

import numpy as np
import pytest

from bench.datasets import Dataset, RawRatings, random_split, sample_users


def a_dataset(n: int = 1000, *, with_official_test: bool = False) -> Dataset:
    rng = np.random.default_rng(0)
    users = np.array([f"user {k}" for k in rng.integers(40, size=n)])
    raw = RawRatings(users, rng.permutation(n), rng.normal(size=n), np.arange(n), {"twice": 2})
    split, official = random_split(n, 0), None
    if with_official_test:
        split, official = split._replace(test=None), raw.take(np.arange(0, n, 9))
    return Dataset("mine", raw, split, official)


def test_small_data_is_left_alone() -> None:
    dataset = a_dataset()
    assert sample_users(dataset, 1000) is dataset


@pytest.mark.parametrize("with_official_test", [False, True])
def test_whole_users_in_their_parts_of_the_split(with_official_test: bool) -> None:
    dataset = a_dataset(with_official_test=with_official_test)
    sample = sample_users(dataset, 300, seed=1)
    raw, users = sample.raw, set(sample.raw.users)
    assert 200 < len(raw.ratings) <= 300
    of_users = np.isin(dataset.raw.users, list(users))
    np.testing.assert_array_equal(raw.items, dataset.raw.items[of_users])
    np.testing.assert_array_equal(raw.timestamps, dataset.raw.timestamps[of_users])
    assert sample.name == f"mine ({len(users)} of 40 users)"
    assert raw.dropped == {"twice": 2, "of users outside the sample": 1000 - len(raw.ratings)}
    parts = [(sample.split.train, dataset.split.train)]
    parts.append((sample.split.validation, dataset.split.validation))
    if with_official_test:
        assert sample.split.test is None
        assert dataset.official_test is not None and sample.official_test is not None
        test = dataset.official_test
        np.testing.assert_array_equal(
            sample.official_test.items, test.items[np.isin(test.users, list(users))]
        )
    else:
        assert dataset.split.test is not None and sample.split.test is not None
        parts.append((sample.split.test, dataset.split.test))
        assert sum(len(part) for part, _ in parts) == len(raw.ratings)
    for part, whole in parts:
        assert len(part) > 0
        items = dataset.raw.items[whole]
        np.testing.assert_array_equal(raw.items[part], items[of_users[whole]])


def test_what_is_said_of_the_whole_split_is_not_said_of_the_sample() -> None:
    dataset = a_dataset()
    assert sample_users(dataset, 300).split.note == ""
    noted = dataset._replace(split=dataset.split._replace(note="3 users stay in training"))
    assert sample_users(noted, 300).split.note == "of the whole data: 3 users stay in training"


def test_the_seed_chooses_the_users() -> None:
    dataset = a_dataset()
    samples = [set(sample_users(dataset, 300, seed=seed).raw.users) for seed in (1, 1, 2)]
    assert samples[0] == samples[1] != samples[2]


def test_a_single_user_may_be_too_many() -> None:
    assert len(set(sample_users(a_dataset(), 1).raw.users)) == 1
