"""The sums of full-batch gradient descent in torch: by sparse products, or from gathered rows where there are none."""

from __future__ import annotations

import warnings
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ._interrupt import checkpoint
from .errors import RatingsError
from .objective import Float, chunks
from .ratings import Ratings

GATHER_CHUNK = 1 << 18  # ratings at a time on devices without sparse products


class RepeatedPairs(RatingsError):
    """Pairs rated twice, which torch's sampled product cannot take."""


class Products(Protocol):
    """The two products that a full-batch gradient is made of; ``left`` and ``right`` are (n_rows, width) tables."""

    def errors(self, left: Tensor, right: Tensor) -> Tensor:
        """Return left_u . right_i - target of each rating, shape (n,)."""

    def sums(self, errors: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Return per user the sum of error times right_i, and per item the sum of error times left_u."""


class SparseProducts:
    """By sampled and sparse matrix products: nothing of size ratings x rank is ever made."""

    def __init__(self, train: Ratings, targets: Float, device: torch.device) -> None:
        keys = train.users.astype(np.int64) * train.n_items + train.items
        by_user = np.argsort(keys)  # sorts whole numbers several times as fast as lexsort does
        if (np.diff(keys[by_user]) == 0).any():
            raise RepeatedPairs('products="sparse" needs distinct (user, item) pairs; take products="gather"')
        users, items = train.users[by_user], train.items[by_user]
        by_item = np.argsort(items.astype(np.int64) * train.n_users + users)
        self.shape = (train.n_users, train.n_items)
        self.user_offsets, self.item_offsets = (
            torch.tensor(np.concatenate(([0], np.cumsum(counts))), device=device)
            for counts in (train.user_counts(), train.item_counts())
        )
        self.items = torch.tensor(items.astype(np.int64), device=device)
        self.users_by_item = torch.tensor(users[by_item].astype(np.int64), device=device)
        self.by_item = torch.tensor(by_item, device=device)
        values = torch.tensor(targets[by_user], device=device)
        self.targets = _csr(self.user_offsets, self.items, values, self.shape)

    def errors(self, left: Tensor, right: Tensor) -> Tensor:
        """See `Products`."""
        errors: Tensor = torch.sparse.sampled_addmm(self.targets, left, right.T, beta=-1.0).values()
        return errors

    def sums(self, errors: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        checkpoint()
        user_sums = _csr(self.user_offsets, self.items, errors, self.shape) @ right
        checkpoint()
        transposed = _csr(self.item_offsets, self.users_by_item, errors[self.by_item], self.shape[::-1])
        return user_sums, transposed @ left

    @staticmethod
    def work_on(device: torch.device, dtype: torch.dtype) -> bool:
        """Try both products on one rating."""
        one = torch.ones((1, 1), device=device, dtype=dtype)
        try:
            matrix = _csr(torch.tensor([0, 1], device=device), torch.tensor([0], device=device), one[0], (1, 1))
            _ = torch.sparse.sampled_addmm(matrix, one, one) @ one
        except (RuntimeError, NotImplementedError, TypeError):
            return False
        return True


class GatherProducts:
    """By gathered rows, a chunk of ratings at a time, for devices without sparse products."""

    def __init__(self, train: Ratings, targets: Float, device: torch.device) -> None:
        self.users = torch.tensor(train.users, device=device, dtype=torch.long)
        self.items = torch.tensor(train.items, device=device, dtype=torch.long)
        self.targets = torch.tensor(targets, device=device)

    def errors(self, left: Tensor, right: Tensor) -> Tensor:
        """See `Products`."""
        dots = []
        for part in chunks(len(self.targets), GATHER_CHUNK):
            checkpoint()
            dots.append((left[self.users[part]] * right[self.items[part]]).sum(dim=1))
        return torch.cat(dots) - self.targets

    def sums(self, errors: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        user_sums, item_sums = torch.zeros_like(left), torch.zeros_like(right)
        for part in chunks(len(errors), GATHER_CHUNK):
            checkpoint()
            u, i, e = self.users[part], self.items[part], errors[part, None]
            user_sums.index_add_(0, u, e * right[i])
            item_sums.index_add_(0, i, e * left[u])
        return user_sums, item_sums


def _csr(offsets: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Make a CSR matrix of arrays known to be valid."""
    with warnings.catch_warnings():  # torch says once that CSR is in beta; what is used of it is tested here
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(offsets, columns, values, shape, check_invariants=False)
