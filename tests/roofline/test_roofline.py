"""The roofline: work counted by hand, consistent limits, shares of planted numbers, the report."""

from __future__ import annotations

import html
import io
import re
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_records import fake_record, fake_roofline
from helpers import ROOT

from backends import Ratings, get_backend
from bench.machine import device_limits, limits
from bench.machine.device_limits import measure_device
from bench.machine.limits import last_level_cache, measure_limits
from bench.measure.backend_facts import backend_rows
from bench.measure.protocol import EpochSeconds, MeasureMachine
from bench.measure.worker import Worker
from bench.records import CaseFacts, MachineLimits
from bench.report.__main__ import main
from bench.report.figures.kinds.roofline import roofline_figures
from bench.report.figures.palette import Look
from bench.report.files import write_report
from bench.report.outcome.rooflines import group_rooflines
from bench.report.tables.roofline import ON_A_DEVICE, make_roofline_section, sentence
from bench.roofline.share import epoch_cost, nearest_bound
from bench.roofline.work import WORK_MODELS, WorkModel, adam_batches
from bench.text.wording import DASH

FACTS: CaseFacts = {**fake_record()["case"], "n_users": 1000, "n_items": 500, "n_train": 100_000}
ROOMY = 1e9
MACHINE: MachineLimits = {
    "threads": 2,
    "memory_gb_per_s": 40.0,
    "gflop_per_s": 96.0,
    "chain": [{"rank": 16, "ns": 12.0}, {"rank": 64, "ns": 20.0}],
}


# ---- the work model -----------------------------------------------------------------------------


def model_of(name: str) -> WorkModel:
    """The work model that a backend's registry row names."""
    return WORK_MODELS[backend_rows()[name].work]


@pytest.mark.parametrize(
    ("name", "rank", "cache", "flops", "moved"),
    [
        # In the cache: item id and rating, 8 bytes.
        ("numba-sgd", 16, ROOMY, 8 * 16, 8),
        ("numba-gd", 16, ROOMY, 6 * 16 + 7 * 16 * 1500 / 100_000, 8),
        # For each side the upper triangle with its diagonal, 136, and the right-hand side, 16; and
        # 16^3 / 6 per row. Two operations each. Id and rating are read for both sides.
        ("numba-als", 16, ROOMY, 4 * (136 + 16) + 2 * 16**3 / 6 * 1500 / 100_000, 16),
        # Half of the 1000 rows of 256 bytes is not in the cache, and none of the 500 rows is out.
        ("numba-als", 64, 128_000, 4 * (2080 + 64) + 2 * 64**3 / 6 * 0.015, 16 + 256 / 2),
        # Of the larger table (1000 rows of 256 bytes) 3/4 are not in the cache; nor are 5/6 of all
        # rows. Each rating moves the row of that side there and back, 512 bytes; the 500 rows of
        # the other side move as far once an epoch.
        ("numba-sgd", 64, 64_000, 8 * 64, 8 + 512 * 3 / 4 + 512 * 500 / 100_000 * 5 / 6),
        # Half of the items' rows and gradients (256,000 bytes) is not in the cache; nor are 11/12
        # of the four tables. Each rating moves the item's row, and its gradient there and back,
        # 768 bytes; each user adds 512 an epoch, and each row 1280.
        (
            "numba-gd",
            64,
            128_000,
            6 * 64 + 7 * 64 * 1500 / 100_000,
            8 + 768 / 2 + (512 * 1000 + 1280 * 1500) / 100_000 * 11 / 12,
        ),
        # 17 batches of up to 6000 ratings, four per row; in each, 14 operations per row and factor.
        ("torch-cpu", 16, ROOMY, 6 * 16 + 14 * 16 * 1500 * 17 / 100_000, 8),
        # As in gradient descent, and each batch reads and writes all four tables, of which 11/12
        # are not in the cache.
        (
            "torch-cpu",
            64,
            128_000,
            6 * 64 + 14 * 64 * 1500 * 17 / 100_000,
            8 + 768 / 2 + 2048 * 1500 * 17 / 100_000 * 11 / 12,
        ),
        # Rows of 128 bytes: half of the 1000 rows is not in the cache, and 2/3 of all rows.
        (
            "torch-cuda-sgd",
            64,
            64_000,
            8 * 64,
            8 + 256 / 2 + 256 * 500 / 100_000 * 2 / 3,
        ),
    ],
)
def test_work_is_as_counted_by_hand(
    name: str, rank: int, cache: float, flops: float, moved: float
) -> None:
    assert model_of(name).work(rank, FACTS, cache) == pytest.approx((flops, moved), rel=1e-12)


def test_one_algorithm_has_one_work_model() -> None:
    assert model_of("numpy") is model_of("torch-cpu-gd") is model_of("numba-gd")
    assert model_of("torch-als") is model_of("numba-als")
    assert model_of("numba-gd").chains(16) == model_of("numba-als").chains(16) == 0


@pytest.mark.parametrize("n", [10, 500, 3_000])
def test_as_many_batches_are_counted_as_adam_makes(n: int) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    users, items = (rng.integers(size, size=n).astype(np.int32) for size in (30, 20))
    train = Ratings(users, items, rng.integers(1, 6, n).astype(np.float32), 30, 20)
    solver: Any = get_backend("torch-cpu", rank=2, n_jobs=1)
    with solver.threads():
        state = solver.prepare(train, solver.initial_parameters(train, seed=0), seed=0)
    assert adam_batches(n, 50) == len(state.batches)


def test_the_registry_names_work_models_that_there_are() -> None:
    named = {row.work for row in backend_rows().values()} - {""}
    assert named == set(WORK_MODELS)


def test_as_many_chains_are_counted_as_the_kernel_takes_users() -> None:
    pytest.importorskip("numba")
    from backends.kernels.layout import padded_table, vector_parts
    from backends.kernels.sgd import group_size

    for rank in (1, 16, 64, 65, 128, 512):
        parts = vector_parts(padded_table(np.zeros((1, rank), np.float32)))
        assert model_of("numba-sgd").chains(rank) == group_size(parts)


# ---- the share ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cpu_ns", "threads", "memory", "arithmetic", "chain", "bound"),
    [
        (50.0, 1, 0.2, 2.0, 11.0, ("dependency chain", 11.0)),
        (11.0, 1, 0.2, 2.0, 11.0, ("dependency chain", 11.0)),
        (10.9, 1, 0.2, 2.0, 11.0, ("arithmetic", 2.0)),  # under the chain, which is then no limit
        (12.0, 2, 0.2, 1.0, 5.5, ("dependency chain", 5.5)),  # 6 ns of either thread
        (10.9, 2, 0.2, 1.0, 5.5, ("arithmetic", 1.0)),
        (50.0, 1, 0.2, 12.0, 11.0, ("arithmetic", 12.0)),  # the chain is not what binds
        (50.0, 1, 3.0, 2.0, None, ("memory", 3.0)),
        (1.0, 1, 3.0, 2.0, 11.0, ("memory", 3.0)),  # under every limit: a share over 100 %
    ],
)
def test_the_bound_is_the_largest_limit_that_applies(
    cpu_ns: float,
    threads: int,
    memory: float,
    arithmetic: float,
    chain: float | None,
    bound: tuple[str, float],
) -> None:
    assert nearest_bound(cpu_ns, threads, memory, arithmetic, chain) == bound


def test_the_share_of_planted_numbers() -> None:
    sgd = epoch_cost(
        model_of("numba-sgd"),
        FACTS,
        ROOMY,
        MACHINE,
        rank=16,
        measured=EpochSeconds(9, 0.001, 0.0018),
    )
    # 1 ms for 100,000 ratings is 10 ns; 12 ns of chain, four on each of two threads, are 1.5.
    expected = {
        "ns": 10.0,
        "cpu_ns": 18.0,
        "memory_ns": 0.2,
        "arithmetic_ns": 128 / 96,
        "chain_ns": 1.5,
        "share": 0.15,
    }
    expected["cpu_share"] = 3 / 18
    assert {name: dict(sgd)[name] for name in expected} == pytest.approx(expected)
    assert (sgd["bound"], sgd["threads"], sgd["epochs"]) == ("dependency chain", 2, 9)
    gd = epoch_cost(
        model_of("numba-gd"), FACTS, ROOMY, MACHINE, rank=64, measured=EpochSeconds(9, 0.001, 0.001)
    )
    assert gd["chain_ns"] is None
    assert (gd["bound"], gd["share"]) == ("arithmetic", pytest.approx((384 + 6.72) / 96 / 10))


def test_a_clock_too_coarse_for_the_epochs_leaves_the_time_by_the_clock() -> None:
    cost = epoch_cost(
        model_of("numba-sgd"),
        FACTS,
        ROOMY,
        MACHINE,
        rank=16,
        measured=EpochSeconds(9, 0.001, 0.0),
    )
    # The chain binds although no CPU time was counted: both threads are taken to have been busy.
    assert (cost["bound"], cost["cpu_ns"]) == ("dependency chain", 0.0)
    assert cost["cpu_share"] == cost["share"] == pytest.approx(0.15)
    (group,) = group_rooflines([fake_roofline(ranks=(16,), threads=(2,), costs=[cost])])
    table = make_roofline_section(group, defaultdict(lambda: Look("#000000", "o")), True).costs
    (row,) = table.rows
    cells = dict(zip(table.header, row, strict=True))
    assert (cells["CPU-ns per rating"], cells["CPU share"], cells["Note"]) == (DASH, DASH, "")
    assert cells["Share"] == "15 %"


# ---- the machine's limits -----------------------------------------------------------------------


def test_a_device_is_measured_as_often_as_asked_and_has_no_chains() -> None:
    pytest.importorskip("torch")
    found, cache = measure_device("cpu", 3, turns=2, n_bytes=1 << 16, side=32)
    assert (found["threads"], found["chain"], cache) == (3, [], last_level_cache())
    assert min(found["memory_gb_per_s"], found["gflop_per_s"]) > 0


def test_a_worker_measures_the_device_that_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def measured(*arguments: Any) -> tuple[MachineLimits, int]:
        asked.append(arguments)
        return {**MACHINE, "chain": []}, 7

    monkeypatch.setattr(device_limits, "measure_device", measured)
    request = MeasureMachine(ranks=[16], threads=[1, 4], turns=2, device="cuda")
    found = Worker(io.BytesIO()).machine(request)
    assert asked == [("cuda", 4, 2)]
    assert (found.cache, [limit["chain"] for limit in found.limits]) == (7, [[]])


def test_a_roofline_of_a_device_says_so_and_shows_no_cpu_time() -> None:
    cost = epoch_cost(
        model_of("torch-cuda-gd"),
        FACTS,
        ROOMY,
        {**MACHINE, "chain": []},
        rank=16,
        measured=EpochSeconds(9, 0.001, 0.0, "fused"),
    )
    cuda = fake_roofline(ranks=(16,), threads=(2,), costs=[cost], backend="torch-cuda-gd")
    cuda["backend"]["device"] = "cuda"
    found = group_rooflines([fake_roofline(), {**cuda, "limits": []}])
    on_cpu, on_cuda = sorted(found, key=lambda roofline: ", cuda" in roofline.title)
    assert ", cuda" in on_cuda.title and ", cuda" not in on_cpu.title
    looks = defaultdict(lambda: Look("#000000", "o"))
    assert ON_A_DEVICE in make_roofline_section(on_cuda, looks, alone=False).method
    section = make_roofline_section(on_cpu, looks, alone=False)
    assert ON_A_DEVICE not in section.method and "cuda" not in section.heading


@pytest.mark.load
def test_the_limits_are_consistent() -> None:
    pytest.importorskip("numba")
    (one,) = measure_limits([8, 64], [1])
    assert one["threads"] == 1
    assert [chain["rank"] for chain in one["chain"]] == [8, 64]
    assert (
        min(one["memory_gb_per_s"], one["gflop_per_s"], *(chain["ns"] for chain in one["chain"]))
        > 0
    )
    # Adding up from memory is one operation per 4 bytes, and an update 6 per factor: neither beats
    # the arithmetic.
    assert one["memory_gb_per_s"] / 4 < one["gflop_per_s"]
    assert all(6 * chain["rank"] / chain["ns"] < one["gflop_per_s"] for chain in one["chain"])


def test_threads_that_take_turns_on_a_core_have_its_time_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four parts of a job need the same core for a second each: together they take four seconds."""
    now, core = [0.0], threading.Lock()

    def part() -> None:
        with core:
            now[0] += 1.0

    clock = SimpleNamespace(perf_counter=lambda: now[0], sleep=lambda _: None)
    monkeypatch.setattr(limits, "time", clock)
    jobs = {name: [part for _ in range(4)] for name in ("read", "multiply")}
    assert limits._best_seconds(jobs, 4, 25) == {"read": 4.0, "multiply": 4.0}


def test_rates_are_those_of_all_threads_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads that take as long as one read as much in all, and do four times the sums."""
    pytest.importorskip("numba")
    monkeypatch.setattr(limits, "_best_seconds", lambda jobs, *_: dict.fromkeys(jobs, 2.0))
    one, four = measure_limits([8], [1, 4])
    assert (one["threads"], four["threads"]) == (1, 4)
    assert four["gflop_per_s"] == 4 * one["gflop_per_s"]
    assert four["memory_gb_per_s"] == one["memory_gb_per_s"]
    assert four["chain"] == one["chain"]


def test_the_kernels_do_the_work_that_is_counted() -> None:
    pytest.importorskip("numba")
    number = np.float32
    values = np.array([0, 1, 3], number)
    limits._compiled(limits._multiply_add)(values, number(0.5), number(2), 3)
    halvings = 0.5 ** (3 * limits._DEPTH)
    assert values.tolist() == pytest.approx([4 + (x - 4) * halvings for x in (0, 1, 3)], abs=1e-6)
    assert limits._compiled(limits._read)(np.full(1000, 3, number)) == 3000

    p, q, ratings = (
        np.array([1, 2], number),
        np.array([[3, 1], [1, 0]], number),
        np.array([9, 2], number),
    )
    total = limits._compiled(limits._chain)(p, q, ratings, number(0.1), number(0.5), 1)
    # Error 9 - 5 = 4: p = (1, 2) + 0.1 (4 (3, 1) - 0.5 (1, 2)) = (2.15, 2.3).
    # Error 2 - 2.15 = -0.15.
    assert total == pytest.approx(3.85, rel=1e-5)
    assert p.tolist() == pytest.approx(
        [2.15 + 0.1 * (-0.15 - 0.5 * 2.15), 2.3 - 0.1 * 0.5 * 2.3], rel=1e-5
    )


def test_the_rows_of_the_chain_start_on_a_cache_line() -> None:
    for rank in (1, 16, 100):
        row = limits._aligned(3, rank)
        assert (row.ctypes.data % 64, row.shape, float(row.max())) == (
            0,
            (3, rank),
            pytest.approx(0.1),
        )


def test_the_cache_is_the_systems_or_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert last_level_cache() >= 1 << 18
    levels = {
        "index0": (1, "32K", "0"),
        "index2": (2, "1024K", "0"),
        "index3": (3, "16384K", "0-3"),
    }
    for core in range(5):  # cores 0 to 3 share a cache, and core 4 has its own
        for name, (level, size, shared) in levels.items():
            folder = tmp_path / f"cpu{core}" / "cache" / name
            folder.mkdir(parents=True)
            (folder / "level").write_text(f"{level}\n")
            (folder / "size").write_text(f"{size}\n")
            (folder / "shared_cpu_list").write_text("4\n" if core == 4 else f"{shared}\n")
    monkeypatch.setattr(limits, "_CORES", tmp_path)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(5)), raising=False)
    assert last_level_cache() == 2 * 16384 * 1024
    monkeypatch.setattr(limits, "_CORES", tmp_path / "nowhere")
    assert last_level_cache() == limits.DEFAULT_CACHE


# ---- which tests there are ----------------------------------------------------------------------


@pytest.mark.load
@pytest.mark.process
def test_backends_whose_work_is_counted_are_measured() -> None:
    asked = [f"--backend={name}" for name in ("numba", "numpy", "numpy-als")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "bench/bench_roofline.py",
        "--collect-only",
        "-q",
        *asked,
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert re.findall(r"test_roofline\[([^]]*)\]", done.stdout) == ["numba", "numpy"]


# ---- the report ---------------------------------------------------------------------------------


@pytest.mark.draws
def test_the_report_draws_rooflines_beside_times(tmp_path: Path) -> None:
    rooflines = [
        fake_roofline("numba-sgd"),
        fake_roofline("numba-gd", ns=20),
        fake_roofline("numpy", ns=80),
    ]
    rooflines += [
        fake_roofline("torch-cpu", costs=[], status="crashed", reason="RuntimeError: no <memory>")
    ]
    page = write_report([fake_record(), fake_record("numba-sgd"), *rooflines], tmp_path).read_text(
        "utf-8"
    )
    names = {
        f"roofline-{number}.{kind}" for number in (1, 2) for kind in ("svg", "png", "csv")
    }  # by threads
    assert names | {"roofline.csv", "results.csv"} <= {path.name for path in tmp_path.iterdir()}
    assert '<details class="fold" id="roofline" data-key="roofline">' in page
    assert "<summary>How close to the machine&#39;s limit</summary>" in page
    assert "crashed: RuntimeError: no &lt;memory&gt;" in page
    assert page.count("An operation is an operation.") == 1
    assert len((tmp_path / "roofline.csv").read_text("utf-8").splitlines()) == 1 + 3 * 6
    ElementTree.parse(tmp_path / "roofline-1.svg")
    markdown = (tmp_path / "report.md").read_text("utf-8")
    section = markdown.split("## How close to the machine's limit")[1].split("\n## ")[0]
    # 40 ns at rank 16 on one thread; the chain takes 11.
    row = "| numba-sgd | 16 | 1 | 40.0 | dependency chain | 28 % "
    assert row + "| 40.0 | 0.250 | 1.60 | 11.0 | 28 % |" in section
    assert "| 2 | 64.0 | 240 | 11.0 | 14.0 | 18.0 |" in section
    assert "](roofline-1.png)" in section
    assert "### How it was measured" in section


@pytest.mark.draws
def test_a_page_of_rooflines_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report([fake_roofline(ranks=(16,), threads=(1,))], tmp_path / "old")
    assert main(["--input", str(_written(tmp_path)), "--output", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    said = (
        "ml-100k, seed 0: share of the limit that binds, at best: "
        "numba-sgd 28 % (dependency chain; 16 factors, 1 thread)."
    )
    assert lines == [said, str(tmp_path / "out" / "index.html")]
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert page.count('<figure class="chart"') == 1
    assert "calibrated" not in page  # what is said of times to the MSE
    names = {"index.html", "report.md", "roofline.csv", "roofline.svg", "roofline.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def _written(folder: Path) -> Path:
    from bench.records import write_record

    return write_record(folder / "run", fake_roofline(ranks=(16,), threads=(1,)))


@pytest.mark.draws
def test_times_alone_have_no_roofline(tmp_path: Path) -> None:
    (tmp_path / "roofline.svg").touch()  # of an earlier report
    page = write_report([fake_record()], tmp_path).read_text("utf-8")
    assert "How close to the machine" not in page
    assert not list(tmp_path.glob("roofline*"))


@pytest.mark.draws
def test_what_lies_outside_the_limits_is_explained(tmp_path: Path) -> None:
    fast = fake_roofline("numba-sgd", ranks=(16,), threads=(1,))
    fast["costs"][0] |= {
        "cpu_ns": 5.0,
        "ns": 6.0,
        "bound": "arithmetic",
        "share": 0.27,
        "cpu_share": 0.32,
    }
    write_report([fast], tmp_path)
    assert (
        "| 32 % | below the chain: it updates more rows at a time, or its chain is shorter "
        "than that of the plain loop |" in (tmp_path / "report.md").read_text()
    )
    fast["costs"][0] |= {"cpu_ns": 1.5, "cpu_share": 1.6 / 1.5}
    write_report([fast], tmp_path)
    assert "| 107 % | over 100 %: it did less work" in (tmp_path / "report.md").read_text()


@pytest.mark.draws
def test_two_runs_have_sections_of_their_own(tmp_path: Path) -> None:
    both = [fake_roofline(), fake_roofline(run="2026-01-01T00-00-00")]
    page = write_report(both, tmp_path).read_text("utf-8")
    assert page.count("How close to the machine&#39;s limit: ml-100k, seed 0 (") >= 2
    stems = {path.name for path in tmp_path.glob("*.svg")}
    assert stems == {
        f"roofline-{threads}--ml-100k-seed-0-{run}.svg" for threads in (1, 2) for run in (1, 2)
    }


def test_the_newest_record_of_a_backend_is_shown() -> None:
    (group,) = group_rooflines(
        [fake_roofline(ns=30, created="2026-01-01T00:00:00Z"), fake_roofline(ns=50)]
    )
    assert (group.superseded, group.costs[0][1]["ns"]) == (1, 30)


def test_that_nothing_was_measured_is_reported(tmp_path: Path) -> None:
    lost: dict[str, Any] = {
        "costs": [],
        "limits": [],
        "status": "crashed",
        "reason": "the limits were not measured",
    }
    record = fake_roofline(**lost)
    (group,) = group_rooflines([record])
    assert (
        sentence(group)
        == "ml-100k, seed 0; not measured: numba-sgd (crashed: the limits were not measured)."
    )
    assert "the limits were not measured" in write_report([record], tmp_path).read_text("utf-8")


@pytest.mark.draws
def test_planted_markup_is_escaped(tmp_path: Path) -> None:
    nasty = '<script>alert("1")</script> | $x$ `b` & _i_ \n# h'
    words = {name: nasty for name in ("work_model", "reason", "command", "run")}
    record = fake_roofline("numba-sgd", **words, assumptions=[nasty], case={"dataset": nasty})
    record["backend"]["name"] = nasty
    page = write_report(
        [record, fake_roofline(f"_{nasty}", status="crashed", reason=nasty)], tmp_path
    ).read_text("utf-8")
    assert "<script>alert" not in page
    assert html.escape('<script>alert("1")').replace("&quot;", "&#34;") in page
    outside = (tmp_path / "report.md").read_text("utf-8").split("## To reproduce it")[0]
    assert "<script" not in outside
    assert "\n# h" not in outside
    for path in tmp_path.glob("*.svg"):
        assert not re.search(rb"script|<!--", path.read_bytes())
        ElementTree.parse(path)


@pytest.mark.draws
def test_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    records = [fake_roofline("numba-sgd"), fake_roofline("numba-gd")]
    for name in ("a", "b"):
        write_report(records, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


@pytest.mark.draws
def test_rooflines_with_long_names_have_files_of_their_own(tmp_path: Path) -> None:
    case = {
        "dataset": "/home/someone/data/a very long path to the ratings of a great shop/ratings.csv"
    }
    both = [fake_roofline(case=case), fake_roofline(case=case, run="2026-01-01T00-00-00")]
    page = write_report(both, tmp_path).read_text("utf-8")
    assert len(list(tmp_path.glob("roofline-*.svg"))) == 4
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_one_rank_has_its_limits_across_the_figure_and_no_other_rank_in_its_table() -> None:
    (group,) = group_rooflines([fake_roofline(ranks=(16,), threads=(1,))])
    (figure,) = roofline_figures(group)
    assert set(figure.table["rank"]) == {16}
    limits = figure.table[figure.table["kind"] == "limit"]
    assert [(rule.axis, rule.label, rule.value) for rule in figure.rules] == [
        ("y", name, ns) for name, ns in zip(limits["limit"], limits["ns"], strict=True)
    ]
    assert len(limits) == 3
