"""Readers of the few public data sets whose files no general reader understands.

Each takes the folder that holds the original files. What is a table with one rating a row, `readers` reads.
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

NOT_RATED = 99.0  # in the matrices of Jester
_FILES_AT_ONCE = 1000  # of the 17,770 small files of the Netflix Prize


def read_jester_matrices(folder: Path) -> RawRatings:
    """Read Jester's matrices: one user a row; the number of ratings, then one column per joke, 99 where not rated.

    Users are numbered from 1 through all files in the order of their names, jokes from 1.

    Raises
    ------
    DatasetError
        Naming the file that holds no such matrix.
    """
    matrices = [_matrix(path) for path in sorted(folder.glob("jester-data-*")) if path.suffix in _MATRIX_READERS]
    jokes = matrices[0].shape[1] - 1
    ratings = np.concatenate([matrix[:, 1:] for matrix in matrices])
    users, items = np.nonzero(np.isfinite(ratings) & (ratings != NOT_RATED))
    assert items.max(initial=0) < jokes
    return RawRatings(users + 1, items + 1, ratings[users, items])


def read_jester_triplets(folder: Path) -> RawRatings:
    """Read Jester's second data set: user, joke and rating with two tabs between them."""
    path = folder / "jester_ratings.dat"
    try:
        frame = pd.read_csv(path, sep="\t", header=None, usecols=[0, 2, 4], dtype={0: np.int64, 2: np.int64, 4: float})
    except (ValueError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as ratings: {str(error).splitlines()[0]}") from error
    users, items, ratings = (frame[column].to_numpy() for column in (0, 2, 4))
    return RawRatings(users, items, ratings)


def read_book_crossing(folder: Path) -> RawRatings:
    """Read the ratings of Book-Crossing, Latin-1 with semicolons; a rating of 0 is none, and left out."""
    path = next(iter(sorted(folder.glob("*Ratings.csv"))))
    try:
        frame = pd.read_csv(path, sep=";", encoding="latin-1", dtype={1: str}, keep_default_na=False)
        users, ratings = (frame.iloc[:, column].to_numpy().astype(np.int64) for column in (0, 2))
    except (ValueError, IndexError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as ratings: {str(error).splitlines()[0]}") from error
    raw = RawRatings(users, frame.iloc[:, 1].to_numpy(), ratings.astype(np.float64))
    explicit = np.flatnonzero(ratings)
    return raw.take(explicit).dropping("rating 0 is an implicit one", len(ratings) - len(explicit))


def read_netflix(folder: Path) -> RawRatings:
    """Read the training set of the Netflix Prize: combined_data_*.txt, or mv_*.txt in training_set/.

    A line "7:" starts the ratings of movie 7, each "user,rating,date".

    Raises
    ------
    DatasetError
        Naming the first line that is neither.
    """
    users, items, ratings, dates = (np.concatenate(columns) for columns in zip(*_netflix_parts(folder), strict=True))
    return RawRatings(users, items, ratings, dates)


def split_off_probe(raw: RawRatings, folder: Path) -> tuple[RawRatings, RawRatings]:
    """Return the ratings without those of the Netflix Prize's probe.txt, and those.

    Raises
    ------
    DatasetError
        When a line of probe.txt is neither "movie:" nor a user, or its pair is not among the ratings.
    """
    path = folder / "probe.txt"
    pairs, movie = [], None
    for number, line in enumerate(path.read_text("ascii").split(), start=1):
        text = line.removesuffix(":")
        if not text.isdecimal() or (movie is None and text == line):
            raise DatasetError(f"{path}, line {number}: {line[:40]!r} is neither a movie with a colon nor its user")
        if text != line:
            movie = int(text)
        else:
            assert movie is not None
            pairs.append(_key(movie, int(text)))
    in_probe = pd.Series(_key(raw.items.astype(np.int64), raw.users)).isin(pairs).to_numpy()
    if (found := int(in_probe.sum())) != len(pairs):
        raise DatasetError(f"{path} names {len(pairs):,} pairs, of which {found:,} are among the ratings in {folder}")
    return raw.take(np.flatnonzero(~in_probe)), raw.take(np.flatnonzero(in_probe))


def _netflix_parts(folder: Path) -> Iterator[tuple[NDArray[Any], ...]]:
    import pyarrow as pa

    combined = sorted(folder.glob("combined_data_*.txt"))
    for path in combined:
        yield _netflix_table(pa.memory_map(str(path)), path)
    single = iter(() if combined else sorted((folder / "training_set").glob("mv_*.txt")))
    while batch := list(islice(single, _FILES_AT_ONCE)):
        content = b"".join(path.read_bytes() + b"\n" for path in batch)
        yield _netflix_table(pa.BufferReader(content), batch[0].parent)


def _netflix_table(source: Any, path: Path) -> tuple[NDArray[Any], ...]:
    """Return users, items, ratings and dates of one file."""
    import pyarrow as pa
    from pyarrow import csv

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
            read_options=csv.ReadOptions(column_names=["user", "rating", "date"], use_threads=False),
            parse_options=csv.ParseOptions(invalid_row_handler=start_of_movie),
            convert_options=csv.ConvertOptions(
                column_types={"user": pa.int32(), "rating": pa.float32(), "date": pa.date32()}
            ),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError(f"{path} is not in the layout of the Netflix Prize: {error}") from error
    lines = table.num_rows + len(starts)
    if not starts or starts[0] != 1:
        raise DatasetError(f"{path} is not in the layout of the Netflix Prize: no movie and colon at its start")
    per_movie = np.diff([*starts, lines + 1]) - 1
    items = np.repeat(np.array(movies, np.int32), per_movie)
    return (
        table["user"].to_numpy(),
        items,
        table["rating"].to_numpy(),
        table["date"].to_numpy().astype("datetime64[D]"),
    )


def _key(items: Any, users: Any) -> Any:
    return (items << 32) | users


def _matrix(path: Path) -> NDArray[np.float64]:
    try:
        matrix = np.array(_MATRIX_READERS[path.suffix](path), dtype=np.float64)
    except (ValueError, OSError, TypeError) as error:
        raise DatasetError(f"{path} holds no matrix of numbers: {error}") from error
    if matrix.ndim != 2 or matrix.shape[1] < 2:
        raise DatasetError(f"{path} holds no matrix of a count and ratings, but an array of shape {matrix.shape}")
    return matrix


def _sheet(path: Path) -> list[list[Any]]:
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError as error:
        raise DatasetError(f"{path} needs python-calamine: pip install 'factorbench[bench]'") from error
    try:
        rows = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    except CalamineError as error:
        raise ValueError(error) from error
    return [[np.nan if cell == "" else cell for cell in row] for row in rows]


def _text(path: Path) -> NDArray[Any]:
    return pd.read_csv(path, header=None).to_numpy()


_MATRIX_READERS = {".xls": _sheet, ".xlsx": _sheet, ".csv": _text}
