"""``python -m bench.report --watch`` renders records as they land, and survives broken ones.

It ends at Ctrl-C.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_records import fake_record
from helpers import ROOT

from bench.records import write_record
from bench.report.__main__ import main
from bench.report.outcome.plan import file_of
from bench.report.watch import watch

pytestmark = pytest.mark.draws

RELOADS = '<meta name="factorbench-reload" content="1.0">'


def steps(*moves: Callable[[], object]) -> Callable[[float], None]:
    """Return a wait that makes one move each time it is called, and then presses Ctrl-C."""
    left: Iterator[Callable[[], object]] = iter(moves)

    def wait(_: float) -> None:
        move = next(left, None)
        if move is None:
            raise KeyboardInterrupt
        move()

    return wait


def watched(
    sources: list[Path] | None, output: Path, *moves: Callable[[], object], pictures: int = 0
) -> int:
    """Watch until all moves are made; ``pictures`` are drawn at the end."""
    return watch(sources, output, 1.0, pictures=pictures, pdf=False, wait=steps(*moves))


def test_it_renders_when_a_record_lands_and_only_then(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    pages: list[str] = []

    def look() -> None:
        pages.append((out / "index.html").read_text("utf-8"))
        assert not list(out.glob("*.png")) and not list(out.glob("*.part"))

    moves = [
        lambda: write_record(run, fake_record("a", seconds=2)),
        look,
        lambda: write_record(run, fake_record("b", seconds=1)),
        look,
    ]
    assert watched([run], out, *moves, pictures=20) == 0
    assert "<strong>a</strong>" in pages[0] and RELOADS in pages[0]
    assert "<strong>b</strong>" not in pages[0]
    assert "<strong>b</strong></span>" in pages[1] and "2.0 times as fast as a;" in pages[1]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[1].split(":")[0] for line in lines[1:3]] == [
        "1 record, ahead",
        "2 records, ahead",
    ]
    assert lines[3:] == [f"Stopped; the report: {out / 'index.html'}"]
    assert RELOADS not in (out / "index.html").read_text("utf-8")
    assert (out / "seconds.png").is_file()


@pytest.mark.parametrize("done", [False, True])
def test_what_is_missing_is_told_and_whether_the_run_has_ended(tmp_path: Path, done: bool) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    write_record(run, fake_record("a"))
    planned = [file_of(fake_record(name)) for name in "ab"]
    state = {"command": "pytest bench/", "done": done, "planned": planned}
    (run / "run.state").write_text(json.dumps(state))
    pages: list[str] = []
    assert watched([run], out, lambda: pages.append((out / "index.html").read_text("utf-8"))) == 0
    pages.append((out / "index.html").read_text("utf-8"))
    # Nobody knows whether a run that has not ended goes on.
    assert ("The run has ended; this page reloads every 1 s." in pages[0]) == done
    assert ('watching">This page reloads every 1 s.' in pages[0]) != done
    for page in pages:
        said = "The run is not complete: 1 of 2 measurements is missing (b)."
        assert (said in page) != done


def test_a_broken_record_is_one_line_and_comes_in_when_it_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    write_record(run, fake_record("a"))
    whole = write_record(run, fake_record("b"))
    text = whole.read_text("utf-8")
    whole.write_text(text[:500])

    def still_broken() -> None:
        assert "| a |" in (out / "report.md").read_text("utf-8") and "| b |" not in (
            out / "report.md"
        ).read_text("utf-8")
        whole.write_text(text[:600])

    assert watched([run], out, still_broken, lambda: whole.write_text(text)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "left out: " in line and str(whole) in line]
    assert "2 records" in lines[-2]
    assert "| b |" in (out / "report.md").read_text("utf-8")


def test_it_goes_to_a_newer_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "reports" / "runs"
    write_record(runs / "2025-01-01T00-00-00Z", fake_record("old"))
    assert (
        watched(
            None,
            Path("out"),
            lambda: write_record(runs / "2025-01-02T00-00-00Z", fake_record("new")),
        )
        == 0
    )
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "<strong>new</strong>" in page and "<strong>old</strong>" not in page


def test_without_a_record_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert watched([tmp_path], tmp_path / "out") == 1
    assert capsys.readouterr().err == "Stopped before the first record was written.\n"
    assert not (tmp_path / "out").exists()


def test_a_vanished_source_does_not_stop_the_watch(tmp_path: Path) -> None:
    path = write_record(tmp_path / "run", fake_record("a"))
    assert watched([path], tmp_path / "out", path.unlink, lambda: None) == 0
    assert (tmp_path / "out" / "index.html").is_file()


def test_what_is_no_record_is_left_out_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    write_record(run, fake_record("a"))
    (run / "folder.json").mkdir()
    (run / "deep.json").write_text("[" * 10**5, "utf-8")
    (run / "new\nline.json").write_bytes(b"\xff")
    assert watched([run], tmp_path / "out") == 0
    said = capsys.readouterr().out.splitlines()
    left_out = sorted(line.split(" ", 1)[1] for line in said if "left out" in line)
    assert left_out == [
        f"left out: {run}/deep.json is not a record of factorbench "
        "(lists or objects are nested too deeply)",
        f"left out: {run}/new line.json is not a record of factorbench "
        "(JSON is malformed: invalid character (byte 0))",
    ]
    assert "1 record, ahead" in said[3]


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "1e9"])
def test_intervals_that_make_no_sense_are_refused(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--watch", f"--interval={text}"])
    assert ended.value.code == 2
    assert f"must be a number of seconds from 0.1 to 86400, got '{text}'" in capsys.readouterr().err


@pytest.mark.load
@pytest.mark.process
def test_ctrl_c_ends_the_command_without_a_traceback(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    write_record(run, fake_record("a"))
    command = [sys.executable, "-m", "bench.report", "--watch", "--interval", "0.2"]
    process = subprocess.Popen(
        [*command, "--input", str(run), "--output", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 300
    while not (out / "index.html").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert errors == ""
    assert said.splitlines()[-1] == f"Stopped; the report: {out / 'index.html'}"


def test_a_folder_that_cannot_be_written_is_one_line_and_no_exit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    write_record(run, fake_record("a", seconds=2))
    out.touch()

    def make_room() -> None:
        out.unlink()
        write_record(run, fake_record("b", seconds=1))

    assert watched([run], out, make_room) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"the report cannot be written to {out} (" in lines[1]
    assert "2 records, ahead" in lines[2]
    out.joinpath("index.html").unlink()
    assert watched([run], tmp_path / "run" / next(run.glob("*.json")).name) == 2
    assert capsys.readouterr().err.startswith("error: the report cannot be written to ")
