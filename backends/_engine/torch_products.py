"""The gradient in torch: by sparse products, or from gathered rows where the device has none.

Full-batch descent takes it over all ratings, Adam over those of a mini-batch. A table holds a
side's rows with their biases: users (p, b, 1), items (q, 1, c). One product is then p . q + b + c,
and the biases need none of their own.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from backends._arrays import Float, chunks
from backends.errors import RatingsError
from backends.ratings import Ratings

from .interrupt import checkpoint
from .threads import Threads

SIDES = ("user", "item")
WIDE_CHUNK = 1 << 20  # errors squared at a time
THREADED = 1 << 14  # ratings from which it pays to wake other threads
GATHER_CELLS = 1 << 22  # numbers gathered at a time on devices without sparse products

Rows = NDArray[np.integer[Any]]


class RepeatedPairs(RatingsError):
    """Pairs rated twice, which torch's sampled product cannot take."""


class Products(Protocol):
    """The products that a gradient is made of, over some of the ratings."""

    def sums(
        self,
        left: Tensor,
        right: Tensor,
        user_sums: Tensor,
        item_sums: Tensor,
        scale: float,
    ) -> Tensor:
        """Write ``scale`` times the sums of w times error times opposite row.

        Parameters
        ----------
        left, right
            The tables of the users and of the items, shapes (n_rows, width).
        user_sums, item_sums
            What is written, in the shapes of the tables: per user the sum of w times error times
            right_i, per item that of w times error times left_u, where the error is left_u .
            right_i - target. What they held does not matter.

        Returns
        -------
        Tensor
            The sum of w times squared error, shape (), in the `widest` type.
        """


@dataclass(kw_only=True)
class Gradient:
    """The gradient of J at the tables of both sides, in buffers like them.

    The column of ones has none: what is written there means nothing.
    """

    columns: dict[str, int]  # of the biases
    rank: int
    n: float  # N, the sum of the weights of all ratings
    n_batches: int
    # in N J, of factors and of biases, in the unit of the tables; shape (n_rows, 1) each
    penalties: dict[str, tuple[Tensor, Tensor]]
    of: dict[str, Tensor]

    def measure(self, x: dict[str, Tensor], products: Products) -> Tensor:
        """Write dJ/dx, in which the ratings of one batch stand for all, and return `Products.sums`.

        What a batch sums up counts ``n_batches`` times, and the penalty in full. So the mean over
        the batches is the gradient of J, whatever each has of ratings and of their weight.
        """
        of, scale = self.of, 2.0 / self.n
        of_batch = scale * self.n_batches
        squared_error = products.sums(x["user"], x["item"], of["user"], of["item"], of_batch)
        for side in SIDES:
            bias = slice(self.columns[side], self.columns[side] + 1)
            of_factors, of_bias = self.penalties[side]
            for columns, penalty in ((slice(self.rank), of_factors), (bias, of_bias)):
                of[side][:, columns].addcmul_(penalty, x[side][:, columns], value=scale)
        return squared_error


class SparseProducts:
    """By sampled and sparse matrix products: nothing of size ratings x rank is ever made.

    The errors, weighted, are the values of a CSR matrix, and in another order those of its
    transpose. Pattern, values and order are laid out once; a call allocates nothing of the ratings'
    size.
    """

    def __init__(
        self,
        users: Rows,
        items: Rows,
        targets: Float,
        weights: Float | None,
        shape: tuple[int, int],
        device: torch.device,
        threads: Threads,
    ) -> None:
        """Lay out distinct pairs that are sorted by user, then by item; no weights mean 1 each."""
        order = order_by(items, shape[1])
        self.targets = torch.as_tensor(targets, device=device)
        self.weights = _like(self.targets, weights)
        self.order = torch.as_tensor(order, device=device)
        self.by_user = Matrix(users, items, self.targets, shape, threads)
        self.by_item = Matrix(items[order], users[order], self.targets, shape[::-1], threads)

    def sums(
        self,
        left: Tensor,
        right: Tensor,
        user_sums: Tensor,
        item_sums: Tensor,
        scale: float,
    ) -> Tensor:
        """See `Products`."""
        errors = self.by_user.values
        errors.copy_(self.targets)
        self.by_user.subtract_from_products(left, right)
        squared_error = weigh(errors, self.weights)
        checkpoint()
        self.by_user.multiply(right, scale, user_sums)
        checkpoint()
        self.by_item.take(errors, self.order)
        self.by_item.multiply(left, scale, item_sums)
        return squared_error

    @classmethod
    def work_on(cls, device: torch.device, dtype: torch.dtype) -> bool:
        """Try it on one rating."""
        zero = np.zeros(1, np.int32)
        try:
            one = torch.ones((1, 1), device=device, dtype=dtype)
            target = np.zeros(1, str(dtype).removeprefix("torch."))
            products = cls(zero, zero, target, None, (1, 1), device, Threads(1))
            products.sums(one, one, one.clone(), one.clone(), 1.0)
        except (RuntimeError, TypeError):  # a device without these products, or without float64
            return False
        return True


class Matrix:
    """A CSR matrix whose pattern stays, in runs of rows.

    On a host it has a run for each thread of the fit, where it is large. Torch's own threads do not
    serve here: on a host it takes values in another order, and sums bags, on one of them alone, and
    the others spin in wait between two operations. Indices are of 32 bits wherever they fit, which
    is what MKL computes with: it would convert wider ones in every product.
    """

    def __init__(
        self,
        rows: Rows,
        columns: Rows,
        like: Tensor,
        shape: tuple[int, int],
        threads: Threads,
    ) -> None:
        """Take sorted rows; values like ``like`` are still to be written."""
        n, index, device = len(rows), np.int32 if len(rows) < 2**31 else np.int64, like.device
        n_runs = threads.n if n >= THREADED and like.is_cpu else 1
        offsets = np.searchsorted(rows, np.arange(shape[0] + 1, dtype=rows.dtype))
        cuts = np.searchsorted(offsets, np.linspace(0, n, n_runs + 1)[1:-1]).tolist()
        others = torch.as_tensor(columns.astype(index, copy=False), device=device)
        self.threads = threads
        self.values = torch.zeros_like(like)
        # rows, entries, and the matrix of these rows
        self.runs: list[tuple[slice, slice, Tensor]] = []
        for start, stop in pairwise([0, *cuts, shape[0]]):
            part = slice(int(offsets[start]), int(offsets[stop]))
            mine = (offsets[start : stop + 1] - part.start).astype(index)
            starts, size = torch.as_tensor(mine, device=device), (stop - start, shape[1])
            matrix = _csr(starts, others[part], self.values[part], size)
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

        Each row of the product is a bag of weighted rows. Torch's kernel for such bags on a host in
        float32 prefetches the rows and is compiled for their width: at rank 16 it is as fast as
        MKL's sparse product, at 128 over twice.
        """
        serves_bags = table.is_cpu and table.dtype == torch.float32

        def product(rows: slice, part: slice, matrix: Tensor) -> None:
            torch.addmm(out[rows], matrix, table, beta=0, alpha=scale, out=out[rows])

        def bags(rows: slice, part: slice, matrix: Tensor) -> None:
            sums = embedding_bag(
                matrix.col_indices(),
                table,
                matrix.crow_indices(),
                mode="sum",
                per_sample_weights=self.values[part],
                include_last_offset=True,
            )
            torch.mul(sums, scale, out=out[rows])

        self.threads.run(bags if serves_bags else product, self.runs)


class GatherProducts:
    """By gathered rows, a chunk of ratings at a time.

    It serves devices without sparse products, and repeated pairs.
    """

    def __init__(
        self,
        users: Rows,
        items: Rows,
        targets: Float,
        weights: Float | None,
        device: torch.device,
    ) -> None:
        self.users = torch.tensor(users, device=device, dtype=torch.long)
        self.items = torch.tensor(items, device=device, dtype=torch.long)
        self.targets = torch.tensor(targets, device=device)
        self.weights = _like(self.targets, weights)

    def sums(
        self,
        left: Tensor,
        right: Tensor,
        user_sums: Tensor,
        item_sums: Tensor,
        scale: float,
    ) -> Tensor:
        """See `Products`."""
        user_sums.zero_(), item_sums.zero_()
        squared_error = torch.zeros((), dtype=widest(left.device), device=left.device)
        for part in chunks(len(self.targets), max(1, GATHER_CELLS // left.shape[1])):
            checkpoint()
            u, i = self.users[part], self.items[part]
            mine, theirs = left[u], right[i]
            errors = (mine * theirs).sum(dim=1) - self.targets[part]
            squared_error += weigh(errors, None if self.weights is None else self.weights[part])
            pull = scale * errors[:, None]
            user_sums.index_add_(0, u, theirs.mul_(pull))
            item_sums.index_add_(0, i, mine.mul_(pull))
        return squared_error


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
        wanted = "distinct (user, item) pairs"
        raise RepeatedPairs(f'products="sparse" needs {wanted}; take products="gather"')
    shape, parts = (train.n_users, train.n_items), _deal(order, n_batches, rng)
    columns = (_columns(train, targets, part) for part in parts)
    return [SparseProducts(*those, shape, device, threads) for those in columns]


def gather_batches(
    train: Ratings, targets: Float, device: torch.device, n_batches: int, rng: np.random.Generator
) -> list[Products]:
    """Deal the ratings into batches of equal size, give or take one.

    One batch has them in the order they come in.
    """
    parts = _deal(np.arange(len(train)), n_batches, rng)
    return [GatherProducts(*_columns(train, targets, part), device) for part in parts]


def _columns(train: Ratings, targets: Float, part: Rows) -> tuple[Rows, Rows, Float, Float | None]:
    """Return users, items, targets and weights of some ratings."""
    weights = None if train.weights is None else train.weights[part]
    return train.users[part], train.items[part], targets[part], weights


def _like(targets: Tensor, weights: Float | None) -> Tensor | None:
    """Return the weights on the targets' device and in their precision."""
    if weights is None:
        return None
    return torch.as_tensor(weights, dtype=targets.dtype, device=targets.device)


def _repeats(rows: Rows) -> NDArray[np.bool_]:
    repeats: NDArray[np.bool_] = rows[1:] == rows[:-1]
    return repeats


def _deal(order: Rows, n_batches: int, rng: np.random.Generator) -> list[Rows]:
    """Split the ratings at random; within a batch they keep their order."""
    if n_batches == 1:
        return [order]
    dealt = (rng.permutation(len(order)) % n_batches).astype(np.int32)
    return np.array_split(order[order_by(dealt, n_batches)], n_batches)


def weigh(errors: Tensor, weights: Tensor | None) -> Tensor:
    """Return the sum of w e^2 in the `widest` type, and multiply the errors by their weights.

    It takes one buffer of `WIDE_CHUNK` numbers: torch would widen all errors first.
    """
    device = errors.device
    wide = torch.empty(min(len(errors), WIDE_CHUNK), dtype=widest(device), device=device)
    total = torch.zeros((), dtype=wide.dtype, device=device)
    for part in chunks(len(errors), WIDE_CHUNK):
        some = wide[: len(errors[part])].copy_(errors[part])
        if weights is None:
            total += torch.linalg.vector_norm(some).square()
        else:
            total += some.square_().mul_(weights[part]).sum()
            errors[part].mul_(weights[part])
    return total


@cache
def widest(device: torch.device) -> torch.dtype:
    """Return float64, or float32 for a device that lacks it."""
    try:
        return torch.zeros(1, dtype=torch.float64, device=device).dtype
    except TypeError:
        return torch.float32


def order_by(rows: Rows, n_rows: int) -> Rows:
    """Return the stable order of rows, as ``argsort`` does, in O(n).

    It is the transpose of a matrix with one entry a line, which scipy makes by counting; sorting
    takes several times as long.
    """
    from scipy.sparse import csr_array

    n = len(rows)
    lines = np.arange(n + 1, dtype=np.int32 if n < 2**31 else np.int64)
    entries: Any = (np.zeros(n, np.int8), rows, lines)
    order: Rows = csr_array(entries, shape=(n, n_rows)).tocsc().indices
    return order


def _csr(offsets: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Make a CSR matrix of arrays known to be valid, which it shares."""
    # torch says once that CSR is in beta; what is used of it is tested here
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False)
