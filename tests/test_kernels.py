"""The jitted kernels: SGD against its rule in plain NumPy, sorting, addresses beyond 2^31, memory."""

import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import random_ratings, relative_differences

from backends import Objective, Ratings, get_backend, initial_model

numba = pytest.importorskip("numba")

from backends import _grouping, numba_gd, numba_sgd  # noqa: E402  # they need numba
from backends._grouping import blocked, counted, transposed  # noqa: E402
from backends._threads import Threads  # noqa: E402
from backends.kernels import gradient, sgd  # noqa: E402
from backends.kernels.epoch import do_tasks  # noqa: E402
from backends.kernels.gradient import sweep  # noqa: E402
from backends.kernels.grouping import count, count_pairs, place, scatter, transpose  # noqa: E402
from backends.kernels.ratings import LOOK_AHEAD, keyed_dtype, ratings_dtype  # noqa: E402
from backends.kernels.sgd import block_pass  # noqa: E402
from backends.kernels.tables import aligned_zeros, padded_rank, padded_table, vector_parts  # noqa: E402

BEYOND = 2**31  # more ratings than a 32-bit offset can address


# ---- the algorithm ---


def users_of(state: Any) -> np.ndarray:
    """The user of each rating."""
    users = np.empty(len(state.blocks.ratings), np.int64)
    for starts, (first, last) in zip(state.blocks.starts, pairwise(state.user_bounds), strict=True):
        for (start, end), ends in zip(pairwise(starts), state.blocks.ends, strict=True):
            users[start:end] = np.repeat(np.arange(first, last), np.diff(ends[first:last], prepend=start))
    return users


def sgd_by_hand(solver: Any, state: Any, n_epochs: int, n_rounds: int) -> tuple[dict[str, Any], float]:
    """What `NumbaSGD` does in some epochs, rating by rating: its parameters by name, and its last squared error."""
    rank, rate, unit = solver.rank, solver.learning_rate, state.unit
    users, items, targets = users_of(state), state.blocks.ratings["other"], state.blocks.ratings["target"]
    counts = [
        np.bincount(rows, minlength=len(table)) for rows, table in zip((users, items), state.done[::2], strict=True)
    ]
    user_pull, item_pull = (solver.reg * solver.objective.weights(count) / np.maximum(count, 1) for count in counts)
    p, p_extra, q, q_extra = (table.copy() for table in state.done)
    order: list[int] = []
    n_blocks = len(state.blocks.starts)
    for part in range(n_rounds):
        for turn in range(n_blocks):
            for a, starts in enumerate(state.blocks.starts):
                first, last = starts[(a + turn) % n_blocks :][:2]
                run = (last - first) // state.group
                for n in range(run * part // n_rounds, run * (part + 1) // n_rounds):
                    order += range(first + n, first + n + run * state.group, run)
                if part == n_rounds - 1:
                    order += range(first + run * state.group, last)
    assert sorted(order) == list(range(len(targets)))
    error_sum = 0.0
    for _ in range(n_epochs):
        error_sum = 0.0
        for n in order:
            u, i = users[n], items[n]
            error = targets[n] - p[u] @ q[i] - p_extra[u, 0] - q_extra[i, 0]
            steps = []
            for row, other, extra, pull in (
                (p[u], q[i], p_extra[u], user_pull[u]),
                (q[i], p[u], q_extra[i], item_pull[i]),
            ):
                rates = rate / np.sqrt(extra[1:3])
                factor_step = (error * other - pull / unit * row) / (1 + rates[0] * pull / unit)
                bias_step = (error - pull * extra[0]) / (1 + rates[1] * pull) * solver.bias
                steps.append((rates, factor_step, bias_step))
            rows = (p[u], p_extra[u]), (q[i], q_extra[i])
            for (row, extra), (rates, factor_step, bias_step) in zip(rows, steps, strict=True):
                row += rates[0] * factor_step
                extra[0] += rates[1] * bias_step
                extra[1] += factor_step @ factor_step / 16
                extra[2] += bias_step**2
            error_sum += error**2
    names = {"user_factors": p[:, :rank], "item_factors": q[:, :rank]}
    names = {name: factors * np.sqrt(unit) for name, factors in names.items()}
    names |= {"user_bias": p_extra[:, 0] * unit, "item_bias": q_extra[:, 0] * unit}
    return names, error_sum * unit**2 / len(targets)


@pytest.mark.parametrize(
    ("rank", "n_jobs", "run", "n_rounds", "scale", "options"),
    [
        (1, 1, 10_000, 1, 1.0, {}),
        (7, 2, 1, 8, 1.0, {"bias": False}),
        (40, 3, 1, 8, 1.0, {"reg_scaling": "per_entity", "reg": 1e-3}),
        (16, 1, 10_000, 1, 50.0, {"reg": 3.0}),  # in another unit
        (512, 2, 10_000, 1, 0.05, {}),
    ],
)
def test_sgd_takes_the_steps_of_its_rule(
    rank: int,
    n_jobs: int,
    run: int,
    n_rounds: int,
    scale: float,
    options: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(numba_sgd, "_BLOCK", 20)
    monkeypatch.setattr(numba_sgd, "_TASK", run)
    plain = random_ratings()
    train = Ratings(plain.users, plain.items, plain.ratings * scale)
    solver = get_backend("numba-sgd", rank=rank, dtype="float64", n_jobs=n_jobs, **options)
    state = solver.prepare(train, initial_model(solver.objective, train, 0))
    assert len(state.blocks.starts) == n_jobs + (n_jobs > 1)
    assert scale == 1 or state.unit != 1
    expected, expected_error = sgd_by_hand(solver, state, 3, n_rounds)
    error = solver.step(state, 3)
    after = solver.parameters(state).arrays()
    assert error == pytest.approx(expected_error, rel=1e-10)
    for name, values in expected.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    ("users", "n_jobs"),
    [
        ([0] * 7, 3),
        ([0, 12], 5),
        ([0, 1, 2], 4),
        ([0] * 200 + [1, 2, 3, 4, 5], 1),
        ([0] * 90 + list(range(1, 40)) + [40] * 70, 2),
        (list(range(60)), 2),
    ],
)
def test_sgd_takes_the_steps_of_its_rule_for_users_of_any_size(
    users: list[int], n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who fills several runs must not be met at two places at a time, and runs may end with tiny users."""
    monkeypatch.setattr(numba_sgd, "_BLOCK", 1)
    rng = np.random.default_rng(0)
    items, n_items = np.concatenate([rng.permutation(n) for n in np.bincount(users)]), max(np.bincount(users))
    if n_items == 1:
        items, n_items = rng.integers(0, 9, len(users)), 9
    train = Ratings(np.array(users), items, rng.normal(size=len(users)), n_items=int(n_items))
    solver = get_backend("numba-sgd", rank=3, dtype="float64", n_jobs=n_jobs)
    state = solver.prepare(train, initial_model(solver.objective, train, 0))
    expected, expected_error = sgd_by_hand(solver, state, 2, 1)
    assert solver.step(state, 2) == pytest.approx(expected_error, rel=1e-10)
    after = solver.parameters(state).arrays()
    for name, values in expected.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


def test_sgd_bears_any_penalty() -> None:
    """Rows of few ratings are pulled hundreds of times as hard as a step of theirs is long."""
    rng = np.random.default_rng(0)
    users = np.concatenate([np.repeat(np.arange(50), 2000), np.arange(50, 250)])
    items = np.concatenate([np.tile(np.arange(2000), 50), rng.integers(0, 2000, 200)])
    train = Ratings(users, items, rng.normal(size=len(users)))
    for bias in (True, False):
        options = {"rank": 4, "reg": 1e-2, "reg_scaling": "per_entity", "bias": bias}
        sgd, als = (get_backend(name, **options).fit(train, epochs=8) for name in ("numba-sgd", "numpy-als"))
        assert sgd.history_[-1].objective < 1.02 * als.history_[-1].objective
    tiny = Ratings(users, items, 1e-3 * rng.normal(size=len(users)))
    assert get_backend("numba-sgd", rank=4).fit(tiny, epochs=8).status_ == "epochs"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("reg_scaling", "reg"), [("per_rating", 1e20), ("per_rating", 1e38), ("per_entity", 1e17), ("per_entity", 1e38)]
)
@pytest.mark.parametrize(("learning_rate", "init_scale"), [(0.15, 0.1), (1e-5, 0.1), (1e-10, 0.1), (0.15, 1e3)])
def test_no_penalty_is_too_strong_in_float32(
    reg_scaling: str, reg: float, bias: bool, learning_rate: float, init_scale: float
) -> None:
    plain = random_ratings()
    for scale in (1e-3, 1.0, 1e3):
        train = Ratings(plain.users, plain.items, plain.ratings * scale)
        options = {"rank": 4, "reg": reg, "reg_scaling": reg_scaling, "bias": bias, "init_scale": init_scale}
        solver = get_backend("numba-sgd", n_jobs=1, learning_rate=learning_rate, **options).fit(train, epochs=3)
        of_the_mean = np.mean(np.square(train.ratings - solver.model_.parameters.mean))
        assert solver.history_[-1].train_mse == pytest.approx(of_the_mean, rel=1e-6)


def test_sgd_needs_no_order_of_the_ratings() -> None:
    """A user's ratings by item are the order that serves it least; it costs little."""
    plain = random_ratings(300, 200, 20_000)
    order = np.lexsort((plain.items, plain.users))
    by_item = Ratings(plain.users[order], plain.items[order], plain.ratings[order])
    one, other = (get_backend("numba-sgd", n_jobs=1).fit(train, epochs=10).history_[-1] for train in (plain, by_item))
    assert other.objective < 1.05 * one.objective


@pytest.mark.parametrize("rank", [1, 40, 512])
def test_two_sweeps_make_the_gradient_of_one(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    train = random_ratings()
    solver = get_backend("numba-gd", rank=rank, dtype="float64", n_jobs=2)
    one = solver.fit(train, epochs=5, evaluate=False).model_.parameters
    monkeypatch.setattr(numba_gd, "_PRIVATE_BYTES", 0)
    two = solver.fit(train, epochs=5, evaluate=False).model_.parameters
    assert max(relative_differences(one, two).values()) < 1e-12
    numpys = get_backend("numpy", rank=rank, dtype="float64").fit(train, epochs=5, evaluate=False).model_.parameters
    assert max(relative_differences(one, numpys).values()) < 1e-10


def test_returning_to_python_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels return now and then so that a Ctrl-C is heard; here after every few ratings."""
    train, checks = random_ratings(), []
    solver = get_backend("numba-gd", n_jobs=2)
    whole = solver.fit(train, epochs=3, evaluate=False).model_.parameters
    monkeypatch.setattr(numba_gd, "WORK_PER_CALL", 1000)
    monkeypatch.setattr(numba_gd, "checkpoint", lambda: checks.append(1))
    pieces = solver.fit(train, epochs=3, evaluate=False).model_.parameters
    assert len(checks) >= 3 * 600 * (16 + 16) / 2 / 1000
    assert max(relative_differences(whole, pieces).values()) < 1e-6


@pytest.mark.parametrize("error", [KeyboardInterrupt, TimeoutError])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_whatever_strikes_in_an_epoch_leaves_the_last_whole_one(
    error: type[BaseException], n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second Ctrl-C acts at once, and so do the handlers of other signals."""
    monkeypatch.setattr(numba_sgd, "_BLOCK", 20)
    train = random_ratings()
    solver = get_backend("numba-sgd", n_jobs=n_jobs)
    state = solver.prepare(train, initial_model(solver.objective, train, 0, dtype="float32"))
    solver.step(state, 2)
    whole = solver.parameters(state).arrays()
    inner = do_tasks

    def struck(most: int, *arguments: Any) -> int:
        inner(n_jobs + 2, *arguments)  # more than the copies
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
    get_backend("numba-sgd", n_jobs=1).fit(train, epochs=3, evaluate=False)
    assert len(checks) >= 3 * 600 * (16 + 16) / 1000


# ---- sorting ---


@pytest.mark.parametrize("n_parts", [1, 2, 3, 50])
@pytest.mark.parametrize("n_blocks", [(1, 1), (2, 3)])
def test_blocking_is_a_stable_sort(n_parts: int, n_blocks: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    keys, others = rng.integers(0, 7, 40, np.int32), rng.integers(0, 99, 40, np.int32)
    ratings = rng.normal(size=40).astype(np.float32)
    threads = Threads(n_parts)
    sides = counted(threads, (keys, 9), (others, 99))
    np.testing.assert_array_equal(sides[0].counts, np.bincount(keys, minlength=9))
    # The last block of keys holds no rating, and the last of others not even a row.
    bounds = {(1, 1): None, (2, 3): (np.array([0, 8, 9]), np.array([0, 30, 99, 99]))}[n_blocks]
    got = blocked(threads, *sides, ratings, "float64", 0.5, 4.0, bounds=bounds)
    blocks = keys * 0, others * 0
    if bounds:
        blocks = keys // 8, (others >= 30).astype(int)
    order = np.lexsort((keys, blocks[1], blocks[0]))
    np.testing.assert_array_equal(got.ratings["other"], others[order])
    np.testing.assert_array_equal(got.ratings["target"], (ratings[order].astype(np.float64) - 0.5) / 4)
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


@pytest.mark.parametrize("n_parts", [1, 2, 50])
@pytest.mark.parametrize("per_call", [10, 1000])
def test_transposing_is_a_stable_sort(n_parts: int, per_call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_grouping, "RATINGS_PER_CALL", per_call)
    train, threads = random_ratings(), Threads(n_parts)
    users, items = counted(threads, (train.users, train.n_users), (train.items, train.n_items))
    got = transposed(threads, blocked(threads, users, items, train.ratings, "float32", 0.0), train.n_items)
    order = np.lexsort((train.users, train.items))
    np.testing.assert_array_equal(got.ratings["other"], train.users[order])
    np.testing.assert_array_equal(got.ratings["target"], train.ratings[order].astype("float32"))
    np.testing.assert_array_equal(got.ends, [np.cumsum(items.counts)])
    np.testing.assert_array_equal(got.starts, [[0, len(train)]])
    assert len(got.ratings.base) == len(train) + LOOK_AHEAD


def test_kernels_may_read_behind_the_last_rating() -> None:
    threads, rows = Threads(1), np.zeros(3, np.int32)
    (side,) = counted(threads, (rows, 1))
    whole = blocked(threads, side, side, np.ones(3, np.float32), "float32", 0.0).ratings.base
    assert len(whole) == 3 + LOOK_AHEAD
    assert not whole[3:]["other"].any()
    assert max(gradient._AHEAD, sgd._AHEAD) <= LOOK_AHEAD


@pytest.mark.parametrize(("n_jobs", "rank", "group"), [(1, 2, 4), (2, 32, 4), (2, 64, 2), (5, 2, 4)])
def test_blocks_hold_each_rating_once_and_share_no_rows(
    n_jobs: int, rank: int, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba_sgd, "_BLOCK", 20)
    train = random_ratings()
    solver = get_backend("numba-sgd", rank=rank, dtype="float64", n_jobs=n_jobs)
    state = solver.prepare(train, initial_model(solver.objective, train, 0))
    assert state.group == group
    users, items, blocks = users_of(state), state.blocks.ratings["other"], state.blocks
    targets = train.ratings.astype(np.float64) - state.mean
    assert sorted(zip(users, items, blocks.ratings["target"] * state.unit, strict=True)) == sorted(
        zip(train.users, train.items, targets, strict=True)
    )
    n_blocks = n_jobs + (n_jobs > 1)
    assert blocks.starts.shape == (n_blocks, n_blocks + 1)
    owners: dict[str, dict[int, int]] = {"user": {}, "item": {}}  # block of each row
    for a, starts in enumerate(blocks.starts):
        for b, (first, last) in enumerate(pairwise(starts)):
            assert {owners["user"].setdefault(u, a) for u in users[first:last]} <= {a}
            assert {owners["item"].setdefault(i, b) for i in items[first:last]} <= {b}
            assert (np.diff(users[first:last]) >= 0).all()


def test_sorting_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels return to Python now and then while they sort, too; here after every few ratings."""
    train = random_ratings()
    solver = get_backend("numba-sgd", n_jobs=1)
    start = initial_model(solver.objective, train, 0, dtype="float32")
    whole = solver.prepare(train, start).blocks
    sizes: list[int] = []
    cut, run = Threads.cut, Threads.run

    def counting(self: Threads, function: Any, arguments: Any) -> Any:
        sizes.extend(one[1] - one[0] if isinstance(one[0], int) else one[2] - one[1] for one in arguments)
        return run(self, function, arguments)

    monkeypatch.setattr(_grouping, "RATINGS_PER_CALL", 50)
    monkeypatch.setattr(Threads, "cut", lambda self, n: cut(self, n, 50))
    monkeypatch.setattr(Threads, "run", counting)
    pieces = solver.prepare(train, start).blocks
    assert sum(sizes) == 5 * 600  # counted by user and by item, put into buckets, counted in pairs, placed
    assert max(sizes) < 2 * 50
    for name in ("starts", "ends", "ratings"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))


def test_padded_ranks() -> None:
    float32, float64 = np.dtype("float32"), np.dtype("float64")
    assert [padded_rank(rank, float32) for rank in (1, 16, 17, 64, 65, 100, 128, 512)] == [
        *(16, 16, 32, 64, 96, 128, 128, 512)
    ]
    assert padded_rank(9, float64) == 16
    sizes = {padded_rank(rank, float32) for rank in range(1, 513)}
    assert len(sizes) <= 12  # each is compiled apart
    assert all(rank <= padded_rank(rank, float32) <= max(16, 1.5 * rank + 16) for rank in range(1, 513))


def test_tables_start_at_a_cache_line() -> None:
    tables = [aligned_zeros(3, 16, np.dtype("float32")) for _ in range(20)]
    assert all(table.ctypes.data % 64 == 0 for table in tables)
    np.testing.assert_array_equal(padded_table(np.ones((2, 3)))[:, 3:], 0)


@pytest.mark.parametrize(("dtype", "budget"), [("float32", 1e4), ("float64", 1e4), ("float32", 1e9)])
def test_no_call_of_a_kernel_does_more_than_its_share(
    dtype: str, budget: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A multiply-add, and a byte that is copied, count as much; of users there may be more than ratings."""
    monkeypatch.setattr(numba_sgd, "WORK_PER_CALL", budget)
    train = Ratings(np.arange(600) % 30, np.arange(600) % 20, np.arange(600) % 5, n_users=4000, n_items=20)
    solver = get_backend("numba-sgd", n_jobs=1, dtype=dtype)
    state = solver.prepare(train, initial_model(solver.objective, train, 0, dtype=dtype))
    inner, calls = do_tasks, []

    def watched(most: int, hand: Any, counters: Any, n_looks: int, n_copies: int, n_calls: int, *rest: Any) -> int:
        calls.append((most, n_copies, n_calls))
        return inner(most, hand, counters, n_looks, n_copies, n_calls, *rest)

    monkeypatch.setattr(numba_sgd, "do_tasks", watched)
    solver.step(state, 1)
    most, n_copies, n_calls = calls[0]
    copied, passed = sum(table.nbytes for table in state.done), 600 * (16 + 16)
    assert max(copied / n_copies, passed / n_calls) * most <= budget
    assert len(calls) == (n_copies + n_calls + 1 if budget < 1e9 else 1)


# ---- size ---


def sparse_file(folder: Path, name: str, dtype: Any, at: int = 0, values: Any = ()) -> np.ndarray:
    """An array of over 2^31 entries in a file full of holes, with ``values`` from place ``at`` on, zeros elsewhere."""
    array = np.memmap(folder / name, dtype=dtype, mode="w+", shape=(BEYOND + 64,))
    for k, value in enumerate(values):
        array[at + k] = value
    return array


@numba.njit
def one_pass(*arguments: Any) -> float:
    return block_pass(*arguments)


@pytest.mark.skipif(sys.platform == "win32", reason="sparse files differ there")
def test_sgd_addresses_ratings_beyond_32_bits(tmp_path: Path) -> None:
    at = BEYOND + 10
    # Runs of two: four that are taken at a time, four of which two share an item, and one that is left over.
    ratings = np.zeros(9 + LOOK_AHEAD, ratings_dtype("float64"))
    ratings["other"][:9] = [1, 0, 2, 1, 3, 1, 0, 2, 3]
    ratings["target"][:9] = [1.0, -2.0, 0.5, 3.0, 1.5, -1.0, 0.1, 0.2, 2.0]
    ends = np.array([2, 4, 6, 9])
    far = sparse_file(tmp_path, "ratings", ratings.dtype, at, ratings)
    results = []
    for first, some in ((0, ratings), (at, far)):
        sides = []
        for _ in range(2):
            factors, columns = padded_table(np.full((4, 3), 0.3)), np.full((4, 4), 1.0)
            columns[:, 3] = np.einsum("nk,nk->n", factors, factors)
            sides.append((factors, columns, np.full(4, 0.1)))
        starts, held, rule = tuple(first + 2 * k for k in range(4)), np.arange(4), (0.1, 0.1, 1 / 16, 1.0, 1.0)
        one_pass(0, 2, 1, starts, held, ends + first, some, *sides, vector_parts(sides[0][0]), rule)
        results.append([table for side in sides for table in side])
    for near, there in zip(*results, strict=True):
        np.testing.assert_array_equal(near, there)
    assert (np.abs(results[0][0][:, :3] - 0.3) > 1e-6).all()


@pytest.mark.skipif(sys.platform == "win32", reason="sparse files differ there")
def test_gd_addresses_ratings_beyond_32_bits(tmp_path: Path) -> None:
    at = BEYOND + 10
    values = np.array([(1, 1.0), (0, -2.0), (1, 0.5)], ratings_dtype("float64"))
    ratings, ends = sparse_file(tmp_path, "ratings", values.dtype, at, values), np.array([at, at + 2, at + 3])
    factors, bias = padded_table(np.full((3, 3), 0.3)), np.zeros(3)
    sums, bias_sums = np.zeros_like(factors), np.zeros(3)
    squared_error = sweep(
        *(1, 3, np.zeros_like(factors), np.zeros(3), ends, ratings, factors, factors, bias, bias),
        *(sums, bias_sums, vector_parts(factors), 0.0),
    )
    errors = 0.27 - np.array([1.0, -2.0, 0.5])
    assert squared_error == pytest.approx(errors @ errors)
    np.testing.assert_allclose(bias_sums, [0, errors[0] + errors[1], errors[2]])
    np.testing.assert_allclose(sums[:, :3], 0.3 * bias_sums[:, None] * np.ones(3))


@pytest.mark.skipif(sys.platform == "win32", reason="sparse files differ there")
def test_sorting_addresses_ratings_beyond_32_bits(tmp_path: Path) -> None:
    at = BEYOND + 10
    keys, others = (sparse_file(tmp_path, f"{k}", "i4", at, ids) for k, ids in enumerate(([1, 0, 1], [0, 1, 1])))
    ratings = sparse_file(tmp_path, "2", "f8", at, [1.0, -2.0, 0.5])
    rough, result = (
        sparse_file(tmp_path, dtype.names[0], dtype) for dtype in (keyed_dtype("float64"), ratings_dtype("float64"))
    )
    places, block = np.array([at]), np.array([0, 1], np.uint16)
    scatter(at, at + 3, keys, others, ratings, np.zeros(2, np.uint16), places, 0.0, 2.0, rough)
    assert rough[at : at + 3].tolist() == [(1, 0, 0.5), (0, 1, -1.0), (1, 1, 0.25)]
    assert places[0] == at + 3
    counts = np.zeros((2, 2), np.int64)
    count_pairs(at, at + 3, rough, block, counts)
    assert counts.tolist() == [[0, 1], [1, 1]]
    counts[:] = [[at, at], [at + 1, at + 2]]
    place(at, at + 3, rough, block, counts, result)
    assert result[at : at + 3].tolist() == [(0, 0.5), (1, -1.0), (1, 0.25)]
    assert counts.tolist() == [[at, at + 1], [at + 2, at + 3]]
    places, other = np.array([at, at + 1]), sparse_file(tmp_path, "other way round", result.dtype)
    transpose(1, 3, np.array([at, at + 1, at + 3]), result, places, other)
    assert other[at : at + 3].tolist() == [(1, 0.5), (2, -1.0), (2, 0.25)]


def test_counts_go_beyond_32_bits() -> None:
    """One rating, seen more than 2^31 times through an array without strides."""
    same = np.lib.stride_tricks.as_strided(np.zeros(1, np.int32), (BEYOND + 7,), (0,))
    counts = np.zeros(2, np.int64)
    count(same, 0, len(same), counts)
    assert counts.tolist() == [BEYOND + 7, 0]


@pytest.mark.parametrize(("name", "two_sweeps"), [("numba-gd", False), ("numba-gd", True), ("numba-sgd", False)])
def test_memory_is_at_most_24_bytes_per_rating(name: str, two_sweeps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if two_sweeps:
        monkeypatch.setattr(numba_gd, "_PRIVATE_BYTES", 0)
    n, rows = 400_000, 700
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(rows**2)[:n], rows)
    train = Ratings.from_arrays(users, items, rng.normal(size=n).astype("float32"))
    solver = get_backend(name, rank=4, n_jobs=2)
    solver.fit(train, epochs=1, evaluate=False)  # compiled
    with solver.threads():
        start = initial_model(Objective(4), train, 0).astype("float32")
        tracemalloc.start()
        try:
            state = solver.prepare(train, start)
            solver.step(state, 1)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert 8 < peak / n < 24
