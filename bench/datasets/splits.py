"""Splits into training, validation and test rows, the same on every machine and with every NumPy.

NumPy guarantees its streams of raw bits across versions, but not its distributions. So randomness
here is only ever the order of raw 64-bit draws. Official folds are read by the catalogue; users and
items that training lacks are dropped by the encoder.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .raw import Ids, RawRatings

Rows = NDArray[np.int64]

METHODS = "random, leave-K-out, temporal, temporal-leave-K-out, N-fold-I"
_SHARE = 0.1  # of the rows are validation rows, and as many are test rows


class Split(NamedTuple):
    """Row numbers of the three parts, ascending; ``test`` is None if the data set has test rows.

    ``note`` describes exceptions, such as users who stay in training, and is "" without any.
    """

    name: str
    train: Rows
    validation: Rows
    test: Rows | None
    note: str = ""


def split_rows(raw: RawRatings, method: str = "random", seed: int = 0) -> Split:
    """Return a split of the ratings by a named method.

    Parameters
    ----------
    method
        - "random": 80 % training, 10 % validation, 10 % test.
        - "leave-K-out": of each user, K random rows are test rows and K are validation rows.
        - "temporal": the last tenth by time is the test part, the tenth before it the validation
          part.
        - "temporal-leave-K-out": of each user, the last K rows are test rows and the K before them
          validation rows.
        - "N-fold-I": the I-th of N random folds, counted from 1, is the test part, and a tenth of
          the rest the validation part.
    seed
        Of the random order; temporal methods ignore it.

    Raises
    ------
    ValueError
        If the method is unknown, or is temporal and the ratings have no times.
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
    raise ValueError(f"no split is named {method!r}; known: {METHODS} (K, N and I are integers)")


def permutation(n: int, seed: int) -> Rows:
    """Return the numbers below ``n`` in the order of ``n`` raw 64-bit draws of PCG64."""
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def random_split(n: int, seed: int, validation: float = _SHARE, test: float = _SHARE) -> Split:
    """Return a random split of ``n`` rows.

    Parameters
    ----------
    validation, test
        Their shares of the rows, rounded to whole rows. With ``test=0`` there is no test part.
    """
    split = _cut(permutation(n, seed), round(n * validation), round(n * test))
    percentages = [100 * share for share in (1 - validation - test, validation, test) if share]
    shares = "/".join(f"{percentage:g}" for percentage in percentages)
    return split._replace(name=f"random {shares}", test=split.test if test else None)


def temporal_split(times: NDArray[Any], validation: float = _SHARE, test: float = _SHARE) -> Split:
    """Return a split by time, whose test part is the newest rows; ties keep their order."""
    n = len(times)
    split = _cut(np.argsort(times, kind="stable"), round(n * validation), round(n * test))
    return split._replace(
        name=f"temporal, last {100 * test:g} % and the {100 * validation:g} % before"
    )


def leave_out_split(users: Ids, order: Rows, k: int, name: str) -> Split:
    """Return a split with the same number of test and of validation rows for every user.

    Parameters
    ----------
    users
        User of each row, shape (n,).
    order
        All row numbers, shape (n,). Each user's last ``k`` rows in this order are test rows, and
        the ``k`` before them validation rows.
    k
        Number of rows per user. All rows of a user with fewer than 2k + 1 stay in training.
    name
        Name of the split.
    """
    codes = pd.factorize(users)[0]
    # Row numbers user by user, and in the given order within each user.
    by_user = order[np.argsort(codes[order], kind="stable")]
    counts = np.bincount(codes)
    ends = np.cumsum(counts)
    # Of each entry of by_user, how many of the same user come after it: 0 is the user's last row.
    n_after = np.repeat(ends, counts) - np.arange(len(codes)) - 1
    is_split = np.repeat(counts > 2 * k, counts)
    is_test = is_split & (n_after < k)
    is_validation = is_split & (n_after >= k) & (n_after < 2 * k)

    n_whole = int((counts <= 2 * k).sum())
    note = ""
    if n_whole:
        note = f"{n_whole} users with fewer than {2 * k + 1} ratings stay entirely in training"
    return Split(
        name,
        train=np.sort(by_user[~(is_test | is_validation)]),
        validation=np.sort(by_user[is_validation]),
        test=np.sort(by_user[is_test]),
        note=note,
    )


def fold_split(n: int, seed: int, *, folds: int, fold: int) -> Split:
    """Return a split whose test part is one of ``folds`` random folds of ``n`` rows.

    Parameters
    ----------
    folds
        Number of folds, at least 2.
    fold
        Which of them is the test part, counted from 1. A tenth of the other rows are validation
        rows.

    Raises
    ------
    ValueError
        If there are fewer than two folds, or there is no such fold.
    """
    if folds < 2 or not 1 <= fold <= folds:
        raise ValueError(
            f"there must be at least 2 folds, counted from 1 to {max(folds, 2)}; "
            f"got fold {fold} of {folds}"
        )
    order = permutation(n, seed)
    first, last = round(n * (fold - 1) / folds), round(n * fold / folds)
    rest = np.concatenate([order[:first], order[last:]])
    n_validation = round(len(rest) * _SHARE)
    return Split(
        f"fold {fold} of {folds}",
        train=np.sort(rest[n_validation:]),
        validation=np.sort(rest[:n_validation]),
        test=np.sort(order[first:last]),
    )


def content_hash(*arrays: NDArray[Any]) -> str:
    """Return a short hash of arrays' contents, which identifies results of the same data."""
    import hashlib

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _cut(order: Rows, n_validation: int, n_test: int) -> Split:
    """Return a split with the test part at the end of ``order``, validation before it."""
    n = len(order)
    train, validation, test = (
        np.sort(part) for part in np.split(order, [n - n_validation - n_test, n - n_test])
    )
    return Split("", train, validation, test)


def _times(raw: RawRatings, method: str) -> NDArray[Any]:
    if raw.timestamps is None:
        raise ValueError(
            f"the split {method!r} needs a time for each rating, and these ratings have none"
        )
    return raw.timestamps
