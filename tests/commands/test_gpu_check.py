"""The check of the GPU: its smoke run on the CPU, what counts as wrong, and on a GPU its proof."""

import importlib.util
import os
import subprocess
import sys

import pytest
from helpers import ROOT

from backends.registry import backend_info, unavailable_reason

pytest.importorskip("torch")

from bench.gpu_check import __main__ as command
from bench.gpu_check import solvers
from bench.gpu_check.check import Check, Timing

NO_GPU = unavailable_reason(backend_info("torch-cuda"))


@pytest.mark.process
def test_the_smoke_run_passes_and_ends_with_its_table() -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu_check.__main__", "--smoke"],
        capture_output=True,
        text=True,
        cwd=ROOT,
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
    assert notes.endswith("\n\nEverything that ran is right.\n")


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
