"""What tests of data sets share: a local server, folders of their own, small archives."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.datasets import RawRatings

RATINGS = b"1,2,3.5\n" * 1000
LARGEST = 1_000_000


class Server(ThreadingHTTPServer):
    """Serves `files`, but only half the bytes promised of the `truncated`; counts the requests."""

    url: str
    files: dict[str, bytes]
    truncated: set[str]
    asked: list[str]
    accepted: set[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append(name)
        self.server.accepted.add(self.headers["Accept-Encoding"])
        if name not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if name in self.server.truncated else content)

    def log_message(self, *details: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        running.files, running.truncated, running.asked, running.accepted = {}, set(), [], set()
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


GOOD_ZIP = zipped(
    **{"ml/ratings.csv": RATINGS, "ml/movies.csv": b"not needed", "ml/README": b"nor this"}
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return the data folder and the cache, both empty."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    monkeypatch.setenv("RATINGS_DATA", str(data))
    monkeypatch.setenv("FACTORBENCH_CACHE", str(cache))
    return data, cache


def triplets(raw: RawRatings) -> list[tuple[object, ...]]:
    return list(zip(raw.users.tolist(), raw.items.tolist(), raw.ratings.tolist(), strict=True))


def put(folder: Path, name: str, content: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path))
