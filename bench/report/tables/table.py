"""A table as text: what all tables of the report are, before they are HTML or Markdown."""

from __future__ import annotations

from typing import NamedTuple


class Table(NamedTuple):
    """A table as text.

    Attributes
    ----------
    numeric
        The columns to align right and to sort by their number.
    marks
        (colour, glyph) of each row, to stand before the second cell; () where the first cell is the row's heading.
    ids
        What each row is called on the page, for links to it; "" for none.
    links
        Where the heading of each row leads to; "" for nowhere.
    doubts
        (where they are told, what they are) of each row; ("", "") where there are none.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    marks: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    doubts: tuple[tuple[str, str], ...] = ()
