"""Downloading one file of a public data set: verified, complete or not at all, and remembered.

`known` lists what there is to download, `catalog` decides whether it is needed, and `archives`
unpacks it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bench.datasets.errors import DatasetError
from bench.text.missing import how_to_install

from .archives import unpack

# Environment variable: the folder of downloads and of results that are computed once.
CACHE_FOLDER = "FACTORBENCH_CACHE"

_TIMEOUT = 30  # seconds without a byte


class Source(NamedTuple):
    """One file to download."""

    urls: tuple[str, ...]  # the official one first, then copies
    checksum: str | None = None  # "md5:..." or "sha256:..."; None: that of the first download
    cited: str = ""  # where the checksum and the size were found
    size: int | None = None  # bytes
    members: tuple[str, ...] = ()  # what to extract; () if the file itself is the data


def cache_folder() -> Path:
    """Return the folder that FACTORBENCH_CACHE names, or the user's cache folder."""
    named = os.environ.get(CACHE_FOLDER)
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("factorbench"))


def fetch(source: Source, folder: Path, *, largest: int, progress: bool = False) -> list[Path]:
    """Download a file into a folder unless it is there; return its path or its members' paths.

    Parameters
    ----------
    source
        The file, where it is, and which members of it are needed.
    folder
        Where to put it. An archive is removed after its members were extracted.
    largest
        Most bytes that a member may have.
    progress
        Whether to draw a progress bar on standard error.

    Raises
    ------
    DatasetError
        If no URL gives the file with this checksum, or the archive is damaged or malicious. No
        partial file is left under a final name.
    """
    file = folder / PurePosixPath(source.urls[0]).name
    problems = []
    for url in source.urls:
        try:
            _download(url, file, source.checksum or _remembered(file), progress)
        except _Failed as failed:
            problems.append(f"{url}: {failed}")
            continue
        if not source.members:
            remember(file)
            return [file]
        try:
            extracted = unpack(file, source.members, folder, largest=largest)
        except DatasetError:
            file.unlink()  # the next call would take it for a good one
            raise
        for member in extracted:
            remember(member)
        # Only now: without a known checksum, later downloads are compared with the remembered one,
        # which must not be that of a file that was refused.
        remember(file)
        file.unlink()
        return extracted
    raise DatasetError(
        f"{file.name} could not be downloaded, and no partial file is left. {'; '.join(problems)}. "
        f"Try again later, or get the file yourself and put it into {folder}"
    )


def remember(file: Path) -> None:
    """Write the SHA-256 of a file into a file beside it, for `check_remembered`."""
    _sidecar(file).write_text(f"{_sha256(file)}  {file.name}\n", "utf-8")


def check_remembered(file: Path) -> None:
    """Compare a file with the SHA-256 that was remembered when it was fetched, if one was.

    Raises
    ------
    DatasetError
        If the file has changed since.
    """
    remembered = _remembered(file)
    if remembered and remembered != f"sha256:{_sha256(file)}":
        raise DatasetError(
            f"{file} has changed since it was fetched: its SHA-256 is not the one in "
            f"{_sidecar(file).name}. Delete it and fetch it again"
        )


class _Failed(Exception):
    """A URL did not give the file; another one may."""


def _download(url: str, file: Path, checksum: str | None, progress: bool) -> None:
    """Download one URL to a path, complete or not at all.

    Raises
    ------
    _Failed
        If this URL does not give the file with this checksum.
    DatasetError
        If no URL could: a package is missing, or the folder cannot be written to.
    """
    try:
        import pooch  # type: ignore[import-untyped]  # it has no types
        import requests
    except ImportError as error:
        raise DatasetError(f"a download needs {error.name}: {how_to_install('pooch')}") from error
    pooch.get_logger().setLevel("ERROR")
    # With "identity" the server does not compress the archive once more for the transfer, which
    # would make the size in the progress bar wrong.
    downloader = pooch.HTTPDownloader(
        progressbar=progress,
        chunk_size=1 << 16,
        timeout=_TIMEOUT,
        headers={"Accept-Encoding": "identity"},
    )
    try:
        pooch.retrieve(url, checksum, fname=file.name, path=file.parent, downloader=downloader)
    except requests.HTTPError as error:
        raise _Failed(f"the server answers {str(error).partition(' for url')[0]}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise _Failed("the connection ended before the file was complete") from error
    except requests.RequestException as error:
        raise _Failed(f"no connection ({type(error).__name__})") from error
    except ValueError as error:  # pooch's error for a wrong checksum
        raise _Failed(
            f"the file does not have the checksum {checksum}: it was damaged or replaced"
        ) from error
    except OSError as error:
        raise DatasetError(
            f"{file.parent} cannot be written to ({error}); set {CACHE_FOLDER} to another folder"
        ) from error


def _sidecar(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def _remembered(file: Path) -> str | None:
    sidecar = _sidecar(file)
    return f"sha256:{sidecar.read_text('utf-8').split()[0]}" if sidecar.is_file() else None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
