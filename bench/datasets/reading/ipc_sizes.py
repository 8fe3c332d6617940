"""What an Arrow file says of its batches: how many there are, and what they decompress to.

pyarrow does not tell, so the messages' metadata are read here: flatbuffers, as described in the
Arrow columnar format (https://arrow.apache.org/docs/format/Columnar.html, "Encapsulated message
format" and "Compression"). In a compressed body, each buffer begins with its uncompressed size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc

_MAGIC = b"ARROW1\0\0"  # of the file format; after it come the messages of the stream format
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream
_DICTIONARY, _RECORDS = 2, 3  # types of messages with a body
_HEADER_TYPE, _HEADER = 1, 2  # fields of a message
_BUFFERS, _COMPRESSION = 2, 3  # fields of a record batch
_DATA = 1  # field of a dictionary batch: its record batch


def claimed_bytes(path: Path) -> Iterator[int]:
    """Yield the number of bytes of each batch's body after decompression.

    A file that has its stream at another place than Arrow writes it yields nothing.
    """
    with pa.OSFile(str(path)) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            file.seek(0)
        try:
            for message in pa.ipc.MessageReader.open_stream(file):
                yield _uncompressed(message)
        except (OSError, struct.error, pa.ArrowException):
            return  # the reader says what is wrong


def is_complete_stream(path: Path) -> bool:
    """Return whether a stream has its end: cut off between two batches, it has none."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - len(_END), 0))
        return file.read() == _END


def _uncompressed(message: Any) -> int:
    data, body = memoryview(message.metadata), memoryview(message.body or b"")
    (root,) = struct.unpack_from("<I", data)
    kind = _field(data, root, _HEADER_TYPE)
    header = _field(data, root, _HEADER)
    if kind is None or header is None or data[kind] not in (_DICTIONARY, _RECORDS):
        return len(body)
    batch = _pointed(data, header)
    if data[kind] == _DICTIONARY:
        inner = _field(data, batch, _DATA)
        if inner is None:
            return len(body)
        batch = _pointed(data, inner)
    buffers = _field(data, batch, _BUFFERS)
    if buffers is None or _field(data, batch, _COMPRESSION) is None:
        return len(body)
    start = _pointed(data, buffers)
    (n_buffers,) = struct.unpack_from("<I", data, start)
    total = 0
    for n in range(n_buffers):
        offset, length = struct.unpack_from("<qq", data, start + 4 + 16 * n)
        if length:
            (size,) = struct.unpack_from("<q", body, offset)
            total += max(size, length)  # -1: this buffer is not compressed
    return total


def _field(data: memoryview, table: int, n: int) -> int | None:
    """Return the position of a table's n-th field, None if it has its default value."""
    (to_vtable,) = struct.unpack_from("<i", data, table)
    vtable = table - to_vtable
    (size,) = struct.unpack_from("<H", data, vtable)
    if 4 + 2 * n >= size:
        return None
    (offset,) = struct.unpack_from("<H", data, vtable + 4 + 2 * n)
    return table + offset if offset else None


def _pointed(data: memoryview, position: int) -> int:
    """Return where a table or a vector is whose offset is at a position."""
    (offset,) = struct.unpack_from("<I", data, position)
    return int(position + offset)
