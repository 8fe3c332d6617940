"""The ids of the rows, and finding the row of each.

What does not live here: what may be an id (`_id_columns`), and numbering (`_coding`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._coding import PART, gathered, number_integers, offsets_from, parts
from ._id_columns import IdColumn, IntegerColumn, TextColumn, as_arrow, as_numpy, id_column
from .errors import RatingsError

# Look-ups in a table with a place for each integer of the range, if it has at most so many places
# per id.
_PLACES = 4
# One look-up by bisection costs about as much as putting so many ids into a hash table.
_BISECTION = 400
_INTEGER_BISECTION = 16
_HASHED = 1 << 22
_FEW = 32


class IntegerIds:
    """Distinct integer ids, ``values[row]``: int64, or uint64 where an id needs it."""

    kind = "integer"

    def __init__(self, values: NDArray[Any]) -> None:
        """Take distinct integers, shape (n,), as they are."""
        values.flags.writeable = False
        self.values = values
        self._ends: tuple[int, int] | None = None
        self._table: NDArray[np.int32] | None = None
        self._order: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def array(self) -> NDArray[Any]:
        """Return the ids, shape (n,), read-only."""
        return self.values

    def take(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the ids of rows."""
        ids: NDArray[Any] = self.values[rows]
        return ids

    def take_arrow(self, rows: NDArray[Any]) -> Any:
        """Return the ids of rows as an array of Arrow."""
        return as_arrow(self.values[rows])

    def reordered(self, order: NDArray[Any]) -> IntegerIds:
        """Return the same ids in another order."""
        return IntegerIds(self.values[order])

    def followed_by(self, more: RowLabels) -> IntegerIds:
        """Return these ids and then others, none of which is among them."""
        if not isinstance(more, IntegerIds):
            raise RatingsError("integer ids cannot be followed by text ids")
        parts = [ids.values for ids in (self, more) if len(ids)]
        # Where one of them needs unsigned integers and the other does not, NumPy would take floats.
        if len({part.dtype for part in parts}) > 1:
            if min(int(part.min()) for part in parts) < 0:
                raise RatingsError("integer ids must fit 64 bits, signed or not, all of them alike")
            parts = [part.astype(np.uint64) for part in parts]
        return IntegerIds(np.concatenate(parts) if parts else self.values.copy())

    def order(self) -> NDArray[np.int64]:
        """Return the rows by ascending id; computed once."""
        if self._order is None:
            self._order = np.argsort(self.values, kind="stable")
        return self._order

    def equals(self, other: RowLabels) -> bool:
        """Return whether these are the same ids in the same order."""
        return isinstance(other, IntegerIds) and np.array_equal(self.values, other.values)

    def rows_of(self, column: IntegerColumn) -> NDArray[np.int32]:
        """Return the row of each id, shape (n,); -1 for those that are not here."""
        rows = np.full(len(column), -1, np.int32)
        if not len(self):
            return rows
        low, high = self._range()
        by_place = high - low < _PLACES * len(self) + 1024
        # Each part of a look-up by hash builds the hash table, so these are large.
        for where, part in parts(column.chunks, PART if by_place else _HASHED):
            offsets = offsets_from(low, part)
            inside = offsets.view(np.uint64) <= np.uint64(high - low)
            # Modulo 2**64 a large unsigned integer looks like a negative one.
            if part.dtype.kind == "u" and self.values.dtype.kind == "i":
                inside &= part <= np.uint64(2**63 - 1)
            elif part.dtype.kind == "i" and self.values.dtype.kind == "u":
                inside &= part >= 0
            if by_place:
                found = np.take(self._places(low, high), offsets, mode="clip")
            else:
                found = self._bisected(part.astype(self.values.dtype), len(column))
            rows[where] = np.where(inside, found, -1)
        return rows

    def row_of(self, id_: Any) -> int:
        """Return the row of an integer; -1 if that takes `rows_of` to find out."""
        if type(id_) is int and len(self):
            low, high = self._range()
            if low <= id_ <= high and high - low < _PLACES * len(self) + 1024:
                return int(self._places(low, high)[id_ - low])
        return -1

    def _range(self) -> tuple[int, int]:
        """Return the lowest and the highest id."""
        if self._ends is None:
            self._ends = int(self.values.min()), int(self.values.max())
        return self._ends

    def _places(self, low: int, high: int) -> NDArray[np.int32]:
        """Return the row of each integer in the range; -1 for those that are no id."""
        if self._table is None:
            table = np.full(high - low + 1, -1, np.int32)
            table[offsets_from(low, self.values)] = np.arange(len(self), dtype=np.int32)
            self._table = table
        return self._table

    def _bisected(self, part: NDArray[Any], n_asked: int) -> NDArray[Any]:
        """Return the row of each integer, -1 for those that are no id."""
        if n_asked * _INTEGER_BISECTION > len(self):
            import pyarrow.compute as pc

            found = pc.index_in(as_arrow(part), value_set=as_arrow(self.values))
            return as_numpy(found.fill_null(-1))
        order = self.order()
        places = np.searchsorted(self.values, part, sorter=order)
        candidates = order[np.minimum(places, len(order) - 1)]
        return np.where(self.values[candidates] == part, candidates, -1)


class TextIds:
    """Distinct text ids as offsets and UTF-8 bytes: a pyarrow LargeStringArray."""

    kind = "text"

    def __init__(self, values: Any) -> None:
        """Take distinct texts, shape (n,), as they are."""
        self.values = values
        self._array: NDArray[Any] | None = None
        self._order: NDArray[np.int64] | None = None

    @classmethod
    def of_bytes(cls, offsets: NDArray[np.int64], data: NDArray[np.uint8]) -> TextIds:
        """Return the texts ``data[offsets[row] : offsets[row + 1]]`` in UTF-8.

        Raises
        ------
        RatingsError
            If the offsets do not divide the bytes, or these are not UTF-8. That the texts are
            distinct is not checked.
        """
        import pyarrow as pa

        whole = data.dtype == np.uint8 and offsets[0] == 0 and offsets[-1] == len(data)
        if not (whole and bool((np.diff(offsets) >= 0).all())):
            raise RatingsError("the offsets of text ids do not divide their bytes")
        buffers = pa.py_buffer(offsets), pa.py_buffer(data)
        values = pa.LargeStringArray.from_buffers(len(offsets) - 1, *buffers)
        try:
            values.validate(full=True)
        except pa.ArrowInvalid:
            raise RatingsError("the bytes of text ids are not UTF-8") from None
        return cls(values)

    def offsets_and_bytes(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return the texts as `of_bytes` takes them, shapes (n + 1,) and (n_bytes,)."""
        _, starts, data = self.values.buffers()
        first = self.values.offset  # a slice shares the buffers of the whole
        offsets = np.frombuffer(starts, np.int64)[first : first + len(self) + 1]
        content = np.frombuffer(data or b"", np.uint8)[offsets[0] : offsets[-1]]
        return offsets - offsets[0], content

    def __len__(self) -> int:
        return len(self.values)

    def array(self) -> NDArray[Any]:
        """Return the ids as an array of str, shape (n,), read-only; made at the first call."""
        if self._array is None:
            array = np.empty(len(self), object)
            array[:] = self.values.to_pylist()
            array.flags.writeable = False
            self._array = array
        return self._array

    def take(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the ids of rows as an array of str."""
        ids = np.empty(len(rows), object)
        if len(rows) < _FEW:  # one by one, without arrays of Arrow in between
            ids[:] = [self.values[row].as_py() for row in rows.tolist()]
        else:
            ids[:] = self.values.take(as_arrow(rows)).to_pylist()
        return ids

    def take_arrow(self, rows: NDArray[Any]) -> Any:
        """Return the ids of rows as an array of Arrow."""
        return self.values.take(as_arrow(rows))

    def reordered(self, order: NDArray[Any]) -> TextIds:
        """Return the same ids in another order."""
        return TextIds(self.values.take(as_arrow(order)))

    def followed_by(self, more: RowLabels) -> TextIds:
        """Return these ids and then others, none of which is among them."""
        import pyarrow as pa

        if not isinstance(more, TextIds):
            raise RatingsError("text ids cannot be followed by integer ids")
        return TextIds(pa.concat_arrays([self.values, more.values]))

    def order(self) -> NDArray[np.int64]:
        """Return the rows by ascending id; computed once. UTF-8 sorts as Python's strings do."""
        if self._order is None:
            import pyarrow.compute as pc

            self._order = as_numpy(pc.sort_indices(self.values)).astype(np.int64)
        return self._order

    def equals(self, other: RowLabels) -> bool:
        """Return whether these are the same ids in the same order."""
        return isinstance(other, TextIds) and bool(self.values.equals(other.values))

    def rows_of(self, column: TextColumn) -> NDArray[np.int32]:
        """Return the row of each id, shape (n,); -1 for those that are not here."""
        if not len(self):
            return np.full(len(column), -1, np.int32)
        if len(column.texts) == 1 or len(column.texts) * _BISECTION < len(self):
            found = np.array([self._bisected(text) for text in column.texts.to_pylist()], np.int32)
        else:
            import pyarrow.compute as pc

            indices = pc.index_in(column.texts, value_set=self.values)
            found = as_numpy(indices.fill_null(-1))
        return gathered(found, column.codes)

    def row_of(self, id_: Any) -> int:
        """Return the row of a text; -1 if that takes `rows_of` to find out."""
        return self._bisected(id_) if type(id_) is str and len(self) else -1

    def _bisected(self, text: str) -> int:
        """Return the row of a text by bisection, -1 if it is no id."""
        order, low, high = self.order(), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.values[int(order[middle])].as_py() < text:
                low = middle + 1
            else:
                high = middle
        row = int(order[low]) if low < len(self) else -1
        return row if row >= 0 and self.values[row].as_py() == text else -1


class RowIds:
    """The ids of rows without raw ids: the integers from 0 on."""

    kind = "integer"

    def __init__(self, n: int) -> None:
        """Take the number of rows."""
        self.n = n

    def __len__(self) -> int:
        return self.n

    def take(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the rows."""
        return rows

    def take_arrow(self, rows: NDArray[Any]) -> Any:
        """Return the rows as an array of Arrow."""
        return as_arrow(rows)

    def row_of(self, id_: Any) -> int:
        """Return an integer that is a row; -1 if that takes `rows_of` to find out."""
        return id_ if type(id_) is int and 0 <= id_ < self.n else -1

    def rows_of(self, column: IntegerColumn) -> NDArray[np.int32]:
        """Return each integer that is a row, shape (n,), and -1 for the others."""
        rows = np.full(len(column), -1, np.int32)
        for where, part in parts(column.chunks):
            inside = (part >= 0) & (part < self.n)
            rows[where][inside] = part[inside]
        return rows


RowLabels = IntegerIds | TextIds


def numbered(column: IdColumn) -> tuple[NDArray[np.int32], RowLabels]:
    """Return the row of each id, by first appearance, and the ids of the rows."""
    if isinstance(column, IntegerColumn):
        rows, keys = number_integers(column.chunks)
        return rows, IntegerIds(keys)
    if column.is_numbered:
        return column.codes, TextIds(column.texts)
    rows, keys = number_integers([column.codes])
    return rows, TextIds(column.texts.take(as_arrow(keys)))


def as_labels(labels: RowLabels | RowIds) -> RowLabels:
    """Return row numbers as integer ids, and ids as they are."""
    return IntegerIds(np.arange(labels.n)) if isinstance(labels, RowIds) else labels


def same_labels(a: RowLabels | RowIds, b: RowLabels | RowIds) -> bool:
    """Return whether two sides have the same ids in the same order."""
    if isinstance(a, RowIds) and isinstance(b, RowIds):
        return a.n == b.n
    return as_labels(a).equals(as_labels(b))


def joined(
    labels: RowLabels | RowIds, more: RowLabels | RowIds, what: str
) -> tuple[RowLabels, NDArray[np.int32]]:
    """Return ids followed by those of ``more`` that are not among them, and the rows of ``more``.

    Raises
    ------
    RatingsError
        For ids of the other kind.
    """
    first, second = as_labels(labels), as_labels(more)
    _, rows = look_up(first, second.take_arrow(np.arange(len(second))), what)
    is_new = rows < 0
    rows = rows.copy()
    rows[is_new] = len(first) + np.arange(int(is_new.sum()), dtype=np.int32)
    return first.followed_by(second.reordered(np.flatnonzero(is_new))), rows


def distinct_ids(ids: ArrayLike, what: str) -> RowLabels:
    """Return raw ids as those of rows, shape (n,).

    Raises
    ------
    RatingsError
        For an id that occurs twice, and as `id_column`.
    """
    column = id_column(ids, what)
    if not len(column):
        return IntegerIds(np.empty(0, np.int64))
    rows, labels = numbered(column)
    if len(labels) < len(column):
        again = np.flatnonzero(rows != np.arange(len(rows)))[:1]
        raise RatingsError(f"{what} must be distinct, got {column.at(again)[0]!s} twice")
    return labels


def look_up(labels: RowLabels | RowIds, ids: ArrayLike, what: str) -> tuple[IdColumn, Any]:
    """Return ids as a column, and the row of each as int32, -1 for those not seen.

    Raises
    ------
    RatingsError
        For ids of the other kind than those of the rows, and as `id_column`.
    """
    column = id_column(ids, what)
    if not len(column) or not len(labels):
        return column, np.full(len(column), -1, np.int32)
    if isinstance(labels, TextIds):
        if isinstance(column, TextColumn):
            return column, labels.rows_of(column)
    elif isinstance(column, IntegerColumn):
        return column, labels.rows_of(column)
    raise _other_kind(labels, column, what)


def _other_kind(labels: RowLabels | RowIds, column: IdColumn, what: str) -> RatingsError:
    """Return the error for ids of the other kind."""
    role, word = what.removesuffix("s"), "str" if labels.kind == "text" else "int"
    (first,) = column.at(np.array([0]))
    (known,) = labels.take(np.array([0])).tolist()
    return RatingsError(
        f"{what} are {column.kind} (first: {first!r}), but the training ratings have "
        f"{labels.kind} {role} ids (first: {known!r}); "
        f"convert them, as in [{word}(id) for id in {what}]"
    )
