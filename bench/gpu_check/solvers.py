"""Both solvers of the torch backend: their results against those of the CPU, and their times."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from backends import Factorizer, Parameters, Ratings, State
from bench.machine.device_limits import measure_device
from bench.machine.limits import TURNS

from .check import Check, Optimizer, Timing
from .data import SIZES, SMALL, skewed_ratings

OPTIMIZERS: tuple[Optimizer, ...] = ("gd", "adam")
# Largest difference from the CPU after 12 epochs, relative to the largest parameter of its kind.
# It arises because sums are computed in another order; a mistake makes it about 1.
SAME = {"float32": 2e-3, "float64": 1e-8}
# Most ratings for which all ranks and both solvers are timed. Beyond, it would take too long.
ALL_RANKS_UP_TO = 30_000_000


def prepare(solver: Factorizer, train: Ratings) -> Any:
    """Return a solver's state at its random start."""
    state: State = solver.prepare(train, solver.initial_parameters(train, seed=0), seed=0)
    return state


def limits(check: Check) -> None:
    """Measure the device's bandwidth, arithmetic rate and cache."""
    small: dict[str, int] = {"n_bytes": 1 << 20, "side": 64} if check.smoke else {}
    turns = 2 if check.smoke else TURNS
    found, check.cache = measure_device(check.device, check.n_jobs, turns, **small)
    check.limits = [found]
    bandwidth, rate = found["memory_gb_per_s"], found["gflop_per_s"]
    cache = check.cache / 2**20
    check.log(f"{bandwidth:,.0f} GB/s, {rate:,.0f} GFLOP/s in float32, {cache:.0f} MB of cache")


def correctness(check: Check) -> None:
    """Compare both solvers with the CPU, for each kind of products and each precision."""
    plain = skewed_ratings(20_000, 900, 400)
    weights = np.random.default_rng(1).uniform(0.1, 4.0, len(plain))
    weighted = replace(plain, weights=weights)
    kinds = ["sparse", "gather"]
    if not check.smoke and find_spec("triton") is not None:
        kinds.append("fused")
    for optimizer, products, dtype, bias in itertools.product(
        OPTIMIZERS, kinds, SAME, (True, False)
    ):
        if dtype == "float64" and not bias:
            continue
        what = f"{optimizer}, {products} products, {dtype}"
        what += "" if bias else ", weights, no biases"
        with check.fenced(what):
            options = {"dtype": dtype, "rank": 7, "reg": 0.1, "bias": bias}
            # The CPU has no fused ones. Those that gather deal the same batches.
            on_host = "gather" if products == "fused" else products
            tested, on_cpu = (
                after_twelve_epochs(
                    check.solver(optimizer, device=device, products=kind, **options),
                    plain if bias else weighted,
                )
                for device, kind in ((check.device, products), ("cpu", on_host))
            )
            difference = largest_difference(tested, on_cpu)
            check.expect(f"{what}: difference from the CPU", difference, SAME[dtype])


def after_twelve_epochs(solver: Factorizer, train: Ratings) -> Parameters:
    """Return the parameters after 12 epochs that start with NaN in every buffer of the gradient.

    A value that the solver does not overwrite would spoil the result.
    """
    with solver.threads():
        state = prepare(solver, train)
        for name in ("gradient", "trial_gradient"):
            if hasattr(state, name):
                getattr(state, name).rows.fill_(math.nan)
        solver.step(state, 12)
        solver.synchronize(state)
        return solver.parameters(state)


def largest_difference(tested: Parameters, expected: Parameters) -> float:
    """Return the largest difference relative to the largest parameter of its kind, or NaN."""
    differences = []
    for name, array in expected.arrays().items():
        difference = np.abs(tested.arrays()[name] - array).max()
        differences.append(difference / (np.abs(array).max() or 1.0))  # biases may all be 0
    return float(np.max(differences))


def waits(check: Check) -> None:
    """Count how often an epoch of gradient descent makes the host wait, and print the reasons."""
    if check.smoke:
        check.skip("waits of the host", "only CUDA reports them")
        return

    solver = check.solver()
    with solver.threads():
        state = prepare(solver, skewed_ratings(20_000, 900, 400))
        solver.step(state, 3)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                solver.step(state, 10)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    reasons = sorted({str(warning.message)[:60] for warning in caught})
    check.log(f"waits of the host per epoch: {len(caught) / 10:g} {reasons}")


def graph(check: Check) -> None:
    """Check that epochs are recorded as CUDA graphs, and time them beside separate launches."""
    if check.smoke:
        check.skip("epochs as CUDA graphs", "they need CUDA")
        return

    train = skewed_ratings(*SIZES[0])
    for optimizer in OPTIMIZERS:
        solver = check.solver(optimizer)
        with solver.threads():
            state = prepare(solver, train)
            solver.step(state, 5)
            recorders = [state.recorder] if optimizer == "gd" else [r for _, r in state.batches]
            for problem in sorted({recorder.problem for recorder in recorders} - {""}):
                check.log(f"{optimizer} is not recorded: {problem}")
            missing = sum(not recorder.is_recorded for recorder in recorders)
            check.expect(f"{optimizer}: pieces of an epoch that are no graph", missing, 0)
            n, title = len(train), f"{optimizer}, rank 16, n={len(train):,}: epoch"
            epoch = partial(solver.step, state, 1)
            check.time(f"{title} as graphs", n, epoch)
            for recorder in recorders:
                recorder.forget()
            check.time(f"{title} launch by launch", n, epoch)


def sums_of(state: Any) -> Callable[[], object]:
    """Return a function that computes an epoch's sums over all ratings."""
    return lambda: state.products.sums(state.model.tables, state.trial_gradient, 1e-9)


def epochs(check: Check) -> None:
    """Time preparation, epochs, and the products of an epoch, at several sizes and ranks."""
    for size in [SMALL] if check.smoke else SIZES:
        train = skewed_ratings(*size)
        ranks, optimizers = [16, 64, 128], OPTIMIZERS
        if check.smoke:
            ranks = [16]
        elif len(train) > ALL_RANKS_UP_TO:
            ranks, optimizers = [16], ("gd",)
        for rank, optimizer in itertools.product(ranks, optimizers):
            what = f"{optimizer}, rank {rank}, n={len(train):,}"
            if check.is_late():
                check.skip(what, check.too_late)
                continue
            with check.fenced(what):
                time_epochs(check, train, optimizer, rank)


def time_epochs(check: Check, train: Ratings, optimizer: Optimizer, rank: int) -> None:
    """Time preparation and epochs of one solver at one size."""
    n, title = len(train), f"{optimizer}, rank {rank}, n={len(train):,}"
    solver = check.solver(optimizer, rank=rank)
    start = solver.initial_parameters(train, seed=0)
    if not check.smoke:
        torch.cuda.reset_peak_memory_stats()
    with solver.threads():
        check.wait()
        began = time.perf_counter()
        state: Any = solver.prepare(train, start, seed=0)
        check.wait()
        check.add(Timing(f"{title}: prepare", n, time.perf_counter() - began))
        check.time(f"{title}: epoch", n, lambda: solver.step(state, 1))
        if not check.smoke:
            peak = torch.cuda.max_memory_allocated() / 2**30
            check.log(f"{title}: at most {peak:.2f} GiB of the device's memory")
        if optimizer == "gd":
            with torch.no_grad():
                time_products(check, state, n, title)


def time_products(check: Check, state: Any, n: int, title: str) -> None:
    """Time the products of which an epoch of gradient descent consists."""
    products, tables, out = state.products, state.model.tables, state.trial_gradient
    check.time(f"{title}: all sums", n, sums_of(state))
    if not hasattr(products, "by_user"):  # they are not sparse ones
        return
    users, items = products.by_user.parts, products.by_item.parts
    if len(users) > 1:  # a CPU with several threads
        return
    (by_user,), (by_item,) = users, items
    check.time(
        f"{title}: sampled product",
        n,
        lambda: products.residuals(by_user, tables.users, tables.items),
    )
    check.time(
        f"{title}: product by user", n, lambda: by_user.multiply(tables.items, 1e-9, out.users)
    )
    check.time(
        f"{title}: product by item", n, lambda: by_item.multiply(tables.users, 1e-9, out.items)
    )
    check.time(f"{title}: errors in items' order", n, lambda: products.take(by_item))
