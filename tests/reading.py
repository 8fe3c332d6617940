"""What the tests of the readers share: rows, files, the text of a refusal."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.datasets import DatasetError, RawRatings, read_ratings

needs_data = pytest.mark.skipif(
    not os.environ.get("RATINGS_DATA"), reason="RATINGS_DATA names no folder of real ratings"
)

ROWS = [(1, 10, 4.0), (2, 10, 3.5), (1, 20, 5.0)]
PLAIN = b"user,item,rating\n1,10,4\n2,10,3.5\n1,20,5\n"
BIG = 2**64 - 1  # the largest id


def rows(raw: RawRatings) -> list[tuple[Any, ...]]:
    return list(zip(raw.users.tolist(), raw.items.tolist(), raw.ratings.tolist(), strict=True))


def stored(folder: Path, content: bytes | str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(DatasetError) as caught:
        read_ratings(path, **options)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


def saved(path: Path, **arrays: Any) -> Path:
    with path.open("wb") as file:
        np.savez(file, **arrays)
    return path
