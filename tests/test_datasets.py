"""Reading a user's file and the data sets known by name."""

import os
from pathlib import Path

import numpy as np
import pytest

from bench.datasets import DatasetError, RawRatings, load_dataset, load_file, read_ratings

needs_data = pytest.mark.skipif("RATINGS_DATA" not in os.environ, reason="RATINGS_DATA names no folder of real ratings")

ROWS = [(1, 10, 4.0), (2, 10, 3.5), (1, 20, 5.0)]


def write(path: Path, separator: str, header: str = "") -> Path:
    lines = [separator.join(map(str, row)) for row in ROWS]
    path.write_text("\n".join([header, *lines] if header else lines) + "\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "separator", "header"),
    [
        ("ratings.csv", ",", "userId,movieId,rating"),
        ("ratings.csv", ",", "rating_id,user_id,anime_id,rating".removeprefix("rating_id,")),
        ("u.data", "\t", ""),
        ("ratings.dat", "::", ""),
        ("ratings.csv", ";", "User ID;Item ID;Score"),
    ],
)
def test_text_files(tmp_path: Path, name: str, separator: str, header: str) -> None:
    raw = read_ratings(write(tmp_path / name, separator, header))
    assert list(zip(raw.users.tolist(), raw.items.tolist(), raw.ratings.tolist(), strict=True)) == ROWS


def test_columns_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("timestamp,rating,item,user\n5,4.5,i1,ann\n6,1,i2,bob\n", "utf-8")
    raw = read_ratings(path)
    assert raw.users.tolist() == ["ann", "bob"]
    assert raw.items.tolist() == ["i1", "i2"]
    assert raw.ratings.tolist() == [4.5, 1.0]


def test_missing_rating_sentinel(tmp_path: Path) -> None:
    path = tmp_path / "rating.csv"
    path.write_text("user_id,anime_id,rating\n1,2,-1\n1,3,8\n", "utf-8")
    assert read_ratings(path, missing_rating=-1).items.tolist() == [3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("hello\n", "has no tab, ::, ; or comma"),
        ("a,b,c\n1,2,3\n", "exactly one each for user, item and rating is expected"),
        ("user,item,rating\n1,2,good\n", "row 1: the rating 'good' is not a finite number"),
        ("user,item,rating\n1,2,3\n4,,2\n", "row 2: column item is empty"),
        ("user,item,rating\n", "holds no ratings"),
        ("user,movie,item,rating\n1,2,3,4\n", "exactly one each"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(content, "utf-8")
    with pytest.raises(DatasetError) as caught:
        read_ratings(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no file"):
        read_ratings(tmp_path / "absent.csv")


def test_unknown_and_absent_data_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DatasetError, match="no data set is named 'netflix'; known: twin, "):
        load_dataset("netflix")
    monkeypatch.delenv("RATINGS_DATA", raising=False)
    with pytest.raises(DatasetError, match="set RATINGS_DATA to the folder that holds ml-100k/"):
        load_dataset("ml-100k")


def test_the_last_of_duplicates_counts(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("user,item,rating\n" + "".join(f"{n},{n % 7},3\n" for n in range(50)) + "0,0,5\n", "utf-8")
    dataset = load_file(path)
    assert dataset.raw.dropped == {"a later row rates the same pair": 1}
    assert dataset.raw.ratings[(dataset.raw.users == 0) & (dataset.raw.items == 0)].tolist() == [5.0]


def test_without_duplicates_keeps_the_order() -> None:
    raw = RawRatings(np.array([1, 1, 2, 1]), np.array([5, 6, 5, 5]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert raw.without_duplicates().ratings.tolist() == [2.0, 3.0, 4.0]


@needs_data
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "rows", "users", "items"),
    [
        ("anime-5k", 419_943, 4_714, 7_157),
        ("anime-slice", 78_151, 902, None),  # its file has no header line
        ("ml-100k", 80_000, 943, 1_650),
        ("ml-1m", 1_000_209, 6_040, 3_706),
        ("ml-latest-small", 100_836, 610, 9_724),
    ],
)
def test_real_data(name: str, rows: int, users: int | None, items: int | None) -> None:
    dataset = load_dataset(name)
    raw = dataset.raw
    assert len(raw.ratings) + raw.dropped.get("a later row rates the same pair", 0) == rows
    if users and items:
        assert (len(np.unique(raw.users)), len(np.unique(raw.items))) == (users, items)


@needs_data
@pytest.mark.real_data
def test_the_official_fold_has_its_own_test_rows() -> None:
    dataset = load_dataset("ml-100k")
    assert dataset.official_test is not None
    assert len(dataset.official_test.ratings) == 20_000
    assert dataset.split.test is None
