"""Reading a user's own ratings from text files: layout, packing, ids, times, and the real files."""

import bz2
import gzip
import lzma
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import reading_damage
from reading import BIG, PLAIN, ROWS, needs_data, refusal, rows, stored

from bench.datasets import DatasetError, read_ratings
from bench.datasets.reading import blocks


@pytest.mark.parametrize(
    ("separator", "header"),
    [
        (",", "userId,movieId,rating"),
        (",", ""),
        ("\t", ""),
        ("\t", "user\titem\tscore"),
        ("::", ""),
        (";", "User ID;Item ID;Score"),
        (";", '"User-ID";"ISBN";"Book-Rating"'),
        ("|", ""),
        (" ", ""),
        (", ", "user, item, rating"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text(tmp_path: Path, separator: str, header: str, end: str) -> None:
    lines = [*([header] if header else []), *(separator.join(map(str, row)) for row in ROWS)]
    assert rows(read_ratings(stored(tmp_path, end.join(lines) + end))) == ROWS
    assert rows(read_ratings(stored(tmp_path, end + end.join(lines) + end * 3))) == ROWS, (
        "empty lines"
    )
    assert rows(read_ratings(stored(tmp_path, end.join(lines)))) == ROWS, "no line end at the end"


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lzma.compress,
        lambda data: pa.compress(data, codec="zstd", asbytes=True),
        lambda data: reading_damage.zipped("folder/ratings.csv", data),
    ],
    ids=["gzip", "bzip2", "xz", "zstd", "zip"],
)
@pytest.mark.parametrize("name", ["ratings.csv", "ratings.gz"])
def test_packed_text_whatever_its_name(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    packed = pack(PLAIN)
    assert rows(read_ratings(stored(tmp_path, packed, name))) == ROWS
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing is extracted"
    # Wherever it is cut off, that is noticed (a zip loses its table of contents).
    for length in range(1, len(packed)):
        with pytest.raises(DatasetError):
            read_ratings(stored(tmp_path, packed[:length], name))


def test_zips_of_several_files(tmp_path: Path) -> None:
    path = tmp_path / "ratings.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", PLAIN)
        archive.writestr("__MACOSX/a.csv", b"\0")
        archive.writestr("folder/", b"")
    assert rows(read_ratings(path)) == ROWS
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../b.csv", PLAIN)
    assert refusal(path) == (
        "FILE contains 2 files (a.csv, ../../b.csv), but one is expected: "
        "pack only the file of ratings"
    )


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        (
            "timestamp,rating,item,user\n5,4.5,i1,ann\n6,1,i2,bob\n",
            None,
            [("ann", "i1", 4.5), ("bob", "i2", 1.0)],
        ),
        ("a,b,c\n1,2,3\n", ("b", "a", "c"), [(2, 1, 3.0)]),
        ("a,b,c\n1,2,3\n", (1, 0, 2), [(2, 1, 3.0)]),
        ("1,2,3,x,y\n", (1, 0, 2), [(2, 1, 3.0)]),
        ("1,2,3,4\n", (0, 1, 3), [(1, 2, 4.0)]),
        (",user,item,rating\n0,1,2,3\n", None, [(1, 2, 3.0)]),
        ("user,book,3\nuser,film,4\n", None, [("user", "book", 3.0), ("user", "film", 4.0)]),
        ('user,title,item,rating\n1,"a, b\n""c""",2,3\n4,,5,6\n', None, [(1, 2, 3.0), (4, 5, 6.0)]),
    ],
)
def test_columns(tmp_path: Path, content: str, columns: Any, expected: list[Any]) -> None:
    assert rows(read_ratings(stored(tmp_path, content), columns=columns)) == expected


def test_header_and_separator_can_be_given(tmp_path: Path) -> None:
    path = stored(tmp_path, "1,2,3\n4,5,6\n")
    assert rows(read_ratings(path, header=True, columns=(0, 1, 2))) == [(4, 5, 6.0)]
    path = stored(tmp_path, "user,item,rating\n4,5,6\n")
    assert "line 1: the rating is not a finite number: 'user,item,rating'" in refusal(
        path, header=False
    )
    path = stored(tmp_path, "1|2|3;4\n5|6|7;8\n")
    assert "has 2 fields separated by ';'" in refusal(path, separator=";")
    assert rows(read_ratings(stored(tmp_path, "1~~2~~3\n"), separator="~~")) == [(1, 2, 3.0)]


def test_missing_rating_sentinel(tmp_path: Path) -> None:
    raw = read_ratings(
        stored(tmp_path, "user_id,anime_id,rating\n1,2,-1\n1,3,8\n4,5,-1.0\n"), missing_rating=-1
    )
    assert rows(raw) == [(1, 3, 8.0)]
    assert raw.dropped == {"rating -1 means not rated": 2}
    raw = read_ratings(
        stored(tmp_path, "1,2,-1\n1,3\n1,3,8\n"), missing_rating=-1, on_bad_rows="drop"
    )
    assert raw.dropped == {"rating -1 means not rated": 1, "the number of fields is not 3": 1}


@pytest.mark.parametrize("block_bytes", [24, 1 << 24])
@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["7", "-7", "0"], [7, -7, 0]),
        (["007", "7", "8"], ["007", "7", "8"]),
        (["7", "8", "007"], ["7", "8", "007"]),
        (["7", "-0", "0"], ["7", "-0", "0"]),
        (["7", "+7", "0x7"], ["7", "+7", "0x7"]),
        (["7", "7.0", "-1.00"], [7, 7, -1]),
        (["7", "8.0", "x"], ["7", "8.0", "x"]),
        (["7.0", "+8", "1e3"], ["7.0", "+8", "1e3"]),
        ([str(BIG), "1", "0"], [BIG, 1, 0]),
        ([str(BIG), "-1", "0"], [str(BIG), "-1", "0"]),
        (["-1", str(BIG), "0"], ["-1", str(BIG), "0"]),
        ([str(BIG + 1), "1", "0"], [str(BIG + 1), "1", "0"]),
        ([str(-(2**63)), str(2**63 - 1), "0"], [-(2**63), 2**63 - 1, 0]),
        (['"NA"', '"null"', "NULLs"], ["NA", "null", "NULLs"]),
        (["\u540d", "e\u0301", "\u00e9"], ["\u540d", "e\u0301", "\u00e9"]),
        ([" 7", "8 ", "9"], [7, 8, 9]),
        (["\u00a07", "8\u3000", "\u200b9"], [7, 8, 9]),
        ([" a", "a\t", "a"], ["a", "a", "a"]),
    ],
)
def test_ids(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block_bytes: int,
    texts: list[str],
    expected: list[Any],
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    raw = read_ratings(
        stored(tmp_path, "user,item,rating\n" + "".join(f"{text},1,1\n" for text in texts))
    )
    assert raw.users.tolist() == expected
    if isinstance(expected[0], str):
        assert isinstance(raw.users, pd.Categorical)
    else:
        assert raw.users.dtype == (np.uint64 if BIG in expected else np.int64)


def test_dropped_rows_do_not_decide_what_ids_are(tmp_path: Path) -> None:
    raw = read_ratings(stored(tmp_path, "user,item,rating\nTotal,,9\n1,2,3\n"), on_bad_rows="drop")
    assert rows(raw) == [(1, 2, 3.0)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks_are_heeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 37)  # characters are cut
    path = stored(tmp_path, ("user,item,rating\n" + "\u00e9,\U0001f600,3\n" * 20).encode(encoding))
    assert rows(read_ratings(path)) == [("\u00e9", "\U0001f600", 3.0)] * 20
    assert rows(read_ratings(path, encoding=encoding)) == [("\u00e9", "\U0001f600", 3.0)] * 20


def test_encoding_can_be_given(tmp_path: Path) -> None:
    path = stored(tmp_path, "user,item,rating\n\u00e9,1,3\n".encode("latin-1"))
    assert rows(read_ratings(path, encoding="latin-1")) == [("\u00e9", 1, 3.0)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["978300760", "-5"], np.array([978300760, -5])),
        (["978300760", "1.5"], np.array([978300760.0, 1.5])),
        (
            ["2016-01-02", "2016-01-02 03:04:05"],
            np.array(["2016-01-02", "2016-01-02T03:04:05"], "M8[us]"),
        ),
        (
            ["2016-01-02T03:04:05+01:00", "2016-01-02"],
            np.array(["2016-01-02T02:04:05", "2016-01-02"], "M8[us]"),
        ),
    ],
)
def test_timestamps(tmp_path: Path, texts: list[str], expected: Any) -> None:
    lines = "".join(f"1,2,3,{text}\n" for text in texts)
    for content in (lines, "user,item,rating,timestamp\n" + lines):
        times = read_ratings(stored(tmp_path, content)).timestamps
        assert times is not None
        assert times.dtype == expected.dtype
        assert times.tolist() == expected.tolist()
    assert read_ratings(stored(tmp_path, lines), columns=(0, 1, 2)).timestamps is None
    path = stored(tmp_path, lines + "1,2,3,soon\n")
    told = refusal(path)
    assert "line 3: the timestamp is neither a number nor an ISO 8601 date: '1,2,3,soon'" in told
    assert told.endswith("or pass columns=(0, 1, 2) for columns without the timestamp")
    assert len(read_ratings(path, on_bad_rows="drop").ratings) == 2


@needs_data
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "options", "n", "users", "items"),
    [
        ("anime-5k/ratings.tsv", {}, 419_943, 4_714, 7_157),
        ("anime-slice/rating.csv", {"missing_rating": -1}, 78_151, 902, 5_100),
        ("anime-slice/rating.csv", {"missing_rating": "none"}, 97_470, None, None),
        ("ciao/ratings.csv", {}, 284_086, 7_375, 105_114),
        ("movietweetings-100k/ratings.dat", {}, 100_000, 16_554, 10_506),
        ("coat/ratings.txt", {}, 6_960, 290, 300),
        ("filmtrust/ratings.txt", {}, 35_497, 1_508, 2_071),
        ("ml-100k/u.data", {}, 100_000, 943, 1_682),
        ("ml-100k/u1.base", {}, 80_000, 943, 1_650),
        ("ml-100k/u1.test", {}, 20_000, 459, 1_410),
        ("ml-100k/ua.base", {}, 90_570, 943, 1_680),
        ("ml-1m/ratings.parquet", {}, 1_000_209, 6_040, 3_706),
        ("ml-latest-small/ratings.csv", {}, 100_836, 610, 9_724),
    ],
)
def test_real_files(name: str, options: Any, n: int, users: int | None, items: int | None) -> None:
    raw = read_ratings(Path(os.environ["RATINGS_DATA"]) / name, **options)
    assert len(raw.ratings) == n
    assert raw.users.dtype == np.int64
    # IMDb's ids have leading zeros.
    assert isinstance(raw.items, pd.Categorical) == name.startswith("movietweetings")
    if users:
        assert (len(pd.unique(raw.users)), len(pd.unique(raw.items))) == (users, items)
    if name == "anime-slice/rating.csv" and options:
        not_rated = {"rating -1 means not rated": 19_319}
        assert raw.dropped == (not_rated if options["missing_rating"] == -1 else {})


@needs_data
@pytest.mark.real_data
@pytest.mark.parametrize(
    "name", ["anime-slice/anime.csv", "ml-100k/u.item", "ml-latest-small/movies.csv", "README.md"]
)
def test_real_files_that_are_no_ratings(name: str) -> None:
    with pytest.raises(DatasetError, match=r"columns|UTF-8|separator"):
        read_ratings(Path(os.environ["RATINGS_DATA"]) / name)
