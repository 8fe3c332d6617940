"""Tasks that threads share: who takes which has no effect, and no thread is left behind."""

import gc
import signal
import threading
import time
from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers import random_ratings

from backends import Ratings, get_backend, initial_model

numba = pytest.importorskip("numba")

from backends import numba_sgd  # noqa: E402
from backends._engine import tasks  # noqa: E402
from backends._engine.tasks import share_tasks  # noqa: E402
from backends._engine.threads import Threads  # noqa: E402
from backends.kernels.epoch import CANCELLED, DONE, MORE, NO_TASK, WAITING  # noqa: E402
from backends.kernels.layout import new_counters  # noqa: E402
from backends.kernels.llvm.counters import increment, load_counter, wait_for  # noqa: E402
from backends.kernels.llvm.vectors import align_stack  # noqa: E402


def prepared(n_jobs: int, **options: Any) -> tuple[Any, Any]:
    train = random_ratings()
    solver = get_backend("numba-sgd", n_jobs=n_jobs, **options)
    return solver, solver.prepare(
        train, initial_model(solver.objective, train, 0, dtype="float32"), seed=0
    )


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tasks, though there are few ratings."""
    monkeypatch.setattr(numba_sgd, "_MIN_RATINGS_PER_CELL", 5)
    monkeypatch.setattr(numba_sgd, "_MIN_RATINGS_PER_TASK", 1)


@pytest.mark.usefixtures("small_blocks")
def test_the_result_does_not_depend_on_who_takes_the_tasks() -> None:
    """Also for more threads than cores, blocks or tasks; idle threads then sleep briefly."""
    results = []
    for n_threads in [1, *[2, 3, 7] * 15]:
        solver, state = prepared(5, n_blocks=6)
        assert len(state.blocks.starts) == 6
        state.threads = Threads(n_threads)
        error = solver.step(state, 4)
        results.append((error, *(table.tobytes() for table in state.done)))
    assert all(result == results[0] for result in results)


@cache
def large(shape: tuple[int, int], weighted: bool) -> Ratings:
    """Enough ratings for four blocks."""
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(shape[0] * shape[1])[:80_000], shape[1])
    weights = rng.lognormal(0, 0.5, len(users)) if weighted else None
    return Ratings(users, items, rng.normal(size=len(users)), weights=weights)


@pytest.mark.parametrize("n_blocks", [1, 3, 8])
@pytest.mark.parametrize("shape", [(500, 400), (400, 500)])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fit_is_the_same_to_the_bit_for_any_number_of_threads(
    dtype: str, weighted: bool, shape: tuple[int, int], n_blocks: int
) -> None:
    """Also for more threads than blocks: there are at most four blocks."""
    train, results, losses = large(shape, weighted), [], []
    for n_jobs in (1, 2, 3, 7):
        solver = get_backend("numba-sgd", rank=4, dtype=dtype, n_jobs=n_jobs, n_blocks=n_blocks)
        model = solver.fit(train, epochs=3, seed=1).model_
        results.append([array.tobytes() for array in model.parameters.arrays().values()])
        with solver.threads():
            state = solver.prepare(
                train, initial_model(solver.objective, train, 1, dtype=dtype), seed=0
            )
            assert len(state.blocks.starts) == min(n_blocks, 4)
            losses.append(solver.step(state, 2))
    assert all(result == results[0] for result in results)
    assert len(set(losses)) == 1


@pytest.mark.usefixtures("small_blocks")
def test_the_result_does_not_depend_on_how_often_kernels_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solver, state = prepared(2, n_blocks=3)
    solver.step(state, 3)
    whole, inner, results = state.done, numba_sgd.do_tasks, []

    def one_task(max_tasks: int, *arguments: Any) -> int:
        assert max_tasks > 100
        results.append(inner(1, *arguments))
        return results[-1]

    monkeypatch.setattr(numba_sgd, "do_tasks", one_task)
    solver, state = prepared(2, n_blocks=3)
    solver.step(state, 3)
    # Eight rounds over nine blocks, and four tasks that copy.
    assert results.count(MORE) == 3 * (8 * 9 + 4)
    assert results.count(DONE) == 3 * 2
    for got, expected in zip(state.done, whole, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.fixture(params=["awake", "napping"])
def waiting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait in one of the two ways."""
    monkeypatch.setattr(tasks, "available_cores", lambda: 8 if request.param == "awake" else 1)


@pytest.mark.usefixtures("waiting", "small_blocks")
def test_waiting_threads_are_released_when_tasks_are_called_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread dies during its task, which is then never finished: the others must be cancelled."""
    solver, state = prepared(2)
    inner, taken, waited, shared = numba_sgd.do_tasks, threading.Event(), [], []
    whole = [table.copy() for table in state.done]

    def die(max_tasks: int, claimed_task: Any, counters: Any, *arguments: Any) -> int:
        if threading.current_thread() is threading.main_thread():
            claimed_task[0] = counters[0, 0]
            counters[0, 0] += 1
            shared.append(counters)
            taken.set()
            for _ in range(600_000):
                if WAITING in waited:
                    raise ZeroDivisionError
                time.sleep(1e-4)
            pytest.fail("nobody waits for a task that nobody ends")
        assert taken.wait(60)
        waited.append(inner(max_tasks, claimed_task, counters, *arguments))
        return waited[-1]

    monkeypatch.setattr(numba_sgd, "do_tasks", die)
    with pytest.raises(ZeroDivisionError):
        solver.step(state, 1)
    assert waited[-1] == DONE
    assert (shared[0][1:, 0] == CANCELLED).all()  # a thread that was let go has not done its task
    assert state.epochs == 0
    for got, expected in zip(state.done, whole, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that interrupts")
@pytest.mark.usefixtures("waiting", "small_blocks")
def test_an_interrupt_anywhere_leaves_no_thread_behind() -> None:
    """Wherever in an epoch a second Ctrl-C strikes, repeating the epoch gives the same result."""
    solver, state = prepared(2)
    solver.step(state, 1)
    _, calm = prepared(2)
    solver.step(calm, 2)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    # Hypothesis is called back by the garbage collector, and what is raised there is ignored.
    gc.disable()
    try:
        for trial in range(100):
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 1e-4 + 7e-6 * trial)
                for _ in range(10_000):
                    solver._epoch(state)
    finally:
        gc.enable()
        signal.signal(signal.SIGALRM, previous)
    solver.step(state, 1)
    for got, expected in zip(state.done, calm.done, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("n_cores", "polls"), [(1, 1), (2, 4_000), (3, 4_000)])
def test_threads_stay_awake_only_where_each_has_a_core(
    n_cores: int, polls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(tasks, "available_cores", lambda: n_cores)

    def ask(claimed_task: Any, counters: Any, n_polls: int) -> int:
        asked.append(n_polls)
        return DONE

    share_tasks(Threads(2), 2, ask, lambda: None)
    assert asked == [polls, polls]


def test_naps_grow_while_a_thread_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    answers = [WAITING] * 3 + [MORE] + [WAITING] * 8 + [DONE]
    share_tasks(Threads(1), 2, lambda *claimed_task: answers.pop(0), lambda: None)
    short = [2e-5, 4e-5, 8e-5]
    assert naps == pytest.approx([*short, *short, 16e-5, 32e-5, 64e-5, 1e-3, 1e-3])


def test_no_count_is_lost() -> None:
    counters = new_counters(2)

    @numba.njit(nogil=True)
    def count_often(counters: Any, seen: Any) -> None:
        for _ in range(500_000):
            seen[increment(counters, 1)] += 1

    seen = np.zeros((2, 1_000_000), np.int8)
    Threads(2).run(count_often, [(counters, mine) for mine in seen])
    assert (seen.sum(axis=0) == 1).all()  # no other thread gets the same number
    assert counters[:, 0].tolist() == [0, 1_000_000]


def test_the_stack_of_a_kernel_lies_on_whole_lines() -> None:
    @numba.njit
    def kernel(x: float) -> float:
        align_stack()
        return x + 1

    assert kernel(1.0) == 2
    (code,) = kernel.inspect_llvm().values()
    assert "alignstack(64)" in code or "alignstack=64" in code


def test_polls_are_counted() -> None:
    counters = new_counters(3)
    counters[2, 0] = 5

    @numba.njit
    def ask(counters: Any, target: int, n_polls: int) -> tuple[int, bool]:
        return load_counter(counters, 2), wait_for(counters, 2, target, n_polls)

    assert ask(counters, 5, 1) == (5, True)
    assert ask(counters, 6, 1) == (5, False)
    assert ask(counters, 6, 100) == (5, False)


@pytest.mark.parametrize("who", ["caller", "other"])
def test_a_call_that_raises_is_the_last_of_all_threads(who: str) -> None:
    calls: list[bool] = []

    def do(claimed_task: Any, counters: Any, n_polls: int) -> int:
        assert claimed_task.tolist() == [NO_TASK]
        if counters[0, 0] >= CANCELLED:
            return DONE
        calls.append(threading.current_thread() is threading.main_thread())
        if len(set(calls)) == 2 and calls[-1] == (who == "caller"):
            raise ZeroDivisionError
        time.sleep(1e-3)
        return MORE

    with pytest.raises(ZeroDivisionError):
        share_tasks(Threads(3), 2, do, lambda: None)


def test_an_interrupt_in_a_pause_ends_all_threads() -> None:
    calls: list[int] = []

    def do(claimed_task: Any, counters: Any, n_polls: int) -> int:
        calls.append(1)
        time.sleep(1e-3)
        return DONE if counters[0, 0] >= CANCELLED else MORE

    def pause() -> None:
        if len(calls) >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        share_tasks(Threads(3), 2, do, pause)
