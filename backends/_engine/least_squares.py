"""Normal equations, and those without a single solution, for alternating least squares.

Without a penalty, a row with fewer ratings than unknowns has many solutions. And where ratings
hardly tell two unknowns apart, rounding decides what these are. Both show in the Cholesky
factorisation: a pivot, which is what an unknown adds to those before it, falls to the rounding
error of its diagonal. Such a row gets the solution of least norm, without the directions in which
its ratings say nothing.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ROUNDING_ERRORS = 10  # more than products and sums of as many numbers as there are unknowns make


def pivot_tolerance(rank: int, dtype: DTypeLike) -> float:
    """Return the ratio to its diagonal at and below which a pivot is rounding error."""
    return float(_ROUNDING_ERRORS * (rank + 1) * np.finfo(dtype).eps)


def solve_normal_equations(
    gram: NDArray[Any], right: NDArray[Any], tolerance: float, scale: NDArray[Any]
) -> NDArray[Any]:
    """Return the solutions of symmetric equations ``gram x = right``, by `least_norm` where needed.

    Parameters
    ----------
    gram, right, tolerance
        As in `least_norm`.
    scale
        Unit of each unknown, shape (size,): the norm is that of x / scale.
    """
    regular = _are_regular(gram, tolerance)
    solved = np.empty_like(right)
    try:
        solved[regular] = np.linalg.solve(gram[regular], right[regular, :, None])[..., 0]
    except np.linalg.LinAlgError:  # so badly scaled that it comes to another pivot than Cholesky
        regular[:] = False
    if not regular.all():
        scaled = gram[~regular] * np.outer(scale, scale)
        solved[~regular] = scale * least_norm(scaled, right[~regular] * scale, tolerance)
    return solved


def least_norm(gram: NDArray[Any], right: NDArray[Any], tolerance: float) -> NDArray[Any]:
    """Return the solutions of least norm of symmetric equations ``gram x = right``.

    Parameters
    ----------
    gram
        Positive semidefinite, shape (n, size, size).
    right
        Shape (n, size).
    tolerance
        Directions whose eigenvalue is at most this times the largest are left out.

    Returns
    -------
    ndarray, shape (n, size)
        NaN where the equations are not finite: the fit has diverged, which ``fit`` reports.
    """
    solved = np.full_like(right, np.nan)
    finite = np.isfinite(gram).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    values, vectors = np.linalg.eigh(gram[finite])
    kept = values > tolerance * values[:, -1:]
    inverse = np.divide(1, values, out=np.zeros_like(values), where=kept)
    along = np.einsum("nij,ni->nj", vectors, right[finite])
    solved[finite] = np.einsum("nij,nj->ni", vectors, inverse * along)
    return solved


def _are_regular(gram: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    """Return which matrices have no pivot that is rounding error."""
    diagonals = gram.diagonal(axis1=1, axis2=2)
    smallest = np.maximum(tolerance * diagonals, np.finfo(gram.dtype).tiny)
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
