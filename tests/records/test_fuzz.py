"""A few hundred cases of the fuzz of records; `fuzz_records` runs as many as one likes."""

from pathlib import Path

import fuzz_records


def test_damaged_records_are_read_or_refused_in_words(tmp_path: Path) -> None:
    outcomes = {fuzz_records.run_case(n, 0, tmp_path, report=False) for n in range(400)}
    assert {"0 of 3 files refused", "1 of 3 files refused"} <= outcomes


def test_a_report_can_be_made_of_whatever_is_read(tmp_path: Path) -> None:
    for number in range(1000, 1008):
        fuzz_records.run_case(number, 0, tmp_path, report=True)
