"""Files written whole or not at all, as everything that a run, a report or a download leaves behind.

The one implementation is that of saved models, in `backends`. It is imported where a file is written: reading records
loads nothing of `backends`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces ``path`` when the block ends, and is deleted if the block fails."""
    from backends._files import written_whole as opened_beside

    with opened_beside(path) as file:
        yield file


def write_whole(path: Path, content: bytes | str) -> None:
    """Write one file, whole or not at all, text in UTF-8; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder in the order given, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(folder / name, content)
