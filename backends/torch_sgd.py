"""Per-rating SGD on a GPU: kernels in Triton, without locks, and factors in half precision.

The device is an argument. All ratings are shuffled once, and each epoch visits them in that order,
many at a time, so a step may be lost where two ratings of a row meet. So there are fewer at a time
than rows; with as many as a large GPU holds, small data would lose most of their steps.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from backends._engine.embedding import fit_threads, synchronize
from backends._engine.fused_products import check_runs_on, next_power
from backends._engine.torch_ratings import DeviceRatings
from backends._engine.torch_tables import widest
from backends.kernels.triton.sgd import sgd

from ._arrays import Float
from ._validation import check_choice
from .factorizer import State
from .objective import Parameters, rating_unit
from .per_rating import PerRatingSGD, fill_columns, fill_shares, ratings_per_program
from .ratings import Ratings

Precision = Literal["half", "full"]


@dataclass(kw_only=True)
class ShuffledState(State):
    """The ratings in random order, and the tables, in the units of `per_rating`.

    Attributes
    ----------
    ratings
        The rows of their items are counted behind those of the users.
    factors
        Of all rows, users first, shape (n_rows, rank).
    columns, shares
        See `kernels.triton.sgd`.
    per_program
        How many ratings a program visits, one after the other.
    squared_errors
        Of the ratings of each program in the last epoch.
    rule
        See `PerRatingSGD.rule`.
    """

    mean: float
    unit: float
    n: int
    ratings: DeviceRatings
    factors: Tensor
    columns: Tensor
    shares: Tensor
    per_program: int
    squared_errors: Tensor
    rule: Tensor


@dataclass(kw_only=True, eq=False)
class TorchSGD(PerRatingSGD):
    """Per-rating SGD in Triton; see `PerRatingSGD` for the other parameters.

    There is a program for every eight users or items, whichever are fewer: with some hundred items
    most of a GPU is idle, and the other solvers are faster.

    Memory on the device for each rating: 12 bytes in float32, 16 with weights, and 28 more while
    they are shuffled.

    Parameters
    ----------
    device
        The torch device to compute on.
    precision
        In which factors are stored: "half", float16, which halves the memory traffic, or "full",
        that of ``dtype``. All is computed in that of ``dtype``. With float64 it is always "full".
    """

    device: str = "cpu"
    precision: Precision = "half"

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_choice("precision", self.precision, get_args(Precision))

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> ShuffledState:
        """Copy the ratings to the device and shuffle them there, and copy the model."""
        device, unit = torch.device(self.device), rating_unit(train, initial.mean)
        weight_unit = train.summary.weight / len(train)
        row_weights = train.user_weights(), train.item_weights()
        start = initial.in_units(unit)
        kind = np.dtype(self.dtype)
        columns = np.empty((train.n_users + train.n_items, 4), kind)
        shares = np.empty((train.n_users + train.n_items, 2), kind)
        per_program = ratings_per_program(len(train), train.n_users, train.n_items)
        penalties = self.objective.penalties_of(train, *row_weights)
        places = slice(train.n_users), slice(train.n_users, None)
        biases = start.user_bias, start.item_bias
        for place, bias, rows, weights in zip(places, biases, penalties, row_weights, strict=True):
            fill_columns(columns[place], bias)
            fill_shares(shares[place], rows, weights, unit)
        factors: Float = np.concatenate([start.user_factors, start.item_factors])
        with torch.no_grad():
            tables = [torch.tensor(table, device=device) for table in (factors, columns, shares)]
            check_runs_on(tables[0])
            stored = tables[0]
            if self.precision == "half" and stored.dtype == torch.float32:
                stored = stored.half()
            ratings = DeviceRatings.of(train, initial.mean, unit, tables[0].dtype, device)
            return ShuffledState(
                row_weights=row_weights,
                mean=initial.mean,
                unit=unit,
                n=len(train),
                ratings=ratings.shuffled(seed).behind_users(weight_unit),
                factors=stored,
                columns=tables[1],
                shares=tables[2],
                per_program=per_program,
                squared_errors=tables[1].new_zeros(-(-len(train) // per_program)),
                rule=torch.tensor(self.rule, dtype=tables[1].dtype, device=device),
            )

    def step(self, state: ShuffledState, n_epochs: int) -> float:
        """Train ``n_epochs`` epochs.

        Returns
        -------
        float
            Mean squared error over the last epoch, of each rating before its step.
        """
        ratings, rank = state.ratings, state.factors.shape[1]
        with torch.no_grad():
            for _ in range(n_epochs):
                sgd[(len(state.squared_errors),)](
                    state.factors,
                    state.columns,
                    state.shares,
                    ratings.users,
                    ratings.items,
                    ratings.targets,
                    ratings.targets if ratings.weights is None else ratings.weights,
                    state.squared_errors,
                    state.rule,
                    state.n,
                    state.per_program,
                    RANK=rank,
                    PADDED=next_power(rank),
                    WEIGHTED=ratings.weights is not None,
                    num_warps=1,
                )
                state.epochs += 1
            wide = widest(state.factors.device)
            squared_error = float(state.squared_errors.to(wide).sum())
        return squared_error * state.unit * state.unit / state.n

    def synchronize(self, state: ShuffledState) -> None:
        """Wait until the device has finished all work it was given."""
        synchronize(self.device)

    def parameters(self, state: ShuffledState) -> Parameters:
        """Return a copy of the parameters on the host, in rating units."""
        n_users, kind = state.ratings.n_users, state.columns.dtype
        bias, factors = (
            table.cpu().numpy() for table in (state.columns[:, 0], state.factors.to(kind))
        )
        rows = bias[:n_users], bias[n_users:], factors[:n_users], factors[n_users:]
        return Parameters(state.mean, *rows).from_units(state.unit)

    def threads(self) -> AbstractContextManager[None]:
        """Limit torch to one thread on the host, and pick the device."""
        return fit_threads(device=self.device)
