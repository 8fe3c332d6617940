"""Where data sets are on this machine, and how they get there. Only `fetch_dataset` downloads.

Nothing here reads ratings, so that data sets are listed without loading what does.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
from pathlib import Path, PurePosixPath

from bench.datasets.public.counts import as_number
from bench.datasets.public.download import CACHE_FOLDER, cache_folder, fetch, remember
from bench.datasets.public.known import KNOWN, Known
from bench.text.files import written_whole

from .errors import DatasetError

# Environment variable: a folder with a sub-folder per data set.
DATA_FOLDER = "RATINGS_DATA"

# More than any of the known files has: a member of an archive with more is a decompression bomb.
_BYTES_PER_RATING = 120


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
    searched = " or ".join(map(str, folders)) or f"${DATA_FOLDER}, which names no folder"
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
    named = os.environ.get(DATA_FOLDER)
    folders = [Path(named)] if named else []
    with contextlib.suppress(ModuleNotFoundError):  # without platformdirs nothing is downloaded
        folders.append(cache_folder())
    return folders


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
