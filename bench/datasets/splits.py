"""Splits into training, validation and test rows, the same on every machine and with every NumPy.

NumPy promises its bit streams, not its distributions, across versions: so whatever is random here is the order of raw
64-bit draws, and nothing else. Official folds are the catalogue's; unseen users and items are dropped by the encoder.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .raw import RawRatings

Rows = NDArray[np.int64]

METHODS = "random, leave-K-out, temporal, temporal-leave-K-out, N-fold-I"
_SHARE = 0.1  # of the rows: validation, and test


class Split(NamedTuple):
    """Row numbers of the three parts, each ascending; ``test`` is None where a data set brings its own.

    ``note`` says which rows were kept from where they might have gone, and why; "" when there is nothing to say.
    """

    name: str
    train: Rows
    validation: Rows
    test: Rows | None
    note: str = ""


def split_rows(raw: RawRatings, method: str = "random", seed: int = 0) -> Split:
    """Split ratings by the name of a method.

    Parameters
    ----------
    method
        "random": 80/10/10. "leave-K-out": of each user, K random rows to test and K to validation. "temporal": the
        last tenth by time to test, the tenth before to validation. "temporal-leave-K-out": of each user, the last K
        rows to test and the K before to validation. "N-fold-I": the I-th of N random folds, counted from 1, is the
        test part, a tenth of the rest the validation part.

    Raises
    ------
    ValueError
        For an unknown method, or a temporal one on ratings without times.
    """
    n = len(raw.ratings)
    if method == "random":
        return random_split(n, seed)
    if method == "temporal":
        return temporal_split(_times(raw, method))
    if match := re.fullmatch(r"(temporal-)?leave-([1-9]\d*)-out", method):
        order = np.argsort(_times(raw, method), kind="stable") if match[1] else permutation(n, seed)
        return leave_out_split(raw.users, order, int(match[2]), method)
    if match := re.fullmatch(r"([1-9]\d*)-fold-([1-9]\d*)", method):
        return fold_split(n, seed, folds=int(match[1]), fold=int(match[2]))
    raise ValueError(f"no split is named {method!r}; known: {METHODS} (K, N and I are whole numbers)")


def permutation(n: int, seed: int) -> Rows:
    """Return the numbers below ``n`` in a random order: the order of ``n`` draws of 64 bits from PCG64."""
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def random_split(n: int, seed: int, validation: float = _SHARE, test: float = _SHARE) -> Split:
    """Split ``n`` rows at random.

    Parameters
    ----------
    validation, test
        Shares of the rows, rounded to whole rows; with ``test=0`` there is no test part.
    """
    split = _cut(permutation(n, seed), round(n * validation), round(n * test))
    shares = "/".join(f"{100 * share:g}" for share in (1 - validation - test, validation, test) if share)
    return split._replace(name=f"random {shares}", test=split.test if test else None)


def temporal_split(times: NDArray[Any], validation: float = _SHARE, test: float = _SHARE) -> Split:
    """Split by time: the newest rows are the test part. Rows of the same time keep their order in the file."""
    n = len(times)
    split = _cut(np.argsort(times, kind="stable"), round(n * validation), round(n * test))
    return split._replace(name=f"temporal, last {100 * test:g} % and the {100 * validation:g} % before")


def leave_out_split(users: NDArray[Any], order: Rows, k: int, name: str) -> Split:
    """Put each user's last ``k`` rows in ``order`` into the test part, and the ``k`` before into the validation part.

    Users with fewer than 2k + 1 rows keep all of theirs in training.
    """
    codes = pd.factorize(users)[0]
    by_user = order[np.argsort(codes[order], kind="stable")]  # user by user, in the given order within each
    counts = np.bincount(codes)
    ends = np.cumsum(counts)
    from_the_end = np.repeat(ends, counts) - np.arange(len(codes)) - 1  # 0 is a user's last row
    enough = np.repeat(counts > 2 * k, counts)
    test, validation = enough & (from_the_end < k), enough & (from_the_end >= k) & (from_the_end < 2 * k)
    train, held_out, tested = (np.sort(by_user[part]) for part in (~(test | validation), validation, test))
    few = int((counts <= 2 * k).sum())
    note = f"{few} users with fewer than {2 * k + 1} ratings stay in training whole" if few else ""
    return Split(name, train, held_out, tested, note)


def fold_split(n: int, seed: int, *, folds: int, fold: int) -> Split:
    """Return the ``fold``-th of ``folds`` random folds, from 1, as the test part; a tenth of the rest validates.

    Raises
    ------
    ValueError
        When there are fewer than two folds, or no such fold.
    """
    if folds < 2 or not 1 <= fold <= folds:
        raise ValueError(
            f"folds are counted from 1 to {max(folds, 2)}, and there are at least two; got {fold} of {folds}"
        )
    order = permutation(n, seed)
    first, last = (round(n * edge / folds) for edge in (fold - 1, fold))
    rest = np.concatenate([order[:first], order[last:]])
    n_validation = round(len(rest) * _SHARE)
    return Split(
        f"fold {fold} of {folds}",
        np.sort(rest[n_validation:]),
        np.sort(rest[:n_validation]),
        np.sort(order[first:last]),
    )


def content_hash(*arrays: NDArray[Any]) -> str:
    """Return a short hash of arrays' contents, by which results of the same data are recognised."""
    import hashlib

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _cut(order: Rows, n_validation: int, n_test: int) -> Split:
    """Take the test part from the end of an order, and the validation part from before it."""
    n = len(order)
    train, validation, test = (np.sort(part) for part in np.split(order, [n - n_validation - n_test, n - n_test]))
    return Split("", train, validation, test)


def _times(raw: RawRatings, method: str) -> NDArray[Any]:
    if raw.timestamps is None:
        raise ValueError(f"the split {method!r} needs a time for each rating, and these ratings have none")
    return raw.timestamps
