"""Rows' normal equations in NumPy, in batches, for alternating least squares.

A row's unknowns are its bias, if that is solved for, and its factors; its regressors are the
opposite rows' factors, behind a 1 for the bias.

Without a penalty, a row with fewer ratings than unknowns has many solutions. And where ratings
hardly tell two unknowns apart, rounding decides what these are. Both show in the Cholesky
factorisation: a pivot, which is what an unknown adds to those before it, is tiny compared with its
diagonal. Such a row is solved for in float64. If a pivot is tiny there as well, the row is solved
for by its eigenvalues, of which rounding errors are known more closely: it gets the solution of
least norm, without the directions in which its ratings say nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .interrupt import checkpoint
from .row_batches import padded_positions, row_batches

# Numbers in a batch of regressors or Gram matrices. It bounds the memory; larger batches miss the
# cache.
_BATCH_ELEMENTS = 1 << 20

_ROUNDING_ERRORS = 10  # per unknown: more than eigenvalues of sums of products have


@dataclass(frozen=True)
class Equations:
    """The ratings of one side, grouped by row, and the other side, which is fixed.

    Attributes
    ----------
    offsets
        The ratings of row r are those from offsets[r] to offsets[r + 1]; shape (n_rows + 1,).
    opposites
        Opposite row of each rating, shape (n,).
    targets
        Of each rating, shape (n,).
    weights
        Of each rating, shape (n,); None if all weigh 1.
    penalty
        Of each row's factors, shape (n_rows,).
    bias_penalty
        Of each row's bias, shape (n_rows,); None if biases are not solved for.
    factors, bias
        Of the opposite rows, shapes (n_opposite, rank) and (n_opposite,).
    own_bias
        Biases that stay fixed, shape (n_rows,); or None.
    """

    offsets: NDArray[np.int64]
    opposites: NDArray[np.int32]
    targets: NDArray[Any]
    weights: NDArray[Any] | None
    penalty: NDArray[Any]
    bias_penalty: NDArray[Any] | None
    factors: NDArray[Any]
    bias: NDArray[Any]
    own_bias: NDArray[Any] | None

    @property
    def width(self) -> int:
        """Number of unknowns of a row."""
        return int(self.factors.shape[1]) + int(self.bias_penalty is not None)

    def batches(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield those of ``rows`` that have ratings, in batches of similar length."""
        counts = np.diff(self.offsets)[rows]
        for batch in row_batches(counts, self.width, _BATCH_ELEMENTS):
            yield rows[batch]

    def designs(
        self, rows: NDArray[np.int64], dtype: DTypeLike
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield regressors, shape (n, length, width), and targets, (n, length), of a batch of rows.

        Both are multiplied by the roots of the weights, and 0 where a row has fewer ratings. A
        single row with many ratings comes in several parts.
        """
        width = self.width
        longest = int((self.offsets[rows + 1] - self.offsets[rows]).max())
        length = max(1, _BATCH_ELEMENTS // (len(rows) * width))
        for start in range(0, longest, length):
            checkpoint()
            positions, exists = padded_positions(self.offsets, rows, start, start + length)
            opposites = self.opposites[positions]
            roots = exists.astype(dtype)
            if self.weights is not None:
                roots *= np.sqrt(self.weights[positions].astype(dtype))
            targets = self.targets[positions].astype(dtype) - self.bias[opposites]
            if self.own_bias is not None:
                targets -= self.own_bias[rows, None]
            design = np.empty((*positions.shape, width), dtype)
            design[..., width - self.factors.shape[1] :] = self.factors[opposites]
            if width > self.factors.shape[1]:
                design[..., 0] = 1
            design *= roots[..., None]
            yield design, roots * targets

    def solve(
        self, rows: NDArray[np.int64], dtype: DTypeLike, with_errors: bool = True
    ) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Solve for a batch of rows in the given precision.

        Returns
        -------
        solved, squared_errors
            Shapes (n, width) and (n,): the rows' unknowns, and the weighted sums of the squared
            errors with them, or zeros unless ``with_errors``. NaN where the equations are not
            finite: the fit has diverged.
        """
        gram = np.zeros((len(rows), self.width, self.width), dtype)
        diagonal = np.arange(self.width)
        gram[:, diagonal, diagonal] = self.penalty[rows, None]
        if self.bias_penalty is not None:
            gram[:, 0, 0] = self.bias_penalty[rows]
        right = np.zeros(gram.shape[:2], dtype)
        parts: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for design, targets in self.designs(rows, dtype):
            parts = [*parts[:1], (design, targets)]  # the second is only there to be counted
            gram += design.transpose(0, 2, 1) @ design
            right += np.einsum("rnk,rn->rk", design, targets)
        regular = _are_regular(gram)
        solved = np.empty_like(right)
        try:
            solved[regular] = np.linalg.solve(gram[regular], right[regular, :, None])[..., 0]
        except np.linalg.LinAlgError:  # so badly scaled that it comes to other pivots than Cholesky
            regular[:] = False
        singular = np.flatnonzero(~regular)
        if len(singular) and np.dtype(dtype) != np.float64:
            solved[singular], _ = self.solve(rows[singular], np.float64, with_errors=False)
        elif len(singular):
            solved[singular] = self._least_norm(rows[singular], gram[singular], right[singular])
        squared_errors = np.zeros(len(rows))
        if not with_errors:
            return solved, squared_errors
        # What is gathered is used again, unless there was too much to keep.
        for design, targets in parts if len(parts) == 1 else self.designs(rows, dtype):
            errors = targets - np.einsum("rnk,rk->rn", design, solved)
            squared_errors += np.square(errors, dtype=np.float64).sum(axis=1)
        return solved, squared_errors

    def _least_norm(
        self,
        rows: NDArray[np.int64],
        gram: NDArray[np.float64],
        right: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the solutions of least norm of singular rows."""
        shorter = (self.offsets[rows + 1] - self.offsets[rows]).max() < self.width
        penalised = self.penalty[rows].any()
        if self.bias_penalty is not None:
            penalised = penalised or self.bias_penalty[rows].any()
        if not shorter or penalised:
            return least_norm(gram, right)
        # With a = design, (a^T a)^+ a^T y is a^T (a a^T)^+ y, whose matrix is smaller.
        ((design, targets),) = self.designs(rows, np.float64)
        multipliers = least_norm(design @ design.transpose(0, 2, 1), targets)
        solved: NDArray[np.float64] = np.einsum("rnk,rn->rk", design, multipliers)
        return solved


def pivot_tolerance(dtype: DTypeLike) -> float:
    """Return the ratio to its diagonal at and below which a pivot may be rounding error.

    Rounding errors of earlier pivots add up in a pivot, so this is far more than that of one sum.
    """
    return float(np.finfo(dtype).eps ** 0.6)


def rounding_error(width: int, dtype: DTypeLike) -> float:
    """Return the relative size at and below which a number is rounding error.

    It is that of eigenvalues compared with the largest, for ``width`` unknowns.
    """
    return float(_ROUNDING_ERRORS * width * np.finfo(dtype).eps)


def least_norm(gram: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the solutions of least norm of symmetric equations ``gram x = right``.

    Directions whose eigenvalue is rounding error are left out.

    Parameters
    ----------
    gram
        Positive semidefinite, shape (n, size, size).
    right
        Shape (n, size).

    Returns
    -------
    ndarray, shape (n, size)
        NaN where the equations are not finite.
    """
    solved = np.full_like(right, np.nan)
    finite = np.isfinite(gram).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    values, vectors = np.linalg.eigh(gram[finite])
    smallest = rounding_error(gram.shape[1], np.float64) * values[:, -1:]
    kept = values > np.maximum(smallest, np.finfo(np.float64).tiny)
    inverse = np.divide(1, values, out=np.zeros_like(values), where=kept)
    along = np.einsum("nij,ni->nj", vectors, right[finite])
    solved[finite] = np.einsum("nij,nj->ni", vectors, inverse * along)
    return solved


def _are_regular(gram: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which matrices have no pivot that may be rounding error."""
    diagonals = gram.diagonal(axis1=1, axis2=2)
    smallest = np.maximum(pivot_tolerance(gram.dtype) * diagonals, np.finfo(gram.dtype).tiny)
    try:
        pivots = np.square(np.linalg.cholesky(gram).diagonal(axis1=1, axis2=2))
    except np.linalg.LinAlgError:  # which does not tell which of the matrices is to blame
        pivots = _pivots(gram)
    regular: NDArray[np.bool_] = np.all(pivots > smallest, axis=1)
    return regular


def _pivots(gram: NDArray[Any]) -> NDArray[Any]:
    """Return the pivots of each matrix, shape (n, size); what follows one below 0 means nothing."""
    rest, pivots = gram.copy(), np.empty(gram.shape[:2], gram.dtype)
    with np.errstate(all="ignore"):
        for k in range(gram.shape[1]):
            pivots[:, k] = rest[:, k, k]
            column = rest[:, k + 1 :, k]
            shares = column / pivots[:, k, None]
            rest[:, k + 1 :, k + 1 :] -= shares[:, :, None] * column[:, None, :]
    return pivots
