"""Sorting ratings by row: stable, in blocks, on several threads; weights go with their ratings."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import random_ratings

from backends import Ratings, get_backend, initial_model

pytest.importorskip("numba")

from backends._engine import sorting
from backends._engine.sorting import blocked, counted, row_weights, transposed
from backends._engine.threads import Threads
from backends.kernels import gradient, sgd
from backends.kernels.layout import LOOK_AHEAD


def with_weights(train: Ratings, weighted: bool) -> Ratings:
    """The same ratings, each with its own weight if ``weighted``."""
    weights = np.random.default_rng(1).permutation(len(train)) + 0.5
    return replace(train, weights=weights) if weighted else train


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_parts", [1, 2, 3, 50])
@pytest.mark.parametrize("n_blocks", [(1, 1), (2, 3)])
def test_blocking_is_a_stable_sort(n_parts: int, n_blocks: tuple[int, int], weighted: bool) -> None:
    rng = np.random.default_rng(0)
    keys, others = rng.integers(0, 7, 40, np.int32), rng.integers(0, 99, 40, np.int32)
    ratings = rng.normal(size=40).astype(np.float32)
    train = with_weights(Ratings(keys, others, ratings, 9, 99), weighted)
    threads = Threads(n_parts)
    sides = counted(threads, (keys, 9), (others, 99))
    np.testing.assert_array_equal(sides[0].counts, np.bincount(keys, minlength=9))
    # The last block of keys holds no rating, and the last of others not even a row.
    bounds = {(1, 1): None, (2, 3): (np.array([0, 8, 9]), np.array([0, 30, 99, 99]))}[n_blocks]
    units = {"unit": 4.0, "weight_unit": 8.0}
    got = blocked(threads, *sides, train, "float64", 0.5, **units, bounds=bounds)
    blocks = keys * 0, others * 0
    if bounds:
        blocks = keys // 8, (others >= 30).astype(int)
    order = np.lexsort((keys, blocks[1], blocks[0]))
    np.testing.assert_array_equal(got.ratings["opposite"], others[order])
    targets = (ratings[order].astype(np.float64) - 0.5) / 4
    np.testing.assert_array_equal(got.ratings["target"], targets)
    assert ("weight" in got.ratings.dtype.names) == weighted
    if weighted:
        np.testing.assert_array_equal(got.ratings["weight"], train.weights[order] / 8)
    for a in range(n_blocks[0]):
        sizes = [((blocks[0] == a) & (blocks[1] == b)).sum() for b in range(n_blocks[1])]
        np.testing.assert_array_equal(np.diff(got.starts[a]), sizes)
    assert got.ends.shape == (n_blocks[1], 9)
    for key in range(9):
        for b in range(n_blocks[1]):
            here = np.flatnonzero((keys[order] == key) & (blocks[1][order] == b))
            if len(here):
                assert got.ends[b, key] == here[-1] + 1
            elif key not in (0, 8):
                assert got.ends[b, key] == got.ends[b, key - 1]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_parts", [1, 2, 50])
@pytest.mark.parametrize("per_call", [10, 1000])
def test_transposing_is_a_stable_sort(
    n_parts: int,
    per_call: int,
    weighted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sorting, "RATINGS_PER_CALL", per_call)
    train, threads = with_weights(random_ratings(), weighted), Threads(n_parts)
    users, items = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
    by_user = blocked(threads, users, items, train, "float32", 0.0)
    got = transposed(threads, by_user, train.n_items)
    order = np.lexsort((train.users, train.items))
    np.testing.assert_array_equal(got.ratings["opposite"], train.users[order])
    np.testing.assert_array_equal(got.ratings["target"], train.ratings[order].astype("float32"))
    if weighted:
        np.testing.assert_array_equal(got.ratings["weight"], train.weights[order])
    np.testing.assert_array_equal(got.ends, [np.cumsum(items.counts)])
    np.testing.assert_array_equal(got.starts, [[0, len(train)]])
    assert len(got.ratings.base) == len(train) + LOOK_AHEAD


@pytest.mark.parametrize("ratings", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
def test_sorted_ratings_are_the_same_bits_for_any_number_of_threads(
    weighted: bool,
    ratings: str,
) -> None:
    """Also for units that are not powers of 2, where dividing is not multiplying by 1 / unit."""
    plain = random_ratings()
    train = with_weights(replace(plain, ratings=plain.ratings.astype(ratings)), weighted)
    results = []
    for n_parts in (1, 2, 3, 7, 13, 29, 50):
        threads = Threads(n_parts)
        sides = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
        units = {"unit": 0.7, "weight_unit": 1.3}
        results.append(blocked(threads, *sides, train, "float64", 0.123, **units).ratings)
    for result in results:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("weighted", [False, True])
def test_weights_of_rows(weighted: bool) -> None:
    plain = random_ratings()
    train = with_weights(replace(plain, n_users=41, n_items=32, encoder=None), weighted)
    sides = counted(Threads(2), (train.users, 41), (train.items, 32))
    weights = np.ones(600) if train.weights is None else train.weights
    for rows, found in zip((train.users, train.items), row_weights(train, *sides), strict=True):
        assert found.dtype == np.float64
        for row, weight in enumerate(found):
            assert weight == weights[rows == row].sum()


@pytest.mark.parametrize("weighted", [False, True])
def test_kernels_may_read_behind_the_last_rating(weighted: bool) -> None:
    threads, rows = Threads(1), np.zeros(3, np.int32)
    (side,) = counted(threads, (rows, 1))
    train = with_weights(Ratings(rows, rows, np.ones(3, np.float32)), weighted)
    whole = blocked(threads, side, side, train, "float32", 0.0).ratings.base
    assert len(whole) == 3 + LOOK_AHEAD
    assert not whole[3:]["opposite"].any()
    assert max(gradient._PREFETCH_DISTANCE, sgd._PREFETCH_DISTANCE) <= LOOK_AHEAD


@pytest.mark.parametrize("weighted", [False, True])
def test_sorting_in_pieces_changes_nothing(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels return to Python now and then while sorting, too; here, after every few ratings."""
    train = with_weights(random_ratings(), weighted)
    solver = get_backend("numba-sgd", n_jobs=1)
    start = initial_model(solver.objective, train, 0, dtype="float32")
    whole = solver.prepare(train, start, seed=0).blocks
    sizes: list[int] = []
    cut, run = Threads.cut, Threads.run

    def counting(self: Threads, function: Any, arguments: Any) -> Any:
        runs = (
            argument if isinstance(argument[0], int) else argument[1:] for argument in arguments
        )
        sizes.extend(last - first for first, last, *_ in runs)
        return run(self, function, arguments)

    monkeypatch.setattr(sorting, "RATINGS_PER_CALL", 50)
    monkeypatch.setattr(Threads, "cut", lambda self, n: cut(self, n, 50))
    monkeypatch.setattr(Threads, "run", counting)
    pieces = solver.prepare(train, start, seed=0).blocks
    # Ratings are counted by user and by item, put into buckets, counted in pairs, then placed.
    assert sum(sizes) == 5 * 600
    assert max(sizes) < 2 * 50
    for name in ("starts", "ends", "ratings"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))
