"""Splits: seeded, complete, disjoint, and the same with every NumPy."""

import numpy as np
import pytest

from bench.datasets import content_hash, permutation, random_split

# Of permutation(1000, seed): these bytes must never change, or stored results no longer belong to their data.
GOLDEN = {0: "947b7af7a75ef566", 7: "025e42fdb2275ba2"}


@pytest.mark.parametrize("seed", GOLDEN)
def test_permutations_are_golden(seed: int) -> None:
    assert content_hash(permutation(1000, seed)) == GOLDEN[seed]


def test_a_permutation_holds_every_number_once() -> None:
    assert np.array_equal(np.sort(permutation(5000, 3)), np.arange(5000))


def test_parts_are_disjoint_and_complete() -> None:
    split = random_split(1003, seed=1)
    assert split.test is not None
    assert np.array_equal(np.sort(np.concatenate([split.train, split.validation, split.test])), np.arange(1003))
    assert (len(split.validation), len(split.test)) == (100, 100)
    assert split.name == "random 80/10/10"


def test_no_test_part_where_the_data_brings_its_own() -> None:
    split = random_split(100, seed=1, validation=0.1, test=0)
    assert split.test is None
    assert (len(split.train), len(split.validation)) == (90, 10)
    assert split.name == "random 90/10"


def test_seeds_differ() -> None:
    assert not np.array_equal(random_split(1000, 0).validation, random_split(1000, 1).validation)


def test_hash_sees_values_shapes_and_types() -> None:
    base = np.arange(6)
    others = [base + 1, base.reshape(2, 3), base.astype(np.int32)]
    assert len({content_hash(array) for array in [base, *others]}) == 4
