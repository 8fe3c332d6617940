"""The anime twin: a seeded synthetic stand-in for the Kaggle Anime Recommendations Database, at any size.

Here live the generator and its planted structure; the published statistics it matches are data, in
``anime_statistics.json`` beside this file. Not here: the real file's reader, the id encoding, the splits.

Who rates what, and how they like it, are made apart:

1. Every user's number of ratings is read off the published curve, and so is every anime's expected number.
2. Every user draws distinct anime, in proportion to weights fitted to those expected numbers.
3. A latent score, biases plus a product of factors plus noise, is cut at the published shares of 1..10.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .raw import RawRatings

SCALE_RANGE = (1 / 1000, 100.0)

_PUBLISHED: dict[str, Any] = json.loads(Path(__file__).with_name("anime_statistics.json").read_text("utf-8"))

# Standard deviations of the parts of the latent score, tuned so that on a random 80/20 split at full size the
# validation MSE of fitted biases and of a rank-16 factorisation are the real data's: 1.42, and 1.30 to 1.33.
_USER_BIAS_STD = 0.78
_ITEM_BIAS_STD = 0.62
_ITEM_BIAS_POPULARITY_CORRELATION = 0.5  # much-watched anime are liked more
_TASTE_STD = 0.45
_TASTE_RANK = 16
_TASTE_DECAY = 1.5  # the k-th planted dimension has a variance proportional to k ** -decay
_TASTE_HALF_RATINGS = 10  # users with this many ratings show half the taste variance of heavy users
_NOISE_STD = 0.94

_MOST_USERS_PER_ITEM = 0.5  # the most rated anime of the real data has 34,226 of 69,600 users
_ID_SHUFFLE = 0.35  # how far, in shares of the id range, an anime's id strays from its popularity rank
_LEVELS = 64  # groups of users with similar counts, for fitting the weights
_FITTING_ROUNDS = 60
_RACE_FROM = 1 / 16  # users who want more than this share of the anime are served faster by a race
_CHUNK = 1 << 19  # ratings at a time: bounds the scratch memory; another value gives other bytes

Ids = NDArray[np.int32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def anime_twin(scale: float = 1.0, seed: int = 0) -> RawRatings:
    """Generate the anime twin.

    Rows are sorted by user id, then anime id, much as in the Kaggle file; pairs are distinct. One thread does
    all the work. Random numbers come from ``Generator(PCG64(seed))``, whose distributions may change with
    NumPy's version: the same seed gives the same bytes with the same NumPy version; no more is promised.

    Parameters
    ----------
    scale : float
        Size, from 1/1000 to 100, where 1 is the real data's: ``69,600 * scale`` users and
        ``9,927 * sqrt(scale)`` anime, each with at least one rating. A user rates at most half the anime.
    seed : int
        Seed of every random choice.

    Returns
    -------
    RawRatings
        6,337,241 ratings at scale 1, whole numbers from 1 to 10. Making them takes about 20 bytes of memory a
        rating, of which 12 are the result, and a fixed 150 MB.

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
    smallest, largest = SCALE_RANGE
    if not smallest <= scale <= largest:
        raise ValueError(f"scale is {scale!r}; give a number from 1/1000 to 100 (1 is the real data's size)")
    return round(_PUBLISHED["users"] * scale), round(_PUBLISHED["anime"] * scale**0.5)


def _ratings_per_user(n_users: int, n_items: int, rng: np.random.Generator) -> Ints:
    """Read counts off the published curve at even steps, cap and shuffle them; exact at full size."""
    knots = _PUBLISHED["ratings_per_user"]
    ranks = np.arange(1, n_users + 1) * (_PUBLISHED["users"] / n_users)
    counts = np.ceil(np.interp(ranks, knots["users_at_most"], knots["ratings"])).astype(np.int64)
    return rng.permutation(np.minimum(counts, n_items // 2))


def _expected_ratings_per_item(per_user: Ints, n_items: int, rng: np.random.Generator) -> Floats:
    """Scale the published curve to as many ratings as the users give; popular anime mostly come first."""
    knots = _PUBLISHED["ratings_per_anime"]
    ranks = np.arange(1, n_items + 1) * (_PUBLISHED["anime"] / n_items)
    curve = np.exp(np.interp(ranks, knots["anime_at_most"], np.log(knots["ratings"])))
    low, high = 0.0, float(per_user.size)
    for _ in range(100):  # bisection on the factor
        factor = (low + high) / 2
        expected: Floats = np.clip(factor * curve, 1.0, _MOST_USERS_PER_ITEM * per_user.size)
        low, high = (factor, high) if expected.sum() < per_user.sum() else (low, factor)
    popularity = np.arange(n_items, 0, -1) / n_items + _ID_SHUFFLE * rng.standard_normal(n_items)
    return expected[np.argsort(np.argsort(popularity))]


def _ids(n_rows: int, largest_per_row: float, rng: np.random.Generator) -> Ids:
    """Increasing distinct ids from 1 on, with gaps as in the real file."""
    return np.sort(rng.permutation(round(largest_per_row * n_rows))[:n_rows] + 1).astype(np.int32)


def _pairs(per_user: Ints, per_item: Floats, rng: np.random.Generator) -> Ids:
    """Draw distinct (user, item) pairs, counted from 0 and sorted; shape (2, n_ratings)."""
    sampler = _ItemSampler(per_user, per_item, rng)
    ends = np.cumsum(per_user)
    pairs = np.empty((2, ends[-1]), np.int32)
    start = done = 0
    while start < per_user.size:
        stop = max(int(np.searchsorted(ends, done + _CHUNK, side="right")), start + 1)
        users, items = sampler.draw(per_user[start:stop])
        keys = np.sort(users + start << 32 | items)
        pairs[:, done : ends[stop - 1]] = keys >> 32, keys & 0xFFFFFFFF
        start, done = stop, int(ends[stop - 1])
    _seat_missing(pairs, per_item.size, rng)
    return pairs


def _seat_missing(pairs: Ids, n_items: int, rng: np.random.Generator) -> None:
    """Give every item that nobody drew, in place, the seat of a much-rated one."""
    users, items = pairs
    counts = np.bincount(items, minlength=n_items)
    missing = np.flatnonzero(counts == 0)
    seats = rng.choice(items.size, size=min(8 * missing.size, items.size), replace=False)
    seats = seats[counts[items[seats]] > np.quantile(counts, 0.8)][: missing.size]
    items[seats] = missing
    for user in np.unique(users[seats]):  # keep each user's items sorted
        items[slice(*np.searchsorted(users, np.array([user, user + 1], users.dtype)))].sort()


class _ItemSampler:
    """Draws distinct items for each user: the first to arrive, when item i arrives at the rate weight_i.

    By the time t a user has met item i with probability ``1 - exp(-t * weight_i)``. The weights, and the
    time that a user with so many ratings needs, are fitted in turn until users and items get their counts.
    """

    def __init__(self, wanted: Ints, expected: Floats, rng: np.random.Generator) -> None:
        self.rng = rng
        edges = np.unique(np.rint(np.geomspace(1, wanted.max(), _LEVELS)))
        level = np.unique(np.digitize(wanted, edges), return_inverse=True)[1]
        n_users = np.bincount(level)
        self.level_wanted: Floats = np.bincount(level, weights=wanted) / n_users
        self.level_time = self.level_wanted.copy()
        self.weights = expected / expected.sum()
        for _ in range(_FITTING_ROUNDS):
            met = -np.expm1(-np.outer(self.level_time, self.weights))  # (n_levels, n_items)
            self.level_time *= self.level_wanted / met.sum(axis=1)
            self.weights *= expected / np.einsum("l,li->i", n_users, met)
            self.level_time *= self.weights.sum()  # so that a unit of time is one arrival
            self.weights /= self.weights.sum()
        self.cumulative = np.cumsum(self.weights)
        self.cumulative[-1] = 1.0

    def draw(self, wanted: Ints) -> tuple[Ints, Ints]:
        """Draw pairs (j, item), wanted[j] distinct items for each j; two arrays of shape (wanted.sum(),)."""
        heavy = wanted > _RACE_FROM * self.weights.size
        users, items, short = self._draw_repeatedly(np.where(heavy, 0, wanted))
        racers = np.flatnonzero(heavy | short)
        raced = [self._race(int(n)) for n in wanted[racers]]
        return np.concatenate([users, np.repeat(racers, wanted[racers])]), np.concatenate([items, *raced])

    def _race(self, n: int) -> Ints:
        """Draw an arrival time for every item, take the n first (Efraimidis and Spirakis 2006)."""
        arrivals = self.rng.standard_exponential(self.weights.size) / self.weights
        return np.argpartition(arrivals, n - 1)[:n]

    def _draw_repeatedly(self, wanted: Ints) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Draw with replacement and keep the first arrivals; says who is still short, and leaves them out."""
        n_expected = np.interp(wanted, self.level_wanted, self.level_time)
        margin = 2 + 4 * np.sqrt(np.maximum(n_expected - wanted, 0))  # repeats are about Poisson: 4 sigma
        n_draws = np.where(wanted > 0, np.ceil(n_expected + margin), 0).astype(np.int64)
        users = np.repeat(np.arange(wanted.size), n_draws)
        items = np.searchsorted(self.cumulative, self.rng.random(users.size), side="right")
        keys = np.sort((users << 17 | items) << 24 | np.arange(users.size))  # 20 + 17 + 24 bits
        is_first = np.zeros(users.size, np.bool_)
        is_first[keys[np.flatnonzero(np.diff(keys >> 24, prepend=-1))] & 0xFFFFFF] = True
        users, items = users[is_first], items[is_first]
        n_found = np.bincount(users, minlength=wanted.size)
        arrival = np.arange(users.size) - np.repeat(np.cumsum(n_found) - n_found, n_found)
        short = n_found < wanted
        kept = (arrival < wanted[users]) & ~short[users]
        return users[kept], items[kept], short


def _scores(pairs: Ids, per_user: Ints, per_item: Floats, rng: np.random.Generator) -> NDArray[np.float32]:
    """Latent score of every pair: user bias + item bias + product of taste factors + noise."""
    n_users, n_items, rho = per_user.size, per_item.size, _ITEM_BIAS_POPULARITY_CORRELATION
    popularity = (np.log(per_item) - np.log(per_item).mean()) / np.log(per_item).std()
    item_bias = _ITEM_BIAS_STD * (rho * popularity + (1 - rho**2) ** 0.5 * rng.standard_normal(n_items))
    user_bias = _USER_BIAS_STD * rng.standard_normal(n_users)
    spectrum = np.arange(1.0, _TASTE_RANK + 1) ** -_TASTE_DECAY
    strength = _TASTE_STD * np.sqrt(per_user / (per_user + _TASTE_HALF_RATINGS) / spectrum.sum())
    p = rng.standard_normal((n_users, _TASTE_RANK), np.float32) * strength[:, None].astype(np.float32)
    q = rng.standard_normal((n_items, _TASTE_RANK), np.float32) * np.sqrt(spectrum).astype(np.float32)
    scores = np.empty(pairs.shape[1], np.float32)
    for start in range(0, scores.size, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        u, i = pairs[:, chunk]
        noise = _NOISE_STD * rng.standard_normal(u.size)
        scores[chunk] = user_bias[u] + item_bias[i] + np.einsum("nk,nk->n", p[u], q[i]) + noise
    return scores


def _cut(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace the scores, in place, by ratings in the same order with the published shares (but for ties)."""
    counts = np.array(_PUBLISHED["ratings_per_value"])
    positions = np.rint(np.cumsum(counts)[:-1] * (scores.size / counts.sum())).astype(np.int64)
    thresholds = np.partition(scores, positions)[positions]
    for start in range(0, scores.size, _CHUNK):
        chunk = scores[start : start + _CHUNK]
        chunk[:] = np.searchsorted(thresholds, chunk, side="right") + 1
    return scores
