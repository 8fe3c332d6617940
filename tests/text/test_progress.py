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
