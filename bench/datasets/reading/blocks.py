"""Cutting a stream of text into blocks of whole lines that know their line numbers.

Here live encodings and line ends. Not here: what the lines say.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError

BLOCK_BYTES = 16 << 20  # no line may be longer; a block has some million rows of the usual kind
SAMPLE_BYTES = 1 << 16  # of these we find out what the file is

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before that of UTF-16, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Block(NamedTuple):
    """Whole lines of a file in UTF-8."""

    data: bytes
    first_line: int  # counted from 1

    def line_at(self, offset: int) -> int:
        """Return the number of the line that holds a byte."""
        return self.first_line + n_line_ends(self.data[:offset])


def blocks(read: Callable[[int], bytes], encoding: str | None, where: str) -> Iterator[Block]:
    """Cut a stream into blocks at ends of lines; quoted line ends are no ends where it can be helped.

    Raises
    ------
    DatasetError
        For bytes that are not of the encoding, naming line and remedy, and lines longer than a block.
    """
    carry, line = b"", 1
    for chunk in _utf8_chunks(read, encoding, where):
        data = carry + chunk
        end = _last_record_end(data)
        if end == 0 and len(data) > BLOCK_BYTES:
            raise DatasetError(f"{where}, line {line} is longer than {BLOCK_BYTES:,} bytes: {shortened(data[:200])}")
        data, carry = data[:end], data[end:]
        if data:
            yield _checked(Block(data, line), where)
            line += n_line_ends(data)
    if carry:
        yield _checked(Block(carry, line), where)


def n_line_ends(data: bytes) -> int:
    r"""Count line ends: \n, \r\n and the \r of old."""
    if b"\r" not in data:
        return data.count(b"\n")
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def shortened(text: bytes) -> str:
    """Return a line for an error."""
    line = text.decode("utf-8", "replace")
    return repr(line if len(line) <= 80 else line[:80] + "...")


def record_spans(data: bytes, quotes: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the records begin and end that are not empty; line ends inside quotes end none."""
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero((codes == ord("\n")) | (codes == ord("\r")))
    if quotes and b'"' in data:
        ends = ends[np.searchsorted(np.flatnonzero(codes == ord('"')), ends) % 2 == 0]
    starts, stops = np.append(0, ends + 1), np.append(ends, len(data))
    filled = stops > starts
    return starts[filled], stops[filled]


def _last_record_end(data: bytes) -> int:
    """Return the number of bytes up to the last line end outside quotes; where there is none, up to the last at all."""
    end = data.rfind(b"\n") + 1
    if b'"' not in data:
        return end
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    outside = ends[np.searchsorted(np.flatnonzero(codes == ord('"')), ends) % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else end


def _utf8_chunks(read: Callable[[int], bytes], encoding: str | None, where: str) -> Iterator[bytes]:
    """Read a stream piece by piece, as UTF-8 without byte order mark."""
    start = read(BLOCK_BYTES)
    if encoding is None:
        encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), "utf-8")
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        start = start.removeprefix(codecs.BOM_UTF8)
        while start:
            yield start
            start = read(BLOCK_BYTES)
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while start:
            yield decoder.decode(start).encode()
            start = read(BLOCK_BYTES)
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise DatasetError(f"{where} is not encoded as {encoding}: {error}; give another encoding=") from error


def _checked(block: Block, where: str) -> Block:
    nul = block.data.find(0, 0, SAMPLE_BYTES) if block.first_line == 1 else -1
    if nul >= 0:
        raise DatasetError(f"{where} holds binary data, not text that we know: a NUL byte in line {block.line_at(nul)}")
    if not block.data.isascii():
        try:
            block.data.decode()
        except UnicodeDecodeError as error:
            start = max(block.data.rfind(b"\n", 0, error.start) + 1, error.start - 40)
            raise DatasetError(
                f"{where}, line {block.line_at(error.start)} is not UTF-8: {block.data[start : error.start + 20]!r}. "
                "If the file is in Latin-1, read it with encoding='latin-1'"
            ) from error
    return block
