"""`tests.mutants`: every mutant still fits the code, and its verdicts are right."""

from collections import Counter
from pathlib import Path

import pytest
from helpers import ROOT

from tests.mutants import MUTANTS, Mutant, copy_of_the_tree, main

(ONE,) = [mutant for mutant in MUTANTS if mutant.name == "target is out of reach"]


def test_names_of_mutants_are_unique() -> None:
    assert [name for name, n in Counter(mutant.name for mutant in MUTANTS).items() if n > 1] == []
    assert len(MUTANTS) > 20


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_has_its_place_and_its_tests(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text("utf-8").count(mutant.text) == 1
    assert mutant.fault != mutant.text
    for test in mutant.tests:
        file, _, function = test.partition("::")
        assert f"def {function}" in (ROOT / file).read_text("utf-8")


@pytest.mark.process
@pytest.mark.slow
def test_a_fault_is_killed_and_an_equivalent_change_survives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (ROOT / ONE.file).read_bytes()
    same = ONE._replace(name="the same rule", fault="return target >= score")
    gone = ONE._replace(name="of another time", text="return score is target")
    assert main(["--only", ONE.name], [ONE, same, gone]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "target is out of reach  killed     bench/cases/targets.py: a score at the target meets it",
        "1 of 1 mutants were killed",
    ]
    assert main([], [same, gone]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "the same rule    survived   bench/cases/targets.py: a score at the target meets it",
        "of another time  outdated   bench/cases/targets.py: a score at the target meets it",
        "0 of 2 mutants were killed",
    ]
    assert (ROOT / ONE.file).read_bytes() == before


@pytest.mark.process
def test_tests_that_fail_anyway_kill_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], [ONE._replace(tests=("tests/cases/test_targets.py::test_that_is_none",))]) == 1
    assert capsys.readouterr().out == "the tests do not pass as they are: pytest ended with 4\n"


def test_the_copy_has_the_code_and_the_tests(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    for name in ("backends/objective.py", "bench/duel.py", "tests/conftest.py", "pyproject.toml"):
        assert (tree / name).read_bytes() == (ROOT / name).read_bytes()
