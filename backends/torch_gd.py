"""The PyTorch embedding model on any device by full-batch momentum descent.

The device is an argument. The gradient of J is that of `_engine.torch_products`, which on a device
with sparse products never makes a row per rating.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from backends._engine.embedding import (
    EmbeddingModel,
    ProductKind,
    column,
    fit_threads,
    make_gradient,
    make_products,
    parameters,
    synchronize,
)
from backends._engine.threads import Threads
from backends._engine.torch_products import SIDES, Gradient, Products, widest

from ._validation import check_choice
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Parameters
from .ratings import Ratings


@dataclass(kw_only=True)
class TorchDescent(DescentState):
    """Tables on the device, each by side, "user" and "item".

    The current point is the tables of ``model``. See `_engine.torch_products` for the columns of a
    table, shape (n_rows, rank + 2).

    Attributes
    ----------
    weight
        n_row, shape (n_rows, 1).
    trial, velocity
        In the shape of the tables.
    squares
        |row|^2 of the factors at the point where the gradient was computed last, shape (n_rows, 1).
    """

    model: EmbeddingModel
    products: Products
    gradient: Gradient
    weight: dict[str, Tensor]
    trial: dict[str, Tensor]
    velocity: dict[str, Tensor]
    squares: dict[str, Tensor] = field(default_factory=dict)

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute residuals, gradient, squared error and penalty at a point."""
        x = self.trial if at_trial else self.model.tables()
        squared_error = self.gradient.measure(x, self.products)
        penalty = torch.zeros_like(squared_error)
        for side in SIDES:
            # Kept for `curvature`, which is asked for next.
            norms = torch.linalg.vector_norm(x[side][:, : self.model.rank], dim=1, keepdim=True)
            self.squares[side] = norms.square_()
            bias = x[side][:, self.model.bias_column[side], None]
            factor_penalty, bias_penalty = self.gradient.penalties[side]
            penalty += _dot(factor_penalty, self.squares[side]) + _dot(bias_penalty, bias.square())
        return self._read(squared_error, penalty)

    def curvature(self) -> tuple[float, float]:
        """Return the weighted means of |q_i|^2 and |p_u|^2 where the gradient was computed last.

        That is the current point: after a discarded step its gradient is computed anew.
        """
        of_items, of_users = (_dot(self.weight[side], self.squares[side]) for side in SIDES[::-1])
        return self._read(of_items / self.n, of_users / self.n)

    def move(self, rates: Rates, momentum: float, gradient_weight: float) -> None:
        """Step to the trial point; see the base class."""
        x, rank = self.model.tables(), self.model.rank
        for side in SIDES:
            v, weight = self.velocity[side], self.weight[side]
            if momentum:
                v.mul_(momentum).add_(self.gradient.of[side], alpha=gradient_weight)
            else:
                torch.mul(self.gradient.of[side], gradient_weight, out=v)
            penalty, bias_penalty = self.gradient.penalties[side]
            # Columns with their rates. Those of ones, and of biases in a model without, do not
            # move.
            moves = [(slice(rank), rates.of_factors(side, weight, penalty))]
            if self.bias:
                column = self.model.bias_column[side]
                rate = rates.of_biases(weight, bias_penalty)
                moves.append((slice(column, column + 1), rate))
            # trial = x - rate v, written into the trial table's columns.
            for columns, rate in moves:
                trial = self.trial[side][:, columns]
                torch.addcmul(x[side][:, columns], rate, v[:, columns], value=-1.0, out=trial)

    def accept(self) -> None:
        """Swap the tables: the trial point becomes the model's, and the old tables are reused."""
        now = self.model.tables()
        for side in SIDES:
            getattr(self.model, side).weight.data = self.trial[side]
        self.trial = now

    @staticmethod
    def _read(first: Tensor, second: Tensor) -> tuple[float, float]:
        """Copy two numbers to the host, waiting for the device once instead of twice."""
        a, b = torch.stack([first, second]).tolist()
        return a, b


@dataclass(kw_only=True, eq=False)
class TorchGD(MomentumGD):
    """Momentum gradient descent on embedding tables; see `MomentumGD` for the other parameters.

    Parameters
    ----------
    device
        The torch device to compute on, such as "cpu".
    products
        How the sums over ratings are computed: "sparse", by sparse matrix products; "gather", from
        gathered rows; or "auto": "sparse" if the device has sparse products and no pair is rated
        twice, "gather" otherwise.
    """

    device: str = "cpu"
    products: ProductKind = "auto"

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_choice("products", self.products, get_args(ProductKind))

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> TorchDescent:
        """Copy the ratings and the model to the device, in the form that the products need."""
        device, threads = torch.device(self.device), Threads(self.n_threads)
        rng = np.random.default_rng(seed)  # not used, as there is only one batch
        targets, options = self.targets(train, initial), self.descent_options(train)
        sides = options["users"], options["items"]
        penalties = [(rows.penalty, rows.bias_penalty) for rows in sides]
        with torch.no_grad():
            model = EmbeddingModel(initial, device)
            tables = model.tables()
            weights = [column(rows.weight, model.user.weight) for rows in sides]
            [products] = make_products(self.products, train, targets, device, 1, rng, threads)
            return TorchDescent(
                model=model,
                products=products,
                gradient=make_gradient(model, options["n"], 1, penalties),
                weight=dict(zip(SIDES, weights, strict=True)),
                trial={side: table.clone() for side, table in tables.items()},
                velocity={side: torch.zeros_like(table) for side, table in tables.items()},
                **options,
            )

    def step(self, state: DescentState, n_epochs: int) -> float:
        """Make ``n_epochs`` iterations; return the training MSE at the point reached."""
        with torch.no_grad():
            return super().step(state, n_epochs)

    def synchronize(self, state: TorchDescent) -> None:
        """Wait until the device has finished all work it was given."""
        synchronize(self.device)

    def parameters(self, state: TorchDescent) -> Parameters:
        """Return a copy of the current point on the host."""
        return parameters(state.model, state.model.tables())

    def threads(self) -> AbstractContextManager[None]:
        """Limit torch to one thread, since the fit has threads of its own, and restore it later."""
        return fit_threads()


def _dot(weight: Tensor, values: Tensor) -> Tensor:
    """Return the sum over rows of weight times value in the `widest` type; shapes (n_rows, 1)."""
    return (weight * values.to(widest(values.device))).sum()
