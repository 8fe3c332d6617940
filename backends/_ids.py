"""Raw ids: what may be one, of which kind, and finding the row of each.

Ids are integers or text, and a column holds one kind. What lives here: columns of ids as they are
given (`id_column`), and the ids of the rows (`IntegerIds`, `TextIds`, `RowIds`). What does not:
what sequences hold (`_columns`), numbering (`_coding`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._coding import PART, gathered, joined, number_integers, offsets_from, parts
from ._columns import arrow_column, column_of, is_arrow
from .errors import RatingsError

_ONE_KIND = "make all ids integers or all strings"
# Look-ups in a table with a place for each integer of the range, if it has at most so many places
# per id.
_PLACES = 4
# One look-up by bisection costs about as much as putting so many ids into a hash table.
_BISECTION = 400
_INTEGER_BISECTION = 16
_HASHED = 1 << 22


@dataclass(frozen=True)
class IntegerColumn:
    """Integer ids as they were given, in one or more arrays."""

    chunks: Sequence[NDArray[Any]]
    kind: ClassVar[str] = "integers"

    def __len__(self) -> int:
        return sum(map(len, self.chunks))

    def at(self, positions: NDArray[Any]) -> list[int]:
        """Return the ids at these positions."""
        whole = self.chunks[0] if len(self.chunks) == 1 else np.concatenate(self.chunks)
        ids: list[int] = whole[positions].tolist()
        return ids

    def numbered(self) -> tuple[NDArray[np.int32], IntegerIds]:
        """Return the row of each id, by first appearance, and the ids of the rows."""
        rows, keys = number_integers(self.chunks)
        return rows, IntegerIds(keys)


@dataclass(frozen=True)
class TextColumn:
    """Text ids as they were given: ``texts[codes[n]]``; not every text need occur."""

    codes: NDArray[np.int32]
    texts: Any  # a pyarrow LargeStringArray without nulls, valid UTF-8
    is_numbered: bool  # whether the texts are in order of first appearance, each once
    kind: ClassVar[str] = "text"

    def __len__(self) -> int:
        return len(self.codes)

    def at(self, positions: NDArray[Any]) -> list[str]:
        """Return the ids at these positions."""
        texts: list[str] = self.texts.take(_arrow(self.codes[positions])).to_pylist()
        return texts

    def numbered(self) -> tuple[NDArray[np.int32], TextIds]:
        """Return the row of each id, by first appearance, and the ids of the rows."""
        if self.is_numbered:
            return self.codes, TextIds(self.texts)
        rows, keys = number_integers([self.codes])
        return rows, TextIds(self.texts.take(_arrow(keys)))


IdColumn = IntegerColumn | TextColumn


def _arrow(array: NDArray[Any]) -> Any:
    import pyarrow as pa

    return pa.array(array)


# ---- columns as they are given ------------------------------------------------------------------


def id_column(ids: ArrayLike, what: str) -> IdColumn:
    """Return raw ids as integers or text, shape (n,); a scalar is a column of one.

    Raises
    ------
    RatingsError
        For missing ids, floats, mixed types and whatever else makes no key; ``what`` names them.
    """
    column = column_of(ids, what)
    if isinstance(column, list | tuple) and set(map(type, column)) == {int}:
        try:
            return IntegerColumn([np.array(column, np.int64)])
        except OverflowError:
            pass  # as unsigned integers, or refused
    if isinstance(column, np.ndarray) and not isinstance(column, np.ma.MaskedArray):
        if column.dtype.kind in "iu":
            return IntegerColumn([column])
        if column.dtype.kind == "f" and len(column):
            raise _float_ids(column, str(column.dtype), what)
    if not len(column):
        return IntegerColumn([])
    return _of_arrow(arrow_column(column, what, _ONE_KIND), what)


def _of_arrow(column: Any, what: str) -> IdColumn:
    """Return an Arrow column as ids."""
    import pyarrow as pa

    if not is_arrow(column) or not len(column):
        return IntegerColumn([])
    _check_no_missing(column, what)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    chunks = [chunk for chunk in chunks if len(chunk)]
    kind, is_a = column.type, pa.types
    if is_a.is_integer(kind):
        return IntegerColumn([chunk.to_numpy() for chunk in chunks])
    if is_a.is_decimal(kind):
        return IntegerColumn([_whole(chunk, what) for chunk in chunks])
    if is_a.is_dictionary(kind):
        return _of_dictionary(pa.chunked_array(chunks), what)
    if _is_text(kind) or _is_bytes(kind):
        if is_a.is_fixed_size_binary(kind):
            chunks = [chunk.cast(pa.large_binary()) for chunk in chunks]
        # Each text once, so that all further work is on few.
        coded = pa.chunked_array(chunks).dictionary_encode()
        texts = _texts(coded.chunk(coded.num_chunks - 1).dictionary, what)
        codes = joined([chunk.indices.to_numpy() for chunk in coded.chunks], len(column))
        return TextColumn(codes, texts, is_numbered=True)
    if is_a.is_floating(kind):
        floats = np.concatenate([chunk.to_numpy() for chunk in chunks])
        raise _float_ids(floats, str(floats.dtype), what)
    name = "bool" if is_a.is_boolean(kind) else str(kind)
    raise RatingsError(f"{what} must be integer or string ids, got {name}")


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return any(
        f"is_{name}" in vars(pa.types) and getattr(pa.types, f"is_{name}")(kind)
        for name in ("string", "large_string", "string_view")
    )


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return any(
        f"is_{name}" in vars(pa.types) and getattr(pa.types, f"is_{name}")(kind)
        for name in ("binary", "large_binary", "fixed_size_binary", "binary_view")
    )


def _of_dictionary(column: Any, what: str) -> IdColumn:
    """Return a dictionary column as ids: work on text is per distinct one."""
    column = column.unify_dictionaries()
    codes = joined([chunk.indices.to_numpy() for chunk in column.chunks], len(column))
    dictionary = column.chunk(0).dictionary
    if str(dictionary.type).endswith("_view"):  # Arrow cannot take from these
        dictionary = dictionary.cast(f"large_{str(dictionary.type).removesuffix('_view')}")
    occurs = np.zeros(len(dictionary), bool)
    for _, part in parts([codes]):
        occurs[part] = True
    used = np.flatnonzero(occurs)
    places = np.zeros(len(dictionary), np.int32)
    places[used] = np.arange(len(used), dtype=np.int32)
    inner = _of_arrow(dictionary.take(_arrow(used)), what)
    if isinstance(inner, IntegerColumn):
        (values,) = inner.chunks
        return IntegerColumn([gathered(values[places], codes)])
    return TextColumn(gathered(inner.codes[places], codes), inner.texts, is_numbered=False)


def _texts(distinct: Any, what: str) -> Any:
    """Return distinct text or bytes as a LargeStringArray, which is valid UTF-8."""
    import pyarrow as pa

    try:
        texts = distinct.cast(pa.large_string())
        texts.validate(full=True)
    except pa.ArrowInvalid:
        raise RatingsError(
            f"{what} holds bytes that are not UTF-8; decode them to strings, or number them"
        ) from None
    return texts


def _whole(decimals: Any, what: str) -> NDArray[Any]:
    """Return decimal numbers that are whole as integers."""
    import pyarrow as pa

    for dtype in (pa.int64(), pa.uint64()):
        try:
            whole: NDArray[Any] = decimals.cast(dtype).to_numpy()
            return whole
        except pa.ArrowInvalid:
            continue
    raise RatingsError(
        f"{what} holds decimal numbers that are not whole, or are beyond 64 bits "
        f"(first: {decimals[0].as_py()}); turn the ids into strings"
    )


def _check_no_missing(column: Any, what: str) -> None:
    """Raise RatingsError for null ids, and for ids that point to a null in a dictionary."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    in_dictionary = pa.types.is_dictionary(column.type) and any(
        chunk.dictionary.null_count for chunk in chunks
    )
    if column.null_count == 0 and not in_dictionary:
        return
    if pa.types.is_floating(column.type):
        missing = np.flatnonzero(
            pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False)
        )
    else:
        missing = np.flatnonzero(np.asarray(pc.is_null(column)))
    if len(missing):
        raise _missing_ids(what, missing)


def _missing_ids(what: str, positions: NDArray[Any]) -> RatingsError:
    """Return the error for missing ids at the given positions."""
    found = f"{len(positions)} missing ids, the first at position {positions[0]}"
    return RatingsError(f"{what} has {found}; drop them")


def _float_ids(floats: NDArray[Any], dtype: str, what: str) -> RatingsError:
    """Return the error for ids that are floats."""
    missing = np.flatnonzero(np.isnan(floats))
    if len(missing):
        return _missing_ids(what, missing)
    if bool((floats == np.trunc(floats)).all()) and bool((np.abs(floats) < 2**53).all()):
        remedy = (
            "All of these are whole numbers: convert them with pandas' .astype('Int64'), which "
            "refuses what would be changed, and pass the same integers everywhere"
        )
    else:
        remedy = "Read the ids as integers or as strings from where they come"
    return RatingsError(
        f"{what} must be integer or string ids, got {dtype} (first: {floats[0]}); "
        f"floats make unsafe keys. {remedy}"
    )


# ---- the ids of the rows ------------------------------------------------------------------------


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

    def reordered(self, order: NDArray[Any]) -> IntegerIds:
        """Return the same ids in another order."""
        return IntegerIds(self.values[order])

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

            found = pc.index_in(_arrow(part), value_set=_arrow(self.values))
            rows: NDArray[Any] = found.fill_null(-1).to_numpy()
            return rows
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
        ids[:] = self.values.take(_arrow(rows)).to_pylist()
        return ids

    def reordered(self, order: NDArray[Any]) -> TextIds:
        """Return the same ids in another order."""
        return TextIds(self.values.take(_arrow(order)))

    def order(self) -> NDArray[np.int64]:
        """Return the rows by ascending id; computed once. UTF-8 sorts as Python's strings do."""
        if self._order is None:
            import pyarrow.compute as pc

            self._order = pc.sort_indices(self.values).to_numpy().astype(np.int64)
        return self._order

    def equals(self, other: RowLabels) -> bool:
        """Return whether these are the same ids in the same order."""
        return isinstance(other, TextIds) and bool(self.values.equals(other.values))

    def rows_of(self, column: TextColumn) -> NDArray[np.int32]:
        """Return the row of each id, shape (n,); -1 for those that are not here."""
        if not len(self):
            return np.full(len(column), -1, np.int32)
        if len(column.texts) * _BISECTION < len(self):
            found = np.array([self._bisected(text) for text in column.texts.to_pylist()], np.int32)
        else:
            import pyarrow.compute as pc

            indices = pc.index_in(column.texts, value_set=self.values)
            found = indices.fill_null(-1).to_numpy()
        return gathered(found, column.codes)

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

    def rows_of(self, column: IntegerColumn) -> NDArray[np.int32]:
        """Return each integer that is a row, shape (n,), and -1 for the others."""
        rows = np.full(len(column), -1, np.int32)
        for where, part in parts(column.chunks):
            inside = (part >= 0) & (part < self.n)
            rows[where] = np.where(inside, part, -1)
        return rows


RowLabels = IntegerIds | TextIds


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
    rows, labels = column.numbered()
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
