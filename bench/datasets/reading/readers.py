"""Reading a user's ratings from a file or a table: the entry point of this package.

A file is recognised by its first bytes; what all formats share is here too. Text is read by `sniff`
and `text`, columns with types by `typed` out of the `containers`; known data sets and their layouts
are in `public`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from bench.datasets.errors import DatasetError
from bench.datasets.raw import RawRatings
from bench.text.wording import plural

from .containers import read_any
from .options import Columns, FileOptions, OnBadRows, Source, Stand
from .tables import columns_of
from .typed import read_table
from .values import check_sentinel

__all__ = ["DatasetError", "from_frame", "read_file", "read_ratings"]


def read_ratings(
    path: str | Path,
    *,
    columns: Columns | None = None,
    separator: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
    missing_rating: float | Literal["none"] | None = None,
    missing_ids: Sequence[str] | None = None,
    on_bad_rows: OnBadRows = "error",
) -> RawRatings:
    r"""Return the ratings in a file, whose format is recognised by its content.

    Formats: text separated by tabs, ``::``, ``;``, ``,``, ``|`` or spaces, with or without a
    header, plain or compressed by gzip, bzip2, xz, zstd or zip (with one member); Parquet; Feather
    and Arrow streams; NumPy's ``.npz`` with arrays named users, items and ratings; a matrix saved
    by ``scipy.sparse.save_npz``.

    Lines at the beginning that start with ``#`` or ``%`` are comments, and the last of them may
    name the columns. RecBole's headers (``user_id:token``) are understood, and so are R's, whose
    first column has no name. Files in doubt are refused: without a header, the columns must look
    like user, item, rating and, if there are four, time.

    Parameters
    ----------
    path
        The file. Its name does not matter.
    columns
        Names or positions (from 0) of the columns of user, item, rating and, if wanted, timestamp.
        By default the columns with known names, such as user_id, movieId or rating; without a
        header, the first three or four columns.
    separator
        What separates the fields of a text. If it is a single byte, fields may be quoted by ``"``.
        A space stands for one or more.
    header
        Whether the first line of a text names the columns.
    encoding
        Of a text; by default UTF-8, or what its byte order mark indicates.
    decimal
        The decimal separator of ratings that are text, "." or ","; in a text file, it is recognised
        by default.
    missing_rating
        A value that means "not rated" (-1 in the anime data); such rows are left out and counted.
        "none" if every number is a rating. By default a least rating of 0 or below that looks like
        such a value is an error.
    missing_ids
        Texts that stand for a missing id unless they are quoted; by default NULL, null, Null, \N,
        NaN, nan, NA, <NA>, N/A, n/a, #N/A and None in a text file, and nothing elsewhere. An empty
        id is always missing.
    on_bad_rows
        What to do with rows that have the wrong number of fields, a rating that is not a finite
        number, or a missing id: ``"error"`` raises an error, ``"drop"`` leaves them out and counts
        them.

    Returns
    -------
    RawRatings
        Ids are integers of 64 bits, or a `pandas.Categorical` of str. They are integers if all of
        the column are integers in their usual spelling, so "007" is not 7; "1.0", as pandas writes
        integers beside missing values, is 1. Spaces around an id are not part of it. `dropped`
        counts the rows left out, by reason.

    Raises
    ------
    DatasetError
        If the file cannot be read. The message contains the file's name and, for a bad row, its
        text and its line, counted from 1 with the header. A compressed file that grows more than a
        hundredfold and beyond 64 MiB is refused.
    """
    options = FileOptions(
        columns, separator, header, encoding, decimal, missing_rating, missing_ids, on_bad_rows
    )
    return read_file(Path(path), options)


def read_file(path: Path, options: FileOptions, stand: Stand = "python") -> RawRatings:
    """Return the ratings in a file; see `read_ratings`.

    Errors advise what works where the user stands: arguments, options of a command, or neither.
    """
    source = Source(str(path), stand)
    options.check(source)
    if not path.is_file():
        if path.is_dir():
            raise DatasetError(f"{path} is a folder; give a file in it")
        raise DatasetError(f"there is no file {path}")
    try:
        raw = read_any(path, options, source)
        pa.default_memory_pool().release_unused()  # what was read before it was joined
    except DatasetError:
        raise
    except Exception as error:  # the libraries raise errors of all kinds on damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise DatasetError(
            f"{path} cannot be read as ratings, it may be damaged: {reason}. "
            "If another program opens it, save it again as CSV"
        ) from error
    return _checked(raw, options, source)


def from_frame(
    frame: Any,
    *,
    columns: Columns | None = None,
    decimal: str | None = None,
    missing_rating: float | Literal["none"] | None = None,
    missing_ids: Sequence[str] | None = None,
    on_bad_rows: OnBadRows = "error",
) -> RawRatings:
    """Return the ratings in a table in memory; for the parameters see `read_ratings`.

    Parameters
    ----------
    frame
        Anything that `backends.to_arrow` takes: a frame of pandas or polars, a table of Arrow, a
        relation of DuckDB, a dict of columns, a list of tuples, a sparse matrix of scipy, ...

    Raises
    ------
    DatasetError
        If a column or a row cannot be used; rows are counted from 1.
    """
    source = Source("the data frame")
    options = FileOptions(
        columns=columns,
        decimal=decimal,
        missing_rating=missing_rating,
        missing_ids=missing_ids,
        on_bad_rows=on_bad_rows,
    )
    options.check(source)
    raw = read_table(*columns_of(frame, columns, source), options, source)
    return _checked(raw, options, source)


def _checked(raw: RawRatings, options: FileOptions, source: Source) -> RawRatings:
    """Return ratings if there are any, and none of them seems to stand for "not rated"."""
    if len(raw.ratings):
        if options.missing_rating is None:
            check_sentinel(raw.ratings, source)
        return raw
    left_out = ", ".join(f"{plural(n, 'row')}: {why}" for why, n in raw.dropped.items())
    if left_out:
        raise DatasetError(f"{source} contains no ratings that can be used. Left out: {left_out}")
    raise DatasetError(f"{source} contains no ratings; expected one per row: user, item, rating")
