"""Columns of raw ids as they are given: which values may be ids, and of which kind they are.

Ids are integers or text, and a column holds one kind. What does not live here: what sequences hold
(`_columns`), the ids of the rows, and look-ups (`_ids`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._coding import gathered, joined, parts
from ._columns import arrow_column, column_of, is_arrow
from .errors import RatingsError

_ONE_KIND = "make all ids integers or all strings"


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
        texts: list[str] = self.texts.take(as_arrow(self.codes[positions])).to_pylist()
        return texts


IdColumn = IntegerColumn | TextColumn


def as_arrow(array: NDArray[Any]) -> Any:
    """Return an array as Arrow."""
    import pyarrow as pa

    if array.dtype.kind in "iu":  # without importing pandas, as `pyarrow.array` does
        data = pa.py_buffer(np.ascontiguousarray(array))
        kind = pa.from_numpy_dtype(array.dtype)
        return pa.Array.from_buffers(kind, len(array), [None, data])
    return pa.array(array)


def as_numpy(array: Any) -> NDArray[Any]:
    """Return an array of Arrow, of integers none of which is missing; `to_numpy` imports pandas."""
    dtype = np.dtype(str(array.type))
    values = np.frombuffer(array.buffers()[1], dtype)
    return values[array.offset : array.offset + len(array)]


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
        return IntegerColumn([as_numpy(chunk) for chunk in chunks])
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
        codes = joined([as_numpy(chunk.indices) for chunk in coded.chunks], len(column))
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
    inner = _of_arrow(dictionary.take(as_arrow(used)), what)
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
