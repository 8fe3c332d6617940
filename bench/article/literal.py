"""The article's gradient, computed as its own code does, to time it and to check ours."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backends import Parameters, Ratings

from .results import Literal

CALLS = 3

Factors = NDArray[np.floating[Any]]


def literal_gradient(
    frame: pd.DataFrame, user_factors: Factors, item_factors: Factors, reg: float
) -> tuple[Factors, Factors]:
    """Return the gradient as the article's code computes it.

    Two sparse matrices are built in every call, and their difference is multiplied.

    Parameters
    ----------
    frame
        Columns user_id, anime_id (rows of the factors) and rating. As in the article, a column
        prediction is added to it.
    user_factors, item_factors
        Shapes (n_users, rank) and (n_items, rank).
    reg
        The factor of the squared norms in the loss.

    Returns
    -------
    user_gradient, item_gradient
        -(2/N) delta Q + 2 reg P, and -(2/N) delta' P + 2 reg Q.
    """
    from scipy.sparse import csc_array

    def sparse(column: str) -> csc_array:
        where = (frame["user_id"].to_numpy(), frame["anime_id"].to_numpy())
        return csc_array(
            (frame[column].to_numpy(), where), shape=(len(user_factors), len(item_factors))
        )

    pairs = np.multiply(item_factors[frame["anime_id"]], user_factors[frame["user_id"]])
    frame["prediction"] = pairs.sum(axis=1)
    delta = sparse("rating") - sparse("prediction")
    user_gradient = (-2 / len(frame)) * (delta @ item_factors) + 2 * reg * user_factors
    item_gradient = (-2 / len(frame)) * (delta.T @ user_factors) + 2 * reg * item_factors
    return user_gradient, item_gradient


def time_literal(train: Ratings, at: Parameters, reg: float) -> Literal:
    """Return the median time of a few calls, all at one point: every call does the same work."""
    columns = {
        "user_id": train.users,
        "anime_id": train.items,
        "rating": train.ratings.astype(np.float64),
    }
    frame, seconds = pd.DataFrame(columns), []
    for _ in range(CALLS):
        clock = time.perf_counter()
        literal_gradient(frame, np.asarray(at.user_factors), np.asarray(at.item_factors), reg)
        seconds.append(time.perf_counter() - clock)
    return Literal(calls=CALLS, seconds=statistics.median(seconds))
