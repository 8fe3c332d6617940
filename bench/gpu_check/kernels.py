"""Prototypes of kernels in Triton: right by float64, and how long they take."""

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

SAME_SUMS = 1e-3  # relative, of a kernel's float32 sums from float64 ones; rounding makes 1e-5
LEARNT = 0.999  # of the training MSE of the start, after some passes of SGD
KERNEL_CHUNK = 1 << 22  # ratings whose float64 products are made at a time


class Side(NamedTuple):
    """Ratings on the device, grouped by row: where each row's start, opposite rows and targets."""

    offsets: Tensor
    others: Tensor
    targets: Tensor


class OnDevice(NamedTuple):
    """Ratings on the device in random order, shape (n,), and grouped by user and by item."""

    users: Tensor
    items: Tensor
    targets: Tensor
    by_user: Side
    by_item: Side

    def parts(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield users, items and targets of some ratings at a time."""
        columns = (self.users, self.items, self.targets)
        return zip(*(column.split(KERNEL_CHUNK) for column in columns), strict=True)


def prototypes(check: Check) -> None:
    """Prove and time the prototypes: the gradient by row, and per-rating SGD."""
    train = skewed_ratings(*((300, 30, 20) if check.smoke else SIZES[-1]))
    ratings = on_device(check, train)
    precisions = (torch.float32,) if check.smoke else (torch.float32, torch.float16)
    for rank, dtype in itertools.product((16,) if check.smoke else (16, 64, 128), precisions):
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
    """Copy ratings to the device and sort them there, which is timed: what `prepare` could cost."""
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
    """Time the gradient by row in blocks of several sizes; hold its sums against float64."""
    n, rank = len(ratings.targets), p.shape[1]
    scale = 2 / n
    draws = torch.Generator(device=check.device).manual_seed(1)
    biases = [torch.randn(len(x), device=check.device, generator=draws) for x in (p, q)]

    def unwritten(*shape: int) -> Tensor:
        """Return NaN, which shows where a kernel did not write."""
        return torch.full(shape, math.nan, device=check.device)

    sums = [unwritten(len(table), rank) for table in (p, q)]
    bias_sums, squares = ([unwritten(len(table)) for table in (p, q)] for _ in range(2))

    def sweep(block: int, warps: int) -> None:
        for one, other, side in ((0, 1, ratings.by_user), (1, 0, ratings.by_item)):
            tables = (p, q)[one], (p, q)[other], biases[one], biases[other]
            written = sums[one], bias_sums[one], squares[one]
            grid = (len(tables[0]),)
            gd_side[grid](*tables, *side, *written, scale, RANK=rank, BLOCK=block, num_warps=warps)

    exact, exact_bias, squared_error = exact_sums(ratings, (p, q), biases, scale)
    n_bytes = n * (16 + 2 * rank * p.element_size())
    for block, warps in ((16, 1),) if check.smoke else ((16, 1), (32, 1), (32, 4), (64, 4)):
        for written in (*sums, *bias_sums, *squares):
            written.fill_(math.nan)
        what = f"Triton's gradient, {title}, block {block}, warps {warps}"
        check.time(what, n, partial(sweep, block, warps), n_bytes=n_bytes)
        for one, name in enumerate(("users", "items")):
            apart = {
                "sums": relative_error(sums[one], exact[one]),
                "bias sums": relative_error(bias_sums[one], exact_bias[one]),
                "squared errors": abs(float(squares[one].double().sum()) / squared_error - 1),
            }
            for kind, error in apart.items():
                check.expect(f"{what}: relative error of the {name}' {kind}", error, SAME_SUMS)


def exact_sums(
    ratings: OnDevice,
    tables: tuple[Tensor, Tensor],
    biases: list[Tensor],
    scale: float,
) -> tuple[list[Tensor], list[Tensor], float]:
    """Return what `gd_side` writes for both sides, and the squared error, in float64."""
    sums = [torch.zeros(table.shape, dtype=torch.float64, device=table.device) for table in tables]
    bias_sums = [table.new_zeros(len(table)) for table in sums]
    squared_error = 0.0
    for users, items, targets in ratings.parts():
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
    """Return the norm of the difference over that of the exact sums."""
    return float((found.double() - exact).norm() / exact.norm())


def triton_sgd(check: Check, ratings: OnDevice, p: Tensor, q: Tensor, title: str) -> None:
    """Time passes of SGD in random order and by user, which must lower the training MSE."""
    n, rank, by_user = len(ratings.targets), p.shape[1], ratings.by_user
    rows = torch.arange(len(p), device=check.device, dtype=torch.int32)
    sorted_users = torch.repeat_interleave(rows, by_user.offsets.diff().long())
    before, n_bytes = training_mse(ratings, p, q), n * (12 + 4 * rank * p.element_size())
    orders = {
        "random": (ratings.users, ratings.items, ratings.targets),
        "by user": (sorted_users, by_user.others, by_user.targets),
    }

    def one_pass(columns: tuple[Tensor, ...], trained: tuple[Tensor, ...], per: int) -> None:
        sgd[(-(-n // per),)](*trained, *columns, n, 0.02, 0.05, RANK=rank, PER=per, num_warps=1)

    for order, columns in orders.items():
        for per in (800,) if check.smoke else (128, 512):
            what = f"Triton's SGD, {title}, {order}, {per} per program"
            trained = p.clone(), q.clone()
            work = partial(one_pass, columns, trained, per)
            check.time(what, n, work, repeats=5, n_bytes=n_bytes)
            fallen = training_mse(ratings, *trained) / before
            check.expect(f"{what}: MSE over that of the start", fallen, LEARNT)


def training_mse(ratings: OnDevice, p: Tensor, q: Tensor) -> float:
    """Return the mean squared error of dot products, in float64."""
    errors = ((p[u].double() * q[i].double()).sum(1) - targets for u, i, targets in ratings.parts())
    return sum(float(some.square().sum()) for some in errors) / len(ratings.targets)
