"""The check of the GPU: its smoke run on the CPU, what counts as wrong, and on a GPU its proof."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT

from backends.registry import backend_info, unavailable_reason

pytest.importorskip("torch")

from bench.cases.targets import MATCHING, baselines
from bench.gpu_check import __main__ as command
from bench.gpu_check import fits, solvers
from bench.gpu_check.check import MOST_MINUTES, Check, Timing
from bench.gpu_check.data import held_out, skewed_ratings
from bench.records import by_kind, read_records

NO_GPU = unavailable_reason(backend_info("torch-cuda"))


@pytest.mark.process
def test_the_smoke_run_passes_and_ends_with_its_table_and_its_record(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu_check.__main__", "--smoke", "--output", "run"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said, _, end = done.stdout.partition("\nwhat ")
    # Two solvers, two kinds of products, two precisions, and weights in one; ALS in two precisions.
    assert said.count("difference from the CPU: ") == 12 + 2
    assert said.count("singular rows: difference of the MSE: ") == 1
    table, _, notes = end.partition("\n\n")
    head, *rows = table.splitlines()
    assert head.split() == ["ms", "ns/rating", "TB/s"]
    for what in (
        "gd, rank 16, n=1,757: prepare",
        "gd, rank 16, n=1,757: epoch",
        "gd, rank 16, n=1,757: all sums",
        "adam, rank 16, n=1,757: epoch",
        "als, rank 16, n=1,757: epoch",
    ):
        (row,) = [row for row in rows if row.startswith(what)]
        assert all(float(cell.replace(",", "")) > 0 for cell in row.removeprefix(what).split())
    assert "waits of the host: only CUDA reports them" in notes
    without_triton = importlib.util.find_spec("triton") is None
    missing = "Triton's kernels: the package triton is not installed; run: pip install triton"
    assert (missing in notes) == without_triton
    assert ("Triton's gradient, " in table) != without_triton
    record = Path("run", "gpu-check.json")
    assert notes.endswith(
        "\n\nEverything that ran is right.\n"
        f"Record: {record} (python -m bench.report --input run)\n"
    )
    (check,) = by_kind(read_records([tmp_path / record])).checks
    assert (check["status"], check["smoke"], check["device"]) == ("right", True, "cpu")
    assert len(check["comparisons"]) == said.count("(limit ")
    assert [fit["backend"] for fit in check["fits"]] == ["torch-cpu", "torch-cpu-gd", "torch-als"]
    assert all(fit["reached"] and fit["prepare_seconds"] < fit["seconds"] for fit in check["fits"])
    assert len(check["timings"]) == len(rows)
    assert check["limits"][0]["memory_gb_per_s"] > 0 and check["cache_mb"] > 0


def smoke(monkeypatch: pytest.MonkeyPatch, *steps: object) -> int:
    """Run the given steps instead of the real ones; return the exit status."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # as the run does itself: taken back after the test
    monkeypatch.setattr(command, "steps", lambda: steps)
    with pytest.raises(SystemExit) as caught:
        command.main(["--smoke"])
    return int(caught.value.code or 0)


def timed(check: Check) -> None:
    check.add(Timing("something", 1000, 0.002, 4_000_000_000))


def test_a_part_that_fails_is_shown_and_the_next_one_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(check: Check) -> None:
        raise RuntimeError("no such kernel")

    assert smoke(monkeypatch, breaks, timed) == 1
    printed = capsys.readouterr().out
    assert "breaks: FAILED\nTraceback (most recent call last):" in printed
    assert printed.endswith(
        "\n"
        "what          ms  ns/rating  TB/s\n"
        "something  2.000  2000.0000  2.00\n"
        "\n"
        "Wrong:\n"
        "  breaks: RuntimeError: no such kernel\n"
        "\n"
        "1 result failed or wrong\n"
    )


@pytest.mark.parametrize(("value", "status"), [(0.01, 0), (0.011, 1), (float("nan"), 1)])
def test_a_result_that_is_off_is_a_failure(
    value: float, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compares(check: Check) -> None:
        check.expect("difference", value, 0.01)

    assert smoke(monkeypatch, compares, timed) == status
    line = f"difference: {value:.3g} (limit 0.01)  <-- WRONG"
    assert (line in capsys.readouterr().out) == bool(status)


def test_what_is_wrong_is_in_the_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def breaks(check: Check) -> None:
        check.expect("difference", float("nan"), 0.01)
        raise RuntimeError("no such\nkernel")

    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(command, "steps", lambda: [breaks, timed])
    with pytest.raises(SystemExit) as caught:
        command.main(["--smoke", "--output", str(tmp_path / "new" / "run")])
    assert caught.value.code == 1
    (check,) = by_kind(read_records([tmp_path / "new" / "run"])).checks
    assert (check["status"], check["reason"]) == ("wrong", "2 results failed or wrong")
    assert check["comparisons"] == [{"what": "difference", "value": None, "limit": 0.01}]
    assert check["wrong"][1] == "breaks: RuntimeError: no such kernel"


@pytest.mark.parametrize("folder", ["a" * 300, "file/below"])
def test_a_record_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    folder: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(command, "steps", list)
    with pytest.raises(SystemExit) as caught:
        command.main(["--smoke", "--output", str(tmp_path / folder)])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the record cannot be written (")


def test_the_command_that_reports_it_can_be_pasted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(command, "steps", list)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.main(["--smoke", "--output", "two words & more"])
    assert "--input 'two words & more')" in capsys.readouterr().out


def test_the_folder_of_the_record_is_checked_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        command.main(["--smoke", "--output", str(tmp_path / "file")])
    assert caught.value.code == 2
    assert "--output must be a folder, but " in capsys.readouterr().err


def test_steps_after_the_time_is_over_are_skipped_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(check: Check) -> None:
        check.start -= 60 * MOST_MINUTES

    assert smoke(monkeypatch, slow, timed) == 0
    assert "Skipped:\n  timed: the check had taken over 7 minutes" in capsys.readouterr().out


def test_the_ratings_have_something_to_learn() -> None:
    ratings = skewed_ratings(20_000, 900, 400)
    train, validation = held_out(ratings, 2_000)
    assert len(train) + len(validation) == len(ratings) and len(validation) == 2_000
    assert set(np.unique(ratings.ratings)) == set(range(1, 11))
    alone = baselines(train, validation, None)["biases alone"]["validation_mse"]
    assert fits.reference(Check(smoke=True), train, validation) * MATCHING < alone


@pytest.mark.parametrize("good", [0, 100], ids=["the reference", "a fit"])
def test_errors_that_are_no_numbers_are_wrong(monkeypatch: pytest.MonkeyPatch, good: int) -> None:
    scores = iter([*[2.0] * good, *[float("nan")] * 1000])
    monkeypatch.setattr(fits, "mean_squared_error", lambda *arguments: next(scores))
    monkeypatch.setattr(fits, "MATCHING", 0.5)  # so that no fit ends before
    check = Check(smoke=True)
    fits.to_target(check)
    which = "torch-cpu, n=1,582: the validation MSE is nan" if good else "reference, n=1,582: "
    assert check.wrong and check.wrong[0].startswith(which)
    assert len(check.fits) == (3 if good else 0)
    assert not any(fit["reached"] for fit in check.fits)


def test_a_check_that_is_cut_off_leaves_its_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stop(check: Check) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(command, "steps", lambda: [timed, stop])
    with pytest.raises(KeyboardInterrupt):
        command.main(["--smoke", "--output", str(tmp_path)])
    (check,) = by_kind(read_records([tmp_path])).checks
    assert [timing["what"] for timing in check["timings"]] == ["something"]
    assert check["skipped"] == ["all further steps: the check was cut off"]
    assert (check["status"], check["reason"]) == ("cut off", "the check was cut off")


def test_a_wrong_gradient_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    twelve = solvers.after_twelve_epochs
    calls = iter([True, *[False] * 23])

    def off(*arguments: object) -> object:
        found = twelve(*arguments)  # type: ignore[arg-type]
        found.item_factors[3] *= 1.5 if next(calls) else 1.0
        return found

    monkeypatch.setattr(solvers, "after_twelve_epochs", off)
    assert smoke(monkeypatch, solvers.correctness, timed) == 1
    line = "Wrong:\n  gd, sparse products, float32: difference from the CPU: "
    assert line in capsys.readouterr().out


def test_without_a_gpu_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None, raising=False)
    with pytest.raises(SystemExit) as caught:
        command.main([])
    assert caught.value.code == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error == (
        f"backend 'torch-cuda-gd' is not available here: this build of torch ({torch.__version__}) "
        "has no CUDA; on a machine with an NVIDIA GPU install a CUDA build, see "
        "https://pytorch.org/get-started/locally; --smoke tests the check itself on the CPU\n"
    )


@pytest.mark.gpu
@pytest.mark.skipif(bool(NO_GPU), reason=NO_GPU)
def test_a_gpu_computes_what_the_cpu_does() -> None:
    check = Check(smoke=False)
    solvers.correctness(check)
    solvers.waits(check)
    assert check.wrong == []
