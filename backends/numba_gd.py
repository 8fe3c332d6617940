"""Momentum gradient descent in numba: one fused sweep over the ratings per iteration. The kernels do the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ._numba import numba_threads
from .kernels.gradient import descend, sweep
from .kernels.grouping import balanced_bounds, grouped
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Float, Parameters
from .ratings import Ratings


@dataclass(kw_only=True)
class NumbaDescent(DescentState):
    """The current and the trial point, and the ratings grouped by user."""

    now: Parameters
    trial: Parameters
    velocity: Parameters
    bounds: NDArray[np.int64]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    targets: Float
    user_count: NDArray[np.int64]
    item_count: NDArray[np.int64]
    user_sums: Float  # (1, n_users, rank + 1)
    item_sums: Float  # (threads, n_items, rank + 1)

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute the sums that make the gradient, squared error and penalty at a point."""
        x = self.trial if at_trial else self.now
        squared_error = sweep(
            self.bounds,
            self.offsets,
            self.items,
            self.targets,
            x.user_factors,
            x.item_factors,
            x.user_bias,
            x.item_bias,
            self.user_sums[0],
            self.item_sums,
        )
        penalty = self.user_weight @ (_squares(x.user_factors) + np.square(x.user_bias, dtype=np.float64))
        penalty += self.item_weight @ (_squares(x.item_factors) + np.square(x.item_bias, dtype=np.float64))
        return float(squared_error), float(penalty)

    def curvature(self) -> tuple[float, float]:
        """Mean over the ratings of |q_i|^2 and of |p_u|^2."""
        return (
            float(self.item_count @ _squares(self.now.item_factors)) / self.n_ratings,
            float(self.user_count @ _squares(self.now.user_factors)) / self.n_ratings,
        )

    def move(self, rates: Rates, momentum: float, gain: float) -> None:
        """Step to the trial point; see the base class."""
        x, rank = self.now, self.now.rank
        sides = (
            ("user", self.user_sums, self.user_weight, self.user_scale, rates.user_factors),
            ("item", self.item_sums, self.item_weight, self.item_scale, rates.item_factors),
        )
        number = x.user_factors.dtype.type
        scale = number(gain * 2.0 / self.n_ratings)
        for side, sums, weight, row_scale, rate in sides:
            tables = [(f"{side}_factors", 0, rate)] + [(f"{side}_bias", rank, rates.bias)] * self.bias
            pull = (self.reg * weight).astype(number)
            for name, column, table_rate in tables:
                descend(
                    *(_as_table(getattr(of, name)) for of in (x, self.trial, self.velocity)),
                    sums,
                    column,
                    scale,
                    pull,
                    number(momentum),
                    (table_rate * row_scale).astype(number),
                )

    def accept(self) -> None:
        """Swap the two points' buffers."""
        self.now, self.trial = self.trial, self.now


@dataclass(kw_only=True, eq=False)
class NumbaGD(MomentumGD):
    """Momentum gradient descent in jitted per-rating kernels; see `MomentumGD` for the parameters."""

    def prepare(self, train: Ratings, initial: Parameters) -> NumbaDescent:
        """Group the ratings by user."""
        n_threads, options = numba.get_num_threads(), self.descent_options(train)
        items, targets = np.empty_like(train.items), np.empty(len(train), self.dtype)
        offsets = grouped(
            train.users, train.n_users, train.items, train.ratings, initial.mean, 1.0, items, targets, n_threads
        )
        return NumbaDescent(
            now=initial.astype(self.dtype),  # a copy: the buffers are written to in turn
            trial=initial.astype(self.dtype),
            velocity=initial.astype(self.dtype),
            bounds=balanced_bounds(np.diff(offsets), n_threads),
            offsets=offsets,
            items=items,
            targets=targets,
            user_count=train.user_counts(),
            item_count=train.item_counts(),
            user_sums=np.empty((1, train.n_users, self.rank + 1), self.dtype),
            item_sums=np.empty((n_threads, train.n_items, self.rank + 1), self.dtype),
            **options,
        )

    def parameters(self, state: NumbaDescent) -> Parameters:
        """Return a copy of the current point."""
        return state.now.astype(self.dtype)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Keep numba's threads to ``n_jobs``."""
        with numba_threads(self.n_threads):
            yield


def _squares(factors: Float) -> Float:
    squares: Float = np.einsum("nk,nk->n", factors, factors, dtype=np.float64)
    return squares


def _as_table(array: Float) -> Float:
    """View a bias as a table of one column; the kernel serves both."""
    return array[:, None] if array.ndim == 1 else array
