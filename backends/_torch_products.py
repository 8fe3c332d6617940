"""The gradient in torch: by sparse products, or from gathered rows where the device has none.

Full-batch descent takes it over all ratings, Adam over those of a mini-batch. A table holds a side's rows with their
biases: users (p, b, 1), items (q, 1, c). One product is then p . q + b + c, and the biases need none of their own.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from ._interrupt import checkpoint
from ._threads import Threads
from .errors import RatingsError
from .objective import Float, chunks
from .ratings import Ratings

SIDES = ("user", "item")
WIDE_CHUNK = 1 << 20  # errors squared at a time
THREADED = 1 << 14  # ratings from which it pays to wake other threads
GATHER_CELLS = 1 << 22  # numbers gathered at a time on devices without sparse products

Rows = NDArray[np.integer[Any]]


class RepeatedPairs(RatingsError):
    """Pairs rated twice, which torch's sampled product cannot take."""


class Products(Protocol):
    """The products that a gradient is made of, over some of the ratings."""

    n: int  # number of ratings

    def sums(self, left: Tensor, right: Tensor, user_sums: Tensor, item_sums: Tensor, scale: float) -> Tensor:
        """Write ``scale`` times the sums of error times opposite row, and return the errors.

        Parameters
        ----------
        left, right
            The tables of the users and of the items, shapes (n_rows, width).
        user_sums, item_sums
            What is written, in the shapes of the tables: per user the sum of error times right_i, per item that of
            error times left_u. What they held does not matter.

        Returns
        -------
        Tensor
            left_u . right_i - target of each rating, shape (n,); valid until the next call.
        """


@dataclass(kw_only=True)
class Gradient:
    """The gradient of J at the tables of both sides, in buffers like them; the column of ones has none.

    In ``unit`` of the ratings, and its root of the factors, the penalty of factors is reg / unit and that of biases
    still reg.
    """

    columns: dict[str, int]  # of the biases
    rank: int
    unit: float
    reg: float
    n_ratings: int
    weight: dict[str, Tensor]  # w of the rows, shape (n_rows, 1)
    of: dict[str, Tensor]

    def measure(self, x: dict[str, Tensor], products: Products) -> Tensor:
        """Write dJ/dx, the mean squared error taken over the ratings of ``products``, and return their errors."""
        errors = products.sums(x["user"], x["item"], self.of["user"], self.of["item"], 2.0 / products.n)
        pull, largest = 2.0 * self.reg / self.n_ratings, torch.finfo(errors.dtype).max
        for side in SIDES:
            bias = slice(self.columns[side], self.columns[side] + 1)
            for columns, strength in ((slice(self.rank), pull / self.unit), (bias, pull)):
                self.of[side][:, columns].addcmul_(self.weight[side], x[side][:, columns], value=min(strength, largest))
        return errors


class SparseProducts:
    """By sampled and sparse matrix products: nothing of size ratings x rank is ever made.

    The errors are the values of a CSR matrix, and in another order those of its transpose. Pattern, values and order
    are laid out once; a call allocates nothing of the ratings' size.
    """

    def __init__(
        self,
        users: Rows,
        items: Rows,
        targets: Float,
        shape: tuple[int, int],
        device: torch.device,
        threads: Threads,
    ) -> None:
        """Lay out distinct pairs that are sorted by user, then by item."""
        order = order_by(items, shape[1])
        self.n = len(targets)
        self.targets = torch.as_tensor(targets, device=device)
        self.order = torch.as_tensor(order, device=device)
        self.by_user = Matrix(users, items, self.targets, shape, threads)
        self.by_item = Matrix(items[order], users[order], self.targets, shape[::-1], threads)

    def sums(self, left: Tensor, right: Tensor, user_sums: Tensor, item_sums: Tensor, scale: float) -> Tensor:
        """See `Products`."""
        errors = self.by_user.values
        errors.copy_(self.targets)
        self.by_user.subtract_from_products(left, right)
        checkpoint()
        self.by_user.multiply(right, scale, user_sums)
        checkpoint()
        self.by_item.take(errors, self.order)
        self.by_item.multiply(left, scale, item_sums)
        return errors

    @classmethod
    def work_on(cls, device: torch.device, dtype: torch.dtype) -> bool:
        """Try it on one rating."""
        zero = np.zeros(1, np.int32)
        try:
            one = torch.ones((1, 1), device=device, dtype=dtype)
            target = np.zeros(1, str(dtype).removeprefix("torch."))
            cls(zero, zero, target, (1, 1), device, Threads(1)).sums(one, one, one.clone(), one.clone(), 1.0)
        except (RuntimeError, TypeError):  # what a device without these products, or without float64, raises
            return False
        return True


class Matrix:
    """A CSR matrix whose pattern stays, in runs of rows: on a host one for each thread of the fit, where it is large.

    Torch's own threads do not serve here: on a host it takes values in another order, and sums bags, on one of them
    alone, and the others spin in wait between two operations. Indices are of 32 bits wherever they fit, which is what
    MKL computes with: it would convert wider ones in every product.
    """

    def __init__(self, rows: Rows, columns: Rows, like: Tensor, shape: tuple[int, int], threads: Threads) -> None:
        """Take sorted rows; values like ``like`` are still to be written."""
        n, index, device = len(rows), np.int32 if len(rows) < 2**31 else np.int64, like.device
        n_runs = threads.n if n >= THREADED and like.is_cpu else 1
        offsets = np.searchsorted(rows, np.arange(shape[0] + 1, dtype=rows.dtype))
        cuts = np.searchsorted(offsets, np.linspace(0, n, n_runs + 1)[1:-1]).tolist()
        others = torch.as_tensor(columns.astype(index, copy=False), device=device)
        self.threads = threads
        self.values = torch.zeros_like(like)
        self.runs: list[tuple[slice, slice, Tensor]] = []  # rows, entries, and the matrix of these rows
        for start, stop in pairwise([0, *cuts, shape[0]]):
            part = slice(int(offsets[start]), int(offsets[stop]))
            mine = torch.as_tensor((offsets[start : stop + 1] - part.start).astype(index), device=device)
            matrix = _csr(mine, others[part], self.values[part], (stop - start, shape[1]))
            self.runs.append((slice(start, stop), part, matrix))

    def take(self, values: Tensor, order: Tensor) -> None:
        """Set the values to ``values[order]``."""

        def take(rows: slice, part: slice, matrix: Tensor) -> None:
            torch.index_select(values, 0, order[part], out=self.values[part])

        self.threads.run(take, self.runs)

    def subtract_from_products(self, left: Tensor, right: Tensor) -> None:
        """Set each value to left_row . right_column less the value."""

        def subtract(rows: slice, part: slice, matrix: Tensor) -> None:
            torch.sparse.sampled_addmm(matrix, left[rows], right.T, beta=-1.0, out=matrix)

        self.threads.run(subtract, self.runs)

    def multiply(self, table: Tensor, scale: float, out: Tensor) -> None:
        """Write ``scale`` times this matrix times a table.

        Each row of the product is a bag of weighted rows. Torch's kernel for such bags on a host in float32 prefetches
        the rows and is compiled for their width: at rank 16 it is as fast as MKL's sparse product, at 128 over twice.
        """

        def product(rows: slice, part: slice, matrix: Tensor) -> None:
            torch.addmm(out[rows], matrix, table, beta=0, alpha=scale, out=out[rows])

        def bags(rows: slice, part: slice, matrix: Tensor) -> None:
            starts, columns, weights = matrix.crow_indices(), matrix.col_indices(), self.values[part]
            sums = embedding_bag(
                columns, table, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
            )
            torch.mul(sums, scale, out=out[rows])

        self.threads.run(bags if table.is_cpu and table.dtype == torch.float32 else product, self.runs)


class GatherProducts:
    """By gathered rows, a chunk of ratings at a time, for devices without sparse products and for repeated pairs."""

    def __init__(self, users: Rows, items: Rows, targets: Float, device: torch.device) -> None:
        self.n = len(targets)
        self.users = torch.tensor(users, device=device, dtype=torch.long)
        self.items = torch.tensor(items, device=device, dtype=torch.long)
        self.targets = torch.tensor(targets, device=device)

    def sums(self, left: Tensor, right: Tensor, user_sums: Tensor, item_sums: Tensor, scale: float) -> Tensor:
        """See `Products`."""
        user_sums.zero_(), item_sums.zero_()
        errors = torch.empty_like(self.targets)
        for part in chunks(self.n, max(1, GATHER_CELLS // left.shape[1])):
            checkpoint()
            u, i = self.users[part], self.items[part]
            mine, theirs = left[u], right[i]
            errors[part] = (mine * theirs).sum(dim=1) - self.targets[part]
            pull = scale * errors[part, None]
            user_sums.index_add_(0, u, theirs.mul_(pull))
            item_sums.index_add_(0, i, mine.mul_(pull))
        return errors


def sparse_batches(
    train: Ratings,
    targets: Float,
    device: torch.device,
    n_batches: int,
    rng: np.random.Generator,
    threads: Threads,
) -> list[Products]:
    """Deal the ratings into batches of equal size, give or take one, whatever order they come in.

    Raises
    ------
    RepeatedPairs
        When a pair is there twice.
    """
    by_item = order_by(train.items, train.n_items)
    order = by_item[order_by(train.users[by_item], train.n_users)]
    del by_item
    if (_repeats(train.users[order]) & _repeats(train.items[order])).any():
        raise RepeatedPairs('products="sparse" needs distinct (user, item) pairs; take products="gather"')
    shape = train.n_users, train.n_items
    return [
        SparseProducts(train.users[part], train.items[part], targets[part], shape, device, threads)
        for part in _deal(order, n_batches, rng)
    ]


def gather_batches(
    train: Ratings, targets: Float, device: torch.device, n_batches: int, rng: np.random.Generator
) -> list[Products]:
    """Deal the ratings into batches of equal size, give or take one; for one batch, in the order they come in."""
    return [
        GatherProducts(train.users[part], train.items[part], targets[part], device)
        for part in _deal(np.arange(len(train)), n_batches, rng)
    ]


def _repeats(rows: Rows) -> NDArray[np.bool_]:
    repeats: NDArray[np.bool_] = rows[1:] == rows[:-1]
    return repeats


def _deal(order: Rows, n_batches: int, rng: np.random.Generator) -> list[Rows]:
    """Split the ratings at random; within a batch they keep their order."""
    if n_batches == 1:
        return [order]
    dealt = (rng.permutation(len(order)) % n_batches).astype(np.int32)
    return np.array_split(order[order_by(dealt, n_batches)], n_batches)


def squared_norm(errors: Tensor, wide: torch.dtype) -> Tensor:
    """Return the sum of squares in a wider type, by one buffer: torch would widen all errors first."""
    buffer = torch.empty(min(len(errors), WIDE_CHUNK), dtype=wide, device=errors.device)
    total = torch.zeros((), dtype=wide, device=errors.device)
    for part in torch.split(errors, WIDE_CHUNK):
        total += torch.linalg.vector_norm(buffer[: len(part)].copy_(part)).square()
    return total


def order_by(rows: Rows, n_rows: int) -> Rows:
    """Return the stable order of rows, as ``argsort`` does, by counting: in O(n), where sorting takes several times it.

    It is the transpose of a matrix with one entry a line, which scipy makes by counting.
    """
    from scipy.sparse import csr_array

    n = len(rows)
    lines = np.arange(n + 1, dtype=np.int32 if n < 2**31 else np.int64)
    entries: Any = (np.zeros(n, np.int8), rows, lines)
    order: Rows = csr_array(entries, shape=(n, n_rows)).tocsc().indices
    return order


def _csr(offsets: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Make a CSR matrix of arrays known to be valid, which it shares."""
    with warnings.catch_warnings():  # torch says once that CSR is in beta; what is used of it is tested here
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False)
