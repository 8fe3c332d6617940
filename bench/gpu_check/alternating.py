"""Alternating least squares on the device: its results against those of the CPU, and its times."""

from __future__ import annotations

import time
from typing import Any

from backends import Factorizer, Parameters, Ratings, get_backend

from .check import Check, Timing
from .data import SIZES, SMALL, skewed_ratings
from .solvers import ALL_RANKS_UP_TO, SAME, largest_difference, prepare


def als(check: Check, device: str, **params: Any) -> Factorizer:
    """Return the solver on a device."""
    name = "torch-als" if device == "cpu" else f"torch-als-{device}"
    return get_backend(name, n_jobs=check.n_jobs, **params)


def alternating_correctness(check: Check) -> None:
    """Compare three epochs with the CPU, in each precision, and one with singular rows."""
    train = skewed_ratings(20_000, 900, 400)
    for dtype in SAME:
        what = f"als, {dtype}"
        with check.fenced(what):
            (tested, _), (on_cpu, _) = (
                after_epochs(als(check, device, rank=7, dtype=dtype), train, 3)
                for device in (check.device, "cpu")
            )
            difference = largest_difference(tested, on_cpu)
            check.expect(f"{what}: difference from the CPU", difference, SAME[dtype])
    # Without penalties rows with few ratings have many solutions, but one squared error.
    what = "als, float64, singular rows"
    with check.fenced(what):
        options = {"rank": 7, "dtype": "float64", "reg": 0.0, "damping": 0.0, "bias": False}
        (_, tested_mse), (_, mse) = (
            after_epochs(als(check, device, **options), train, 1)
            for device in (check.device, "cpu")
        )
        check.expect(f"{what}: difference of the MSE", abs(tested_mse / mse - 1), 1e-4)


def after_epochs(solver: Factorizer, train: Ratings, n_epochs: int) -> tuple[Parameters, float]:
    """Return the parameters after so many epochs from the random start, and the training MSE."""
    with solver.threads():
        state = prepare(solver, train)
        mse = solver.step(state, n_epochs)
        solver.synchronize(state)
        return solver.parameters(state), mse


def alternating_epochs(check: Check) -> None:
    """Time preparation and epochs at several sizes and ranks."""
    for size in [SMALL] if check.smoke else SIZES:
        train = skewed_ratings(*size)
        ranks = [16, 64, 128] if len(train) <= ALL_RANKS_UP_TO else [16]
        for rank in [16] if check.smoke else ranks:
            what = f"als, rank {rank}, n={len(train):,}"
            if check.is_late():
                check.skip(what, check.too_late)
                continue
            with check.fenced(what):
                time_rank(check, train, rank)


def time_rank(check: Check, train: Ratings, rank: int) -> None:
    """Time preparation and epochs with one number of factors."""
    title, n = f"als, rank {rank}, n={len(train):,}", len(train)
    solver = als(check, check.device, rank=rank)
    start = solver.initial_parameters(train, seed=0)
    with solver.threads():
        began = time.perf_counter()
        state = solver.prepare(train, start, seed=0)
        check.wait()
        check.add(Timing(f"{title}: prepare", n, time.perf_counter() - began))
        check.time(f"{title}: epoch", n, lambda: solver.step(state, 1), repeats=3)
