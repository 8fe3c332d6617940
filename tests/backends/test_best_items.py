"""The best items of many users are those of products in float64, however they were found."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends._engine import best_items
from backends._engine.best_items import ItemTable


def by_sorting(
    vectors: NDArray[Any],
    constants: NDArray[Any],
    queries: NDArray[Any],
    n: int,
    excluded: set[tuple[int, int]],
) -> list[list[int]]:
    """Return the lists from a full sort of scores in float64."""
    lists = []
    for user, query in enumerate(queries):
        scores = np.einsum("k,nk->n", query, vectors, dtype=np.float64) + constants
        order = np.argsort(-scores, kind="stable")
        lists.append([item for item in order.tolist() if (user, item) not in excluded][:n])
    return lists


def found_lists(
    table: ItemTable, queries: NDArray[Any], n: int, excluded: set[tuple[int, int]], threads: int
) -> list[list[int]]:
    pairs = np.array(sorted(excluded), np.int64).reshape(-1, 2)

    def in_block(first: int, last: int) -> tuple[NDArray[Any], NDArray[Any]]:
        here = (pairs[:, 0] >= first) & (pairs[:, 0] < last)
        return pairs[here, 0] - first, pairs[here, 1]

    items, scores = table.best(queries, n, in_block if excluded else None, threads)
    assert items.shape == scores.shape == (len(queries), min(n, len(table)))
    assert (np.isneginf(scores) == (items < 0)).all()
    return [[item for item in row if item >= 0] for row in items.tolist()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("n_users", "n_items", "rank", "n"),
    [
        (150, 3000, 16, 10),
        (3, 20_000, 8, 10),  # several blocks of items
        (70, 9000, 5, 700),  # so many that groups would not help
        (65, 40, 3, 10),
        (1, 7, 1, 7),
    ],
)
def test_lists_are_those_of_a_full_sort(
    dtype: str, threads: int, n_users: int, n_items: int, rank: int, n: int
) -> None:
    rng = np.random.default_rng(n_items)
    vectors = rng.normal(size=(n_items, rank)).astype(dtype)
    queries = rng.normal(size=(n_users, rank)).astype(dtype)
    constants = rng.normal(size=n_items)
    users, items = rng.integers(n_users, size=500), rng.integers(n_items, size=500)
    excluded = set(zip(users.tolist(), items.tolist(), strict=True))
    table = ItemTable(vectors, constants)
    for left_out in (excluded, set()):
        expected = by_sorting(vectors, constants, queries, n, left_out)
        assert found_lists(table, queries, n, left_out, threads) == expected
        alone = {(0, item) for user, item in left_out if user == 0}
        assert found_lists(table, queries[:1], n, alone, threads) == expected[:1]


@pytest.mark.parametrize("n_items", [500, 10_000])
def test_ties_go_to_the_lowest_numbers(n_items: int) -> None:
    """Equal vectors in any place, so that float32 cannot tell which belong in a list."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 4))[rng.integers(5, size=n_items)]
    queries, constants = rng.normal(size=(6, 4)), np.zeros(n_items)
    expected = by_sorting(vectors, constants, queries, 20, set())
    table = ItemTable(vectors, constants)
    assert found_lists(table, queries, 20, set(), 1) == expected
    assert found_lists(table, queries[:1], 20, set(), 1) == expected[:1]


def test_scores_that_float32_cannot_tell_apart_are_told_apart() -> None:
    n_items = 2000
    constants = 1000 + np.random.default_rng(0).permutation(n_items) * 1e-9
    queries, vectors = np.ones((2, 3)), np.ones((n_items, 3))
    assert len(np.unique((constants + 3).astype(np.float32))) == 1
    expected = np.argsort(-constants)[:10].tolist()
    assert found_lists(ItemTable(vectors, constants), queries, 10, set(), 1) == [expected] * 2


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1e19, 1e25])
def test_scores_beyond_float32_are_in_order(size: float) -> None:
    rng = np.random.default_rng(1)
    vectors, queries = rng.normal(size=(900, 3)) * size, rng.normal(size=(4, 3)) * size
    constants = np.zeros(900)
    expected = by_sorting(vectors, constants, queries, 10, set())
    table = ItemTable(vectors, constants)
    assert found_lists(table, queries, 10, set(), 1) == expected
    assert found_lists(table, queries[:1], 10, set(), 1) == expected[:1]


def test_hardly_any_user_of_ordinary_factors_needs_float64_for_all_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(2)
    table = ItemTable(rng.normal(size=(20_000, 32)).astype("f4") / 5, rng.normal(size=20_000) / 5)
    judged = []
    is_final = ItemTable._is_final

    def noted(*arguments: Any) -> NDArray[np.bool_]:
        judged.append(is_final(*arguments))
        return judged[-1]

    monkeypatch.setattr(ItemTable, "_is_final", noted)
    table.best(rng.normal(size=(500, 32)).astype("f4"), 10)
    assert np.concatenate(judged).mean() > 0.99
    judged.clear()
    for _ in range(50):
        table.best(rng.normal(size=(1, 32)).astype("f4"), 10)
    assert len(judged) == 50 and all(judged)


def test_the_bound_is_above_the_error_of_products() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(3000, 64)).astype("f4")
    queries = rng.normal(size=(20, 64)).astype("f4")
    rough = (queries @ vectors.T).astype(np.float64)
    exact = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    worst = np.abs(rough - exact).max(axis=1)
    table = ItemTable(vectors, np.zeros(3000))
    assert (worst > 0).all()
    lengths = np.linalg.norm(queries.astype(np.float64), axis=1)
    assert not table._is_final(lengths, worst, np.zeros(20)).any()


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_largest_of_each_row_are_found(data: st.DataObject) -> None:
    n_columns = data.draw(st.integers(1, 3000))
    n = data.draw(st.integers(1, 40))
    seed = data.draw(st.integers(0, 2**32 - 1))
    n_values = data.draw(st.sampled_from([2, 10, 10**6]))
    scores = np.random.default_rng(seed).integers(n_values, size=(3, n_columns)).astype("f4")
    columns = best_items._largest(scores, n)
    assert columns.shape == (3, min(n, n_columns))
    for row, of_row in zip(scores, columns, strict=True):
        assert len(set(of_row.tolist())) == len(of_row)
        assert sorted(row[of_row]) == sorted(row)[-len(of_row) :]
        alone = best_items._largest_of_one(row, n)
        assert len(set(alone.tolist())) == len(alone)
        assert sorted(row[alone]) == sorted(row[of_row])


@pytest.mark.parametrize(
    ("vectors", "query"),
    [
        ([[-1e39], [1.0]], [1e-5]),
        ([[1e39, 0.0], [1.0, 1.0]], [0.0, 1e-5]),
        ([[1e-9], [2e-9]], [1e39]),
    ],
)
def test_what_float32_cannot_hold_is_in_the_list_all_the_same(
    vectors: list[list[float]], query: list[float]
) -> None:
    table = ItemTable(np.array(vectors), np.zeros(2))
    order = np.argsort(-(np.array(vectors) @ query), kind="stable")
    found, _ = table.best_for_one(np.array(query), 2)
    assert found.tolist() == order.tolist()
    for of_many in table.best(np.array([query] * 3), 2)[0]:
        assert of_many.tolist() == order.tolist()
