"""Prototypes of kernels in Triton: their results against float64, and their times."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backends import Ratings
from backends.kernels.triton.gradient import gd_side
from backends.kernels.triton.sgd import sgd

from .check import Check
from .data import SIZES, skewed_ratings

# Largest relative difference of a kernel's float32 sums from float64; rounding alone makes 1e-5.
SAME_SUMS = 1e-3
LEARNT = 0.999  # largest training MSE after several passes of SGD, as a share of that before
KERNEL_CHUNK = 1 << 22  # ratings per chunk of a computation in float64


class Side(NamedTuple):
    """Ratings on the device, grouped by the rows of one side."""

    offsets: Tensor  # where the ratings of each row start, and the last end; shape (n_rows + 1,)
    others: Tensor  # row of the other side, shape (n,)
    targets: Tensor  # shape (n,)


class OnDevice(NamedTuple):
    """Ratings on the device, in random order, shape (n,), and grouped by user and by item."""

    users: Tensor
    items: Tensor
    targets: Tensor
    by_user: Side
    by_item: Side

    def chunks(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield users, items and targets, `KERNEL_CHUNK` ratings at a time."""
        columns = (self.users, self.items, self.targets)
        return zip(*(column.split(KERNEL_CHUNK) for column in columns), strict=True)


def prototypes(check: Check) -> None:
    """Verify and time the prototypes: the gradient by row, and per-rating SGD."""
    if check.smoke:
        size, ranks, dtypes = (300, 30, 20), [16], [torch.float32]
    else:
        size, ranks, dtypes = SIZES[-1], [16, 64, 128], [torch.float32, torch.float16]
    train = skewed_ratings(*size)
    ratings = on_device(check, train)
    for rank, dtype in itertools.product(ranks, dtypes):
        title = f"rank {rank}, {str(dtype).removeprefix('torch.')}"
        draws = torch.Generator(device=check.device).manual_seed(0)
        tables = [
            (0.1 * torch.randn(n_rows, rank, device=check.device, generator=draws)).to(dtype)
            for n_rows in (train.n_users, train.n_items)
        ]
        with check.fenced(f"Triton's gradient, {title}"):
            triton_gradient(check, ratings, tables[0], tables[1], title)
        with check.fenced(f"Triton's SGD, {title}"):
            triton_sgd(check, ratings, tables[0], tables[1], title)


def on_device(check: Check, train: Ratings) -> OnDevice:
    """Copy ratings to the device and group them there; record how long the grouping takes."""
    targets = train.ratings - train.ratings.mean(dtype=np.float64).astype(np.float32)
    users, items = (torch.tensor(rows, device=check.device) for rows in (train.users, train.items))
    values = torch.tensor(targets, device=check.device)

    def side(rows: Tensor, others: Tensor, n_rows: int) -> Side:
        order = torch.argsort(rows, stable=True)
        ends = torch.bincount(rows, minlength=n_rows).cumsum(0)
        return Side(torch.cat([ends.new_zeros(1), ends]).int(), others[order], values[order])

    def both() -> tuple[Side, Side]:
        return side(users, items, train.n_users), side(items, users, train.n_items)

    check.time(f"both sides sorted on the device, n={len(train):,}", len(train), both, repeats=3)
    return OnDevice(users, items, values, *both())


def triton_gradient(check: Check, ratings: OnDevice, p: Tensor, q: Tensor, title: str) -> None:
    """Time the gradient by row in blocks of several sizes; compare its sums with float64."""
    n, rank = len(ratings.targets), p.shape[1]
    scale = 2 / n
    draws = torch.Generator(device=check.device).manual_seed(1)
    biases = [torch.randn(len(table), device=check.device, generator=draws) for table in (p, q)]
    tables, sides = (p, q), (ratings.by_user, ratings.by_item)

    # Of the users, then of the items. NaN shows where a kernel did not write.
    nan = partial(torch.full, fill_value=math.nan, device=check.device)
    sums = [nan((len(table), rank)) for table in tables]
    bias_sums = [nan((len(table),)) for table in tables]
    squares = [nan((len(table),)) for table in tables]

    def sweep(block: int, warps: int) -> None:
        for side in (0, 1):
            opposite = 1 - side
            grid = (len(tables[side]),)
            read = tables[side], tables[opposite], biases[side], biases[opposite], *sides[side]
            written = sums[side], bias_sums[side], squares[side]
            gd_side[grid](*read, *written, scale, RANK=rank, BLOCK=block, num_warps=warps)

    exact, exact_bias, squared_error = exact_sums(ratings, tables, biases, scale)
    # Per rating: two ints and two targets of the two sides, and a row of each table.
    n_bytes = n * (16 + 2 * rank * p.element_size())
    launches = [(16, 1)] if check.smoke else [(16, 1), (32, 1), (32, 4), (64, 4)]
    for block, warps in launches:
        for output in (*sums, *bias_sums, *squares):
            output.fill_(math.nan)
        what = f"Triton's gradient, {title}, block {block}, warps {warps}"
        check.time(what, n, partial(sweep, block, warps), n_bytes=n_bytes)
        for side, name in enumerate(("users", "items")):
            squares_error = abs(float(squares[side].double().sum()) / squared_error - 1)
            sums_error = relative_error(sums[side], exact[side])
            bias_sums_error = relative_error(bias_sums[side], exact_bias[side])
            error = f"{what}: relative error of the {name}'"
            check.expect(f"{error} sums", sums_error, SAME_SUMS)
            check.expect(f"{error} bias sums", bias_sums_error, SAME_SUMS)
            check.expect(f"{error} squared errors", squares_error, SAME_SUMS)


def exact_sums(
    ratings: OnDevice,
    tables: tuple[Tensor, Tensor],
    biases: list[Tensor],
    scale: float,
) -> tuple[list[Tensor], list[Tensor], float]:
    """Return in float64 what `gd_side` writes for both sides.

    Returns
    -------
    sums, bias_sums
        Of the users and of the items, as `gd_side` defines them.
    squared_error
        Sum over all ratings.
    """
    sums = [torch.zeros(table.shape, dtype=torch.float64, device=table.device) for table in tables]
    bias_sums = [table.new_zeros(len(table)) for table in sums]
    squared_error = 0.0
    for users, items, targets in ratings.chunks():
        of_users, of_items = tables[0][users].double(), tables[1][items].double()
        errors = (of_users * of_items).sum(1) - targets
        errors += biases[0][users].double() + biases[1][items]
        squared_error += float(errors.square().sum())
        errors *= scale
        for side, rows, opposites in ((0, users, of_items), (1, items, of_users)):
            sums[side].index_add_(0, rows, errors[:, None] * opposites)
            bias_sums[side].index_add_(0, rows, errors)
    return sums, bias_sums, squared_error


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Return the norm of the difference, divided by that of the exact sums."""
    return float((found.double() - exact).norm() / exact.norm())


def triton_sgd(check: Check, ratings: OnDevice, p: Tensor, q: Tensor, title: str) -> None:
    """Time passes of SGD in random order and by user; they must lower the training MSE."""
    n, rank, by_user = len(ratings.targets), p.shape[1], ratings.by_user
    rows = torch.arange(len(p), device=check.device, dtype=torch.int32)
    sorted_users = torch.repeat_interleave(rows, by_user.offsets.diff().long())
    before = training_mse(ratings, p, q)
    # Per rating: user, item and target, and two rows that are read and written.
    n_bytes = n * (12 + 4 * rank * p.element_size())
    orders = {
        "random": (ratings.users, ratings.items, ratings.targets),
        "by user": (sorted_users, by_user.others, by_user.targets),
    }

    def one_pass(columns: tuple[Tensor, ...], trained: tuple[Tensor, ...], per: int) -> None:
        grid = (math.ceil(n / per),)
        rate, penalty = 0.02, 0.05
        sgd[grid](*trained, *columns, n, rate, penalty, RANK=rank, PER=per, num_warps=1)

    for order, columns in orders.items():
        for per in [800] if check.smoke else [128, 512]:
            what = f"Triton's SGD, {title}, {order}, {per} per program"
            trained = p.clone(), q.clone()
            work = partial(one_pass, columns, trained, per)
            check.time(what, n, work, repeats=5, n_bytes=n_bytes)
            share = training_mse(ratings, *trained) / before
            check.expect(f"{what}: MSE divided by that before", share, LEARNT)


def training_mse(ratings: OnDevice, p: Tensor, q: Tensor) -> float:
    """Return the mean squared error of the dot products, in float64."""
    total = 0.0
    for users, items, targets in ratings.chunks():
        errors = (p[users].double() * q[items].double()).sum(1) - targets
        total += float(errors.square().sum())
    return total / len(ratings.targets)
