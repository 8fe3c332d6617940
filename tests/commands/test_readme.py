"""What the README and the pages beside it tell people to type works."""

import doctest
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.text.wording import DASH

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCS = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
OPTIONS, SOLVERS = DOCS["options.md"], DOCS["solvers.md"]
SAMPLE = ROOT / "reports" / "sample"


def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cells = rng.permutation(40 * 30)[:600]
    users, items = cells // 30 + 1, np.array([31, 1029, *range(100, 128)])[cells % 30]
    frame = pd.DataFrame(
        {"userId": users, "movieId": items, "rating": rng.integers(1, 11, 600) / 2}
    )
    frame = pd.concat(
        [frame, pd.DataFrame({"userId": [1, 1], "movieId": [31, 1029], "rating": [4.0, 3.5]})]
    )
    frame.drop_duplicates(["userId", "movieId"]).to_csv(tmp_path / "ratings.csv", index=False)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", SOLVERS, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert (tmp_path / "model.npz").is_file()


@pytest.mark.fits
def test_the_six_lines_print_what_is_said() -> None:
    pytest.importorskip("numba")
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert code.count(">>> ") == 6
    test = doctest.DocTestParser().get_doctest(code, {}, "README", None, 0)
    told: list[str] = []
    assert doctest.DocTestRunner().run(test, out=told.append).failed == 0, "".join(told)


def test_the_table_is_that_of_the_sample_report() -> None:
    """Each backend's figures, and which stand out as the ones to take."""
    report = (SAMPLE / "report.md").read_text("utf-8")

    def rows(text: str) -> dict[str, list[str]]:
        lines = re.findall(r"^\| *`?([a-z][\w-]*)`? \|(.*)\|$", text, re.MULTILINE)
        found: dict[str, list[str]] = {}
        for name, cells in lines:
            found.setdefault(name, [cell.strip() for cell in cells.split("|")][:6])
        return found

    table = report[report.index("| Backend |") :]
    measured = rows(table[: table.index("\n\n")].replace("\\", ""))
    text = README[README.index("| backend |") :]
    matched = {name: cells for name, cells in measured.items() if cells[0] != DASH}
    found = rows(text[: text.index("\n\n")])
    found.pop("backend")
    assert found == matched
    for name in measured.keys() - matched.keys():  # they have no figures, but are named
        assert f"`{name}`" in text
    said = report.replace("\\", "")
    takes = re.findall(r": take ([\w-]+)[:,]", said)
    takes += re.findall(r": ([\w-]+) is the fastest to the", said)
    assert re.findall(r"take `([\w-]+)`", README) == takes and len(takes) == 3


def test_every_option_is_there(request: pytest.FixtureRequest) -> None:
    parser = pytest.Parser(_ispytest=True)
    from bench.plugin import pytest_addoption

    pytest_addoption(parser)
    group = parser.getgroup("factorbench")
    known = {name for option in group.options for name in option.names()}
    table = OPTIONS[OPTIONS.index("| option |") : OPTIONS.index("From an installed wheel")]
    named = set(re.findall(r"--[a-z][a-z-]*", table))
    assert named == known | {"--no-header"}, "which is pytest's own"


def test_links_lead_to_files() -> None:
    pages = {ROOT / "README.md": README}
    pages |= {ROOT / "docs" / name: text for name, text in DOCS.items()}
    for page, text in pages.items():
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text):
            assert (page.parent / target).is_file(), (page.name, target)
        for anchor in re.findall(r"\]\(#([^)]+)\)", text):
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_pictures_show_what_is_said_of_them() -> None:
    """A backend that is named here is named by the report, too, where it shows the same file."""
    report = (SAMPLE / "report.md").read_text("utf-8")
    shown = {target: text for text, target in re.findall(r"!\[(.*?)\]\((\S+?)\)", report)}
    for text, target in re.findall(r"!\[(.*?)\]\((\S+?)\)", README + DOCS["method.md"]):
        for name in re.findall(r"(?:numba|numpy|torch)-\w+", text):
            assert name in shown[Path(target).name], target


def test_every_make_target_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
