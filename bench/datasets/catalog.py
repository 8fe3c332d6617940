"""Data sets by name: found on this machine, read, checked against what is published of them, and split.

What is known of each is a row of the table in `known`. Nothing is downloaded here unless `fetch_dataset` is called.
"""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from bench.datasets.public.counts import as_number, check_counts
from bench.datasets.public.download import cache_folder, check_remembered, fetch, remember
from bench.datasets.public.known import KNOWN, Known
from bench.datasets.reading.readers import read_ratings
from bench.text.files import written_whole

from .errors import DatasetError
from .raw import RawRatings
from .splits import Split, random_split, split_rows
from .twin import anime_twin

DATA_FOLDER = "RATINGS_DATA"  # environment variable: the folder that holds a sub-folder per data set

_BYTES_PER_RATING = 120  # more than any of the known files has: a member of an archive beyond it is a bomb


class Dataset(NamedTuple):
    """Ratings with their split; ``official_test`` holds the test rows that the data set itself sets apart."""

    name: str
    raw: RawRatings
    split: Split
    official_test: RawRatings | None


def load_dataset(name: str, *, seed: int = 0, scale: float = 0.2, split: str | None = None) -> Dataset:
    """Load a data set and split it.

    It is read from the folder ``name`` in the one that RATINGS_DATA names, or in the cache that `fetch_dataset` fills.

    Parameters
    ----------
    name
        "twin" (made here, at ``scale``), or a name of `KNOWN`.
    split
        An official one of the data set ("u1"), a method of `split_rows`, or None: the default of the data set.

    Raises
    ------
    DatasetError
        For an unknown name, missing data, or data that is not what is published, saying what to do.
    """
    if name == "twin":
        return _split(f"anime twin x{scale:g}", anime_twin(scale, seed), split, seed)
    known = find_known(name)
    fold = split or known.default_fold
    if fold not in known.folds:
        file = find_file(name, known.files)
        _check_unchanged(file.parent)
        raw = known.read(file)
        check_counts(file.parent, raw, known.counts)
        _cite_once(name, known)
        return _split(name, raw, split, seed)
    assert known.read_fold is not None
    assert fold is not None
    folder = find_file(name, (known.folds[fold],)).parent
    _check_unchanged(folder)
    raw, test = known.read_fold(folder, fold)
    check_counts(folder, _both(raw, test), known.counts)
    _cite_once(name, known)
    rows = random_split(len(raw.ratings), seed, validation=0.1, test=0)
    part = Split(f"official {fold}, validation a random 10 % of its training rows", rows.train, rows.validation, None)
    return Dataset(name, raw, part, test)


def load_file(path: Path, *, seed: int = 0, split: str | None = None) -> Dataset:
    """Load a user's file and split it, at random unless told otherwise; see `read_ratings` and `split_rows`."""
    return _split(path.name, read_ratings(path), split, seed)


def find_known(name: str) -> Known:
    """Return the row of a data set.

    Raises
    ------
    DatasetError
        For an unknown name, with the one that is meant.
    """
    if name in KNOWN:
        return KNOWN[name]
    near = difflib.get_close_matches(name.lower().replace("_", "-"), KNOWN, n=1)
    meant = f"; did you mean {near[0]!r}" if near else ""
    raise DatasetError(
        f"no data set is named {name!r}{meant}? python -m bench.datasets list shows all; files go by --ratings"
    )


def find_file(name: str, patterns: tuple[str, ...]) -> Path:
    """Return the first file there is of a data set; in RATINGS_DATA before the cache, by the order of the patterns.

    Raises
    ------
    DatasetError
        When there is none, saying how to get it.
    """
    folders = [folder / name for folder in _places()]
    for folder in folders:
        for pattern in patterns:
            if found := sorted(folder.glob(pattern)):
                return found[0]
    looked = " or ".join(map(str, folders))
    raise DatasetError(f"{name} is not on this machine: no {' or '.join(patterns)} in {looked}. {how_to_get(name)}")


def fetch_dataset(name: str, *, progress: bool = False) -> Path:
    """Download a data set into the cache, unless it is on this machine, and return one of its files.

    Raises
    ------
    DatasetError
        When it cannot be had that way, saying how to get it.
    """
    known, folder = find_known(name), cache_folder() / name
    wanted = [folder / PurePosixPath(member).name for source in known.sources for member in source.members]
    complete = all(file.is_file() for file in wanted)  # or a fetch was interrupted
    try:
        file = find_file(name, known.files)
        if complete or file.parent != folder:
            return file
    except DatasetError:
        if not (known.sources or known.kaggle):
            raise
    folder.mkdir(parents=True, exist_ok=True)
    if not known.sources:
        return _from_kaggle(name, known, folder)
    rows = as_number(known.counts.rows)
    largest = 2**20 + _BYTES_PER_RATING * rows if rows else 2**40
    for source in known.sources:
        fetch(source, folder, largest=largest, progress=progress)
    return find_file(name, known.files)


def how_to_get(name: str) -> str:
    """Say in one sentence how a data set gets onto this machine, how large it is, and under which terms."""
    known = KNOWN[name]
    by_hand = f"{known.by_hand}; put it into ${DATA_FOLDER}/{name}/" if known.by_hand else ""
    command = f"python -m bench.datasets fetch {name}" if known.sources or known.kaggle else ""
    ways = [f"run {command} ({size_of(known)})"] if command else []
    ways += [by_hand] if by_hand else []
    return f"To get it: {'; or '.join(ways)}. Terms: {known.licence}"


def size_of(known: Known) -> str:
    """Return the size of the download in words."""
    sizes = [source.size for source in known.sources]
    if not sizes or None in sizes:
        return "size unknown"
    return f"{sum(size or 0 for size in sizes) / 1e6:,.1f} MB"


def _places() -> list[Path]:
    folder = os.environ.get(DATA_FOLDER)
    return [*([Path(folder)] if folder else []), cache_folder()]


def _from_kaggle(name: str, known: Known, folder: Path) -> Path:
    try:
        import kagglehub  # type: ignore[import-not-found]  # it is asked for by those who have it
    except ImportError:
        where = f"put the file into ${DATA_FOLDER}/{name}/"
        raise DatasetError(f"{name} comes from Kaggle: {known.by_hand}; {where}") from None
    try:
        source = Path(kagglehub.dataset_download(known.kaggle)) / known.files[0]
        with source.open("rb") as content, written_whole(folder / known.files[0]) as file:
            shutil.copyfileobj(content, file)
    except Exception as error:  # kagglehub raises whatever its libraries do
        raise DatasetError(f"kagglehub could not get {known.kaggle} ({error}). {known.by_hand}") from error
    remember(folder / known.files[0])
    return folder / known.files[0]


def _cite_once(name: str, known: Known) -> None:
    """Show terms and citation the first time a data set is used on this machine."""
    shown = cache_folder() / "cited" / name
    if shown.exists():
        return
    print(f"{name}: {known.licence}. Please cite: {known.citation}", file=sys.stderr)
    try:
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.touch()
    except OSError:  # a cache that cannot be written to is no reason to fail: it is shown again
        pass


def _check_unchanged(folder: Path) -> None:
    for sidecar in sorted(folder.glob("*.sha256")):
        if (file := sidecar.with_suffix("")).is_file():
            check_remembered(file)


def _both(train: RawRatings, test: RawRatings) -> RawRatings:
    users, items, ratings = (np.concatenate(pair) for pair in zip(train[:3], test[:3], strict=True))
    return RawRatings(users, items, ratings)


def _split(name: str, raw: RawRatings, method: str | None, seed: int) -> Dataset:
    distinct = raw.without_duplicates()
    try:
        return Dataset(name, distinct, split_rows(distinct, method or "random", seed), None)
    except ValueError as error:
        raise DatasetError(f"{name}: {error}") from error
