"""Ratings from columns with types: Parquet, Feather, npz, data frames."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from reading import ROWS, refusal, rows, saved

from bench.datasets import DatasetError, from_frame, read_ratings

MISSING = "the {} id is missing"
FRAME = pd.DataFrame(
    {
        "rating": [4.0, 3.5, 5.0],
        "userId": [1, 2, 1],
        "movieId": [10, 10, 20],
        "timestamp": [7, 8, 9],
    }
)


@pytest.mark.parametrize("write", ["to_parquet", "to_feather"])
def test_parquet_and_feather(tmp_path: Path, write: str) -> None:
    path = tmp_path / "ratings"
    getattr(FRAME, write)(path)
    raw = read_ratings(path)
    assert rows(raw) == ROWS
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [7, 8, 9]
    assert read_ratings(path, columns=("userId", "movieId", "rating")).timestamps is None
    FRAME.astype({"movieId": str}).astype({"userId": "category"}).to_parquet(path)
    assert rows(read_ratings(path)) == ROWS, "as from a text"
    FRAME.assign(movieId=["x", "10", "x"]).astype({"userId": "category"}).to_parquet(path)
    assert rows(read_ratings(path)) == [(1, "x", 4.0), (2, "10", 3.5), (1, "x", 5.0)]
    getattr(FRAME.rename(columns={"movieId": "x"}), write)(path)
    assert "(rating, userId, x, timestamp), but none that is recognised as" in refusal(path)


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_sparse_matrices(tmp_path: Path, layout: str) -> None:
    matrix = scipy.sparse.coo_array(([4.0, 3.5, 0.0], ([1, 2, 1], [10, 10, 20])), shape=(5, 30))
    path = tmp_path / "ratings.npz"
    scipy.sparse.save_npz(path, matrix.asformat(layout))
    assert sorted(rows(read_ratings(path))) == [(1, 10, 4.0), (1, 20, 0.0), (2, 10, 3.5)], (
        "zeros that are stored count"
    )


CSR = {
    "format": b"csr",
    "shape": [2, 9],
    "data": [1.0, 2.0],
    "indices": [3, 4],
    "indptr": [0, 1, 2],
}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"users": [1, 2], "items": [1, 2], "ratings": [1.0]},
            "items, ratings must be one-dimensional and equally",
        ),
        (
            {"users": [[1]], "items": [[1]], "ratings": [[1]]},
            "must be one-dimensional and equally long, got shapes (1, 1)",
        ),
        (
            {"users": [1], "items": [1]},
            "FILE has 2 columns (users, items), but none that is recognised as the rating",
        ),
        (
            {"users": [1], "items": [1], "ratings": [1j]},
            "column 'ratings' holds complex128, which is neither",
        ),
        (
            {"users": [1.5], "items": [1], "ratings": [1]},
            "column users has double numbers that are not whole or too large for ids, such as 1.5;",
        ),
        (
            {"users": [1], "items": [1], "ratings": [np.nan]},
            "row 1: the rating is not a finite number: (1, 1, nan)",
        ),
        (
            {"users": np.array([1, "a"], object), "items": [1, 2], "ratings": [1, 2]},
            "has an array of Python objects, which is not read",
        ),
        (CSR | {"indptr": [0, 9, 2]}, "its row pointers do not match its 2 entries"),
        (CSR | {"indices": [3, 9]}, "a column index is outside the matrix of 2 x 9"),
        (CSR | {"indices": [-1, 4]}, "FILE is damaged: a column index is outside"),
        (CSR | {"data": [1.0]}, "it has 2 row indices, 2 column indices and 1 entries"),
        (
            CSR | {"format": b"bsr"},
            "FILE is a sparse matrix in the format bsr; save it as coo, csr or csc",
        ),
    ],
)
def test_what_npz_files_may_not_hold(tmp_path: Path, arrays: Any, message: str) -> None:
    assert message in refusal(saved(tmp_path / "ratings", **arrays))


def test_npz_arrays(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "r",
        ratings=[4, 3.5, 5],
        users=np.array([1, 2, 1], ">i2"),
        items=["a", "007", "\u00e9"],
    )
    assert rows(read_ratings(path)) == [(1, "a", 4.0), (2, "007", 3.5), (1, "\u00e9", 5.0)]


def test_frames() -> None:
    assert rows(from_frame(FRAME)) == ROWS
    assert rows(from_frame(FRAME.astype({"userId": "Int64", "movieId": float}))) == ROWS, (
        "floats that are whole"
    )
    renamed = FRAME.astype({"movieId": "category"}).set_axis(list("zaby"), axis=1)
    assert rows(from_frame(renamed, columns=("a", "b", "z"))) == ROWS
    assert rows(from_frame(pd.DataFrame(ROWS))) == ROWS, "by position where columns have no names"
    assert rows(from_frame(FRAME, missing_rating=4)) == ROWS[1:]
    dated = FRAME.assign(timestamp=pd.to_datetime(["2016-01-02", "2016-01-03", "2016-01-04"]))
    times = from_frame(dated).timestamps
    assert times is not None
    assert times.astype("M8[D]").tolist() == dated.timestamp.dt.date.tolist()
    missing = pd.DataFrame(
        {"user": ["a", None, "", "d"], "item": [1, 2, 3, None], "rating": [1, 2, 3, 4]}
    )
    with pytest.raises(
        DatasetError,
        match=r"the data frame, row 2: the user id is missing: \(None, 2.0, 2\)\.",
    ):
        from_frame(missing)
    raw = from_frame(missing, on_bad_rows="drop")
    assert rows(raw) == [("a", 1, 1.0)]
    assert raw.dropped == {MISSING.format("user"): 2, MISSING.format("item"): 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"userId": [1, "a", 2]}, "column 'userId' mixes types .*; make all its values one type"),
        ({"userId": ["a", "\ud800", "b"]}, "column 'userId' holds text that is not Unicode"),
        ({"userId": [b"a", b"\xff", b"b"]}, "column userId has bytes that are not text in UTF-8"),
        ({"userId": [1j, 2j, 3j]}, "column 'userId' holds complex128, which is neither"),
        (
            {"userId": [[1], [2], [3]]},
            "column userId of type list.* cannot be ids; make it integers or strings",
        ),
        (
            {"userId": [True, False, True]},
            "column userId of type bool cannot be ids; make it integers or strings",
        ),
        ({"userId": [0.5, 1, 2]}, "column userId has double numbers that are not whole"),
        ({"userId": [float("inf"), 1, 2]}, "column userId has double numbers that are not whole"),
        (
            {"rating": [True, False, True]},
            "column rating of type bool cannot be ratings; make it numbers",
        ),
        (
            {"timestamp": [True, False, True]},
            "timestamp of type bool cannot be timestamps; make it numbers or dates, or name",
        ),
    ],
)
def test_frames_whose_types_cannot_serve(changes: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        from_frame(
            FRAME.assign(
                **{
                    name: pd.Series(values, dtype=object if isinstance(values[0], str) else None)
                    for name, values in changes.items()
                }
            )
        )
