"""The type of float arrays in annotations, and iterating over arrays in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]

# Ratings that are processed at a time: the rows gathered for them stay in cache, and memory is
# bounded.
CHUNK = 1 << 12


def chunks(n: int, size: int = CHUNK) -> Iterator[slice]:
    """Yield slices that cover ``range(n)`` in pieces of ``size``."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
