"""The processes of ``torch.distributed`` that share the ratings of one fit.

Each has all tables and a shard of the ratings. The sums over its shard are added up over all
processes, so that all make the same step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from .torch_ratings import Shard
from .torch_tables import Tables


@dataclass(frozen=True)
class Processes:
    """The processes of a fit, or this one alone.

    Attributes
    ----------
    shard
        What this process has of the ratings; None for all.
    """

    shard: Shard | None

    @property
    def n(self) -> int:
        """How many they are."""
        return 1 if self.shard is None else self.shard.n_shards

    @staticmethod
    def check(sharded: bool) -> None:
        """Raise an error unless a fit can be sharded, if it is to be."""
        if not isinstance(sharded, bool):
            raise ValueError(f"sharded must be True or False, got {sharded!r}")

    @classmethod
    def of(cls, sharded: bool) -> Processes:
        """Return all processes of the default group if a fit is sharded, or this one alone.

        Raises
        ------
        RuntimeError
            If there is no such group.
        """
        if not sharded:
            return cls(None)
        distributed = torch.distributed
        if not (distributed.is_available() and distributed.is_initialized()):
            raise RuntimeError(
                "sharded=True needs the processes of torch.distributed; start them with: torchrun "
                "--nproc-per-node=2 -m backends.torch_distributed, or call "
                "torch.distributed.init_process_group first"
            )
        return cls(Shard(distributed.get_rank(), distributed.get_world_size()))

    @contextmanager
    def together(self, like: Tensor) -> Iterator[None]:
        """End in an error if the block does in any of the processes, which would wait for it.

        ``like`` is on the device of this process.
        """
        problem: Exception | None = None
        try:
            yield
        except Exception as error:
            problem = error
        if self.shard is not None:
            n_failed = like.new_full((1,), float(problem is not None))
            torch.distributed.all_reduce(n_failed)
            if problem is None and float(n_failed):
                raise RuntimeError("another process could not prepare its ratings, and says why")
        if problem is not None:
            raise problem

    def added_up(self, sums: Tables, squared_error: Tensor) -> Tensor:
        """Add up the sums of all processes in place; return the sum of their squared errors."""
        if self.shard is None:
            return squared_error
        works = [
            torch.distributed.all_reduce(tensor, async_op=True)
            for tensor in (sums.rows, squared_error)
        ]
        for work in works:
            work.wait()
        return squared_error
