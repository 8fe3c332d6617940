"""Progress on one line of a terminal, which is rewritten."""

from __future__ import annotations

import sys
from collections.abc import Callable


def _teller(who: str) -> Say:
    """Tell what is going on, on one line that is rewritten in a terminal."""

    def tell(text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{f'{who}: {text}'[:110]}")
            sys.stderr.flush()

    return tell


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")


Say = Callable[[str], None]
