"""What the page says of libraries of other projects, and the code that it gives to fit them."""

from typing import Any

from fake_records import fake_record

from bench.report.outcome.cases import Case, group_cases
from bench.report.outcome.description import snippet
from bench.report.tables.measured import measured_tables
from bench.report.tables.table import Table

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
    assert "\n# pip install cornac==3.0.1\n" in code
    settings = next(line for line in code.splitlines() if line.startswith("settings"))
    assert "damping" not in line + settings
    assert "reg=" not in line + settings


def test_a_library_of_a_hostile_record_puts_nothing_into_the_code() -> None:
    hostile = {**LIBRARY, "name": "x\nimport os", "version": "1'; os.remove('y')"}
    peer = fake_record("cornac", seconds=0.5, library=hostile)
    (case,) = group_cases([fake_record("numpy-als", seconds=2.0), peer])
    (line,) = (line for line in snippet(case).splitlines() if line.startswith("# pip"))
    assert line == "# pip install ximportos==1os.removey"
    assert "import os" not in snippet(case)
