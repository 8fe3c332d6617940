"""Progress: what long work tells about itself, and the one line of a terminal on which it is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable

Say = Callable[[str], None]  # is told how far something is, a line at a time

_WIDTH = 110  # letters that are shown; a longer line would wrap, and could not be rewritten


class StatusLine:
    """One line of the terminal on standard error, rewritten with each text; a log, or a pipe, gets nothing."""

    def __call__(self, text: str) -> None:
        """Show a text in place of the last one."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\033[K{text[:_WIDTH]}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leave an empty line, for what is printed next."""
        self("")

    def of(self, who: str) -> Say:
        """Return what shows texts with a name before them."""
        return lambda text: self(f"{who}: {text}")
