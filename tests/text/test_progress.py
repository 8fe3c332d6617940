"""The line of a terminal that is rewritten."""

import io
import sys

import pytest

from bench.text.progress import StatusLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    status = StatusLine()
    status.of("numpy")("epoch 1")
    status("x" * 500)
    status.clear()
    assert terminal.getvalue() == f"\r\033[Knumpy: epoch 1\r\033[K{'x' * 110}\r\033[K"


def test_nothing_is_written_to_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    StatusLine()("epoch 1")
    StatusLine().clear()
    assert capsys.readouterr() == ("", "")


class Closed(Terminal):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


CLOSED = Terminal()
CLOSED.close()


@pytest.mark.parametrize("stream", [None, Closed(), CLOSED])
def test_a_run_goes_on_without_its_terminal(
    monkeypatch: pytest.MonkeyPatch, stream: object
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    StatusLine()("epoch 1")


def test_a_text_of_several_lines_and_a_name_that_is_no_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    StatusLine()("a\nb\x1b[2J \udcff")
    assert terminal.getvalue() == "\r\033[Ka b[2J "
