"""A run that is killed loses only the case in flight; nothing outlives a change it depends on."""

import importlib
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.measure import fingerprint, run_folder
from bench.measure.fingerprint import result_key
from bench.measure.run_folder import SameFile, open_run
from bench.records import newest_run, read_record, read_state, record_path, write_record
from tests import kill_storm
from tests.fake_records import fake_record

KEY = {name: name for name in ("code", "data", "machine", "settings", "versions")}


@pytest.mark.load
@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for workers in /proc")
def test_a_killed_run_loses_the_case_in_flight_and_nothing_else(tmp_path: Path) -> None:
    """It is killed once its first seed is in its records."""

    def a_seed_is_done(folder: Path, cache: Path) -> None:
        kill_storm.until(lambda: len(kill_storm.stored(folder)) == 2)

    assert kill_storm.storm(tmp_path, [a_seed_is_done]) == 2
    whole = kill_storm.left_alone(tmp_path)
    assert {len(record["rounds"]) for record in whole.values()} == {2}
    assert len(whole) == 2


def test_a_run_that_was_cut_off_is_continued(tmp_path: Path) -> None:
    first = open_run("c", tmp_path)
    assert not first.continued
    first.close()
    other = open_run("d", tmp_path)
    assert other.path != first.path
    again = open_run("c", tmp_path)
    assert again.continued
    assert again.path == first.path
    assert list(again.work.iterdir()) == []
    again.mark_done()
    again.close()
    new = open_run("c", tmp_path)
    assert not new.continued
    assert new.path not in (first.path, other.path)
    beside = open_run("c", tmp_path)  # the first still runs
    assert beside.path != new.path
    for folder in (other, new, beside):
        folder.close()


def cut_off(folder: Path, command: str = "c", done: bool = False) -> Path:
    """Make a run of some time ago whose folder is free."""
    folder.mkdir(parents=True)
    written = f"{folder.name.removesuffix('Z')}.000000Z"
    (folder / "run.state").write_text(
        json.dumps({"command": command, "done": done, "written": written}), "utf-8"
    )
    return folder


def test_an_older_run_is_not_continued_after_a_newer_one_is_done(tmp_path: Path) -> None:
    cut_off(tmp_path / "2026-01-01T10-00-00Z")
    cut_off(tmp_path / "2026-01-02T10-00-00Z", done=True)
    cut_off(tmp_path / "2026-01-03T10-00-00Z", command="d")
    run = open_run("c", tmp_path)
    assert not run.continued
    run.close()


def test_a_resumed_run_is_newer_than_one_begun_later(tmp_path: Path) -> None:
    old = cut_off(tmp_path / "2026-01-01T10-00-00Z")
    resumed = open_run("c", tmp_path)
    assert resumed.path == old
    cut_off(tmp_path / "2026-01-02T10-00-00Z")  # begun while the folder was in use, and cut off
    resumed.mark_done()
    resumed.close()
    write_record(old, fake_record("numpy"))
    write_record(tmp_path / "2026-01-02T10-00-00Z", fake_record("numpy"))
    assert newest_run(tmp_path) == old
    again = open_run("c", tmp_path)
    assert not again.continued
    again.close()


def test_a_run_that_another_process_writes_is_passed_over(tmp_path: Path) -> None:
    old, taken = (
        cut_off(tmp_path / "2026-01-01T10-00-00Z"),
        cut_off(tmp_path / "2026-01-02T10-00-00Z"),
    )
    first = open_run("c", tmp_path)
    assert first.path == taken
    second = open_run("c", tmp_path)
    assert (second.path, second.continued) == (old, True)
    first.mark_done()  # and still has its folder
    second.close()
    third = open_run("c", tmp_path)
    assert not third.continued
    first.close()
    third.close()


def test_a_run_that_ends_during_the_search_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run ends between the check of its state and the lock."""
    first, lock = open_run("c", tmp_path), run_folder._locked

    def ends_meanwhile(folder: Path) -> Any:
        if folder == first.path:
            first.mark_done()
            first.close()
        return lock(folder)

    monkeypatch.setattr(run_folder, "_locked", ends_meanwhile)
    second = open_run("c", tmp_path)
    assert (second.path == first.path, second.continued) == (False, False)
    assert json.loads((first.path / "run.state").read_text("utf-8"))["done"]
    left = lock(first.path)
    assert left is not None  # nor does it stay locked
    left.release()
    second.close()


def test_a_folder_that_cannot_be_written_stays_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cut_off(tmp_path / "2026-01-01T10-00-00Z")

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(run_folder.RunFolder, "_write_state", full)
    # The exception is kept, with its frames and what they hold.
    with pytest.raises(OSError, match="no space left") as held:
        open_run("c", tmp_path)
    monkeypatch.undo()
    run = open_run("c", tmp_path)
    assert run.path == folder, held
    run.close()


@pytest.mark.parametrize("state", ["", "{", "[]", '{"done": 0}'])
def test_a_run_with_a_damaged_state_is_not_continued(tmp_path: Path, state: str) -> None:
    run = open_run("c", tmp_path)
    run.close()
    (run.path / "run.state").write_text(state, "utf-8")
    new = open_run("c", tmp_path)
    assert not new.continued
    new.close()


def test_records_are_kept_only_where_their_key_is_what_it_would_be_now(tmp_path: Path) -> None:
    run, said = open_run("c", tmp_path), list[str]()
    record = fake_record("numpy", created=datetime.now(UTC).isoformat())
    ask = ("time to MSE", record["case"]["name"], record["backend"])
    assert run.reusable_record(*ask, KEY, said.append) is None
    assert said == []
    write_record(run.path, record)
    assert run.reusable_record(*ask, KEY, said.append) == record
    assert said == ["reusing the record from before the run was cut off"]
    for name in KEY:
        said.clear()
        assert run.reusable_record(*ask, KEY | {name: "new"}, said.append) is None
        assert said == [f"measured again: there is a record, but {name} changed since"]
    record_path(run.path, *ask).write_text("{", "utf-8")
    assert run.reusable_record(*ask, KEY, said.append) is None
    assert "is not a record" in said[-1]
    run.close()


def test_the_age_of_a_record_is_said(tmp_path: Path) -> None:
    run, said = open_run("c", tmp_path), list[str]()
    for created, age in [
        (datetime.now(UTC) - timedelta(days=40, hours=1), ", 40 days ago"),
        (datetime.now(UTC) + timedelta(days=40), ""),  # the clock was set back
        (datetime.now(), ""),  # of no time zone
    ]:
        record = fake_record("numpy", created=created.isoformat())
        write_record(run.path, record)
        ask = ("time to MSE", record["case"]["name"], record["backend"])
        assert run.reusable_record(*ask, KEY, said.append) == record
        assert said[-1] == f"reusing the record from before the run was cut off{age}"
    run.close()


def test_a_clock_that_is_set_back_hides_no_run(tmp_path: Path) -> None:
    """The last run was cut off before one that is dated later, and is done."""
    cut_off(tmp_path / "2126-01-01T10-00-00Z", done=True)
    run = open_run("c", tmp_path)
    run.close()
    state = read_state(run.path)
    assert state is not None
    assert state.written == "2126-01-01T10-00-00.000001Z"
    again = open_run("c", tmp_path)
    assert (again.path, again.continued) == (run.path, True)
    again.close()


def test_a_run_is_done_when_all_that_is_planned_is_final(tmp_path: Path) -> None:
    run = open_run("c", tmp_path)
    records = [fake_record(name) for name in ("numpy", "numpy-als")]
    paths = [
        record_path(run.path, one["kind"], one["case"]["name"], one["backend"]) for one in records
    ]
    run.plan(path.name for path in paths)
    run.write({**records[0], "status": "in progress", "reason": "1 of 3 seeds measured"})
    run.write(records[1])
    run.mark_done()
    run.close()
    again, state = open_run("c", tmp_path), read_state(run.path)
    assert state is not None
    assert (state.done, again.continued, again.missing) == (False, True, {p.name for p in paths})
    ask = ("time to MSE", records[1]["case"]["name"])
    assert again.reusable_record(*ask, records[1]["backend"], KEY, lambda _: None)
    in_progress = again.reusable_record(*ask, records[0]["backend"], KEY, lambda _: None)
    assert in_progress is not None
    assert in_progress["status"] == "in progress"
    assert again.missing == {paths[0].name}
    again.write(records[0])
    again.mark_done()
    again.close()
    state = read_state(run.path)
    assert state is not None
    assert state.done


def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    run = open_run("c", tmp_path)
    with pytest.raises(SameFile, match=r"two backends would share the record b\.json; rename"):
        run.plan(["a.json", "b.json", "b.json"])
    run.close()


def test_the_name_of_a_file_is_short_enough(tmp_path: Path) -> None:
    run = open_run("c", tmp_path)
    for digits in (300, 301):
        run.write(fake_record("numpy:reg=" + "1" * digits), "details")
    assert len(list(run.path.glob("*.json"))) == len(list(run.path.glob("*.txt"))) == 2
    run.close()


def test_details_are_beside_the_record_that_names_them(tmp_path: Path) -> None:
    run = open_run("c", tmp_path)
    record = fake_record("numpy", status="crashed")
    record["reason"] = "KeyError: 595\n" + "x" * 1000
    run.write(record, "Traceback \udce4")
    path = record_path(run.path, record["kind"], record["case"]["name"], record["backend"])
    notes = path.with_suffix(".txt")
    assert notes.read_text("utf-8") == "Traceback ?\n"
    reason = read_record(path)["reason"]
    assert reason.startswith("KeyError: 595 xxx")
    assert reason.endswith(f" ... (details: {notes.name})")
    assert len(reason) < 500
    run.write(fake_record("numpy"))
    assert not notes.exists()  # they were of the record before
    run.close()


def test_a_command_of_any_characters_is_continued(tmp_path: Path) -> None:
    first = open_run("c --ratings caf\udce9.csv", tmp_path)
    first.close()
    again = open_run("c --ratings caf\udce9.csv", tmp_path)
    assert again.continued
    again.close()


def test_the_key_says_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    record = fake_record("numpy")
    case, backend = record["case"], record["backend"]
    key = result_key(case, backend, {"rounds": 5})
    assert result_key(case, backend, {"rounds": 5}) == key

    def changed(new: dict[str, str]) -> list[str]:
        return [name for name in key if key[name] != new[name]]

    assert changed(result_key(case, backend, {"rounds": 6})) == ["settings"]
    assert changed(result_key({**case, "data_hash": "other"}, backend, {"rounds": 5})) == [
        "data",
        "settings",
    ]
    assert changed(result_key(case, {**backend, "threads": 7}, {"rounds": 5})) == ["settings"]
    monkeypatch.setattr("bench.measure.fingerprint.code_hash", lambda: "edited")
    assert changed(result_key(case, backend, {"rounds": 5})) == ["code"]
    monkeypatch.undo()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    assert changed(result_key(case, backend, {"rounds": 5})) == ["machine"]
    monkeypatch.undo()
    monkeypatch.setattr("bench.machine.environment._version", lambda package: "0.0")
    assert changed(result_key(case, backend, {"rounds": 5})) == ["versions"]


# ---- backends of other packages -----------------------------------------------------------------


def install(
    site: Path, files: dict[str, str], target: str = "theirs.solvers.als:ALS", recorded: bool = True
) -> None:
    """Install a package that registers a backend; if RECORD lists no files, it is editable."""
    info = site / "theirs-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n"
        "Requires-Dist: needed>=1\nRequires-Dist: absent\n"
    )
    (info / "entry_points.txt").write_text(f"[factorbench.backends]\ntheirs = {target}\n")
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    names = [
        *(files if recorded else {}),
        "theirs-1.0.dist-info/METADATA",
        "theirs-1.0.dist-info/RECORD",
    ]
    (info / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    needed = site / "needed-2.0.dist-info"
    needed.mkdir()
    (needed / "METADATA").write_text("Metadata-Version: 2.1\nName: needed\nVersion: 2.0\n")


PACKAGE = {
    "theirs/__init__.py": "raise ImportError('looked at, never imported')",
    "theirs/solvers/__init__.py": "",
    "theirs/solvers/als.py": "class ALS: ...",
    "theirs/solvers/kernels.cpython-311-x86_64-linux-gnu.so": "compiled",
    "theirs/steps.py": "",
    "theirs.libs/libblas-1a2b.so.3.2": "compiled elsewhere",
    "theirs_native.pyd": "compiled for Windows",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield tmp_path / "site"
    for name in [name for name in sys.modules if name.partition(".")[0] in ("theirs", "shared")]:
        del sys.modules[name]


def versions() -> str:
    importlib.invalidate_caches()
    record = fake_record("numpy")
    return result_key(record["case"], record["backend"], {})["versions"]


@pytest.mark.parametrize("name", sorted(PACKAGE))
def test_any_code_of_an_installed_package_makes_other_versions(site: Path, name: str) -> None:
    before = versions()
    install(site, PACKAGE)
    installed = versions()
    assert installed != before
    assert versions() == installed
    (site / name).write_text("edited")
    edited = versions()
    assert edited != installed
    (site / name).unlink()
    assert versions() not in (installed, edited)


@pytest.mark.parametrize("name", sorted(name for name in PACKAGE if name.startswith("theirs/")))
def test_code_that_no_list_names_is_found_where_it_is_imported_from(site: Path, name: str) -> None:
    install(site, PACKAGE, recorded=False)
    installed = versions()
    (site / name).write_text("edited")
    assert versions() != installed


@pytest.mark.parametrize(
    ("files", "target"),
    [
        ({"theirs.py": "x = 1"}, "theirs:X"),
        ({"shared/theirs/__init__.py": "", "shared/theirs/a.py": "x = 1"}, ""),
    ],
)
def test_single_modules_and_packages_in_namespaces_are_found(
    site: Path, files: dict[str, str], target: str
) -> None:
    install(site, files, target or "shared.theirs.a:X", recorded=False)
    (site / "shared" / "another").mkdir(parents=True)
    before = versions()
    (site / "shared" / "another" / "module.py").write_text("of another package")
    assert versions() == before
    (site / list(files)[-1]).write_text("x = 2")
    assert versions() != before


def test_what_is_no_code_of_theirs_leaves_the_versions(site: Path) -> None:
    install(site, PACKAGE)
    before = versions()
    for name in (
        "theirs/data.csv",
        "theirs/__pycache__/steps.cpython-311.pyc",
        "theirs/py",
        "unrelated.py",
    ):
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text("new")
    (site / "theirs" / "folder.py").mkdir()
    assert versions() == before


def test_a_large_library_stands_for_itself_by_size_and_time(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "theirs.libs/libblas-1a2b.so.3.2"
    install(site, PACKAGE | {name: "x" * 100})
    read = list[Path]()
    read_bytes = Path.read_bytes

    def noted(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    monkeypatch.setattr(fingerprint, "_READ", 99)
    before = versions()
    assert site / name not in read
    assert site / "theirs/steps.py" in read
    changed = (site / name).stat().st_mtime_ns + 10**9
    os.utime(site / name, ns=(changed, changed))
    touched = versions()
    (site / name).write_text("x" * 101)
    os.utime(site / name, ns=(changed, changed))
    assert len({before, touched, versions()}) == 3


def test_what_a_package_requires_counts_by_its_version(site: Path) -> None:
    install(site, PACKAGE)
    before = versions()
    (site / "needed-2.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: needed\nVersion: 2.1\n"
    )
    assert versions() != before


@pytest.mark.parametrize("target", ["gone:X", "theirs.gone.als:X", "sys:X", "theirs", ".:X"])
def test_a_target_that_is_not_there_is_not_the_end_of_a_run(site: Path, target: str) -> None:
    before = versions()
    install(site, {}, target)
    assert versions() != before


def test_a_record_says_what_it_depends_on(tmp_path: Path) -> None:
    path = write_record(tmp_path, fake_record("numpy"))
    assert set(read_record(path)["key"]) == set(KEY)
