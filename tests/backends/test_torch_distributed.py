"""Fits that several processes share: gradient descent takes the course of one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, relative_differences

from backends import FactorModel, RatingsError, get_backend

torch = pytest.importorskip("torch")

from backends._engine.torch_ratings import DeviceRatings, Shard  # noqa: E402
from backends.torch_distributed import main, read_ratings  # noqa: E402

COLUMNS = ["user", "item", "rating"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, n = np.random.default_rng(0), 3000
    pairs = np.unique(rng.integers(0, 200 * 90, n))
    path: Path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    lines = [
        f"u{pair // 90},{pair % 90},{rating}"
        for pair, rating in zip(pairs, rng.integers(1, 6, len(pairs)), strict=True)
    ]
    path.write_text("user,item,rating\n" + "\n".join(lines) + "\n")
    return path


def run(n: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    return subprocess.run(
        [sys.executable, *launch, "-m", "backends.torch_distributed", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        check=False,
        timeout=300,
    )


@pytest.mark.process
def test_two_processes_take_the_course_of_one(file: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.npz"
    options = "--backend", "torch-cpu-gd", "--dtype", "float64", "--epochs", "40", "--rank", "5"
    done = run(2, str(file), "-o", str(output), *options)
    assert done.returncode == 0, done.stderr
    assert "40 epochs on 2 processes" in done.stdout
    alone = get_backend("torch-cpu-gd", dtype="float64", rank=5, n_jobs=1)
    alone.fit(read_ratings(file, COLUMNS), epochs=40)
    shared = FactorModel.load(output)
    assert max(relative_differences(shared.parameters, alone.model_.parameters).values()) <= 1e-9
    assert shared.recommend("u3", n=3) == alone.model_.recommend("u3", n=3)


@pytest.mark.process
def test_adam_on_three_processes_ends_as_low_as_on_one(file: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.npz"
    done = run(3, str(file), "-o", str(output), "--epochs", "60", "--rank", "5")
    assert done.returncode == 0, done.stderr
    train = read_ratings(file, COLUMNS)
    alone = get_backend("torch-cpu", rank=5, n_jobs=1).fit(train, epochs=60)
    value = alone.objective.value
    both = (value(model.parameters, train) for model in (FactorModel.load(output), alone.model_))
    assert next(both) == pytest.approx(next(both), rel=0.03)


@pytest.mark.process
def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = run(2, str(tmp_path / "nothing.csv"))
    assert done.returncode != 0
    assert "error in process 0: " in done.stderr
    assert "nothing.csv" in done.stderr


def test_without_torchrun_it_says_how_to_start_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert main([str(file)]) == 1
    assert capsys.readouterr().err.startswith(
        "error in process 0: these processes are started by torchrun: "
    )


@pytest.mark.process
def test_a_backend_that_cannot_share_is_refused_in_words(file: Path, tmp_path: Path) -> None:
    done = run(2, str(file), "-o", str(tmp_path / "m.npz"), "--backend", "numba-sgd")
    assert done.returncode != 0
    assert "backend 'numba-sgd' cannot share ratings; take torch-cpu" in done.stderr


def test_a_folder_that_is_missing_is_found_before_the_fit(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(file), "-o", str(tmp_path / "no" / "m.npz")]) == 1
    assert "there is no folder for -o" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["torch-cpu", "torch-cpu-gd"])
def test_a_sharded_fit_needs_processes(file: Path, name: str) -> None:
    with pytest.raises(RuntimeError, match=r"^sharded=True needs the processes of torch"):
        get_backend(name, sharded=True).fit(read_ratings(file, COLUMNS))
    with pytest.raises(ValueError, match=r"^sharded must be True or False, got 2$"):
        get_backend(name, sharded=2)


def test_more_processes_than_ratings_are_refused(file: Path) -> None:
    train, cpu = read_ratings(file, COLUMNS), torch.device("cpu")
    with pytest.raises(RatingsError, match=r"^1000000 processes cannot share "):
        DeviceRatings.of(train, 0.0, 1.0, torch.float32, cpu, Shard(0, 1_000_000))
