"""Reading ratings from a user's file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .raw import RawRatings

# Column names that leave no doubt, in lower case without separators.
_USER = {"user", "userid"}
_ITEM = {"item", "itemid", "movie", "movieid", "anime", "animeid", "book", "bookid", "product", "productid"}
_RATING = {"rating", "ratings", "score", "stars"}


class DatasetError(ValueError):
    """Data that cannot be read or is not there; the message names the file and what to do."""


def read_ratings(path: Path, missing_rating: float | None = None) -> RawRatings:
    """Read user, item and rating columns from a CSV, TSV or Parquet file, with or without a header.

    Parameters
    ----------
    missing_rating
        A value that stands for "not rated" (-1 in the anime data); such rows are left out.

    Raises
    ------
    DatasetError
        Naming the file, and the row and column where there is one.
    """
    if not path.is_file():
        raise DatasetError(f"there is no file {path}")
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else _read_text(path)
    except DatasetError:
        raise
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise DatasetError(f"{path} cannot be read as ratings: {str(error).splitlines()[0]}") from error
    columns = _columns(frame, path)
    users, items = (_ids(frame[column], path) for column in columns[:2])
    ratings = pd.to_numeric(frame[columns[2]], errors="coerce").to_numpy(np.float64)
    if not np.isfinite(ratings).all():
        row = int(np.argmin(np.isfinite(ratings)))
        raise DatasetError(f"{path}, row {row + 1}: the rating {frame[columns[2]].iloc[row]!r} is not a finite number")
    raw = RawRatings(users, items, ratings)
    if missing_rating is not None:
        rated = np.flatnonzero(ratings != missing_rating)
        raw = raw.take(rated).dropping(f"rating {missing_rating:g} means not rated", len(ratings) - len(rated))
    if not len(raw.ratings):
        raise DatasetError(f"{path} holds no ratings")
    return raw


def _read_text(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip()
    if not first:
        raise DatasetError(f"{path} is empty")
    separator = next((s for s in ("\t", "::", ";", ",") if s in first), None)
    if separator is None:
        raise DatasetError(f"{path}, row 1: {first[:80]!r} has no tab, ::, ; or comma between its columns")
    fields = first.split(separator)
    has_header = not _is_number(fields[2] if len(fields) > 2 else fields[-1])
    engine = "python" if len(separator) > 1 else "c"
    return pd.read_csv(path, sep=separator, header=0 if has_header else None, engine=engine)  # type: ignore[call-overload,no-any-return]  # engine is one of its literals


def _columns(frame: pd.DataFrame, path: Path) -> list[object]:
    if pd.api.types.is_integer_dtype(frame.columns) and frame.shape[1] >= 3:
        return [0, 1, 2]  # no header: by position
    names = {str(column).lower().replace("_", "").replace(" ", ""): column for column in frame.columns}
    found = [[names[name] for name in names if name in wanted] for wanted in (_USER, _ITEM, _RATING)]
    if any(len(candidates) != 1 for candidates in found):
        raise DatasetError(
            f"{path} has the columns {', '.join(map(str, frame.columns))}; exactly one each for user, item and rating "
            "is expected, such as user_id, item_id, rating"
        )
    return [candidates[0] for candidates in found]


def _ids(column: pd.Series, path: Path) -> NDArray[Any]:
    if column.isna().any():
        row = int(np.argmax(column.isna().to_numpy()))
        raise DatasetError(f"{path}, row {row + 1}: column {column.name} is empty")
    return column.to_numpy()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
