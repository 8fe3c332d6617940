"""The jitted kernels: gradients, how much one call does, tables, addresses beyond 2^31, memory."""

import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import random_ratings, relative_differences

from backends import Objective, Ratings, get_backend, initial_model

numba = pytest.importorskip("numba")

from backends import numba_gd, numba_sgd  # noqa: E402
from backends.kernels.epoch import do_tasks  # noqa: E402
from backends.kernels.gradient import sweep  # noqa: E402
from backends.kernels.grouping import count, count_pairs, place, scatter, transpose  # noqa: E402
from backends.kernels.layout import (  # noqa: E402
    LOOK_AHEAD,
    aligned_zeros,
    keyed_dtype,
    padded_rank,
    padded_table,
    ratings_dtype,
    vector_parts,
)
from backends.kernels.sgd import block_pass  # noqa: E402

pytestmark = pytest.mark.fits

BEYOND = 2**31  # more ratings than a 32-bit offset can address


# ---- gradients ---


@pytest.mark.parametrize(("rank", "weighted"), [(1, False), (1, True), (40, False), (512, False)])
def test_two_sweeps_make_the_gradient_of_one(
    rank: int,
    weighted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = random_ratings()
    if weighted:
        train = replace(train, weights=np.random.default_rng(0).lognormal(1, 1, len(train)))
    solver = get_backend("numba-gd", rank=rank, dtype="float64", n_jobs=2)
    one = solver.fit(train, epochs=5).model_.parameters
    monkeypatch.setattr(numba_gd, "_PRIVATE_BYTES", 0)
    two = solver.fit(train, epochs=5).model_.parameters
    assert max(relative_differences(one, two).values()) < 1e-12
    plain = get_backend("numpy", rank=rank, dtype="float64").fit(train, epochs=5)
    assert max(relative_differences(one, plain.model_.parameters).values()) < 1e-10


def test_returning_to_python_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels return now and then to let Ctrl-C through; here, after every few ratings."""
    train, checks = random_ratings(), []
    solver = get_backend("numba-gd", n_jobs=2)
    whole = solver.fit(train, epochs=3).model_.parameters
    monkeypatch.setattr(numba_gd, "WORK_PER_CALL", 1000)
    monkeypatch.setattr(numba_gd, "checkpoint", lambda: checks.append(1))
    pieces = solver.fit(train, epochs=3).model_.parameters
    assert len(checks) >= 3 * 600 * (16 + 16) / 2 / 1000
    assert max(relative_differences(whole, pieces).values()) < 1e-6


# ---- what a call does ---


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_whatever_strikes_in_an_epoch_leaves_the_last_whole_one(
    error: type[BaseException], n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second Ctrl-C acts at once, and so do the handlers of other signals."""
    monkeypatch.setattr(numba_sgd, "_MIN_RATINGS_PER_CELL", 20)
    train = random_ratings()
    solver = get_backend("numba-sgd", n_jobs=n_jobs)
    state = solver.prepare(
        train, initial_model(solver.objective, train, 0, dtype="float32"), seed=0
    )
    solver.step(state, 2)
    whole = solver.parameters(state).arrays()
    inner = do_tasks

    def struck(max_tasks: int, *arguments: Any) -> int:
        inner(2 * n_jobs + 2, *arguments)  # more than the copies
        raise error

    monkeypatch.setattr(numba_sgd, "do_tasks", struck)
    with pytest.raises(error):
        solver.step(state, 1)
    assert state.epochs == 2
    for name, values in solver.parameters(state).arrays().items():
        np.testing.assert_array_equal(values, whole[name])


def test_sgd_returns_to_python_often_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    train, checks = random_ratings(), []
    monkeypatch.setattr(numba_sgd, "WORK_PER_CALL", 1000)
    monkeypatch.setattr(numba_sgd, "checkpoint", lambda: checks.append(1))
    get_backend("numba-sgd", n_jobs=1).fit(train, epochs=3)
    assert len(checks) >= 3 * 600 * (16 + 16) / 1000


@pytest.mark.parametrize(
    ("dtype", "budget"),
    [("float32", 1e4), ("float64", 1e4), ("float32", 1e9)],
)
def test_no_call_of_a_kernel_does_more_than_its_share(
    dtype: str, budget: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A multiply-add and a copied byte count the same; there may be more users than ratings."""
    monkeypatch.setattr(numba_sgd, "WORK_PER_CALL", budget)
    n = np.arange(600)
    train = Ratings(n % 30, n % 20, n % 5, n_users=4000, n_items=20)
    solver = get_backend("numba-sgd", n_jobs=1, dtype=dtype)
    state = solver.prepare(train, initial_model(solver.objective, train, 0, dtype=dtype), seed=0)
    inner, calls = do_tasks, []

    def watched(max_tasks: int, *arguments: Any) -> int:
        n_copies, n_rounds = arguments[3:5]
        calls.append((max_tasks, n_copies, n_rounds))
        return inner(max_tasks, *arguments)

    monkeypatch.setattr(numba_sgd, "do_tasks", watched)
    solver.step(state, 1)
    max_tasks, n_copies, n_rounds = calls[0]
    copied, passed = sum(table.nbytes for table in state.done), 600 * (16 + 16)
    assert max(copied / n_copies, passed / n_rounds) * max_tasks <= budget
    assert len(calls) == (n_copies + n_rounds + 1 if budget < 1e9 else 1)


# ---- tables ---


def test_padded_ranks() -> None:
    float32, float64 = np.dtype("float32"), np.dtype("float64")
    assert [padded_rank(rank, float32) for rank in (1, 16, 17, 64, 65, 100, 128, 512)] == [
        *(16, 16, 32, 64, 96, 128, 128, 512)
    ]
    assert padded_rank(9, float64) == 16
    sizes = {padded_rank(rank, float32) for rank in range(1, 513)}
    assert len(sizes) <= 12  # each is compiled separately
    for rank in range(1, 513):
        assert rank <= padded_rank(rank, float32) <= max(16, 1.5 * rank + 16)


def test_tables_start_at_a_cache_line() -> None:
    tables = [aligned_zeros(3, 16, np.dtype("float32")) for _ in range(20)]
    assert all(table.ctypes.data % 64 == 0 for table in tables)
    np.testing.assert_array_equal(padded_table(np.ones((2, 3)))[:, 3:], 0)


# ---- size ---


def sparse_file(folder: Path, name: str, dtype: Any, at: int = 0, values: Any = ()) -> np.ndarray:
    """An array of over 2^31 entries in a file full of holes.

    It has ``values`` from place ``at`` on, and zeros elsewhere.
    """
    array = np.memmap(folder / name, dtype=dtype, mode="w+", shape=(BEYOND + 64,))
    for k, value in enumerate(values):
        array[at + k] = value
    return array


def records(weighted: bool, *ratings: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Ratings that end in a weight, which only ``weighted`` ones keep."""
    return [rating if weighted else rating[:-1] for rating in ratings]


@numba.njit
def one_pass(*arguments: Any) -> float:
    return block_pass(*arguments)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="sparse files differ there")
def test_sgd_addresses_ratings_beyond_32_bits(weighted: bool, tmp_path: Path) -> None:
    at = BEYOND + 10
    # Runs of two: four taken at a time, four of which two share an item, and one left over.
    ratings = np.zeros(9 + LOOK_AHEAD, ratings_dtype("float64", weighted=weighted))
    ratings["opposite"][:9] = [1, 0, 2, 1, 3, 1, 0, 2, 3]
    ratings["target"][:9] = [1.0, -2.0, 0.5, 3.0, 1.5, -1.0, 0.1, 0.2, 2.0]
    if weighted:
        ratings["weight"][:9] = np.arange(1, 10) / 5
    ends = np.array([2, 4, 6, 9])
    far = sparse_file(tmp_path, "ratings", ratings.dtype, at, ratings)
    results = []
    for first, part in ((0, ratings), (at, far)):
        sides = []
        for _ in range(2):
            factors, columns = padded_table(np.full((4, 3), 0.3)), np.full((4, 4), 1.0)
            columns[:, 3] = np.einsum("nk,nk->n", factors, factors)
            sides.append((factors, columns, np.full((4, 2), 0.1)))
        starts, held = tuple(first + 2 * k for k in range(4)), np.arange(4)
        where = 0, 2, 1, starts, held, ends + first, part
        one_pass(*where, *sides, vector_parts(sides[0][0]), (0.1, 0.1, 1 / 16, 10.0, 1.0))
        results.append([table for side in sides for table in side])
    for near, there in zip(*results, strict=True):
        np.testing.assert_array_equal(near, there)
    assert (np.abs(results[0][0][:, :3] - 0.3) > 1e-6).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="sparse files differ there")
def test_gd_addresses_ratings_beyond_32_bits(weighted: bool, tmp_path: Path) -> None:
    at, dtype = BEYOND + 10, ratings_dtype("float64", weighted=weighted)
    values = np.array(records(weighted, (1, 1.0, 2.0), (0, -2.0, 0.5), (1, 0.5, 3.0)), dtype)
    ratings = sparse_file(tmp_path, "ratings", dtype, at, values)
    ends = np.array([at, at + 2, at + 3])
    factors, bias = padded_table(np.full((3, 3), 0.3)), np.zeros(3)
    sums, bias_sums = np.zeros_like(factors), np.zeros(3)
    squared_error = sweep(
        *(1, 3, np.zeros_like(factors), np.zeros(3), ends, ratings, factors, factors, bias, bias),
        *(sums, bias_sums, vector_parts(factors), 0.0),
    )
    errors = 0.27 - np.array([1.0, -2.0, 0.5])
    pulls = errors * [2.0, 0.5, 3.0] if weighted else errors
    assert squared_error == pytest.approx(errors @ pulls)
    np.testing.assert_allclose(bias_sums, [0, pulls[0] + pulls[1], pulls[2]])
    np.testing.assert_allclose(sums[:, :3], 0.3 * bias_sums[:, None] * np.ones(3))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="sparse files differ there")
def test_sorting_addresses_ratings_beyond_32_bits(weighted: bool, tmp_path: Path) -> None:
    at = BEYOND + 10
    keys = sparse_file(tmp_path, "keys", "i4", at, [1, 0, 1])
    others = sparse_file(tmp_path, "others", "i4", at, [0, 1, 1])
    ratings = sparse_file(tmp_path, "ratings", "f8", at, [3.5, 2.0, 3.25])
    weights = np.empty(0)
    if weighted:
        weights = sparse_file(tmp_path, "weights", "f8", at, [2.0, 0.5, 1.0])
    keyed, plain = (dtype("float64", weighted=weighted) for dtype in (keyed_dtype, ratings_dtype))
    rough = sparse_file(tmp_path, "by bucket", keyed)
    result, turned = (sparse_file(tmp_path, name, plain) for name in ("by row", "turned"))

    def there(array: np.ndarray) -> list[Any]:
        return array[at : at + 3].tolist()

    bucket, places, block = np.zeros(2, np.uint16), np.array([at]), np.array([0, 1], np.uint16)
    arrays = keys, others, ratings, weights, bucket, places
    scatter(at, at + 3, *arrays, 3.0, 1.0, 1.0, rough)
    sorted_in = [(1, 0, 0.5, 2.0), (0, 1, -1.0, 0.5), (1, 1, 0.25, 1.0)]
    assert there(rough) == records(weighted, *sorted_in)
    assert places[0] == at + 3
    counts = np.zeros((2, 2), np.int64)
    count_pairs(at, at + 3, rough, block, counts)
    assert counts.tolist() == [[0, 1], [1, 1]]
    counts[:] = [[at, at], [at + 1, at + 2]]
    place(at, at + 3, rough, block, counts, result)
    assert there(result) == records(weighted, (0, 0.5, 2.0), (1, -1.0, 0.5), (1, 0.25, 1.0))
    assert counts.tolist() == [[at, at + 1], [at + 2, at + 3]]
    places = np.array([at, at + 1])
    transpose(1, 3, np.array([at, at + 1, at + 3]), result, places, turned)
    assert there(turned) == records(weighted, (1, 0.5, 2.0), (2, -1.0, 0.5), (2, 0.25, 1.0))


def test_counts_go_beyond_32_bits() -> None:
    """One rating, seen more than 2^31 times through an array without strides."""
    same = np.lib.stride_tricks.as_strided(np.zeros(1, np.int32), (BEYOND + 7,), (0,))
    counts = np.zeros(2, np.int64)
    count(same, 0, len(same), counts)
    assert counts.tolist() == [BEYOND + 7, 0]


@pytest.mark.parametrize(
    ("name", "two_sweeps", "weighted", "most"),
    [
        ("numba-als", False, False, 24),
        ("numba-gd", False, False, 24),
        ("numba-gd", True, False, 24),
        ("numba-sgd", False, False, 24),
        ("numba-als", False, True, 32),
        ("numba-gd", False, True, 32),
        ("numba-gd", True, True, 32),
        ("numba-sgd", False, True, 32),
    ],
)
def test_memory_per_rating_is_bounded(
    name: str,
    two_sweeps: bool,
    weighted: bool,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In bytes: the ratings as they are stored, and a second copy while they are sorted."""
    if two_sweeps:
        monkeypatch.setattr(numba_gd, "_PRIVATE_BYTES", 0)
    n, rows = 400_000, 700
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(rows**2)[:n], rows)
    weights = rng.lognormal(0, 0.5, n) if weighted else None
    train = Ratings.from_arrays(users, items, rng.normal(size=n).astype("float32"), weights=weights)
    solver = get_backend(name, rank=4, n_jobs=2)
    solver.fit(train, epochs=1)  # compiled
    with solver.threads():
        start = initial_model(Objective(4), train, 0).astype("float32")
        tracemalloc.start()
        try:
            state = solver.prepare(train, start, seed=0)
            solver.step(state, 1)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (12 if weighted else 8) < peak / n < most
