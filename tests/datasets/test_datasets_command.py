"""The command `python -m bench.datasets`; `fetch` of what is there is tested with the catalogue."""

# ruff: noqa: F811  # fixtures are imported, and shadowed by the parameters that ask for them

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import in_fresh_process
from local_data import places, put  # noqa: F401  # a fixture

from bench.datasets import KNOWN
from bench.datasets.__main__ import main


def test_list(places: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    put(places[0] / "ml-1m", "ratings.dat", "1::2::3::4\n")
    assert main(["list"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "ratings", "users", "items", "download", "here"]
    shown = {row.split()[0]: row for row in rows}
    assert list(shown) == list(KNOWN)
    assert shown["ml-1m"].split() == [
        "ml-1m",
        "1,000,209",
        "6,040",
        "3,706",
        "5.9",
        "MB",
        str(places[0] / "ml-1m"),
    ]
    assert shown["netflix"].endswith(" no")


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.usefixtures("places")
def test_info(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", name]) == 0
    shown, known = capsys.readouterr().out, KNOWN[name]
    for text in (
        known.citation,
        known.licence,
        known.page,
        *known.folds,
        *(url for s in known.sources for url in s.urls),
    ):
        assert text in shown


@pytest.mark.parametrize("command", ["info", "fetch"])
@pytest.mark.usefixtures("places")
def test_an_error_is_one_line_and_exit_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "ml1m"]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert shown.err.startswith("error: no data set is named 'ml1m'; did you mean 'ml-1m'?")
    assert shown.err.count("\n") == 1


@pytest.mark.usefixtures("places")
def test_what_cannot_be_fetched_says_how_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "netflix"]) == 2
    assert "Netflix no longer distributes it; a copy is at kaggle.com" in capsys.readouterr().err


@pytest.mark.usefixtures("places")
def test_ctrl_c_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.datasets.__main__.fetch_dataset", interrupted)
    assert main(["fetch", "ml-1m"]) == 130
    assert capsys.readouterr().err.startswith("interrupted: no partial file is left")


@pytest.mark.process
def test_no_backend_is_needed() -> None:
    code = """
import sys
import bench.datasets.__main__
print({name.partition(".")[0] for name in sys.modules})
"""
    assert "'backends'" not in in_fresh_process(code)
