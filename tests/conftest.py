"""Fixtures of all tests."""

import os
from pathlib import Path

import numpy as np
import pytest

from backends import Ratings


@pytest.fixture(scope="session")
def ml100k() -> Ratings:
    """MovieLens-100K from the folder that RATINGS_DATA names."""
    folder = os.environ.get("RATINGS_DATA")
    if not folder:
        pytest.skip("RATINGS_DATA names no folder; it must hold ml-100k/u.data")
    columns = np.loadtxt(Path(folder) / "ml-100k" / "u.data", dtype=np.int64).T
    return Ratings.from_arrays(columns[0], columns[1], columns[2].astype(np.float64))
