"""Data sets by name: found on this machine, read, compared with the published counts, and split.

What is known of each data set is a row of the table in `known`; `places` finds and downloads it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.datasets.public.counts import check_counts
from bench.datasets.public.download import cache_folder, check_remembered
from bench.datasets.public.known import Known
from bench.datasets.reading.options import FileOptions
from bench.datasets.reading.readers import read_file

from .errors import DatasetError
from .places import find_file, find_known
from .raw import HOW_TO_KEEP_ONE, DuplicatePairs, Duplicates, RawRatings, concatenated
from .splits import Split, random_split, split_rows
from .twin import anime_twin


class Dataset(NamedTuple):
    """Ratings and their split; ``official_test`` is the test set that the data set comes with."""

    name: str
    raw: RawRatings
    split: Split
    official_test: RawRatings | None
    reading: str = ""  # how the user said that the file is to be read, in words


def load_dataset(
    name: str, *, seed: int = 0, scale: float = 0.2, split: str | None = None
) -> Dataset:
    """Return a data set, split.

    It is read from the folder ``name`` in the folder that RATINGS_DATA names, or in the cache that
    `fetch_dataset` fills.

    Parameters
    ----------
    name
        "twin" or a name of `KNOWN`.
    seed
        Seed of the twin and of the split.
    scale
        Size of the twin; the other data sets ignore it.
    split
        An official split of the data set ("u1"), a method of `split_rows`, or None for the data
        set's default.

    Raises
    ------
    DatasetError
        If the name is unknown, the data is not on this machine, or its counts differ from the
        published ones; the message says what to do.
    """
    if name == "twin":
        return _split(f"anime twin x{scale:g}", anime_twin(scale, seed), split, seed)
    known = find_known(name)
    fold = split or known.default_fold
    if fold is not None and fold in known.folds:
        return _official_split(name, known, fold, seed)
    file = find_file(name, known.files)
    _check_unchanged(file.parent)
    raw = known.read(file)
    check_counts(file.parent, raw, known.counts)
    _cite_once(name, known)
    return _split(name, raw, split, seed)


def _official_split(name: str, known: Known, fold: str, seed: int) -> Dataset:
    """Return a data set with its own test rows; validation rows are some of its training rows."""
    assert known.read_fold is not None
    folder = find_file(name, (known.folds[fold],)).parent
    _check_unchanged(folder)
    raw, test = known.read_fold(folder, fold)
    check_counts(folder, _both(raw, test), known.counts)
    _cite_once(name, known)
    rows = random_split(len(raw.ratings), seed, validation=0.1, test=0)
    title = f"official {fold}, validation a random 10 % of its training rows"
    return Dataset(name, raw, Split(title, rows.train, rows.validation, None), test)


def load_file(
    path: Path,
    options: FileOptions = FileOptions(),  # noqa: B008  # it is frozen
    *,
    duplicates: Duplicates = "last",
    seed: int = 0,
    split: str | None = None,
) -> Dataset:
    """Return the ratings in a user's file, split at random unless ``split`` is a method.

    See `read_ratings` for the file and the options, `RawRatings.without_duplicates` for pairs that
    occur twice, and `split_rows` for the methods. Errors advise options of the command line.
    """
    raw = read_file(path, options, "command line")
    stated = [options.in_words(), f"duplicates {duplicates}" if duplicates != "last" else ""]
    dataset = _split(path.name, raw, split, seed, duplicates)
    return dataset._replace(reading="; ".join(text for text in stated if text))


def _cite_once(name: str, known: Known) -> None:
    """Print terms and citation the first time a data set is used on this machine."""
    shown = cache_folder() / "cited" / name
    try:
        if shown.exists():
            return
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.touch()
    except OSError:
        pass  # the cache cannot be used: they are printed again next time
    print(f"{name}: {known.licence}. Please cite: {known.citation}", file=sys.stderr)


def _check_unchanged(folder: Path) -> None:
    """Compare the fetched files of a folder with the checksums remembered for them."""
    for sidecar in sorted(folder.glob("*.sha256")):
        file = sidecar.with_suffix("")
        if file.is_file():
            check_remembered(file)


def _both(train: RawRatings, test: RawRatings) -> RawRatings:
    return RawRatings(
        concatenated(train.users, test.users),
        concatenated(train.items, test.items),
        np.concatenate([train.ratings, test.ratings]),
    )


def _split(
    name: str, raw: RawRatings, method: str | None, seed: int, duplicates: Duplicates = "last"
) -> Dataset:
    try:
        distinct = raw.without_duplicates(duplicates)
        return Dataset(name, distinct, split_rows(distinct, method or "random", seed), None)
    except DuplicatePairs as error:
        raise DatasetError(f"{name}: {error}. {HOW_TO_KEEP_ONE}") from error
    except ValueError as error:
        raise DatasetError(f"{name}: {error}") from error
