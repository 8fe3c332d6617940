"""What cannot be read, how the message puts it, and which rows are dropped instead."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import reading_damage
from reading import PLAIN, refusal, rows, stored

from bench.datasets import DatasetError, read_ratings
from bench.datasets.reading import blocks, containers

NUL_IN_LINE_1 = "FILE is neither text nor a binary format that can be read: it has a NUL byte in"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "FILE is empty; expected one rating per line: user, item, rating"),
        (" \n\r\n", {}, "FILE is empty"),
        (
            "hello\n",
            {},
            "FILE, first line: 'hello' has no separator (tab, ::, ; , | or space) that splits most",
        ),
        (
            "a,b,c\n1,2,3\n",
            {},
            "(a, b, c), but none that is recognised as the user or the item or the rating. ",
        ),
        (
            "a,b,c\n1,2,3\n",
            {},
            "Name the columns user, item and rating, or pass columns=('who', 'what', 'stars'), ",
        ),
        (
            "user,movie,item,rating\n1,2,3,4\n",
            {},
            "(user, movie, item, rating), and 2 of them could be the item. Name the columns",
        ),
        (
            "1,2,3,4,5\n",
            {},
            "FILE has 5 columns and no header, so user, item and rating cannot be recognised. Name",
        ),
        (
            "1,2,881250949,4\n",
            {},
            "and its third column looks like times, not ratings. They may be",
        ),
        ("1;2,3;4,5;6,7\n", {}, "may be separated by ';' or ','. Pass separator=';' or"),
        ("user,item,rating\n", {}, "FILE contains no ratings; expected one per row"),
        (
            "1,2,-1\n",
            {"missing_rating": -1},
            "FILE contains no ratings that can be used. Left out: 1 row: rating -1 means not rated",
        ),
        (
            "1,2,3\n",
            {"columns": ("user", 1, 2)},
            "FILE has 3 columns, but none named 'user'. Pass columns=(0, 1, 2), names or positions",
        ),
        (
            "1,2,3\n",
            {"columns": (0, 1, 3)},
            "FILE has 3 columns, but 3 is neither the name nor the position (from 0) of one. Pass",
        ),
        ("1,2,3\n", {"columns": (0, 1, 1)}, "columns=(0, 1, 1) contains a column twice. FILE"),
        ("1,\x002,3\n", {}, NUL_IN_LINE_1),
        (
            "1,2,3\n4,5,é\n".encode("latin-1"),
            {},
            "line 2 is not UTF-8: b'4,5,\\xe9\\n'. If the file is in Latin-1",
        ),
        (
            b"\x93NUMPY\x01\x00v",
            {},
            "FILE is one NumPy array, which is not read. Save users, items",
        ),
        (
            b"PK\x03\x04x",
            {},
            "FILE cannot be read as ratings, it may be damaged: File is not a zip file",
        ),
        (
            b"PAR1",
            {},
            "FILE cannot be read as ratings, it may be damaged: Parquet file size is 4 bytes",
        ),
        (
            b"ARROW1\0\0",
            {},
            "FILE cannot be read as ratings, it may be damaged: File is too small: 8",
        ),
        # Without the time, which would be part of the name of the test.
        (gzip.compress(gzip.compress(PLAIN, mtime=0), mtime=0), {}, "FILE is a gzip file, which"),
        (
            "1,2,3\n4,5,é\n",
            {"encoding": "ascii"},
            "FILE is not encoded as ascii: 'ascii' codec can't decode byte",
        ),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | str, options: Any, message: str
) -> None:
    assert message in refusal(stored(tmp_path, content), **options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"on_bad_rows": "skip"}, 'on_bad_rows must be "error" or "drop", got \'skip\''),
        ({"columns": (0, 1)}, r"columns=\(0, 1\) must be three or four names or positions"),
        ({"columns": "abc"}, "columns='abc' must be three or four"),
        ({"columns": 5}, "columns=5 must be three or four"),
        ({"separator": ""}, "separator='' must be one or more characters"),
        ({"separator": "\n"}, "but neither quotes nor line ends"),
        ({"header": "yes"}, "header must be True, False or None"),
        ({"encoding": "latin-eleven"}, "encoding='latin-eleven' is not an encoding that Python"),
        (
            {"missing_rating": "-1"},
            "missing_rating must be a number, such as -1, or 'none' if every number is a rating",
        ),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, option: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_ratings(stored(tmp_path, PLAIN), **option)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("block_bytes", [64, 1 << 24])
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("7,8", "the number of fields is not 4 but 2"),
        ("7,8,9,x,", "the number of fields is not 4 but 5"),
        ("7,8,good,x", "the rating is not a finite number"),
        ("7,8,,x", "the rating is not a finite number"),
        ("7,8,nan,x", "the rating is not a finite number"),
        ("7,8,-inf,x", "the rating is not a finite number"),
        ("7,8,1e999,x", "the rating is not a finite number"),
        ("7,8,1_0,x", "the rating is not a finite number"),
        ("7,,3,x", "the item id is missing"),
        (" ,8,3,x", "the user id is missing"),
        ('7,"",3,x', "the item id is missing"),
    ],
)
def test_bad_rows_are_named_by_line_or_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, block_bytes: int, bad: str, why: str
) -> None:
    # Blocks end at \n, so that without any the file must be one block.
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes if end != "\r" else 1 << 24)
    good = [f'{n},"{n + 1}",3,"a title, {n}"' for n in range(30)]
    lines = ["user,item,rating,title", *good[:20], "", bad, *good[20:25], bad, *good[25:]]
    path = stored(tmp_path, end.join(lines))
    advice = "Correct it, or pass on_bad_rows='drop' to leave out such rows"
    assert refusal(path) == f"FILE, line 23: {why}: {bad!r}. {advice}"
    raw = read_ratings(path, on_bad_rows="drop")
    assert rows(raw) == [(n, n + 1, 3.0) for n in range(30)]
    assert raw.dropped == {why.split(" but ")[0]: 2}


def test_lines_are_counted_through_quoted_line_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 48)
    good = '1,2,3,"two\nlines, ""quoted"""\n'
    path = stored(tmp_path, "user,item,rating,title\n" + good * 20 + "1,2,x,y\n" + good)
    assert "FILE, line 42: the rating is not a finite number: '1,2,x,y'" in refusal(path)
    assert len(read_ratings(path, on_bad_rows="drop").ratings) == 21


@pytest.mark.parametrize(
    "content",
    [
        '1,2,3\n1,"2,3\n4,5,6\n',
        '1,2,3\n1,"2,3\n4,5,6\n7,8",9\n',
        '1,2,3\n1,"2\n",3\n4,5,6\n',
        'user,item,rating,title\n1,"2,3,a\n4,5,6,b\n',
        'user,item,rating,title\n1,2,3,"2,3\n4,5,6,b\n4,5,6,c',
    ],
)
def test_an_open_quote_never_swallows_rows(tmp_path: Path, content: str) -> None:
    path = stored(tmp_path, content)
    for policy in ("error", "drop"):
        told = refusal(path, on_bad_rows=policy)
        assert "FILE, line 2: a quote is opened and not closed on the same line: '1," in told
        assert told.endswith("Close it; a quote inside a quoted field is written twice")


def test_a_quote_inside_a_field_is_a_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 32)
    path = stored(tmp_path, 'a,5" disk,3\n' + "b,c,4\n" * 20)
    assert rows(read_ratings(path)) == [("a", '5" disk', 3.0)] + [("b", "c", 4.0)] * 20
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 24)
    assert rows(read_ratings(path)) == [("a", '5" disk', 3.0)] + [("b", "c", 4.0)] * 20
    assert "FILE, line 22: the number of fields is not 3 but 2: 'd,5'" in refusal(
        stored(tmp_path, path.read_text() + "d,5")
    )


def test_lines_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    told = refusal(stored(tmp_path, PLAIN + b"x" * 500))
    assert told.startswith("FILE, line 5 is longer than 100 bytes: 'xxx")
    assert told.endswith("Expected one rating per line")
    assert len(told) < 200


def test_what_a_truncated_file_is_told(tmp_path: Path) -> None:
    told = refusal(stored(tmp_path, gzip.compress(PLAIN)[:-9]))
    assert told.startswith(
        "FILE cannot be read as ratings, it may be damaged: Compressed file ended before"
    )


def test_folders_absent_and_unreadable_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(tmp_path / "absent.csv") == "there is no file FILE"
    assert refusal(tmp_path) == "FILE is a folder; give a file in it"
    path = stored(tmp_path, PLAIN)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    assert "FILE cannot be read as ratings" in refusal(path)
    assert "Permission denied" in refusal(path)


@pytest.mark.parametrize("pack", [gzip.compress, lambda data: reading_damage.zipped("r.csv", data)])
def test_bombs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(containers, "ALWAYS_ALLOWED", 10_000)
    told = refusal(stored(tmp_path, pack(b"1,2,3\n" * 100_000)))
    assert "bytes and decompresses to more than" in told
    assert told.endswith("as a decompression bomb does. If you trust it, decompress it yourself")
    assert len(read_ratings(stored(tmp_path, pack(b"1,2,3\n" * 1_000))).ratings) == 1_000


def test_bombs_of_arrays_and_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "ALWAYS_ALLOWED", 10_000)
    path, zeros = tmp_path / "r", np.zeros(1_000_000, np.int64)
    with path.open("wb") as file:
        np.savez_compressed(file, users=zeros, items=zeros, ratings=zeros)
    assert "decompresses to more than" in refusal(path)
    pd.DataFrame({"user": zeros, "item": zeros, "rating": zeros}).to_parquet(path)
    assert "decompresses to more than" in refusal(path)
