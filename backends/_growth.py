"""What a fitted model learns of new ratings: rows solved for, and the ids of new ones.

What lives here: matching ids of new ratings with a model's, and solving. What does not: the models
that come of it (`FactorModel.fold_in`, `Factorizer.partial_fit`).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._arrays import Float
from ._ids import RowIds, RowLabels, as_labels, look_up, same_labels
from ._rows import Problem
from .errors import RatingsError
from .objective import Parameters
from .ratings import RatingEncoder, Ratings, known_rows, labels_of

Side = Literal["user", "item"]


class NewRows(NamedTuple):
    """Users, or items, that a model does not have, and the ratings they were solved for with.

    Attributes
    ----------
    labels
        Raw ids of the rows.
    factors, bias
        Shapes (n_rows, rank) and (n_rows,).
    ratings
        Over these rows on their side, and the model's on the other.
    """

    labels: RowLabels
    factors: Float
    bias: Float
    ratings: Ratings


def new_rows(
    side: Side,
    ratings: Ratings,
    labels: RowLabels | RowIds,
    opposites: tuple[Float, Float],
    problem: Problem,
    *,
    drop_unknown: bool,
    n_threads: int,
) -> NewRows:
    """Solve for all users, or all items, that occur in ratings.

    Parameters
    ----------
    side
        Whether they are users or items.
    ratings
        All of their ratings.
    labels, opposites
        Ids, and factors and biases, of the model's rows of the other side.
    problem
        What is solved.
    drop_unknown
        Whether ratings of opposite rows that the model does not have are left out. Otherwise they
        are an error.
    n_threads
        Number of threads.

    Raises
    ------
    UnknownIdError, RatingsError
        For ratings of rows that the model does not have, and if no rating is left.
    """
    if not len(ratings):
        raise RatingsError("ratings must hold at least one rating, and is empty")
    own, other = labels_of(ratings) if side == "user" else labels_of(ratings)[::-1]
    rows, opposite_rows = (
        (ratings.users, ratings.items) if side == "user" else (ratings.items, ratings.users)
    )
    other_side = "item" if side == "user" else "user"
    used, codes = np.unique(opposite_rows, return_inverse=True)
    column, found = look_up(labels, other.take_arrow(used), f"{other_side}s")
    if not drop_unknown:
        remedy = f'Fold in those {other_side}s first, or leave out their ratings: unknown="drop"'
        known_rows(found, column, other_side, remedy)
    places = found[codes]
    kept = places >= 0
    if not kept.any():
        raise RatingsError(f"no rating is of an {other_side} that the model has")
    kept_rows, row_codes = np.unique(rows[kept], return_inverse=True)
    weights = None if ratings.weights is None else ratings.weights[kept]

    def over(opposite: NDArray[Any], n_opposite: int) -> Ratings:
        """Return the ratings over some numbering of the opposite rows."""
        pair = row_codes.astype(np.int32), opposite.astype(np.int32)
        sizes = len(kept_rows), n_opposite
        if side == "item":
            pair, sizes = pair[::-1], sizes[::-1]
        return Ratings(*pair, ratings.ratings[kept], *sizes, weights=weights)

    # Solving takes those opposite rows alone that occur: of a visitor they are few.
    occurring, opposite_codes = np.unique(places[kept], return_inverse=True)
    few = opposites[0][occurring], opposites[1][occurring]
    factors, bias = problem.solve(side, over(opposite_codes, len(occurring)), few, n_threads)
    part = over(places[kept], len(labels))
    return NewRows(as_labels(own).reordered(kept_rows), factors, bias, part)


def over_rows(history: Ratings, labels: tuple[RowLabels | RowIds, RowLabels | RowIds]) -> Ratings:
    """Return ratings over the rows of a model, with these ids, and further rows after them."""
    if all(map(same_labels, labels, labels_of(history))):
        return history
    weights = None if history.weights is None else np.empty(0)
    nothing: NDArray[np.int32] = np.empty(0, np.int32)
    encoder = RatingEncoder.of_labels(*map(as_labels, labels))
    sizes = len(labels[0]), len(labels[1])
    return Ratings(nothing, nothing, np.empty(0), *sizes, encoder, weights).extended(history)


def check_complete(
    history: Ratings,
    labels: tuple[RowLabels | RowIds, RowLabels | RowIds],
    counts: tuple[NDArray[Any] | None, NDArray[Any]],
) -> None:
    """Raise ValueError if ratings lack some that a model was fitted to, or that were folded in.

    Parameters
    ----------
    history
        Over the rows of the model, and further ones after them.
    labels
        Ids of the model's users and items.
    counts
        Numbers of ratings of the model's users (None if not known) and items.
    """
    of_history = history.user_counts(), history.item_counts()
    for side, ids, before, now in zip(("user", "item"), labels, counts, of_history, strict=True):
        lacking = np.flatnonzero([] if before is None else now[: len(before)] < before)
        if len(lacking):
            first = ids.take(lacking[:1]).tolist()[0]
            raise ValueError(
                f"history must hold all ratings that the model knows, and {len(lacking)} "
                f"{side}s (such as {first!r}) have fewer there; give them too, also those of "
                "users who were folded in: history=train.extended(others)"
            )


def updated(
    parameters: Parameters,
    ratings: Ratings,
    touched: dict[Side, NDArray[np.bool_]],
    problem: Problem,
    *,
    sweeps: int,
    n_threads: int,
) -> Parameters:
    """Return parameters in which some rows are solved for again, users and items in turn.

    Each row gets what minimises the objective with all others fixed, so that never rises.

    Parameters
    ----------
    parameters
        What the rows are now; rows that are not there yet start at 0.
    ratings
        All of them, those before and new ones.
    touched
        Which users, and which items, are solved for; shapes (n_users,) and (n_items,).
    problem
        What is solved.
    sweeps
        How often the items are solved for. The users are once more, before and after.
    n_threads
        Number of threads.
    """
    sizes: dict[Side, int] = {"user": ratings.n_users, "item": ratings.n_items}
    tables = {
        side: [grown(getattr(parameters, f"{side}_{name}"), n) for name in ("factors", "bias")]
        for side, n in sizes.items()
    }
    parts = {side: _part(side, ratings, is_touched) for side, is_touched in touched.items()}

    def solve(side: Side, other: Side) -> None:
        rows, part = parts[side]
        solved = problem.solve(side, part, (tables[other][0], tables[other][1]), n_threads)
        for table, values in zip(tables[side], solved, strict=True):
            table[rows] = values

    for _ in range(sweeps):
        solve("user", "item")
        solve("item", "user")
    solve("user", "item")
    (p, b), (q, c) = tables["user"], tables["item"]
    return Parameters(parameters.mean, b, c, p, q)


def _part(
    side: Side, ratings: Ratings, is_touched: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Ratings]:
    """Return the rows of a side that are touched, and their ratings, in which they are numbered."""
    rows = np.flatnonzero(is_touched)
    numbers = np.cumsum(is_touched, dtype=np.int32) - np.int32(1)
    part = ratings.take(is_touched[ratings.users if side == "user" else ratings.items])
    if side == "user":
        columns, sizes = (numbers[part.users], part.items), (len(rows), part.n_items)
    else:
        columns, sizes = (part.users, numbers[part.items]), (part.n_users, len(rows))
    return rows, Ratings(*columns, part.ratings, *sizes, weights=part.weights)


def grown(array: NDArray[Any], n_rows: int) -> NDArray[Any]:
    """Return a copy of an array with further rows of zeros."""
    longer = np.zeros((n_rows, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer
