"""Tables and text for a terminal of 120 columns, without control characters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from .wording import one_line

_WIDTH = 120  # of the terminal
_GAP = 2  # between columns
_LEAST = 20  # of the last column


def aligned(rows: list[list[str]], notes: list[list[str]]) -> list[str]:
    """Return the lines of a table.

    The first two columns and the last one contain text and are wrapped where they are too wide; the
    others contain numbers and are aligned right.

    Parameters
    ----------
    rows
        The cells, at least three in each row.
    notes
        For each row, the notes to print below it.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = _widths(rows)
    lines = []
    for row, row_notes in zip(rows, notes, strict=True):
        cells = [
            textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)
        ]
        # A cell that was wrapped has several lines, the others are filled up with blanks.
        for n in range(max(len(cell) for cell in cells)):
            texts = []
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
                text = cell[n] if n < len(cell) else ""
                is_number = 2 <= column < len(row) - 1
                texts.append(text.rjust(width) if is_number else text.ljust(width))
            lines.append((" " * _GAP).join(texts).rstrip())
        for note in row_notes:
            lines += textwrap.wrap(
                one_line(note), _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 6
            )
    return lines


def wrapped(lines: Iterable[str]) -> list[str]:
    """Wrap each line to the width of the terminal; continuations keep its indentation and more."""
    broken = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip(" ")))
        text = one_line(line)
        broken += textwrap.wrap(
            text, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  "
        ) or [""]
    return broken


def _widths(rows: list[list[str]]) -> list[int]:
    """Return the width of each column, so that together they fill the terminal at most.

    Columns of numbers get what they need, and the last column at least `_LEAST` if it needs that
    much. The first two share the rest. If it is too little for both, each gets half of it, or more
    if the other needs less.
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    room = _WIDTH - sum(widths[2:-1]) - _GAP * (len(widths) - 1)
    names = max(room - min(widths[-1], _LEAST), _LEAST)
    widths[1] = min(widths[1], max(names // 2, names - widths[0]))
    widths[0] = min(widths[0], names - widths[1])
    widths[-1] = max(room - widths[0] - widths[1], _LEAST)
    return widths
