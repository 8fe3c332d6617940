"""Damped biases alone: the baseline, and epoch 0 of every fit that has a validation set.

The model is r_ui ~ m + b_u + c_i, and it minimises

    sum w (r_ui - m - b_u - c_i)^2
        + sum_u (reg n_u + user_damping) b_u^2
        + sum_i (reg n_i + item_damping) c_i^2

That is the `Objective` without factors. Users' and items' biases are solved for in turn, each
exactly: b_u is the sum of the user's weighted residuals over n_u (1 + reg) + user_damping, which
shrinks the biases of rows with few ratings the most (Funk 2006; Koren 2010).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._validation import check_number
from .ratings import Ratings

_MAX_SWEEPS = 30
# Iteration ends when no user's bias changes by more than this, in standard deviations of the
# ratings.
_TOLERANCE = 1e-3


def damped_biases(
    ratings: Ratings, *, user_damping: float, item_damping: float, reg: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the biases of users and items around the mean rating.

    Parameters
    ----------
    user_damping, item_damping
        Number of ratings equal to the mean that are added to those of each user, and of each item.
    reg
        Divides every bias by 1 + reg, whatever its number of ratings.

    Returns
    -------
    user_bias, item_bias
        Float64, shapes (n_users,) and (n_items,); 0 for rows without ratings.

    Raises
    ------
    ValueError
        If a parameter is not a finite number of at least 0.
    RatingsError
        If there are no ratings.
    """
    check_number("user_damping", user_damping)
    check_number("item_damping", item_damping)
    check_number("reg", reg)
    mean, variance = ratings.summary.mean, ratings.summary.variance
    residuals = ratings.ratings - np.float64(mean)
    weighted = residuals if ratings.weights is None else residuals * ratings.weights
    # `bincount` would convert them in each of its many calls.
    users, items = ratings.users.astype(np.intp), ratings.items.astype(np.intp)
    user_size = _size(ratings.user_weights(), user_damping, reg)
    item_size = _size(ratings.item_weights(), item_damping, reg)
    user_sums = np.bincount(users, weighted, ratings.n_users)
    item_sums = np.bincount(items, weighted, ratings.n_items)

    def explained(bias: NDArray[np.float64], rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the part of each weighted residual that one side's biases explain, shape (n,)."""
        return bias[rows] if ratings.weights is None else bias[rows] * ratings.weights

    b, c = np.zeros(ratings.n_users), np.zeros(ratings.n_items)
    for _ in range(_MAX_SWEEPS):
        c = (item_sums - np.bincount(items, explained(b, users), ratings.n_items)) / item_size
        before = b
        b = (user_sums - np.bincount(users, explained(c, items), ratings.n_users)) / user_size
        if not float(np.abs(b - before).max()) > _TOLERANCE * np.sqrt(variance):
            break
    return b, c


def _size(weights: NDArray[np.float64], damping: float, reg: float) -> NDArray[np.float64]:
    """Return what each row's sum of residuals is divided by; 1 for rows without ratings."""
    return np.where(weights > 0, weights * (1 + reg) + damping, 1.0)
