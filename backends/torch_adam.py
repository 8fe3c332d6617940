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
    """The model in training, and its tables after the last whole epoch.

    Attributes
    ----------
    learning_rate
        Of the first epoch.
    fixed
        For each side the columns of its table that are constant: the ones, and in a model without
        biases the biases too.
    rng
        Draws the order of the batches.
    done
        The tables of the last whole epoch, by side.
    """

    model: EmbeddingModel
    optimizer: torch.optim.Adam
    learning_rate: float
    batches: list[Products]
    gradient: Gradient
    fixed: dict[str, slice]
    rng: np.random.Generator
    done: dict[str, Tensor]


@dataclass(kw_only=True, eq=False)
class TorchAdam(Factorizer):
    """Adam (Kingma and Ba 2015, `torch.optim.Adam`) on J, by mini-batches.

    The ratings are dealt into batches once per fit, and the order of the batches is drawn in each
    epoch; both depend on the seed of ``fit``. In the gradient of a batch its ratings stand for all:
    the sum over them is multiplied by the number of batches, and the penalty counts in full. So the
    mean over the batches is the gradient of J, even if they differ in weight. Every row moves in
    every step, by its penalty and by Adam's running means, whether or not the batch has ratings of
    it. The learning rate falls with the square root of the epoch, as in the paper's analysis: with
    a constant one the parameters keep fluctuating around a minimum of J.

    Parameters
    ----------
    learning_rate
        In units of the ratings, so that it is independent of their scale: in a step of the first
        epoch a bias moves by up to about learning_rate * unit, and a factor by learning_rate *
        sqrt(unit), where the unit is the root mean square of r - m.
    batch_size
        Ratings in a mini-batch, at most. None for four times the number of users and items, so that
        moving all rows takes less time than the products of the batch, but no fewer than 16
        batches. Each batch takes 4 bytes per row beside its ratings, so many small ones take much
        memory.
    device
        The torch device to compute on, such as "cpu".
    products
        How the sums over ratings are computed: "sparse", by sparse matrix products; "gather", from
        gathered rows; or "auto": "sparse" if the device has sparse products and no pair is rated
        twice, "gather" otherwise.
    """

    patience: ClassVar[int] = 30  # as for `MomentumGD`, since it starts as slowly
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        **Factorizer.search_space,
        "learning_rate": (0.02, 0.2),
    }

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
        # Another stream than that of the initial model, which is drawn from the seed alone.
        rng = np.random.default_rng([seed, 1])
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
                # Behind the factors are two columns, a bias and ones: their indices, rank and
                # rank + 1, add up to 2 rank + 1.
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
        """Train ``n_epochs`` epochs; return the MSE over the last, each batch before its step."""
        with torch.no_grad():
            for _ in range(n_epochs):
                train_mse = _adam_epoch(state)
        return train_mse

    def synchronize(self, state: AdamState) -> None:
        """Wait until the device has finished all work it was given."""
        synchronize(self.device)

    def parameters(self, state: AdamState) -> Parameters:
        """Return a copy of the last whole epoch's parameters on the host."""
        return parameters(state.model, state.done)

    def threads(self) -> AbstractContextManager[None]:
        """Limit torch to one thread, since the fit has threads of its own, and restore it later."""
        return fit_threads()


def _optimizer(model: EmbeddingModel, learning_rate: float) -> torch.optim.Adam:
    """Return Adam, fused into one pass over the tables if the device supports that."""
    tables = [model.user.weight, model.item.weight]
    try:
        return torch.optim.Adam(tables, lr=learning_rate, fused=True)
    except RuntimeError:
        return torch.optim.Adam(tables, lr=learning_rate)


def _adam_epoch(state: AdamState) -> float:
    """Take a step for each batch, in random order; return the MSE, each batch before its step."""
    x = state.model.tables()
    for group in state.optimizer.param_groups:
        group["lr"] = state.learning_rate / math.sqrt(state.epochs + 1)
    squared_error = torch.zeros((), dtype=widest(x["user"].device), device=x["user"].device)
    for batch in state.rng.permutation(len(state.batches)):
        squared_error += state.gradient.measure(x, state.batches[batch])
        # With a gradient of zero Adam's running means stay zero, and the constants do not move.
        for side, columns in state.fixed.items():
            state.gradient.of[side][:, columns].zero_()
        state.optimizer.step()
    # Only now does the epoch take effect: a Ctrl-C before leaves `done` as it was.
    for side, table in x.items():
        state.done[side].copy_(table)
    state.epochs += 1
    return float(squared_error) * state.model.unit * state.model.unit / state.gradient.n
