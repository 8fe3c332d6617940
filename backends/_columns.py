"""One column as people pass it - any sequence, array or series - as an Arrow or NumPy column.

What lives here: what a sequence holds, and which values are missing. What does not: which values
may be ids (`_ids`) or ratings (`_validation`), and whole tables (`tables`). Columns of plain
numbers need no pyarrow, which is imported where it is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from .errors import RatingsError

# Objects that are converted at a time, which bounds what is held twice.
_PART = 1 << 20
_ONE_TYPE = "make all its values one type"


def column_of(values: Any, name: str, *, nested: bool = False) -> Any:
    """Return a column without its wrapping: NumPy, Arrow, a pandas extension array, or a list.

    A scalar is a column of one. Series and indexes of pandas become their arrays, and those of
    polars become Arrow.

    Raises
    ------
    RatingsError
        For values without an order, or of more than one dimension. Lists in a list are refused
        unless they may be ``nested``.
    """
    if isinstance(values, set | frozenset | dict):
        found = f"a {type(values).__name__}"
        raise RatingsError(f"{name} must be a sequence or an array, got {found}")
    package = type(values).__module__.partition(".")[0]
    if is_arrow(values):
        return values
    if package == "polars" and hasattr(values, "to_arrow"):
        return _of_polars(values, name)
    if package == "pandas" and hasattr(values, "dtype"):  # a series, an index or their arrays
        if not isinstance(values.dtype, np.dtype):
            return getattr(values, "array", values)
        values = np.asarray(values)
    elif hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"):
        return _of_interface(values, name)
    elif not isinstance(values, np.ndarray) and hasattr(values, "__array__"):
        values = np.asarray(values)
    if isinstance(values, np.ndarray):
        return _one_dimensional(values, name)
    is_one = isinstance(values, str | bytes | bytearray | memoryview)
    if is_one or not hasattr(values, "__iter__"):
        return [values]
    values = values if isinstance(values, list | tuple) else list(values)
    if not nested and len(values) and isinstance(values[0], list | tuple | np.ndarray):
        raise _dimensions(name, values)
    return values


def is_arrow(values: Any) -> bool:
    """Return whether this is an Arrow array or chunked array, without importing pyarrow."""
    arrow = sys.modules.get("pyarrow")
    return arrow is not None and isinstance(values, arrow.Array | arrow.ChunkedArray)


def _of_polars(series: Any, name: str) -> Any:
    """Return a polars series as Arrow, or as a list if it holds Python objects."""
    import polars as pl

    if series.dtype == pl.Object:  # Arrow would get their addresses
        return series.to_list()
    try:
        # Of the levels of compatibility the oldest, whose text every release of pyarrow can encode.
        return series.to_arrow(compat_level=pl.CompatLevel.oldest())
    except Exception as error:  # pyarrow and polars raise errors of several kinds
        raise RatingsError(
            f"{name} of type {series.dtype} is not one that Arrow has ({error}); cast it to Int64, "
            "Float64 or String"
        ) from None


def _of_interface(values: Any, name: str) -> Any:
    """Return what offers the Arrow C interface as an Arrow column."""
    import pyarrow as pa

    try:
        if hasattr(values, "__arrow_c_stream__"):
            return pa.chunked_array(values)
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise RatingsError(f"{name} is no column that Arrow can read: {error}") from None


def _one_dimensional(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.ndim == 0:
        array = array.reshape(1)
    if array.ndim != 1:
        raise RatingsError(f"{name} must be one-dimensional, got shape {array.shape}")
    return array


def _dimensions(name: str, values: Sequence[Any]) -> RatingsError:
    """Return the error for a list of lists."""
    try:
        shape = f"shape {np.shape(values)}"
    except ValueError:  # of different lengths
        shape = "lists in a list"
    return RatingsError(f"{name} must be one-dimensional, got {shape}")


# ---- as Arrow -----------------------------------------------------------------------------------


def arrow_column(values: Any, name: str, advice: str = _ONE_TYPE) -> Any:
    """Return a column as a pyarrow Array or ChunkedArray, shape (n,).

    Masked and missing values are null; NaN in an array of floats stays NaN. UUIDs become text,
    categories a dictionary, other extension types what they are stored as. Integers are int64, or
    uint64 if one of them needs it.

    Parameters
    ----------
    values
        A sequence or array of any library, see `column_of`.
    name
        What errors call the column.
    advice
        What errors advise for a column of mixed types.

    Raises
    ------
    RatingsError
        For mixed types, integers beyond 64 bits, text that UTF-8 cannot encode, and values that
        Arrow cannot hold.
    """
    import pyarrow as pa

    column = column_of(values, name, nested=True)
    if is_arrow(column):
        return stored(column)
    if isinstance(column, np.ndarray):
        return _of_numpy(column, name, advice)
    if isinstance(column, list | tuple):
        return _of_objects(column, name, advice)
    if hasattr(column, "categories") and hasattr(column, "codes"):
        return _of_categorical(column, name, advice)
    try:
        return stored(pa.array(column))
    except (pa.ArrowException, TypeError, ValueError):
        objects = np.asarray(column, dtype=object)  # a sparse array, for instance
        return _of_objects(objects, name, advice)


def _of_categorical(column: Any, name: str, advice: str) -> Any:
    """Return a pandas Categorical as a dictionary array; its codes are not decoded."""
    import pyarrow as pa

    codes = np.asarray(column.codes)
    categories = arrow_column(column.categories, name, advice)
    if isinstance(categories, pa.ChunkedArray):
        categories = categories.combine_chunks()
    missing = codes < 0
    indices = pa.array(codes, mask=missing if missing.any() else None)
    return pa.DictionaryArray.from_arrays(indices, categories)


def stored(column: Any) -> Any:
    """Return an Arrow column without extension types and run ends; UUIDs become text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    is_extension = isinstance(column.type, pa.BaseExtensionType)
    # Those of pandas are periods and intervals: their numbers mean something else.
    if not is_extension or column.type.extension_name.startswith("pandas."):
        return column
    is_uuid = column.type.extension_name == "arrow.uuid"
    storage = column.type.storage_type
    if isinstance(column, pa.ChunkedArray):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], type=storage)
    else:
        column = column.storage
    if is_uuid:
        words = [None if v is None else str(UUID(bytes=v)) for v in column.to_pylist()]
        column = pa.array(words, pa.large_string())
    return column


def _of_numpy(array: NDArray[Any], name: str, advice: str) -> Any:
    """Return a NumPy array as Arrow; what is under a mask is null."""
    import pyarrow as pa

    mask = None
    if isinstance(array, np.ma.MaskedArray):
        mask, array = np.ma.getmaskarray(array), np.asarray(array.data)
    kind = array.dtype.kind
    if kind == "O":
        if mask is not None:
            array = without_masked(array, mask)
        return _of_objects(array, name, advice)
    if kind in "ST":
        return _of_objects(without_masked(array, mask), name, advice)
    if kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if kind in "cV":
        raise RatingsError(f"{name} holds {array.dtype}, which is neither numbers nor text")
    if kind == "U":
        # As objects: Arrow would end fixed-width text, and bytes, at the first NUL.
        texts = array if mask is None else without_masked(array, mask)
        return _in_parts(texts, lambda part: _text(part.astype(object), name))
    try:
        return pa.array(array, mask=mask)
    except pa.ArrowException:
        if kind not in "mM":
            raise
        return pa.array(array.astype(f"{kind}8[s]"), mask=mask)  # years or months, for instance


def without_masked(array: NDArray[Any], mask: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Return the values of an array as objects, with None in place of what is under the mask."""
    objects = array.astype(object)
    if mask is not None:
        objects[mask] = None
    return objects


def _text(values: Any, name: str) -> Any:
    """Return strings as Arrow text."""
    import pyarrow as pa

    try:
        if len(values) == 1 and isinstance(values[0], str):
            # What a server is asked for. Arrow's own conversions of Python objects, and of whole
            # arrays, import pandas, which takes as long as thousands of answers.
            data = values[0].encode()
            offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
            return pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data))
        return pa.array(values, pa.large_string(), from_pandas=True)
    except UnicodeEncodeError as error:
        raise RatingsError(
            f"{name} holds text that is not Unicode ({error.object!a}): it has half of a "
            "surrogate pair, which UTF-8 cannot encode; read or write that text again"
        ) from None


# ---- Python objects -----------------------------------------------------------------------------

_NAMES: tuple[tuple[Any, str], ...] = (
    (str, "str"),
    ((bool, np.bool_), "bool"),
    ((int, np.integer), "int"),
    ((float, np.floating, Fraction), "float"),
    (Decimal, "Decimal"),
    ((bytes, bytearray, memoryview), "bytes"),
    (UUID, "UUID"),
    ((type(None), np.ma.core.MaskedConstant), ""),
)


def _name_of(kind: type) -> str:
    """Return what a type of objects is called here; "" for the types of missing values."""
    if kind.__name__ in ("NAType", "NaTType") and kind.__module__.startswith("pandas"):
        return ""
    return next((name for types, name in _NAMES if issubclass(kind, types)), kind.__name__)


def _of_objects(values: Any, name: str, advice: str) -> Any:
    """Return Python objects as Arrow; None, NaN among other types, NA and NaT are null."""
    import pyarrow as pa

    types = set(map(type, values))
    if np.ma.core.MaskedConstant in types:
        values = [None if value is np.ma.masked else value for value in values]
    found = {_name_of(kind) for kind in types}
    if "float" in found and len(found - {"", "float"}) > 0 and _only_nan(values):
        found.discard("float")
    found.discard("")
    if not found:
        return (
            _of_floats(values)
            if any(isinstance(v, float) for v in values)
            else (pa.nulls(len(values)))
        )
    if len(found) == 1:
        (only,) = found
        return _of_one_type(values, only, name)
    if found <= {"int", "Decimal"}:
        return _of_decimals(values)
    if found <= {"int", "float", "Decimal"}:
        return _of_floats(values)
    raise RatingsError(f"{name} mixes types ({' and '.join(sorted(found))}); {advice}")


def _of_one_type(values: Any, only: str, name: str) -> Any:
    """Return objects of one type, some of which may be missing."""
    import pyarrow as pa

    if only == "str":
        return _in_parts(values, lambda part: _text(part, name))
    if only == "int":
        return _of_integers(values, name)
    if only == "float":
        return _of_floats(values)
    if only == "Decimal":
        return _of_decimals(values)
    if only == "bytes":
        known = (bytes, bytearray, memoryview)
        return pa.array(
            [bytes(v) if isinstance(v, known) else None for v in values], pa.large_binary()
        )
    if only == "UUID":
        words = [str(v) if isinstance(v, UUID) else None for v in values]
        return pa.array(words, pa.large_string())
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise RatingsError(
            f"{name} holds {only} objects; make them numbers, strings or dates"
        ) from None


def _in_parts(values: Any, convert: Callable[[Any], Any]) -> Any:
    """Convert values part by part, so that little is held twice."""
    import pyarrow as pa

    parts = [convert(values[at : at + _PART]) for at in range(0, max(len(values), 1), _PART)]
    return parts[0] if len(parts) == 1 else pa.chunked_array(parts)


def _of_integers(values: Any, name: str) -> Any:
    import pyarrow as pa

    one = values[0] if len(values) == 1 else None
    if isinstance(one, int | np.integer) and -(2**63) <= one < 2**63:
        data = pa.py_buffer(np.array([one], np.int64))  # see `_text`
        return pa.Int64Array.from_buffers(pa.int64(), 1, [None, data])
    for dtype in (pa.int64(), pa.uint64()):
        try:
            return pa.array(values, dtype, from_pandas=True)
        except (pa.ArrowInvalid, OverflowError, TypeError):
            continue
    numbers = [int(v) for v in values if isinstance(v, int | np.integer)]
    if min(numbers) >= -(2**63) and max(numbers) < 2**64:
        found = "integers below 0 and from 2**63 on, which no 64-bit type holds together"
    else:
        found = "an integer id beyond 64 bits"
    raise RatingsError(f"{name} holds {found}; turn the ids into strings")


def _only_nan(values: Any) -> bool:
    """Return whether the floats among these objects are all NaN."""
    floats = (float, np.floating)
    return all(value != value for value in values if isinstance(value, floats))


def _of_floats(values: Any) -> Any:
    """Return numbers as float64; missing ones are null, NaN stays NaN."""
    import pyarrow as pa

    known = (float, int, np.floating, np.integer, Decimal, Fraction)
    return pa.array([float(v) if isinstance(v, known) else None for v in values], pa.float64())


def _of_decimals(values: Any) -> Any:
    """Return decimal numbers as Arrow's decimals, or as float64 if these cannot hold them."""
    import pyarrow as pa

    exact = [
        None
        if not isinstance(v, Decimal | int | np.integer)
        else Decimal(int(v))
        if not isinstance(v, Decimal)
        else v
        for v in values
    ]
    try:
        return pa.array(exact)
    except pa.ArrowException:  # NaN, infinity, or over 76 digits
        return _of_floats(values)
