"""A replay: ratings a day at a time, learned by ``partial_fit`` or by a fit each day.

``python tests/replay.py`` does it with MovieLens 100K, in the folder that RATINGS_DATA names. On
each day the ratings of the next day are predicted, those of new users and items too.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise

import numpy as np

from backends import Ratings, get_backend
from bench.datasets import load_dataset

DAY = 86_400
FIRST_SHARE = 0.5


def days() -> list[Ratings]:
    """Return the first half of the ratings by time, and then those of each day."""
    raw = load_dataset("ml-100k", split="random").raw  # all, not the training part of u1
    assert raw.timestamps is not None
    order = np.argsort(raw.timestamps, kind="stable")
    numbers = (raw.timestamps[order] - raw.timestamps.min()) // DAY
    first_day = numbers[int(FIRST_SHARE * len(order))]
    groups = [order[numbers < first_day]]
    groups += [order[numbers == day] for day in range(first_day, numbers.max() + 1)]
    columns = raw.users, raw.items, raw.ratings
    return [
        Ratings.from_arrays(*(column[rows] for column in columns)) for rows in groups if len(rows)
    ]


def replay(backend: str, how: str, of_days: list[Ratings]) -> tuple[float, float]:
    """Return the root mean squared error of all predictions, and the seconds of learning."""
    params = {"rank": 16, "epochs": 20 if "als" not in backend else 10}
    solver = get_backend(backend, **params).fit(of_days[0])
    known, squares, n, seconds = of_days[0], 0.0, 0, 0.0
    for today, tomorrow in pairwise(of_days[1:]):
        begin = time.perf_counter()
        if how == "partial_fit":
            solver.partial_fit(today)
        elif how == "fit each day":
            known = known.extended(today)
            solver.fit(known)
        seconds += time.perf_counter() - begin
        assert tomorrow.encoder is not None
        ids = (
            tomorrow.encoder.user_ids(tomorrow.users),
            tomorrow.encoder.item_ids(tomorrow.items),
        )
        errors = solver.predict(*ids, unknown="mean", clip=True) - tomorrow.ratings
        squares, n = squares + float((errors**2).sum()), n + len(errors)
    return float(np.sqrt(squares / n)), seconds


if __name__ == "__main__":
    of_days = days()
    print(f"{len(of_days[0]):,} ratings, then {len(of_days) - 1} days")
    for backend in sys.argv[1:] or ["numba-als", "numba-sgd"]:
        for how in ("no learning", "partial_fit", "fit each day"):
            rmse, seconds = replay(backend, how, of_days)
            print(f"{backend:10} {how:13} RMSE {rmse:.4f}, {seconds:.2f} s")
