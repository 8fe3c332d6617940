"""The embedding model as a `torch.nn.Module`, and what its solvers share. No optimizer is here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from backends._arrays import Float
from backends.errors import BackendUnavailable
from backends.objective import Parameters
from backends.ratings import Ratings

from .threads import Threads
from .torch_products import GatherProducts, Gradient, Products, SparseProducts
from .torch_ratings import DeviceRatings, RepeatedPairs, Shard
from .torch_tables import SIDES, Tables

ProductKind = Literal["auto", "fused", "sparse", "gather"]


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

    Attributes
    ----------
    tables
        The same numbers, outside autograd.
    """

    def __init__(self, initial: Parameters, device: torch.device, unit: float = 1.0) -> None:
        super().__init__()
        self.mean, self.unit = initial.mean, unit
        self.tables = Tables.of_parameters(initial.in_units(unit), device)
        # nn.Embedding(...) would first draw weights, which changes torch's global generator.
        self.user = nn.Embedding.from_pretrained(self.tables.users, freeze=False)
        self.item = nn.Embedding.from_pretrained(self.tables.items, freeze=False)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Predict the ratings of pairs of rows, shape (n,)."""
        dots: Tensor = (self.user(users) * self.item(items)).sum(dim=1)
        return self.mean + self.unit * dots

    def parameters_of(self, tables: Tables) -> Parameters:
        """Return tables like this model's as parameters in rating units, copied to the host."""
        return tables.parameters(self.mean).from_units(self.unit)


def make_products(
    kind: ProductKind,
    train: Ratings,
    model: EmbeddingModel,
    n_batches: int,
    seed: int,
    threads: Threads,
    *,
    shard: Shard | None = None,
) -> list[Products]:
    """Copy the ratings to the device of a model, deal them into batches, and prepare each.

    Parameters
    ----------
    kind
        "fused", "sparse", "gather", or "auto": "fused" on a device for which Triton compiles;
        otherwise "sparse" if the device has sparse products in the precision of the tables and no
        pair is rated twice; otherwise "gather".
    n_batches, seed
        Number of batches, and what deals the ratings at random if there are several.
    threads
        Threads of the fit.
    shard
        The part of the ratings that this process has; None for all.

    Raises
    ------
    RepeatedPairs
        When ``kind`` is "sparse" and a pair is rated twice.
    """
    table = model.tables.rows
    ratings = DeviceRatings.of(train, model.mean, model.unit, table.dtype, table.device, shard)
    make: Callable[[DeviceRatings], Products] = GatherProducts
    if kind == "fused" and find_spec("triton") is None:
        raise BackendUnavailable(
            "products=\"fused\" needs the package triton; run: pip install 'factorbench[triton]'"
        )
    if kind == "fused" or (kind == "auto" and compiles_for(table)):
        from .fused_products import FusedProducts

        make = FusedProducts
    elif kind == "sparse" or (kind == "auto" and SparseProducts.work_on(table.device, table.dtype)):
        by_pair = ratings.sorted_by_pair()
        try:
            by_pair.check_distinct()
        except RepeatedPairs:
            if kind == "sparse":
                raise
        else:
            ratings = by_pair
            make = partial(SparseProducts, threads=threads)
    return [make(batch) for batch in ratings.dealt(n_batches, seed)]


def kind_of(products: Products) -> str:
    """Return which of `ProductKind` products are."""
    return type(products).__name__.removesuffix("Products").lower()


def compiles_for(table: Tensor) -> bool:
    """Return whether Triton is there and compiles for the device of a table."""
    return table.is_cuda and find_spec("triton") is not None


def make_gradient(
    model: EmbeddingModel,
    n: float,
    n_batches: int,
    penalties: Iterable[tuple[Float, Float]],
    has_biases: bool,
) -> Gradient:
    """Return what computes gradients at points like the model's tables.

    Parameters
    ----------
    n
        N, the sum of the weights of all ratings.
    n_batches
        How many batches the ratings are dealt into.
    penalties
        Of the users, then of the items: those of each row's factors and of its bias in N J, in the
        unit of the tables, shapes (n_rows,).
    has_biases
        Whether the model has biases.
    """
    tables = model.tables.zeros()
    for side, (factors, biases) in zip(SIDES, penalties, strict=True):
        tables.of(side)[:, : tables.rank] = column(factors, tables.rows)
        tables.biases(side).copy_(column(biases, tables.rows)[:, 0])
    return Gradient(n=n, n_batches=n_batches, penalties=tables, has_biases=has_biases)


def column(values: Float, like: Tensor) -> Tensor:
    """Return one number per row, like a table in device and precision, shape (n_rows, 1)."""
    # Penalties are float64. One beyond float32 would become infinite, and infinity times 0 is NaN.
    representable = np.minimum(values, torch.finfo(like.dtype).max)
    return torch.tensor(representable, dtype=like.dtype, device=like.device)[:, None]


_fits = threading.Lock()
_threads_before: list[int] = []  # of each running fit, those of torch before the first of them


@contextmanager
def fit_threads(n_threads: int = 1, device: str = "cpu") -> Iterator[None]:
    """Limit torch to so many threads, by default to one, and make a device the current one.

    One is for fits that have threads of their own; see `torch_products.Matrix`. At the end torch's
    settings are restored, even if a Ctrl-C ends the fit. The number of threads is that of the
    process, so the last of several fits that overlap restores what was before the first.
    """
    gradients, kind = torch.is_grad_enabled(), torch.device(device)
    # What a device's libraries launch, they launch on the current one.
    on_device = getattr(getattr(torch, kind.type), "device", None)
    with _fits:
        _threads_before.append(_threads_before[0] if _threads_before else torch.get_num_threads())
        torch.set_num_threads(n_threads)
    try:
        # The threads of the fit are not in the inference mode of the caller's.
        with torch.inference_mode(False), on_device(kind) if on_device else nullcontext():
            yield
    finally:
        with _fits:
            before = _threads_before.pop()
            if not _threads_before:
                torch.set_num_threads(before)
        torch.set_grad_enabled(gradients)


def synchronize(device: str | torch.device) -> None:
    """Wait until a device, "cuda:1" as well as the current one, has finished all work it has."""
    device = torch.device(device)
    module = getattr(torch, device.type)
    which = () if device.index is None or module.device_count() == 1 else (device,)
    module.synchronize(*which)
