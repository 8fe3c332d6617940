"""`Products` in Triton: residuals and sums in one pass over the ratings of each side."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from backends.errors import BackendUnavailable
from backends.kernels.triton.gradient import row_sums, segment_sums

from .torch_ratings import DeviceRatings, offsets_of, stable_order
from .torch_tables import SIDES, Side, Tables, widest

# Most ratings that a program sums up. A row with more is several programs' work.
SEGMENT = 1024
# Ratings at a time, by the numbers of a row: their rows fill the registers of a warp.
_TILE = 1024


@dataclass(frozen=True)
class SideRatings:
    """The ratings of one side, grouped by row and cut into segments.

    Attributes
    ----------
    others, targets, weights
        Of each rating, shape (n,).
    rows, starts, ends
        Row of each segment, its first rating and one past its last, shape (n_segments,).
    row_segments
        The first segment of each row, and one past the last one's last; shape (n_rows + 1,).
    """

    others: Tensor
    targets: Tensor
    weights: Tensor | None
    rows: Tensor
    starts: Tensor
    ends: Tensor
    row_segments: Tensor

    @classmethod
    def of(cls, ratings: DeviceRatings, side: Side, longest: int) -> SideRatings:
        """Group ratings by the rows of a side."""
        rows, _, n_rows = ratings.side(side)
        by_row = ratings.take(stable_order(rows, n_rows))
        rows, others, _ = by_row.side(side)
        offsets = offsets_of(rows, n_rows)
        n_segments = -(-offsets.diff() // longest)  # of each row
        row_segments = torch.cat([offsets.new_zeros(1), n_segments.cumsum(0)])
        segment_rows = torch.arange(n_rows, device=rows.device).repeat_interleave(n_segments)
        number = torch.arange(len(segment_rows), device=rows.device) - row_segments[segment_rows]
        starts = offsets[segment_rows] + number * longest
        ends = torch.minimum(starts + longest, offsets[segment_rows + 1])
        return cls(
            others.contiguous(),
            by_row.targets,
            by_row.weights,
            segment_rows.to(torch.int32),
            starts,
            ends,
            row_segments,
        )


class FusedProducts:
    """`Products` by `kernels.triton.gradient`.

    Parameters
    ----------
    ratings
        In any order; pairs may be rated twice.

    Raises
    ------
    BackendUnavailable
        On a CPU, unless Triton's interpreter is on.
    """

    def __init__(self, ratings: DeviceRatings) -> None:
        check_runs_on(ratings.targets)
        self.sides = {side: SideRatings.of(ratings, side, SEGMENT) for side in SIDES}
        self.room: dict[Side, tuple[Tensor, Tensor]] = {}
        self.scales: dict[float, Tensor] = {}

    def sums(self, at: Tables, out: Tables, scale: float) -> Tensor:
        """See `Products`."""
        squared_errors = self._sums("user", at, out, scale)
        # That of the other side is the same, but for rounding.
        self._sums("item", at, out, scale)
        return squared_errors.to(widest(squared_errors.device)).sum()

    def _sums(self, side: Side, at: Tables, out: Tables, scale: float) -> Tensor:
        """Write the sums of one side; return the squared errors of its segments."""
        ratings, rows = self.sides[side], at.of(side)
        opposites = at.items if side == "user" else at.users
        n_rows, width = rows.shape
        sums, squared_errors = self._room(side, width, rows)
        main, tail = split_row(at.rank, width)
        block = max(16, min(64, _TILE // main))
        if len(ratings.rows):
            segment_sums[(len(ratings.rows),)](
                rows,
                opposites,
                ratings.rows,
                ratings.starts,
                ratings.ends,
                ratings.others,
                ratings.targets,
                ratings.targets if ratings.weights is None else ratings.weights,
                sums,
                squared_errors,
                WIDTH=width,
                MAIN=main,
                TAIL=tail,
                BLOCK=block,
                WEIGHTED=ratings.weights is not None,
                num_warps=1 if main <= 64 else 4,
            )
        padded = next_power(width)
        row_sums[(n_rows,)](
            sums,
            ratings.row_segments,
            out.of(side),
            self._scale(scale, rows),
            WIDTH=width,
            PADDED=padded,
            num_warps=1,
        )
        return squared_errors

    def _scale(self, scale: float, like: Tensor) -> Tensor:
        """Return a number in the precision of a table: the same memory in every call."""
        if scale not in self.scales:
            self.scales = {scale: like.new_full((1,), scale)}
        return self.scales[scale]

    def _room(self, side: Side, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the sums of segments are written to: the same memory in every call."""
        if side not in self.room:
            n = len(self.sides[side].rows)
            self.room[side] = like.new_empty((n, width)), like.new_zeros(n)
        return self.room[side]


def split_row(rank: int, width: int) -> tuple[int, int]:
    """Return as how many numbers a row is read first, and how many further ones.

    A block in Triton has a power of two of numbers. With as many factors, they are one block, and
    what follows them is another; otherwise a row is one block, the end of which is masked.
    """
    tail = width - rank
    if rank & (rank - 1) == 0 and tail & (tail - 1) == 0:
        return rank, tail
    return next_power(width), 0


def next_power(n: int) -> int:
    """Return the smallest power of two that is at least ``n``."""
    return 1 << (n - 1).bit_length()


def check_runs_on(like: Tensor) -> None:
    """Raise BackendUnavailable if Triton cannot run on the device of a tensor."""
    if like.is_cpu and os.environ.get("TRITON_INTERPRET") != "1":
        raise BackendUnavailable(
            "Triton has no compiler for CPUs; its interpreter, which is slow, is on if "
            "TRITON_INTERPRET=1 is set in the environment before Python starts"
        )
