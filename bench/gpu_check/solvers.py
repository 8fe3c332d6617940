"""Both solvers of the torch backend on the device: the same as on the CPU, and how long they take."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from backends import Factorizer, Parameters, Ratings, State

from .check import Check, Optimizer, Timing
from .data import SIZES, SMALL, skewed_ratings

OPTIMIZERS: tuple[Optimizer, ...] = ("gd", "adam")
# Largest difference from the CPU after 12 epochs, relative to the largest parameter of its kind:
# sums in another order, rounded anew in each epoch. A mistake makes it about 1.
SAME = {"float32": 2e-3, "float64": 1e-8}
ALL_RANKS_UP_TO = 30_000_000  # ratings; beyond, one rank and gradient descent alone, for time


def prepare(solver: Factorizer, train: Ratings) -> Any:
    """Return a solver's state at its own random start."""
    state: State = solver.prepare(train, solver.initial_parameters(train, seed=0), seed=0)
    return state


def correctness(check: Check) -> None:
    """Hold both solvers against the CPU, by each kind of products and in each precision."""
    train = skewed_ratings(20_000, 900, 400)
    for optimizer, products, dtype in itertools.product(OPTIMIZERS, ("sparse", "gather"), SAME):
        what = f"{optimizer}, {products} products, {dtype}"
        with check.fenced(what):
            options = {"products": products, "dtype": dtype, "rank": 7, "reg": 0.1}
            ours, theirs = (
                after_twelve_epochs(check.solver(optimizer, device=device, **options), train)
                for device in (check.device, "cpu")
            )
            apart = largest_difference(ours, theirs)
            check.expect(f"{what}: difference from the CPU", apart, SAME[dtype])


def after_twelve_epochs(solver: Factorizer, train: Ratings) -> Parameters:
    """Return where 12 epochs end that begin with NaN in the buffers they must overwrite."""
    with solver.threads():
        state = prepare(solver, train)
        for buffer in state.gradient.of.values():
            buffer.fill_(math.nan)
        solver.step(state, 12)
        solver.synchronize(state)
        return solver.parameters(state)


def largest_difference(ours: Parameters, theirs: Parameters) -> float:
    """Return the largest difference over the largest parameter of its kind; NaN if any is NaN."""
    other = theirs.arrays()
    apart = {name: np.abs(x - other[name]).max() for name, x in ours.arrays().items()}
    return float(np.max([one / np.abs(other[name]).max() for name, one in apart.items()]))


def waits(check: Check) -> None:
    """Count how often an epoch of gradient descent makes the host wait, and say for what."""
    if check.smoke:
        check.leave_out("waits of the host", "only CUDA tells them")
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
    kinds = sorted({str(one.message)[:60] for one in caught})
    check.say(f"waits of the host per epoch: {len(caught) / 10:g} {kinds}")


def graph(check: Check) -> None:
    """Time the sums over all ratings as one CUDA graph, which an epoch in one launch would need."""
    if check.smoke:
        check.leave_out("sums as a CUDA graph", "they take CUDA")
        return

    solver = check.solver()
    train = skewed_ratings(*SIZES[0])
    with solver.threads(), torch.no_grad():
        sums = sums_of(prepare(solver, train))
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # a graph is captured of what has run before, elsewhere
            sums()
            sums()
        torch.cuda.current_stream().wait_stream(side)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            sums()
        check.time(f"sums, one by one, n={len(train):,}", len(train), sums)
        check.time(f"sums, as a graph, n={len(train):,}", len(train), captured.replay)


def sums_of(state: Any) -> Callable[[], object]:
    """Return the sums over all ratings of an epoch of gradient descent, to be called."""
    x, of = state.model.tables(), state.gradient.of
    return lambda: state.products.sums(x["user"], x["item"], of["user"], of["item"], 1e-9)


def epochs(check: Check) -> None:
    """Time preparing, epochs, and the products of an epoch."""
    for size in (SMALL,) if check.smoke else SIZES:
        train = skewed_ratings(*size)
        whole = not check.smoke and len(train) <= ALL_RANKS_UP_TO
        solvers = OPTIMIZERS if check.smoke or whole else OPTIMIZERS[:1]
        for rank, optimizer in itertools.product((16, 64, 128) if whole else (16,), solvers):
            with check.fenced(f"{optimizer}, rank {rank}, n={len(train):,}"):
                time_epochs(check, train, optimizer, rank)


def time_epochs(check: Check, train: Ratings, optimizer: Optimizer, rank: int) -> None:
    """Time one solver at one size."""
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
            check.say(f"{title}: at most {peak:.2f} GiB on the device")
        if optimizer == "gd":
            with torch.no_grad():
                time_products(check, state, n)


def time_products(check: Check, state: Any, n: int) -> None:
    """Time what an epoch of gradient descent is made of."""
    x, of, products = state.model.tables(), state.gradient.of, state.products
    check.time("  all sums", n, sums_of(state))
    if not hasattr(products, "by_user"):  # the device has no sparse products
        return
    check.time(
        "  sampled product",
        n,
        lambda: products.by_user.subtract_from_products(x["user"], x["item"]),
    )
    by_user, by_item = products.by_user, products.by_item
    check.time("  product by user", n, lambda: by_user.multiply(x["item"], 1e-9, of["user"]))
    check.time("  product by item", n, lambda: by_item.multiply(x["user"], 1e-9, of["item"]))
    check.time(
        "  errors in items' order",
        n,
        lambda: products.by_item.take(products.by_user.values, products.order),
    )
