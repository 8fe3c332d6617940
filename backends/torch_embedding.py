"""The PyTorch embedding model on any device: full-batch momentum gradient descent, or mini-batch Adam.

One `torch.nn.Module` of two embedding tables and one code path; the device is an argument. Both optimizers have the
gradient of J from `_torch_products`, which on a device with sparse products never makes a row per rating.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ._checks import check_choice, check_count
from ._threads import Threads
from ._torch_products import (
    SIDES,
    Gradient,
    Products,
    RepeatedPairs,
    SparseProducts,
    gather_batches,
    sparse_batches,
    squared_norm,
)
from .factorizer import State
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Float, Parameters, rating_unit
from .ratings import Ratings

ADAM_LEARNING_RATE = 0.06  # chosen together with the batch size: see `TorchEmbedding`


class EmbeddingModel(nn.Module):
    """r_ui ~ m + unit (p_u, b_u, 1) . (q_i, 1, c_i), each bracket a row of an embedding table.

    Parameters
    ----------
    initial
        The parameters to start from, on the host.
    device
        Where the tables live.
    unit
        Of the ratings in the tables, a power of 4; see `rating_unit`.
    """

    def __init__(self, initial: Parameters, device: torch.device, unit: float = 1.0) -> None:
        super().__init__()
        self.mean, self.unit, self.rank = initial.mean, unit, initial.rank

        def embedding(factors: Float, bias: Float, bias_column: int) -> nn.Embedding:
            rows = np.ones((len(factors), self.rank + 2), factors.dtype)
            rows[:, : self.rank] = factors / factors.dtype.type(math.sqrt(unit))
            rows[:, bias_column] = bias / factors.dtype.type(unit)
            # not nn.Embedding(...), which draws weights first, from torch's global generator
            weight = torch.tensor(rows, device=device)
            table: nn.Embedding = nn.Embedding.from_pretrained(weight, freeze=False)
            return table

        self.bias_column = {"user": self.rank, "item": self.rank + 1}  # the other of the two holds ones
        self.user = embedding(initial.user_factors, initial.user_bias, self.bias_column["user"])
        self.item = embedding(initial.item_factors, initial.item_bias, self.bias_column["item"])

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Predict the ratings of pairs of rows, shape (n,)."""
        predictions: Tensor = self.mean + self.unit * (self.user(users) * self.item(items)).sum(dim=1)
        return predictions

    def tables(self) -> dict[str, Tensor]:
        """Return the tables of the two sides outside autograd, shapes (n_rows, rank + 2)."""
        return {side: getattr(self, side).weight.data for side in SIDES}


@dataclass(kw_only=True)
class TorchDescent(DescentState):
    """The point is the model's tables; what belongs to rows is a column on the device, shape (n_rows, 1)."""

    model: EmbeddingModel
    products: Products
    gradient: Gradient
    wide: torch.dtype  # for sums over ratings
    step: dict[str, Tensor]  # the row scale s
    share: dict[str, Tensor]  # number of ratings of a row, over N
    trial: dict[str, Tensor]
    velocity: dict[str, Tensor]
    squares: dict[str, Tensor] = dataclasses.field(default_factory=dict)  # |p_u|^2, |q_i|^2 where last measured

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute residuals, gradient, squared error and penalty at a point."""
        x = self.trial if at_trial else self.model.tables()
        errors = self.gradient.measure(x, self.products)
        penalty = []
        for side in SIDES:
            norms = torch.linalg.vector_norm(x[side][:, : self.model.rank], dim=1, keepdim=True)
            self.squares[side] = norms.square_()
            bias = x[side][:, self.model.bias_column[side], None]
            penalty.append(self._dot(self.gradient.weight[side], self.squares[side] + bias.square()))
        return self._read(squared_norm(errors, self.wide), penalty[0] + penalty[1])

    def curvature(self) -> tuple[float, float]:
        """Mean over the ratings of |q_i|^2 and of |p_u|^2; only asked for where the gradient was measured last."""
        return self._read(*(self._dot(self.share[side], self.squares[side]) for side in ("item", "user")))

    def move(self, rates: Rates, momentum: float, gain: float) -> None:
        """Step to the trial point; see the base class."""
        x, rank = self.model.tables(), self.model.rank
        for side in SIDES:
            v = self.velocity[side]
            if momentum:
                v.mul_(momentum).add_(self.gradient.of[side], alpha=gain)
            else:
                torch.mul(self.gradient.of[side], gain, out=v)
            moves = [(slice(rank), getattr(rates, f"{side}_factors"))]
            column = self.model.bias_column[side]
            moves += [(slice(column, column + 1), rates.bias)] * self.bias
            for columns, rate in moves:
                trial = self.trial[side][:, columns]
                torch.addcmul(x[side][:, columns], self.step[side], v[:, columns], value=-rate, out=trial)

    def accept(self) -> None:
        """Hand the trial point to the model, and take its buffers for the next one."""
        now = self.model.tables()
        for side in SIDES:
            getattr(self.model, side).weight.data = self.trial[side]
        self.trial = now

    def _dot(self, weight: Tensor, values: Tensor) -> Tensor:
        return (weight * values).sum(dtype=self.wide)

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
    wide: torch.dtype
    rng: np.random.Generator
    done: dict[str, Tensor]


@dataclass(kw_only=True, eq=False)
class TorchEmbedding(MomentumGD):
    """The embedding model; see `MomentumGD` for the parameters of the full-batch optimizer.

    With ``optimizer="adam"`` it takes `torch.optim.Adam`'s steps (Kingma and Ba 2015) on J. ``fit(seed=)`` deals the
    ratings into batches once, and draws the order of the batches anew in each epoch. The gradient of a batch is that of
    J with the mean squared error taken over the batch and the whole penalty, so its mean over the batches is the
    gradient of J. Every row takes part in every step, by its penalty and its running means, whether the batch has
    ratings of it or not; a row without training ratings stays at its start. The rate falls with the root of the epoch,
    as in the paper's analysis: a constant one ends in noise around a minimum of J.

    Parameters
    ----------
    device
        Any torch device on which the model shall live, such as "cpu".
    optimizer
        "gd" is full-batch momentum gradient descent; "adam" takes mini-batches, and ``learning_rate`` and
        ``batch_size`` are its only parameters.
    learning_rate
        None for 0.2 in "gd", and 0.06 in "adam". Adam's is in the ratings' unit, which makes it independent of their
        scale: in a step of the first epoch biases move by up to about unit times it, factors by root unit times it (see
        `rating_unit`; for ratings from 1 to 5 or to 10 the unit is 1).
    batch_size
        Ratings in a mini-batch, at most. None for four times the number of rows, so that the step of all rows costs
        less than the products of the batch; but for at least 16 batches. Each batch keeps 4 bytes per row beside its
        ratings, so many small ones take much memory.
    products
        How the sums over ratings are made; "auto" takes "sparse" wherever the device has sparse products.
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
            dataclasses.replace(self, learning_rate=self._rate).check_params()
            return
        super().check_params()
        check_choice("products", self.products, ("auto", "sparse", "gather"))
        check_count("batch_size", self.batch_size, optional=True)

    def prepare(self, train: Ratings, initial: Parameters) -> TorchDescent | AdamState:
        """Copy the ratings and the model to the device, laid out for the products."""
        with torch.no_grad():
            return self._adam(train, initial) if self.optimizer == "adam" else self._descent(train, initial)

    def step(self, state: DescentState | AdamState, n_epochs: int) -> float:
        """Make ``n_epochs`` full-batch iterations, or passes of Adam; return a training MSE met on the way."""
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
        for side, table in (state.done if isinstance(state, AdamState) else model.tables()).items():
            rows: Float = table.cpu().numpy()
            host[f"{side}_factors"] = rows[:, : model.rank] * rows.dtype.type(math.sqrt(model.unit))
            host[f"{side}_bias"] = rows[:, model.bias_column[side]] * rows.dtype.type(model.unit)
        return Parameters(model.mean, **host)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Leave the cores to the fit's threads, see `Matrix`, and torch as it was found, wherever a Ctrl-C falls."""
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
        counts, n = (train.user_counts(), train.item_counts()), len(train)
        options = self.descent_options(train, counts) | {"learning_rate": self._rate}
        return TorchDescent(
            model=model,
            products=self._products(train, self.targets(train, initial), 1, self._rng())[0],
            gradient=self._gradient(model, n, options["user_weight"], options["item_weight"]),
            wide=_widest(torch.device(self.device)),
            step=self._columns(options["user_scale"], options["item_scale"]),
            share=self._columns(*(count / n for count in counts)),
            trial={side: table.clone() for side, table in model.tables().items()},
            velocity={side: torch.zeros_like(table) for side, table in model.tables().items()},
            **options,
        )

    def _adam(self, train: Ratings, initial: Parameters) -> AdamState:
        targets, unit = self.targets(train, initial), rating_unit(train, initial.mean)
        targets /= targets.dtype.type(unit)
        model, n = EmbeddingModel(initial, torch.device(self.device), unit), len(train)
        size = self.batch_size or min(4 * (train.n_users + train.n_items), -(-n // 16))
        gradient, rng = self._gradient(model, n, *self.objective.row_weights(train)), self._rng()
        for side in SIDES:
            getattr(model, side).weight.grad = gradient.of[side]
        ones = {side: 2 * model.rank + 1 - model.bias_column[side] for side in SIDES}
        return AdamState(
            model=model,
            optimizer=_optimizer(model, self._rate),
            learning_rate=self._rate,
            batches=self._products(train, targets, -(-n // size), rng),
            gradient=gradient,
            fixed={side: slice(one, one + 1) if self.bias else slice(model.rank, None) for side, one in ones.items()},
            wide=_widest(torch.device(self.device)),
            rng=rng,
            done={side: table.clone() for side, table in model.tables().items()},
        )

    def _gradient(self, model: EmbeddingModel, n_ratings: int, user_weight: Float, item_weight: Float) -> Gradient:
        return Gradient(
            columns=model.bias_column,
            rank=self.rank,
            unit=model.unit,
            reg=self.reg,
            n_ratings=n_ratings,
            weight=self._columns(user_weight, item_weight),
            of={side: torch.zeros_like(table) for side, table in model.tables().items()},
        )

    def _columns(self, user_values: Float, item_values: Float) -> dict[str, Tensor]:
        pairs = zip(SIDES, (user_values, item_values), strict=True)
        return {side: torch.tensor(v.astype(self.dtype), device=self.device)[:, None] for side, v in pairs}

    def _products(self, train: Ratings, targets: Float, n_batches: int, rng: np.random.Generator) -> list[Products]:
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        if self.products == "sparse" or (self.products == "auto" and SparseProducts.work_on(device, dtype)):
            try:
                return sparse_batches(train, targets, device, n_batches, rng, Threads(self.n_threads))
            except RepeatedPairs:
                if self.products == "sparse":
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
    squared_error = torch.zeros((), dtype=state.wide, device=x["user"].device)
    for batch in state.rng.permutation(len(state.batches)):
        errors = state.gradient.measure(x, state.batches[batch])
        for side, columns in state.fixed.items():
            state.gradient.of[side][:, columns].zero_()
        squared_error += squared_norm(errors, state.wide)
        state.optimizer.step()
    for side, table in x.items():
        state.done[side].copy_(table)
    state.epochs += 1
    return float(squared_error) * state.model.unit * state.model.unit / state.gradient.n_ratings


def _widest(device: torch.device) -> torch.dtype:
    """Float64, or float32 on a device that lacks it."""
    try:
        return torch.zeros(1, dtype=torch.float64, device=device).dtype
    except TypeError:
        return torch.float32
