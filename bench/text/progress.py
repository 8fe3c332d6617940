"""Progress messages, and the single terminal line on which they are shown."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from .wording import one_line

Notify = Callable[[str], None]  # called with a line of text that reports progress

_WIDTH = 110  # characters; a longer line would wrap and could not be overwritten


class StatusLine:
    """A line on standard error that each new text overwrites; silent if that is no terminal."""

    def __call__(self, text: str) -> None:
        """Show a text in place of the one before."""
        # A run goes on without its terminal, which may have been closed: there is no such stream
        # then, or a closed one, or each write to it fails.
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr is not None and sys.stderr.isatty():
                # To the start of the line, then erase it.
                sys.stderr.write(f"\r\033[K{one_line(text)[:_WIDTH]}")
                sys.stderr.flush()

    def clear(self) -> None:
        """Erase the line, before something else is printed."""
        self("")

    def of(self, who: str) -> Notify:
        """Return a function that shows texts with a name in front."""
        return lambda text: self(f"{who}: {text}")
