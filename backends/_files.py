"""Replacing a file atomically: a reader sees the old content or the new, never a part of it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

# Seconds to wait for a reader of the old file. Windows replaces no file that a program has open.
_PATIENCE = (0.01, 0.05, 0.2, 0.5)


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` when the block ends, and is deleted if it fails.

    The temporary file lies in the same folder under a random name, so that two writers never share
    one. It must not exist yet, so a link that somebody planted under that name is an error, and is
    not followed.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    final = Path(path)
    partial = final.with_name(f".{secrets.token_hex(8)}.part")
    try:
        # "x" creates the file and fails if the name exists, even as a symbolic link.
        try:
            opened = partial.open("xb")
        except OSError as error:
            error.filename = os.fspath(final)  # which the caller knows
            raise
        with opened as file:
            yield file
        _replace(partial, final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _replace(partial: Path, final: Path) -> None:
    for seconds in _PATIENCE:
        try:
            partial.replace(final)
            return
        except PermissionError:
            time.sleep(seconds)
    partial.replace(final)
