"""Downloads from a local server that is healthy, broken or malicious."""

# ruff: noqa: F811  # fixtures are imported, and shadowed by the parameters that ask for them

from __future__ import annotations

from pathlib import Path

import pytest
from local_data import GOOD_ZIP, LARGEST, RATINGS, Server, names, server, sha256, zipped  # noqa: F401  # a fixture

from bench.datasets import DatasetError
from bench.datasets.public.download import Source, check_remembered, fetch


def test_only_what_is_needed_is_unpacked(server: Server, tmp_path: Path) -> None:
    server.files["ml.zip"] = GOOD_ZIP
    source = Source((f"{server.url}/ml.zip",), sha256(GOOD_ZIP), members=("ml/ratings.csv",))
    (file,) = fetch(source, tmp_path, largest=LARGEST)
    assert file.read_bytes() == RATINGS
    assert {name for name in names(tmp_path) if not name.endswith(".sha256")} == {"ratings.csv"}


def test_a_file_that_is_no_archive_is_kept_as_it_is(server: Server, tmp_path: Path) -> None:
    server.files["All.csv.gz"] = b"packed"
    source = Source((f"{server.url}/All.csv.gz",), sha256(b"packed"))
    assert [path.name for path in fetch(source, tmp_path, largest=LARGEST)] == ["All.csv.gz"]
    fetch(source, tmp_path, largest=LARGEST)
    assert server.asked == ["All.csv.gz"], "what is here is not downloaded again"
    assert server.accepted == {"identity"}, (
        "packed once more, it would be unpacked on arrival, and be another file"
    )


def test_the_bar_is_drawn_on_standard_error(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["a.csv"] = RATINGS
    fetch(
        Source((f"{server.url}/a.csv",), sha256(RATINGS)), tmp_path, largest=LARGEST, progress=True
    )
    shown = capsys.readouterr()
    assert "100%" in shown.err
    assert not shown.out


@pytest.mark.parametrize("checksum", [sha256(RATINGS), None], ids=["known", "unknown"])
def test_a_truncated_file_leaves_nothing(
    server: Server, tmp_path: Path, checksum: str | None
) -> None:
    server.files["a.csv"], server.truncated = RATINGS, {"a.csv"}
    source = Source((f"{server.url}/a.csv",), checksum)
    with pytest.raises(DatasetError) as caught:
        fetch(source, tmp_path, largest=LARGEST)
    message = f"{server.url}/a.csv: the connection ended before the file was complete"
    assert message in str(caught.value)
    assert f"put it into {tmp_path}" in str(caught.value)
    assert not names(tmp_path)
    server.truncated = set()  # and a second call succeeds once the server works again
    assert fetch(source, tmp_path, largest=LARGEST)[0].read_bytes() == RATINGS


def test_wrong_bytes_leave_nothing(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = RATINGS[:-1] + b"!"
    message = r"a\.csv: the file does not have the checksum sha256:.*: it was"
    with pytest.raises(DatasetError, match=message):
        fetch(Source((f"{server.url}/a.csv",), sha256(RATINGS)), tmp_path, largest=LARGEST)
    assert not names(tmp_path)


def test_a_missing_file_is_named_with_the_answer(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        fetch(Source((f"{server.url}/gone.zip",), sha256(b"")), tmp_path, largest=LARGEST)
    assert f"{server.url}/gone.zip: the server answers 404" in str(caught.value)
    assert "Try again later, or get the file yourself" in str(caught.value)
    assert not names(tmp_path)


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no connection \(ConnectionError\)"):
        fetch(Source(("http://127.0.0.1:9/a.csv",), sha256(b"")), tmp_path, largest=LARGEST)
    assert not names(tmp_path)


def test_a_copy_is_as_good_under_the_same_checksum(server: Server, tmp_path: Path) -> None:
    server.files["copy.csv"] = RATINGS
    source = Source((f"{server.url}/a.csv", f"{server.url}/copy.csv"), sha256(RATINGS))
    assert fetch(source, tmp_path, largest=LARGEST) == [tmp_path / "a.csv"]
    assert server.asked == ["a.csv", "copy.csv"]


def test_trust_on_first_use(server: Server, tmp_path: Path) -> None:
    source = Source((f"{server.url}/a.csv",))
    server.files["a.csv"] = RATINGS
    (file,) = fetch(source, tmp_path, largest=LARGEST)
    file.unlink()
    server.files["a.csv"] = b"1,2,1\n"
    with pytest.raises(DatasetError, match="does not have the checksum sha256:"):
        fetch(source, tmp_path, largest=LARGEST)
    assert not file.exists()
    server.files["a.csv"] = RATINGS
    assert fetch(source, tmp_path, largest=LARGEST)[0].read_bytes() == RATINGS


def test_a_refused_archive_is_not_trusted_next_time(server: Server, tmp_path: Path) -> None:
    server.files["ml.zip"] = zipped(**{"../ratings.csv": RATINGS, "ml/ratings.csv": RATINGS})
    source = Source((f"{server.url}/ml.zip",), members=("ml/ratings.csv",))
    with pytest.raises(DatasetError, match="a path that leaves its folder"):
        fetch(source, tmp_path, largest=LARGEST)
    assert not names(tmp_path)
    server.files["ml.zip"] = GOOD_ZIP
    assert fetch(source, tmp_path, largest=LARGEST)[0].read_bytes() == RATINGS


def test_a_later_change_is_noticed(server: Server, tmp_path: Path) -> None:
    server.files["ml.zip"] = GOOD_ZIP
    (file,) = fetch(
        Source((f"{server.url}/ml.zip",), members=("ml/ratings.csv",)), tmp_path, largest=LARGEST
    )
    check_remembered(file)
    file.write_bytes(RATINGS + b"1,2,1\n")
    with pytest.raises(DatasetError, match=r"ratings\.csv has changed since it was fetched"):
        check_remembered(file)


def test_an_interrupted_download_leaves_nothing_and_can_be_repeated(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pooch

    server.files["a.csv"] = RATINGS
    source = Source((f"{server.url}/a.csv",), sha256(RATINGS))

    def interrupted(self: object, url: str, output_file: str, pooch: object) -> None:
        Path(output_file).write_bytes(RATINGS[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(source, tmp_path, largest=LARGEST)
    assert not names(tmp_path)
    assert fetch(source, tmp_path, largest=LARGEST)[0].read_bytes() == RATINGS


def test_an_unpacking_that_is_interrupted_is_repeated_without_a_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["ml.zip"] = GOOD_ZIP
    source = Source((f"{server.url}/ml.zip",), sha256(GOOD_ZIP), members=("ml/ratings.csv",))

    def interrupted(*paths: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(source, tmp_path, largest=LARGEST)
    assert "ratings.csv" not in names(tmp_path)
    assert fetch(source, tmp_path, largest=LARGEST)[0].read_bytes() == RATINGS
    assert server.asked == ["ml.zip"]


def test_a_folder_that_cannot_be_written_to(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = RATINGS
    (tmp_path / "file").write_text("")
    message = r"cannot be written to .* set FACTORBENCH_CACHE to another"
    with pytest.raises(DatasetError, match=message):
        fetch(Source((f"{server.url}/a.csv",), sha256(RATINGS)), tmp_path / "file", largest=LARGEST)
