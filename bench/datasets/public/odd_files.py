"""Readers of the few public data sets whose layout the general readers do not support.

Each reader takes the folder with the original files. Tables with one rating per row are read by
`readers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError
from bench.datasets.raw import RawRatings
from bench.text.missing import how_to_install

NOT_RATED = 99.0  # in the matrices of Jester
_FILES_AT_ONCE = 1000  # of the 17,770 small files of the Netflix Prize


def read_jester_matrices(folder: Path) -> RawRatings:
    """Return the ratings in the matrices of Jester's first data set.

    A row is a user: the number of ratings, then one column per joke, which is 99 if the user did
    not rate the joke. Users are numbered from 1 through all files in the order of the files' names,
    jokes from 1.

    Raises
    ------
    DatasetError
        If a file is not such a matrix.
    """
    matrices = [
        _matrix(path)
        for path in sorted(folder.glob("jester-data-*"))
        if path.suffix in _MATRIX_READERS
    ]
    jokes = matrices[0].shape[1] - 1
    ratings = np.concatenate([matrix[:, 1:] for matrix in matrices])  # shape (n_users, n_jokes)
    users, items = np.nonzero(np.isfinite(ratings) & (ratings != NOT_RATED))
    assert items.max(initial=0) < jokes
    return RawRatings(users + 1, items + 1, ratings[users, items])


def read_jester_triplets(folder: Path) -> RawRatings:
    """Return the ratings of Jester's second data set.

    A line has user, joke and rating, with two tabs between them.

    Raises
    ------
    DatasetError
        If the file does not have this layout.
    """
    path = folder / "jester_ratings.dat"
    try:
        frame = pd.read_csv(
            path,
            sep="\t",
            header=None,
            usecols=[0, 2, 4],  # columns 1 and 3 are empty, between the two tabs
            dtype={0: np.int64, 2: np.int64, 4: float},
        )
    except (ValueError, OSError) as error:
        raise DatasetError(
            f"{path} cannot be read as ratings: {str(error).splitlines()[0]}. "
            "Expected user, joke and rating with two tabs between them; get the original file"
        ) from error
    users, items, ratings = (frame[column].to_numpy() for column in (0, 2, 4))
    return RawRatings(users, items, ratings)


def read_book_crossing(folder: Path) -> RawRatings:
    """Return the explicit ratings of Book-Crossing.

    Its file is in Latin-1, with semicolons. A rating of 0 stands for implicit feedback and is left
    out.

    Raises
    ------
    DatasetError
        If the file does not have this layout.
    """
    path = next(iter(sorted(folder.glob("*Ratings.csv"))))
    try:
        frame = pd.read_csv(
            # As str, or the ISBN 034545104X would be a string and 0155061224 a number.
            path,
            sep=";",
            encoding="latin-1",
            dtype={1: str},
            keep_default_na=False,
        )
        users, ratings = (frame.iloc[:, column].to_numpy().astype(np.int64) for column in (0, 2))
    except (ValueError, IndexError, OSError) as error:
        raise DatasetError(
            f"{path} cannot be read as ratings: {str(error).splitlines()[0]}. "
            "Expected user, ISBN and rating with semicolons between them; get the original file"
        ) from error
    raw = RawRatings(users, pd.Categorical(frame.iloc[:, 1]), ratings.astype(np.float64))
    explicit = np.flatnonzero(ratings)
    n_implicit = len(ratings) - len(explicit)
    return raw.take(explicit).dropping("rating 0 means implicit feedback", n_implicit)


def read_netflix(folder: Path) -> RawRatings:
    """Return the training set of the Netflix Prize.

    Its files are combined_data_*.txt, or mv_*.txt in training_set/. A line "7:" starts the ratings
    of movie 7, each of which is a line "user,rating,date".

    Raises
    ------
    DatasetError
        If a line is neither.
    """
    users, items, ratings, dates = (
        np.concatenate(columns) for columns in zip(*_netflix_tables(folder), strict=True)
    )
    return RawRatings(users, items, ratings, dates)


def split_off_probe(raw: RawRatings, folder: Path) -> tuple[RawRatings, RawRatings]:
    """Return the ratings that are not in the Netflix Prize's probe.txt, and those that are.

    Raises
    ------
    DatasetError
        If a line of probe.txt is neither "movie:" nor a user, or a pair has no rating.
    """
    path = folder / "probe.txt"
    pairs, movie = [], None
    for number, line in enumerate(path.read_text("ascii").split(), start=1):
        text = line.removesuffix(":")
        is_movie = text != line
        if not text.isdecimal() or (movie is None and not is_movie):
            raise DatasetError(
                f"{path}, line {number}: {line[:40]!r} is neither a movie and a colon nor a user "
                "of the movie before. Get the original file"
            )
        if is_movie:
            movie = int(text)
        else:
            assert movie is not None
            pairs.append(_key(movie, int(text)))
    in_probe = pd.Series(_key(raw.items.astype(np.int64), raw.users)).isin(pairs).to_numpy()
    found = int(in_probe.sum())
    if found != len(pairs):
        raise DatasetError(
            f"{path} has {len(pairs):,} pairs of movie and user, but only {found:,} of them are "
            f"among the ratings in {folder}. Get all original files"
        )
    return raw.take(np.flatnonzero(~in_probe)), raw.take(np.flatnonzero(in_probe))


def _netflix_tables(folder: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield users, items, ratings and dates of the files, several small files at a time."""
    import pyarrow as pa

    combined = sorted(folder.glob("combined_data_*.txt"))
    if combined:
        for path in combined:
            yield _netflix_table(pa.memory_map(str(path)), path)
        return
    single = iter(sorted((folder / "training_set").glob("mv_*.txt")))
    while batch := list(islice(single, _FILES_AT_ONCE)):
        content = b"".join(path.read_bytes() + b"\n" for path in batch)
        yield _netflix_table(pa.BufferReader(content), batch[0].parent)


def _netflix_table(source: Any, path: Path) -> tuple[NDArray[Any], ...]:
    """Return users, items, ratings and dates, each of shape (n_ratings,), of one source."""
    import pyarrow as pa
    from pyarrow import csv

    # A line "7:" has one field instead of three, so Arrow takes it for an invalid row and calls
    # this handler. Movies and the numbers of their first lines are collected on the way.
    starts, movies = [], []

    def start_of_movie(row: Any) -> str:
        match = re.fullmatch(r"(\d+):\s*", row.text)
        if match is None:
            return "error"
        starts.append(row.number)
        movies.append(int(match[1]))
        return "skip"

    try:
        table = csv.read_csv(
            source,
            read_options=csv.ReadOptions(
                column_names=["user", "rating", "date"], use_threads=False
            ),
            parse_options=csv.ParseOptions(invalid_row_handler=start_of_movie),
            convert_options=csv.ConvertOptions(
                column_types={"user": pa.int32(), "rating": pa.float32(), "date": pa.date32()}
            ),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(
            f"{path} is not in the layout of the Netflix Prize: {error}. Get the original file"
        ) from error
    if not starts or starts[0] != 1:
        raise DatasetError(
            f"{path} is not in the layout of the Netflix Prize: its first line is not a movie and "
            "a colon. Get the original file"
        )
    # Lines between a movie's line and the next movie's are its ratings.
    n_lines = table.num_rows + len(starts)
    per_movie = np.diff([*starts, n_lines + 1]) - 1
    items = np.repeat(np.array(movies, np.int32), per_movie)
    users, ratings, dates = (table[name].to_numpy() for name in ("user", "rating", "date"))
    return users, items, ratings, dates.astype("datetime64[D]")


def _key(items: Any, users: Any) -> Any:
    """Return one integer per pair."""
    return (items << 32) | users


def _matrix(path: Path) -> NDArray[np.float64]:
    """Return a file of Jester, shape (n_users, 1 + n_jokes)."""
    try:
        matrix = np.array(_MATRIX_READERS[path.suffix](path), dtype=np.float64)
    except (ValueError, OSError, TypeError) as error:
        raise DatasetError(
            f"{path} is not a matrix of numbers: {error}. Get the original file"
        ) from error
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        raise DatasetError(
            f"{path} is not a matrix of a count and ratings per user, but an array of shape "
            f"{matrix.shape}. Get the original file"
        )
    return matrix


def _sheet(path: Path) -> list[list[Any]]:
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError as error:
        raise DatasetError(
            f"{path} needs python-calamine: {how_to_install('python-calamine')}"
        ) from error
    try:
        rows = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    except CalamineError as error:
        raise ValueError(error) from error
    return [[np.nan if cell == "" else cell for cell in row] for row in rows]


def _text(path: Path) -> NDArray[Any]:
    return pd.read_csv(path, header=None).to_numpy()


_MATRIX_READERS = {".xls": _sheet, ".xlsx": _sheet, ".csv": _text}
