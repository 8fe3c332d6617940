"""The published figures, and the table that sets them beside what was measured here."""

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_records import fake_record

import bench.report.tables.published as module
from bench.datasets.public.known import KNOWN
from bench.datasets.raw import RawRatings
from bench.datasets.splits import split_rows
from bench.report.outcome.cases import Case, group_cases
from bench.report.tables.published import Published, protocol, published, published_table
from bench.text.wording import DASH, number

# The rows of data that is not at hand, Netflix above all, are shown once somebody measures it.
DATASETS = ("ml-100k", "ml-1m", "ml-10m", "ml-20m", "ml-25m", "ml-32m", "netflix", "anime")
FIGURES = [figure for dataset in DATASETS for figure in published(dataset)]
FIGURE = Published(
    "ml-100k", "SVD", "Other", 16, "rmse", "0.934", "", "random", "random", 0.1, 6.0,
    "one fit", "a laptop", 2022, "https://example.org", "",
)  # fmt: skip


def case(**facts: Any) -> Case:
    """Two matched backends and one that missed, on a case with these facts."""
    records = [
        fake_record("numpy", case=facts),
        fake_record("numba-sgd", seconds=0.2, case=facts),
        fake_record("torch-cpu", "missed", case=facts),
    ]
    (only,) = group_cases(records)
    return only


def column(rows: list[list[str]], header: list[str], name: str) -> list[str]:
    return [row[header.index(name)] for row in rows]


def test_every_row_of_the_file_is_of_a_known_data_set_and_is_read() -> None:
    path = Path(module.__file__).with_name("published.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert tuple(rows[0]) == Published._fields
    assert {row["dataset"] for row in rows} == set(DATASETS) <= set(KNOWN)
    assert len(FIGURES) == len(rows)
    assert all(text == text.strip() for row in rows for text in row.values())


@pytest.mark.parametrize(
    "figure", FIGURES, ids=lambda figure: f"{figure.dataset}-{figure.method}-{figure.value}"
)
def test_a_figure_is_complete_and_sane(figure: Published) -> None:
    assert figure.method
    assert figure.implementation
    assert figure.split
    assert figure.source.startswith("https://")
    assert " " not in figure.source
    assert figure.metric in ("rmse", "mse", "rmse by user")
    # A constant scores the variance: nobody publishes worse.
    variance = 2.48 if figure.dataset == "anime" else 1.3
    assert 0.4 < figure.square < variance
    assert figure.rank is None or 0 <= figure.rank <= 1024
    assert figure.held_out is None or 0 < figure.held_out <= 0.5
    assert figure.year is None or 2005 < figure.year < 2027
    assert (figure.seconds is None) == (figure.seconds_of == "")
    assert figure.seconds is None or 0 < figure.seconds < 1e5


@pytest.mark.parametrize(
    "figure",
    [figure for figure in FIGURES if figure.our_split],
    ids=lambda figure: f"{figure.dataset}-{figure.value}",
)
def test_a_split_that_has_a_name_here_is_one_that_can_be_made_here(figure: Published) -> None:
    assert figure.held_out is not None
    if figure.our_split in KNOWN[figure.dataset].folds:
        return
    raw = RawRatings(np.arange(50) % 7, np.arange(50) % 11, np.ones(50), None)
    split = split_rows(raw, figure.our_split)
    assert split.test is not None
    if "fold" in figure.our_split:
        assert len(split.test) / 50 == pytest.approx(figure.held_out)


def test_no_figure_is_there_twice() -> None:
    counts = Counter(
        (figure.dataset, figure.method, figure.implementation, figure.value, figure.source)
        for figure in FIGURES
    )
    assert [key for key, count in counts.items() if count > 1] == []


def test_figures_come_by_error_and_a_data_set_without_any_has_none() -> None:
    for dataset in DATASETS:
        squares = [figure.square for figure in published(dataset)]
        assert squares
        assert squares == sorted(squares)
    assert published("goodbooks-10k") == []
    assert published_table(case(dataset="goodbooks-10k")) is None
    assert published_table(case(dataset="anime-5k")) is None


def test_an_rmse_is_squared_and_an_mse_is_not() -> None:
    assert FIGURE.square == pytest.approx(0.872356)
    assert FIGURE._replace(metric="mse", value="1.3").square == 1.3


def test_the_table_merges_what_was_published_with_what_was_measured() -> None:
    made = case()
    table = published_table(made)
    assert table is not None
    programs = column(table.rows, table.header, "Program")
    assert len(table.rows) == len(published("ml-100k")) + 2
    assert [name for name in programs if name.endswith("measured here")] == [
        f"{entry.name}, measured here"
        for entry in sorted(made.ranked, key=lambda entry: entry.score("test_mse") or 0.0)
    ]
    assert all(len(row) == len(table.header) for row in table.rows)
    roots = [float(text.split()[0]) for text in column(table.rows, table.header, "RMSE")]
    assert all(first <= second + 1e-3 for first, second in pairwise(roots))


def test_a_published_row_carries_its_figures_time_machine_and_address() -> None:
    table = published_table(case())
    assert table is not None
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    is_svd = {"Method": "SVD", "Program": "Surprise", "RMSE": "0.934"}.items()
    row = next(row for row in rows if is_svd <= row.items())
    del row["Note"]
    assert row == {
        **dict(is_svd),
        "MSE": "0.872",
        "Factors": "100",
        "Seconds": "6",
        "Seconds of": "all 5 folds, fits and tests",
        "Hardware": "laptop, Intel Core i5 of the 11th generation, 2.60 GHz",
        "Year": "2022",
        "Protocol": (
            "5 random folds, mean; trained on 80 % and tested on 20 %, here 80 % and 10 %; "
            "100 factors, here 16"
        ),
        "Source": "https://github.com/NicolasHug/Surprise#benchmarks",
    }


def test_a_measured_row_gives_the_test_part_or_else_the_validation_part() -> None:
    def rows(made: Case) -> list[dict[str, str]]:
        table = published_table(made)
        assert table is not None
        named = [dict(zip(table.header, row, strict=True)) for row in table.rows]
        return [row for row in named if row["Program"].endswith("measured here")]

    made = case()
    entry = made.ranked[0]
    (fastest,) = [row for row in rows(made) if row["Program"].startswith("numba-sgd")]
    score = entry.score("test_mse")
    assert score is not None
    assert (fastest["MSE"], fastest["RMSE"]) == (f"{score:.4f}", f"{score**0.5:.4f}")
    assert fastest["Seconds"] == number(entry.median)
    assert fastest["Seconds of"] == "training to the matching validation MSE"
    assert fastest["Hardware"] == "this machine: Intel Xeon Platinum 8480, 2 cores"
    assert fastest["Protocol"] == "this case, test set"
    untested = [
        fake_record(
            "numpy",
            rounds=[{**single, "test_mse": None} for single in fake_record("numpy")["rounds"]],
        )
    ]
    (only,) = rows(group_cases(untested)[0])
    assert only["Protocol"] == "this case, validation set"
    assert float(only["MSE"]) == pytest.approx(
        fake_record("numpy")["rounds"][0]["validation_mse"], abs=1e-3
    )


def test_a_mean_over_users_is_no_mse() -> None:
    table = published_table(case())
    assert table is not None
    row = next(row for row in table.rows if row[1] == "Cornac" and "0.8998" in row)
    cells = dict(zip(table.header, row, strict=True))
    assert (cells["MSE"], cells["RMSE"]) == (DASH, "0.8998")
    assert "mean of each user's RMSE, here over all ratings" in cells["Protocol"]


@pytest.mark.parametrize(
    ("change", "facts", "differs"),
    [
        ({}, {}, "the same"),
        ({"rank": 0}, {}, "the same"),
        ({"rank": None}, {}, "number of factors not stated"),
        ({"rank": 64}, {}, "64 factors, here 16"),
        ({"held_out": 0.25}, {}, "trained on 75 % and tested on 25 %, here 90 % and 10 %"),
        ({"held_out": None}, {}, "share held out not stated"),
        ({"our_split": "", "split": "not stated", "held_out": None}, {}, "split not stated"),
        ({"our_split": "", "split": "by year"}, {}, "another split: by year"),
        ({"our_split": "u1", "split": "official u1"}, {}, "another split: official u1"),
        ({"our_split": "r1", "split": "official r1"}, {}, "another split: official r1"),
        ({"our_split": "10-fold-1", "split": "10 folds"}, {}, "10 folds"),
        ({"our_split": "10-fold-1", "split": "random"}, {}, "the same"),
        ({"our_split": "10-fold-1", "split": "10 folds"}, {"split": "fold 3 of 10"}, "the same"),
        ({"our_split": "10-fold-1", "split": "10 folds"}, {"split": "fold 3 of 5"}, "10 folds"),
        (
            {"our_split": "u1"},
            {"split": "official u1, validation a random 10 % of its training rows"},
            "the same",
        ),
        (
            {"our_split": "temporal"},
            {"split": "temporal, last 10 % and the 10 % before"},
            "the same",
        ),
        (
            {"our_split": "u1", "split": "official u1"},
            {"split": "official u2, ..."},
            "another split: official u1",
        ),
        ({}, {"split": "leave-2-out"}, "another split: random"),
    ],
)
def test_the_protocol_says_what_differs(
    change: dict[str, Any], facts: dict[str, Any], differs: str
) -> None:
    shares = {"n_train": 90000, "n_validation": 0, "n_test": 10000}
    assert protocol(FIGURE._replace(**change), case(**(shares | facts)).facts["case"]) == differs


def test_a_case_on_the_netflix_probe_set_has_the_split_of_the_published_figure() -> None:
    shares = {"n_train": 98_600, "n_validation": 0, "n_test": 1_400}
    made = case(dataset="netflix", split="official probe", rank=128, **shares)
    table = published_table(made)
    assert table is not None
    assert len(table.rows) == len(published("netflix")) + 2
    programs = column(table.rows, table.header, "Program")
    protocols = column(table.rows, table.header, "Protocol")
    assert protocols[programs.index("cuMF_SGD")] == "the same"


def test_what_validates_here_does_not_train() -> None:
    facts = case().facts["case"]
    assert (facts["n_train"], facts["n_validation"], facts["n_test"]) == (80000, 9981, 9975)
    assert protocol(FIGURE, facts) == "trained on 90 %, here 80 %"


def test_the_twin_is_shown_the_figures_of_the_real_data_as_such() -> None:
    table = published_table(case(dataset="anime twin x0.2"))
    assert table is not None
    theirs = [
        dict(zip(table.header, row, strict=True))
        for row in table.rows
        if row[table.header.index("Source")].startswith("https://")
    ]
    assert len(theirs) == len(published("anime"))
    assert {row["Protocol"] for row in theirs} == {"real data, this is a synthetic twin"}
    assert "the real data that this twin imitates" in table.caption
    assert len(table.rows) == len(theirs) + 2


def test_the_caption_says_that_the_times_are_not_of_the_same_thing() -> None:
    table = published_table(case())
    assert table is not None
    assert "ours are to the matching validation MSE, theirs of whole trainings" in table.caption
    assert "clipped" in table.caption
