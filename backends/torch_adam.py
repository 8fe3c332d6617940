"""The PyTorch embedding model on any device by mini-batch Adam.

The device is an argument. The gradient of a batch is that of `_engine.torch_products`, which on a
device with sparse products never makes a row per rating.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import torch
from torch import Tensor

from backends._engine.embedding import (
    EmbeddingModel,
    ProductKind,
    fit_threads,
    make_gradient,
    make_products,
    parameters,
    synchronize,
)
from backends._engine.threads import Threads
from backends._engine.torch_products import SIDES, Gradient, Products, widest

from ._validation import check_choice, check_count, check_fits, check_number
from .factorizer import Factorizer, State
from .objective import Parameters, rating_unit
from .ratings import Ratings


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
class TorchAdam(Factorizer):
    """`torch.optim.Adam`'s steps (Kingma and Ba 2015) on J, by mini-batches.

    ``fit(seed=)`` deals the ratings into batches once, and draws the order of the batches anew in
    each epoch. The gradient of a batch is that of J in which the batch stands for all ratings: what
    it sums up over its ratings counts as many times as there are batches, and the penalty in full.
    So its mean over the batches is the gradient of J, also where they differ in weight. Every row
    takes part in every step, by its penalty and its running means, whether the batch has ratings of
    it or not. The rate falls with the root of the epoch, as in the paper's analysis: a constant one
    ends in noise around a minimum of J.

    Parameters
    ----------
    learning_rate
        In the ratings' unit, the root mean square of r - m, which makes it independent of their
        scale: in a step of the first epoch biases move by up to about unit times it, factors by
        root unit times it.
    batch_size
        Ratings in a mini-batch, at most. None for four times the number of rows, so that the step
        of all rows costs less than the products of the batch; but for at least 16 batches. Each
        batch keeps 4 bytes per row beside its ratings, so many small ones take much memory.
    device
        Any torch device on which the model shall live, such as "cpu".
    products
        How the sums over ratings are made; "auto" takes "sparse" wherever the device has sparse
        products and no pair is rated twice.
    """

    patience: ClassVar[int] = 30  # as that of `MomentumGD`: it starts as slowly

    epochs: int = 100
    learning_rate: float = 0.06  # chosen together with the batch size
    batch_size: int | None = None
    device: str = "cpu"
    products: ProductKind = "auto"

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_number("learning_rate", self.learning_rate, positive=True)
        check_fits("learning_rate", self.learning_rate, self.dtype)
        check_choice("products", self.products, get_args(ProductKind))
        check_count("batch_size", self.batch_size, optional=True)

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> AdamState:
        """Deal the ratings into batches, and copy them and the model to the device."""
        n, unit = len(train), rating_unit(train, initial.mean)
        device, threads = torch.device(self.device), Threads(self.n_threads)
        rng = np.random.default_rng([seed, 1])  # apart from the draws of the initial model
        targets = self.targets(train, initial)
        targets /= targets.dtype.type(unit)
        size = self.batch_size or min(4 * (train.n_users + train.n_items), -(-n // 16))
        n_batches = -(-n // size)
        row_weights = train.user_weights(), train.item_weights()
        sides = self.objective.penalties_of(train, *row_weights)
        penalties = [(rows.factors / unit, rows.biases) for rows in sides]
        with torch.no_grad():
            model = EmbeddingModel(initial, device, unit)
            batches = make_products(self.products, train, targets, device, n_batches, rng, threads)
            gradient = make_gradient(model, train.summary.weight, len(batches), penalties)
            fixed = {}
            for side in SIDES:
                getattr(model, side).weight.grad = gradient.of[side]
                ones = 2 * model.rank + 1 - model.bias_column[side]
                fixed[side] = slice(ones, ones + 1) if self.bias else slice(model.rank, None)
            return AdamState(
                row_weights=row_weights,
                model=model,
                optimizer=_optimizer(model, self.learning_rate),
                learning_rate=self.learning_rate,
                batches=batches,
                gradient=gradient,
                fixed=fixed,
                rng=rng,
                done={side: table.clone() for side, table in model.tables().items()},
            )

    def step(self, state: AdamState, n_epochs: int) -> float:
        """Pass ``n_epochs`` times over the batches; return the MSE met during the last pass."""
        with torch.no_grad():
            for _ in range(n_epochs):
                train_mse = _adam_epoch(state)
        return train_mse

    def synchronize(self, state: AdamState) -> None:
        """Wait for the device's queue to drain."""
        synchronize(self.device)

    def parameters(self, state: AdamState) -> Parameters:
        """Return a copy of the last whole epoch's parameters on the host."""
        return parameters(state.model, state.done)

    def threads(self) -> AbstractContextManager[None]:
        """Leave the cores to the fit's threads, and torch as it was found."""
        return fit_threads()


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
