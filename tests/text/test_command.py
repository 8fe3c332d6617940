"""Commands print on any terminal, end quietly when their reader has left, and say so at Ctrl-C."""

from __future__ import annotations

import ast
import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_records import fake_record
from helpers import ROOT

from bench.records import write_record
from bench.text import command
from bench.text.wording import DASH, TIMES

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
UTF_8 = {"PYTHONIOENCODING": "utf-8"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def main_block(path: Path) -> ast.If | None:
    """Return the statement of a module that runs it as a command; None if there is none."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            return node
    return None


BLOCKS = {
    name_of(path): block
    for path in sorted((ROOT / "bench").rglob("*.py"))
    if (block := main_block(path)) is not None
}
COMMANDS = [name.removesuffix(".__main__") for name in BLOCKS]


def started(
    *arguments: str, environment: dict[str, str], **options: object
) -> subprocess.CompletedProcess[bytes]:
    """Run Python in a new process that imports this working tree."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        check=False,
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )


def script(body: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command whose main function has the given body."""
    lines = ["from bench.text import command", "import sys", "def main():", f"    {body}"]
    code = "\n".join([*lines, "command.run(main)"])
    return started("-c", code, environment=environment, stdout=subprocess.PIPE)


def after_its_reader_has_left(
    *arguments: str, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run Python with a standard output that is a pipe nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return started(*arguments, environment=environment, stdout=writer)
    finally:
        os.close(writer)


def test_the_commands_were_found() -> None:
    assert {"bench.report", "bench.compare", "bench.duel", "bench.datasets"} <= set(COMMANDS)


@pytest.mark.parametrize("name", sorted(BLOCKS))
def test_every_command_is_run_in_the_same_way(name: str) -> None:
    (statement,) = BLOCKS[name].body
    assert ast.unparse(statement).startswith("command.run(main")
    source = (ROOT / f"{name.replace('.', '/')}.py").read_text("utf-8")
    assert "from bench.text import command\n" in source


@pytest.mark.process
@pytest.mark.parametrize("name", ["bench.report", "bench.duel"])
def test_help_reaches_any_terminal_and_a_pipe_that_is_closed(name: str) -> None:
    done = started("-m", name, "--help", environment=ASCII, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"usage: ")
    done = after_its_reader_has_left("-m", name, "--help")
    assert (done.returncode, done.stderr) == (command.BROKEN_PIPE, b"")


@pytest.mark.process
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_list_ends_quietly_when_its_reader_has_left(unbuffered: str) -> None:
    """With an unbuffered output, within the command, where an OSError is one of a file."""
    done = after_its_reader_has_left("-m", "bench.datasets", "list", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (command.BROKEN_PIPE, b"")


@pytest.mark.process
@pytest.mark.parametrize("environment", [ASCII, UTF_8], ids=["ascii", "utf-8"])
def test_a_report_of_a_file_with_any_name_on_any_terminal(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    name = f"müller {DASH} 2{TIMES}"
    write_record(tmp_path / "run", fake_record(name, "unavailable"))  # few figures
    output = os.fsencode(tmp_path) + b"/caf\xe9"
    arguments = ["--input", str(tmp_path / "run"), "--output", os.fsdecode(output)]
    done = started("-m", "bench.report", *arguments, environment=environment, stdout=-1)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = {"ascii": b"m\\xfcller - 2x"}
    encoding = environment["PYTHONIOENCODING"] or "ascii"
    assert b"Not available here: " + shown.get(encoding, name.encode()) + b".\n" in done.stdout
    assert done.stdout.splitlines()[-1].endswith(b"/caf\\udce9/index.html")
    assert (Path(os.fsdecode(output)) / "index.html").is_file()


@pytest.mark.process
def test_what_a_terminal_lacks_is_shown_by_what_is_close() -> None:
    text = ascii(f"1 {DASH} 2 {TIMES} 3 … ü 漢 \udcff")
    done = script(f"print({text})", **ASCII)
    assert done.stdout == b"1 - 2 x 3 ... \\xfc \\u6f22 \\udcff\n"
    done = script(f"print({text}, file=sys.stderr)", **ASCII)
    assert done.stderr == b"1 - 2 x 3 ... \\xfc \\u6f22 \\udcff\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("body", "status", "output", "error"),
    [
        ("print('done')", 0, b"done\n", b""),
        ("return 3", 3, b"", b""),
        ("print('a'); sys.exit(2)", 2, b"a\n", b""),
        ("print('a'); sys.exit('no')", 1, b"a\n", b"no\n"),
        ("print('a'); raise KeyboardInterrupt", 130, b"a\n", b"interrupted\n"),
    ],
)
def test_the_status_is_that_of_the_command(
    body: str, status: int, output: bytes, error: bytes
) -> None:
    done = script(body)
    assert (done.returncode, done.stdout, done.stderr) == (status, output, error)


@pytest.mark.process
def test_ctrl_c_says_what_became_of_the_work() -> None:
    code = (
        "from bench.text import command\n"
        "def main():\n    raise KeyboardInterrupt\n"
        "command.run(main, interrupted='nothing was written')"
    )
    done = started("-c", code, environment={}, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (130, b"interrupted: nothing was written\n")


@pytest.mark.process
def test_a_command_without_standard_streams_runs() -> None:
    body = "import sys; from bench.text import command; command.run(lambda: print('x') or 4)"
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c", body],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 4


@pytest.mark.process
def test_cleaning_up_goes_on_when_the_reader_has_left(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom bench.text import command\n"
        "def main():\n"
        "    try:\n        print('x' * 100_000)\n"
        "    except OSError:\n        print('not a file', file=sys.stderr)\n"
        "    finally:\n        Path(sys.argv[1]).touch()\n"
        "command.run(main)"
    )
    done = after_its_reader_has_left("-c", code, str(tmp_path / "cleaned"))
    assert (done.returncode, done.stderr) == (command.BROKEN_PIPE, b"")
    assert (tmp_path / "cleaned").exists()


@pytest.mark.process
def test_tests_run_by_a_command_print_as_ever(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(capfd):\n    print('x')\n", "utf-8")
    arguments = ["-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = script(f"import pytest; return pytest.main({arguments})")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 passed" in done.stdout


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EINVAL, errno.ENOSPC])
def test_a_reader_has_left_whichever_way_the_system_says_so(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Windows has no EPIPE. A full disk is another thing."""

    class Broken(io.RawIOBase):
        broken = True

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            if self.broken:
                raise OSError(number, "broken")
            return len(data)

    def discard(_: object) -> None:
        raw.broken = False

    monkeypatch.setattr(command, "_discard", discard)
    raw = Broken()
    output = command._Output(io.BufferedWriter(raw), encoding="utf-8")  # type: ignore[type-var]
    expected = OSError if number == errno.ENOSPC else SystemExit
    with pytest.raises(expected) as caught:
        print("x", file=output, flush=True)
    raw.broken = False
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == command.BROKEN_PIPE
