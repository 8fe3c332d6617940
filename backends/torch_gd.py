"""The PyTorch embedding model on any device: full-batch momentum descent, or mini-batch Adam.

One `torch.nn.Module` of two embedding tables and one code path; the device is an argument. Both
optimizers have the gradient of J from `_engine.torch_products`, which on a device with sparse products
never makes a row per rating.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from backends._engine.embedding import EmbeddingModel
from backends._engine.threads import Threads
from backends._engine.torch_products import (
    SIDES,
    Gradient,
    Products,
    RepeatedPairs,
    SparseProducts,
    gather_batches,
    sparse_batches,
    widest,
)

from ._arrays import Float
from ._validation import check_choice, check_count
from .factorizer import State
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Parameters, rating_unit
from .ratings import Ratings

ADAM_LEARNING_RATE = 0.06  # chosen together with the batch size: see `TorchEmbedding`


@dataclass(kw_only=True)
class TorchDescent(DescentState):
    """The point is the model's tables; what belongs to rows is a column, shape (n_rows, 1)."""

    model: EmbeddingModel
    products: Products
    gradient: Gradient
    weight: dict[str, Tensor]  # n_row
    trial: dict[str, Tensor]
    velocity: dict[str, Tensor]
    squares: dict[str, Tensor] = field(default_factory=dict)  # |p_u|^2, |q_i|^2 where last measured

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute residuals, gradient, squared error and penalty at a point."""
        x = self.trial if at_trial else self.model.tables()
        squared_error = self.gradient.measure(x, self.products)
        penalty = torch.zeros_like(squared_error)
        for side in SIDES:
            norms = torch.linalg.vector_norm(x[side][:, : self.model.rank], dim=1, keepdim=True)
            self.squares[side] = norms.square_()
            bias = x[side][:, self.model.bias_column[side], None]
            factor_penalty, bias_penalty = self.gradient.penalties[side]
            penalty += _dot(factor_penalty, self.squares[side]) + _dot(bias_penalty, bias.square())
        return self._read(squared_error, penalty)

    def curvature(self) -> tuple[float, float]:
        """Return the weighted means of |q_i|^2 and |p_u|^2 where the gradient was measured last."""
        of_items, of_users = (_dot(self.weight[side], self.squares[side]) for side in SIDES[::-1])
        return self._read(of_items / self.n, of_users / self.n)

    def move(self, rates: Rates, momentum: float, gain: float) -> None:
        """Step to the trial point; see the base class."""
        x, rank = self.model.tables(), self.model.rank
        for side in SIDES:
            v, weight = self.velocity[side], self.weight[side]
            if momentum:
                v.mul_(momentum).add_(self.gradient.of[side], alpha=gain)
            else:
                torch.mul(self.gradient.of[side], gain, out=v)
            penalty, bias_penalty = self.gradient.penalties[side]
            moves = [(slice(rank), rates.of_factors(side, weight, penalty))]
            if self.bias:
                column = self.model.bias_column[side]
                rate = rates.of_biases(weight, bias_penalty)
                moves.append((slice(column, column + 1), rate))
            for columns, rate in moves:
                trial = self.trial[side][:, columns]
                torch.addcmul(x[side][:, columns], rate, v[:, columns], value=-1.0, out=trial)

    def accept(self) -> None:
        """Hand the trial point to the model, and take its buffers for the next one."""
        now = self.model.tables()
        for side in SIDES:
            getattr(self.model, side).weight.data = self.trial[side]
        self.trial = now

    @staticmethod
    def _read(first: Tensor, second: Tensor) -> tuple[float, float]:
        """Both numbers on the host: one wait for the device, not two."""
        a, b = torch.stack([first, second]).tolist()
        return a, b


@dataclass(kw_only=True)
class AdamState(State):
    """The module in training, and its tables after the last whole epoch."""

    model: EmbeddingModel
    optimizer: torch.optim.Adam
    learning_rate: float  # of the first epoch
    batches: list[Products]
    gradient: Gradient
    fixed: dict[str, slice]  # columns of a table that stay as they are
    rng: np.random.Generator
    done: dict[str, Tensor]


@dataclass(kw_only=True, eq=False)
class TorchEmbedding(MomentumGD):
    """The embedding model; see `MomentumGD` for the parameters of the full-batch optimizer.

    With ``optimizer="adam"`` it takes `torch.optim.Adam`'s steps (Kingma and Ba 2015) on J.
    ``fit(seed=)`` deals the ratings into batches once, and draws the order of the batches anew in
    each epoch. The gradient of a batch is that of J in which the batch stands for all ratings: what
    it sums up over its ratings counts as many times as there are batches, and the penalty in full.
    So its mean over the batches is the gradient of J, also where they differ in weight. Every row
    takes part in every step, by its penalty and its running means, whether the batch has ratings of
    it or not. The rate falls with the root of the epoch, as in the paper's analysis: a constant one
    ends in noise around a minimum of J.

    Parameters
    ----------
    device
        Any torch device on which the model shall live, such as "cpu".
    optimizer
        "gd" is full-batch momentum gradient descent; "adam" takes mini-batches, and
        ``learning_rate`` and ``batch_size`` are its only parameters.
    learning_rate
        None for 0.8 in "gd", and 0.06 in "adam". Adam's is in the ratings' unit, the root mean
        square of r - m, which makes it independent of their scale: in a step of the first epoch
        biases move by up to about unit times it, factors by root unit times it.
    batch_size
        Ratings in a mini-batch, at most. None for four times the number of rows, so that the step
        of all rows costs less than the products of the batch; but for at least 16 batches. Each
        batch keeps 4 bytes per row beside its ratings, so many small ones take much memory.
    products
        How the sums over ratings are made; "auto" takes "sparse" wherever the device has sparse
        products and no pair is rated twice.
    """

    learning_rate: float | None = None  # type: ignore[assignment]  # None: the optimizer's own
    device: str = "cpu"
    optimizer: Literal["gd", "adam"] = "gd"
    batch_size: int | None = None
    products: Literal["auto", "sparse", "gather"] = "auto"

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        check_choice("optimizer", self.optimizer, ("gd", "adam"))
        if self.learning_rate is None:  # the base class wants a number
            replace(self, learning_rate=self._rate).check_params()
            return
        super().check_params()
        check_choice("products", self.products, ("auto", "sparse", "gather"))
        check_count("batch_size", self.batch_size, optional=True)

    def prepare(self, train: Ratings, initial: Parameters) -> TorchDescent | AdamState:
        """Copy the ratings and the model to the device, laid out for the products."""
        with torch.no_grad():
            prepare = self._adam if self.optimizer == "adam" else self._descent
            return prepare(train, initial)

    def step(self, state: DescentState | AdamState, n_epochs: int) -> float:
        """Make iterations, or passes of Adam; return a training MSE met on the way."""
        with torch.no_grad():
            if isinstance(state, DescentState):
                return super().step(state, n_epochs)
            for _ in range(n_epochs):
                train_mse = _adam_epoch(state)
        return train_mse

    def synchronize(self, state: TorchDescent | AdamState) -> None:
        """Wait for the device's queue to drain."""
        getattr(torch, torch.device(self.device).type).synchronize()

    def parameters(self, state: TorchDescent | AdamState) -> Parameters:
        """Return a copy of the last whole epoch's parameters on the host."""
        model, host = state.model, {}
        tables = state.done if isinstance(state, AdamState) else model.tables()
        for side, table in tables.items():
            rows: Float = table.cpu().numpy()
            number, column = rows.dtype.type, model.bias_column[side]
            host[f"{side}_factors"] = rows[:, : model.rank] * number(math.sqrt(model.unit))
            host[f"{side}_bias"] = rows[:, column] * number(model.unit)
        return Parameters(model.mean, **host)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Leave the cores to the fit's threads, see `Matrix`, and torch as it was found.

        The latter holds wherever a Ctrl-C falls.
        """
        threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_grad_enabled(gradients)

    @property
    def _rate(self) -> float:
        """The learning rate, the optimizer's own where none is given."""
        own = ADAM_LEARNING_RATE if self.optimizer == "adam" else MomentumGD.learning_rate
        return own if self.learning_rate is None else self.learning_rate

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed_, 1])  # apart from the draws of the initial model

    def _descent(self, train: Ratings, initial: Parameters) -> TorchDescent:
        model = EmbeddingModel(initial, torch.device(self.device))
        options = self.descent_options(train) | {"learning_rate": self._rate}
        sides = options["users"], options["items"]
        penalties = [(rows.penalty, rows.bias_penalty) for rows in sides]
        weights = [self._column(rows.weight) for rows in sides]
        return TorchDescent(
            model=model,
            products=self._products(train, self.targets(train, initial), 1, self._rng())[0],
            gradient=self._gradient(model, options["n"], 1, penalties),
            weight=dict(zip(SIDES, weights, strict=True)),
            trial={side: table.clone() for side, table in model.tables().items()},
            velocity={side: torch.zeros_like(table) for side, table in model.tables().items()},
            **options,
        )

    def _adam(self, train: Ratings, initial: Parameters) -> AdamState:
        n, unit = len(train), rating_unit(train, initial.mean)
        targets = self.targets(train, initial)
        targets /= targets.dtype.type(unit)
        model, rng = EmbeddingModel(initial, torch.device(self.device), unit), self._rng()
        size = self.batch_size or min(4 * (train.n_users + train.n_items), -(-n // 16))
        batches = self._products(train, targets, -(-n // size), rng)
        row_weights = train.user_weights(), train.item_weights()
        sides = self.objective.penalties_of(train, *row_weights)
        penalties = [(rows.factors / unit, rows.biases) for rows in sides]
        gradient = self._gradient(model, train.summary.weight, len(batches), penalties)
        fixed = {}
        for side in SIDES:
            getattr(model, side).weight.grad = gradient.of[side]
            ones = 2 * model.rank + 1 - model.bias_column[side]
            fixed[side] = slice(ones, ones + 1) if self.bias else slice(model.rank, None)
        return AdamState(
            row_weights=row_weights,
            model=model,
            optimizer=_optimizer(model, self._rate),
            learning_rate=self._rate,
            batches=batches,
            gradient=gradient,
            fixed=fixed,
            rng=rng,
            done={side: table.clone() for side, table in model.tables().items()},
        )

    def _gradient(
        self,
        model: EmbeddingModel,
        n: float,
        n_batches: int,
        penalties: Iterable[tuple[Float, Float]],
    ) -> Gradient:
        """Return a gradient for penalties of users' and items' factors and biases, in the unit."""
        columns = [(self._column(factors), self._column(biases)) for factors, biases in penalties]
        return Gradient(
            columns=model.bias_column,
            rank=self.rank,
            n=n,
            n_batches=n_batches,
            penalties=dict(zip(SIDES, columns, strict=True)),
            of={side: torch.zeros_like(table) for side, table in model.tables().items()},
        )

    def _column(self, values: Float) -> Tensor:
        """Return a number per row as a column on the device, shape (n_rows, 1)."""
        fitting = np.minimum(values, np.finfo(self.dtype).max)
        return torch.tensor(fitting, dtype=getattr(torch, self.dtype), device=self.device)[:, None]

    def _products(
        self,
        train: Ratings,
        targets: Float,
        n_batches: int,
        rng: np.random.Generator,
    ) -> list[Products]:
        device, dtype, wanted = torch.device(self.device), getattr(torch, self.dtype), self.products
        if wanted == "sparse" or (wanted == "auto" and SparseProducts.work_on(device, dtype)):
            try:
                threads = Threads(self.n_threads)
                return sparse_batches(train, targets, device, n_batches, rng, threads)
            except RepeatedPairs:
                if wanted == "sparse":
                    raise
        return gather_batches(train, targets, device, n_batches, rng)


def _optimizer(model: EmbeddingModel, learning_rate: float) -> torch.optim.Adam:
    """Return Adam in one pass over the tables, where the device has that."""
    tables = [model.user.weight, model.item.weight]
    try:
        return torch.optim.Adam(tables, lr=learning_rate, fused=True)
    except RuntimeError:
        return torch.optim.Adam(tables, lr=learning_rate)


def _adam_epoch(state: AdamState) -> float:
    """Take a step for each batch, in random order; return the mean squared error met on the way."""
    x = state.model.tables()
    for group in state.optimizer.param_groups:
        group["lr"] = state.learning_rate / math.sqrt(state.epochs + 1)
    squared_error = torch.zeros((), dtype=widest(x["user"].device), device=x["user"].device)
    for batch in state.rng.permutation(len(state.batches)):
        squared_error += state.gradient.measure(x, state.batches[batch])
        for side, columns in state.fixed.items():
            state.gradient.of[side][:, columns].zero_()
        state.optimizer.step()
    for side, table in x.items():
        state.done[side].copy_(table)
    state.epochs += 1
    return float(squared_error) * state.model.unit * state.model.unit / state.gradient.n


def _dot(weight: Tensor, values: Tensor) -> Tensor:
    """Return the sum over rows of weight times value in the `widest` type; shapes (n_rows, 1)."""
    return (weight * values.to(widest(values.device))).sum()
