"""Reading a user's ratings from a file of any known format: the entry point of this package.

A file is recognised by its first bytes; what all formats share is here too. Text is read by `sniff`
and `text`, columns with types by `typed`; known data sets and their layouts are in `public`.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from bench.datasets.errors import DatasetError
from bench.datasets.raw import RawRatings
from bench.text.wording import plural

from .columns import Columns, RowPolicy
from .sniff import TextOptions
from .text import read_text
from .typed import read_feather, read_frame, read_npz, read_parquet

__all__ = ["DatasetError", "from_frame", "read_ratings"]

OnBadRows = Literal["error", "drop"]

# How far a compressed file may grow, as a multiple of its size and in bytes; the larger of the two
# counts. Files of ratings are compressed 3 to 20 times.
MOST_GROWTH = 100
ALWAYS_ALLOWED = 64 << 20

_TABLES = {b"PAR1": read_parquet, b"ARROW1": read_feather}
_PACKED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pa.input_stream(str(path), compression="zstd"),
}
_ZIP = b"PK\x03\x04"


def read_ratings(
    path: str | Path,
    *,
    columns: Columns | None = None,
    separator: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
    missing_rating: float | None = None,
    on_bad_rows: OnBadRows = "error",
) -> RawRatings:
    """Return the ratings in a file, whose format is recognised by its content.

    Formats: text separated by tabs, ``::``, ``;``, ``,``, ``|`` or spaces, with or without a
    header, plain or compressed by gzip, bzip2, xz, zstd or zip (with one member); Parquet; Feather;
    NumPy's ``.npz`` with arrays named users, items and ratings; a matrix saved by
    ``scipy.sparse.save_npz``.

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
    header
        Whether the first line of a text names the columns.
    encoding
        Of a text; by default UTF-8, or what its byte order mark indicates.
    missing_rating
        A value that means "not rated" (-1 in the anime data); such rows are left out and counted.
    on_bad_rows
        What to do with rows that have the wrong number of fields, a rating that is not a finite
        number, or an empty id: ``"error"`` raises an error, ``"drop"`` leaves them out and counts
        them.

    Returns
    -------
    RawRatings
        Ids are integers of 64 bits or str. Those of a text are integers if all are integers in
        their usual spelling, so "007" is not 7. `dropped` counts the rows left out, by reason.

    Raises
    ------
    DatasetError
        If the file cannot be read. The message contains the file's name and, for a bad row, its
        text and its line, counted from 1 with the header. A compressed file that grows more than a
        hundredfold and beyond 64 MiB is refused.
    """
    path, policy = Path(path), _policy(on_bad_rows, missing_rating)
    if not path.is_file():
        if path.is_dir():
            raise DatasetError(f"{path} is a folder; give a file in it")
        raise DatasetError(f"there is no file {path}")
    options = _checked(TextOptions(columns, separator, header, encoding))
    try:
        raw = _read(path, options, policy)
    except DatasetError:
        raise
    except Exception as error:  # the libraries raise errors of all kinds on damaged files
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise DatasetError(
            f"{path} cannot be read as ratings, it may be damaged: {reason}. "
            "If another program opens it, save it again as CSV"
        ) from error
    return _not_empty(raw, str(path))


def from_frame(
    frame: pd.DataFrame,
    *,
    columns: Columns | None = None,
    missing_rating: float | None = None,
    on_bad_rows: OnBadRows = "error",
) -> RawRatings:
    """Return the ratings in a data frame; for the parameters see `read_ratings`.

    Raises
    ------
    DatasetError
        If a column or a row cannot be used; rows are counted from 1.
    """
    where = "the data frame"
    return _not_empty(
        read_frame(frame, columns, _policy(on_bad_rows, missing_rating), where), where
    )


def _read(path: Path, options: TextOptions, policy: RowPolicy) -> RawRatings:
    with path.open("rb") as file:
        start = file.read(8)
    grown = _growth_limit(path)
    for magic, read in _TABLES.items():
        if start.startswith(magic):
            return read(path, options.columns, grown, policy)
    if start.startswith(_ZIP):
        return _read_zip(path, options, policy, grown)
    for magic, unpack in _PACKED.items():
        if start.startswith(magic):
            with unpack(path) as stream:
                return read_text(_limited(stream.read, grown), options, policy, str(path))
    with path.open("rb") as file:
        return read_text(file.read, options, policy, str(path))


def _read_zip(
    path: Path, options: TextOptions, policy: RowPolicy, grown: Callable[[int], None]
) -> RawRatings:
    """Read a zip file, which is either NumPy's npz or the archive of one text."""
    with zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]
        if members and all(member.filename.endswith(".npy") for member in members):
            return read_npz(path, options.columns, grown, policy)
        if len(members) != 1:
            names = ", ".join(member.filename[:40] for member in members[:10])
            raise DatasetError(
                f"{path} contains {plural(len(members), 'file')} ({names}), but one is expected: "
                "pack only the file of ratings"
            )
        with archive.open(members[0]) as stream:
            return read_text(_limited(stream.read, grown), options, policy, str(path))


def _growth_limit(path: Path) -> Callable[[int], None]:
    """Return a function that raises an error for more bytes than this file may decompress to."""
    packed = path.stat().st_size
    limit = max(ALWAYS_ALLOWED, MOST_GROWTH * packed)

    def check(n_bytes: int) -> None:
        if n_bytes > limit:
            raise DatasetError(
                f"{path} has {packed:,} bytes and decompresses to more than {limit:,}, as a "
                "decompression bomb does. If you trust it, decompress it yourself"
            )

    return check


def _limited(read: Callable[[int], bytes], grown: Callable[[int], None]) -> Callable[[int], bytes]:
    """Return ``read`` with ``grown`` called on the total number of bytes after each chunk."""
    total = 0

    def limited(n: int) -> bytes:
        nonlocal total
        chunk = read(n)
        total += len(chunk)
        grown(total)
        return chunk

    return limited


def _not_empty(raw: RawRatings, where: str) -> RawRatings:
    if len(raw.ratings):
        return raw
    left_out = ", ".join(f"{plural(n, 'row')}: {why}" for why, n in raw.dropped.items())
    if left_out:
        raise DatasetError(f"{where} contains no ratings that can be used. Left out: {left_out}")
    raise DatasetError(f"{where} contains no ratings; expected one per row: user, item, rating")


def _policy(on_bad_rows: str, missing_rating: float | None) -> RowPolicy:
    if on_bad_rows not in ("error", "drop"):
        raise DatasetError(f'on_bad_rows must be "error" or "drop", got {on_bad_rows!r}')
    if not isinstance(missing_rating, Real | None):
        raise DatasetError(
            f"missing_rating must be a number, such as -1, or None, got {missing_rating!r}"
        )
    return RowPolicy(on_bad_rows == "drop", missing_rating)


def _checked(options: TextOptions) -> TextOptions:
    separator, encoding = options.separator, options.encoding
    if separator is not None and not _can_separate(separator):
        raise DatasetError(
            f"separator={separator!r} must be one or more characters, but neither quotes nor line "
            "ends"
        )
    if not isinstance(options.header, bool | None):
        raise DatasetError(
            f"header must be True, False or None (to recognise it), got {options.header!r}"
        )
    try:
        if encoding is not None:
            "".encode(encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise DatasetError(
            f"encoding={encoding!r} is not an encoding that Python knows, such as 'latin-1'"
        ) from error
    return options


def _can_separate(separator: object) -> bool:
    return isinstance(separator, str) and separator != "" and not set(separator) & set('\r\n"\0')
