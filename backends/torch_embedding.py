"""The PyTorch embedding model on any device: full-batch momentum gradient descent, or mini-batch Adam.

One `torch.nn.Module` of embedding tables and one code path; the device is an argument. Full batch follows the
trajectory of `momentum_gd` by sampled and sparse products on the embedding weights, never by rows gathered per rating
- except on a device without sparse products, where the same sums are made from gathered rows, a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from ._checks import check_choice, check_count
from ._interrupt import checkpoint
from ._torch_products import GatherProducts, Products, RepeatedPairs, SparseProducts
from .factorizer import State
from .momentum_gd import DescentState, MomentumGD, Rates
from .objective import Float, Parameters
from .ratings import Ratings


class EmbeddingModel(nn.Module):
    """r_ui ~ m + b_u + c_i + p_u . q_i, with the rows in embedding tables.

    Parameters
    ----------
    initial
        The parameters to start from, on the host.
    device
        Where the tables live.
    """

    def __init__(self, initial: Parameters, device: torch.device) -> None:
        super().__init__()
        self.mean = initial.mean

        def embedding(rows: Float) -> nn.Embedding:
            table = nn.Embedding(rows.shape[0], rows.shape[1], device=device, dtype=getattr(torch, rows.dtype.name))
            table.weight.data = torch.tensor(rows, device=device)
            return table

        self.user_factors = embedding(initial.user_factors)
        self.item_factors = embedding(initial.item_factors)
        self.user_bias = embedding(initial.user_bias[:, None])
        self.item_bias = embedding(initial.item_bias[:, None])

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Predict the ratings of pairs of rows, shape (n,)."""
        dots = (self.user_factors(users) * self.item_factors(items)).sum(dim=1)
        predictions: Tensor = self.mean + self.user_bias(users)[:, 0] + self.item_bias(items)[:, 0] + dots
        return predictions

    def weights(self) -> dict[str, Tensor]:
        """Return the four tables by name, outside autograd; biases have shape (n_rows, 1)."""
        names = ("user_factors", "item_factors", "user_bias", "item_bias")
        return {name: getattr(self, name).weight.data for name in names}


@dataclass(kw_only=True)
class TorchDescent(DescentState):
    """The point is the model's weights; what belongs to rows is a column on the device, shape (n_rows, 1)."""

    model: EmbeddingModel
    products: Products
    wide: torch.dtype  # for sums over ratings
    weight: dict[str, Tensor]  # w of the "user" and "item" rows
    step: dict[str, Tensor]  # the row scale s
    share: dict[str, Tensor]  # number of ratings of a row, over N
    trial: dict[str, Tensor]
    gradient: dict[str, Tensor]
    velocity: dict[str, Tensor]

    def sweep(self, at_trial: bool) -> tuple[float, float]:
        """Compute residuals, gradient, squared error and penalty at a point."""
        x, rank = self.trial if at_trial else self.model.weights(), self.model.user_factors.embedding_dim
        # (p, b, 1) . (q, 1, c) = p . q + b + c: the biases ride along in the same two products.
        left = torch.cat([x["user_factors"], x["user_bias"], torch.ones_like(x["user_bias"])], dim=1)
        right = torch.cat([x["item_factors"], torch.ones_like(x["item_bias"]), x["item_bias"]], dim=1)
        errors = self.products.errors(left, right)
        user_sums, item_sums = self.products.sums(errors, left[:, [*range(rank), rank + 1]], right[:, : rank + 1])
        scale = 2.0 / self.n_ratings
        for side, sums in (("user", user_sums), ("item", item_sums)):
            factors, bias, pull = x[f"{side}_factors"], x[f"{side}_bias"], self.reg * self.weight[side]
            self.gradient[f"{side}_factors"] = scale * (sums[:, :rank] + pull * factors)
            if self.bias:
                self.gradient[f"{side}_bias"] = scale * (sums[:, rank:] + pull * bias)
        return self._read(self._sum(errors.square()), self._penalty(x, "user") + self._penalty(x, "item"))

    def curvature(self) -> tuple[float, float]:
        """Mean over the ratings of |q_i|^2 and of |p_u|^2."""
        x = self.model.weights()
        return self._read(*(self._sum(self.share[side] * x[f"{side}_factors"].square()) for side in ("item", "user")))

    def move(self, rates: Rates, momentum: float, gain: float) -> None:
        """Step to the trial point; see the base class."""
        x = self.model.weights()
        rate = {"user_factors": rates.user_factors, "item_factors": rates.item_factors}
        velocity, trial = {}, dict(x)
        for name, gradient in self.gradient.items():
            velocity[name] = gain * gradient + momentum * self.velocity[name] if momentum else gain * gradient
            step = self.step[name.split("_")[0]]
            trial[name] = x[name] - rate.get(name, rates.bias) * step * velocity[name]
        self.velocity, self.trial = velocity, trial

    def accept(self) -> None:
        """Hand the trial point to the model."""
        for name, table in self.trial.items():
            getattr(self.model, name).weight.data = table

    def _penalty(self, x: dict[str, Tensor], side: str) -> Tensor:
        """Sum over the rows of a side of w |row|^2."""
        return self._sum(self.weight[side] * (x[f"{side}_factors"].square().sum(1, True) + x[f"{side}_bias"].square()))

    def _sum(self, values: Tensor) -> Tensor:
        return values.sum(dtype=self.wide)

    @staticmethod
    def _read(first: Tensor, second: Tensor) -> tuple[float, float]:
        """Both numbers on the host: one wait for the device, not two."""
        a, b = torch.stack([first, second]).tolist()
        return a, b


@dataclass(kw_only=True)
class AdamState(State):
    """The module in training, and its weights after the last whole epoch."""

    model: EmbeddingModel
    optimizer: torch.optim.Adam
    users: Tensor
    items: Tensor
    ratings: Tensor
    user_pull: Tensor  # reg w_row / n_row: each rating carries its share of the rows' penalty
    item_pull: Tensor
    shuffle: torch.Generator
    done: dict[str, Tensor]


@dataclass(kw_only=True, eq=False)
class TorchEmbedding(MomentumGD):
    """The embedding model; see `MomentumGD` for the parameters of the full-batch optimizer.

    Parameters
    ----------
    device
        Any torch device on which the model shall live, such as "cpu".
    optimizer
        "gd" is full-batch momentum gradient descent; "adam" takes mini-batches, and ``learning_rate`` and
        ``batch_size`` are its only parameters (0.01 is a usual rate).
    batch_size
        Ratings in a mini-batch.
    products
        How the full-batch sums are made; "auto" takes "sparse" wherever the device has sparse products.
    """

    device: str = "cpu"
    optimizer: Literal["gd", "adam"] = "gd"
    batch_size: int = 16_384
    products: Literal["auto", "sparse", "gather"] = "auto"

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_choice("optimizer", self.optimizer, ("gd", "adam"))
        check_choice("products", self.products, ("auto", "sparse", "gather"))
        check_count("batch_size", self.batch_size)

    def prepare(self, train: Ratings, initial: Parameters) -> TorchDescent | AdamState:
        """Copy the ratings and the model to the device, sorted for the full-batch products."""
        model = EmbeddingModel(initial, torch.device(self.device))
        return self._adam(train, model) if self.optimizer == "adam" else self._descent(train, initial, model)

    def step(self, state: DescentState | AdamState, n_epochs: int) -> float:
        """Make ``n_epochs`` full-batch iterations, or passes of Adam; return a training MSE met on the way."""
        if isinstance(state, DescentState):
            with torch.no_grad():
                return super().step(state, n_epochs)
        with torch.enable_grad():
            for _ in range(n_epochs):
                train_mse = _adam_epoch(state, self.batch_size)
        return train_mse

    def synchronize(self, state: TorchDescent | AdamState) -> None:
        """Wait for the device's queue to drain."""
        getattr(torch, torch.device(self.device).type).synchronize()

    def parameters(self, state: TorchDescent | AdamState) -> Parameters:
        """Return a copy of the last whole epoch's parameters on the host."""
        weights = state.done if isinstance(state, AdamState) else state.model.weights()
        host = {name: table.detach().cpu().numpy().copy() for name, table in weights.items()}
        return Parameters(
            state.model.mean,
            host["user_bias"][:, 0],
            host["item_bias"][:, 0],
            host["user_factors"],
            host["item_factors"],
        )

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Keep torch's threads to ``n_jobs``, and leave torch as it was found, wherever a Ctrl-C falls."""
        threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()
        torch.set_num_threads(self.n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_grad_enabled(gradients)

    def _descent(self, train: Ratings, initial: Parameters, model: EmbeddingModel) -> TorchDescent:
        device, options, n = torch.device(self.device), self.descent_options(train), len(train)
        dtype = model.user_factors.weight.dtype
        products = self._products(train, self.targets(train, initial), device, dtype)

        def columns(user_values: Float, item_values: Float) -> dict[str, Tensor]:
            pair = {"user": user_values, "item": item_values}
            return {side: torch.tensor(v.astype(self.dtype), device=device)[:, None] for side, v in pair.items()}

        return TorchDescent(
            model=model,
            products=products,
            wide=_widest(device),
            weight=columns(options["user_weight"], options["item_weight"]),
            step=columns(options["user_scale"], options["item_scale"]),
            share=columns(train.user_counts() / n, train.item_counts() / n),
            trial=model.weights(),
            gradient={},
            velocity={},
            **options,
        )

    def _products(self, train: Ratings, targets: Float, device: torch.device, dtype: torch.dtype) -> Products:
        if self.products == "sparse" or (self.products == "auto" and SparseProducts.work_on(device, dtype)):
            try:
                return SparseProducts(train, targets, device)
            except RepeatedPairs:
                if self.products == "sparse":
                    raise
        return GatherProducts(train, targets, device)

    def _adam(self, train: Ratings, model: EmbeddingModel) -> AdamState:
        device = torch.device(self.device)
        tables = [model.user_factors.weight, model.item_factors.weight]
        tables += [model.user_bias.weight, model.item_bias.weight] if self.bias else []
        pulls = [
            torch.tensor((self.reg * weight / np.maximum(count, 1)).astype(self.dtype), device=device)
            for weight, count in zip(
                self.objective.row_weights(train), (train.user_counts(), train.item_counts()), strict=True
            )
        ]
        return AdamState(
            model=model,
            optimizer=torch.optim.Adam(tables, lr=self.learning_rate),
            users=torch.tensor(train.users, device=device, dtype=torch.long),
            items=torch.tensor(train.items, device=device, dtype=torch.long),
            ratings=torch.tensor(train.ratings.astype(self.dtype), device=device),
            user_pull=pulls[0],
            item_pull=pulls[1],
            shuffle=torch.Generator().manual_seed(0),
            done={name: table.clone() for name, table in model.weights().items()},
        )


def _adam_epoch(state: AdamState, batch_size: int) -> float:
    """One pass over the shuffled ratings; the mean squared error met on the way."""
    order = torch.randperm(len(state.ratings), generator=state.shuffle).to(state.ratings.device)
    squared_error = torch.zeros((), device=state.ratings.device)
    for batch in torch.split(order, batch_size):
        checkpoint()
        users, items = state.users[batch], state.items[batch]
        errors = state.model(users, items) - state.ratings[batch]
        m = state.model
        user_squares = m.user_factors(users).square().sum(dim=1) + m.user_bias(users)[:, 0].square()
        item_squares = m.item_factors(items).square().sum(dim=1) + m.item_bias(items)[:, 0].square()
        penalty = (state.user_pull[users] * user_squares + state.item_pull[items] * item_squares).mean()
        state.optimizer.zero_grad()
        (errors.square().mean() + penalty).backward()
        state.optimizer.step()
        squared_error += errors.detach().square().sum()
    state.done = {name: table.clone() for name, table in state.model.weights().items()}
    state.epochs += 1
    return float(squared_error) / len(state.ratings)


def _widest(device: torch.device) -> torch.dtype:
    """Float64, or float32 on a device that lacks it."""
    try:
        return torch.zeros(1, dtype=torch.float64, device=device).dtype
    except TypeError:
        return torch.float32
