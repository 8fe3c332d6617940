"""The kernels in Triton: their results against float64, and their times."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from backends import Ratings, initial_model
from backends._engine.embedding import EmbeddingModel, make_products
from backends._engine.threads import Threads
from backends.torch_sgd import Precision, TorchSGD

from .check import Check
from .data import SIZES, skewed_ratings

# Largest relative difference of sums in float32 from float64; rounding alone makes 1e-5.
SAME_SUMS = 1e-3
LEARNT = 0.999  # largest training MSE after several passes of SGD, as a share of that before
SMALLEST = (300, 30, 20)  # for the interpreter


def kernels_in_triton(check: Check) -> None:
    """Verify and time the gradient by row, and per-rating SGD."""
    train = skewed_ratings(*(SMALLEST if check.smoke else SIZES[-1]))
    for rank in [16] if check.smoke else [16, 64, 128]:
        with check.fenced(f"Triton's gradient, rank {rank}"):
            gradient(check, train, rank)
    precisions: tuple[Precision, ...] = ("half", "full")
    for rank, precision in itertools.product([16] if check.smoke else [16, 64, 128], precisions):
        with check.fenced(f"Triton's SGD, rank {rank}, {precision} precision"):
            per_rating(check, train, rank, precision)


def gradient(check: Check, train: Ratings, rank: int) -> None:
    """Compare the sums over all ratings with those of float64, and time them."""
    n, title = len(train), f"Triton's gradient, rank {rank}"
    solver = check.solver("gd", rank=rank, init_scale=0.1)
    start = initial_model(solver.objective, train, 0).astype("float32")
    model = EmbeddingModel(start, torch.device(check.device))
    check.wait()
    [products] = make_products("fused", train, model, 1, 0, Threads(1))
    tables = model.tables
    out = tables.zeros()
    out.rows.fill_(math.nan)  # shows what a kernel does not write
    scale = 2 / n
    with torch.no_grad():
        squared_error = float(products.sums(tables, out, scale))
        exact_model = EmbeddingModel(start.astype("float64"), torch.device(check.device))
        [in_float64] = make_products("gather", train, exact_model, 1, 0, Threads(1))
        exact = exact_model.tables.zeros()
        exact_error = float(in_float64.sums(exact_model.tables, exact, scale))
        # Rows of float64 are padded to another width.
        found, expected = (sums.rows[:, : rank + 2] for sums in (out, exact))
        check.expect(f"{title}: relative error of the sums", relative(found, expected), SAME_SUMS)
        off = abs(squared_error / exact_error - 1)
        check.expect(f"{title}: relative error of the squared errors", off, SAME_SUMS)
        # Per rating: two ints and two targets of the two sides, and a row of each table.
        n_bytes = n * (16 + 2 * tables.rows.shape[1] * tables.rows.element_size())
        check.time(title, n, lambda: products.sums(tables, out, scale), n_bytes=n_bytes)


def relative(found: Tensor, exact: Tensor) -> float:
    """Return the norm of the difference, divided by that of the exact sums."""
    return float((found.double() - exact).norm() / exact.norm())


def per_rating(check: Check, train: Ratings, rank: int, precision: Precision) -> None:
    """Time epochs of SGD, which must lower the training MSE."""
    n, title = len(train), f"Triton's SGD, rank {rank}, {precision} precision"
    solver = TorchSGD(rank=rank, device=check.device, precision=precision, n_jobs=1)
    with solver.threads():
        state = solver.prepare(train, solver.initial_parameters(train, seed=0), seed=0)
        before = solver.step(state, 1)
        # Per rating: user, item and target, and two rows and two sets of columns, which are read
        # and written.
        n_bytes = n * (12 + 4 * rank * state.factors.element_size() + 2 * 2 * 16)
        check.time(title, n, lambda: solver.step(state, 1), repeats=5, n_bytes=n_bytes)
        after = solver.step(state, 1)
    check.expect(f"{title}: MSE divided by that of the first epoch", after / before, LEARNT)
