"""Alternating least squares in PyTorch on any device: batched Cholesky.

The rows of a side are solved for in batches of rows with similar numbers of ratings. A batch is
padded to the longest of its rows, and limited in size, so that memory is bounded whatever the
number of ratings is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backends._engine.embedding import fit_threads, synchronize
from backends._engine.interrupt import checkpoint
from backends._engine.least_squares import pivot_tolerance, rounding_error
from backends._engine.row_batches import row_batches
from backends._engine.torch_ratings import DeviceRatings, offsets_of, stable_order
from backends._engine.torch_tables import Side, widest

from ._validation import check_count
from .alternating import AlternatingLeastSquares
from .factorizer import State
from .objective import Parameters, Penalties, rating_unit
from .ratings import Ratings

# Unknowns cubed of the rows whose eigenvalues are computed in one call: a small part of a second.
_EIGENVALUE_WORK = 20_000_000

SIDES: tuple[Side, ...] = ("user", "item")
NUMBERS = {torch.float32: np.float32, torch.float64: np.float64}


@dataclass
class Table:
    """One side of a model on the device, in units: see `AlternatingState`."""

    factors: Tensor  # shape (n_rows, rank)
    bias: Tensor  # shape (n_rows,)


@dataclass
class Batch:
    """Rows of similar length, and where their ratings are.

    Attributes
    ----------
    rows
        Shape (n,).
    opposites
        Opposite row of each rating, shape (n, longest); 0 where a row has fewer ratings.
    targets
        In units, shape (n, longest).
    roots
        Root of each rating's weight, shape (n, longest); 0 where a row has fewer ratings.
    penalty
        What is added to the diagonal of each row's normal equations, shape (n, rank), or (n, 1 +
        rank) with biases.
    """

    rows: Tensor
    opposites: Tensor
    targets: Tensor
    roots: Tensor
    penalty: Tensor

    def take(self, places: Tensor) -> Batch:
        """Return some of its rows."""
        parts = self.rows, self.opposites, self.targets, self.roots, self.penalty
        return Batch(*(part[places] for part in parts))


@dataclass(kw_only=True)
class AlternatingState(State):
    """The batches by user and by item, and the tables after the last whole epoch.

    Ratings and biases are in units of ``unit``, and factors in units of its square root. Weights
    are in units of their mean.
    """

    mean: float
    unit: float
    n_ratings: int
    batches: tuple[list[Batch], list[Batch]]
    done: tuple[Table, Table]


@dataclass(kw_only=True, eq=False)
class TorchALS(AlternatingLeastSquares):
    """Alternating least squares on torch tensors; an epoch updates both sides.

    Memory on the device, beside the factors, which are held twice: for each rating and side 4 bytes
    for its opposite row, and its target and weight in the precision of the tables; and a few times
    ``batch_elements`` numbers.

    Parameters
    ----------
    device
        The torch device to compute on, such as "cpu".
    batch_elements
        Numbers in a batch of gathered opposite rows, or of Gram matrices. On a GPU a small batch
        leaves most of it idle; on a CPU a large one misses the cache.
    """

    device: str = "cpu"
    batch_elements: int = 1 << 22

    def check_params(self) -> None:
        """Check the hyper-parameters; see the base class."""
        super().check_params()
        check_count("batch_elements", self.batch_elements)

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> AlternatingState:
        """Copy the ratings to the device, in batches by user and by item, and the model."""
        device = torch.device(self.device)
        unit = rating_unit(train, initial.mean)
        weight_unit = train.summary.weight / len(train)
        ratings = DeviceRatings.of(train, initial.mean, unit, getattr(torch, self.dtype), device)
        weights = train.user_weights(), train.item_weights()
        penalties = self.objective.penalties_of(train, *weights)
        by_user, by_item = (
            list(self._batches(ratings, side, counts, rows, unit, weight_unit))
            for side, counts, rows in zip(
                SIDES, (train.user_counts(), train.item_counts()), penalties, strict=True
            )
        )
        start = initial.in_units(unit)
        return AlternatingState(
            row_weights=weights,
            mean=initial.mean,
            unit=unit,
            n_ratings=len(train),
            batches=(by_user, by_item),
            done=(
                Table(
                    torch.tensor(start.user_factors, device=device),
                    torch.tensor(start.user_bias, device=device),
                ),
                Table(
                    torch.tensor(start.item_factors, device=device),
                    torch.tensor(start.item_bias, device=device),
                ),
            ),
        )

    def step(self, state: AlternatingState, n_epochs: int) -> float:
        """Alternate ``n_epochs`` times; return the training MSE after the last."""
        with torch.no_grad():
            for _ in range(n_epochs):
                users, items = state.done
                users = self._half_epoch(state.batches[0], items, users)
                items = self._half_epoch(state.batches[1], users, items)
                # Only now does the epoch take effect: a Ctrl-C before leaves the last whole one.
                state.done = users, items
                state.epochs += 1
            squared_error = self._squared_error(state.batches[1], users, items)
        return float(squared_error) * state.unit * state.unit / state.n_ratings

    def parameters(self, state: AlternatingState) -> Parameters:
        """Return a copy of the last whole epoch's parameters on the host, in rating units."""
        users, items = state.done
        tensors = users.bias, items.bias, users.factors, items.factors
        in_units = Parameters(state.mean, *(tensor.cpu().numpy() for tensor in tensors))
        return in_units.from_units(state.unit)

    def synchronize(self, state: AlternatingState) -> None:
        """Wait until the device has finished all work it was given."""
        synchronize(self.device)

    def threads(self) -> AbstractContextManager[None]:
        """Limit torch's own threads to ``n_jobs``."""
        return fit_threads(self.n_threads, self.device)

    def _batches(
        self,
        ratings: DeviceRatings,
        side: Side,
        counts: NDArray[np.int64],
        penalties: Penalties,
        unit: float,
        weight_unit: float,
    ) -> Iterator[Batch]:
        """Yield the ratings of one side in batches, sorted and padded on the device.

        ``counts`` are the numbers of ratings of its rows.
        """
        rows, opposites, n_rows = ratings.side(side)
        offsets, order = offsets_of(rows, n_rows), stable_order(rows, n_rows)
        opposites, targets = opposites[order], ratings.targets[order]
        weights = None if ratings.weights is None else ratings.weights[order]
        factor_penalty, bias_penalty = penalties.in_units(unit, weight_unit, self.dtype)
        columns = [factor_penalty] * self.rank
        if self.solves_for_biases:
            columns.insert(0, bias_penalty)
        penalty = np.stack(columns, axis=1)
        for batch in row_batches(counts, penalty.shape[1], self.batch_elements):
            solved = torch.tensor(batch, device=rows.device)
            starts, ends = offsets[solved, None], offsets[solved + 1, None]
            positions = starts + torch.arange(int(counts[batch].max()), device=rows.device)
            exists = positions < ends
            positions = torch.where(exists, positions, 0)
            roots = exists.to(targets.dtype)
            if weights is not None:
                roots = roots * (weights[positions] / weight_unit).sqrt()
            yield Batch(
                solved,
                torch.where(exists, opposites[positions], 0),
                targets[positions],
                roots,
                torch.tensor(penalty[batch], device=rows.device),
            )

    def _half_epoch(self, batches: list[Batch], opposites: Table, rows: Table) -> Table:
        """Solve for all rows of one side; rows without ratings keep their values."""
        factors, bias = rows.factors.clone(), rows.bias.clone()
        for batch in batches:
            solved = self._solve(batch, opposites, bias, factors.dtype)
            factors[batch.rows] = solved[:, -self.rank :]
            if self.solves_for_biases:
                bias[batch.rows] = solved[:, 0]
        return Table(factors, bias)

    def _squared_error(self, batches: list[Batch], opposites: Table, rows: Table) -> Tensor:
        """Return the weighted sum of squared errors of all ratings, in units."""
        factors, bias = rows.factors, rows.bias
        squared_error = torch.zeros((), dtype=widest(factors.device), device=factors.device)
        for batch in batches:
            x = factors[batch.rows]
            if self.solves_for_biases:
                x = torch.cat([bias[batch.rows, None], x], dim=1)
            for design, targets in self._designs(batch, opposites, bias, factors.dtype):
                errors = targets - torch.einsum("rnk,rk->rn", design, x)
                squared_error += errors.to(squared_error.dtype).square().sum()
        return squared_error

    def _solve(self, batch: Batch, opposites: Table, bias: Tensor, dtype: torch.dtype) -> Tensor:
        """Solve the normal equations of a batch; see `least_squares` for those of singular rows."""
        gram = torch.diag_embed(batch.penalty.to(dtype))
        right = torch.zeros_like(batch.penalty, dtype=dtype)
        for design, targets in self._designs(batch, opposites, bias, dtype):
            gram.baddbmm_(design.transpose(1, 2), design)
            right += torch.einsum("rnk,rn->rk", design, targets)
        number = torch.finfo(dtype)
        diagonal = gram.diagonal(dim1=1, dim2=2)
        smallest = (pivot_tolerance(NUMBERS[dtype]) * diagonal).clamp(min=number.tiny)
        factor, failed = torch.linalg.cholesky_ex(gram)
        regular = (factor.diagonal(dim1=1, dim2=2).square() > smallest).all(dim=1) & (failed == 0)
        solved = torch.cholesky_solve(right[..., None], factor)[..., 0]
        singular = torch.nonzero(~regular)[:, 0]
        if len(singular) and dtype != widest(gram.device):
            part = batch.take(singular)
            again = self._solve(part, opposites, bias, widest(gram.device))
            solved[singular] = again.to(dtype)
        else:
            # Few at a time: eigenvalues take long, and a Ctrl-C has to wait for them.
            for rows in singular.split(max(1, _EIGENVALUE_WORK // gram.shape[1] ** 3)):
                checkpoint()
                solved[rows] = _least_norm(gram[rows], right[rows])
        return solved

    def _designs(
        self, batch: Batch, opposites: Table, bias: Tensor, dtype: torch.dtype
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the regressors of a batch, shape (n, length, width), and its targets, (n, length).

        Both are multiplied by the roots of the weights. A batch that is a single row with many
        ratings is cut up. ``bias`` is that of the rows before the half-epoch.
        """
        width = batch.penalty.shape[1]
        length = max(1, self.batch_elements // (len(batch.rows) * width))
        parts = (
            part.split(length, dim=1) for part in (batch.opposites, batch.targets, batch.roots)
        )
        for rows, batch_targets, batch_roots in zip(*parts, strict=True):
            checkpoint()
            roots = batch_roots.to(dtype)
            design = opposites.factors[rows].to(dtype) * roots[..., None]
            if self.solves_for_biases:
                design = torch.cat([roots[..., None], design], dim=2)
            targets = batch_targets.to(dtype) - opposites.bias[rows]
            if self.bias == "fixed":
                targets = targets - bias[batch.rows, None]
            yield design, roots * targets


def _least_norm(gram: Tensor, right: Tensor) -> Tensor:
    """Return the solutions of least norm, as `least_squares.least_norm` does on the host."""
    finite = gram.isfinite().all(dim=2).all(dim=1) & right.isfinite().all(dim=1)
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], gram, 0))
    rounding = rounding_error(gram.shape[1], NUMBERS[gram.dtype]) * values[:, -1:]
    kept = values > rounding.clamp(min=torch.finfo(gram.dtype).tiny)
    inverse = torch.where(kept, 1 / values, 0)
    along = torch.einsum("nij,ni->nj", vectors, right)
    solved = torch.einsum("nij,nj->ni", vectors, inverse * along)
    return torch.where(finite[:, None], solved, torch.nan)
