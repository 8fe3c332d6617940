"""Files that are read wrong by whoever believes them, and files that ask for too much."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import scipy.sparse
from reading import refusal, rows, saved, stored

from bench.datasets import DatasetError, from_frame, read_ratings
from bench.datasets.reading import blocks

N = range(60)


def table(header: str, *columns: Any) -> str:
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join([header, *lines] if header else lines) + "\n"


REFUSED = {
    "a name was forgotten": (
        table("userId,movieId,rating", [n * 7 % 61 for n in N], N, [3] * 60, [978300760] * 60),
        "has 3 fields, but most lines after it have 4",
    ),
    "unquoted decimal commas": (
        table("user,item,rating", [n * 7 % 61 for n in N], N, [3] * 60, [5] * 60),
        "has 3 fields, but most lines after it have 4",
    ),
    "numbers for names": ("0,1,2\n5,10,3\n6,11,4\n", "may number the columns, or be a row"),
    "numbers for names beside an index": (",0,1,2\n0,5,10,3\n1,6,11,4\n", "may number the columns"),
    "items for names": ("user,1,2,3\n7,4,5,3\n8,1,2,3\n", "may number the columns"),
    "an id behind a comment": (
        "# exported\nalice,x,3\n#bob,y,4\ncarol,z,5\n",
        "line 3: '#bob,y,4' may be a comment or a rating. Remove it, or quote the id",
    ),
    "thousands in ids": (
        "user;item;rating\n1.000;10;3,5\n1;10;4,0\n2.000;11;2,5\n",
        "the user ids contain both '1' and '1.000'",
    ),
    "rounded ids": (
        "user,item,rating\n0195153448,1,5\n1.95E+08,1,4\n",
        "the user id '1.95E+08' looks like a long number that was rounded when it was saved",
    ),
    "rounded ids alone": (
        "user,item,rating\n7.65612E+16,1,5\n7.6E+16,1,4\n",
        "looks like a long number that was rounded",
    ),
    "quotes after spaces": ('1, "10", 5\n2, "11", 4\n', "item ids have quotes in them, such as"),
    "times first": (
        table("", [978300123 + n * 7 % 61 for n in N], N[::-1], [n % 50 for n in N]),
        "first column looks like times, not like ids",
    ),
    "ratings to 100 second": (
        table("", N[::-1], [n * 37 % 101 for n in N], [n * 7 % 90 for n in N]),
        "second column looks like ratings too",
    ),
    "an age third": (
        table(
            "", N[::-1], range(160, 100, -1), [20 + n % 40 for n in N], [n * 37 % 101 for n in N]
        ),
        "fourth column looks like ratings too",
    ),
    "99 for no rating": (
        "user,item,rating\n1,2,99\n1,3,-4.5\n2,3,9.5\n",
        "1 of 3 ratings are 99, and all others are far smaller",
    ),
    "-999 for no rating": ("user,item,rating\n1,2,-999\n1,3,-1\n2,3,5\n", "ratings are -999"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    content, message = REFUSED[name]
    assert message in refusal(stored(tmp_path, content))


def test_npz_columns_are_those_that_were_stated(tmp_path: Path) -> None:
    path = saved(tmp_path / "r", user=[1, 2], item=[8, 9], rating=[3, 4])
    assert rows(read_ratings(path, columns=("item", "user", "rating"))) == [
        (8, 1, 3.0),
        (9, 2, 4.0),
    ]
    path = saved(tmp_path / "r", a=[1, 2], b=[8, 9], c=[3, 4])
    assert rows(read_ratings(path, columns=(1, 0, 2))) == [(8, 1, 3.0), (9, 2, 4.0)]
    scipy.sparse.save_npz(tmp_path / "s.npz", scipy.sparse.coo_array([[0, 5.0]]))
    assert rows(read_ratings(tmp_path / "s.npz", columns=("item", "user", "rating"))) == [
        (1, 0, 5.0)
    ]


def test_columns_without_the_time_are_those_that_are_read(tmp_path: Path) -> None:
    path = stored(tmp_path, "date,user,item,rating\n03/04/2019,1,10,5\n13/04/2019,2,11,4\n")
    assert refusal(path).endswith("or pass columns=(1, 2, 3) for columns without the timestamp")
    assert rows(read_ratings(path, columns=(1, 2, 3))) == [(1, 10, 5.0), (2, 11, 4.0)]


@pytest.mark.parametrize(("kind", "number"), [("float32", 2**24 + 2), ("float16", 2**11 + 2)])
def test_floats_that_stand_for_several_integers(kind: str, number: int) -> None:
    frame = {"user": np.array([number, 1], kind), "item": [1, 2], "rating": [3.0, 4.0]}
    with pytest.raises(DatasetError, match="too large for ids"):
        from_frame(frame)
    frame["user"] = frame["user"].astype(np.float64)
    assert from_frame(frame).users.tolist() == [number, 1]


@pytest.mark.parametrize("users", [["?", "b"], [-1, 7]])
def test_missing_ids_of_columns_that_have_types(tmp_path: Path, users: list[Any]) -> None:
    path = tmp_path / "ratings"
    pd.DataFrame({"user": users, "item": [1, 2], "rating": [3, 4]}).to_parquet(path)
    raw = read_ratings(path, missing_ids=("?", "-1"), on_bad_rows="drop")
    assert rows(raw) == [(users[1], 2, 4.0)]


@pytest.mark.parametrize(
    "option",
    [
        {"missing_rating": float("nan")},
        {"missing_rating": np.array([-1, 0])},
        {"missing_ids": (text for text in ["?"])},
        {"separator": "\ud800"},
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, option: Any) -> None:
    with pytest.raises(DatasetError, match="must be"):
        read_ratings(stored(tmp_path, "1,2,3\n"), **option)


def test_files_of_polars(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": ["a", "b"], "item": [3, 4], "rating": [3.0, 4.0]})
    coded = frame.with_columns(pl.col("user").cast(pl.Categorical))
    for compression in ("uncompressed", "lz4", "zstd"):
        frame.write_ipc(tmp_path / "r", compression=compression)  # type: ignore[arg-type]
        assert rows(read_ratings(tmp_path / "r")) == [("a", 3, 3.0), ("b", 4, 4.0)]
    for write in (coded.write_ipc, coded.write_ipc_stream, coded.write_parquet):
        write(tmp_path / "r")
        assert rows(read_ratings(tmp_path / "r")) == [("a", 3, 3.0), ("b", 4, 4.0)]
    assert rows(from_frame(coded)) == [("a", 3, 3.0), ("b", 4, 4.0)]
    wide = frame.with_columns(pl.col("item").cast(pl.Int128))
    with pytest.raises(DatasetError, match=r"item.* of type Int128 is not one that Arrow has"):
        from_frame(wide)


@pytest.mark.parametrize("codes", [pa.uint8(), pa.int64()])
def test_dictionaries_of_other_codes_and_with_a_text_twice(codes: Any) -> None:
    users = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], codes), ["a", "a", "b"])
    raw = from_frame({"user": users, "item": [1, 2, 3], "rating": [3, 4, 5]})
    assert raw.users.tolist() == ["a", "a", "b"]


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
def test_encodings_of_parquet(tmp_path: Path, encoding: str) -> None:
    frame = pa.table({"user": ["a", "b"], "item": ["c", "d"], "rating": [3.0, 4.0]})
    encodings = {"user": encoding, "item": "PLAIN", "rating": "PLAIN"}
    path = tmp_path / "r"
    pa.parquet.write_table(frame, path, use_dictionary=False, column_encoding=encodings)
    assert rows(read_ratings(path)) == [("a", "c", 3.0), ("b", "d", 4.0)]


def test_lines_that_end_in_carriage_returns_in_several_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    path = stored(tmp_path, "\r".join(["user,item,rating", *(f"{n},{n},3" for n in range(99))]))
    assert read_ratings(path).users.tolist() == list(range(99))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = stored(tmp_path, "user,item,rating\n1,2,3\n".encode(encoding))
    assert f"If it is, pass encoding='{encoding}'" in refusal(path)
    assert rows(read_ratings(path, encoding=encoding)) == [(1, 2, 3.0)]
    path = stored(tmp_path, "\ufeffuser,item,rating\n1,2,3\n".encode(encoding))
    assert rows(read_ratings(path, encoding=encoding)) == [(1, 2, 3.0)]
    path = stored(tmp_path, "user,item,rating\n1,2,3\n".encode("utf-8-sig"))
    assert "byte order mark of UTF-8, so it is not in latin-1" in refusal(path, encoding="latin-1")


def test_names_that_are_digits(tmp_path: Path) -> None:
    path = stored(tmp_path, "30,10,20\n5,1,2\n")
    raw = read_ratings(path, header=True, columns=(10, 20, 30))
    assert rows(raw) == [(1, 2, 5.0)]


def test_the_advice_is_not_what_was_tried(tmp_path: Path) -> None:
    path = stored(tmp_path, "user;item;rating\n1;2;3,5\n1;3;1.234,5\n")
    assert "decimal" not in refusal(path, decimal=",").replace("not a finite", "")
    path = stored(tmp_path, "1,2,3\n4,5,6\n7,2,4\n")
    assert "pass separator=','" in refusal(path, separator="\t")


def test_many_spaces_take_no_longer(tmp_path: Path) -> None:
    path = stored(tmp_path, f"user item rating\na{' ' * 400_000}b 3\n")
    assert rows(read_ratings(path)) == [("a", "b", 3.0)], "and not after an hour"


LARGE = 1_000_000


@pytest.mark.parametrize(
    ("column", "write"),
    [
        (lambda n: pa.array([[0] * 100] * n), pa.parquet.write_table),
        (lambda n: pa.array([b"x" * LARGE] * n, pa.binary(LARGE)), pa.parquet.write_table),
        (
            lambda n: pa.DictionaryArray.from_arrays(
                pa.array([0] * n, pa.int16()), pa.array([b"x" * LARGE])
            ),
            pa.feather.write_feather,
        ),
    ],
)
def test_columns_that_would_take_much_memory(tmp_path: Path, column: Any, write: Any) -> None:
    n = 200
    path = tmp_path / "ratings"
    write(pa.table({"user": column(n), "item": range(n), "rating": [4.0] * n}), path)
    before = pa.total_allocated_bytes()
    try:
        raw = read_ratings(path)
    except DatasetError as error:
        assert "damaged" not in str(error)
    else:
        assert raw.users.tolist() == ["x" * LARGE] * n
    assert pa.total_allocated_bytes() - before < 10 * LARGE


# ---- what a second reading found ----------------------------------------------------------------

COMMAS = "1;3,5;7\n2;4,0;9\n1;2,5;12\n3;1,0;9\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (COMMAS, "may be column 0 the user, column 2 the item, column 1 the rating"),
        ("0;5;7;3,5\n1;6;9;4,0\n2;5;12;2,5\n", "so, pass columns=(1, 2, 3); if they"),
        (
            "user,item,rating\n" + "".join(f'"u{n}",1,2,100000000{n}\n' for n in range(9)),
            "has 3 fields, but most lines after it have 4",
        ),
        (
            "user,item,rating\n" + "".join(f"{n},1,2,5\n" for n in range(9)),
            "has 3 fields, but most",
        ),
        ("user;item;rating\n1,0;2;3,5\n1;3;4,5\n", "are numbers with decimals, such as '1,0'"),
        (
            "user;item;rating\n1.000;2;3,5\n2.000;3;4,5\n1;3;4,0\n",
            "contain both '1' and '1.000', which may be the same user. Write them in one way",
        ),
    ],
)
def test_refused_for_the_true_reason(tmp_path: Path, content: str, message: str) -> None:
    assert message in refusal(stored(tmp_path, content))


def test_a_missing_id_may_be_a_rating(tmp_path: Path) -> None:
    path = stored(tmp_path, "user,item,rating\n1,10,0\n0,11,5\n2,12,3\n-1,3,-1\n4,5,-1\n")
    raw = read_ratings(path, missing_ids=("0", "-1"), missing_rating=-1, on_bad_rows="drop")
    assert rows(raw) == [(1, 10, 0.0), (2, 12, 3.0)]
    assert raw.dropped == {"the user id is missing": 2, "rating -1 means not rated": 1}


@pytest.mark.parametrize(
    ("content", "n"),
    [
        ("0.000e+00 2.000e+00 5.000e+00\n1.200e+01 3.000e+00 4.000e+00\n", 2),  # numpy.savetxt
        (table("", [n // 9 for n in N], [n * 7 % 60 for n in N], [n % 7 - 3.25 for n in N]), 60),
        ("1 1 5\n1 2 3\n1 3 4\n", 3),  # a single user
        ("1,2,3,\n4,5,1,\n", 2),
        ("7,8,3.5,1302880923.5\n7,9,4.5,1302880923.5\n8,9,4,1302880923.5\n", 3),
        ("user,item,rating\n1,2,-8.44\n1,3,2.5\n", 2),
    ],
)
def test_what_nobody_would_doubt(tmp_path: Path, content: str, n: int) -> None:
    raw = read_ratings(stored(tmp_path, content.removeprefix("\n")))
    assert (len(raw.ratings), raw.dropped) == (n, {})
    assert raw.users.dtype == raw.items.dtype == np.int64


def test_a_large_id_that_is_dropped_does_not_decide_the_type(tmp_path: Path) -> None:
    path = stored(tmp_path, f"user,item,rating\n{2**64 - 1},2,x\n5,2,3\n")
    assert read_ratings(path, on_bad_rows="drop").users.dtype == np.int64
    raw = from_frame({"user": np.array([5], np.uint64), "item": [2], "rating": [3]})
    assert raw.users.dtype == np.int64


def test_periods_are_no_times() -> None:
    frame = pd.DataFrame({"user": [1], "item": [2], "rating": [3.0]})
    with pytest.raises(DatasetError, match=r"column time of type .*period.* make it numbers"):
        from_frame(frame.assign(time=pd.period_range("2020", periods=1, freq="M")))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("place", [1, 2])
def test_an_id_that_looks_like_a_comment(tmp_path: Path, end: str, place: int) -> None:
    lines = ["# exported", "1::3::4", "2::4::5", "3\t4::2"]
    lines.insert(place, "#1::2::4.5")
    path = stored(tmp_path, end.join(lines) + end)
    assert "may be" in refusal(path, on_bad_rows="drop")
