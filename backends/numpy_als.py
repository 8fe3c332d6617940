"""Alternating least squares: exact minimisation of J in one side's rows at a time; the reference solver.

With the items fixed, J separates over the users, and each user's (p_u, b_u) solves a weighted ridge regression on the
rows (q_i, 1) of the items it rated (Zhou et al. 2008, with biases), with the penalties of its factors and of its bias.
Users and items alternate, so J never rises. One half-epoch serves both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backends._engine.interrupt import checkpoint

from ._arrays import Float
from .factorizer import Factorizer, State
from .objective import Parameters, Penalties
from .ratings import Ratings

_BATCH_ELEMENTS = 1 << 20  # numbers in a batch of design or Gram matrices: bounds memory, stays near the cache


@dataclass
class Side:
    """The ratings grouped by the rows of one side, and those rows in batches of similar length."""

    offsets: NDArray[np.int64]  # ratings of row r: [offsets[r], offsets[r + 1])
    others: NDArray[np.int32]  # row of the other side, shape (n,)
    targets: Float  # r - m, shape (n,)
    weights: Float | None  # of the ratings, shape (n,); None where all weigh 1
    penalty: Float  # what the diagonals of the rows' normal equations are given, shape (n_rows, rank + bias)
    batches: list[NDArray[np.int64]]


@dataclass(kw_only=True)
class AlternatingState(State):
    """The parameters after the last whole epoch, and the two sides."""

    now: Parameters
    users: Side
    items: Side
    n: float  # sum of the weights of all ratings


@dataclass(kw_only=True, eq=False)
class NumpyALS(Factorizer):
    """Alternating least squares in NumPy, batched over rows, by default in float64; one epoch updates both sides."""

    dtype: Literal["float32", "float64"] = "float64"

    def prepare(self, train: Ratings, initial: Parameters, *, seed: int) -> AlternatingState:
        """Group the ratings by user and by item."""
        targets = self.targets(train, initial)
        weights = None if train.weights is None else train.weights.astype(self.dtype)
        users, items = (self._diagonals(penalties) for penalties in self.objective.penalties(train))
        return AlternatingState(
            now=initial,
            users=_side(train.users, train.items, targets, weights, users),
            items=_side(train.items, train.users, targets, weights, items),
            n=train.summary.weight,
        )

    def step(self, state: AlternatingState, n_epochs: int) -> float:
        """Alternate ``n_epochs`` times; return the training MSE after the last."""
        for _ in range(n_epochs):
            x = state.now
            p, b, _ = self._half_epoch(state.users, x.item_factors, x.item_bias, x.user_factors, x.user_bias)
            q, c, squared_error = self._half_epoch(state.items, p, b, x.item_factors, x.item_bias)
            state.now = Parameters(x.mean, b, c, p, q)
            state.epochs += 1
        return squared_error / state.n

    def parameters(self, state: AlternatingState) -> Parameters:
        """Return a copy of the current point."""
        return state.now.astype(self.dtype)

    def _diagonals(self, penalties: Penalties) -> Float:
        columns = [penalties.factors] * self.rank + [penalties.biases] * self.bias
        # A penalty at the edge of the precision is as good as one beyond it: what it is on vanishes.
        largest = 1e-4 * np.finfo(self.dtype).max
        return np.minimum(np.stack(columns, axis=1), largest).astype(self.dtype)

    def _half_epoch(
        self, side: Side, other_factors: Float, other_bias: Float, factors: Float, bias: Float
    ) -> tuple[Float, Float, float]:
        """Solve all rows of one side; rows without ratings keep their values. Also the squared error after it."""
        design = np.column_stack([other_factors, np.ones_like(other_bias)]) if self.bias else other_factors
        design = np.vstack([design, np.zeros(design.shape[1], design.dtype)])  # the last row pads short batches
        factors, bias, squared_error = factors.copy(), bias.copy(), 0.0
        for rows in side.batches:
            checkpoint()
            positions, held = _padded_positions(side.offsets, rows)
            others = np.where(held, side.others[positions], len(design) - 1)
            a = design[others]  # (rows, longest, width)
            y = np.where(held, side.targets[positions] - np.append(other_bias, 0)[others], 0)
            weighted, weights = a, None
            if side.weights is not None:
                weights = np.where(held, side.weights[positions], 0)
                weighted = a * weights[..., None]
            gram = weighted.transpose(0, 2, 1) @ a
            diagonal = np.arange(gram.shape[1])
            gram[:, diagonal, diagonal] += side.penalty[rows]
            solved = _solve(gram, np.einsum("rnk,rn->rk", weighted, y))
            squares = np.square(y - np.einsum("rnk,rk->rn", a, solved), dtype=np.float64)
            squared_error += float((squares if weights is None else squares * weights).sum())
            factors[rows] = solved[:, : self.rank]
            if self.bias:
                bias[rows] = solved[:, self.rank]
        return factors, bias, squared_error


def _side(
    rows: NDArray[np.int32], others: NDArray[np.int32], targets: Float, weights: Float | None, penalty: Float
) -> Side:
    order = np.argsort(rows, kind="stable")
    n_rows, width = penalty.shape
    counts = np.bincount(rows, minlength=n_rows)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    ordered = None if weights is None else weights[order]
    batches = list(_batches(counts, width))
    return Side(offsets, others[order], targets[order], ordered, penalty, batches)


def _batches(counts: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows with ratings, by ascending count: padding to the longest of a batch wastes at most 1/8."""
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    start = 0
    while start < len(order):
        shortest = counts[order[start]]
        stop = start + int(np.searchsorted(counts[order[start:]], shortest + shortest // 8, side="right"))
        longest = int(counts[order[stop - 1]])
        stop = min(stop, start + max(1, _BATCH_ELEMENTS // (max(longest, width) * width)))
        yield order[start:stop]
        start = stop


def _padded_positions(
    offsets: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Positions of the ratings of ``rows``, shape (rows, longest), and which of them are real."""
    counts = offsets[rows + 1] - offsets[rows]
    within = np.arange(counts.max())
    held = within < counts[:, None]
    return np.where(held, offsets[rows, None] + within, 0), held


def _solve(gram: Float, right: Float) -> Float:
    """Solve the batched normal equations; least-norm where reg is 0 and a row has fewer ratings than unknowns."""
    try:
        solved: Float = np.linalg.solve(gram, right[..., None])[..., 0]
        if np.isfinite(solved).all():
            return solved
    except np.linalg.LinAlgError:
        pass
    if not np.isfinite(gram).all():  # numbers overflowed, and pinv would raise: the fit has diverged, as fit reports
        return np.full_like(right, np.nan)
    return (np.linalg.pinv(gram, hermitian=True) @ right[..., None])[..., 0]
