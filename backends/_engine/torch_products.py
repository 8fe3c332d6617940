"""The gradient in torch: by sparse products, or from gathered rows where the device has none.

Full-batch descent computes it over all ratings, Adam over those of a mini-batch. Biases are columns
of the factor tables: a user's row is (p, b, 1) and an item's (q, 1, c), so their dot product is p .
q + b + c, and one matrix product serves factors and biases.
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
WIDE_CHUNK = 1 << 20  # residuals converted to float64 and squared at a time
THREADED = 1 << 14  # with fewer ratings, waking other threads takes longer than they save
GATHER_CELLS = 1 << 22  # numbers in a batch of gathered rows: bounds the memory

Rows = NDArray[np.integer[Any]]


class RepeatedPairs(RatingsError):
    """Pairs rated twice, which torch's sampled product cannot take."""


class Products(Protocol):
    """Sums over the ratings of a batch, from which a gradient is made."""

    def sums(
        self,
        left: Tensor,
        right: Tensor,
        user_sums: Tensor,
        item_sums: Tensor,
        scale: float,
    ) -> Tensor:
        """Sum residual times opposite row over the ratings of each row.

        The residual of a rating is left_u . right_i - target.

        Parameters
        ----------
        left, right
            The tables of the users and of the items, shapes (n_users, rank + 2) and (n_items,
            rank + 2).
        user_sums, item_sums
            Output, in the shapes of the tables: for each user ``scale`` times the sum of weight *
            residual * right_i, and for each item that of weight * residual * left_u. They are
            overwritten.

        Returns
        -------
        Tensor
            The sum of weight * residual^2, shape (), in the `widest` type.
        """


@dataclass(kw_only=True)
class Gradient:
    """The gradient of J with respect to both tables, in buffers that are allocated once.

    The tables' columns of ones are constants. What the buffers hold there is meaningless.

    Attributes
    ----------
    columns
        Index of the column of biases, for each side.
    n
        N, the sum of the weights of all ratings.
    penalties
        Of each row's factors and of its bias in N J, in the unit of the tables; for each side two
        tensors of shape (n_rows, 1).
    of
        The gradient with respect to each side's table, in its shape.
    """

    columns: dict[str, int]
    rank: int
    n: float
    n_batches: int
    penalties: dict[str, tuple[Tensor, Tensor]]
    of: dict[str, Tensor]

    def measure(self, x: dict[str, Tensor], products: Products) -> Tensor:
        """Compute the gradient at tables ``x``, in which the ratings of one batch stand for all.

        The sums over the batch are multiplied by ``n_batches``, and the penalty counts in full. So
        the mean over the batches is the gradient of J, even if batches differ in size and weight.

        Returns
        -------
        Tensor
            The weighted sum of squared residuals of the batch; see `Products.sums`.
        """
        of, scale = self.of, 2.0 / self.n
        batch_scale = scale * self.n_batches
        squared_error = products.sums(x["user"], x["item"], of["user"], of["item"], batch_scale)
        for side in SIDES:
            bias = slice(self.columns[side], self.columns[side] + 1)
            factor_penalty, bias_penalty = self.penalties[side]
            # Two slices, since factors and bias have penalties of their own and the ones have none.
            for columns, penalty in ((slice(self.rank), factor_penalty), (bias, bias_penalty)):
                of[side][:, columns].addcmul_(penalty, x[side][:, columns], value=scale)
        return squared_error


class SparseProducts:
    """`Products` by sampled and sparse matrix products, without an array of size ratings x rank.

    The weighted residuals E are a sparse (n_users, n_items) matrix in CSR form. The residuals are a
    sampled product, of left right^T where E has entries; the sums for the users are E right, and
    those for the items E^T left. CSR is fast by rows only, so E^T is a CSR matrix too, with the
    same values in another order. Pattern and order are computed once, and the values are
    overwritten in place.
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
        """Build both matrices from distinct pairs that are sorted by user, then by item.

        Without weights each rating weighs 1.
        """
        # Position in user order of each entry in item order: values of E to values of E^T.
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
        errors = self.by_user.values  # the values of E itself, overwritten in place
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
        """Return whether the device has these products, found out by trying them on one rating."""
        zero = np.zeros(1, np.int32)
        try:
            table = torch.ones((1, 1), device=device, dtype=dtype)
            target = np.zeros(1, str(dtype).removeprefix("torch."))
            products = cls(zero, zero, target, None, (1, 1), device, Threads(1))
            products.sums(table, table, table.clone(), table.clone(), 1.0)
        except (RuntimeError, TypeError):  # no such product, or, as on MPS, no float64
            return False
        return True


class Matrix:
    """A CSR matrix with a fixed pattern, cut into ranges of rows that are computed side by side.

    On a CPU a large matrix has one range per thread of the fit, and on another device a single one.
    Torch's own threads are not used: on a CPU its ``index_select`` and ``embedding_bag`` run on one
    thread only, and the others would spin between two operations.

    Attributes
    ----------
    values
        Of all entries, shape (n_entries,). The matrices of the ranges are views of it.
    ranges
        For each range its rows, its entries, and the matrix of these rows.
    """

    def __init__(
        self,
        rows: Rows,
        columns: Rows,
        like: Tensor,
        shape: tuple[int, int],
        threads: Threads,
    ) -> None:
        """Build the pattern from the entries' rows, ascending, and columns.

        ``like`` gives the device and precision of the values, which are zero at first.
        """
        n, device = len(rows), like.device
        # MKL computes with 32-bit indices, and would convert wider ones in every product.
        index = np.int32 if n < 2**31 else np.int64
        n_ranges = threads.n if n >= THREADED and like.is_cpu else 1
        # Where each row's entries start. The ranges have about the same number of entries.
        offsets = np.searchsorted(rows, np.arange(shape[0] + 1, dtype=rows.dtype))
        cuts = np.searchsorted(offsets, np.linspace(0, n, n_ranges + 1)[1:-1]).tolist()
        column_indices = torch.as_tensor(columns.astype(index, copy=False), device=device)
        self.threads = threads
        self.values = torch.zeros_like(like)
        self.ranges: list[tuple[slice, slice, Tensor]] = []
        for start, stop in pairwise([0, *cuts, shape[0]]):
            entries = slice(int(offsets[start]), int(offsets[stop]))
            starts = (offsets[start : stop + 1] - entries.start).astype(index)
            matrix = _csr(
                torch.as_tensor(starts, device=device),
                column_indices[entries],
                self.values[entries],
                (stop - start, shape[1]),
            )
            self.ranges.append((slice(start, stop), entries, matrix))

    def take(self, values: Tensor, order: Tensor) -> None:
        """Set the values to ``values[order]``."""

        def take(rows: slice, entries: slice, matrix: Tensor) -> None:
            torch.index_select(values, 0, order[entries], out=self.values[entries])

        self.threads.run(take, self.ranges)

    def subtract_from_products(self, left: Tensor, right: Tensor) -> None:
        """Set each value to left_row . right_column minus the value: targets become residuals."""

        def subtract(rows: slice, entries: slice, matrix: Tensor) -> None:
            torch.sparse.sampled_addmm(matrix, left[rows], right.T, beta=-1.0, out=matrix)

        self.threads.run(subtract, self.ranges)

    def multiply(self, table: Tensor, scale: float, out: Tensor) -> None:
        """Write ``scale`` times this matrix times a table to ``out``, shape (n_rows, rank + 2)."""

        def product(rows: slice, entries: slice, matrix: Tensor) -> None:
            # With beta=0 what `out` held is ignored, even NaN.
            torch.addmm(out[rows], matrix, table, beta=0, alpha=scale, out=out[rows])

        def bags(rows: slice, entries: slice, matrix: Tensor) -> None:
            # A row of the product is a weighted sum of rows of the table: what torch calls a bag of
            # embeddings. Its float32 kernel for CPUs prefetches the rows and is compiled for their
            # width: at rank 16 it is as fast as MKL's sparse product, at 128 over twice as fast.
            sums = embedding_bag(
                matrix.col_indices(),
                table,
                matrix.crow_indices(),
                mode="sum",
                per_sample_weights=self.values[entries],
                include_last_offset=True,
            )
            torch.mul(sums, scale, out=out[rows])

        has_fast_bags = table.is_cpu and table.dtype == torch.float32
        self.threads.run(bags if has_fast_bags else product, self.ranges)


class GatherProducts:
    """`Products` by gathering both rows of each rating, a chunk of ratings at a time.

    For devices without sparse products, and for ratings with repeated pairs, which a sparse matrix
    cannot hold as two entries.
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
        user_sums.zero_()
        item_sums.zero_()
        squared_error = torch.zeros((), dtype=widest(left.device), device=left.device)
        for part in chunks(len(self.targets), max(1, GATHER_CELLS // left.shape[1])):
            checkpoint()
            u, i = self.users[part], self.items[part]
            user_rows, item_rows = left[u], right[i]  # copies, shape (chunk, rank + 2)
            errors = (user_rows * item_rows).sum(dim=1) - self.targets[part]
            squared_error += weigh(errors, None if self.weights is None else self.weights[part])
            # The copies are not needed any more, so they take the products in place.
            scaled_errors = scale * errors[:, None]
            user_sums.index_add_(0, u, item_rows.mul_(scaled_errors))
            item_sums.index_add_(0, i, user_rows.mul_(scaled_errors))
        return squared_error


def sparse_batches(
    train: Ratings,
    targets: Float,
    device: torch.device,
    n_batches: int,
    rng: np.random.Generator,
    threads: Threads,
) -> list[Products]:
    """Deal the ratings at random into batches whose sizes differ by at most one.

    The batches do not depend on the order in which the ratings are given.

    Raises
    ------
    RepeatedPairs
        When a pair is rated twice.
    """
    # A stable sort by user of what is sorted by item is a sort by user, then by item.
    by_item = order_by(train.items, train.n_items)
    order = by_item[order_by(train.users[by_item], train.n_users)]
    del by_item
    # In that order a repeated pair is next to itself.
    if (_repeats(train.users[order]) & _repeats(train.items[order])).any():
        raise RepeatedPairs(
            'products="sparse" needs distinct (user, item) pairs; take products="gather"',
        )
    shape = train.n_users, train.n_items
    batches: list[Products] = []
    for part in _deal(order, n_batches, rng):
        users, items, part_targets, weights = _columns(train, targets, part)
        batches.append(SparseProducts(users, items, part_targets, weights, shape, device, threads))
    return batches


def gather_batches(
    train: Ratings, targets: Float, device: torch.device, n_batches: int, rng: np.random.Generator
) -> list[Products]:
    """Deal the ratings at random into batches whose sizes differ by at most one.

    A single batch has the ratings in the order in which they are given.
    """
    batches: list[Products] = []
    for part in _deal(np.arange(len(train)), n_batches, rng):
        users, items, part_targets, weights = _columns(train, targets, part)
        batches.append(GatherProducts(users, items, part_targets, weights, device))
    return batches


def _columns(train: Ratings, targets: Float, part: Rows) -> tuple[Rows, Rows, Float, Float | None]:
    """Return users, items, targets and weights of the ratings at the positions ``part``."""
    weights = None if train.weights is None else train.weights[part]
    return train.users[part], train.items[part], targets[part], weights


def _like(targets: Tensor, weights: Float | None) -> Tensor | None:
    """Return the weights on the targets' device and in their precision."""
    if weights is None:
        return None
    return torch.as_tensor(weights, dtype=targets.dtype, device=targets.device)


def _repeats(rows: Rows) -> NDArray[np.bool_]:
    """Return whether each row is the same as the one before it, shape (n - 1,)."""
    repeats: NDArray[np.bool_] = rows[1:] == rows[:-1]
    return repeats


def _deal(order: Rows, n_batches: int, rng: np.random.Generator) -> list[Rows]:
    """Split the ratings at random; within a batch they keep their order."""
    if n_batches == 1:
        return [order]
    # The batch of each rating: as many of each number as of any other, in random order.
    dealt = (rng.permutation(len(order)) % n_batches).astype(np.int32)
    return np.array_split(order[order_by(dealt, n_batches)], n_batches)


def weigh(errors: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weighted sum of squared errors, and multiply the errors by their weights.

    The sum is in the `widest` type. Summing with ``dtype=torch.float64`` would convert all errors
    at once; here a buffer of `WIDE_CHUNK` numbers is enough.
    """
    device = errors.device
    wide = torch.empty(min(len(errors), WIDE_CHUNK), dtype=widest(device), device=device)
    total = torch.zeros((), dtype=wide.dtype, device=device)
    for part in chunks(len(errors), WIDE_CHUNK):
        chunk = wide[: len(errors[part])].copy_(errors[part])
        if weights is None:
            # The norm reads its argument once and allocates nothing.
            total += torch.linalg.vector_norm(chunk).square()
        else:
            total += chunk.square_().mul_(weights[part]).sum()
            errors[part].mul_(weights[part])
    return total


@cache
def widest(device: torch.device) -> torch.dtype:
    """Return float64, or float32 for a device that has no float64."""
    try:
        return torch.zeros(1, dtype=torch.float64, device=device).dtype
    except TypeError:
        return torch.float32


def order_by(rows: Rows, n_rows: int) -> Rows:
    """Return the stable order of rows, as ``argsort`` does, in O(n).

    Consider a matrix with one entry per line, in column rows[n] of line n. Converting it from CSR
    to CSC sorts the entries by column, and scipy does that by counting. ``argsort`` takes several
    times as long.
    """
    from scipy.sparse import csr_array

    n = len(rows)
    lines = np.arange(n + 1, dtype=np.int32 if n < 2**31 else np.int64)
    entries: Any = (np.zeros(n, np.int8), rows, lines)  # data, column indices, line offsets
    order: Rows = csr_array(entries, shape=(n, n_rows)).tocsc().indices
    return order


def _csr(offsets: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a CSR matrix that shares these arrays, which are not checked."""
    # torch warns once that CSR is in beta. The tests cover what is used of it here.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False)
