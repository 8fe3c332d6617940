"""The embedding model as a `torch.nn.Module`, and what its solvers share. No optimizer is here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from backends._arrays import Float
from backends.objective import Parameters
from backends.ratings import Ratings

from .threads import Threads
from .torch_products import (
    SIDES,
    Gradient,
    Products,
    RepeatedPairs,
    SparseProducts,
    gather_batches,
    sparse_batches,
)

ProductKind = Literal["auto", "sparse", "gather"]


class EmbeddingModel(nn.Module):
    """r_ui ~ m + unit (p_u, b_u, 1) . (q_i, 1, c_i), each bracket a row of an embedding table.

    Parameters
    ----------
    initial
        The parameters to start from, on the host.
    device
        Where the tables live.
    unit
        The unit of ratings and biases in the tables; factors are in units of its square root.
        Converting to a unit and back rounds, unless the unit is 1.
    """

    def __init__(self, initial: Parameters, device: torch.device, unit: float = 1.0) -> None:
        super().__init__()
        self.mean, self.unit, self.rank = initial.mean, unit, initial.rank

        def embedding(factors: Float, bias: Float, bias_column: int) -> nn.Embedding:
            # All ones at first; what is not overwritten multiplies the other side's bias.
            rows = np.ones((len(factors), self.rank + 2), factors.dtype)
            rows[:, : self.rank] = factors
            rows[:, bias_column] = bias
            # nn.Embedding(...) would first draw weights, which changes torch's global generator.
            weight = torch.tensor(rows, device=device)
            table: nn.Embedding = nn.Embedding.from_pretrained(weight, freeze=False)
            return table

        # Behind the factors: users (b, 1), items (1, c).
        self.bias_column = {"user": self.rank, "item": self.rank + 1}
        start = initial.in_units(unit)
        self.user = embedding(start.user_factors, start.user_bias, self.bias_column["user"])
        self.item = embedding(start.item_factors, start.item_bias, self.bias_column["item"])

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Predict the ratings of pairs of rows, shape (n,)."""
        dots: Tensor = (self.user(users) * self.item(items)).sum(dim=1)
        return self.mean + self.unit * dots

    def tables(self) -> dict[str, Tensor]:
        """Return the tables of the two sides outside autograd, shapes (n_rows, rank + 2)."""
        return {side: getattr(self, side).weight.data for side in SIDES}


def make_products(
    kind: ProductKind,
    train: Ratings,
    targets: Float,
    device: torch.device,
    n_batches: int,
    rng: np.random.Generator,
    threads: Threads,
) -> list[Products]:
    """Deal the ratings into batches, and prepare each for its products.

    Parameters
    ----------
    kind
        "sparse", "gather", or "auto": "sparse" if the device has sparse products in the precision
        of the targets and no pair is rated twice, "gather" otherwise.
    targets
        The ratings minus the mean, in the unit of the tables, shape (n,).
    n_batches, rng
        Number of batches, and what deals the ratings at random if there are several.

    Raises
    ------
    RepeatedPairs
        When ``kind`` is "sparse" and a pair is rated twice.
    """
    dtype = getattr(torch, str(targets.dtype))
    if kind == "sparse" or (kind == "auto" and SparseProducts.work_on(device, dtype)):
        try:
            return sparse_batches(train, targets, device, n_batches, rng, threads)
        except RepeatedPairs:
            if kind == "sparse":
                raise
    return gather_batches(train, targets, device, n_batches, rng)


def make_gradient(
    model: EmbeddingModel,
    n: float,
    n_batches: int,
    penalties: Iterable[tuple[Float, Float]],
) -> Gradient:
    """Return a gradient whose buffers are like the model's tables.

    Parameters
    ----------
    n
        N, the sum of the weights of all ratings.
    n_batches
        How many batches the ratings are dealt into.
    penalties
        Of the users, then of the items: those of each row's factors and of its bias in N J, in the
        unit of the tables, shapes (n_rows,).
    """
    tables = model.tables()
    columns = [
        (column(factors, tables[side]), column(biases, tables[side]))
        for side, (factors, biases) in zip(SIDES, penalties, strict=True)
    ]
    return Gradient(
        columns=model.bias_column,
        rank=model.rank,
        n=n,
        n_batches=n_batches,
        penalties=dict(zip(SIDES, columns, strict=True)),
        of={side: torch.zeros_like(table) for side, table in tables.items()},
    )


def column(values: Float, like: Tensor) -> Tensor:
    """Return one number per row, like a table in device and precision, shape (n_rows, 1)."""
    # Penalties are float64. One beyond float32 would become infinite, and infinity times 0 is NaN.
    representable = np.minimum(values, torch.finfo(like.dtype).max)
    return torch.tensor(representable, dtype=like.dtype, device=like.device)[:, None]


def parameters(model: EmbeddingModel, tables: dict[str, Tensor]) -> Parameters:
    """Return tables of a model as parameters in rating units, copied to the host."""
    host = {}
    for side, table in tables.items():
        rows: Float = table.cpu().numpy()
        host[f"{side}_factors"] = rows[:, : model.rank]
        host[f"{side}_bias"] = rows[:, model.bias_column[side]]
    return Parameters(model.mean, **host).from_units(model.unit)


@contextmanager
def fit_threads(n_threads: int = 1) -> Iterator[None]:
    """Limit torch to so many threads, by default to one.

    One is for fits that have threads of their own; see `torch_products.Matrix`. At the end torch's
    settings are restored, even if a Ctrl-C ends the fit.
    """
    threads, gradients = torch.get_num_threads(), torch.is_grad_enabled()
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(gradients)


def synchronize(device: str) -> None:
    """Wait until the device has finished all work it was given."""
    getattr(torch, torch.device(device).type).synchronize()
