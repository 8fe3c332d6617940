"""What the page says of libraries of other projects, and the code that it gives to fit them."""

from typing import Any

from fake_records import fake_record

from bench.report.outcome.cases import Case, group_cases
from bench.report.outcome.description import snippet
from bench.report.tables.measured import measured_tables
from bench.report.tables.table import Table
from bench.text.wording import DASH

LIBRARY: Any = {
    "name": "cornac",
    "version": "3.0.1",
    "licence": "Apache 2.0",
    "minimises": "squared error + reg for each rating",
    "biases": "its own",
    "start": "ours",
    "seed": "the start",
    "stepping": "goes on",
    "threads": "n_jobs",
    "precision": "float32",
}


def case_of(params: dict[str, Any] | None = None, **facts: Any) -> Case:
    own = fake_record("numpy-als", seconds=2.0, case=facts)
    peer = fake_record("cornac", seconds=0.5, library=LIBRARY, case=facts)
    peer["backend"]["params"] = params or {}
    (case,) = group_cases([own, peer])
    return case


def table_of(case: Case, title: str) -> Table:
    (found,) = (table for table in measured_tables(case) if table.title == title)
    return found


def test_the_page_says_what_each_library_is() -> None:
    table = table_of(case_of(), "Other libraries")
    assert table.rows == [
        [
            "cornac",
            "cornac 3.0.1",
            "squared error + reg for each rating",
            *("its own", "ours", "goes on", "n_jobs"),
            *("the start", "float32", "Apache 2.0"),
        ]
    ]
    assert len(table.header) == len(table.rows[0])
    assert "no library has" in table.caption


def test_without_libraries_there_is_no_such_table() -> None:
    (case,) = group_cases([fake_record("numpy-als")])
    assert "Other libraries" not in [table.title for table in measured_tables(case)]


def test_the_code_for_a_library_has_none_of_our_objective() -> None:
    code = snippet(case_of({"learning_rate": 0.02}, reg=0.7, damping=33.0))
    assert 'get_backend("cornac", **settings' in code
    line = next(line for line in code.splitlines() if "cornac" in line)
    assert "learning_rate=0.02" in code
    settings = next(line for line in code.splitlines() if line.startswith("settings"))
    assert "damping" not in line + settings
    assert "reg=" not in line + settings


def test_targets_that_only_the_first_seed_tried_are_shown() -> None:
    """A solver that starts again for every number of epochs tries the others with it alone."""
    case = case_of()
    record = case.entries[0].record
    assert record["backend"]["name"] == "cornac"
    seeds = [0, 1]
    first = record["calibrations"][0]
    target = record["target"]
    assert target is not None
    alone = [level for level in first["rungs"] if level["factor"] == target["factor"]]
    record["seeds"] = seeds
    record["calibrations"] = [
        {**first, "seed": 0},
        {**first, "seed": 1, "rungs": alone},
    ]
    table = table_of(case, "Seconds to each target")
    (row,) = (row for row in table.rows if row[0] == "cornac")
    others = [
        cell
        for cell, factor in zip(row[1:], case.targets, strict=True)
        if factor != target["factor"]
    ]
    assert others
    assert all("epoch" in cell for cell in others)
    first["rungs"][0]["epochs"] = None  # it tried, and did not get there
    record["calibrations"] = [{**first, "seed": 0}, {**first, "seed": 1}]
    (row,) = (row for row in table_of(case, "Seconds to each target").rows if row[0] == "cornac")
    assert DASH in row[1:]
