"""Atomic writes: a file is written completely or not at all, even if the process is killed.

The implementation is the one for saved models, in `backends`. It is imported only when a file is
written, so that reading records does not load `backends`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` at the end of the block.

    If the block raises, the temporary file is deleted and ``path`` is left as it was.
    """
    from backends._files import written_whole as opened_beside

    with opened_beside(path) as file:
        yield file


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file atomically, text in UTF-8; its folder is created if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder in the given order, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(folder / name, content)
