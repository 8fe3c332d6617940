"""Synthetic ratings of any size: distinct pairs in random order, with popular items."""

from __future__ import annotations

import numpy as np

from backends import Ratings

# Ratings, users and items: those of the anime data, of MovieLens 20M and of the Netflix Prize.
SIZES = ((1_014_000, 13_771, 4_333), (20_000_000, 138_493, 26_744), (99_072_112, 480_189, 17_770))
SMALL = (2_000, 100, 60)


def skewed_ratings(n: int, n_users: int, n_items: int) -> Ratings:
    """Return at most ``n`` random ratings of distinct pairs, in random order.

    A few users and items have far more ratings than the others. A quarter more pairs are drawn than
    are needed, because some are drawn repeatedly.
    """
    rng = np.random.default_rng(0)
    draws = n * 5 // 4
    items = (rng.random(draws) ** 2 * n_items).astype(np.int64)
    users = (rng.random(draws) ** 1.5 * n_users).astype(np.int64)
    pairs = np.unique(items + n_items * users)
    pairs = pairs[rng.permutation(len(pairs))[:n]]
    ratings = rng.integers(1, 11, len(pairs)).astype(np.float32)
    rows = (pairs // n_items).astype(np.int32), (pairs % n_items).astype(np.int32)
    return Ratings(*rows, ratings, n_users, n_items)
