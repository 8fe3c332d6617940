"""The command that a record keeps is the one that was typed."""

import sys

import pytest

from bench.plugin import _command_line


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("/env/bin/pytest", "pytest --quick --ratings 'my file.csv'"),
        ("/env/lib/pytest/__main__.py", "pytest --quick --ratings 'my file.csv'"),
        ("/env/lib/bench/__main__.py", "python -m bench --quick --ratings 'my file.csv'"),
    ],
)
def test_the_command_is_what_was_typed(monkeypatch: pytest.MonkeyPatch, program: str, typed: str) -> None:
    monkeypatch.setattr(sys, "argv", [program, "--quick", "--ratings", "my file.csv"])
    assert _command_line() == typed
