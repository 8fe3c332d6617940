"""What a reader of tutorials writes in PyTorch: embeddings with biases, mini-batches, Adam."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from backends._arrays import Float
from backends._validation import check_count
from backends.objective import Parameters
from backends.ratings import Ratings

from .peer import GOES_ON, N_JOBS, OUR_START, OWN_BIASES, Peer, PeerFacts


class _Model(nn.Module):
    """A rating is the mean, two biases, and the product of two embeddings."""

    def __init__(self, initial: Parameters) -> None:
        super().__init__()
        self.mean = initial.mean
        self.user_factors, self.item_factors = (
            nn.Embedding.from_pretrained(torch.tensor(factors).float(), freeze=False)
            for factors in (initial.user_factors, initial.item_factors)
        )
        self.user_bias, self.item_bias = (
            nn.Embedding.from_pretrained(torch.tensor(bias).float()[:, None], freeze=False)
            for bias in (initial.user_bias, initial.item_bias)
        )

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return predicted ratings and the squares of the rows behind each, both of shape (n,)."""
        p, q = self.user_factors(users), self.item_factors(items)
        b, c = self.user_bias(users).squeeze(1), self.item_bias(items).squeeze(1)
        return self.mean + b + c + (p * q).sum(1), (p**2).sum(1) + (q**2).sum(1) + b**2 + c**2


class _Session(NamedTuple):
    model: _Model
    optimizer: torch.optim.Optimizer
    columns: tuple[Tensor, Tensor, Tensor]  # users, items, ratings
    generator: torch.Generator


@dataclass(kw_only=True, eq=False)
class PyTorchTutorial(Peer):
    """Embeddings, ``DataLoader(TensorDataset(...), shuffle=True)`` and Adam.

    Parameters
    ----------
    learning_rate
        Of Adam.
    batch_size
        Ratings of a mini-batch.
    reg
        Factor of the squares of a rating's rows in the loss.
    """

    facts: ClassVar[PeerFacts] = PeerFacts(
        library="torch",
        licence="BSD-3-Clause",
        minimises="squared error + reg for each rating on factors and biases",
        biases=OWN_BIASES,
        start=OUR_START,
        seed="the start and the order of the ratings",
        stepping=GOES_ON,
        threads=N_JOBS,
        precision="float32",
    )
    modules: ClassVar[tuple[str, ...]] = ("torch",)
    search_space: ClassVar[dict[str, tuple[float, float]]] = {
        "learning_rate": (0.001, 0.05),
        "reg": (0.005, 0.2),
    }
    fused: ClassVar[bool] = False

    learning_rate: float = 0.001
    batch_size: int = 1024
    reg: float = 0.02

    def begin(self, train: Ratings, targets: Float, initial: Parameters, seed: int) -> _Session:
        """Return the model, the optimizer and the ratings as tensors."""
        model = _Model(initial)
        if not self.bias:
            model.user_bias.requires_grad_(False)
            model.item_bias.requires_grad_(False)
        optimizer = torch.optim.Adam(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=self.learning_rate,
            fused=self.fused,
        )
        columns = (
            torch.from_numpy(train.users.astype(np.int64)),
            torch.from_numpy(train.items.astype(np.int64)),
            torch.from_numpy(targets),
        )
        return _Session(model, optimizer, columns, torch.Generator().manual_seed(seed))

    def fit_epochs(self, session: _Session, n_epochs: int) -> None:
        """Train on."""
        for _ in range(n_epochs):
            for users, items, ratings in self.batches(session):
                session.optimizer.zero_grad()
                predicted, squares = session.model(users, items)
                ((predicted - ratings) ** 2 + self.reg * squares).mean().backward()
                session.optimizer.step()

    def batches(self, session: _Session) -> Iterator[Any]:
        """Yield the mini-batches of an epoch: users, items and ratings."""
        yield from DataLoader(
            TensorDataset(*session.columns),
            batch_size=self.batch_size,
            shuffle=True,
            generator=session.generator,
        )

    def read(self, session: _Session) -> Parameters:
        """Return the weights of the embeddings."""
        model = session.model
        tables = {
            name: getattr(model, name).weight.detach().numpy()
            for name in ("user_bias", "item_bias", "user_factors", "item_factors")
        }
        b, c = tables["user_bias"][:, 0], tables["item_bias"][:, 0]
        return Parameters(model.mean, b, c, tables["user_factors"], tables["item_factors"])

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_count("batch_size", self.batch_size)


@dataclass(kw_only=True, eq=False)
class PyTorchSlices(PyTorchTutorial):
    """The same model on large slices of a random permutation, with fused Adam.

    It is what is left of the tutorial when its data loader, which collects ratings one by one, is
    replaced by an index.
    """

    fused: ClassVar[bool] = True

    learning_rate: float = 0.01
    batch_size: int = 65_536

    def batches(self, session: _Session) -> Iterator[Any]:
        """Yield the mini-batches of an epoch: users, items and ratings."""
        n = len(session.columns[0])
        for places in torch.randperm(n, generator=session.generator).split(self.batch_size):
            yield [column[places] for column in session.columns]
