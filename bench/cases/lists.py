"""How good lists of recommendations are: metrics of a model's ten best items for each user.

For each user, the items that she has not rated before are ordered by a score, and the first
`LENGTH` are her list. An item in it is a hit if it is relevant: if she rated it in the held-out
ratings, with at least the `relevance_threshold`. With h_k = 1 if place k is a hit and R relevant
items in all, the metrics of a user are

    precision@10   sum h_k / 10
    recall@10      sum h_k / R
    NDCG@10        sum h_k / log2(1 + k), divided by that of min(R, 10) hits in the first places

and their means over the users that have a relevant item are reported (Järvelin and Kekäläinen 2002,
"Cumulated gain-based evaluation of IR techniques"; Herlocker et al. 2004, "Evaluating collaborative
filtering recommender systems"). All unrated items compete, not a sample of them (Krichene and
Rendle 2020, "On sampled metrics for item recommendation"). An item that the user would have liked
but never rated counts as a miss, so that the metrics favour what is popular: compare them with
those of "most popular".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from backends import FactorModel, Parameters, Ratings
from bench.records import ListMetrics

LENGTH = 10
RARE = 3  # training ratings; an item with so many or fewer is rare
_QUANTILE = 0.6  # of the training ratings: the threshold of relevance
_MOST_USERS = 10_000
_MOST_SCORES = 100_000_000  # in all, which bounds the number of users where there are many items
_BATCH_SCORES = 2_000_000  # at a time

# Returns the scores of all items for some users, shape (n, n_items); the caller may overwrite them.
Scorer = Callable[[NDArray[np.int64]], NDArray[np.float64]]


def relevance_threshold(train: Ratings) -> float:
    """Return the rating from which on an item is relevant: the 60 % quantile in training."""
    return float(np.quantile(train.ratings, _QUANTILE, method="inverted_cdf"))


def list_metrics(
    scorer: Scorer, train: Ratings, held_out: Ratings, known: Ratings | None = None
) -> ListMetrics | None:
    """Return the metrics of the lists that a scorer makes.

    Parameters
    ----------
    scorer
        See `Scorer`.
    train
        What the model was fitted to.
    held_out
        The ratings that decide what is relevant. Rows are those of ``train``. If more than 10,000
        users have a relevant item (fewer where there are many items), a random sample of them is
        evaluated, the same one every time.
    known
        Ratings of neither part, such as those of validation. What a user rated in them is not
        listed: it would count as a miss, whatever she thought of it.

    Returns
    -------
    ListMetrics or None
        None if no held-out rating is relevant.
    """
    threshold = relevance_threshold(train)
    relevant = held_out.ratings >= threshold
    # Pairs may repeat; an item is relevant once.
    pairs = np.unique(_pairs(held_out, train.n_items)[relevant])
    seen = np.concatenate([_pairs(part, train.n_items) for part in (train, known) if part])
    seen = np.unique(seen)
    pairs = pairs[~np.isin(pairs, seen, assume_unique=True)]
    relevant_users = pairs // train.n_items
    users = np.unique(relevant_users)
    if not len(users):
        return None
    most = max(1, min(_MOST_USERS, _MOST_SCORES // train.n_items))
    if len(users) > most:
        # As `bench.datasets.permutation` does it. Imported from there, it would load pandas into
        # every worker, whose memory and start are measured.
        order = np.argsort(np.random.PCG64(0).random_raw(len(users)), kind="stable")
        users = np.sort(users[order[:most]])
    length = min(LENGTH, train.n_items)
    users_at_a_time = max(1, _BATCH_SCORES // train.n_items)
    batches = np.array_split(users, -(-len(users) // users_at_a_time))
    lists = np.concatenate(
        [_best(scorer(batch), *_seen_by(batch, seen, train.n_items), length) for batch in batches]
    )
    hits = np.isin(users[:, None] * train.n_items + lists, pairs) & (lists >= 0)
    n_relevant = np.bincount(relevant_users, minlength=train.n_users)[users]
    gains = 1 / np.log2(np.arange(2, length + 2))
    best_gains = np.cumsum(gains)[np.minimum(n_relevant, length) - 1]
    shown = lists[lists >= 0]
    return ListMetrics(
        threshold=threshold,
        users=len(users),
        precision=float(hits.sum(axis=1).mean() / LENGTH),
        recall=float((hits.sum(axis=1) / n_relevant).mean()),
        ndcg=float((hits @ gains / best_gains).mean()),
        coverage=len(np.unique(shown)) / train.n_items,
        rare=float((train.item_counts()[shown] <= RARE).mean()) if len(shown) else 0.0,
    )


def model_scorer(parameters: Parameters, train: Ratings) -> Scorer:
    """Return the scorer that orders items as `FactorModel.recommend` does."""
    summary = train.summary
    return FactorModel(
        parameters,
        None,
        (summary.low, summary.high),
        summary.mean,
        train,
        rating_std=math.sqrt(summary.variance),
    ).list_scores


def baseline_lists(
    train: Ratings, held_out: Ratings, known: Ratings | None = None
) -> dict[str, ListMetrics]:
    """Return the metrics of lists without a model, by name; empty if nothing is relevant.

    "most popular" orders items by their number of training ratings, "random" in a random order for
    each user.
    """
    counts = train.item_counts().astype(np.float64)
    rng = np.random.default_rng(0)
    scorers: dict[str, Scorer] = {
        "most popular": lambda users: np.tile(counts, (len(users), 1)),
        "random": lambda users: rng.random((len(users), train.n_items)),
    }
    found = {name: list_metrics(scorer, train, held_out, known) for name, scorer in scorers.items()}
    return {name: scores for name, scores in found.items() if scores is not None}


def _pairs(ratings: Ratings, n_items: int) -> NDArray[np.int64]:
    """Return the user and item of each rating as one number, shape (n,)."""
    return ratings.users.astype(np.int64) * n_items + ratings.items


def _seen_by(
    users: NDArray[np.int64], seen: NDArray[np.int64], n_items: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the place of a user among ``users``, and an item, for all that they have seen.

    ``seen`` has the pairs of all users, sorted; see `_pairs`.
    """
    first = np.searchsorted(seen, users * n_items)
    last = np.searchsorted(seen, (users + 1) * n_items)
    places = np.repeat(np.arange(len(users)), last - first)
    parts = [seen[start:stop] for start, stop in zip(first, last, strict=True)]
    return places, np.concatenate(parts) % n_items


def _best(
    scores: NDArray[np.float64],
    seen_places: NDArray[np.int64],
    seen_items: NDArray[np.int64],
    length: int,
) -> NDArray[np.int64]:
    """Return the list of each user, best first, shape (n, length); -1 where no item is left.

    ``scores`` has shape (n, n_items) and is overwritten where the user at a place saw an item.
    """
    scores[seen_places, seen_items] = -np.inf
    best = np.argpartition(scores, -length, axis=1)[:, -length:]
    last = np.take_along_axis(scores, best, axis=1).min(axis=1)
    # Of the items that tie for the last place, those that come first are on the list.
    tied = np.flatnonzero((scores >= last[:, None]).sum(axis=1) > length)
    for row in tied.tolist():
        above = np.flatnonzero(scores[row] > last[row])
        equal = np.flatnonzero(scores[row] == last[row])
        best[row] = np.concatenate([above, equal[: length - len(above)]])
    best.sort(axis=1)
    found = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    lists = np.take_along_axis(best, order, axis=1)
    return np.where(np.isneginf(np.take_along_axis(found, order, axis=1)), -1, lists)
