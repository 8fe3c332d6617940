"""Synthetic ratings of any size: distinct pairs in random order, with popular items."""

from __future__ import annotations

from functools import cache

import numpy as np

from backends import Ratings

# Ratings, users and items: those of the anime data, of MovieLens 20M and of the Netflix Prize.
SIZES = ((1_014_000, 13_771, 4_333), (20_000_000, 138_493, 26_744), (99_072_112, 480_189, 17_770))
SMALL = (2_000, 100, 60)

# The ratings are the rounded sum of a mean, two biases, a product of factors, and noise. Standard
# deviations of these, and the number of factors.
_MEAN, _USERS, _ITEMS, _PRODUCT, _NOISE, _RANK = 7.0, 0.8, 0.7, 0.9, 1.1, 8
_CHUNK = 1 << 22  # ratings drawn at a time


@cache  # the steps of the check share them, and the largest take half a minute
def skewed_ratings(n: int, n_users: int, n_items: int) -> Ratings:
    """Return at most ``n`` ratings of distinct pairs from 1 to 10, in random order.

    They have something to learn: biases and factors, under noise. A few users and items have far
    more ratings than the others. A quarter more pairs are drawn than are needed, because some are
    drawn repeatedly.
    """
    rng = np.random.default_rng(0)
    draws = n * 5 // 4
    items = (rng.random(draws) ** 2 * n_items).astype(np.int64)
    users = (rng.random(draws) ** 1.5 * n_users).astype(np.int64)
    pairs = np.unique(items + n_items * users)
    pairs = pairs[rng.permutation(len(pairs))[:n]]
    rows = (pairs // n_items).astype(np.int32), (pairs % n_items).astype(np.int32)
    biases = [
        rng.normal(0, size, count).astype(np.float32)
        for size, count in ((_USERS, n_users), (_ITEMS, n_items))
    ]
    # The product of two factors has the variance of their product, and there are several.
    size = (_PRODUCT**2 / _RANK) ** 0.25
    factors = [
        rng.normal(0, size, (count, _RANK)).astype(np.float32) for count in (n_users, n_items)
    ]
    ratings = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _CHUNK):
        part = slice(start, start + _CHUNK)
        of_users, of_items = (side[part] for side in rows)
        ratings[part] = np.einsum("nk,nk->n", factors[0][of_users], factors[1][of_items])
        ratings[part] += _MEAN + biases[0][of_users] + biases[1][of_items]
        ratings[part] += rng.normal(0, _NOISE, len(of_users))
    return Ratings(*rows, ratings.round().clip(1, 10), n_users, n_items)


def held_out(ratings: Ratings, n_validation: int) -> tuple[Ratings, Ratings]:
    """Return the ratings without the last ones, which are as random as any, and these."""
    n = len(ratings) - n_validation
    return ratings.take(np.arange(n)), ratings.take(np.arange(n, len(ratings)))
