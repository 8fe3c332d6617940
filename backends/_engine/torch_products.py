"""The gradient in torch: by sparse products, or from gathered rows where the device has none.

Full-batch descent computes it over all ratings, Adam over those of a mini-batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from backends._arrays import chunks

from .interrupt import checkpoint
from .threads import Threads
from .torch_ratings import DeviceRatings, offsets_of, stable_order
from .torch_tables import Tables, widest

T = TypeVar("T")

SQUARES = 1024  # squared residuals that are added up in the precision of the tables
THREADED = 1 << 14  # with fewer ratings, waking other threads takes longer than they save
GATHER_CELLS = 1 << 22  # numbers in a batch of gathered rows: bounds the memory


class Products(Protocol):
    """Sums over the ratings of a batch, from which a gradient is made."""

    def sums(self, at: Tables, out: Tables, scale: float) -> Tensor:
        """Sum residual times opposite row over the ratings of each row.

        The residual of a rating is the dot product of its rows minus its target.

        Parameters
        ----------
        at
            The point.
        out
            Output: for each row ``scale`` times the sum of weight * residual * opposite row. What
            was there is overwritten.

        Returns
        -------
        Tensor
            The sum of weight * residual^2, shape (), in the `widest` type.
        """


@dataclass(kw_only=True)
class Gradient:
    """The gradient of J: sums over ratings, and then the part of the penalties.

    Attributes
    ----------
    n
        N, the sum of the weights of all ratings.
    n_batches
        How many batches the ratings are dealt into.
    penalties
        Of each parameter in N J and in the unit of the tables. Whole tables, as an operation on
        some columns takes several times as long as one on all.
    has_biases
        Whether the model has biases.
    """

    n: float
    n_batches: int
    penalties: Tables
    has_biases: bool

    def sums(self, at: Tables, products: Products, out: Tables) -> Tensor:
        """Write the gradient of the squared errors, in which the ratings of a batch stand for all.

        The sums over the batch are multiplied by ``n_batches``, and the penalty counts in full. So
        the mean over the batches is the gradient of J, even if batches differ in size and weight.

        Returns
        -------
        Tensor
            The weighted sum of squared residuals of the batch; see `Products.sums`.
        """
        squared_error = products.sums(at, out, 2.0 / self.n * self.n_batches)
        for constants in out.constants(self.has_biases):
            constants.zero_()
        return squared_error

    def add_penalties(self, at: Tables, out: Tables, rows: slice) -> None:
        """Add the part of the penalties for some rows."""
        out.rows[rows].addcmul_(self.penalties.rows[rows], at.rows[rows], value=2.0 / self.n)


class SparseProducts:
    """`Products` by sampled and sparse matrix products, without an array of size ratings x rank.

    The weighted residuals E are a sparse (n_users, n_items) matrix in CSR form. The dot products
    are a sampled product, of P Q^T where E has entries, with P and Q the tables; the sums for the
    users are E Q, and those for the items E^T P. CSR is fast by rows only, so E^T is a CSR matrix
    too, with the same values in another order. Pattern and order are computed once, and the values
    are overwritten in place.

    Parameters
    ----------
    ratings
        Of distinct pairs, sorted by user, then by item.
    threads
        Threads of the fit.
    """

    def __init__(self, ratings: DeviceRatings, threads: Threads) -> None:
        # Position in user order of each entry in item order: values of E to values of E^T.
        self.order = stable_order(ratings.items, ratings.n_items)
        self.targets, self.weights = ratings.targets, ratings.weights
        shape = ratings.n_users, ratings.n_items
        users, items = ratings.users, ratings.items
        self.by_user = Matrix(users, items, ratings.targets, shape, threads)
        self.by_item = Matrix(
            items[self.order], users[self.order], ratings.targets, shape[::-1], threads
        )

    def sums(self, at: Tables, out: Tables, scale: float) -> Tensor:
        """See `Products`."""
        users, items, of_users, of_items = at.users, at.items, out.users, out.items

        def by_user(part: Range) -> Tensor:
            self.residuals(part, users, items)
            weights = None if self.weights is None else self.weights[part.entries]
            squared_error = weigh(part.values, weights)
            part.multiply(items, scale, of_users)
            return squared_error

        def by_item(part: Range) -> None:
            self.take(part)
            part.multiply(users, scale, of_items)

        checkpoint()
        squared_errors: list[Tensor] = self.by_user.run(by_user)
        checkpoint()
        self.by_item.run(by_item)
        return squared_errors[0] if len(squared_errors) == 1 else torch.stack(squared_errors).sum()

    def residuals(self, part: Range, users: Tensor, items: Tensor) -> None:
        """Set the values of a range of users to their residuals."""
        part.values.copy_(self.targets[part.entries])
        rows = users[part.rows], items.T
        torch.sparse.sampled_addmm(part.matrix, *rows, beta=-1.0, out=part.matrix)

    def take(self, part: Range) -> None:
        """Set the values of a range of items to those by user."""
        torch.index_select(self.by_user.values, 0, self.order[part.entries], out=part.values)

    @classmethod
    def work_on(cls, device: torch.device, dtype: torch.dtype) -> bool:
        """Return whether the device has these products, found out by trying them on one rating.

        Raises
        ------
        torch.OutOfMemoryError
            If there is no memory left to try.
        """
        zero = torch.zeros(1, dtype=torch.int32, device=device)
        try:
            tables = Tables(torch.ones((2, 3), device=device, dtype=dtype), 1, 1)
            target = torch.zeros(1, device=device, dtype=dtype)
            products = cls(DeviceRatings(zero, zero, target, None, 1, 1), Threads(1))
            products.sums(tables, tables.clone(), 1.0)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError):  # no such product, or, as on MPS, no float64
            return False
        return True


@dataclass(frozen=True)
class Range:
    """A range of a matrix's rows.

    Attributes
    ----------
    rows, entries
        Which rows, and which entries of the matrix, these are.
    columns, values
        Of the entries; ``values`` is a view, which is overwritten in place.
    matrix
        The matrix of these rows, of the same memory.
    """

    rows: slice
    entries: slice
    columns: Tensor
    values: Tensor
    matrix: Tensor

    def multiply(self, table: Tensor, scale: float, out: Tensor) -> None:
        """Write ``scale`` times these rows times a table to their rows of ``out``."""
        if table.is_cpu and table.dtype == torch.float32:
            # A row of the product is a weighted sum of rows of the table: what torch calls a bag of
            # embeddings. Its float32 kernel for CPUs prefetches the rows and is compiled for their
            # width: at rank 16 it is as fast as MKL's sparse product, at 128 over twice as fast.
            sums = embedding_bag(
                self.columns,
                table,
                self.matrix.crow_indices(),
                mode="sum",
                per_sample_weights=self.values,
                include_last_offset=True,
            )
            torch.mul(sums, scale, out=out[self.rows])
        else:
            # With beta=0 what `out` held is ignored, even NaN.
            torch.addmm(out[self.rows], self.matrix, table, beta=0, alpha=scale, out=out[self.rows])


class Matrix:
    """A CSR matrix with a fixed pattern, cut into ranges of rows that are computed side by side.

    On a CPU a large matrix has one range per thread of the fit, and on another device a single one.
    Torch's own threads are not used: on a CPU its ``index_select`` and ``embedding_bag`` run on one
    thread only, and the others would spin between two operations.

    Parameters
    ----------
    rows, columns
        Of the entries, by ascending row, shape (n_entries,).
    like
        Gives the device and precision of the values, which are zero at first.

    Attributes
    ----------
    values
        Of all entries, shape (n_entries,).
    """

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        like: Tensor,
        shape: tuple[int, int],
        threads: Threads,
    ) -> None:
        n = len(rows)
        # MKL computes with 32-bit indices, and would convert wider ones in every product.
        index = torch.int32 if n < 2**31 else torch.int64
        offsets = offsets_of(rows, shape[0])
        cuts: list[int] = []
        if n >= THREADED and like.is_cpu and threads.n > 1:  # about as many entries in each range
            cuts = np.searchsorted(offsets.numpy(), np.linspace(0, n, threads.n + 1)[1:-1]).tolist()
        self._threads = threads
        self.values = torch.zeros_like(like)
        self._ranges: list[tuple[Range]] = []
        columns = columns.to(index)
        for start, stop in pairwise([0, *cuts, shape[0]]):
            whole = (start, stop) == (0, shape[0])
            entries = slice(0, n) if whole else slice(int(offsets[start]), int(offsets[stop]))
            part, values = columns[entries], self.values[entries]
            starts = (offsets[start : stop + 1] - entries.start).to(index)
            matrix = _csr(starts, part, values, (stop - start, shape[1]))
            self._ranges.append((Range(slice(start, stop), entries, part, values, matrix),))

    @property
    def parts(self) -> list[Range]:
        """The ranges."""
        return [part for (part,) in self._ranges]

    def run(self, work: Callable[[Range], T]) -> list[T]:
        """Return the results of ``work`` on each range."""
        results: list[T] = self._threads.run(work, self._ranges)
        return results


class GatherProducts:
    """`Products` by gathering both rows of each rating, a chunk of ratings at a time.

    For devices without sparse products, and for ratings with repeated pairs, which a sparse matrix
    cannot hold as two entries.
    """

    def __init__(self, ratings: DeviceRatings) -> None:
        self.users, self.items = ratings.users.long(), ratings.items.long()
        self.targets, self.weights = ratings.targets, ratings.weights

    def sums(self, at: Tables, out: Tables, scale: float) -> Tensor:
        """See `Products`."""
        left, right = at.users, at.items
        out.rows.zero_()
        squared_error = torch.zeros((), dtype=widest(left.device), device=left.device)
        for part in chunks(len(self.targets), max(1, GATHER_CELLS // left.shape[1])):
            checkpoint()
            u, i = self.users[part], self.items[part]
            user_rows, item_rows = left[u], right[i]  # copies, shape (chunk, width)
            errors = (user_rows * item_rows).sum(dim=1) - self.targets[part]
            squared_error += weigh(errors, None if self.weights is None else self.weights[part])
            # The copies are not needed any more, so they take the products in place.
            scaled_errors = scale * errors[:, None]
            out.users.index_add_(0, u, item_rows.mul_(scaled_errors))
            out.items.index_add_(0, i, user_rows.mul_(scaled_errors))
        return squared_error


def weigh(errors: Tensor, weights: Tensor | None) -> Tensor:
    """Return the weighted sum of squared errors, and multiply the errors by their weights.

    Squares are added up in the errors' precision, `SQUARES` at a time, and these sums in the
    `widest` type: so the error of the result does not grow with the number of ratings.
    """
    wide, whole = widest(errors.device), len(errors) // SQUARES * SQUARES
    parts = [errors[:whole].view(-1, SQUARES), errors[None, whole:]]
    if weights is None:
        # The norm reads its argument once and allocates nothing.
        sums = [torch.linalg.vector_norm(part, dim=1).to(wide).square_().sum() for part in parts]
    else:
        weighted = errors * weights
        products = [weighted[:whole].view(-1, SQUARES), weighted[None, whole:]]
        sums = [
            torch.linalg.vecdot(part, product).to(wide).sum()
            for part, product in zip(parts, products, strict=True)
        ]
        errors.copy_(weighted)
    total: Tensor = sums[0] + sums[1]
    return total


def _csr(offsets: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a CSR matrix that shares these arrays, which are not checked."""
    # torch warns once that CSR is in beta. The tests cover what is used of it here.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        # The device is given, or a default device of torch's would be taken.
        return torch.sparse_csr_tensor(
            offsets, columns, values, shape, device=values.device, check_invariants=False
        )
