"""Files written whole or not at all, by however many at a time."""

import os
import stat
import threading
from pathlib import Path

import pytest

from backends import FactorModel, Ratings, get_backend
from bench.text.files import write_all, write_whole, written_whole

LONG = 200_000  # bytes; more than a single system call writes


def test_what_is_there_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with written_whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(LookupError), written_whole(path) as file:
        file.write(b"half")
        raise LookupError
    assert path.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "whole", "")
    assert [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("plain", "whole")] == [
        stat.S_IMODE(os.stat(tmp_path / "plain").st_mode)
    ] * 2


def test_files_of_a_folder_and_long_names(tmp_path: Path) -> None:
    longest = "n" * 251 + ".txt"  # 255 bytes, the most that a name may have
    write_all(tmp_path / "new" / "folder", {"a": b"1", longest: "\N{SNOWMAN}".encode()})
    assert (tmp_path / "new" / "folder" / longest).read_text("utf-8") == "\N{SNOWMAN}"


def test_a_link_that_was_planted_is_not_followed(tmp_path: Path) -> None:
    """Names of temporary files used to be known beforehand."""
    victim, model = tmp_path / "victim", tmp_path / "model.npz"
    victim.write_text("precious")
    (tmp_path / "model.npz.part").symlink_to(victim)
    (tmp_path / "model.part").symlink_to(victim)
    solver = get_backend("numpy", rank=2, n_jobs=1).fit(
        Ratings.from_arrays([1, 2], [1, 1], [1.0, 2.0]), epochs=1
    )
    solver.model_.save(model)
    write_whole(tmp_path / "model", b"x")
    assert victim.read_text() == "precious"
    assert FactorModel.load(model).predict([1], [1]).shape == (1,)


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    """A reader always gets the whole of what one of the writers wrote."""
    path, stop, damaged = tmp_path / "shared", threading.Event(), []
    write_whole(path, b"0" * LONG)

    def write(letter: bytes) -> None:
        while not stop.is_set():
            write_whole(path, letter * LONG)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"1", b"2", b"3")]
    for writer in writers:
        writer.start()
    for _ in range(300):
        content = path.read_bytes()
        if len(content) != LONG or len(set(content)) != 1:
            damaged.append(len(content))
    stop.set()
    for writer in writers:
        writer.join()
    assert damaged == []
    assert [path.name for path in tmp_path.iterdir()] == ["shared"]


def test_a_file_that_a_reader_has_open_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows; where replacing is never permitted, that is an error, and leaves nothing."""
    replace, attempts = Path.replace, list[Path]()

    def busy(path: Path, target: Path) -> Path:
        attempts.append(path)
        if len(attempts) < busy_for:
            raise PermissionError(13, "The process cannot access the file")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", busy)
    monkeypatch.setattr("backends._files._PATIENCE", (0.001, 0.001))
    busy_for = 3
    write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    busy_for = 99
    with pytest.raises(PermissionError):
        write_whole(tmp_path / "a", "newer")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
