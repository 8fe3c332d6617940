"""The command that installs other libraries: names, results, the table, refusals, Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from helpers import ROOT

from bench import peers
from bench.measure.peers import ENVIRONMENTS, Environment, Installed, state_of
from bench.peers import find_environments, main, table
from tests.fake_peers import CORNAC, installed, pretend

KNOWN = (
    "Known: cmfrec, cornac, kernelmf, lenskit, libmf, myfm, smurff, surprise, cmfrec-als, "
    "cmfrec-als-cg, cmfrec-lbfgs, lenskit-als, libmf-raw, surprise-svd, all"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what is installed, by an installer of which libmf fails."""
    names = []

    def install(environment: Environment, step: Any, notify: Any) -> Installed:
        names.append(environment.name)
        step("installs something")
        notify("Collecting")
        if environment.name == "libmf":
            lines = tuple(f"line {n}" for n in range(40))
            done = installed(environment, state="failed", reason="it broke", output=lines)
        else:
            done = installed(environment)
        pretend(environment, state=done.state, reason=done.reason)
        return done

    monkeypatch.setattr(peers, "install", install)
    return names


def names_of(*words: str) -> list[str]:
    return [environment.name for environment in find_environments(words)]


def test_an_environment_is_named_by_itself_or_by_a_backend_and_taken_once() -> None:
    assert names_of("surprise-svd", "cornac", "libmf-raw", "libmf") == [
        "surprise",
        "cornac",
        "libmf",
    ]
    assert sorted(names_of("cornac", "all")) == list(ENVIRONMENTS)


@pytest.mark.parametrize("command", ["install", "remove"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [("lenskit_ALS", "; did you mean 'lenskit-als'?"), ("numpy", ".")],
)
def test_an_unknown_name_is_refused_before_anything_is_done(
    command: str, name: str, hint: str, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "cornac", name]) == 2
    assert capsys.readouterr() == (
        "",
        f"error: no environment, and no backend that needs one, is named {name!r}{hint} {KNOWN}\n",
    )
    assert asked == []


def test_one_that_fails_shows_the_end_of_its_log_and_the_others_go_on(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["install", "libmf", "myfm"]) == 1
    assert asked == ["libmf", "myfm"]
    out, err = capsys.readouterr()
    first, last = out.splitlines()
    assert first == "myfm: ready after 0.2 min (Python 3.13.0, 1,234 MB)"
    assert last.startswith("1 of 2 environments ready after ")
    log = ENVIRONMENTS["libmf"].folder / "install.log"
    assert err.splitlines() == [
        "libmf: installs something",
        "libmf: was not installed: it broke",
        f"  The end of {log}:",
        *(f"    line {n}" for n in range(30, 40)),
        "myfm: installs something",
    ]


def test_what_is_ready_is_left_alone_unless_asked_for_again(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(CORNAC)
    assert main(["install", "cornac"]) == 0
    assert asked == []
    assert capsys.readouterr() == (
        "cornac: is ready (Python 3.13.0, 1,234 MB); --again installs it anew\n",
        "",
    )
    assert main(["install", "--again", "cornac"]) == 0
    assert asked == ["cornac"]


@pytest.mark.parametrize("facts", [{"requirements": ("cornac==1",)}, {"state": "failed"}])
def test_what_is_of_other_pins_or_has_failed_is_installed(
    facts: dict[str, Any], asked: list[str]
) -> None:
    pretend(CORNAC, **facts)
    assert main(["install", "cornac"]) == 0
    assert asked == ["cornac"]
    assert state_of(CORNAC) == "ready"


def test_the_table_shows_states_and_what_is_wrong() -> None:
    pretend(CORNAC)
    pretend(ENVIRONMENTS["smurff"], state="failed", reason="no network")
    pretend(ENVIRONMENTS["surprise"], requirements=("scikit-surprise==1.1.4",))
    lines = [line.split() for line in table()]
    assert lines[0] == ["name", "backends", "library", "Python", "MB", "state", "licence"]
    words = "cornac cornac cornac 3.0.1 3.13.0 1,234 ready Apache 2.0"
    assert words.split() in lines
    assert ["lenskit", "lenskit-als", "lenskit", "2026.4.0", "absent", "MIT"] in lines
    assert ["smurff", "smurff", "smurff", "1.1", "3.13.0", "failed", "MIT"] in lines
    text = " ".join(word for line in lines for word in line)
    assert "the last installation of smurff failed: no network (log: " in text
    assert "of other pins than today's (it has scikit-surprise==1.1.4, today's are" in text
    assert "to make it anew: python -m bench.peers install surprise" in text
    assert max(map(len, table())) <= 120


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert capsys.readouterr() == ("\n".join(table()) + "\n", "")


def test_removing_says_what_was_there(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    pretend(CORNAC)
    assert main(["remove", "cornac", "myfm"]) == 0
    assert capsys.readouterr().out == "cornac: removed\nmyfm: nothing to remove\n"
    assert list((cache / "peers").iterdir()) == []


@pytest.mark.parametrize("command", ["install", "remove"])
def test_one_that_another_process_has_locked_is_passed_over(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(CORNAC, state="failed")
    with FileLock(CORNAC.folder / "install.lock"):
        assert main([command, "cornac"]) == 1
    assert capsys.readouterr().err == (
        "cornac: another process installs or removes cornac; wait until it has ended, then run "
        "the same command\n"
    )


def test_a_cache_that_cannot_be_written_to_is_named(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache.write_text("a file")
    assert main(["install", "cornac"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: an environment in {cache / 'peers'} cannot be written or ")
    assert err.endswith("; make room there, or set FACTORBENCH_CACHE to another folder\n")
    assert err.count("\n") == 1


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="sends SIGINT")
def test_ctrl_c_ends_an_installation_and_leaves_nothing(cache: Path) -> None:
    code = """
import signal, sys
from bench import peers
from tests.fake_peers import makes_a_python, script
from bench.measure import peer_install
signal.signal(signal.SIGINT, signal.default_int_handler)
peer_install.steps = lambda environment, python: [
    makes_a_python(environment),
    script("import time; time.sleep(600)", "waits"),
]
sys.exit(peers.main(["install", "cornac", "myfm"]))
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, **pipes)
    try:
        assert process.stderr is not None
        assert [process.stderr.readline() for _ in range(2)] == [
            "cornac: makes\n",
            "cornac: waits\n",
        ]
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, output, errors) == (
        130,
        "",
        "interrupted: what was not complete is removed or counts as absent; the same command goes "
        "on\n",
    )
    assert list((cache / "peers").iterdir()) == []
