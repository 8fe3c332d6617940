"""The data sets whose files no general reader understands."""

# ruff: noqa: F811  # fixtures are imported, and shadowed by the parameters that ask for them

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import pytest
from local_data import places, put, triplets  # noqa: F401  # a fixture

from bench.datasets import KNOWN, DatasetError, load_dataset
from bench.datasets.public.counts import Counts
from bench.datasets.public.odd_files import (
    read_book_crossing,
    read_jester_matrices,
    read_jester_triplets,
    read_netflix,
    split_off_probe,
)

# [[2, -7.82, 99, 8.5], [1, 99, 99, 0]] as Excel 97 writes it: zlib, base 85.
TINY_XLS = (
    "c-rk)J!lj`6#i!KKjbdE@ggL`aRiJS(};~tvQf|!Vu&`12zoJBNWvwYHrg1CS1N*)ViQQAP1MF8RM1XPh-e`Q!kv~@qJl-d@x8aR"
    "a4{)zpuxy|%Y5_p&Age}eQ#!V_Vt2SoxRsp!*3Ws1a+N4yg{cZrNSE*RIW9PVV<O<E!GuMNpfU7hR5kw3HBlTy9Nh$qtA(fkCcvK"
    "3d577Vtx&=N5)W4JcfQ^g`1?wpi@TGE__mWgYX@x`9ye7G?#_@scuyr#ezTFyURrJ5vN<qGT?R}h|PP^>_7)za1@`vs)D*P>@J@w"
    "O#GV#xo9iqKz<u4mWt)VL={<b;2gf|Jn$`?sn7COzqWb>(*IbhPpqK7=0t&M=o1p)6<S<xMFIz(UX;}|Knt(CGEdzl^E55-+e$o!"
    "HjzDvVwY?eZ-04nV06SkE}Ci68i&tj?i3mq*n*5RQsM}6Nw3J;g)d60n?&vs&Qk1A-ZRo+gncto=aQ86P(M2bZ~ZL|@>Y^7pASCF"
    "RX+LKNS+_6oy*R@^Jmdb4?RZqe9fRw^{E@z8ISxhS7x?<5bj(y^OKHi#;(ma)rP0YiRj6@^YHSk)*h}XmiMPYdmCG+6|9uhj|&I&"
    "1LmG07;xHgUtZN<!@k%83kwSi3kwSi3ybvuWxo9*=IcLZ&K3#tU*{*Ky8TV^-{KG^={iFP)4eEBUdGv`;%6gbDr`%w(kA?0$T&>B"
    "mobh}8OM0j@k?hz)%ZNCHgx~o6l%8rdNbqv%l-cX7)QOu"
)


MATRIX = [(1, 1, -7.82), (1, 3, 8.5), (2, 3, 0.0)]


def test_jester_as_a_spreadsheet(tmp_path: Path) -> None:
    put(tmp_path, "jester-data-1.xls", zlib.decompress(base64.b85decode("".join(TINY_XLS))))
    assert triplets(read_jester_matrices(tmp_path)) == MATRIX


def test_jester_numbers_users_through_its_files(tmp_path: Path) -> None:
    put(tmp_path, "jester-data-1.csv", "2,-7.82,99,8.5\n1,99,99,0\n")
    put(tmp_path, "jester-data-2.csv", "1,99,3.25,99\n")
    assert triplets(read_jester_matrices(tmp_path)) == [*MATRIX, (3, 2, 3.25)]


@pytest.mark.parametrize("content", ["", "a,b,c\n", "1\n2\n"])
def test_what_is_not_a_matrix(tmp_path: Path, content: str) -> None:
    path = put(tmp_path, "jester-data-1.csv", content)
    with pytest.raises(DatasetError, match=f"{path} is not a matrix"):
        read_jester_matrices(tmp_path)


def test_what_is_not_a_spreadsheet(tmp_path: Path) -> None:
    put(tmp_path, "jester-data-1.xls", b"<html>")
    with pytest.raises(DatasetError, match=r"jester-data-1\.xls is not a matrix of numbers"):
        read_jester_matrices(tmp_path)


def test_jester_triplets(tmp_path: Path) -> None:
    put(tmp_path, "jester_ratings.dat", "1\t\t5\t\t0.219\n1\t\t7\t\t-9.281\n")
    assert triplets(read_jester_triplets(tmp_path)) == [(1, 5, 0.219), (1, 7, -9.281)]
    put(tmp_path, "jester_ratings.dat", "1\t5\t0.219\n")
    with pytest.raises(DatasetError, match=r"jester_ratings\.dat cannot be read as ratings"):
        read_jester_triplets(tmp_path)


def test_book_crossing(tmp_path: Path) -> None:
    text = (
        '"User-ID";"ISBN";"Book-Rating"\n'
        '"276725";"034545104X";"0"\n'
        '"276726";"0155061224";"5"\n'
        '"1";"\xfc NA";"10"\n'
    )
    put(tmp_path, "BX-Book-Ratings.csv", text.encode("latin-1"))
    raw = read_book_crossing(tmp_path)
    assert triplets(raw) == [(276726, "0155061224", 5.0), (1, "\xfc NA", 10.0)]
    assert raw.dropped == {"rating 0 means implicit feedback": 1}
    put(tmp_path, "BX-Book-Ratings.csv", b"a;b;c\n1;0155061224;5\n2;NA;6\n")
    assert read_book_crossing(tmp_path).items.tolist() == ["0155061224", "NA"], (
        "an ISBN is no number"
    )
    put(tmp_path, "BX-Book-Ratings.csv", b"a;b;c\n1;2;good\n")
    with pytest.raises(DatasetError, match=r"BX-Book-Ratings\.csv cannot be read as ratings"):
        read_book_crossing(tmp_path)


NETFLIX = {
    1: [(30878, 4, "2005-12-26"), (823519, 3, "2004-05-03")],
    2: [(30878, 5, "2005-01-01")],
    7: [(9, 1, "1999-12-31")],
}
NETFLIX_ROWS = [
    (user, movie, float(rating)) for movie, rows in NETFLIX.items() for user, rating, _ in rows
]


def netflix_text(*movies: int) -> str:
    blocks = (
        "\n".join([f"{movie}:", *(",".join(map(str, row)) for row in NETFLIX[movie])])
        for movie in movies
    )
    return "\n".join(blocks) + "\n"


def netflix(folder: Path, layout: str) -> Path:
    if layout == "combined":
        put(folder, "combined_data_1.txt", netflix_text(1, 2))
        put(folder, "combined_data_2.txt", netflix_text(7))
    else:
        for movie in NETFLIX:
            put(
                folder / "training_set",
                f"mv_{movie:07}.txt",
                netflix_text(movie).rstrip("\n" if movie == 2 else ""),
            )
    return folder


@pytest.mark.parametrize("layout", ["combined", "one file per movie"])
def test_netflix(tmp_path: Path, layout: str) -> None:
    raw = read_netflix(netflix(tmp_path, layout))
    assert triplets(raw) == NETFLIX_ROWS
    assert raw.timestamps is not None
    assert raw.timestamps.astype(str).tolist() == [
        row[2] for rows in NETFLIX.values() for row in rows
    ]


def test_netflix_probe(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = netflix(places[0] / "netflix", "one file per movie")
    put(folder, "probe.txt", "1:\n823519\n7:\n9\n")
    monkeypatch.setitem(KNOWN, "netflix", KNOWN["netflix"]._replace(counts=Counts(4, 3, 3)))
    dataset = load_dataset("netflix", split="probe")
    assert triplets(dataset.raw) == [NETFLIX_ROWS[0], NETFLIX_ROWS[2]]
    assert dataset.official_test is not None
    assert triplets(dataset.official_test) == [NETFLIX_ROWS[1], NETFLIX_ROWS[3]]
    assert len(load_dataset("netflix").raw.ratings) == 4, "the probe is part of the training set"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("30878\n", "line 1: '30878' is neither a movie and a colon nor a user"),
        ("1:\n30878,4\n", "line 2: '30878,4' is neither"),
        ("1:\n30878\n5\n", "has 2 pairs of movie and user, but only 1 of them are among the"),
    ],
)
def test_a_probe_that_does_not_fit(tmp_path: Path, text: str, message: str) -> None:
    put(netflix(tmp_path, "combined"), "probe.txt", text)
    with pytest.raises(DatasetError, match=r"probe\.txt") as caught:
        split_off_probe(read_netflix(tmp_path), tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "30878,4,2005-12-26\n", "1:\n30878,4\n", "1:\n30878,x,2005-12-26\n", "1:\nhello\n"]
)
def test_what_is_not_netflix_is_named(tmp_path: Path, text: str) -> None:
    put(tmp_path, "combined_data_1.txt", text)
    with pytest.raises(
        DatasetError, match=r"combined_data_1\.txt is not in the layout of the Netflix Prize"
    ):
        read_netflix(tmp_path)
