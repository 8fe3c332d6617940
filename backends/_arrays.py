"""What every module says of arrays: their type in annotations, and chunks of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]

CHUNK = 1 << 12  # ratings at a time: the gathered rows stay in cache, and memory is bounded


def chunks(n: int, size: int = CHUNK) -> Iterator[slice]:
    """Yield slices that cover ``range(n)`` in pieces of ``size``."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
