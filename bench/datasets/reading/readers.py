"""Reading a user's ratings, whatever they are stored in: the one entrance to the modules that do it.

Here live the recognition of a file by its first bytes and what all formats share. Not here: text (`sniff`, `text`),
typed columns (`typed`), known data sets and their layouts.
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

from .columns import Columns, RowPolicy
from .sniff import TextOptions
from .text import read_text
from .typed import read_feather, read_frame, read_npz, read_parquet

__all__ = ["DatasetError", "from_frame", "read_ratings"]

OnBadRows = Literal["error", "drop"]

# A packed file may grow to so many times its size, or to this many bytes; ratings shrink 3 to 20 times.
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
    """Read ratings from a file, whose format is recognised by its content.

    Text separated by tabs, ``::``, ``;``, ``,``, ``|`` or spaces, with or without a header, plain or packed by gzip,
    bzip2, xz, zstd or zip (of one member); Parquet; Feather; NumPy's ``.npz`` with arrays named users, items and
    ratings; a matrix saved by ``scipy.sparse.save_npz``.

    Parameters
    ----------
    columns
        Names or positions (from 0) of the columns of user, item, rating and, if wanted, timestamp. By default they are
        known names such as user_id, movieId, rating; without a header, the first three or four columns.
    separator
        What stands between the fields of a text. Fields may be quoted by ``"`` where it is a single byte.
    header
        Whether the first line of a text names the columns.
    encoding
        Of a text: UTF-8, or as its byte order mark says, by default.
    missing_rating
        A value that stands for "not rated" (-1 in the anime data); such rows are left out and counted.
    on_bad_rows
        What to do with rows that have the wrong number of fields, a rating that is not a finite number, or an empty
        id: ``"error"``, or ``"drop"`` them and count them.

    Returns
    -------
    RawRatings
        Ids as integers of 64 bits or as str: those of a text are integers where each is written as an integer is
        ("007" is not 7). `dropped` counts the rows left out, by reason.

    Raises
    ------
    DatasetError
        For whatever keeps the file from being read; names the file, and the line (from 1, a header counts) and its
        content where there is one. A packed file that grows more than a hundredfold, beyond 64 MiB, is refused.
    """
    path, policy = Path(path), _policy(on_bad_rows, missing_rating)
    if not path.is_file():
        raise DatasetError(f"{path} is a folder; name a file in it" if path.is_dir() else f"there is no file {path}")
    options = _checked(TextOptions(columns, separator, header, encoding))
    try:
        raw = _read(path, options, policy)
    except DatasetError:
        raise
    except Exception as error:  # other people's parsers raise whatever they like on damaged files; it stays attached
        told = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise DatasetError(f"{path} cannot be read as ratings, it may be damaged: {told}") from error
    return _some(raw, str(path))


def from_frame(
    frame: pd.DataFrame,
    *,
    columns: Columns | None = None,
    missing_rating: float | None = None,
    on_bad_rows: OnBadRows = "error",
) -> RawRatings:
    """Take ratings from a data frame; see `read_ratings`.

    Raises
    ------
    DatasetError
        For columns or rows that cannot be used; rows are counted from 1.
    """
    where = "the data frame"
    return _some(read_frame(frame, columns, _policy(on_bad_rows, missing_rating), where), where)


def _read(path: Path, options: TextOptions, policy: RowPolicy) -> RawRatings:
    with path.open("rb") as file:
        start = file.read(8)
    grown = _growth_limit(path)
    for magic, read in _TABLES.items():
        if start.startswith(magic):
            return read(path, options.columns, grown, policy)
    if start.startswith(_ZIP):
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX/")]
            if members and all(member.filename.endswith(".npy") for member in members):
                return read_npz(path, options.columns, grown, policy)
            if len(members) != 1:
                names = ", ".join(member.filename[:40] for member in members[:10])
                raise DatasetError(f"{path} holds {len(members)} files ({names}); pack the ratings alone")
            with archive.open(members[0]) as stream:
                return read_text(_limited(stream.read, grown), options, policy, str(path))
    for magic, unpack in _PACKED.items():
        if start.startswith(magic):
            with unpack(path) as stream:
                return read_text(_limited(stream.read, grown), options, policy, str(path))
    with path.open("rb") as file:
        return read_text(file.read, options, policy, str(path))


def _growth_limit(path: Path) -> Callable[[int], None]:
    """Return a function that raises an error when so many bytes are too many to have come from this file."""
    packed = path.stat().st_size
    limit = max(ALWAYS_ALLOWED, MOST_GROWTH * packed)

    def check(n_bytes: int) -> None:
        if n_bytes > limit:
            raise DatasetError(
                f"{path} has {packed:,} bytes and grows to more than {limit:,}, as decompression bombs do; "
                "if you trust it, decompress it yourself"
            )

    return check


def _limited(read: Callable[[int], bytes], grown: Callable[[int], None]) -> Callable[[int], bytes]:
    total = 0

    def limited(n: int) -> bytes:
        nonlocal total
        chunk = read(n)
        total += len(chunk)
        grown(total)
        return chunk

    return limited


def _some(raw: RawRatings, where: str) -> RawRatings:
    if not len(raw.ratings):
        raise DatasetError(f"{where} holds no ratings" + (f"; left out: {dict(raw.dropped)}" if raw.dropped else ""))
    return raw


def _policy(on_bad_rows: str, missing_rating: float | None) -> RowPolicy:
    if on_bad_rows not in ("error", "drop"):
        raise DatasetError(f'on_bad_rows must be "error" or "drop", got {on_bad_rows!r}')
    if not isinstance(missing_rating, Real | None):
        raise DatasetError(f"missing_rating must be a number, such as -1, or None, got {missing_rating!r}")
    return RowPolicy(on_bad_rows == "drop", missing_rating)


def _checked(options: TextOptions) -> TextOptions:
    separator, encoding = options.separator, options.encoding
    if separator is not None and (not isinstance(separator, str) or not separator or set(separator) & set('\r\n"\0')):
        raise DatasetError(f"separator={separator!r} must be one or more characters, no quotes or line ends among them")
    if not isinstance(options.header, bool | None):
        raise DatasetError(f"header must be True, False or None (to find out), got {options.header!r}")
    try:
        if encoding is not None:
            "".encode(encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise DatasetError(f"encoding={encoding!r} is not one that Python knows, such as 'latin-1'") from error
    return options
