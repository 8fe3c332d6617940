"""What all commands share: output on any terminal, the end of a pipe, Ctrl-C, the exit status."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn, TextIO

BROKEN_PIPE = 141  # 128 + SIGPIPE, the shell's convention for a command whose reader has left
INTERRUPTED = 130  # 128 + SIGINT

_READER_HAS_LEFT = (errno.EPIPE, errno.EINVAL)  # on Windows the latter
_ERRORS = "factorbench.closest"  # name of the error handler of encodings
_CLOSEST = {
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{NO-BREAK SPACE}": " ",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}


def run(main: Callable[[], int | None], interrupted: str = "") -> NoReturn:
    """Run a command, and exit with the status that it returns.

    Characters that the terminal's encoding lacks are replaced by similar ones in ASCII, or by
    escapes. If the reader of the output has left, as in ``| head -1``, the command ends quietly.

    Parameters
    ----------
    main
        The command; None is the status 0.
    interrupted
        What to say after "interrupted: " at Ctrl-C, if the command does not handle it itself.
    """
    _adapt_streams()
    try:
        try:
            status = main()
        finally:  # argparse exits after it has printed the help
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # of standard error
        _discard(sys.stderr)
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}" if interrupted else "interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(status)


class _Output(io.TextIOWrapper):
    """Standard output that ends the command once nobody reads it any more.

    It raises SystemExit, as a BrokenPipeError is an OSError, which commands report as something
    that went wrong with a file.
    """

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._end(error)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> NoReturn:
        if error.errno not in _READER_HAS_LEFT:
            raise error
        _discard(self)
        raise SystemExit(BROKEN_PIPE)


def _discard(stream: TextIO) -> None:
    """Let a stream whose reader has left write nowhere: Python writes its buffer when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _adapt_streams() -> None:
    """Make standard output and standard error accept all characters, and the former end quietly."""
    codecs.register_error(_ERRORS, _closest)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_ERRORS)
    # A command may run another one.
    if isinstance(sys.stdout, io.TextIOWrapper) and not isinstance(sys.stdout, _Output):
        sys.stdout.flush()
        sys.stdout = _Output(
            sys.stdout.buffer,
            encoding=sys.stdout.encoding,
            errors=_ERRORS,
            line_buffering=sys.stdout.line_buffering,
            write_through=sys.stdout.write_through,
        )


def _closest(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what is written for the characters that an encoding lacks, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(
        _CLOSEST.get(character, character.encode("ascii", "backslashreplace").decode())
        for character in lacking
    ), error.end
