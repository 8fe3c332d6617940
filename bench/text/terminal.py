"""Tables and lines for a terminal of 120 columns: aligned, wrapped, and free of what would steer it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable

from .wording import one_line

_WIDTH, _GAP, _LEAST = 120, 2, 20  # of the terminal, between columns, and of the last column


def aligned(rows: list[list[str]], notes: list[list[str]]) -> list[str]:
    """Align columns, numbers to the right, and wrap names and the last column to the width; notes lie beneath."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = _widths(rows)
    sides: list[Callable[[str, int], str]] = [str.ljust, str.ljust, *[str.rjust] * (len(widths) - 3), str.ljust]
    lines = []
    for row, beneath in zip(rows, notes, strict=True):
        cells = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
        for n in range(max(map(len, cells))):
            parts = [
                side(cell[n] if n < len(cell) else "", width)
                for cell, width, side in zip(cells, widths, sides, strict=True)
            ]
            lines.append((" " * _GAP).join(parts).rstrip())
        for note in beneath:
            lines += textwrap.wrap(one_line(note), _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 6)
    return lines


def wrapped(lines: Iterable[str]) -> list[str]:
    """Wrap each line to the width, indented as it was."""
    broken = []
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip(" ")))
        text = one_line(line)
        broken += textwrap.wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ") or [""]
    return broken


def _widths(rows: list[list[str]]) -> list[int]:
    """Return the width of each column: names give way to the numbers, and to the least of the last column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = _WIDTH - sum(widths[2:-1]) - _GAP * (len(widths) - 1)
    names = max(room - min(widths[-1], _LEAST), _LEAST)
    widths[1] = min(widths[1], max(names // 2, names - widths[0]))
    widths[0] = min(widths[0], names - widths[1])
    widths[-1] = max(room - widths[0] - widths[1], _LEAST)
    return widths
