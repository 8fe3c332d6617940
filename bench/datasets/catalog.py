"""Data sets by name: found on this machine, read, compared with the published counts, and split.

What is known of each data set is a row of the table in `known`. Only `fetch_dataset` downloads.
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
from bench.datasets.public.download import (
    CACHE_FOLDER,
    cache_folder,
    check_remembered,
    fetch,
    remember,
)
from bench.datasets.public.known import KNOWN, Known
from bench.datasets.reading.options import FileOptions
from bench.datasets.reading.readers import read_file
from bench.text.files import written_whole

from .errors import DatasetError
from .raw import HOW_TO_KEEP_ONE, DuplicatePairs, Duplicates, RawRatings, concatenated
from .splits import Split, random_split, split_rows
from .twin import anime_twin

# Environment variable: a folder with a sub-folder per data set.
DATA_FOLDER = "RATINGS_DATA"

# More than any of the known files has: a member of an archive with more is a decompression bomb.
_BYTES_PER_RATING = 120


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


def find_known(name: str) -> Known:
    """Return what is known of a data set.

    Raises
    ------
    DatasetError
        If the name is unknown; the message suggests a similar one.
    """
    if name in KNOWN:
        return KNOWN[name]
    similar = difflib.get_close_matches(name.lower().replace("_", "-"), KNOWN, n=1)
    suggestion = f"; did you mean {similar[0]!r}?" if similar else "."
    raise DatasetError(
        f"no data set is named {name!r}{suggestion} "
        "python -m bench.datasets list shows all; a file of your own is read with --ratings FILE"
    )


def find_file(name: str, patterns: tuple[str, ...]) -> Path:
    """Return a data set's file on this machine.

    The folder of RATINGS_DATA is searched before the cache, and in each the patterns in their
    order.

    Raises
    ------
    DatasetError
        If no file matches; the message says how to get the data set.
    """
    folders = [folder / name for folder in _places()]
    for folder in folders:
        for pattern in patterns:
            found = sorted(folder.glob(pattern))
            if found:
                return found[0]
    searched = " or ".join(map(str, folders))
    raise DatasetError(
        f"{name} is not on this machine: no {' or '.join(patterns)} in {searched}. "
        f"{how_to_get(name)}"
    )


def fetch_dataset(name: str, *, progress: bool = False) -> Path:
    """Download a data set into the cache unless it is on this machine; return one of its files.

    Raises
    ------
    DatasetError
        If it cannot be downloaded; the message says how to get it.
    """
    known, folder = find_known(name), cache_folder() / name
    wanted = [
        folder / PurePosixPath(member).name for source in known.sources for member in source.members
    ]
    # A fetch that was interrupted may have left some of the files.
    complete = all(file.is_file() for file in wanted)
    try:
        file = find_file(name, known.files)
        if complete or file.parent != folder:
            return file
    except DatasetError:
        if not (known.sources or known.kaggle):
            raise
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be written to ({error}); set {CACHE_FOLDER} to another folder"
        ) from error
    if not known.sources:
        return _from_kaggle(name, known, folder)
    n_ratings = as_number(known.counts.rows)
    largest = 2**20 + _BYTES_PER_RATING * n_ratings if n_ratings else 2**40
    for source in known.sources:
        fetch(source, folder, largest=largest, progress=progress)
    return find_file(name, known.files)


def how_to_get(name: str) -> str:
    """Return sentences on how to get a data set onto this machine, its size and its terms."""
    known = KNOWN[name]
    ways = []
    if known.sources or known.kaggle:
        ways.append(f"run python -m bench.datasets fetch {name} ({size_of(known)})")
    if known.by_hand:
        ways.append(f"{known.by_hand}; put it into ${DATA_FOLDER}/{name}/")
    return f"To get it: {'; or '.join(ways)}. Terms: {known.licence}"


def size_of(known: Known) -> str:
    """Return the size of the download, such as "4.9 MB"."""
    sizes = [source.size for source in known.sources if source.size is not None]
    if not sizes or len(sizes) < len(known.sources):
        return "size unknown"
    return f"{sum(sizes) / 1e6:,.1f} MB"


def _places() -> list[Path]:
    """Return the folders that have a sub-folder per data set."""
    folder = os.environ.get(DATA_FOLDER)
    return [Path(folder), cache_folder()] if folder else [cache_folder()]


def _from_kaggle(name: str, known: Known, folder: Path) -> Path:
    """Download the file of a data set with kagglehub, and return it."""
    try:
        import kagglehub  # type: ignore[import-not-found]  # optional; a user who wants it has it
    except ImportError:
        raise DatasetError(
            f"{name} comes from Kaggle: {known.by_hand}; put the file into ${DATA_FOLDER}/{name}/"
        ) from None
    try:
        source = Path(kagglehub.dataset_download(known.kaggle)) / known.files[0]
        with source.open("rb") as content, written_whole(folder / known.files[0]) as file:
            shutil.copyfileobj(content, file)
    except Exception as error:  # kagglehub raises whatever its libraries do
        raise DatasetError(
            f"kagglehub could not download {known.kaggle} ({error}). Instead, {known.by_hand}"
        ) from error
    remember(folder / known.files[0])
    return folder / known.files[0]


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
