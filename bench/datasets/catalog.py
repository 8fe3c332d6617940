"""The data sets known by name, and what a case is made of: raw ratings with their split."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .raw import RawRatings
from .readers import DatasetError, read_ratings
from .splits import Split, random_split
from .twin import anime_twin

DATA_FOLDER = "RATINGS_DATA"  # environment variable: the folder that holds a sub-folder per data set


class Dataset(NamedTuple):
    """Ratings with their split; ``official_test`` holds the test rows that the data set itself sets apart."""

    name: str
    raw: RawRatings
    split: Split
    official_test: RawRatings | None


class Known(NamedTuple):
    """A row of the table of data sets."""

    describe: str
    read: Callable[[Path], RawRatings]
    read_test: Callable[[Path], RawRatings] | None = None
    split: str = ""


KNOWN = {
    "anime-5k": Known("5,000 users of the Kaggle anime ratings", lambda d: read_ratings(d / "ratings.tsv")),
    "anime-slice": Known("a slice of the Kaggle anime ratings", lambda d: read_ratings(d / "rating.csv", -1)),
    "ml-100k": Known(
        "MovieLens 100K, official fold u1",
        lambda d: read_ratings(d / "u1.base"),
        lambda d: read_ratings(d / "u1.test"),
        "official fold u1",
    ),
    "ml-1m": Known("MovieLens 1M", lambda d: read_ratings(d / "ratings.parquet")),
    "ml-latest-small": Known("MovieLens latest-small", lambda d: read_ratings(d / "ratings.csv")),
}


def load_dataset(name: str, *, seed: int = 0, scale: float = 0.2) -> Dataset:
    """Load a data set and split it.

    Parameters
    ----------
    name
        "twin" (made here, at ``scale``), or a name of `KNOWN`, read from the folder named by RATINGS_DATA.

    Raises
    ------
    DatasetError
        For an unknown name or missing data, saying what to do.
    """
    if name == "twin":
        return _split(f"anime twin x{scale:g}", anime_twin(scale, seed), seed)
    if name not in KNOWN:
        raise DatasetError(f"no data set is named {name!r}; known: twin, {', '.join(KNOWN)}. Files go by --ratings")
    folder = os.environ.get(DATA_FOLDER)
    if not folder:
        raise DatasetError(f"set {DATA_FOLDER} to the folder that holds {name}/, or use --dataset twin")
    known, place = KNOWN[name], Path(folder) / name
    if known.read_test is None:
        return _split(name, known.read(place), seed)
    raw, split = known.read(place), known.split
    rows = random_split(len(raw.ratings), seed, validation=0.1, test=0)
    part = Split(f"{split}, validation a random 10 % of its training rows", rows.train, rows.validation, None)
    return Dataset(name, raw, part, known.read_test(place))


def load_file(path: Path, *, seed: int = 0) -> Dataset:
    """Load a user's file and split it at random; see `read_ratings`."""
    return _split(path.name, read_ratings(path), seed)


def _split(name: str, raw: RawRatings, seed: int) -> Dataset:
    distinct = raw.without_duplicates()
    return Dataset(name, distinct, random_split(len(distinct.ratings), seed), None)
