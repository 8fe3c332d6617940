"""Cutting a stream of text into blocks of whole lines that know their line numbers.

Encodings and line ends are dealt with here, so that the parser sees UTF-8 only. What the lines
contain is none of this module's business.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.datasets.errors import DatasetError

from .formats import packed_table
from .options import Source

BLOCK_BYTES = 16 << 20  # about a million rows of the usual kind; no line may be longer
SAMPLE_BYTES = 1 << 16  # the layout of a file is recognised from this many

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, which it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Block(NamedTuple):
    """Whole lines of a file, in UTF-8."""

    data: bytes
    first_line: int  # counted from 1

    def line_at(self, offset: int) -> int:
        """Return the number, in the file, of the line that contains a byte."""
        return self.first_line + n_line_ends(self.data[:offset])


def blocks(read: Callable[[int], bytes], encoding: str | None, source: Source) -> Iterator[Block]:
    """Yield a stream in blocks that end where a line ends, outside quotes if possible.

    Parameters
    ----------
    read
        Returns at most the given number of bytes, and none at the end of the stream.
    encoding
        None: UTF-8, or what the byte order mark indicates.
    source
        For errors.

    Raises
    ------
    DatasetError
        For bytes that are invalid in the encoding, with their line, and for a line longer than
        a block.
    """
    carry, line = b"", 1  # the beginning of a line whose end was not read yet, and its number
    chunks = _utf8_chunks(read, encoding, source)
    chunk = next(chunks, b"")
    while chunk:
        following = next(chunks, b"")
        data = carry + chunk
        end = _last_record_end(data) if following else len(data)
        if len(data) > BLOCK_BYTES and not n_line_ends(data[:end]):
            raise DatasetError(
                f"{source}, line {line} is longer than {BLOCK_BYTES:,} bytes: "
                f"{shortened(data[:200])}. Expected one rating per line"
            )
        data, carry = data[:end], data[end:]
        if data:
            yield _checked(Block(data, line), source)
            line += n_line_ends(data)
        chunk = following


def n_line_ends(data: bytes) -> int:
    r"""Return the number of line ends: \n, \r\n, or the single \r of old Mac files."""
    if b"\r" not in data:
        # Eight times as fast as `bytes.count`, which searches for one after the other.
        return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def shortened(text: bytes) -> str:
    """Return the beginning of a line, quoted, for an error."""
    line = text.decode("utf-8", "replace")
    return repr(line if len(line) <= 80 else line[:80] + "...")


def record_spans(data: bytes, quotes: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the records that are not empty start and end.

    A record ends where a line ends; with ``quotes``, not at line ends inside quotes.

    Returns
    -------
    starts, ends
        Offsets into ``data``, shape (n_records,); the ends exclude the line end.
    """
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero((codes == ord("\n")) | (codes == ord("\r")))
    if quotes and b'"' in data:
        ends = ends[_are_outside_quotes(codes, ends)]
    starts, stops = np.append(0, ends + 1), np.append(ends, len(data))
    filled = stops > starts  # which also drops the empty record between \r and \n
    return starts[filled], stops[filled]


def _last_record_end(data: bytes) -> int:
    r"""Return the number of bytes up to and with the last \n outside quotes.

    If every \n is inside quotes, the last one counts: a quote was opened by mistake, or a field is
    longer than what was read.
    """
    end = data.rfind(b"\n") + 1
    if not end:  # lines may end in \r alone
        return data.rfind(b"\r") + 1
    if b'"' not in data:
        return end
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    outside = ends[_are_outside_quotes(codes, ends)]
    return int(outside[-1]) + 1 if len(outside) else end


def _are_outside_quotes(codes: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the offsets ``ends`` have an even number of quotes before them."""
    # A doubled quote inside quotes closes and opens again, so it needs no special case.
    quotes = np.flatnonzero(codes == ord('"'))
    outside: NDArray[np.bool_] = np.searchsorted(quotes, ends) % 2 == 0
    return outside


def _utf8_chunks(
    read: Callable[[int], bytes], encoding: str | None, source: Source
) -> Iterator[bytes]:
    """Yield a stream piece by piece, as UTF-8 without byte order mark."""
    start = read(BLOCK_BYTES)
    if encoding is None:
        encoding = _marked_encoding(start) or "utf-8"
    elif start.startswith(codecs.BOM_UTF8) and codecs.lookup(encoding).name[:5] != "utf-8":
        raise DatasetError(
            f"{source} begins with the byte order mark of UTF-8, so it is not in {encoding}. "
            + source.advice("Leave the encoding out, or {}", encoding="utf-8")
        )
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        # Passed on undecoded, for speed; `_checked` validates each block.
        while start.startswith(codecs.BOM_UTF8):
            start = start.removeprefix(codecs.BOM_UTF8)
        while start:
            yield start
            start = read(BLOCK_BYTES)
        return
    # Incremental, because a chunk may end inside a character.
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        text = decoder.decode(start).lstrip("\ufeff")  # left if the encoding was stated
        while start:
            yield text.encode()
            start = read(BLOCK_BYTES)
            text = decoder.decode(start)
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise DatasetError(
            f"{source} is not encoded as {encoding}: {error}. "
            + source.advice("If it is in another encoding, {}", encoding="utf-8")
        ) from error


def _marked_encoding(start: bytes) -> str | None:
    """Return the encoding that a byte order mark indicates, or None."""
    for mark, name in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return name
    return None


def _unmarked_utf16(data: bytes) -> str | None:
    """Return the encoding of text in UTF-16 by where its NUL bytes are, or None."""
    start = np.frombuffer(data[:1000], np.uint8)
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        every_other = start[first::2]
        if (
            len(every_other) > 2
            and (every_other == 0).mean() > 0.9
            and (start[1 - first :: 2] > 0).all()
        ):
            return name
    return None


def _checked(block: Block, source: Source) -> Block:
    """Return the block if it is text in UTF-8."""
    if block.first_line == 1 and (found := packed_table(block.data[:512])):
        raise DatasetError(f"{source} is {found[0]}, which is not read. {found[1]}")
    # Binary formats show a NUL byte early; later ones are bad ids, which `ids` reports.
    nul = block.data.find(0, 0, SAMPLE_BYTES) if block.first_line == 1 else -1
    if nul >= 0:
        if guess := _unmarked_utf16(block.data):
            raise DatasetError(
                f"{source} seems to be text in UTF-16 without a byte order mark. "
                + source.advice("If it is, {}", encoding=guess)
            )
        raise DatasetError(
            f"{source} is neither text nor a binary format that can be read: it has a NUL byte in "
            f"line {block.line_at(nul)}. Save the ratings as CSV, Parquet, Feather or npz"
        )
    if not block.data.isascii():
        try:
            block.data.decode()
        except UnicodeDecodeError as error:
            start = max(block.data.rfind(b"\n", 0, error.start) + 1, error.start - 40)
            raise DatasetError(
                f"{source}, line {block.line_at(error.start)} is not UTF-8: "
                f"{block.data[start : error.start + 20]!r}. "
                + source.advice("If the file is in Latin-1, {}", encoding="latin-1")
            ) from error
    return block
