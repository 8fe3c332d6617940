"""Kinds of figures: found by their modules, so that a new one is a single file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_records import fake_record

from bench.records import Record
from bench.report.figures import Figure, all_kinds, kinds
from bench.report.files import write_report

pytestmark = pytest.mark.draws

STARS = '''
import pandas as pd

from bench.report.figures.figure import Axis, Figure, Layer
from bench.report.figures.kind import Kind


def stars(case):
    """Return a star for each ranked backend."""
    table = pd.DataFrame({"backend": [entry.name for entry in case.ranked], "stars": 3.0})
    names = tuple(table["backend"])
    layers = (Layer("point", "stars", "backend"),)
    x, y = Axis("stars", zero=True), Axis("backend", categories=names)
    return [Figure("stars", "Stars", "All have three.", "Three each.", table, x, y, layers)]


KIND = Kind(
    make=stars,
    over="case",
    order=15,
    stems=("stars", "former"),
    method=("Stars are counted at night.",),
    numbered=True,
    about_times={about_times},
)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder whose modules are kinds of figures too."""
    before = set(sys.modules)
    folder = tmp_path / "kinds"
    folder.mkdir()
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(folder)])
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith(kinds.__name__):
            monkeypatch.delattr(kinds, name.rpartition(".")[2])
            del sys.modules[name]


@pytest.fixture
def records() -> list[Record]:
    doubtful = fake_record("numba-gd", seconds=[1.0, 1.0, 2.5, 1.0, 1.0])
    return [fake_record("numpy", seconds=3.0), doubtful]


@pytest.mark.parametrize("about_times", [True, False])
def test_one_file_adds_a_figure(
    about_times: bool, package: Path, records: list[Record], tmp_path: Path
) -> None:
    (package / "stars.py").write_text(STARS.replace("{about_times}", str(about_times)))
    output = tmp_path / "report"
    output.mkdir()
    stale = ["stars--gone.png", "stars-2.svg", "former.csv"]
    kept = ["stars-mine.png", "starsky.csv", "former.txt"]
    for name in stale + kept:
        (output / name).touch()
    page = write_report(records, output).read_text("utf-8")
    there = {path.name for path in output.iterdir()}
    assert {"stars.png", "stars.svg", "stars.csv", *kept} <= there
    assert not there & set(stale)
    assert (output / "stars.csv").read_text("utf-8").startswith("backend,stars\n")
    assert "![Three each.](stars.png)" in (output / "report.md").read_text("utf-8")
    stems = [line.split('"')[0] for line in page.split('id="figure-')[1:]]
    assert stems[:3] == ["uses", "stars", "convergence_seconds"]
    figure = page.split('id="figure-stars"')[1].split("</figure>")[0]
    assert "<li>Stars are counted at night.</li>" in figure and "All have three." in figure
    assert ("Warnings about numba-gd" in figure) == about_times


def test_without_its_file_its_figures_are_somebody_else_s(
    records: list[Record], tmp_path: Path
) -> None:
    (tmp_path / "stars.png").touch()
    write_report(records, tmp_path, pictures=0)
    assert (tmp_path / "stars.png").exists() and not (tmp_path / "stars.csv").exists()


def test_every_figure_has_a_stem_that_its_kind_names(figures: list[Figure]) -> None:
    """They tell which files are stale."""
    stems = {stem for kind in all_kinds() for stem in kind.stems}
    numbered = {stem for kind in all_kinds() if kind.numbered for stem in kind.stems}
    for figure in figures:
        stem, _, number = figure.stem.partition("-")
        assert stem in stems and (not number or stem in numbered), figure.stem


def test_every_kind_says_how_its_numbers_were_made_and_has_a_place_of_its_own() -> None:
    found = all_kinds()
    files = [path for path in Path(kinds.__file__).parent.glob("*.py") if path.stem != "__init__"]
    assert len(found) == len(files) >= 9
    assert all(kind.method and all(text.endswith(".") for text in kind.method) for kind in found)
    assert len({(kind.over, kind.order) for kind in found}) == len(found)
    stems = [stem for kind in found for stem in kind.stems]
    assert len(stems) == len(set(stems))


def test_what_an_earlier_report_left_is_removed_whatever_its_figure(tmp_path: Path) -> None:
    gone = [f"{stem}--gone.svg" for kind in all_kinds() for stem in kind.stems]
    gone += ["cold.csv", "speedup.svg", "targets.png", "rungs.pdf"]  # kinds of earlier releases
    gone += ["size-2.csv", "roofline-3--gone.png", "roofline.csv", "accuracy.pdf"]
    for name in gone:
        (tmp_path / name).touch()
    write_report([fake_record()], tmp_path, pictures=0)
    assert not [name for name in gone if (tmp_path / name).exists()]
