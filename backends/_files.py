"""Writing a file whole or not at all: who reads it meanwhile has the old content or the new, never a part."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the place of ``path`` when the block ends, and is gone if it fails.

    It lies beside ``path`` under a name of its own, so that two writers do not meet, and is created there and nowhere
    else: a link of that name would not be followed.

    Raises
    ------
    OSError
        When the folder cannot be written to.
    """
    final = Path(path)
    partial = final.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
