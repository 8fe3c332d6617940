"""The embedding model as a `torch.nn.Module`, and what its optimizers share. No optimizer is here."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from backends._arrays import Float
from backends.objective import Parameters

from .torch_products import SIDES


class EmbeddingModel(nn.Module):
    """r_ui ~ m + unit (p_u, b_u, 1) . (q_i, 1, c_i), each bracket a row of an embedding table.

    Parameters
    ----------
    initial
        The parameters to start from, on the host.
    device
        Where the tables live.
    unit
        What the tables measure ratings in, biases in it and factors in its root. Changing to a unit
        and back rounds, unless it is 1.
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

        # the other of the two holds ones
        self.bias_column = {"user": self.rank, "item": self.rank + 1}
        self.user = embedding(initial.user_factors, initial.user_bias, self.bias_column["user"])
        self.item = embedding(initial.item_factors, initial.item_bias, self.bias_column["item"])

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Predict the ratings of pairs of rows, shape (n,)."""
        dots: Tensor = (self.user(users) * self.item(items)).sum(dim=1)
        return self.mean + self.unit * dots

    def tables(self) -> dict[str, Tensor]:
        """Return the tables of the two sides outside autograd, shapes (n_rows, rank + 2)."""
        return {side: getattr(self, side).weight.data for side in SIDES}
