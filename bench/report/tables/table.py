"""A table of texts, as which all tables of the report exist before they become HTML or Markdown."""

from __future__ import annotations

from typing import NamedTuple


class Table(NamedTuple):
    """A table of texts.

    Attributes
    ----------
    numeric
        Indices of the columns that are aligned right and sorted by their numbers.
    marks
        Colour and glyph of each row, shown before its second cell, which is then the row's
        heading. With () the first cell is the heading and there are no marks.
    ids
        Identifier of each row on the page, the target of links to it; "" for none.
    links
        Address that each row's heading links to; "" for none.
    warnings
        Identifier of the row that states the warnings of each row, and their text; ("", "")
        for none.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    marks: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
