"""Environments of other libraries: the table, their states, finding a Python, installing."""

import importlib
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from helpers import ROOT, in_fresh_process

from backends.registry import _BACKENDS
from bench.measure import peer_install
from bench.measure.peer_install import Busy, install, remove
from bench.measure.peers import (
    ENVIRONMENTS,
    Environment,
    environment_of,
    frozen,
    interpreter,
    library_of,
    problem,
    read_installed,
    state_of,
)
from bench.measure.pythons import NoPython, Python, find_python, suits, version_of
from tests.fake_peers import CORNAC, FREEZE, pretend, script, use_steps

IN_THE_MAIN_ENVIRONMENT = {"pytorch-slices", "pytorch-tutorial"}
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs shell scripts")


def quiet(_: str) -> None:
    pass


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# ---- the table ----------------------------------------------------------------------------------


def test_each_adapter_has_one_environment() -> None:
    served = [name for environment in ENVIRONMENTS.values() for name in environment.backends]
    peers = {name for name, info in _BACKENDS.items() if info.target.startswith("backends.peers.")}
    assert sorted(served) == sorted(peers - IN_THE_MAIN_ENVIRONMENT)
    assert [environment_of(name) for name in (*IN_THE_MAIN_ENVIRONMENT, "numpy")] == [None] * 3


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=lambda each: each.name)
def test_an_environment_agrees_with_its_adapters(environment: Environment) -> None:
    for name in environment.backends:
        info = _BACKENDS[name]
        required = [other.partition("==")[0] for other in environment.others]
        assert info.requires[0] == environment.module
        assert set(info.requires[1:]) <= set(required)
        assert library_of(environment).partition(" ")[0] == info.library
        module, _, attribute = info.target.partition(":")
        assert (
            getattr(importlib.import_module(module), attribute).facts.licence == environment.licence
        )


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=lambda each: each.name)
def test_all_requirements_are_pinned(environment: Environment) -> None:
    pin = re.compile(r"[a-z0-9-]+==[\w.]+(; python_version (<|>=) '3\.\d+')?")
    assert [each for each in environment.requirements if not pin.fullmatch(each)] == []


def test_workers_import_what_the_tests_run_with() -> None:
    tested = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    shared = set.intersection(*(set(each.requirements) for each in ENVIRONMENTS.values()))
    assert len(shared) == 6
    assert shared <= set(tested)


@pytest.mark.process
def test_the_table_loads_nothing_heavy() -> None:
    code = """
import sys
import bench.measure.peers
print([name for name in ("numba", "pandas", "scipy", "torch", "requests") if name in sys.modules])
"""
    assert in_fresh_process(code).strip() == "[]"


# ---- states -------------------------------------------------------------------------------------


def test_what_nobody_installed_is_absent_and_no_problem() -> None:
    assert state_of(CORNAC) == "absent"
    assert (interpreter("cornac"), problem("cornac"), frozen("cornac")) == (None, "", [])


def test_a_backend_that_needs_no_environment_has_no_problem() -> None:
    assert (interpreter("numpy"), problem("numpy"), frozen("numpy")) == (None, "", [])


def test_a_ready_environment_has_an_interpreter(cache: Path) -> None:
    pretend(CORNAC)
    assert interpreter("cornac") == CORNAC.python
    assert CORNAC.python.is_relative_to(cache / "peers" / "cornac")
    assert (problem("cornac"), frozen("cornac")) == ("", ["Python 3.13.0", *FREEZE])


def test_the_interpreter_is_absolute_if_the_cache_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACTORBENCH_CACHE", "here")
    pretend(CORNAC)
    found = interpreter("cornac")
    assert found is not None
    assert found.is_relative_to(tmp_path / "here")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b'{"state": "ready"'])
def test_what_was_cut_off_counts_as_absent(content: bytes | None) -> None:
    pretend(CORNAC)
    facts = CORNAC.folder / "environment.json"
    facts.unlink()
    if content is not None:
        facts.write_bytes(content)
    assert state_of(CORNAC) == "absent"
    assert (interpreter("cornac"), problem("cornac"), frozen("cornac")) == (None, "", [])


def test_a_failed_installation_is_a_problem() -> None:
    pretend(CORNAC, state="failed", reason="it does not build")
    assert (interpreter("cornac"), frozen("cornac")) == (None, [])
    assert problem("cornac") == (
        "the last installation of cornac failed: it does not build "
        f"(log: {CORNAC.folder / 'install.log'}); to try it again: "
        "python -m bench.peers install cornac"
    )


def test_an_environment_of_other_pins_is_a_problem() -> None:
    old = tuple(pin.replace("cornac==3.0.1", "cornac==2.3.5") for pin in CORNAC.requirements)
    pretend(CORNAC, requirements=old)
    assert state_of(CORNAC) == "other pins"
    assert (interpreter("cornac"), frozen("cornac")) == (None, [])
    assert problem("cornac") == (
        "the environment of cornac is of other pins than today's (it has cornac==2.3.5, today's "
        "are cornac==3.0.1); to make it anew: python -m bench.peers install cornac"
    )


def test_an_environment_whose_python_is_gone_is_a_problem() -> None:
    pretend(CORNAC)
    CORNAC.python.unlink()
    CORNAC.python.symlink_to("nowhere")
    assert (state_of(CORNAC), interpreter("cornac")) == ("no Python", None)
    assert problem("cornac") == (
        "the environment of cornac was made with a Python 3.13.0 that is gone; to make it anew: "
        "python -m bench.peers install cornac"
    )


def test_the_version_of_a_library_is_the_installed_one() -> None:
    myfm, kernelmf = ENVIRONMENTS["myfm"], ENVIRONMENTS["kernelmf"]
    assert library_of(myfm) == "myfm 0.4.0 or 0.5.0"
    pretend(myfm, freeze=("msgspec==0.23.0", "myfm==0.5.0"))
    assert library_of(myfm) == "myfm 0.5.0"
    pretend(kernelmf, freeze=("matrix_factorization==1.3",))
    assert library_of(kernelmf) == "matrix-factorization 1.3"


# ---- finding a Python ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "suitable"),
    [
        ((3, 12, 4), False),
        ((3, 12, 5), True),
        ((3, 13, 0), True),
        ((3, 14, 9), True),
        ((3, 15, 0), False),
    ],
)
def test_a_range_of_versions_contains_its_ends(version: tuple[int, ...], suitable: bool) -> None:
    assert suits(version, (3, 12, 5), (3, 14)) is suitable


@pytest.mark.process
def test_a_python_is_asked_for_its_version() -> None:
    assert version_of(Path(sys.executable)) == sys.version_info[:3]
    assert version_of(Path("no such program")) is None


Fake = Callable[[str, str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Hide all interpreters of this machine; return a function that adds one that prints."""

    def add(name: str, printed: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{printed}\n", "utf-8")
        path.chmod(0o755)
        return path

    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setattr(sys, "executable", str(add("own/python", "echo 3.11.7")))
    return add


@POSIX
@pytest.mark.process
def test_this_python_is_taken_if_it_suits(fake: Fake) -> None:
    fake("bin/python3.13", "echo 3.13.0")
    assert find_python((3, 11), (3, 14)) == Python(Path(sys.executable), (3, 11, 7))


@POSIX
@pytest.mark.process
def test_the_newest_on_path_is_next_and_has_to_be_what_its_name_says(fake: Fake) -> None:
    fake("bin/python3.15", "echo 3.15.0")
    fake("bin/python3.14", "echo this version is not installed >&2; exit 127")
    fake("bin/python3.13", "echo of another kind")
    fake("bin/python3.12", "echo 3.12.1")
    found = fake("bin/python3", "echo 3.12.6")
    assert find_python((3, 12, 5), (3, 14)) == Python(found, (3, 12, 6))


@POSIX
@pytest.mark.process
def test_pyenv_is_next_its_newest_first(fake: Fake) -> None:
    for version in ("3.9.18", "3.12.10", "3.12.9", "3.15.1"):
        fake(f"pyenv/versions/{version}/bin/python", f"echo {version}")
    assert find_python((3, 12, 5), (3, 14)).version == (3, 12, 10)


@POSIX
@pytest.mark.process
def test_uv_is_asked_last_and_downloads_nothing(fake: Fake, tmp_path: Path) -> None:
    found = fake("uv/python", "echo 3.13.2")
    fake("bin/uv", f'echo "$UV_PYTHON_DOWNLOADS $*" > {tmp_path}/asked; echo {found}')
    assert find_python((3, 12, 5), (3, 14)) == Python(found, (3, 13, 2))
    asked = (tmp_path / "asked").read_text("utf-8")
    assert asked == "never python find --no-project >=3.12.5,<3.15\n"


@POSIX
@pytest.mark.process
def test_without_a_suitable_python_it_is_said_which_were_seen(fake: Fake) -> None:
    fake("bin/python3.12", "echo 3.12.1")
    fake("bin/uv", "echo none found >&2; exit 2")
    fake("pyenv/versions/3.9.18/bin/python", "echo 3.9.18")
    with pytest.raises(NoPython) as error:
        find_python((3, 12, 5), (3, 14))
    assert str(error.value) == (
        "Python 3.12.5 to 3.14 is needed, and was found neither on PATH nor by pyenv or uv; "
        "versions seen: 3.9.18, 3.11.7, 3.12.1. Install one, for example by `pyenv install 3.13` "
        "or `uv python install 3.13`, then run the same command"
    )


# ---- installing ---------------------------------------------------------------------------------


@pytest.mark.process
def test_an_installation_says_what_it_does_and_what_came_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_steps(monkeypatch, lambda _: [script("print('Collecting'); print('Installed')")])
    told: list[str] = []
    done = install(CORNAC, told.append, told.append)
    assert told == ["makes", "installs", "Collecting", "Installed", "lists"]
    assert done == read_installed(CORNAC)
    assert (done.state, done.requirements, done.freeze) == ("ready", CORNAC.requirements, FREEZE)
    assert done.python == ".".join(map(str, sys.version_info[:3]))
    assert (done.output, done.reason) == (("Collecting", "Installed"), "")
    assert interpreter("cornac") == CORNAC.python
    log = (CORNAC.folder / "install.log").read_text("utf-8").splitlines()
    assert log[:4] == ["--- makes", "--- installs", "Collecting", "Installed"]


@pytest.mark.process
def test_a_failed_build_keeps_its_log_and_the_error_that_pip_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code = """
for line in range(50):
    print("line", line)
print("ERROR: Failed to build libmf")
print("hint: See above")
raise SystemExit(1)
"""
    libmf = ENVIRONMENTS["libmf"]
    use_steps(monkeypatch, lambda _: [script(code)])
    done = install(libmf, quiet, quiet)
    assert (done.state, done.freeze) == ("failed", ())
    assert done.reason == (
        "the step that installs ended with exit status 1: Failed to build libmf; its build needs "
        "a C++ compiler"
    )
    assert done.output[0] == "line 12"
    assert (len(done.output), done.output[-1]) == (40, "hint: See above")
    assert "line 0\n" in (libmf.folder / "install.log").read_text("utf-8")
    assert not libmf.venv.exists()
    assert [interpreter(name) for name in libmf.backends] == [None, None]
    assert done.reason in problem("libmf-raw")


@pytest.mark.process
def test_a_network_that_is_down_is_no_lack_of_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
print("WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'")
print("ERROR: No matching distribution found for libmf==0.9.2")
raise SystemExit(1)
"""
    use_steps(monkeypatch, lambda _: [script(code)])
    assert install(ENVIRONMENTS["libmf"], quiet, quiet).reason == (
        "the step that installs ended with exit status 1: No matching distribution found for "
        "libmf==0.9.2; the package index cannot be reached: check the network, or set PIP_INDEX_URL"
    )


@pytest.mark.process
def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "print('ERROR: [Errno 28] No space left on device'); raise SystemExit(1)"
    use_steps(monkeypatch, lambda _: [script(code)])
    assert install(CORNAC, quiet, quiet).reason.endswith(
        f"the disk of {CORNAC.folder} is full: make room, or set FACTORBENCH_CACHE to a folder on "
        "another"
    )


def test_an_installation_without_a_python_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> Python:
        raise NoPython("Python 3.12.5 is needed")

    monkeypatch.setattr(peer_install, "find_python", none)
    done = install(CORNAC, quiet, quiet)
    assert (done.state, done.python, done.reason) == ("failed", "", "Python 3.12.5 is needed")
    assert (CORNAC.folder / "install.log").read_text("utf-8") == "Python 3.12.5 is needed\n"


@pytest.mark.process
def test_steps_see_nothing_that_would_lead_them_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_TARGET", "PIP_PREFIX", "PYTHONPATH"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "kept")
    code = """
import json, os, tempfile
print(json.dumps([sorted(os.environ), tempfile.gettempdir(), os.getcwd()]))
"""
    use_steps(monkeypatch, lambda _: [script(code)])
    names, temporary, here = json.loads(install(CORNAC, quiet, quiet).output[0])
    assert not {"PIP_TARGET", "PIP_PREFIX", "PYTHONPATH"} & set(names)
    assert "PIP_EXTRA_INDEX_URL" in names
    assert Path(temporary) == CORNAC.folder / "tmp"
    assert Path(here).samefile(CORNAC.folder)
    assert not (CORNAC.folder / "tmp").exists()


@POSIX
@pytest.mark.process
def test_an_interrupted_installation_leaves_no_file_and_no_process(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    pretend(CORNAC)
    use_steps(
        monkeypatch,
        lambda _: [script("import os, time; print(os.getpid(), flush=True); time.sleep(600)")],
    )
    pids = []

    def press(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(CORNAC, quiet, press)
    assert state_of(CORNAC) == "absent"
    assert list((cache / "peers").iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.process
def test_a_new_installation_replaces_all_of_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(CORNAC, state="failed", reason="r")
    (CORNAC.folder / "left").mkdir()
    use_steps(monkeypatch, lambda _: [])
    assert install(CORNAC, quiet, quiet).state == "ready"
    left = {each.name for each in CORNAC.folder.iterdir()} - {"install.lock"}
    assert left == {"environment.json", "install.log", "venv"}


def test_two_at_a_time_are_refused_and_change_nothing() -> None:
    pretend(CORNAC)
    for change in (lambda: install(CORNAC, quiet, quiet), lambda: remove(CORNAC)):
        with FileLock(CORNAC.folder / "install.lock"), pytest.raises(Busy) as error:
            change()
        assert str(error.value) == (
            "another process installs or removes cornac; wait until it has ended, then run the "
            "same command"
        )
        assert state_of(CORNAC) == "ready"


def test_removing_follows_no_link(tmp_path: Path, cache: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    pretend(CORNAC)
    (CORNAC.folder / "link").symlink_to(elsewhere)
    assert remove(CORNAC)
    assert (elsewhere / "file").exists()
    assert list((cache / "peers").iterdir()) == []
    assert not remove(CORNAC)


def test_pip_is_told_the_pins_and_asks_nothing() -> None:
    steps = peer_install.steps(CORNAC, Python(Path("python3.13"), (3, 13, 0)))
    venv, pip, check, freeze = (step.command for step in steps)
    assert venv == ["python3.13", "-I", "-m", "venv", str(CORNAC.venv)]
    assert pip[:5] == [str(CORNAC.python), "-I", "-m", "pip", "install"]
    assert {"--disable-pip-version-check", "--no-input"} <= set(pip)
    assert tuple(pip[-len(CORNAC.requirements) :]) == CORNAC.requirements
    assert check[-1] == "cornac"
    assert freeze[4] == "freeze"
    assert steps[1].text == "installs cornac 3.0.1"


@pytest.mark.process
def test_a_real_environment_without_packages_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    real = peer_install.steps

    def without_pip(environment: Environment, python: Python) -> list[peer_install.Step]:
        venv, *_ = real(environment, python)
        inside = [str(environment.python), "-I", "-c", "import sys; print(sys.prefix)"]
        bare = [*venv.command, "--without-pip"]
        return [venv._replace(command=bare), peer_install.Step("asks", inside)]

    monkeypatch.setattr(peer_install, "steps", without_pip)
    done = install(CORNAC, quiet, quiet)
    assert done.state == "ready"
    assert Path(done.output[-1]).samefile(CORNAC.venv)
    assert version_of(CORNAC.python) == sys.version_info[:3]
