"""Extracting members of zip and tar files, after a check that nothing in the file does harm."""

from __future__ import annotations

import lzma
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from bench.datasets.errors import DatasetError
from bench.text.files import written_whole

_BLOCK = 1 << 20  # bytes

# What zipfile and tarfile raise on damaged files, found by damaging files at random. It is an
# OSError if an offset is before the start of the file.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
)


def unpack(archive: Path, members: tuple[str, ...], folder: Path, *, largest: int) -> list[Path]:
    """Extract the named members of a zip or tar file, and return their paths.

    Parameters
    ----------
    archive
        The file. Its kind is recognised by its content.
    members
        Names in the archive.
    folder
        Where to write them, each under the last component of its name.
    largest
        Most bytes that a member may have.

    Raises
    ------
    DatasetError
        If the archive is damaged or lacks a member, or if anything in it could be written elsewhere
        or fill the disk: an absolute path, "..", a link, a device, a member of more than
        ``largest`` bytes.
    """
    try:
        with _Archive(archive) as opened:
            for name, why in opened.suspicious():
                raise DatasetError(
                    f"{archive} is not to be trusted: its member {name!r} is {why}. "
                    "It was not unpacked; get the file from its official page"
                )
            return [_extract(opened, member, folder, largest) for member in members]
    except DatasetError:
        raise
    except _DAMAGE as error:
        reason = f"{str(error) or type(error).__name__:.200}"
        raise DatasetError(
            f"{archive} is damaged, or {folder} cannot be written to ({reason}). Fetch it again"
        ) from error


class _Archive:
    """An open zip or tar file, with the same methods for both."""

    def __init__(self, path: Path) -> None:
        self.path, self.zip, self.tar = path, None, None
        if zipfile.is_zipfile(path):
            self.zip = zipfile.ZipFile(path)
        else:
            self.tar = tarfile.open(path)  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *details: object) -> None:
        if self.zip:
            self.zip.close()
        if self.tar:
            self.tar.close()

    def suspicious(self) -> Iterator[tuple[str, str]]:
        """Yield the members that do not belong in a data set, each with the reason."""
        for name, special in self._names():
            parts = re.split(r"[/\\]", name)
            if not parts[0] or ":" in parts[0]:
                yield name, "an absolute path"
            elif ".." in parts:
                yield name, "a path that leaves its folder"
            elif special:
                yield name, special

    def _names(self) -> Iterator[tuple[str, str]]:
        """Yield each member's name and, if it is neither a file nor a folder, what it is."""
        if self.zip:
            for info in self.zip.infolist():
                mode = info.external_attr >> 16  # Unix's, 0 in a zip made on other systems
                plain = not stat.S_IFMT(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode)
                yield info.filename, "" if plain else "a link or a device"
        for member in self.tar or ():
            yield member.name, "" if member.isfile() or member.isdir() else "a link or a device"

    def open(self, member: str) -> tuple[int, IO[bytes]]:
        """Return the declared size and the content of a member; the size may be a lie."""
        try:
            if self.zip:
                return self.zip.getinfo(member).file_size, self.zip.open(member)
            assert self.tar is not None
            found = self.tar.getmember(member)
            content = self.tar.extractfile(found)
        except KeyError:
            content = None
        if content is None:
            raise DatasetError(
                f"{self.path} has no file {member}, so it is not the expected archive. "
                "Fetch it again"
            )
        return found.size, content


def _extract(archive: _Archive, member: str, folder: Path, largest: int) -> Path:
    final = folder / PurePosixPath(member).name
    size, content = archive.open(member)
    with content:
        if size > largest:
            raise DatasetError(
                f"{archive.path} is not to be trusted: {member} is larger than the "
                f"{largest:,} bytes expected at most. It was not unpacked; get the file from its "
                "official page"
            )
        with written_whole(final) as file:
            # If the declared size is too small, zipfile and tarfile stop there.
            shutil.copyfileobj(content, file, _BLOCK)
    return final
