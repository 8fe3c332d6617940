"""Tables of all rows of a model in torch, and work on ranges of their rows.

What lives here: `Tables` and `RowRanges`, which know no ratings and no solver.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from backends.objective import Parameters

from .threads import Threads

Side = Literal["user", "item"]
SIDES: tuple[Side, Side] = ("user", "item")

# Numbers of a table that a thread of a CPU works on at a time: several tables' stay in its cache.
_IN_CACHE = 1 << 16
# With fewer numbers per thread, waking other threads takes longer than they save.
_THREADED = 1 << 14
# Rows are padded to a multiple of so many bytes: a memory sector of a GPU, a vector of a CPU.
_ALIGNED = 32


@dataclass(frozen=True)
class Tables:
    """One row per user and per item: a point, a gradient, a velocity.

    A user's row is (p, b, 1) and an item's (q, 1, c), padded with zeros, so their dot product is p
    . q + b + c, and one matrix product serves factors and biases. The rows of the users come first,
    then those of the items, so what is done to all rows alike is one operation.

    Attributes
    ----------
    rows
        Shape (n_users + n_items, width).
    n_users, rank
        Number of users, and of factors.
    """

    rows: Tensor
    n_users: int
    rank: int

    @classmethod
    def of_parameters(cls, x: Parameters, device: torch.device) -> Tables:
        """Return a point on a device."""
        n_users, rank = x.user_factors.shape
        dtype = x.user_factors.dtype
        step = _ALIGNED // dtype.itemsize
        host = np.zeros((n_users + len(x.item_factors), -(-(rank + 2) // step) * step), dtype)
        users, items = host[:n_users], host[n_users:]
        users[:, :rank], users[:, rank], users[:, rank + 1] = x.user_factors, x.user_bias, 1
        items[:, :rank], items[:, rank], items[:, rank + 1] = x.item_factors, 1, x.item_bias
        return cls(torch.tensor(host, device=device), n_users, rank)

    def parameters(self, mean: float) -> Parameters:
        """Return the numbers of a point, copied to the host."""
        host = self.rows.cpu().numpy()
        users, items = host[: self.n_users], host[self.n_users :]
        rank = self.rank
        columns = users[:, rank], items[:, rank + 1], users[:, :rank], items[:, :rank]
        return Parameters(mean, *columns)

    def places(self, side: Side) -> slice:
        """Return which rows are those of a side."""
        return slice(self.n_users) if side == "user" else slice(self.n_users, None)

    def of(self, side: Side) -> Tensor:
        """Return the rows of a side, a view."""
        return self.rows[self.places(side)]

    @property
    def users(self) -> Tensor:
        """The rows of the users, a view."""
        return self.of("user")

    @property
    def items(self) -> Tensor:
        """The rows of the items, a view."""
        return self.of("item")

    @property
    def factors(self) -> Tensor:
        """The factors, a view of shape (n_users + n_items, rank)."""
        return self.rows[:, : self.rank]

    @property
    def of_factors(self) -> Tensor:
        """What all factors of a row have in common, such as their penalty; shape (n_rows, 1)."""
        return self.rows[:, :1]

    def biases(self, side: Side) -> Tensor:
        """Return the biases of a side, a view of shape (n,)."""
        return self.of(side)[:, self.rank + (side == "item")]

    def constants(self, has_biases: bool) -> list[Tensor]:
        """Return the columns of ones of both sides, and of biases if the model has none; views."""
        columns = [self.users[:, self.rank + 1], self.items[:, self.rank]]
        return columns if has_biases else columns + [self.biases(side) for side in SIDES]

    def zeros(self) -> Tables:
        """Return zeros in this shape, precision and on this device."""
        return replace(self, rows=torch.zeros_like(self.rows))

    def clone(self) -> Tables:
        """Return a copy."""
        return replace(self, rows=self.rows.clone())


class RowRanges:
    """Ranges of a table's rows, on which the same work is done side by side.

    On a CPU they are small enough for the cache and are shared among the threads of the fit. On
    another device there is one range.

    Parameters
    ----------
    tables
        Whose rows they are.
    threads
        Threads of the fit.
    """

    def __init__(self, tables: Tables, threads: Threads) -> None:
        n_rows, size = len(tables.rows), tables.rows.numel()
        self._threads = threads
        self._ranges: list[tuple[slice]] = [(slice(None),)]
        if tables.rows.is_cpu and size >= threads.n * _THREADED:
            n_ranges = min(n_rows, threads.n * -(-size // (threads.n * _IN_CACHE)))
            bounds = [n_rows * k // n_ranges for k in range(n_ranges + 1)]
            self._ranges = [(slice(a, b),) for a, b in pairwise(bounds)]

    def run(self, work: Callable[[slice], Any]) -> None:
        """Call ``work`` with each range."""
        if len(self._ranges) == 1:
            work(*self._ranges[0])
        else:
            self._threads.run(work, self._ranges)


@cache
def widest(device: torch.device) -> torch.dtype:
    """Return float64, or float32 for a device that has no float64."""
    try:
        return torch.zeros(1, dtype=torch.float64, device=device).dtype
    except TypeError:
        return torch.float32


def weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """Return the sum over rows of weight times value in the `widest` type; shapes (n_rows, 1)."""
    return (weights * values.to(widest(values.device))).sum()
