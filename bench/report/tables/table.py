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
        Colour and glyph of each row, shown before its first cell, which is its heading; () for
        none.
    ids
        Identifier of each row on the page, the target of links to it; "" for none.
    links
        Address that each row's heading links to; "" for none.
    warnings
        Identifier of the row that states the warnings of each row, and their text; ("", "")
        for none.
    more
        Indices of the columns that the page shows only if they are asked for.
    strong
        Row and column of the cells that stand out.
    more_caption
        What is to be known of these columns.
    title
        A few words by which a folded table is found.
    """

    caption: str
    header: list[str]
    rows: list[list[str]]
    numeric: frozenset[int] = frozenset()
    marks: tuple[tuple[str, str], ...] = ()
    ids: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    more: frozenset[int] = frozenset()
    strong: frozenset[tuple[int, int]] = frozenset()
    more_caption: str = ""
    title: str = ""
