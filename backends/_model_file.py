"""The archive of a saved model, of which nothing is believed before it is checked.

What lives here: writing and reading the members of an .npz file, each against the size, the type
and the shape that it must have, before memory is taken for it. What does not: what the members mean
(`FactorModel`).
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeGuard, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ._files import written_whole
from ._ids import IntegerIds, RowLabels, TextIds, distinct_ids

FORMAT, VERSIONS = "factorbench model", (1, 2)

_PARAMETERS = ("user_bias", "item_bias", "user_factors", "item_factors")
_IDS = ("user_ids", "item_ids")
_KNOWN = {"header", *_PARAMETERS, "seen_offsets", "seen_items", "item_counts", *_IDS}
_KNOWN |= {f"{name}_{part}" for name in _IDS for part in ("offsets", "bytes")}
# `save` does not compress. A file whose content is so many times its size is refused, except that
# so many bytes are always allowed.
_MOST_GROWTH = 100
_ALWAYS_ALLOWED = 64 << 20
_HEADER_BYTES = 4 << 20  # four bytes per character
_PIECE = 1 << 20
_SPOOLED = 64 << 20  # bytes of a file for an open one that are held in memory
_ALIGNED = 64  # bytes; arrays begin at multiples of it, so that a file can be mapped into memory
_PADDING = 0xD935  # the field of a zip member's header that is there for alignment
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip member: lengths of its name and its fields


class OtherVersion(Exception):
    """The file is of a version that this release does not read; the version is the argument."""


class Archive:
    """The members of a saved model's file; `opened` opens it.

    Attributes
    ----------
    header
        What the model's JSON says.
    version
        The version of the format, one of `VERSIONS`.
    """

    def __init__(self, file: IO[bytes], *, mapped: bool = False) -> None:
        size = file.seek(0, os.SEEK_END)
        self._file, self._mapped = file, mapped
        self._zip = zipfile.ZipFile(file)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in self._zip.infolist():
            name = member.filename.removesuffix(".npy")
            if name in self._members:
                raise ValueError(f"it has the member {name!r} twice")
            self._members[name] = member
        self.header = self._header()
        self.version = int(self.header["version"])
        if self.version not in VERSIONS:
            raise OtherVersion(self.header["version"])
        unknown = sorted(self._members.keys() - _KNOWN)
        if unknown:
            raise ValueError(f"it has a member that no model has, {unknown[0]!r}")
        claimed = sum(member.file_size for member in self._members.values())
        if claimed > max(_ALWAYS_ALLOWED, _MOST_GROWTH * size):
            raise ValueError(f"its {size:,} bytes claim to hold {claimed:,}")

    def _header(self) -> dict[str, Any]:
        """Return the header, which must be small."""
        if self._members["header"].file_size > _HEADER_BYTES:
            raise ValueError("its header is too long")
        header = json.loads(str(self.array("header", "U", ())))
        if not isinstance(header, dict) or header["format"] != FORMAT:
            raise ValueError("it has another format")
        return header

    def has(self, name: str) -> bool:
        """Return whether there is such a member."""
        return name in self._members

    def array(self, name: str, kinds: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """Return a member as an array.

        Parameters
        ----------
        name
            Its name.
        kinds
            The kinds of NumPy types that it may have; floats are float32 or float64.
        shape
            Its shape; None for a length that is not known yet.

        Raises
        ------
        ValueError
            If its type, its shape or its size is another; nothing is read then.
        """
        if name not in self._members:
            raise ValueError(f"it has no member {name!r}")
        member = self._members[name]
        with self._zip.open(member) as stream:
            found, is_fortran, dtype = _npy_header(stream)
            fits = len(found) == len(shape)
            fits = fits and all(b is None or a == b for a, b in zip(found, shape, strict=True))
            if not fits:
                raise ValueError(
                    "its arrays do not fit each other: "
                    f"{name} has shape {found}, expected {shape}".replace("None", "n")
                )
            if dtype.kind not in kinds or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
                raise ValueError(f"{name} is of type {dtype}")
            n_bytes = dtype.itemsize
            for length in found:
                n_bytes *= length
            if n_bytes != member.file_size - stream.tell():
                raise ValueError(f"{name} has another size than it says")
            shape_in_file = found[::-1] if is_fortran else found
            if self._mapped and n_bytes and member.compress_type == zipfile.ZIP_STORED:
                array = self._map(member, stream.tell(), dtype, shape_in_file)
            else:
                array = np.empty(shape_in_file, dtype)
                if n_bytes:
                    _fill(array, n_bytes, stream)
        array = array.T if is_fortran else array
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _map(
        self, member: zipfile.ZipInfo, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Return a member's content, from byte ``start`` on, mapped into memory, read-only."""
        self._file.seek(member.header_offset)
        name, fields = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        offset = member.header_offset + _LOCAL_HEADER.size + name + fields + start
        mapped = np.memmap(self._file.name, dtype, "r", offset, shape)
        # As a plain array: the subclass would slow down every small operation.
        array: NDArray[Any] = mapped.view(np.ndarray)
        return array if array.flags.aligned else array.copy()

    def ids(self, name: str, kind: str | None, n: int) -> RowLabels:
        """Return ``n`` distinct ids of a kind, "integer" or "text"; None for either, in version 1.

        Raises
        ------
        ValueError
            If they are not distinct, not UTF-8, or not as many.
        """
        if kind is None:
            labels = distinct_ids(self.array(name, "iuU", (n,)), name)
        elif kind == "integer":
            labels = distinct_ids(self.array(name, "iu", (n,)), name)
        elif kind == "text":
            offsets = self.array(f"{name}_offsets", "i", (n + 1,)).astype(np.int64, copy=False)
            labels = TextIds.of_bytes(offsets, self.array(f"{name}_bytes", "u", (None,)))
            if len(distinct_ids(labels.values, name)) != n:
                raise ValueError(f"{name} are not distinct")
        else:
            raise ValueError(f"its {name} are of the unknown kind {kind!r}")
        return labels


@contextmanager
def opened(file: str | os.PathLike[str] | IO[bytes], *, mapped: bool = False) -> Iterator[Archive]:
    """Open the file of a saved model, which is a path or a file that was opened for reading."""
    if is_file(file):
        yield Archive(file)
        return
    with open(cast("str | os.PathLike[str]", file), "rb") as opened_file:
        yield Archive(opened_file, mapped=mapped)


def check_bytes(file: str | os.PathLike[str] | IO[bytes], mode: str) -> None:
    """Raise ValueError for a file that was opened for text."""
    if isinstance(file, io.TextIOBase):
        raise ValueError(f'file must be open for bytes, as open(path, "{mode}") does, not for text')


def is_file(file: str | os.PathLike[str] | IO[bytes]) -> TypeGuard[IO[bytes]]:
    """Return whether this is an open file rather than a path."""
    return hasattr(file, "read") or hasattr(file, "write")


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type from the header of an .npy file; objects are refused."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        shape, is_fortran, dtype = npy.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, is_fortran, dtype = npy.read_array_header_2_0(stream)
    else:
        raise ValueError(f"it has an array in the .npy version {version}")
    if dtype.hasobject or dtype.subdtype or dtype.names or any(length < 0 for length in shape):
        raise ValueError(f"it has an array of type {dtype} and shape {shape}")
    return shape, is_fortran, dtype


def _fill(array: NDArray[Any], n_bytes: int, stream: IO[bytes]) -> None:
    """Read an array piece by piece, so that it is not held twice."""
    room, at = array.reshape(-1).view(np.uint8), 0
    while at < n_bytes:
        piece = stream.read(min(_PIECE, n_bytes - at))
        if not piece:
            raise ValueError("it ends too early")
        room[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)


def write(
    file: str | os.PathLike[str] | IO[bytes],
    header: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    ids: tuple[RowLabels, RowLabels] | None,
) -> None:
    """Write a model's file, in the newest version; at a path it appears whole or not at all."""
    kinds = None if ids is None else [labels.kind for labels in ids]
    header = {"format": FORMAT, "version": VERSIONS[-1], **header, "ids": kinds}
    members: dict[str, Any] = dict(arrays)
    for name, labels in zip(_IDS, ids or (), strict=False):
        if isinstance(labels, IntegerIds):
            members[name] = labels.values
        else:
            members[f"{name}_offsets"], members[f"{name}_bytes"] = labels.offsets_and_bytes()
    members["header"] = np.array(json.dumps(header, default=_plain))
    if is_file(file):
        import shutil
        import tempfile

        # Which need not be seekable: a pipe, or a compressed file.
        with tempfile.SpooledTemporaryFile(_SPOOLED) as whole:
            _write_members(cast("IO[bytes]", whole), members)
            whole.seek(0)
            shutil.copyfileobj(whole, file)
        return
    with written_whole(cast("str | os.PathLike[str]", file)) as whole:
        _write_members(whole, members)


def _write_members(file: IO[bytes], members: dict[str, Any]) -> None:
    """Write arrays as NumPy's ``savez`` does, except that each begins at a multiple of 64 bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            # A header has 30 bytes, the name, this field, and one of 20 bytes for large members.
            begin = file.tell() + 30 + len(info.filename) + 20 + 4
            n_padding = -begin % _ALIGNED
            info.extra = struct.pack("<HH", _PADDING, n_padding) + bytes(n_padding)
            with archive.open(info, "w", force_zip64=True) as stream:
                npy.write_array(stream, np.asanyarray(array), allow_pickle=False)


def _plain(value: Any) -> Any:
    """Convert what JSON cannot represent: NumPy's numbers to Python's, anything else to text."""
    return value.item() if isinstance(value, np.generic) else str(value)
