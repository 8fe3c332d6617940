"""Lists of items for many users: what they are, as arrays, frames and Parquet files.

What lives here: the lists of a `FactorModel`. What does not: finding the best items
(`_engine.best_items`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backends._engine.best_items import ItemTable

from ._files import written_whole
from ._ids import RowIds, RowLabels
from ._seen import SeenItems

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


class Recommendation(NamedTuple):
    """An item by raw id, and its predicted rating, clipped to the range of the training ratings."""

    item: Any
    rating: float


class Similar(NamedTuple):
    """An item or user by raw id, and the cosine of the angle between its factors and the asked."""

    id: Any
    similarity: float


@dataclass(frozen=True, eq=False, repr=False)
class Lists:
    """One list for each of some users, or items, best first.

    Attributes
    ----------
    rows
        Row numbers of what is listed, shape (n_lists, n), int32; -1 where a list has ended.
    values
        Predicted rating, or similarity, of each; NaN where a list has ended.
    columns
        Names of the three columns of `frame`: of whose list it is, of what is listed, and of the
        values.
    """

    rows: NDArray[np.int32]
    values: NDArray[np.float64]
    columns: tuple[str, str, str]
    _owners: tuple[RowLabels | RowIds, NDArray[Any]]  # the ids of all rows, and the rows asked for
    _listed: RowLabels | RowIds

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        owner, listed, _ = self.columns
        return f"Lists({len(self):,} {owner}s, {self.rows.shape[1]} {listed}s each)"

    @property
    def owners(self) -> NDArray[Any]:
        """Raw ids of those whose lists these are, shape (n_lists,)."""
        labels, rows = self._owners
        return labels.take(rows)

    @property
    def ids(self) -> np.ma.MaskedArray[Any, Any]:
        """Raw ids of what is listed, shape (n_lists, n); masked where a list has ended."""
        ended = self.rows < 0
        flat = self._listed.take(np.where(ended, 0, self.rows).reshape(-1))
        return np.ma.MaskedArray(flat.reshape(self.rows.shape), ended)

    def table(self) -> pa.Table:
        """Return a table of Arrow with the columns of `frame`."""
        import pyarrow as pa

        owner, listed, value = self.columns
        lists, places = np.nonzero(self.rows >= 0)
        labels, rows = self._owners
        return pa.table(
            {
                owner: labels.take_arrow(rows[lists]),
                "rank": pa.array((places + 1).astype(np.int32)),
                listed: self._listed.take_arrow(self.rows[lists, places]),
                value: pa.array(self.values[lists, places]),
            }
        )

    def frame(self) -> pd.DataFrame:
        """Return a table with a line for each place in each list.

        Returns
        -------
        DataFrame
            With the columns "user", "rank" (from 1), "item" and "rating", by user and rank; or
            others by ``columns``.
        """
        frame: pd.DataFrame = self.table().to_pandas()
        return frame


class Candidates(NamedTuple):
    """The items that can be in a list."""

    table: ItemTable
    rows: NDArray[np.int64] | None  # of the items in the table; None if it has all
    places: NDArray[np.int64] | None  # of all items in the table, -1 for others; None if it has all

    @classmethod
    def of(
        cls, factors: NDArray[Any], constants: NDArray[Any], is_candidate: NDArray[np.bool_]
    ) -> Candidates:
        """Return those of all items that are marked."""
        if is_candidate.all():
            return cls(ItemTable(factors, constants), None, None)
        rows = np.flatnonzero(is_candidate)
        places = np.where(is_candidate, np.cumsum(is_candidate) - 1, -1)
        return cls(ItemTable(factors[rows], constants[rows]), rows, places)


@dataclass(frozen=True, kw_only=True)
class ListMaker:
    """Makes lists for users.

    Parameters
    ----------
    candidates
        The items to choose from.
    seen
        What each user has seen and does not want again; None for nothing.
    banned
        Rows of items that are in nobody's list.
    n
        Length of a list.
    n_threads
        Number of threads.
    """

    candidates: Candidates
    seen: SeenItems | None
    banned: NDArray[np.int32]
    n: int
    n_threads: int

    def item_rows(self, factors: NDArray[Any], users: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the rows of the best items for the users of some rows, shape (m, n).

        A list that has ended goes on with -1. There are fewer columns where there are fewer items.
        """
        table, rows, places = self.candidates

        def excluded(first: int, last: int) -> tuple[NDArray[Any], NDArray[Any]]:
            block = users[first:last]
            whose, items = self._pairs(block)
            if places is None:
                return whose, items
            items = places[items]
            is_here = items >= 0
            return whose[is_here], items[is_here]

        nothing = self.seen is None and not len(self.banned)
        found, _ = table.best(factors[users], self.n, None if nothing else excluded, self.n_threads)
        if rows is None:
            return found
        return np.where(found < 0, -1, rows[found]).astype(np.int32)

    def of_one(self, factors: NDArray[Any], user: int) -> NDArray[np.int64]:
        """Return the rows of the best items for the user of a row, at most n."""
        table, rows, places = self.candidates
        left_out: NDArray[Any] | None = None
        if self.seen is not None:
            first, last = self.seen.offsets[user : user + 2]
            left_out = self.seen.items[first:last]
        if len(self.banned):
            left_out = self.banned if left_out is None else np.append(left_out, self.banned)
        if places is not None and left_out is not None:
            left_out = places[left_out]
            left_out = left_out[left_out >= 0]
        found, _ = table.best_for_one(factors[user], self.n, left_out)
        return found if rows is None else rows[found]

    def _pairs(self, users: NDArray[np.int32]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return what is left out, as places among the users and rows of items."""
        n, n_banned = len(users), len(self.banned)
        whose, items = np.repeat(np.arange(n), n_banned), np.tile(self.banned, n)
        if self.seen is None:
            return whose, items
        seen_by, seen = self.seen.pairs(users)
        if not n_banned:
            return seen_by, seen
        return np.concatenate([whose, seen_by]), np.concatenate([items, seen])


class Directions(NamedTuple):
    """The factors of all rows of a side, scaled to length 1: what similarity is computed from."""

    table: ItemTable
    units: NDArray[Any]  # shape (n_rows, rank); rows without ratings are 0

    @classmethod
    def of(cls, factors: NDArray[Any]) -> Directions:
        """Return those of factors, shape (n_rows, rank)."""
        largest = np.abs(factors).max(axis=1, initial=0)[:, None]
        scaled = factors / np.where(largest, largest, 1)  # squares would overflow otherwise
        lengths = np.sqrt(np.einsum("nk,nk->n", scaled, scaled, dtype=np.float64))
        units = scaled / np.where(lengths, lengths, 1)[:, None].astype(factors.dtype)
        return cls(ItemTable(units, np.zeros(len(units))), units)

    def most_similar(
        self, rows: NDArray[Any], n: int, n_threads: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return the ``n`` most similar rows to each of some, without itself, and their cosines.

        Returns
        -------
        found, similarities
            Shapes (m, n); -1 and NaN where a list has ended.
        """

        def itself(first: int, last: int) -> tuple[NDArray[Any], NDArray[Any]]:
            return np.arange(last - first), rows[first:last]

        found, cosines = self.table.best(self.units[rows], n, itself, n_threads)
        return found, np.where(found < 0, np.nan, np.clip(cosines, -1, 1))


class KeptTables:
    """What lists are made from, kept for the next list of its kind: one of each kind.

    A table is valid as long as a model has the arrays that it was made of, and these must not
    change: they cannot be written to any more.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], tuple[tuple[NDArray[Any], ...], Any]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: tuple[Any, ...], arrays: dict[str, NDArray[Any]]) -> Any:
        """Return the table with a key, if it was made of these arrays; else None."""
        made_of, table = self._kept.get(key, ((), None))
        now = tuple(arrays.values())
        if len(made_of) != len(now) or any(a is not b for a, b in zip(made_of, now, strict=True)):
            return None
        return table

    def keep(self, key: tuple[Any, ...], arrays: dict[str, NDArray[Any]], table: Any) -> None:
        """Keep a table in place of the last one of its kind, the first part of the key."""
        for array in arrays.values():
            array.flags.writeable = False
        others = {each: kept for each, kept in self._kept.items() if each[0] != key[0]}
        # A new dictionary: other threads may be reading the old one.
        self._kept = {**others, key: (tuple(arrays.values()), table)}

    def take(
        self,
        other: KeptTables,
        kind: str,
        arrays: dict[str, NDArray[Any]],
        of_other: dict[str, NDArray[Any]],
    ) -> None:
        """Keep another model's tables of a kind as if they were made of these arrays."""
        for key in other._kept:
            table = other.get(key, of_other) if key[0] == kind else None
            if table is not None:
                self.keep(key, arrays, table)


def write_parquet(path: str | os.PathLike[str], parts: Iterable[Lists]) -> int:
    """Write lists to a Parquet file, each part as a row group; return the number of lines.

    The file appears whole or not at all.
    """
    import pyarrow.parquet as pq

    n_lines = 0
    with written_whole(path) as file:
        writer = None
        try:
            for part in parts:
                table = part.table()
                if writer is None:
                    writer = pq.ParquetWriter(file, table.schema)
                writer.write_table(table)
                n_lines += len(table)
        finally:
            if writer is not None:
                writer.close()
    return n_lines
