"""The table of known data sets, and their published counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.datasets import KNOWN, DatasetError, RawRatings
from bench.datasets.catalog import find_known
from bench.datasets.public.counts import Counts, as_number, check_counts


def test_the_data_sets_that_were_promised_are_known() -> None:
    movielens = {
        f"ml-{size}" for size in ("100k", "latest-small", "1m", "10m", "20m", "25m", "32m")
    }
    others = {
        "anime",
        "anime-5k",
        "anime-slice",
        "jester-1",
        "jester-2",
        "goodbooks-10k",
        "book-crossing",
        "netflix",
    }
    assert movielens | others == {name for name in KNOWN if not name.startswith("amazon-2023-")}
    assert sum(name.startswith("amazon-2023-") for name in KNOWN) == 34


@pytest.mark.parametrize("name", KNOWN)
def test_a_row_is_whole(name: str) -> None:
    known = KNOWN[name]
    assert known.describe and known.licence and known.citation and known.page.startswith("http")
    assert known.sources or known.by_hand, "there is a way to get it"
    assert (known.read_fold is None) == (not known.folds)
    assert known.default_fold is None or known.default_fold in known.folds
    assert known.counts.cited or known.counts[:3] == (None, None, None), "a count has its source"
    for source in known.sources:
        assert source.cited, "a checksum has its source"
        kind, _, digest = (source.checksum or "").partition(":")
        assert len(digest) == {"md5": 32, "sha256": 64}[kind]
        assert set(digest) <= set("0123456789abcdef")
        assert all(url.startswith(("http://", "https://")) for url in source.urls)
    rows, users, items = (as_number(count) for count in known.counts[:3])
    assert rows is None or all(count is None or 0 < count <= rows for count in (users, items))


def test_no_two_files_share_a_checksum() -> None:
    checksums = [source.checksum for known in KNOWN.values() for source in known.sources]
    assert len(set(checksums)) == len(checksums)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("ml1m", "ml-1m"), ("ML-20M", "ml-20m"), ("netflx", "netflix"), ("movielens", None)],
)
def test_an_unknown_name_is_told_what_was_meant(asked: str, meant: str | None) -> None:
    with pytest.raises(DatasetError) as caught:
        find_known(asked)
    assert f"no data set is named {asked!r}" in str(caught.value)
    assert (f"did you mean {meant!r}?" in str(caught.value)) == (meant is not None)
    assert "python -m bench.datasets list shows all" in str(caught.value)


THREE = RawRatings(np.array([1, 1, 2]), np.array([5, 6, 5]), np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    "counts", [Counts(3, 2, 2), Counts(3, None, None), Counts(), Counts("3", "2", None)]
)
def test_counts_that_agree(counts: Counts) -> None:
    check_counts(Path("here"), THREE, counts)


def test_a_count_that_differs_is_named_with_the_published_one() -> None:
    with pytest.raises(DatasetError) as caught:
        check_counts(Path("here"), THREE, Counts(3, 3, 1_000, "its README"))
    assert str(caught.value) == (
        "here is not the data set as published: it has 2 users instead of 3; 2 items instead of "
        "1,000 (its README). Fetch the published data set; to measure on other ratings, pass "
        "their file with --ratings"
    )


@pytest.mark.parametrize(
    ("n", "agrees"), [(1_149, False), (1_150, True), (1_250, True), (1_251, False)]
)
def test_rounded_counts(n: int, agrees: bool) -> None:
    raw = RawRatings(np.zeros(n, int), np.arange(n), np.ones(n))
    if agrees:
        check_counts(Path("here"), raw, Counts("1.2K", 1, "1.2K"))
    else:
        with pytest.raises(DatasetError, match=f"{n:,} ratings instead of 1.2K"):
            check_counts(Path("here"), raw, Counts("1.2K", 1, None))


def test_counts_as_numbers() -> None:
    assert [as_number(count) for count in (5, "641", "693.9K", "2.0M", None)] == [
        5,
        641,
        693_900,
        2_000_000,
        None,
    ]
