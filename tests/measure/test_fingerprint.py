"""What a record depends on: the source that is measured, not the source that only displays it."""

import shutil
from pathlib import Path

import pytest
from helpers import ROOT

from bench.measure.fingerprint import code_hash, result_key
from tests.fake_records import fake_record


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of the source; returns its folder bench."""
    for package in ("backends", "bench"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path / "bench"


def test_the_copy_is_as_good_as_the_original(source: Path) -> None:
    assert code_hash(source) == code_hash()


@pytest.mark.parametrize(
    "file",
    [
        "../backends/numba_sgd.py",
        "../backends/kernels/llvm/rows.py",
        "../backends/_engine/threads.py",
        "bench_time_to_mse.py",
        "cases/targets.py",
        "datasets/reading/text.py",
        "machine/processes.py",
        "measure/worker.py",
        "options.py",
        "plugin.py",
        "records/schema.py",
        "roofline/work.py",
    ],
)
def test_an_edit_of_what_is_measured_makes_records_stale(source: Path, file: str) -> None:
    before = code_hash(source)
    with (source / file).open("a", encoding="utf-8") as opened:
        opened.write("# edited\n")
    assert code_hash(source) != before


@pytest.mark.parametrize(
    "file",
    [
        "../backends/kernels/triton/sgd.py",
        "../backends/testing/example.py",
        "article/run.py",
        "compare/comparison.py",
        "duel.py",
        "gpu_check/solvers.py",
        "report/figures/static.py",
        "text/wording.py",
    ],
)
def test_an_edit_of_what_only_shows_makes_no_record_stale(source: Path, file: str) -> None:
    before = code_hash(source)
    with (source / file).open("a", encoding="utf-8") as opened:
        opened.write("# edited\n")
    assert code_hash(source) == before


def test_how_a_backend_is_drawn_makes_no_record_stale() -> None:
    record = fake_record("numpy")
    plain, drawn = ({**record["backend"]}, {**record["backend"], "look": "grey o"})
    plain.pop("look", None)
    assert result_key(record["case"], plain, {}) == result_key(record["case"], drawn, {})


def test_the_environment_of_a_library_counts_as_a_version() -> None:
    record = fake_record("cornac")
    asked = record["case"], record["backend"], {"seeds": [0]}
    plain, one, other = (
        result_key(*asked, packages) for packages in ([], ["cornac==3.0.1"], ["cornac==3.0.2"])
    )
    assert len({key["versions"] for key in (plain, one, other)}) == 3
    assert {**one, "versions": ""} == {**other, "versions": ""}
