"""Files as programs and people write them: read right, or refused for the true reason."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
from reading import refusal, rows, stored

from bench.datasets import read_ratings
from bench.datasets.reading import blocks
from bench.datasets.reading.ipc_sizes import claimed_bytes

OTHER_NAMES = "business_id,username,vote"
ZEROS = "".join(f"{n},{n % 7},{rating}\n" for n, rating in enumerate([0] * 30 + [5, 6, 7] * 5))

READ: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    # Ids.
    "1, 1.0 and a quoted 1": (
        'user,item,rating\n1,1,4\n1.0,2,4\n"1",3,4\n',
        [(1, 1, 4.0), (1, 2, 4.0), (1, 3, 4.0)],
    ),
    "R's 1e+05": ("user,item,rating\n99999,1,4\n1e+05,1,3\n", [(99999, 1, 4.0), (100000, 1, 3.0)]),
    "a quoted NULL": (
        'user,item,rating\n"NULL",1,4\nbob,2,3\n',
        [("NULL", 1, 4.0), ("bob", 2, 3.0)],
    ),
    "leading zeros": ("user,item,rating\n007,1,4\n7,2,3\n", [("007", 1, 4.0), ("7", 2, 3.0)]),
    "hexadecimal": ("user,item,rating\n0x1F,1,4\n31,2,3\n", [("0x1F", 1, 4.0), ("31", 2, 3.0)]),
    "spaces nobody sees": (
        "user,item,rating\n1,2,4\n\u00a02,\u200b2,4\n",
        [(1, 2, 4.0), (2, 2, 4.0)],
    ),
    "ids that start with #": ("#a,x,4\n#b,y,3\n", [("#a", "x", 4.0), ("#b", "y", 3.0)]),
    # Comments and headers.
    "a comment": ("# exported 2024-01-01\nuser,item,rating\n1,31,2.5\n", [(1, 31, 2.5)]),
    "comments between rows": (
        "# a\nuser,item,rating\n1,31,2.5\n# b\n2,3,4\n",
        [(1, 31, 2.5), (2, 3, 4.0)],
    ),
    "a comment that is the header": ("#item\tuser\trating\n1\t10\t4\n", [(10, 1, 4.0)]),
    "KONECT": (
        "% bip weighted\n% 3 2 3\n1 1 5 100000000\n2 1 3 100000001\n",
        [(1, 1, 5.0), (2, 1, 3.0)],
    ),
    "Excel's sep=": ("sep=;\nuser;item;rating\n1;10;4\n", [(1, 10, 4.0)]),
    "RecBole": ("item_id:token\tuser_id:token\trating:float\n31\t1\t2.5\n", [(1, 31, 2.5)]),
    "R's row names": (
        '"user" "item" "rating"\n"1" 5 10 4\n"2" 6 10 3\n',
        [(5, 10, 4.0), (6, 10, 3.0)],
    ),
    "pandas' index": (",user,item,rating\n0,5,10,4\n1,6,10,3\n", [(5, 10, 4.0), (6, 10, 3.0)]),
    "Yelp": (f"{OTHER_NAMES}\nb1,ann,4\n", [("ann", "b1", 4.0)]),
    "recipes": (
        "user_id,recipe_id,date,rating\n1,2,2005-01-01,4\n3,2,2006-01-01,5\n4,5,2006-01-01,5\n",
        [(1, 2, 4.0), (3, 2, 5.0), (4, 5, 5.0)],
    ),
    "a user_id beside a username": (
        "username,anime_id,my_score,user_id\nann,1,8,12\n",
        [(12, 1, 8.0)],
    ),
    # Separators.
    "runs of spaces": (
        "  1   31  2.5\n  2  131  3.0\n 10   31  4.0\n",
        [(1, 31, 2.5), (2, 131, 3.0), (10, 31, 4.0)],
    ),
    "quoted texts among runs of spaces": (
        '"a  b"   31  2.5\nc      131  3.0\n',
        [("a  b", 31, 2.5), ("c", 131, 3.0)],
    ),
    "an empty last column": ("1::31::2.5::\n2::31::3::\n", [(1, 31, 2.5), (2, 31, 3.0)]),
    "an empty first column": (",1,10,4\n,2,10,3\n", [(1, 10, 4.0), (2, 10, 3.0)]),
    "two tabs": ("1\t\t10\t4\n2\t\t10\t3\n", [(1, 10, 4.0), (2, 10, 3.0)]),
    "separators after the rows only": (
        "user,item,rating\n1,10,4,\n2,10,3,\n",
        [(1, 10, 4.0), (2, 10, 3.0)],
    ),
    "a separator after the header only": (
        "user,item,rating,\n1,10,4\n2,10,3\n",
        [(1, 10, 4.0), (2, 10, 3.0)],
    ),
    # Numbers.
    "decimal commas": ("user;item;rating\n1;31;2,5\n2;31;3,25\n", [(1, 31, 2.5), (2, 31, 3.25)]),
    "quoted decimal commas": (
        'user,item,rating\n1,31,"2,5"\n2,31,"3,0"\n',
        [(1, 31, 2.5), (2, 31, 3.0)],
    ),
    "decimal commas without header": (
        "ann;x;4,5\nbob;y;3,0\n",
        [("ann", "x", 4.5), ("bob", "y", 3.0)],
    ),
    # Columns whose order is not in doubt.
    "ratings to 100": (
        "1,10,87\n2,10,100\n9,11,3\n7,12,50\n",
        [(1, 10, 87.0), (2, 10, 100.0), (9, 11, 3.0), (7, 12, 50.0)],
    ),
    "likes and dislikes": (
        "1,10,1\n2,10,-1\n9,11,1\n",
        [(1, 10, 1.0), (2, 10, -1.0), (9, 11, 1.0)],
    ),
    "two users": (
        "1,10,5\n1,12,3\n2,10,1\n2,12,4\n",
        [(1, 10, 5.0), (1, 12, 3.0), (2, 10, 1.0), (2, 12, 4.0)],
    ),
}

REFUSED: dict[str, tuple[str, str]] = {
    # Ids.
    **{
        f"{text!r} is no id": (
            f"user,item,rating\n1,2,3\n{text},31,4\n",
            "FILE, line 3: the user id is missing",
        )
        for text in (
            "NULL",
            "null",
            r"\N",
            "NaN",
            "nan",
            "NA",
            "<NA>",
            "N/A",
            "#N/A",
            "None",
            " NULL ",
            "",
        )
    },
    "1 and 1.0 among texts": (
        "user,item,rating\nx,1,4\n1,2,4\n1.0,3,2\n",
        "contain both '1' and '1.0', which may be the same user",
    ),
    "ids with decimals": (
        "user,item,rating\n1.5,1,4\n2,3,4\n",
        "the user ids are numbers with decimals, such as '1.5'",
    ),
    # Columns in another order.
    "pandas' index": (
        "0,1,31,2.5\n1,1,1029,3.0\n2,2,31,4.0\n",
        "first column counts the rows, as an index does. They may be column 1 the user, column 2 "
        "the item, column 3 the rating: if so, pass columns=(1, 2, 3)",
    ),
    "an index from 1": (
        "1,5,10,4\n2,6,11,3\n3,5,12,2\n",
        "if so, pass columns=(1, 2, 3); if they are user, item, rating and time after all, pass "
        "columns=(0, 1, 2, 3)",
    ),
    "an index and times": (
        "0,5,10,4,978300760\n1,6,10,3,978300761\n2,5,12,2,978300762\n",
        "pass columns=(1, 2, 3, 4)",
    ),
    "ratings first": (
        "4.5,1,31\n3.0,2,31\n",
        "first column has decimals, which user ids do not have. They may be column 1 the user, "
        "column 2 the item, column 0 the rating: if so, pass columns=(1, 2, 0)",
    ),
    "whole ratings first": (
        "5,1,1029\n3,2,31\n4,7,88\n",
        "third column, with numbers up to 1029, does not look like ratings",
    ),
    "small items last": (
        "".join(f"{1 + n * 7 % 5},{n % 4},{n % 37}\n" for n in range(60)),
        "first column looks like ratings too",
    ),
    "times third": (
        "1,10,978300760,5\n2,10,978302109,3\n",
        "third column looks like times, not ratings. They may be column 0 the user, column 1 the "
        "item, column 3 the rating, column 2 the time: if so, pass columns=(0, 1, 3, 2)",
    ),
    "dates third": (
        "1,31,2005-09-06,4\n2,31,2005-09-07,3\n",
        "third column looks like dates, not ratings. They may be column 0 the user",
    ),
    "days first": ("1,31,06/09/2005,4\n2,31,07/09/2005,3\n", "third column looks like dates"),
    "numbers of plays": (
        "1,10,300\n2,10,5\n9,11,12000\n",
        "third column, with numbers up to 12000, does not look like",
    ),
    "ratings fourth": ("7,10,40,4\n2,10,30,3\n9,11,50,5\n", "fourth column looks like ratings too"),
    "a matrix": (
        "74,-7.82,8.79,-9.66\n100,4.08,-0.29,6.36\n",
        "several of its columns have decimals, as those of a matrix of ratings do",
    ),
    # Layouts that may be another one.
    "a # that may start an id": (
        "#a,x,4\nb,y,3\n",
        "lines that start with '#' may be comments or ratings, such as '#a,x,4'. Remove them, or "
        "quote",
    ),
    "a title": (
        "Ratings export 2024\nuser,item,rating\n1,10,4\n2,11,3\n",
        "first line: 'Ratings export 2024' has 1 field, but most lines after it have 3. Complete",
    ),
    "a name too few": (
        "user item rating\n1 A x 4\n1 B y 5\n",
        "has 3 fields, but most lines after it have 4. Complete it if it names",
    ),
    "thousands or decimals": (
        "user;item;rating\n1;10;4,500\n2;10;3,250\n",
        "may have a decimal comma, or one between thousands. If it is a decimal comma, pass "
        "decimal=','",
    ),
    "a decimal comma in one row": (
        "user;item;rating\n1;10;4\n2;10;3.5\n3;1;2,5\n",
        "line 4: the rating is not a finite number: '3;1;2,5'. Correct it, or pass "
        "on_bad_rows='drop' to leave out such rows; if the comma is a decimal comma, pass "
        "decimal=','",
    ),
    "text in a column that begins empty": (
        "".join(f"{n % 7},{n % 9},4,\n" for n in range(60)) + "1,2,3,x\n",
        "line 61: there is text in a column that is empty in the first lines",
    ),
    # Formats that are not read.
    "JSON lines": (
        '{"user":"A","item":"x","rating":4}\n{"user":"B"}\n',
        "FILE is JSON, which is not read. Convert it",
    ),
    "JSON": ('[\n  {\n "user": 1}\n]', "FILE is JSON, which is not read"),
    "HTML": ("<!DOCTYPE html>\n<html>404</html>\n", "FILE is HTML or XML"),
    "Matrix Market": (
        "%%MatrixMarket matrix coordinate real general\n3 3 1\n1 1 5\n",
        "FILE is a Matrix Market file",
    ),
    "Netflix": (
        "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n",
        "FILE is in the layout of the Netflix Prize",
    ),
    "ARFF": ("@relation x\n@attribute user numeric\n@data\n1,2,3\n", "FILE is a Weka ARFF file"),
    "LIBSVM": ("5 1:1 20:1\n3 2:1 21:1\n", "FILE is in the layout of LIBSVM"),
    "SQL": ("INSERT INTO ratings VALUES (1,2,3);\n", "FILE is an SQL dump"),
    "a printed table": (
        "| user | item | rating |\n|---|---|---|\n| 1 | 10 | 4 |\n",
        "FILE is a table that was printed",
    ),
    "Git LFS": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12345\n",
        "a pointer of Git LFS",
    ),
    # Ratings that stand for none.
    "-1": (
        "user_id,anime_id,rating\n1,20,-1\n1,24,-1\n2,20,8\n",
        '2 of 3 ratings are -1, and all others are positive: -1 may stand for "not rated". If '
        "it does, pass missing_rating=-1; if it is a rating, pass missing_rating='none'",
    ),
    "0": ("user,item,rating\n" + ZEROS, "30 of 45 ratings are 0, and all others are positive"),
}


@pytest.mark.parametrize("block_bytes", [40, 1 << 24])
@pytest.mark.parametrize("name", READ)
def test_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, block_bytes: int) -> None:
    content, expected = READ[name]
    # Only the end is in another block: the layout is recognised from the first one.
    monkeypatch.setattr(blocks, "BLOCK_BYTES", max(block_bytes, len(content.encode()) - 5))
    assert rows(read_ratings(stored(tmp_path, content))) == expected
    assert rows(read_ratings(stored(tmp_path, content.replace("\n", "\r\n")))) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    content, message = REFUSED[name]
    assert message in refusal(stored(tmp_path, content))


def test_comments_are_counted(tmp_path: Path) -> None:
    raw = read_ratings(stored(tmp_path, "# a\n# b\nuser,item,rating\n1,2,3\n#c\n"))
    assert raw.dropped == {"a comment that starts with #": 3}


def test_missing_ids_are_dropped_and_do_not_decide_what_ids_are(tmp_path: Path) -> None:
    path = stored(tmp_path, "1\t31\t4\n2\t31\t3\n\\N\t32\t5\n")
    raw = read_ratings(path, on_bad_rows="drop")
    assert rows(raw) == [(1, 31, 4.0), (2, 31, 3.0)]
    assert raw.dropped == {"the user id is missing": 1}
    assert read_ratings(path, missing_ids=()).users.tolist() == ["1", "2", r"\N"]
    assert read_ratings(path, missing_ids=("2",), on_bad_rows="drop").users.tolist() == ["1", r"\N"]


def test_what_is_stated_is_not_questioned(tmp_path: Path) -> None:
    path = stored(tmp_path, "0,1,31,2.5\n1,1,1029,3.0\n2,2,31,4.0\n")
    assert rows(read_ratings(path, columns=(1, 2, 3)))[1] == (1, 1029, 3.0)
    assert rows(read_ratings(path, columns=(0, 1, 2)))[1] == (1, 1, 1029.0)
    path = stored(tmp_path, "4.5,1,31\n3.0,2,31\n")
    assert rows(read_ratings(path, columns=(0, 1, 2))) == [("4.5", 1, 31.0), ("3.0", 2, 31.0)]
    path = stored(tmp_path, "user;item;rating\n1;10;4,500\n2;10;3,250\n")
    assert rows(read_ratings(path, decimal=",")) == [(1, 10, 4.5), (2, 10, 3.25)]


def test_ratings_that_may_stand_for_none_can_be_settled(tmp_path: Path) -> None:
    path = stored(tmp_path, "user,item,rating\n" + ZEROS)
    assert len(read_ratings(path, missing_rating="none").ratings) == 45
    raw = read_ratings(path, missing_rating=0)
    assert (len(raw.ratings), raw.dropped) == (15, {"rating 0 means not rated": 30})


@pytest.mark.parametrize(
    "ratings",
    [
        [0] * 4 + [1, 2, 3, 4, 5] * 30,  # few zeros
        [0] * 10 + [1] * 6 + [2, 3, 4, 5] * 5,  # not over twice the next
        [0] * 60 + [1, 2] * 5,  # three values
        [-1] * 60 + [1] * 5,  # dislikes and likes
        [-1] * 60 + [0, 1, 2, 3] * 5,  # others are not positive
        [-3, -2, 5] * 9,
        [3] * 9,
        [-1] * 9,
    ],
)
def test_low_ratings_that_are_ratings(tmp_path: Path, ratings: list[int]) -> None:
    content = "user,item,rating\n" + "".join(f"{n},{n},{r}\n" for n, r in enumerate(ratings))
    assert read_ratings(stored(tmp_path, content)).ratings.tolist() == ratings


@pytest.mark.parametrize("write", ["to_parquet", "to_feather", "to_csv"])
def test_a_frame_has_the_same_ids_in_every_format(tmp_path: Path, write: str) -> None:
    frame = pd.DataFrame(
        {
            "user": [1.0, 2.0, None],
            "item": ["3", "4", "5"],
            "rating": [1.0, 2.0, 3.0],
        }
    )
    path = tmp_path / "ratings"
    getattr(frame, write)(path, **({"index": False} if write == "to_csv" else {}))
    raw = read_ratings(path, on_bad_rows="drop")
    assert rows(raw) == [(1, 3, 1.0), (2, 4, 2.0)]
    assert raw.dropped == {"the user id is missing": 1}


def test_arrow_streams(tmp_path: Path) -> None:
    table = pa.table({"user": ["a", "b"], "item": [1, 2], "rating": [4.0, 5.0]})
    path = tmp_path / "ratings"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    assert rows(read_ratings(path)) == [("a", 1, 4.0), ("b", 2, 5.0)]


@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_arrow_files_that_are_cut_off(tmp_path: Path, new: Any, compression: str | None) -> None:
    n = 100_000
    table = pa.table({"user": [7] * n, "item": range(n), "rating": pa.array([1.0] * n)})
    path = tmp_path / "ratings"
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=n // 2)
    assert sum(claimed_bytes(path)) == pytest.approx(table.nbytes, rel=1e-3)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 50):
        assert "FILE" in refusal(stored(tmp_path, whole[:length], "cut"))
    between = whole.rindex(b"\xff\xff\xff\xff", 0, len(whole) * 2 // 3)  # the second batch
    assert "FILE" in refusal(stored(tmp_path, whole[:between], "cut"))


def test_an_arrow_file_that_decompresses_to_too_much(tmp_path: Path) -> None:
    zeros = np.zeros(10_000_000)
    path = tmp_path / "ratings"
    pd.DataFrame({"user": zeros, "item": zeros, "rating": zeros}).to_feather(path)
    allocated = pa.default_memory_pool().max_memory()
    assert "as a decompression bomb does" in refusal(path)
    assert pa.default_memory_pool().max_memory() == allocated, "no batch was decompressed"


def test_parquet_in_a_zip_is_told_so(tmp_path: Path) -> None:
    pd.DataFrame({"user": [1]}).to_parquet(tmp_path / "r.parquet")
    with zipfile.ZipFile(tmp_path / "mine.csv", "w") as archive:
        archive.write(tmp_path / "r.parquet", "r.parquet")
    assert refusal(tmp_path / "mine.csv") == (
        "FILE is a Parquet file, which is not read. Unpack it and give the file inside"
    )
    with zipfile.ZipFile(tmp_path / "mine.csv", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
        archive.writestr("x", "")
    assert (
        refusal(tmp_path / "mine.csv") == "FILE is a spreadsheet, which is not read. Save it as CSV"
    )


def test_integers_in_one_part_of_a_table_and_texts_in_another(tmp_path: Path) -> None:
    users = pa.array(["1", "2", "3", "x"], pa.large_string())
    path = tmp_path / "ratings"
    table = pa.table({"user": users, "item": [1, 2, 3, 4], "rating": [3, 4, 5, 4]})
    pa.parquet.write_table(table, path, row_group_size=2)
    assert read_ratings(path).users.tolist() == ["1", "2", "3", "x"]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    assert read_ratings(path).users.tolist() == ["1", "2", "3", "x"]


def test_an_unused_category_does_not_decide_what_ids_are(tmp_path: Path) -> None:
    users = pd.Categorical(["1", "2"], categories=["Total", "1", "2", "3"])
    path = tmp_path / "ratings"
    pd.DataFrame({"user": users, "item": [1, 2], "rating": [3, 4]}).to_feather(path)
    assert rows(read_ratings(path)) == [(1, 1, 3.0), (2, 2, 4.0)]


def test_a_long_text_that_is_repeated_is_in_memory_once(tmp_path: Path) -> None:
    # As plain texts, these would be two gigabytes.
    users = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), ["x" * 1_000_000])
    table = pa.table({"user": users, "item": range(2000), "rating": [4.0] * 2000})
    path = tmp_path / "ratings"
    pa.parquet.write_table(table, path, compression="zstd")
    before = pa.total_allocated_bytes()
    raw = read_ratings(path)
    assert pa.total_allocated_bytes() - before < 20_000_000
    assert len(raw.users.categories) == 1


# ---- what a fuzz found --------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";"])
def test_spaces_after_a_separator_do_not_separate(tmp_path: Path, separator: str) -> None:
    lines = [f"1{separator} 31{separator} 4", f"2{separator} 31{separator} 5"] * 9
    path = stored(tmp_path, "\n".join([*lines, f"2{separator} 33 4"]))
    assert "line 19: the number of fields is not 3 but 2" in refusal(path)
    assert rows(read_ratings(path, on_bad_rows="drop"))[:2] == [(1, 31, 4.0), (2, 31, 5.0)]


@pytest.mark.parametrize("block_bytes", [10, 1 << 24])
@pytest.mark.parametrize("last", ["Total,2,x", "Total,2,-1"])
def test_a_block_without_rows_does_not_decide_what_ids_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, block_bytes: int
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    path = stored(tmp_path, f"user,item,rating\n7,1,3\n8.0,3,3\n{last}")
    raw = read_ratings(path, missing_rating=-1, on_bad_rows="drop", columns=(0, 1, 2), header=True)
    assert rows(raw) == [(7, 1, 3.0), (8, 3, 3.0)]


@pytest.mark.parametrize("literal", ['5" floppy', "a"])
def test_an_open_quote_is_noticed_whatever_quotes_are_before_it(
    tmp_path: Path, literal: str
) -> None:
    good = "".join(f"{n % 7},{n},3,title\n" for n in range(50))
    content = f'user,item,rating,title\n1,2,3,a\n1,3,4,{literal}\n1,4,5,"open\n{good}'
    for action in ("error", "drop"):
        assert "a quote is opened and not closed" in refusal(
            stored(tmp_path, content), on_bad_rows=action
        )


def test_padded_missing_ids_beside_quotes(tmp_path: Path) -> None:
    path = stored(tmp_path, 'user,item,rating\n1,"a",3\n NULL,b,4\n"NULL",b,4\n')
    assert "line 3: the user id is missing" in refusal(path)
    raw = read_ratings(path, on_bad_rows="drop")
    assert rows(raw) == [("1", "a", 3.0), ("NULL", "b", 4.0)]


def test_row_names_beside_a_bad_row_and_a_last_separator(tmp_path: Path) -> None:
    lines = ["user;item;rating", "0;1;150;4", "1;1;180;5", "2;1;181;5", "3;1;182", "4;1;183;5"]
    raw = read_ratings(stored(tmp_path, "\n".join(lines)), on_bad_rows="drop")
    assert rows(raw) == [(1, 150, 4.0), (1, 180, 5.0), (1, 181, 5.0), (1, 183, 5.0)]
    assert raw.dropped == {"the number of fields is not 4": 1}
    path = stored(tmp_path, "user;item;rating;\n0;15137;213;4;\n1;15137;265;3;\n")
    assert rows(read_ratings(path)) == [(15137, 213, 4.0), (15137, 265, 3.0)]
    path = stored(tmp_path, "user;item;rating;title\n0;15137;213;4;\n1;15137;265;3;\n")
    assert "has 4 fields, but most lines after it have 5" in refusal(path)


def test_control_characters_separate_nothing(tmp_path: Path) -> None:
    assert "not 3 but 2" in refusal(stored(tmp_path, "1::2::4\n1::3::5\n1::2\x1f3\n"))
    assert rows(read_ratings(stored(tmp_path, "u::\x1f::4\n"))) == [("u", "\x1f", 4.0)]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([None, "881250949", "891717742"], [881250949, 891717742]),
        (["1074423259002123457", "soon", "1074423259002123458"],
         [1074423259002123457, 1074423259002123458]),
        (["1074423259002123457", "nan", "inf", "7", "8"], [1074423259002123457, 7, 8]),
        ([None, "2016-01-02", "-5", "2016-01-03"], ["2016-01-02", "2016-01-03"]),
        (["1.5", None, "7"], [1.5, 7.0]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("write", ["to_parquet", "to_csv"])
def test_times_beside_missing_ones(
    tmp_path: Path, texts: list[Any], expected: list[Any], write: str
) -> None:
    n = len(texts)
    frame = pd.DataFrame({"user": [7] * n, "item": range(n), "rating": [3] * n, "time": texts})
    path = tmp_path / "ratings"
    getattr(frame, write)(path, index=False)
    times = read_ratings(path, on_bad_rows="drop").timestamps
    assert times is not None
    if isinstance(expected[0], str):
        times = times.astype("M8[D]").astype(str)
    assert times.tolist() == expected


def test_a_first_row_that_may_be_a_header(tmp_path: Path) -> None:
    path = stored(tmp_path, "u1,a,x\nu1,b,1\nu1,c,4\n")
    assert refusal(path, columns=(0, 1, 2)).endswith(
        "may name the columns, or be a rating that is not a number. If it names them, pass "
        "header=True; if it does not, pass header=False"
    )
    assert len(read_ratings(path, columns=(0, 1, 2), header=True).ratings) == 2
    assert len(read_ratings(path, columns=(0, 1, 2), header=False, on_bad_rows="drop").ratings) == 2


@pytest.mark.parametrize("content", ["user;item;rating\n1;2;4,5", "user,item,rating\n1,2,4"])
def test_a_last_line_without_end_is_seen(tmp_path: Path, content: str) -> None:
    assert read_ratings(stored(tmp_path, content)).ratings[0] == pytest.approx(4, abs=0.5)


def test_a_line_that_looks_empty(tmp_path: Path) -> None:
    assert "separator" in refusal(stored(tmp_path, "\u00a0\n1,2,3\n"))
