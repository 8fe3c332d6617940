"""Known data sets: finding, fetching, checking, splitting them."""

# ruff: noqa: F811  # fixtures are imported, and shadowed by the parameters that ask for them

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from local_data import Server, own_cache, places, put, server, sha256, triplets, zipped  # noqa: F401  # fixtures

from bench.datasets import KNOWN, DatasetError, RawRatings, fetch_dataset, load_dataset, load_file
from bench.datasets.__main__ import main
from bench.datasets.public.counts import Counts
from bench.datasets.public.download import Source

needs_data = pytest.mark.skipif(
    not os.environ.get("RATINGS_DATA"), reason="RATINGS_DATA names no folder of real ratings"
)

THREE = [(1, 5, 1.0), (1, 6, 2.0), (2, 5, 3.0)]


def test_a_missing_data_set_is_not_downloaded_but_says_how(places: tuple[Path, Path]) -> None:
    data, cache = places
    with pytest.raises(DatasetError) as caught:
        load_dataset("ml-100k")
    told = str(caught.value)
    assert f"no u1.test in {data}/ml-100k or {cache}/ml-100k" in told
    assert "run python -m bench.datasets fetch ml-100k (4.9 MB). Terms: research use" in told
    with pytest.raises(
        DatasetError, match=r"put it into \$RATINGS_DATA/netflix/. Terms: research use"
    ):
        load_dataset("netflix")
    with pytest.raises(
        DatasetError, match=r"no r1\.test in .* for its folds, run the split_ratings\.sh"
    ):
        load_dataset("ml-10m", split="r1")
    assert not cache.exists()


def tiny(
    monkeypatch: pytest.MonkeyPatch, server: Server, archive: bytes, **changes: object
) -> None:
    """Let ml-latest-small be three ratings at the local server."""
    server.files["tiny.zip"] = archive
    source = Source(
        (f"{server.url}/tiny.zip",), sha256(archive), "here", len(archive), ("tiny/ratings.csv",)
    )
    known = KNOWN["ml-latest-small"]._replace(sources=(source,), counts=Counts(3, 2, 2, "here"))
    monkeypatch.setitem(KNOWN, "ml-latest-small", known._replace(**changes))  # type: ignore[arg-type]


TINY = b"userId,movieId,rating,timestamp\n1,5,1.0,7\n1,6,2.0,8\n2,5,3.0,9\n"


def test_fetch_then_load(
    places: tuple[Path, Path],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny(monkeypatch, server, zipped(**{"tiny/ratings.csv": TINY}))
    assert main(["fetch", "ml-latest-small"]) == 0
    shown = capsys.readouterr()
    assert "ml-latest-small is in" in shown.out
    assert "Harper" in shown.out
    assert "research use" in shown.out
    assert not shown.err, "a bar is for a terminal"
    assert triplets(load_dataset("ml-latest-small").raw) == THREE
    assert "Please cite: F. Maxwell Harper" in capsys.readouterr().err
    load_dataset("ml-latest-small")
    assert not capsys.readouterr().err, "terms are shown on first use"
    fetch_dataset("ml-latest-small")
    assert server.asked == ["tiny.zip"]


def test_a_cache_that_cannot_be_used_hinders_no_data_that_is_here(
    places: tuple[Path, Path],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny(monkeypatch, server, b"")
    data, cache = places
    monkeypatch.setenv("FACTORBENCH_CACHE", str(cache / "file" / "cache"))
    cache.mkdir(exist_ok=True)
    (cache / "file").touch()
    message = r"ml-latest-small cannot be written to .* set FACTORBENCH_CACHE to another folder"
    with pytest.raises(DatasetError, match=message):
        fetch_dataset("ml-latest-small")
    put(data / "ml-latest-small", "ratings.csv", TINY)
    exists = Path.exists

    def forbidden(path: Path) -> bool:
        if path.is_relative_to(cache):
            raise PermissionError(path)
        return exists(path)

    monkeypatch.setattr(Path, "exists", forbidden)
    for _ in range(2):
        assert triplets(load_dataset("ml-latest-small").raw) == THREE
        assert "Please cite: F. Maxwell Harper" in capsys.readouterr().err


def test_a_fetch_that_was_interrupted_is_completed(
    places: tuple[Path, Path],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = zipped(**{"tiny/ratings.csv": TINY, "tiny/links.csv": b"x"})
    tiny(monkeypatch, server, archive)
    (source,) = KNOWN["ml-latest-small"].sources
    both = source._replace(members=("tiny/ratings.csv", "tiny/links.csv"))
    monkeypatch.setitem(
        KNOWN, "ml-latest-small", KNOWN["ml-latest-small"]._replace(sources=(both,))
    )
    put(places[1] / "ml-latest-small", "ratings.csv", TINY)
    fetch_dataset("ml-latest-small")
    assert (places[1] / "ml-latest-small" / "links.csv").exists()


def test_the_data_folder_comes_before_the_cache(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, cache = places
    known = KNOWN["ml-latest-small"]._replace(counts=Counts())
    monkeypatch.setitem(KNOWN, "ml-latest-small", known)
    put(cache / "ml-latest-small", "ratings.csv", TINY)
    assert len(load_dataset("ml-latest-small").raw.ratings) == 3
    put(data / "ml-latest-small", "ratings.csv", TINY + b"3,5,1.0,7\n")
    assert len(load_dataset("ml-latest-small").raw.ratings) == 4
    assert fetch_dataset("ml-latest-small") == data / "ml-latest-small" / "ratings.csv", (
        "nothing to fetch"
    )


def test_what_changed_in_the_cache_is_refused(
    places: tuple[Path, Path],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny(monkeypatch, server, zipped(**{"tiny/ratings.csv": TINY}))
    file = fetch_dataset("ml-latest-small")
    file.write_bytes(TINY.replace(b"3.0", b"4.0"))
    with pytest.raises(DatasetError, match=r"ratings\.csv has changed since it was fetched"):
        load_dataset("ml-latest-small")


def test_another_data_set_under_the_name_is_refused(places: tuple[Path, Path]) -> None:
    put(places[0] / "ml-latest-small", "ratings.csv", TINY)
    message = "it has 3 ratings instead of 100,836; 2 users instead of 610"
    with pytest.raises(DatasetError, match=message):
        load_dataset("ml-latest-small")


def test_a_bomb_is_measured_by_the_published_count(
    places: tuple[Path, Path],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny(monkeypatch, server, zipped(**{"tiny/ratings.csv": bytes(2**21)}))
    with pytest.raises(
        DatasetError,
        match=r"is not to be trusted: tiny/ratings\.csv is larger than the 1,048,936 bytes",
    ):
        fetch_dataset("ml-latest-small")


def test_amazon_has_its_own_column_names(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "amazon-2023-gift-cards"
    monkeypatch.setitem(KNOWN, name, KNOWN[name]._replace(counts=Counts("2", "1", "2")))
    text = (
        "user_id,parent_asin,rating,timestamp\n"
        "AG,B006,3.0,1452647382000\n"
        "AG,0000000123,4.0,1454675785000\n"
    )
    put(places[0] / name, "Gift_Cards.csv", text)
    raw = load_dataset(name).raw
    assert triplets(raw) == [("AG", "B006", 3.0), ("AG", "0000000123", 4.0)]
    assert raw.timestamps is not None
    assert raw.timestamps.tolist() == [1452647382000, 1454675785000]


def test_kaggle_by_kagglehub_where_it_is_installed(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(
        DatasetError,
        match=r"anime comes from Kaggle: download rating\.csv from https.*, or install",
    ):
        fetch_dataset("anime")
    text = "user_id,anime_id,rating\n1,20,-1\n1,24,8\n"
    fake = types.ModuleType("kagglehub")
    fake.dataset_download = lambda handle: str(put(tmp_path / handle, "rating.csv", text).parent)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", fake)
    monkeypatch.setitem(KNOWN, "anime", KNOWN["anime"]._replace(counts=Counts(1, 1, 1)))
    assert fetch_dataset("anime") == places[1] / "anime" / "rating.csv"
    raw = load_dataset("anime").raw
    assert triplets(raw) == [(1, 24, 8.0)]
    assert list(raw.dropped.values()) == [1]


@pytest.mark.parametrize(
    ("name", "text"), [("ml-100k", "u3.base,u3.test"), ("ml-10m", "r2.train,r2.test")]
)
def test_official_folds(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    train, test = text.split(",")
    separator = "\t" if name == "ml-100k" else "::"
    rows = [separator.join(map(str, (n, n % 3, 1 + n % 5, 880_000_000 + n))) for n in range(20)]
    put(places[0] / name, train, "\n".join(rows[:15]) + "\n")
    put(places[0] / name, test, "\n".join(rows[15:]) + "\n")
    monkeypatch.setitem(KNOWN, name, KNOWN[name]._replace(counts=Counts(20, 20, 3)))
    dataset = load_dataset(name, split=train[:2])
    assert dataset.split.name.startswith(f"official {train[:2]}, validation a random 10 %")
    assert (
        len(dataset.split.train) + len(dataset.split.validation) == len(dataset.raw.ratings) == 15
    )
    assert dataset.split.test is None
    assert dataset.official_test is not None
    assert dataset.official_test.users.tolist() == [15, 16, 17, 18, 19]
    monkeypatch.setitem(KNOWN, name, KNOWN[name]._replace(counts=Counts(21, None, None)))
    with pytest.raises(DatasetError, match="it has 20 ratings instead of 21"):
        load_dataset(name, split=train[:2])


def test_an_unknown_split_is_named(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(places[0] / "ml-latest-small", "ratings.csv", TINY)
    monkeypatch.setitem(
        KNOWN, "ml-latest-small", KNOWN["ml-latest-small"]._replace(counts=Counts())
    )
    with pytest.raises(DatasetError, match=r"ml-latest-small: .*u1"):
        load_dataset("ml-latest-small", split="u1")


@pytest.mark.usefixtures("own_cache")
def test_the_last_of_duplicates_counts(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(
        "user,item,rating\n" + "".join(f"{n},{n % 7},3\n" for n in range(50)) + "0,0,5\n", "utf-8"
    )
    dataset = load_file(path)
    assert dataset.raw.dropped == {"a later row rates the same pair": 1}
    assert dataset.raw.ratings[(dataset.raw.users == 0) & (dataset.raw.items == 0)].tolist() == [
        5.0
    ]


def test_without_duplicates_keeps_the_order() -> None:
    raw = RawRatings(np.array([1, 1, 2, 1]), np.array([5, 6, 5, 5]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert raw.without_duplicates().ratings.tolist() == [2.0, 3.0, 4.0]


@needs_data
@pytest.mark.real_data
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("name", "rows", "users", "items", "not_rated"),
    [
        ("anime-5k", 419_943, 4_714, 7_157, 0),
        ("anime-slice", 78_151, 902, 5_100, 19_319),
        ("ml-1m", 1_000_209, 6_040, 3_706, 0),
        ("ml-latest-small", 100_836, 610, 9_724, 0),
    ],
)
def test_real_data(name: str, rows: int, users: int, items: int, not_rated: int) -> None:
    raw = load_dataset(name).raw
    assert (len(raw.ratings), len(pd.unique(raw.users)), len(pd.unique(raw.items))) == (
        rows,
        users,
        items,
    )
    assert sum(raw.dropped.values()) == not_rated


@needs_data
@pytest.mark.real_data
@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("fold", "train", "test"),
    [
        *((f"u{n}", 80_000, 20_000) for n in range(1, 6)),
        ("ua", 90_570, 9_430),
        ("ub", 90_570, 9_430),
    ],
)
def test_real_folds(fold: str, train: int, test: int) -> None:
    dataset = load_dataset("ml-100k", split=fold)
    assert dataset.official_test is not None
    assert (len(dataset.raw.ratings), len(dataset.official_test.ratings)) == (train, test)
    assert dataset.raw.timestamps is not None
    assert dataset.raw.timestamps.min() > 874_000_000


@needs_data
@pytest.mark.real_data
@pytest.mark.usefixtures("own_cache")
def test_real_data_without_its_folds() -> None:
    raw = load_dataset("ml-100k", split="random").raw
    assert (len(raw.ratings), len(np.unique(raw.users)), len(np.unique(raw.items))) == (
        100_000,
        943,
        1_682,
    )
