"""Files written whole or not at all, as everything that a run, a report or a download leaves behind.

The one implementation is that of saved models; it lies in `backends`, as solvers know nothing of benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from backends._files import written_whole

__all__ = ["write_all", "write_whole", "written_whole"]


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
