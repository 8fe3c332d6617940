"""Ratings on a device: copied once, and sorted and dealt into batches there.

What lives here: where ratings are in memory. What does not: sums over them (`torch_products`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backends.errors import RatingsError
from backends.ratings import Ratings

from .torch_tables import Side, widest


class RepeatedPairs(RatingsError):
    """Pairs rated twice, which torch's sampled product cannot take."""


class Shard(NamedTuple):
    """The part of all ratings that a process has: every ``n_shards``-th, from ``first`` on."""

    first: int
    n_shards: int


@dataclass(frozen=True)
class DeviceRatings:
    """Ratings on a device.

    Attributes
    ----------
    users, items
        Rows of each rating, shape (n,), int32.
    targets
        Rating minus the mean, in the unit of the tables and in their precision, shape (n,).
    weights
        Shape (n,), in the precision of the tables; None if each rating weighs 1.
    n_users, n_items
        Number of rows of each side.
    """

    users: Tensor
    items: Tensor
    targets: Tensor
    weights: Tensor | None
    n_users: int
    n_items: int

    @classmethod
    def of(
        cls,
        train: Ratings,
        mean: float,
        unit: float,
        dtype: torch.dtype,
        device: torch.device,
        shard: Shard | None = None,
    ) -> DeviceRatings:
        """Copy ratings to a device, or a shard of them; (r - mean) / unit is computed there."""
        part = slice(None)
        if shard is not None:
            if len(train) < shard.n_shards:
                raise RatingsError(
                    f"{shard.n_shards} processes cannot share {len(train)} ratings; take fewer"
                )
            part = slice(shard.first, None, shard.n_shards)
        # In float64, since close numbers are subtracted: on the host, if the device has none.
        host = torch.device("cpu") if widest(device) != torch.float64 else device
        targets = _copied(train.ratings[part], host).to(torch.float64)
        targets = targets.sub(mean).div_(unit).to(dtype).to(device)
        weights = None
        if train.weights is not None:
            weights = _copied(train.weights[part], host).to(dtype).to(device)
        return cls(
            _copied(train.users[part], device),
            _copied(train.items[part], device),
            targets,
            weights,
            train.n_users,
            train.n_items,
        )

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, positions: Tensor) -> DeviceRatings:
        """Return the ratings at some positions."""
        return replace(
            self,
            users=self.users[positions],
            items=self.items[positions],
            targets=self.targets[positions],
            weights=None if self.weights is None else self.weights[positions],
        )

    def sorted_by_pair(self) -> DeviceRatings:
        """Return the ratings sorted by user, then by item."""
        # A stable sort by user of what is sorted by item is a sort by user, then by item.
        by_item = stable_order(self.items, self.n_items)
        return self.take(by_item[stable_order(self.users[by_item], self.n_users)])

    def check_distinct(self) -> None:
        """Raise `RepeatedPairs` if a pair is rated twice; the ratings are sorted by pair."""
        # A repeated pair is next to itself.
        same = (self.users[1:] == self.users[:-1]) & (self.items[1:] == self.items[:-1])
        if bool(same.any()):
            raise RepeatedPairs(
                'products="sparse" needs distinct (user, item) pairs; take products="gather"',
            )

    def dealt(self, n_batches: int, seed: int) -> list[DeviceRatings]:
        """Deal the ratings at random into ``n_batches`` batches, at most as many as ratings.

        Of ``n_batches`` ratings in a row each batch gets one, so that ratings of a row are spread
        over the batches, and their sizes differ by at most one. Which it gets depends on the place
        of the rating and the seed, and not on the device. Within a batch ratings keep their order.
        """
        if n_batches == 1:
            return [self]
        places = torch.arange(len(self), device=self.users.device)
        rounds = torch.arange(-(-len(self) // n_batches), device=self.users.device)
        # All of a round get the next batch, from a random one on.
        first = _hashed(rounds, seed).repeat_interleave(n_batches)[: len(self)]
        batch = (first + places) % n_batches
        sizes = torch.bincount(batch, minlength=n_batches).tolist()
        order = stable_order(batch.to(torch.int32), n_batches)
        return [self.take(part) for part in order.split(sizes)]

    def shuffled(self, seed: int) -> DeviceRatings:
        """Return the ratings in random order, which does not depend on the device."""
        numbers = torch.arange(len(self), device=self.users.device)
        return self.take(torch.sort(_hashed(numbers, seed), stable=True).indices)

    def behind_users(self, weight_unit: float) -> DeviceRatings:
        """Return ratings whose items' rows are counted behind those of the users.

        Weights are in units of ``weight_unit``.
        """
        weights = None if self.weights is None else self.weights / weight_unit
        return replace(self, items=self.items + self.n_users, weights=weights)

    def side(self, side: Side) -> tuple[Tensor, Tensor, int]:
        """Return the rows of a side, those of the other, and the number of the side's rows."""
        if side == "user":
            return self.users, self.items, self.n_users
        return self.items, self.users, self.n_items


def offsets_of(rows: Tensor, n_rows: int) -> Tensor:
    """Return where each row's ratings start, and the last ones end, if they are sorted by row.

    Returns
    -------
    Tensor
        Shape (n_rows + 1,), int64.
    """
    ends = torch.bincount(rows, minlength=n_rows).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends])


def stable_order(rows: Tensor, n_rows: int) -> Tensor:
    """Return the positions that sort rows; equal ones keep their order."""
    if rows.is_cpu:
        return torch.from_numpy(order_by(rows.numpy(), n_rows))
    return torch.sort(rows, stable=True).indices


def order_by(rows: NDArray[np.integer[Any]], n_rows: int) -> NDArray[np.integer[Any]]:
    """Return the stable order of rows, as ``argsort`` does, in O(n).

    Consider a matrix with one entry per line, in column rows[n] of line n. Converting it from CSR
    to CSC sorts the entries by column, and scipy does that by counting. ``argsort`` takes several
    times as long.
    """
    from scipy.sparse import csr_array

    n = len(rows)
    lines = np.arange(n + 1, dtype=np.int32 if n < 2**31 else np.int64)
    entries: Any = (np.zeros(n, np.int8), rows, lines)  # data, column indices, line offsets
    order: NDArray[np.integer[Any]] = csr_array(entries, shape=(n, n_rows)).tocsc().indices
    return order


def _copied(column: NDArray[Any], device: torch.device) -> Tensor:
    """Return a column on a device; on the CPU a view where the array may be written to."""
    column = np.ascontiguousarray(column)
    if not column.flags.writeable:
        return torch.tensor(column, device=device)
    return torch.as_tensor(column, device=device)


def _hashed(numbers: Tensor, seed: int) -> Tensor:
    """Return numbers from 0 to 2^32 - 1 that look random, shape (n,), int64.

    The finaliser of MurmurHash3 (Appleby 2011), in 64 bits of which the lower 32 are kept, so that
    every device computes the same.
    """
    low = 0xFFFFFFFF
    mixed = (numbers + (seed * 0x9E3779B9 & low)) & low
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = ((mixed ^ (mixed >> shift)) * factor) & low
    return mixed ^ (mixed >> 16)
