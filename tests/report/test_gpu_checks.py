"""The report of a check of a GPU: its sentence, tables, figure and files."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_records import fake_gpu_check, fake_record

from bench.records import write_record
from bench.report.__main__ import main
from bench.report.figures import Look
from bench.report.figures.kinds.gpu_fits import gpu_figures, gpu_table
from bench.report.page.contents import gather
from bench.report.page.html import render_html
from bench.report.page.markdown import render_markdown
from bench.report.tables.gpu_check import GPUSection, make_gpu_section, sentence


def section_of(**overrides: Any) -> GPUSection:
    return make_gpu_section(fake_gpu_check(**overrides), defaultdict(lambda: Look("#000000", "o")))


def test_the_sentence_says_whether_all_is_right_and_the_fastest_of_the_most_ratings() -> None:
    assert sentence(fake_gpu_check()) == (
        "NVIDIA H200: all that ran is right (1 comparison); torch-cuda reaches the target of "
        "20,000,000 ratings in 0.200 s; 1 skipped."
    )
    cut = fake_gpu_check(status="cut off", reason="the check was cut off", fits=[], skipped=[])
    assert sentence(cut) == "NVIDIA H200: the check was cut off after 1 comparison."
    nothing = fake_gpu_check(comparisons=[], fits=[], skipped=[])
    assert sentence(nothing) == "NVIDIA H200: nothing was compared."
    wrong = fake_gpu_check(status="wrong", reason="2 results failed or wrong", fits=[], skipped=[])
    assert sentence(wrong) == "NVIDIA H200: 2 results failed or wrong."


def test_a_smoke_run_is_never_taken_for_a_gpu() -> None:
    section = section_of(smoke=True, device="cpu")
    assert "a test of the check itself" in section.heading
    assert "a test of the check itself" in section.sentence


def test_the_tables_show_fits_that_ended_too_high_and_shares_of_the_bandwidth() -> None:
    fits, timings, comparisons = section_of().tables
    assert [row[0] for row in fits.rows] == ["torch-cuda"] * 2 + ["torch-cuda-gd"] * 2
    assert [row[3] for row in fits.rows] == ["0.0100", "0.200", "0.0300", "> 0.600"]
    # 20 GB in 10 ms are 2,000 GB/s, half of the 4,000 that were measured.
    assert timings.rows[0] == ["gradient, rank 16", "10.0", "0.100", "2,000", "50"]
    assert timings.rows[1][3:] == ["\u2013", "\u2013"]
    assert comparisons.rows == [["gd, float64", "2e-12", "1e-08"]]


def test_the_figure_has_the_fits_that_reached_the_target() -> None:
    table = gpu_table(fake_gpu_check())
    assert list(zip(table["backend"], table["ratings"], strict=True)) == [
        ("torch-cuda", 1e6),
        ("torch-cuda", 2e7),
        ("torch-cuda-gd", 1e6),
    ]
    assert gpu_figures(fake_gpu_check(fits=[])) == []


def test_a_report_of_a_check_has_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_record(tmp_path / "run", fake_gpu_check())
    assert main(["--input", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith("NVIDIA H200: all that ran is right")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    pictures = {"gpu_fits.csv", "gpu_fits.png", "gpu_fits.svg"}
    assert names == {"index.html", "report.md", "gpu-check.csv", *pictures}
    table = pd.read_csv(tmp_path / "out" / "gpu-check.csv")
    assert list(table["what"][:2]) == ["gradient, rank 16", "gd, rank 16: prepare"]
    assert set(table["what"][2:]) == {"to the target"}
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "Check of a GPU: NVIDIA H200" in page


def test_a_check_stands_behind_the_cases_and_its_names_are_escaped() -> None:
    check = fake_gpu_check(device="<b>GPU</b>", wrong=["<i>off</i>"], status="wrong", reason="<u>")
    report = gather([fake_record("numpy"), check])
    assert report.subject.startswith("which solver to take")
    page = render_html(report)
    assert not any(tag in page for tag in ("<b>GPU", "<i>off", "<u>"))
    assert page.index("Data, split") < page.rindex("&lt;b&gt;GPU")
    text = render_markdown(report)
    assert "## Check of a GPU: &lt;b&gt;GPU&lt;/b&gt;" in text
