"""The anime twin: a seeded synthetic stand-in for the Kaggle Anime Recommendations Database.

It can be made at any size. The generator and its planted structure are here; the published
statistics that it matches are in ``anime_statistics.json`` beside this file.

Who rates what, and how they like it, are generated separately:

1. Every user's number of ratings is read off the published curve, and so is the expected number of
   ratings of every anime.
2. Every user draws distinct anime in proportion to weights fitted to these expected numbers.
3. A latent score is computed for each pair: biases, plus a product of factors, plus noise. It is
   cut into ratings from 1 to 10 at the published shares.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .raw import RawRatings

SCALE_RANGE = (1 / 1000, 100.0)

_PUBLISHED: dict[str, Any] = json.loads(
    Path(__file__).with_name("anime_statistics.json").read_text("utf-8")
)

# Standard deviations of the terms of the latent score. They are tuned so that the validation MSE on
# a random 80/20 split at full size is that of the real data: 1.42 with fitted biases, and 1.30 to
# 1.33 with a rank-16 factorisation.
_USER_BIAS_STD = 0.78
_ITEM_BIAS_STD = 0.62
_ITEM_BIAS_POPULARITY_CORRELATION = 0.5  # much-watched anime are liked more
_TASTE_STD = 0.45
_TASTE_RANK = 16
_TASTE_DECAY = 1.5  # the k-th planted factor has a variance proportional to k ** -decay
_TASTE_HALF_RATINGS = 10  # users with this many ratings show half the taste variance of heavy users
_NOISE_STD = 0.94

_MOST_USERS_PER_ITEM = 0.5  # in the real data, the most rated anime has 34,226 of 69,600 users
_ID_SHUFFLE = 0.35  # how far ids stray from the order of popularity, as a share of their range
_LEVELS = 64  # groups of users with similar counts, for fitting the weights
_FITTING_ROUNDS = 60
_RACE_FROM = 1 / 16  # users who rate more than this share of the anime are drawn faster by a race
_CHUNK = 1 << 19  # ratings at a time, to bound the memory; another value gives other bytes

Ids = NDArray[np.int32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def anime_twin(scale: float = 1.0, seed: int = 0) -> RawRatings:
    """Return the anime twin.

    Rows are sorted by user id, then anime id, much as in the Kaggle file; pairs are distinct. The
    random numbers come from ``Generator(PCG64(seed))``, whose distributions may change between
    versions of NumPy: the same seed gives the same bytes with the same version only. One thread
    does all the work.

    Parameters
    ----------
    scale : float
        Size, from 1/1000 to 100, where 1 is that of the real data. The twin has
        ``69,600 * scale`` users and ``9,927 * sqrt(scale)`` anime, each with at least one rating. A
        user rates at most half the anime.
    seed : int
        Seed of every random choice.

    Returns
    -------
    RawRatings
        Whole numbers from 1 to 10; 6,337,241 ratings at scale 1. Generating them takes about 20
        bytes of memory per rating, of which 12 are the result, and 150 MB in addition.

    Raises
    ------
    ValueError
        If `scale` is out of range.

    References
    ----------
    CooperUnion, Anime Recommendations Database, Kaggle, CC0.
    """
    n_users, n_items = _shape(scale)
    rng = np.random.Generator(np.random.PCG64(seed))
    per_user = _ratings_per_user(n_users, n_items, rng)
    per_item = _expected_ratings_per_item(per_user, n_items, rng)
    pairs = _pairs(per_user, per_item, rng)
    ratings = _cut(_scores(pairs, per_user, per_item, rng))
    user_ids = _ids(n_users, _PUBLISHED["largest_user_id"] / _PUBLISHED["users"], rng)
    item_ids = _ids(n_items, _PUBLISHED["largest_anime_id"] / _PUBLISHED["anime"], rng)
    return RawRatings(user_ids[pairs[0]], item_ids[pairs[1]], ratings)


def _shape(scale: float) -> tuple[int, int]:
    """Return the numbers of users and of items."""
    smallest, largest = SCALE_RANGE
    if not smallest <= scale <= largest:
        raise ValueError(
            f"scale must be a number from 1/1000 to 100 (1 is the size of the real data), "
            f"got {scale!r}"
        )
    return round(_PUBLISHED["users"] * scale), round(_PUBLISHED["anime"] * scale**0.5)


def _ratings_per_user(n_users: int, n_items: int, rng: np.random.Generator) -> Ints:
    """Return each user's number of ratings, in random order; at full size the published counts."""
    knots = _PUBLISHED["ratings_per_user"]
    # The curve is sampled at even steps, so a smaller twin has the same distribution.
    places = np.arange(1, n_users + 1) * (_PUBLISHED["users"] / n_users)
    counts = np.ceil(np.interp(places, knots["users_at_most"], knots["ratings"])).astype(np.int64)
    return rng.permutation(np.minimum(counts, n_items // 2))


def _expected_ratings_per_item(per_user: Ints, n_items: int, rng: np.random.Generator) -> Floats:
    """Return each item's expected number of ratings, mostly the popular items first.

    The published curve is scaled so that the numbers add up to those of the users.
    """
    knots = _PUBLISHED["ratings_per_anime"]
    places = np.arange(1, n_items + 1) * (_PUBLISHED["anime"] / n_items)
    curve = np.exp(np.interp(places, knots["anime_at_most"], np.log(knots["ratings"])))
    # Bisection, because the limits make the sum a non-linear function of the factor.
    low, high = 0.0, float(per_user.size)
    for _ in range(100):
        factor = (low + high) / 2
        expected: Floats = np.clip(factor * curve, 1.0, _MOST_USERS_PER_ITEM * per_user.size)
        if expected.sum() < per_user.sum():
            low = factor
        else:
            high = factor
    popularity = np.arange(n_items, 0, -1) / n_items + _ID_SHUFFLE * rng.standard_normal(n_items)
    # argsort twice gives each item's place in the ascending order of popularity.
    return expected[np.argsort(np.argsort(popularity))]


def _ids(n_rows: int, largest_per_row: float, rng: np.random.Generator) -> Ids:
    """Return increasing distinct ids from 1 on, with gaps as in the real file."""
    return np.sort(rng.permutation(round(largest_per_row * n_rows))[:n_rows] + 1).astype(np.int32)


def _pairs(per_user: Ints, per_item: Floats, rng: np.random.Generator) -> Ids:
    """Return distinct (user, item) pairs, counted from 0 and sorted; shape (2, n_ratings)."""
    sampler = _ItemSampler(per_user, per_item, rng)
    ends = np.cumsum(per_user)
    pairs = np.empty((2, ends[-1]), np.int32)
    start = done = 0  # the first user of the chunk, and the number of pairs before it
    while start < per_user.size:
        # As many users as have at most _CHUNK ratings together, at least one.
        stop = max(int(np.searchsorted(ends, done + _CHUNK, side="right")), start + 1)
        users, items = sampler.draw(per_user[start:stop])
        # One integer per pair, the user in its upper half, sorts by user and then by item.
        keys = np.sort(users + start << 32 | items)
        pairs[:, done : ends[stop - 1]] = keys >> 32, keys & 0xFFFFFFFF
        start, done = stop, int(ends[stop - 1])
    _add_missing_items(pairs, per_item.size, rng)
    return pairs


def _add_missing_items(pairs: Ids, n_items: int, rng: np.random.Generator) -> None:
    """Give every item that nobody drew a random pair of a much-rated one, in place."""
    users, items = pairs
    counts = np.bincount(items, minlength=n_items)
    missing = np.flatnonzero(counts == 0)
    chosen = rng.choice(items.size, size=min(8 * missing.size, items.size), replace=False)
    chosen = chosen[counts[items[chosen]] > np.quantile(counts, 0.8)][: missing.size]
    items[chosen] = missing
    for user in np.unique(users[chosen]):  # whose items must be sorted again
        bounds = np.searchsorted(users, np.array([user, user + 1], users.dtype))
        items[slice(*bounds)].sort()


class _ItemSampler:
    """Draws distinct items for users, with fitted weights.

    Item i arrives at a rate of weight_i per unit of time, and a user takes the first items to
    arrive. By time t, item i has arrived with probability ``1 - exp(-t * weight_i)``. The weights,
    and the time that users of each level wait, are fitted in turn until the expected numbers of
    ratings per user and per item are the wanted ones.

    Parameters
    ----------
    wanted
        Number of ratings of each user, shape (n_users,).
    expected
        Expected number of ratings of each item, shape (n_items,).
    rng
        Source of all random numbers.
    """

    def __init__(self, wanted: Ints, expected: Floats, rng: np.random.Generator) -> None:
        self.rng = rng
        # Users with similar counts share a level, and so a waiting time.
        edges = np.unique(np.rint(np.geomspace(1, wanted.max(), _LEVELS)))
        level = np.unique(np.digitize(wanted, edges), return_inverse=True)[1]
        n_users = np.bincount(level)
        self.level_wanted: Floats = np.bincount(level, weights=wanted) / n_users
        self.level_time = self.level_wanted.copy()
        self.weights = expected / expected.sum()
        for _ in range(_FITTING_ROUNDS):
            # Probability that an item has arrived, shape (n_levels, n_items).
            arrived = -np.expm1(-np.outer(self.level_time, self.weights))
            self.level_time *= self.level_wanted / arrived.sum(axis=1)
            self.weights *= expected / np.einsum("l,li->i", n_users, arrived)
            # One arrival per unit of time on average: then a time is also a number of draws.
            self.level_time *= self.weights.sum()
            self.weights /= self.weights.sum()
        self.cumulative = np.cumsum(self.weights)
        self.cumulative[-1] = 1.0

    def draw(self, wanted: Ints) -> tuple[Ints, Ints]:
        """Return pairs (j, item): ``wanted[j]`` distinct items for each j.

        Returns
        -------
        users, items
            Shape (wanted.sum(),) each, in no particular order.
        """
        # Drawing with replacement is fast unless a user wants so many items that most draws are
        # repeats. These users, and those who were short of a few draws, get theirs by a race.
        heavy = wanted > _RACE_FROM * self.weights.size
        users, items, short = self._draw_repeatedly(np.where(heavy, 0, wanted))
        racers = np.flatnonzero(heavy | short)
        raced = [self._race(int(n)) for n in wanted[racers]]
        all_users = np.concatenate([users, np.repeat(racers, wanted[racers])])
        return all_users, np.concatenate([items, *raced])

    def _race(self, n: int) -> Ints:
        """Return the first n items by random arrival times (Efraimidis and Spirakis 2006)."""
        arrivals = self.rng.standard_exponential(self.weights.size) / self.weights
        return np.argpartition(arrivals, n - 1)[:n]

    def _draw_repeatedly(self, wanted: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Draw items with replacement, and return the first distinct ones of each user.

        Returns
        -------
        users, items
            ``wanted[j]`` pairs for each user j who is not short; shape (n_pairs,) each.
        short
            Which users drew fewer distinct items than they want, shape (n_users,).
        """
        # The number of repeats is about Poisson: 4 standard deviations more are nearly always
        # enough.
        n_expected = np.interp(wanted, self.level_wanted, self.level_time)
        margin = 2 + 4 * np.sqrt(np.maximum(n_expected - wanted, 0))
        n_draws = np.where(wanted > 0, np.ceil(n_expected + margin), 0).astype(np.int64)
        users = np.repeat(np.arange(wanted.size), n_draws)
        items = np.searchsorted(self.cumulative, self.rng.random(users.size), side="right")

        # A key is user, item and number of the draw, in 20 + 17 + 24 bits. Among the sorted keys,
        # the first of each (user, item) is the draw in which the item arrived first.
        keys = np.sort((users << 17 | items) << 24 | np.arange(users.size))
        first_of_pair = np.flatnonzero(np.diff(keys >> 24, prepend=-1))
        is_first = np.zeros(users.size, np.bool_)
        is_first[keys[first_of_pair] & 0xFFFFFF] = True
        users, items = users[is_first], items[is_first]

        n_found = np.bincount(users, minlength=wanted.size)
        # How many distinct items arrived at the same user before.
        arrival = np.arange(users.size) - np.repeat(np.cumsum(n_found) - n_found, n_found)
        short = n_found < wanted
        taken = (arrival < wanted[users]) & ~short[users]
        return users[taken], items[taken], short


def _scores(
    pairs: Ids, per_user: Ints, per_item: Floats, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return the latent score of every pair, shape (n_ratings,).

    It is user bias + item bias + product of taste factors + noise.
    """
    n_users, n_items, rho = per_user.size, per_item.size, _ITEM_BIAS_POPULARITY_CORRELATION
    popularity = (np.log(per_item) - np.log(per_item).mean()) / np.log(per_item).std()
    # A mixture of two variables of variance 1 that has variance 1 and the wanted correlation.
    independent = rng.standard_normal(n_items)
    item_bias = _ITEM_BIAS_STD * (rho * popularity + (1 - rho**2) ** 0.5 * independent)
    user_bias = _USER_BIAS_STD * rng.standard_normal(n_users)

    spectrum = np.arange(1.0, _TASTE_RANK + 1) ** -_TASTE_DECAY  # variances of the factors
    activity = per_user / (per_user + _TASTE_HALF_RATINGS)
    strength = (_TASTE_STD * np.sqrt(activity / spectrum.sum())).astype(np.float32)
    amplitude = np.sqrt(spectrum).astype(np.float32)
    p = rng.standard_normal((n_users, _TASTE_RANK), np.float32) * strength[:, None]
    q = rng.standard_normal((n_items, _TASTE_RANK), np.float32) * amplitude

    scores = np.empty(pairs.shape[1], np.float32)
    for start in range(0, scores.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        u, i = pairs[:, chunk]
        noise = _NOISE_STD * rng.standard_normal(u.size)
        scores[chunk] = user_bias[u] + item_bias[i] + np.einsum("nk,nk->n", p[u], q[i]) + noise
    return scores


def _cut(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace the scores by ratings in the same order, in place, and return them.

    Apart from ties, each rating from 1 to 10 has its published share.
    """
    counts = np.array(_PUBLISHED["ratings_per_value"])
    positions = np.rint(np.cumsum(counts)[:-1] * (scores.size / counts.sum())).astype(np.int64)
    thresholds = np.partition(scores, positions)[positions]
    for start in range(0, scores.size, _CHUNK):
        chunk = scores[start : start + _CHUNK]
        chunk[:] = np.searchsorted(thresholds, chunk, side="right") + 1
    return scores
