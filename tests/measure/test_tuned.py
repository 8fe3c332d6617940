"""The file of tuned hyper-parameters: written by one command, read by another."""

from pathlib import Path
from typing import Any

import pytest

from bench.measure.tuned import TriedOnce, TunedBackend, TunedFile, read_tuned, tuned_file

TUNING: Any = {
    "trials": 8,
    "seconds": 12.5,
    "most_seconds": 90.0,
    "split": "90/10 of the training ratings",
    "score": "seconds to the target",
    "default": 2.0,
    "best": None,
    "best_trial": 3,
    "params": {"reg": 0.05, "n": 3, "method": "cg"},
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    trials = [TriedOnce(1, {}, [], None, "time"), TriedOnce(2, {"reg": 0.1}, [1.0, 2.0], 0.9, "")]
    backends = {
        "cornac": TunedBackend(TUNING, trials),
        "numpy": TunedBackend({**TUNING, "params": {}}, []),
    }
    content = TunedFile("a case", "a key", backends)
    path.write_bytes(tuned_file(content))
    assert read_tuned(path) == content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"backend,trial,reg\ncornac,1,\n", "holds no tuned hyper-parameters (JSON is malformed"),
        (b"\xff\xfe", "holds no tuned hyper-parameters ("),
        (b'{"case": "a"}', "holds no tuned hyper-parameters (Object missing required field"),
        (b'{"case": "a", "key": "", "backends": {"x": {"trials": []}}}', "missing required field"),
    ],
)
def test_another_file_is_refused_in_a_line(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "other.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError) as raised:
        read_tuned(path)
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"{path} ")
    assert str(raised.value).endswith("; give the .json file that python -m bench.tune wrote")
