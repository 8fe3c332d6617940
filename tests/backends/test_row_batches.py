"""Batches of rows that are padded to one length."""

import numpy as np
import pytest

from backends._engine.row_batches import padded_positions, row_batches


@pytest.mark.parametrize("n_elements", [1, 100, 10_000, 1 << 22])
@pytest.mark.parametrize("width", [1, 17])
def test_batches_hold_each_row_with_ratings_once_and_waste_little(
    width: int, n_elements: int
) -> None:
    counts = np.random.default_rng(0).geometric(0.03, 3000) - 1
    batches = list(row_batches(counts, width, n_elements))
    rows = np.concatenate(batches)
    assert sorted(rows) == np.flatnonzero(counts).tolist()
    assert np.all(np.diff(counts[rows]) >= 0)
    for batch in batches:
        shortest, longest = counts[batch[0]], counts[batch[-1]]
        size = len(batch) * max(longest, width) * width
        assert len(batch) == 1 or size <= n_elements
        assert longest <= shortest + shortest // 8 or size <= n_elements // 16


def test_few_ratings_are_one_batch() -> None:
    counts = np.array([5, 0, 1, 40])
    (batch,) = row_batches(counts, 17, 1 << 22)
    assert batch.tolist() == [2, 0, 3]


def test_padded_positions_are_those_of_the_ratings() -> None:
    offsets = np.array([0, 2, 2, 5])
    positions, exists = padded_positions(offsets, np.array([0, 2]))
    assert positions.tolist() == [[0, 1, 0], [2, 3, 4]]
    assert exists.tolist() == [[True, True, False], [True, True, True]]
    positions, exists = padded_positions(offsets, np.array([0, 2]), 1, 3)
    assert positions.tolist() == [[1, 0], [3, 4]]
    assert exists.tolist() == [[True, False], [True, True]]
