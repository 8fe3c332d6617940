"""Installations without pip and the network: their steps are small scripts that print."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.measure import peer_install
from bench.measure.peer_install import Step
from bench.measure.peers import ENVIRONMENTS, Environment, Installed, write_installed
from bench.measure.pythons import Python

CORNAC = ENVIRONMENTS["cornac"]
FREEZE = ("cornac==3.0.1", "numpy==2.4.6")


def script(code: str, text: str = "installs", **facts: Any) -> Step:
    """A step that runs Python code, with nothing of what is beside it."""
    return Step(text, [sys.executable, "-I", "-S", "-c", code], **facts)


def makes_a_python(environment: Environment) -> Step:
    """A step that puts a file where the interpreter of an environment is."""
    code = f"""
from pathlib import Path
python = Path({str(environment.python)!r})
python.parent.mkdir(parents=True)
python.write_text("")
"""
    return script(code, "makes")


def lists(*lines: str) -> Step:
    """The last step, which says what is installed."""
    return script(f"print({chr(10).join(lines)!r})", "lists", lists=True)


def use_steps(patch: pytest.MonkeyPatch, made: Callable[[Environment], list[Step]]) -> None:
    """Let installations take these steps between making a Python and listing what there is."""

    def steps(environment: Environment, python: Python) -> list[Step]:
        return [makes_a_python(environment), *made(environment), lists(*FREEZE)]

    patch.setattr(peer_install, "steps", steps)


def installed(environment: Environment, **overrides: Any) -> Installed:
    """What is known of an installation that went well."""
    facts = {
        "state": "ready",
        "requirements": environment.requirements,
        "python": "3.13.0",
        "freeze": FREEZE,
        "seconds": 12.0,
        "megabytes": 1234.5,
        "output": ("Successfully installed",),
    }
    return Installed(**(facts | overrides))


def pretend(environment: Environment, **overrides: Any) -> None:
    """Leave what an installation leaves."""
    environment.python.parent.mkdir(parents=True, exist_ok=True)
    environment.python.touch()
    write_installed(environment, installed(environment, **overrides))
