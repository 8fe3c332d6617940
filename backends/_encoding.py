"""Encoding whole columns of ids: the row of each, and one rating for each pair.

What does not live here: what may be an id (`_id_columns`), and the work on integers (`_coding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._coding import (
    Duplicates,
    in_threads,
    is_dropped,
    mean_of_pairs,
    number_integers,
    repeated_pairs,
    rows_of_pairs,
)
from ._id_columns import IdColumn
from ._ids import RowLabels, numbered
from .errors import RatingsError

Rows = NDArray[np.int32]
Weights = NDArray[np.float64] | None


def encoded(
    users: IdColumn,
    items: IdColumn,
    values: NDArray[Any],
    weights: Weights,
    policy: Duplicates,
) -> tuple[tuple[Rows, Rows], tuple[RowLabels, RowLabels], NDArray[Any], Weights]:
    """Encode ids by first appearance, and apply the policy for pairs that occur more than once.

    Parameters
    ----------
    users, items, values, weights
        Shape (n,), n at least 1; ``weights`` may be None.
    policy
        See `Ratings.from_arrays`.

    Returns
    -------
    rows, ids : pairs for users and items
        The row of each rating that is kept, and the ids of the rows.
    values, weights
        Of the ratings that are kept.

    Raises
    ------
    RatingsError
        For a pair that occurs more than once, under the policy "error".
    """
    coded = in_threads(numbered, [users, items], len(values))
    (user_rows, user_ids), (item_rows, item_ids) = coded
    repeated = repeated_pairs(user_rows, item_rows, len(user_ids), len(item_ids))
    if len(repeated):
        user_rows, item_rows, values, weights = _without_duplicates(
            coded, repeated, values, weights, policy
        )
        user_rows, user_ids = _renumbered(user_rows, user_ids)
        item_rows, item_ids = _renumbered(item_rows, item_ids)
    return (user_rows, item_rows), (user_ids, item_ids), values, weights


def _without_duplicates(
    coded: Sequence[tuple[NDArray[np.int32], RowLabels]],
    repeated: NDArray[np.int64],
    values: NDArray[Any],
    weights: NDArray[np.float64] | None,
    policy: Duplicates,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any], NDArray[np.float64] | None]:
    """Apply the policy for (user, item) pairs, of which some occur more than once."""
    (users, user_labels), (items, item_labels) = coded
    # From here on, only the ratings of repeated pairs matter.
    rows, pairs = rows_of_pairs(users, items, len(item_labels), repeated)
    dropped = is_dropped(pairs, policy)
    if policy == "error":
        first = int(rows[np.argmax(dropped)])
        (user,), (item,) = user_labels.take(users[[first]]), item_labels.take(items[[first]])
        raise RatingsError(
            f"{int(dropped.sum())} duplicated (user, item) pairs, the first at position {first}: "
            f"user {user!s}, item {item!s}. "
            "Choose which rating counts by duplicates='last' or 'mean'"
        )
    if policy == "mean":
        some = None if weights is None else weights[rows]
        means, mean_weights = mean_of_pairs(pairs, values[rows], some)
        values = values.copy()
        values[rows] = means
        if weights is not None and mean_weights is not None:
            weights = weights.copy()
            weights[rows] = mean_weights
    kept = np.ones(len(values), np.bool_)
    kept[rows[dropped]] = False
    return users[kept], items[kept], values[kept], None if weights is None else weights[kept]


def _renumbered(rows: NDArray[np.int32], labels: RowLabels) -> tuple[NDArray[np.int32], RowLabels]:
    """Return rows numbered by first appearance again, after some of them were dropped."""
    again, kept = number_integers([rows])
    return again, labels.reordered(kept)
