"""Which backend to take for which use: a first fit, a fit in a new process, fits in a loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_records import fake_record

from bench.records import Record, read_record
from bench.report.figures.palette import styles
from bench.report.outcome.cases import Case, group_cases
from bench.report.outcome.uses import (
    FIRST,
    LOOP,
    PROCESS,
    USES,
    case_for,
    compile_seconds,
    rounds_for,
    seconds_for,
)
from bench.report.outcome.verdict import answer, answers, verdict
from bench.report.tables.measured import measured_tables
from bench.report.tables.ranking import overview_table, ranking_table
from bench.report.tables.table import Table
from bench.text.wording import DASH

SEEDS = (0, 1, 2)


def used(name: str, first: list[float], process: list[float], loop: float, **more: Any) -> Record:
    """Return a record with these seconds of starts with empty and filled caches, per seed."""
    record = fake_record(name, seconds=[loop] * 5, seeds=list(SEEDS), **more)
    (calibration,) = record["calibrations"]
    record["calibrations"] = [{**calibration, "seed": seed} for seed in SEEDS]
    record["rounds"] = [
        {**row, "seed": seed, "seconds": loop * (1 + (seed + row["round"] % 2) / 500)}
        for seed in SEEDS
        for row in record["rounds"]
    ]
    empty, filled = record["cold"]
    record["cold"] = [
        {**start, "seed": seed, "total_seconds": seconds[seed], "fit_seconds": seconds[seed] - 0.1}
        for seed in SEEDS
        for start, seconds in ((empty, first), (filled, process))
        if seed < len(seconds)
    ]
    return record


@pytest.fixture
def case() -> Case:
    """The compiled one wins in a loop and in new processes, and is last at the first fit."""
    (case,) = group_cases(
        [
            used("compiled", [20.0, 21.0, 20.5], [1.0, 1.02, 1.01], 0.1),
            used("plain", [2.0, 2.1, 1.9], [2.0, 2.1, 1.9], 2.0),
            used("middle", [4.0, 4.1, 4.2], [3.0, 3.1, 3.2], 1.0),
        ]
    )
    return case


def ranking(case: Case) -> Table:
    return ranking_table(case, styles({entry.name: "" for entry in case.entries}))


def test_the_winner_of_a_loop_may_be_the_last_at_the_first_fit(case: Case) -> None:
    found = {use: each.names for use, each in answers(case)}
    assert found == {FIRST: ["plain"], PROCESS: ["compiled"], LOOP: ["compiled"]}
    order = {use: [entry.name for entry in case_for(case, use).ranked] for use in USES}
    assert order == {
        FIRST: ["plain", "middle", "compiled"],
        PROCESS: ["compiled", "plain", "middle"],
        LOOP: ["compiled", "middle", "plain"],
    }
    in_a_loop, first, process = verdict(case)[:3]
    assert "compiled is the fastest to the matching" in in_a_loop
    assert first.startswith("A first fit on a machine, nothing compiled: take plain: 2.0 s, ")
    assert process.startswith("A fit in a new process, compiled before: take compiled: 1.0 s, ")


def test_the_lead_of_a_use_has_the_interval_of_the_starts_of_all_seeds(case: Case) -> None:
    texts = {use: each.text for use, each in answers(case)}
    assert texts[FIRST] == ": 2.0 s, 2.0 (1.7 to 2.4) times as fast as middle."
    assert texts[PROCESS] == ": 1.0 s, 2.0 (1.8 to 2.2) times as fast as plain."
    assert texts[LOOP].endswith(" times as fast as middle.") and ": 0.10 s, 10" in texts[LOOP]


def test_starts_are_paired_by_seed_where_backends_took_turns() -> None:
    slow_seed = [1.0, 3.0, 2.0]  # a busy machine slows both down
    records = [
        used("a", slow_seed, slow_seed, 1.0, order="interleaved"),
        used("b", [2.02 * s for s in slow_seed], slow_seed, 1.0, order="interleaved"),
    ]
    (case,) = group_cases(records)
    ((_, first), *_) = answers(case)
    assert first.names == ["a"] and "2.02 (2.02 to 2.02)" in first.text.replace("2.020", "2.02")
    for record in records:
        record["order"] = "sequential"
        record["run"] = f"run of {record['backend']['name']}"
        record["cold"] = record["cold"][::-1]  # their order is no fact
    (again,) = group_cases(records)
    ((_, unpaired), *_) = answers(again)
    assert unpaired.names == ["a"]


def test_a_tie_at_the_first_fit_names_both() -> None:
    (case,) = group_cases(
        [
            used("a", [2.0, 2.2, 1.9], [1.0, 1.01, 1.02], 0.1),
            used("b", [2.1, 2.0, 2.0], [2.0, 2.01, 2.02], 1.0),
            used("c", [9.0, 9.1, 9.2], [9.0, 9.1, 9.2], 9.0),
        ]
    )
    found = dict(answers(case))
    assert sorted(found[FIRST].names) == ["a", "b"]
    assert found[FIRST].text.startswith(", which cannot be told apart: 2.0 s each; ")
    assert found[FIRST].sentence.startswith("take a or b, which")
    assert (found[PROCESS].names, found[LOOP].names) == (["a"], ["a"])


def test_a_backend_without_starts_has_no_place_in_their_uses(case: Case) -> None:
    unstarted = used("unstarted", [], [], 0.01)
    (case,) = group_cases([*case.records, unstarted])
    found = dict(answers(case))
    assert found[FIRST].names == ["plain"] and found[LOOP].names == ["unstarted"]
    seen = case_for(case, FIRST)
    assert [entry.why for entry in seen.unranked] == ["no such start was timed"]
    (entry,) = [entry for entry in case.ranked if entry.name == "unstarted"]
    assert [seconds_for(entry, use) for use in USES] == [None, None, entry.median]
    assert compile_seconds(entry) is None
    row = ranking(case).rows[0]
    assert row[:3] == ["unstarted", DASH, DASH] and row[3] == "0.010"
    (case,) = group_cases([unstarted])  # nobody was started
    assert [use for use, _ in answers(case)] == [LOOP]
    (row,) = overview_table([case]).rows
    assert row[1:4] == [DASH, DASH, "unstarted"]


def test_records_of_one_start_give_no_interval(tmp_path: Path) -> None:
    paths = []
    for name, first in (("a", 1.0), ("b", 3.0)):
        record: dict[str, Any] = dict(used(name, [first], [first / 2], 0.1 * first))
        record["schema"] = 6
        for start in record["cold"]:
            del start["seed"]
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(record))
    records: Any = [read_record(path) for path in paths]
    assert [start["seed"] for start in records[0]["cold"]] == [0, 0]
    (case,) = group_cases(records)
    found = dict(answers(case))
    said = " s, 3.0 times as fast as b; one start, so that this may be noise."
    assert found[FIRST].text == f": 1.0{said}" and found[PROCESS].text == f": 0.50{said}"
    assert "(" in found[LOOP].text


def test_starts_without_rounds_are_shown_and_not_ranked() -> None:
    record = used("a", [3.0, 2.0, 4.0], [1.0] * 3, 1.0)
    record["rounds"] = []
    (case,) = group_cases([record])
    assert answers(case) == [] and rounds_for(record, FIRST) == []
    assert answer(case).names == []
    assert ranking(case).strong == frozenset()
    (starts,) = [table for table in measured_tables(case) if table.title == "Uses, by phase"]
    assert [row[1] for row in starts.rows] == ["first fit", "new process"]
    assert starts.rows[0][-2:] == ["3.00", "2.00 to 4.00"]


def test_compiling_ahead_is_what_only_the_first_start_takes(case: Case) -> None:
    compiled, middle, plain = case.ranked
    assert compile_seconds(compiled) == pytest.approx(20.5 - 1.01)
    assert compile_seconds(middle) == pytest.approx(1.0)
    assert compile_seconds(plain) is None  # no difference
    column = ranking(case).header.index("Compiling ahead, s")
    assert [row[column] for row in ranking(case).rows] == ["19", "1.0", DASH]
    (case,) = group_cases([used("a", [1.09] * 3, [1.0] * 3, 1.0)])
    assert compile_seconds(case.ranked[0]) is None  # as little may be noise
    (case,) = group_cases([used("a", [1.11] * 3, [1.0] * 3, 1.0)])
    assert compile_seconds(case.ranked[0]) == pytest.approx(0.11)
    (case,) = group_cases([used("a", [0.9] * 3, [1.0] * 3, 1.0)])
    assert compile_seconds(case.ranked[0]) is None
    (case,) = group_cases([used("a", [9.0] * 3, [], 1.0)])
    assert compile_seconds(case.ranked[0]) is None
    (case,) = group_cases([used("a", [2.0, 1.0, 3.0], [1.0, 1.9, 1.1], 1.0)])
    assert compile_seconds(case.ranked[0]) is None  # the interval contains 1
    (case,) = group_cases([used("a", [1.4], [1.0], 1.0)])  # of one start each
    assert compile_seconds(case.ranked[0]) is None
    (case,) = group_cases([used("a", [2.4], [1.0], 1.0)])
    assert compile_seconds(case.ranked[0]) == pytest.approx(1.4)


def test_backends_without_starts_are_named_where_others_are_compared() -> None:
    """A duel times no starts: reported with a run, its records take the place of older ones."""
    starts = [[3.0, 3.1, 2.9], [1.0, 1.1, 0.9]]
    others = [used("b", *starts, 2.0), used("c", *starts, 3.0)]
    (case,) = group_cases([used("a", [], [], 1.0), *others])
    found = dict(answers(case))
    for use in (FIRST, PROCESS):
        assert "a" not in found[use].names
        assert found[use].text.endswith("; not timed so: a.")
    assert found[LOOP].names == ["a"] and "not timed" not in found[LOOP].text
    (case,) = group_cases([used("a", [], [], 1.0), used("b", [9.0] * 3, [1.0] * 3, 2.0)])
    assert dict(answers(case))[FIRST].text == ": 9.0 s; 1 other has no valid measurement; " + (
        "not timed so: a."
    )
    (case,) = group_cases(
        [used("a", [], [], 1.0), used("b", [2.0] * 3, [1.0] * 3, 2.0), used("c", [4.0] * 3, [], 1)]
    )
    text = dict(answers(case))[FIRST].text
    assert text.startswith(", the fastest of those measured: 2.0 s, 2.0")


def test_cells_that_stand_out_are_the_backends_to_take(case: Case) -> None:
    missed = fake_record("missed", "missed", seconds=0.001)
    absent = fake_record("absent", "unavailable")
    (case,) = group_cases([*case.records, missed, absent])
    table = ranking(case)
    assert [row[0] for row in table.rows] == ["compiled", "middle", "plain", "missed"]
    assert table.rows[-1][1:4] == [DASH] * 3  # its starts and rounds did not match either
    assert table.header[1:4] == [f"{use.name}, s" for use in USES]
    found = {(table.rows[row][0], table.header[column][:-3]) for row, column in table.strong}
    assert found == {(name, use.name) for use, each in answers(case) for name in each.names}
    assert found == {("plain", "First fit"), ("compiled", "New process"), ("compiled", "In a loop")}


def test_the_overview_names_the_backend_of_each_use(case: Case) -> None:
    (row,) = overview_table([case]).rows
    cells = dict(zip(overview_table([case]).header, row, strict=True))
    assert (cells["First fit"], cells["New process"], cells["In a loop"]) == (
        "plain",
        "compiled",
        "compiled",
    )
    assert cells["Seconds"].startswith("0.10") and cells["as the next"] == "middle"
