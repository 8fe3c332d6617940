"""Splits into training, validation and test rows, the same on every machine and with every NumPy.

NumPy promises its bit streams, not its distributions, across versions: so a permutation here is the order of raw 64-bit
draws, and nothing else random is used.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class Split(NamedTuple):
    """Row numbers of the three parts; ``test`` is None where a data set brings its own."""

    name: str
    train: Rows
    validation: Rows
    test: Rows | None


def permutation(n: int, seed: int) -> Rows:
    """Return the numbers below ``n`` in a random order: the order of ``n`` draws of 64 bits from PCG64."""
    return np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")


def random_split(n: int, seed: int, validation: float = 0.1, test: float = 0.1) -> Split:
    """Split ``n`` rows at random.

    Parameters
    ----------
    validation, test
        Shares of the rows, rounded to whole rows; with ``test=0`` there is no test part.
    """
    order = permutation(n, seed)
    n_validation, n_test = round(n * validation), round(n * test)
    parts = np.split(order, [n - n_validation - n_test, n - n_test])
    shares = "/".join(f"{100 * share:g}" for share in (1 - validation - test, validation, test) if share)
    train, held_out, tested = (np.sort(part) for part in parts)
    return Split(f"random {shares}", train, held_out, tested if n_test else None)


def content_hash(*arrays: NDArray[Any]) -> str:
    """Return a short hash of arrays' contents, by which results of the same data are recognised."""
    import hashlib

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
