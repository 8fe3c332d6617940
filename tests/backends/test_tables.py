"""Tables of any library: one and the same ratings of each, and what is no table is refused."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from backends import Ratings, RatingsError, to_arrow

USERS, ITEMS, VALUES = ["b", "a", "b"], [7, 7, 9], [1.0, 2.0, 3.0]
COLUMNS = {"user": USERS, "item": ITEMS, "rating": VALUES}
ROWS = list(zip(USERS, ITEMS, VALUES, strict=True))


def duck() -> Any:
    return duckdb.sql(
        "SELECT * FROM (VALUES ('b', 7, 1.0), ('a', 7, 2), ('b', 9, 3)) t(user, item, rating)"
    )


def kind_of(value: Any) -> str:
    """A name for a case; representations of Arrow arrays hold addresses."""
    return value if isinstance(value, str) else type(value).__name__


TABLES = {
    "pandas": lambda: pd.DataFrame(COLUMNS, index=[5, 5, 5]),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "lazy": lambda: pl.DataFrame(COLUMNS).lazy(),
    "table": lambda: pa.table(COLUMNS),
    "batch": lambda: pa.record_batch(COLUMNS),
    "reader": lambda: pa.table(COLUMNS).to_reader(),
    "duckdb": duck,
    "dict": lambda: COLUMNS,
    "tuples": lambda: ROWS,
    "structured": lambda: np.array(ROWS, [("user", "U9"), ("item", "i4"), ("rating", "f4")]),
    "masked": lambda: np.ma.array(ROWS, dtype=[("user", "U9"), ("item", "i4"), ("rating", "f4")]),
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_table_gives_the_same_ratings(kind: str) -> None:
    train = Ratings.from_frame(TABLES[kind]())
    assert train.encoder is not None
    assert (train.users.tolist(), train.items.tolist()) == ([0, 1, 0], [0, 0, 1])
    assert train.ratings.tolist() == VALUES
    assert (train.encoder.users.tolist(), train.encoder.items.tolist()) == (["b", "a"], [7, 9])
    table = to_arrow(TABLES[kind]())
    assert table.column_names == ["user", "item", "rating"]
    assert table.column("user").to_pylist() == USERS
    assert [float(value) for value in table.column("rating").to_pylist()] == VALUES


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array, sparse.coo_array])
def test_a_sparse_matrix_has_a_rating_per_stored_entry(make: Any) -> None:
    stored = make((np.array([5.0, 0.0, 3.0]), (np.array([0, 1, 2]), np.array([1, 0, 1]))))
    train = Ratings.from_frame(stored)
    assert train.encoder is not None
    users, items = train.encoder.user_ids(train.users), train.encoder.item_ids(train.items)
    cells = zip(users.tolist(), items.tolist(), train.ratings.tolist(), strict=True)
    assert sorted(cells) == [(0, 1, 5.0), (1, 0, 0.0), (2, 1, 3.0)]


def test_rows_of_four_have_a_time() -> None:
    table = to_arrow([("a", 1, 4.0, 99)])
    assert table.to_pydict() == {"user": ["a"], "item": [1], "rating": [4.0], "timestamp": [99]}
    assert to_arrow([]).num_rows == 0


def test_masked_values_are_null() -> None:
    masked = np.ma.MaskedArray([1, 999], [False, True])
    assert to_arrow({"a": masked})["a"].to_pylist() == [1, None]
    with pytest.raises(RatingsError, match="users has 1 missing ids"):
        Ratings.from_frame({"user": masked, "item": [1, 2], "rating": [1.0, 2.0]})


def test_columns_that_are_not_wanted_are_not_looked_at() -> None:
    frame = pd.DataFrame({**COLUMNS, "notes": [1, "x", object()]})
    assert len(Ratings.from_frame(frame)) == 3
    assert to_arrow(frame, columns=["item"]).column_names == ["item"]
    assert to_arrow({"genres": [["a"], ["b", "c"]]})["genres"].to_pylist() == [["a"], ["b", "c"]]
    with pytest.raises(RatingsError) as caught:
        to_arrow(frame)
    assert str(caught.value) == (
        "column 'notes' mixes types (int and object and str); make all its values one type"
    )


@pytest.mark.parametrize("kind", ["pandas", "arrow"])
def test_a_name_that_two_columns_have_is_refused_where_it_is_wanted(kind: str) -> None:
    names = ["user", "item", "rating", "extra", "extra"]
    columns = [USERS, ITEMS, VALUES, VALUES, VALUES]
    table = pa.table([pa.array(column) for column in columns], names)
    frame = (
        table
        if kind == "arrow"
        else pd.concat([pd.Series(c, name=n) for n, c in zip(names, columns, strict=True)], axis=1)
    )
    assert len(Ratings.from_frame(frame)) == 3
    assert to_arrow(frame).column_names == names
    with pytest.raises(RatingsError) as caught:
        Ratings.from_frame(frame, rating="extra")
    assert str(caught.value) == (
        "the frame has 2 columns 'extra'; rename all but the one that counts"
    )


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (np.zeros((2, 3)), "an array of shape (2, 3) without named columns"),
        (7, "int"),
        ("ratings.csv", "str"),
        (pd.Series([1.0]), "Series"),
        (pl.Series([1.0]), "Series"),
        (pa.array([1.0]), "DoubleArray"),
        (None, "NoneType"),
    ],
    ids=kind_of,
)
def test_what_is_no_table_is_refused(data: Any, found: str) -> None:
    with pytest.raises(RatingsError) as caught:
        Ratings.from_frame(data)
    assert str(caught.value) == (
        f"this is no table of ratings, but {found}; pass a data frame (pandas, polars), a pyarrow "
        "table, a DuckDB relation, a dict of columns, a list of (user, item, rating) tuples, a "
        "NumPy structured array or a SciPy sparse matrix"
    )


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([(1, 2)], "one with rows of 2 values"),
        ([(1, 2, 3.0), (1, 2, 3.0, 4)], "one with rows of 3 and 4 values"),
        ([1, 2, 3], "one of something else"),
        ([{"user": 1}], "one of something else"),
    ],
    ids=kind_of,
)
def test_rows_are_tuples_of_three_or_four(rows: Any, found: str) -> None:
    with pytest.raises(RatingsError) as caught:
        to_arrow(rows)
    assert str(caught.value) == (
        "a list must hold tuples (user, item, rating) or (user, item, rating, timestamp), "
        f"got {found}"
    )


def test_the_columns_of_a_dict_have_one_length() -> None:
    with pytest.raises(RatingsError) as caught:
        to_arrow({"user": [1, 2], "item": [1]})
    assert str(caught.value) == (
        "the columns of a table must have one length: 'user' has 2, 'item' has 1"
    )
