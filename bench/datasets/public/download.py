"""Downloading one file of a public data set: verified, whole or not at all, and remembered.

What there is to download says `known`, where it is looked for before, `catalog`; packed files open in `archives`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bench.datasets.errors import DatasetError

from .archives import unpack

CACHE_FOLDER = "FACTORBENCH_CACHE"  # environment variable: where downloads and what is computed once are kept

_TIMEOUT = 30  # seconds without a byte


class Source(NamedTuple):
    """One file to download."""

    urls: tuple[str, ...]  # the official one first, then copies, as good as it under a checksum
    checksum: str | None = None  # "md5:..." or "sha256:..."; None: the first download is trusted and remembered
    cited: str = ""  # where the checksum and the size were found
    size: int | None = None  # bytes
    members: tuple[str, ...] = ()  # what is needed of an archive; () where the file itself is the data


def cache_folder() -> Path:
    """Return the folder that FACTORBENCH_CACHE names, or the user's cache folder."""
    import platformdirs

    return Path(os.environ.get(CACHE_FOLDER) or platformdirs.user_cache_dir("factorbench"))


def fetch(source: Source, folder: Path, *, largest: int, progress: bool = False) -> list[Path]:
    """Download a file into a folder unless it is there, and return it, or the members it was fetched for.

    Parameters
    ----------
    largest
        Bytes that no member may exceed.
    progress
        Whether to draw a bar on standard error.

    Raises
    ------
    DatasetError
        When no URL gives the file that the checksum stands for, or the archive is damaged or malicious. Nothing partial
        is left under a final name.
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
            found = unpack(file, source.members, folder, largest=largest)
        except DatasetError:
            file.unlink()  # or it would be taken for a good one next time
            raise
        for member in found:
            remember(member)
        remember(file)  # not before: what is refused must not be what later downloads are compared with
        file.unlink()
        return found
    raise DatasetError(
        f"{file.name} could not be downloaded; nothing was kept. {'; '.join(problems)}. "
        f"Try again later, or get the file yourself and put it into {folder}"
    )


def remember(file: Path) -> None:
    """Write down the SHA-256 of a file beside it, for `check_remembered`."""
    _sidecar(file).write_text(f"{_sha256(file)}  {file.name}\n", "utf-8")


def check_remembered(file: Path) -> None:
    """Compare a file with the SHA-256 remembered when it was fetched, if one was.

    Raises
    ------
    DatasetError
        When the file has changed since.
    """
    remembered = _remembered(file)
    if remembered and remembered != f"sha256:{_sha256(file)}":
        raise DatasetError(
            f"{file} has changed since it was fetched: its SHA-256 is not the one in {_sidecar(file).name}. "
            "Delete it and fetch it again"
        )


class _Failed(Exception):
    """A URL did not give the file; another may."""


def _download(url: str, file: Path, checksum: str | None, progress: bool) -> None:
    try:
        import pooch  # type: ignore[import-untyped]  # it ships none
        import requests
    except ImportError as error:
        raise DatasetError(f"a download needs {error.name}: pip install 'factorbench[bench]'") from error
    pooch.get_logger().setLevel("ERROR")
    # Without "identity" a server may compress once more what is compressed, and the size in the bar is wrong.
    downloader = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=1 << 16, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}
    )
    try:
        pooch.retrieve(url, checksum, fname=file.name, path=file.parent, downloader=downloader)
    except requests.HTTPError as error:
        raise _Failed(f"the server answers {str(error).partition(' for url')[0]}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise _Failed("the connection ended before the file did") from error
    except requests.RequestException as error:
        raise _Failed(f"no connection ({type(error).__name__})") from error
    except ValueError as error:  # pooch's word for a wrong checksum
        raise _Failed(f"the file is not the one that {checksum} stands for: damaged on its way, or replaced") from error
    except OSError as error:
        raise DatasetError(f"{file.parent} cannot be written to ({error}); set {CACHE_FOLDER} elsewhere") from error


def _sidecar(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def _remembered(file: Path) -> str | None:
    sidecar = _sidecar(file)
    return f"sha256:{sidecar.read_text('utf-8').split()[0]}" if sidecar.is_file() else None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
