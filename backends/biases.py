"""Damped biases alone: the model to beat, and epoch 0 of every fit that has a validation set.

    r_ui ~ m + b_u + c_i, minimising
    sum w (r_ui - m - b_u - c_i)^2 + sum_u (reg n_u + user_damping) b_u^2 + sum_i (reg n_i + item_damping) c_i^2

It is the `Objective` without factors. Users and items alternate, each side exactly: b_u is the sum of the user's
weighted residuals over n_u (1 + reg) + user_damping, which shrinks rare rows the most (Funk 2006; Koren 2010).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ._validation import check_number
from .ratings import Ratings

_MAX_SWEEPS = 30
_TOLERANCE = 1e-3  # largest change of a user's bias in a sweep, in standard deviations of the ratings, that ends it


def damped_biases(
    ratings: Ratings, *, user_damping: float, item_damping: float, reg: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the biases of users and items around the mean rating.

    Parameters
    ----------
    user_damping, item_damping
        How many ratings at the mean each user, and each item, is given beside its own.
    reg
        Shrinks every bias to 1 / (1 + reg) of what it would be, whatever its number of ratings.

    Returns
    -------
    user_bias, item_bias
        Float64, shapes (n_users,) and (n_items,); 0 for rows without ratings.

    Raises
    ------
    ValueError
        For a parameter that is not a finite number of at least 0.
    RatingsError
        When there are no ratings.
    """
    for name, value in (("user_damping", user_damping), ("item_damping", item_damping), ("reg", reg)):
        check_number(name, value)
    mean, variance = ratings.summary.mean, ratings.summary.variance
    residuals = ratings.ratings - np.float64(mean)
    weighted = residuals if ratings.weights is None else residuals * ratings.weights
    users, items = ratings.users.astype(np.intp), ratings.items.astype(np.intp)  # as bincount wants them, once
    user_size = _size(ratings.user_weights(), user_damping, reg)
    item_size = _size(ratings.item_weights(), item_damping, reg)
    user_sums, item_sums = (
        np.bincount(rows, weighted, n) for rows, n in ((users, ratings.n_users), (items, ratings.n_items))
    )

    def explained(bias: NDArray[np.float64], of: NDArray[np.intp]) -> NDArray[np.float64]:
        return bias[of] if ratings.weights is None else bias[of] * ratings.weights

    b, c = np.zeros(ratings.n_users), np.zeros(ratings.n_items)
    for _ in range(_MAX_SWEEPS):
        c = (item_sums - np.bincount(items, explained(b, users), ratings.n_items)) / item_size
        before = b
        b = (user_sums - np.bincount(users, explained(c, items), ratings.n_users)) / user_size
        if not float(np.abs(b - before).max()) > _TOLERANCE * np.sqrt(variance):
            break
    return b, c


def _size(weights: NDArray[np.float64], damping: float, reg: float) -> NDArray[np.float64]:
    """Return what the sums of residuals are divided by; 1 for rows without ratings."""
    return np.where(weights > 0, weights * (1 + reg) + damping, 1.0)
