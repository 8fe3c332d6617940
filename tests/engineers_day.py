"""An engineer's day: fit, save, serve, new users, new ratings, lists for all, reload.

``python tests/engineers_day.py`` tells the seconds of each step, on MovieLens Latest Small where
RATINGS_DATA has it, and on a small twin elsewhere. What it asserts is also a test; nothing depends
on how long a step takes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from backends import Factorizer, FactorModel, Ratings, get_backend
from bench.datasets import DatasetError, anime_twin, load_dataset

N_THREADS, N_ASKED = 8, 40


def data() -> tuple[str, Ratings]:
    """Return the name of the ratings, and these."""
    try:
        name, raw = "ml-latest-small", load_dataset("ml-latest-small", split="random").raw
    except DatasetError:
        name, raw = "anime twin x0.02", anime_twin(scale=0.02)
    return name, Ratings.from_arrays(raw.users, raw.items, raw.ratings)


class Clock:
    """Notes how long each step took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin


def part_of(ratings: Ratings, chosen: np.ndarray) -> Ratings:
    """Return some ratings with rows of their own, as they would come from elsewhere."""
    part = ratings.take(chosen)
    assert part.encoder is not None
    ids = part.encoder.user_ids(part.users), part.encoder.item_ids(part.items)
    return Ratings.from_arrays(*ids, part.ratings)


def serve(solver: Factorizer, train: Ratings, wrong: list[str]) -> int:
    """Ask from several threads while the solver is fitted again; return how often."""
    assert train.encoder is not None
    users, items = train.encoder.users, train.encoder.items
    asked: list[int] = []

    def ask(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(N_ASKED):
            user = users[rng.integers(len(users))]
            rating = solver.predict(user, items[rng.integers(len(items))])
            listed = solver.recommend(user, 10)
            if not (np.isfinite(rating).all() and len(listed) == 10):
                wrong.append(f"{rating} {listed}")
            asked.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(N_THREADS)]
    for thread in threads:
        thread.start()
    solver.fit(train, validation=0.1)
    for thread in threads:
        thread.join()
    return len(asked)


def day(backend: str = "numpy-als", folder: Path | None = None) -> Clock:
    """Go through the day; raise AssertionError if something is not as it should be."""
    if folder is None:
        with tempfile.TemporaryDirectory() as made:
            return day(backend, Path(made))
    clock, (name, everything) = Clock(), data()
    is_new_user = everything.users % 50 == 49
    is_today = np.random.default_rng(0).random(len(everything)) < 0.01
    train = part_of(everything, ~is_new_user & ~is_today)
    with clock.step("fit, with validation ratings"):
        solver = get_backend(backend, rank=16).fit(train, validation=0.1)
    first = solver.model_
    with clock.step("save"):
        first.save(folder / "model.npz")
    with clock.step("load"):
        loaded = FactorModel.load(folder / "model.npz")
    assert (loaded.recommend(n=5).rows == first.recommend(n=5).rows).all()
    wrong: list[str] = []
    with clock.step(f"{N_THREADS * N_ASKED} predictions and lists, 8 threads, during a fit"):
        assert serve(solver, train, wrong) == N_THREADS * N_ASKED
    assert not wrong, wrong[:3]
    new = part_of(everything, is_new_user & ~is_today)
    with clock.step("fold in new users, one at a time, and their lists"):
        assert new.encoder is not None
        for row in range(new.n_users):
            visitor = part_of(new, new.users == row)
            alone = loaded.fold_in(visitor, unknown="drop", alone=True)
            assert len(alone.recommend(visitor.encoder.users[0], 10)) == 10
    with clock.step("fold in new users, at once"):
        grown = loaded.fold_in(new, unknown="drop")
    assert grown.n_users == loaded.n_users + new.n_users
    today = part_of(everything, is_today)
    with clock.step("partial_fit to a hundredth of the ratings"):
        solver.partial_fit(today)
    assert today.encoder is not None
    ids = today.encoder.user_ids(today.users), today.encoder.item_ids(today.items)
    before = np.mean((first.predict(*ids, unknown="mean") - today.ratings) ** 2)
    after = np.mean((solver.predict(*ids) - today.ratings) ** 2)
    assert after < before
    with clock.step("lists for all, to Parquet"):
        n_lines = solver.model_.write_lists(folder / "lists.parquet", n=10)
    assert len(pq.read_table(folder / "lists.parquet")) == n_lines
    solver.model_.save(folder / "model.npz")
    code = "import sys, backends; backends.FactorModel.load(sys.argv[1], mmap=True)"
    with clock.step("load in a new process, with starting Python"):
        subprocess.run(
            [sys.executable, "-c", code, str(folder / "model.npz")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    print(f"{name}, {backend}: {len(everything):,} ratings")
    return clock


if __name__ == "__main__":
    for backend in sys.argv[1:] or ["numpy-als", "numba-sgd"]:
        for step, seconds in day(backend).seconds.items():
            print(f"{seconds:9.3f} s  {step}")
