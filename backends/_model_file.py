"""The archive of a saved model, of which nothing is believed before it is checked.

What lives here: writing and reading the members of an .npz file, each against the size, the type
and the shape that it must have, before memory is taken for it. What does not: what the members mean
(`FactorModel`).
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

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

    def __init__(self, file: IO[bytes]) -> None:
        size = os.fstat(file.fileno()).st_size
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
            array = np.empty(found[::-1] if is_fortran else found, dtype)
            if n_bytes:
                _fill(array, n_bytes, stream)
        array = array.T if is_fortran else array
        return array.astype(dtype.newbyteorder("="), copy=False)

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
def opened(path: str | os.PathLike[str]) -> Iterator[Archive]:
    """Open the file of a saved model."""
    with open(path, "rb") as file:
        yield Archive(file)


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
    path: str | os.PathLike[str],
    header: dict[str, Any],
    arrays: dict[str, NDArray[Any]],
    ids: tuple[RowLabels, RowLabels] | None,
) -> None:
    """Write a model's file, in the newest version; it appears whole or not at all."""
    kinds = None if ids is None else [labels.kind for labels in ids]
    header = {"format": FORMAT, "version": VERSIONS[-1], **header, "ids": kinds}
    members: dict[str, Any] = dict(arrays)
    for name, labels in zip(_IDS, ids or (), strict=False):
        if isinstance(labels, IntegerIds):
            members[name] = labels.values
        else:
            members[f"{name}_offsets"], members[f"{name}_bytes"] = labels.offsets_and_bytes()
    with written_whole(path) as file:
        text: Any = np.array(json.dumps(header, default=_plain))
        np.savez(file, header=text, **members)


def _plain(value: Any) -> Any:
    """Convert what JSON cannot represent: NumPy's numbers to Python's, anything else to text."""
    return value.item() if isinstance(value, np.generic) else str(value)
