"""Files as containers: which format, what it may decompress to, and the columns inside.

Sizes that a file claims are checked before anything is decompressed.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from bench.datasets.errors import DatasetError
from bench.datasets.raw import RawRatings
from bench.text.wording import plural

from .columns import choose_columns
from .ipc_sizes import claimed_bytes, is_complete_stream
from .npz import read_arrays
from .options import FileOptions, Source
from .tables import columns_of
from .text import read_text
from .typed import bytes_of, check_types, read_table

# How far a compressed file may grow, as a multiple of its size and in bytes; the larger of the two
# counts. Files of ratings are compressed 3 to 20 times.
MOST_GROWTH = 100
ALWAYS_ALLOWED = 64 << 20

Grown = Callable[[int], None]  # raises an error for more bytes than a file of this size may give

_PACKED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": lambda path: pa.input_stream(str(path), compression="zstd"),
}
_ZIP = b"PK\x03\x04"
_STREAM = b"\xff\xff\xff\xff"
_EXCEL = ("xl/workbook.xml", "content.xml")  # of Excel and of LibreOffice


def read_any(path: Path, options: FileOptions, source: Source) -> RawRatings:
    """Return the ratings in a file of any format.

    Raises
    ------
    DatasetError
        If it contains no ratings, and any other error of a library if it is damaged.
    """
    with path.open("rb") as file:
        start = file.read(8)
    grown = _growth_limit(path)
    tables = {b"PAR1": _read_parquet, b"ARROW1": _read_feather, _STREAM: _read_stream}
    for magic, read in tables.items():
        if start.startswith(magic):
            return read(path, options, grown, source)
    if start.startswith(_ZIP):
        return _read_zip(path, options, grown, source)
    for magic, unpack in _PACKED.items():
        if start.startswith(magic):
            with unpack(path) as stream:
                return read_text(_limited(stream.read, grown), options, source)
    with path.open("rb") as file:
        return read_text(file.read, options, source)


def _read_parquet(path: Path, options: FileOptions, grown: Grown, source: Source) -> RawRatings:
    with pyarrow.parquet.ParquetFile(path) as file:
        schema, sizes = file.schema_arrow, file.metadata
    names = list(schema.names)
    chosen = [names[n] for n in choose_columns(names, True, options.columns, source)]
    _check_unique(names, chosen, source)
    check_types([schema.field(names.index(name)) for name in chosen], source)
    # Before anything is decompressed: 8 bytes a value are what ids and ratings take at least.
    kinds = [schema.field(names.index(name)).type for name in chosen]
    widths = [kind.byte_width if pa.types.is_fixed_size_binary(kind) else 8 for kind in kinds]
    grown(sum(widths) * sizes.num_rows)
    for group in range(sizes.num_row_groups):
        row_group = sizes.row_group(group)
        columns = map(row_group.column, range(row_group.num_columns))
        wanted = [column for column in columns if column.path_in_schema in chosen]
        grown(sum(column.total_uncompressed_size for column in wanted))
    # Texts stay in their dictionaries: a long one that is repeated is in memory once.
    texts = [name for name in chosen if _is_text(schema.field(names.index(name)).type)]
    try:
        batches = _batches(path, chosen, texts, grown)
    except OSError as error:
        if "Not yet implemented" not in str(error):
            raise
        # Some encodings of texts are not read as dictionaries.
        batches = _batches(path, chosen, [], grown)
    return _read_batches(batches, chosen, options, source)


def _batches(path: Path, columns: list[str], texts: list[str], grown: Grown) -> list[Any]:
    """Return the record batches of a Parquet file.

    The file keeps what it has read, so it is opened here and freed at the end.
    """
    batches, n_bytes = [], 0
    with pyarrow.parquet.ParquetFile(
        path, read_dictionary=texts, page_checksum_verification=True
    ) as file:
        for batch in file.iter_batches(1 << 20, columns=columns):
            batch.validate(full=True)  # in a damaged file, codes may lie outside their dictionary
            n_bytes += batch.nbytes
            grown(n_bytes)
            batches.append(batch)
    return batches


def _read_feather(path: Path, options: FileOptions, grown: Grown, source: Source) -> RawRatings:
    grown(sum(claimed_bytes(path)))
    with pa.OSFile(str(path)) as file, pyarrow.ipc.open_file(file) as reader:
        batches = map(reader.get_batch, range(reader.num_record_batches))
        return _read_arrow(reader.schema, batches, options, grown, source)


def _read_stream(path: Path, options: FileOptions, grown: Grown, source: Source) -> RawRatings:
    if not is_complete_stream(path):
        raise DatasetError(f"{source} is damaged: its end is missing. Save it again")
    grown(sum(claimed_bytes(path)))
    with pa.OSFile(str(path)) as file, pyarrow.ipc.open_stream(file) as reader:
        return _read_arrow(reader.schema, reader, options, grown, source)


def _read_arrow(
    schema: Any, batches: Iterable[Any], options: FileOptions, grown: Grown, source: Source
) -> RawRatings:
    names = list(schema.names)
    positions = list(choose_columns(names, True, options.columns, source))
    check_types([schema.field(n) for n in positions], source)
    kept, n_bytes = [], 0
    for batch in batches:
        # In a damaged file, offsets of strings may point outside the memory of the batch.
        batch.validate(full=True)
        wanted = batch.select(positions)
        n_bytes += sum(bytes_of(column) for column in wanted.columns)
        grown(n_bytes)
        kept.append(wanted)
    return _read_batches(kept, [names[n] for n in positions], options, source)


def _read_batches(
    batches: list[Any], names: list[str], options: FileOptions, source: Source
) -> RawRatings:
    """Return the ratings in the columns of record batches, and empty the list."""
    if not batches:
        raise DatasetError(f"{source} contains no ratings; expected one per row")
    columns = [[batch.column(n) for batch in batches] for n in range(len(names))]
    batches.clear()
    joined = []
    for chunks in columns:
        column = pa.chunked_array(chunks)
        chunks.clear()
        # Joined one by one, so that only one column is in memory twice.
        kind = column.type
        is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
        joined.append(column.combine_chunks() if is_number else column)
        del column
    return read_table(joined, names, options, source)


def _read_zip(path: Path, options: FileOptions, grown: Grown, source: Source) -> RawRatings:
    """Read a zip file, which is either NumPy's npz or the archive of one text."""
    with zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX/")
        ]
        names = [member.filename for member in members]
        if members and all(name.endswith(".npy") for name in names):
            arrays = read_arrays(path, options.columns, grown, source)
            columns = columns_of(arrays, range(len(arrays)), source)
            return read_table(*columns, options, source)
        if any(name in names for name in _EXCEL):
            raise DatasetError(f"{source} is a spreadsheet, which is not read. Save it as CSV")
        if len(members) != 1:
            shown = ", ".join(name[:40] for name in names[:10])
            raise DatasetError(
                f"{source} contains {plural(len(members), 'file')} ({shown}), but one is expected: "
                "pack only the file of ratings"
            )
        with archive.open(members[0]) as stream:
            return read_text(_limited(stream.read, grown), options, source)


def _growth_limit(path: Path) -> Grown:
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


def _limited(read: Callable[[int], bytes], grown: Grown) -> Callable[[int], bytes]:
    """Return ``read`` with ``grown`` called on the total number of bytes after each chunk."""
    total = 0

    def limited(n: int) -> bytes:
        nonlocal total
        chunk = read(n)
        total += len(chunk)
        grown(total)
        return chunk

    return limited


def _check_unique(names: list[str], chosen: list[str], source: Source) -> None:
    for name in chosen:
        n = names.count(name)
        if n != 1:
            raise DatasetError(f"{source} has {n} columns named {name}; rename all but one")


def _is_text(kind: Any) -> bool:
    return str(kind) in ("string", "large_string", "binary", "large_binary")
