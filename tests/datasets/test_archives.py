"""Archives that are good, damaged or malicious."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from local_data import GOOD_ZIP, LARGEST, RATINGS, names, zipped

from bench.datasets import DatasetError
from bench.datasets.public.archives import unpack


def tarred(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def symlink_in_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("ml/ratings.csv")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return file.getvalue()


RATING_FILE = (tarfile.TarInfo("ml/ratings.csv"), RATINGS)
MALICIOUS = {
    "zip-slip": (
        zipped(**{"ml/ratings.csv": RATINGS, "../../evil": b"x"}),
        "'../../evil' is a path that leaves its folder",
    ),
    "zip-inner-slip": (zipped(**{"ml/../../evil": b"x"}), "is a path that leaves its folder"),
    "zip-absolute": (zipped(**{"/tmp/evil": b"x"}), "'/tmp/evil' is an absolute path"),
    "zip-drive": (zipped(**{"C:/evil": b"x"}), "is an absolute path"),
    "zip-backslash": (zipped(**{"ml\\..\\..\\evil": b"x"}), "is a path that leaves its folder"),
    "zip-symlink": (symlink_in_zip(), "is a link or a device"),
    "tar-slip": (
        tarred(RATING_FILE, (tarfile.TarInfo("../evil"), b"x")),
        "is a path that leaves its folder",
    ),
    "tar-absolute": (tarred((tarfile.TarInfo("/tmp/evil"), b"x")), "is an absolute path"),
    "tar-symlink": (tarred((link("ml/ratings.csv", "/etc/passwd"), b"")), "is a link or a device"),
    "tar-hardlink": (
        tarred((link("ml/ratings.csv", "/etc/passwd", tarfile.LNKTYPE), b"")),
        "is a link or a device",
    ),
    "tar-device": (
        tarred((link("ml/ratings.csv", "", tarfile.CHRTYPE), b"")),
        "is a link or a device",
    ),
    "zip-bomb": (
        zipped(**{"ml/ratings.csv": bytes(LARGEST + 1)}),
        f"is larger than the {LARGEST:,} bytes expected",
    ),
    "tar-bomb": (
        tarred((tarfile.TarInfo("ml/ratings.csv"), bytes(LARGEST + 1))),
        "is larger than the 1,000,000 bytes",
    ),
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_malicious_archives_write_nothing(tmp_path: Path, kind: str) -> None:
    content, why = MALICIOUS[kind]
    folder = tmp_path / "outer" / "inner"
    folder.mkdir(parents=True)
    archive = folder / "archive"
    archive.write_bytes(content)
    before = names(tmp_path)
    with pytest.raises(DatasetError) as caught:
        unpack(archive, ("ml/ratings.csv",), folder, largest=LARGEST)
    assert "is not to be trusted" in str(caught.value)
    assert why in str(caught.value)
    assert names(tmp_path) == before
    assert not Path("/tmp/evil").exists()


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    content = bytearray(zipped(**{"ml/ratings.csv": bytes(LARGEST + 1)}))
    for at in (content.index(b"PK\x03\x04") + 22, content.index(b"PK\x01\x02") + 24):
        content[at : at + 4] = (10).to_bytes(4, "little")
    archive = tmp_path / "lies.zip"
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=r"is damaged|is not to be trusted"):
        unpack(archive, ("ml/ratings.csv",), tmp_path, largest=LARGEST)
    assert names(tmp_path) == {"lies.zip"}


@pytest.mark.parametrize("pack", [GOOD_ZIP, tarred(RATING_FILE)], ids=["zip", "tar.gz"])
def test_damaged_archives_write_nothing(tmp_path: Path, pack: bytes) -> None:
    for content in (
        pack[: len(pack) // 2],
        b"",
        b"<html>not found</html>",
        pack[:60] + b"\xff" * 20 + pack[80:],
    ):
        archive = tmp_path / "archive"
        archive.write_bytes(content)
        with pytest.raises(DatasetError, match="is damaged"):
            unpack(archive, ("ml/ratings.csv",), tmp_path, largest=LARGEST)
        assert names(tmp_path) == {"archive"}


@pytest.mark.parametrize("pack", [GOOD_ZIP, tarred(RATING_FILE)], ids=["zip", "tar.gz"])
def test_good_archives_of_either_kind(tmp_path: Path, pack: bytes) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(pack)
    assert (
        unpack(archive, ("ml/ratings.csv",), tmp_path, largest=LARGEST)[0].read_bytes() == RATINGS
    )
    with pytest.raises(DatasetError, match=r"has no file ml/u\.data, so it is not the"):
        unpack(archive, ("ml/u.data",), tmp_path, largest=LARGEST)
