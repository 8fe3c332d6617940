"""The comparison of two runs: what counts as a regression, what is refused, and what is said."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fake_records import fake_record
from helpers import ROOT, in_fresh_process

from bench.compare.__main__ import main
from bench.compare.comparison import Comparison, compare
from bench.records import (
    AnyRecord,
    ListMetrics,
    Record,
    RooflineRecord,
    Round,
    read_records,
    write_record,
)

PLACE = "ml-100k, 16 factors, seed 0, numba-sgd on 2 threads"


def times(seconds: float = 1.0, noise: float = 0.02, n: int = 9, seed: int = 0) -> list[float]:
    """Draw the seconds of rounds whose noise is the given share of them."""
    return [
        float(value) for value in seconds * np.exp(np.random.default_rng(seed).normal(0, noise, n))
    ]


def rounds(seconds: Sequence[float], validation_mse: float = 0.8475, seeds: int = 3) -> list[Round]:
    return [
        Round(
            round=number,
            seed=number % seeds,
            factor=1.01,
            seconds=value,
            prepare_seconds=0.1 * value,
            first_epoch_seconds=0.05 * value,
            epoch_seconds=0.04 * value,
            cpu_seconds=2 * value,
            others_seconds=0.0,
            stolen_seconds=0.0,
            energy_joules=None,
            validation_mse=validation_mse,
            test_mse=None,
            objective=None,
            matched=True,
        )
        for number, value in enumerate(seconds)
    ]


def record(seconds: Sequence[float] | None = None, changes: dict[str, Any] | None = None) -> Record:
    """Return a record that took ``seconds``; ``changes`` are fields by path: {"case.reg": 0.2}."""
    made: Any = fake_record(
        "numba-sgd",
        run="2026-01-01T00-00-00Z",
        created="2026-01-01T00:00:00Z",
        order="interleaved",
        key={"machine": "m1", "code": "c1", "versions": "v1"},
        case={"name": "ml-100k, rank 16, seed 0"},
        calibrations=[
            {
                "seed": 0,
                "epochs": 12,
                "repeats": 1,
                "evaluation_seconds": 0.01,
                "trace": [],
                "rungs": [],
            }
        ],
        seeds=[0, 1, 2],
        rounds=rounds(times() if seconds is None else seconds),
        environment={
            "cpu": "Intel Xeon",
            "cores": 2,
            "memory_gb": 7.8,
            "governor": "performance",
            "python": "CPython 3.11.9",
            "packages": {"numpy": "2.3.1", "numba": "0.61.0"},
            "git": "abcdef123456",
        },
    )
    _change(made, changes or {})
    return cast("Record", made)


def roofline(cpu_ns: float, changes: dict[str, Any] | None = None) -> RooflineRecord:
    plain: dict[str, Any] = dict(record())
    shared = ("schema", "run", "created", "command", "key", "backend", "case", "environment")
    cost = dict.fromkeys(
        ("seconds", "cpu_seconds", "flops", "bytes", "memory_ns", "arithmetic_ns", "limit_ns"), 1.0
    )
    made: dict[str, Any] = {name: plain[name] for name in shared} | {
        "kind": "roofline",
        "status": "measured",
        "reason": "",
        "work_model": "per-rating SGD",
        "assumptions": [],
        "cache_mb": 32.0,
        "limits": [],
        "costs": [
            {
                "rank": 16,
                "threads": 2,
                "epochs": 20,
                "ns": cpu_ns / 2,
                "cpu_ns": cpu_ns,
                "chain_ns": None,
            }
            | {"bound": "memory", "share": 0.5, "cpu_share": 0.5}
            | cost
        ],
    }
    _change(made, changes or {})
    return cast("RooflineRecord", made)


def _change(made: dict[str, Any], changes: dict[str, Any]) -> None:
    for path, value in changes.items():
        *parents, last = path.split(".")
        at = made
        for name in parents:
            at = at[name]
        at[last] = value


class Said:
    """What a comparison printed, and how it ended; ``flat`` is the output on one line."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err
        self.flat = " ".join(out.split())


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Compare records as the command does: written into two folders, read back."""

    def run(old: Sequence[AnyRecord], new: Sequence[AnyRecord], *options: str) -> Said:
        for folder, records in ((tmp_path / "old", old), (tmp_path / "new", new)):
            for record in records:
                write_record(folder, record)
        status = main([str(tmp_path / "old"), str(tmp_path / "new"), *options])
        return Said(status, *capsys.readouterr())

    return run


def compared(old: Record, new: Record, threshold: float = 0.05) -> Comparison:
    (found,) = compare([old], [new], threshold)
    return found


def test_the_records_made_here_are_records(tmp_path: Path) -> None:
    made: list[AnyRecord] = [record(), roofline(30.0)]
    for each in made:
        write_record(tmp_path, each)
    assert sorted(read_records([tmp_path]), key=lambda r: r["kind"], reverse=True) == made


# ---- times --------------------------------------------------------------------------------------


def test_a_planted_slow_down_is_a_regression(said: Any) -> None:
    got = said([record(times(1.0))], [record(times(1.1, seed=1))])
    assert got.status == 1
    change = compared(record(times(1.0)), record(times(1.1, seed=1))).change
    assert change == pytest.approx(0.1, abs=0.03)
    assert "slower" in got.out
    assert (
        f"1 pair compared 1 regression: {PLACE}: {100 * (change or 0):.1f} % slower no improvements"
        in got.flat
    )


def test_the_same_run_is_no_regression(said: Any) -> None:
    got = said([record()], [record()])
    assert (got.status, got.err) == (0, "")
    assert "+0.0 % (" in got.out
    assert "no difference can be detected (a difference of 5 % is ruled out)" in got.flat
    assert got.flat.endswith("1 pair compared no regressions no improvements")


def test_an_improvement_is_listed_and_is_no_regression(said: Any) -> None:
    got = said([record(times(1.0))], [record(times(0.8, seed=1))])
    assert got.status == 0
    assert f"no regressions 1 improvement: {PLACE}: " in got.flat
    assert got.flat.endswith(" % faster")


def test_a_small_change_is_shown_but_counts_only_above_the_threshold(said: Any) -> None:
    old, new = record(times(1.0, 0.002)), record(times(1.03, 0.002, seed=1))
    got = said([old], [new])
    assert got.status == 0
    assert "slower, by less than the threshold of 5 %" in got.flat
    assert "no regressions" in got.out
    assert said([old], [new], "--threshold", "2.5").status == 1


def test_three_rounds_tell_a_great_slow_down(said: Any) -> None:
    """As many as the slow fits have: one of each seed."""
    got = said([record(times(1.0, n=3))], [record(times(10.0, n=3, seed=1))])
    assert got.status == 1
    assert "1 regression:" in got.out
    assert "old: 3 rounds are too few to estimate the noise" in got.out


FEW = "by its rounds: seeds are too few for an interval"


@pytest.mark.parametrize(
    ("seeds", "before", "now", "status", "verdict"),
    [
        (1, [1.0], [10.0], 1, f"slower, {FEW}"),
        (
            1,
            [1.0],
            [1.9],
            0,
            "no difference can be detected (one seed, and its rounds are not far apart)",
        ),
        # One old round was disturbed.
        (1, [1.0, 1.0, 1.0, 1.0, 2.2], [2.0] * 5, 1, f"slower, {FEW}"),
        (1, [2.0] * 5, [1.0, 1.0, 1.0, 1.0, 2.2], 0, f"faster, {FEW}"),
        (1, [1.0, 1.02, 1.01], [1.2, 1.21, 1.22], 0, "no difference can be detected (one seed"),
        (2, [1.0, 1.0, 1.0, 1.0], [1.8, 2.3, 1.8, 2.3], 1, f"slower, {FEW}"),
        (3, [1.0, 1.0, 1.1, 1.0, 1.0, 1.1], [1.5, 3.2, 6.0, 1.5, 3.2, 6.0], 1, f"slower, {FEW}"),
    ],
)
def test_with_few_seeds_a_great_change_is_told_by_the_rounds(
    said: Any, seeds: int, before: list[float], now: list[float], status: int, verdict: str
) -> None:
    old, new = record(), record()
    old["rounds"], new["rounds"] = rounds(before, seeds=seeds), rounds(now, seeds=seeds)
    got = said([old], [new])
    assert got.status == status
    assert verdict in got.flat


@pytest.mark.parametrize(
    ("seeds", "n", "most"), [(1, 1, 0.02), (1, 5, 0.08), (2, 6, 0.06), (3, 9, 0.06)]
)
def test_the_same_code_is_rarely_a_regression(seeds: int, n: int, most: float) -> None:
    """Processes that differ by 7 %, rounds by 3 %."""
    rng = np.random.default_rng(3)

    def run() -> Record:
        made = record()
        level = rng.normal(0, 0.07, seeds)
        made["rounds"] = rounds(
            [float(np.exp(level[k % seeds] + rng.normal(0, 0.03))) for k in range(n)], seeds=seeds
        )
        return made

    found = [bool(compared(run(), run()).regressions) for _ in range(400)]
    assert np.mean(found) <= most


def test_equals_are_rarely_told_apart() -> None:
    pairs = [(record(times(seed=2 * n)), record(times(seed=2 * n + 1))) for n in range(300)]
    found = [compared(old, new, threshold=0.0) for old, new in pairs]
    assert sum(bool(each.regressions) for each in found) <= 0.07 * len(found)
    # None at the usual threshold.
    assert not any(each.regressions for each in (compared(old, new) for old, new in pairs))


def test_unstable_rounds_are_reported_below_the_pair(said: Any) -> None:
    unstable = [*times(n=8), 2.0]
    got = said([record()], [record(unstable)])
    after = got.out[got.out.index("numba-sgd") :].splitlines()
    assert "    new: 1 of 9 rounds took over 1.5 times the median" in after


def test_different_counts_of_epochs_are_reported(said: Any) -> None:
    new = record()
    new["calibrations"][0]["epochs"] = 14
    assert "    epochs to the target: 12 before, 14 now" in said([record()], [new]).out.splitlines()


def test_better_or_worse_lists_are_reported(said: Any) -> None:
    def with_lists(*ndcg: float) -> Record:
        found = record()
        rest = {"threshold": 4.0, "users": 9, "precision": 0.1, "recall": 0.1, "rare": 0.0}
        found["lists"] = [ListMetrics(ndcg=value, coverage=0.1, **rest) for value in ndcg]  # type: ignore[typeddict-item]
        return found

    got = said([with_lists(0.1, 0.3, 0.2)], [with_lists(0.25)]).out.splitlines()
    assert "    NDCG@10 of lists: 0.2000 before, 0.2500 now" in got
    for old, new in ((record(), with_lists(0.2)), (with_lists(0.2), with_lists(0.2))):
        assert "NDCG" not in said([old], [new]).out


def test_the_same_epochs_of_more_seeds_are_no_difference(said: Any) -> None:
    new = record()
    new["calibrations"] *= 3
    assert "epochs to the target" not in said([record()], [new]).out


def test_of_several_records_the_newest_is_taken() -> None:
    first, second = record(times(3.0)), record(times(1.0), {"created": "2026-01-02T00:00:00Z"})
    (found,) = compare([second, first], [second])
    assert found.change == 0


# ---- status and accuracy ------------------------------------------------------------------------

CRASHED = {
    "status": "crashed",
    "reason": "ended with signal 11 in prepare",
    "rounds": [],
    "calibrations": [],
}


def test_a_backend_that_no_longer_matches_is_a_regression(said: Any) -> None:
    got = said([record()], [record(changes=CRASHED)])
    assert got.status == 1
    assert (
        f"1 regression: {PLACE}: matched before, crashed now: ended with signal 11 in prepare"
        in got.flat
    )


def test_a_backend_that_matches_again_is_an_improvement(said: Any) -> None:
    got = said([record(changes=CRASHED)], [record()])
    assert got.status == 0
    wanted = (
        f"1 improvement: {PLACE}: crashed before, matched now "
        "(before: ended with signal 11 in prepare)"
    )
    assert wanted in got.flat


def test_what_matched_in_neither_is_no_regression(said: Any) -> None:
    got = said([record(changes=CRASHED)], [record(changes=CRASHED)])
    assert got.status == 0
    assert "crashed in both" in got.out
    assert "    both: crashed: ended with signal 11 in prepare" in got.out.splitlines()
    other = compared(record(changes=CRASHED), record(changes={**CRASHED, "status": "timed out"}))
    assert (other.verdict, other.regressions) == ("crashed before, timed out now", [])


def test_a_worse_validation_mse_is_a_regression(said: Any) -> None:
    got = said([record()], [record(changes={"rounds": rounds(times(), 0.8475 * 1.006)})])
    assert got.status == 1
    assert "ends at a worse validation MSE (0.8475 before, 0.8526 now)" in got.flat
    slightly = record(changes={"rounds": rounds(times(), 0.8475 * 1.004)})
    assert compared(record(), slightly).regressions == []
    missed = {"status": "missed", "reason": "no better"}
    worse = record(changes={"rounds": rounds(times(), 0.9), **missed})
    assert compared(record(changes=missed), worse).regressions == []


# ---- what is not comparable ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "difference"),
    [
        ("case.data_hash", "00ff", "data hash: 5d2e9c0b before, 00ff now"),
        ("case.rank", 64, "factors: 16 before, 64 now"),
        ("case.reg", 0.2, "reg: 0.1 before, 0.2 now"),
        ("case.damping", 0.0, "damping: 10.0 before, 0.0 now"),
        ("case.bias_reg", 0.02, "bias reg: 0.01 before, 0.02 now"),
        ("case.user_bias_damping", 7.0, "user bias damping: 5.0 before, 7.0 now"),
        ("case.item_bias_damping", 7.0, "item bias damping: 2.0 before, 7.0 now"),
        ("case.reg_scaling", "uniform", "reg scaling: per_rating before, uniform now"),
        ("case.bias", False, "bias: true before, false now"),
        ("target.mse", 0.86, "target MSE: 0.8516 before, 0.86 now"),
        ("target", None, "target MSE: 0.8516 before, none now"),
        ("seeds", [0, 1, 2, 3], "seeds: [0, 1, 2] before, [0, 1, 2, 3] now"),
        ("backend.dtype", "float64", "dtype: float32 before, float64 now"),
        ("backend.device", "cuda", "device: cpu before, cuda now"),
        ("backend.params", {"batch": 64}, "parameter batch: none before, 64 now"),
    ],
)
def test_what_is_not_comparable_is_refused(
    said: Any, path: str, value: object, difference: str
) -> None:
    got = said([record()], [record(changes={path: value})])
    assert (got.status, got.out) == (2, "")
    assert got.err.startswith("error: ")
    assert got.err.splitlines()[0].endswith(
        "are not comparable (--anyway compares them all the same):"
    )
    assert got.err.splitlines()[1:] == [f"  {difference} ({PLACE})"]


OF_VERSION_4 = {
    "case.reg": 0.11,
    "case.reg_unit": "rating",
    "case.damping": 0.0,
    "case.bias_reg": 0.11,
    "case.user_bias_damping": 0.0,
    "case.item_bias_damping": 0.0,
}


@pytest.mark.parametrize("older", ["OLD", "NEW"])
def test_across_the_change_of_the_objective_one_sentence_says_why(said: Any, older: str) -> None:
    records = [record(changes={**OF_VERSION_4, "target.mse": 0.86}), record()]
    got = said(*([record] for record in (records if older == "OLD" else records[::-1])))
    assert (got.status, got.out) == (2, "")
    before, now = ("0.86", "0.8516") if older == "OLD" else ("0.8516", "0.86")
    assert got.err.splitlines()[1:] == [
        f"  objective: {older} was measured with a release before 0.2, which penalised factors and "
        "biases by the same reg, in units of ratings and without damping; measure it again with "
        f"this release ({PLACE})",
        f"  target MSE: {before} before, {now} now ({PLACE})",
    ]


def test_records_of_before_the_change_of_the_objective_are_compared_with_each_other(
    said: Any,
) -> None:
    assert said([record(changes=OF_VERSION_4)], [record(changes=OF_VERSION_4)]).status == 0
    got = said([record(changes=OF_VERSION_4)], [record(changes={**OF_VERSION_4, "case.reg": 0.14})])
    assert got.err.splitlines()[1:] == [f"  reg: 0.11 before, 0.14 now ({PLACE})"]


def test_an_epoch_costs_the_same_whatever_the_penalties(said: Any) -> None:
    got = said([roofline(30.0, OF_VERSION_4)], [roofline(60.0)])
    assert "+100.0 %" in got.out
    assert got.err.startswith("error: no case, backend and number of threads of a time to the MSE")


def test_another_machine_is_refused(said: Any) -> None:
    other = {
        "key": {"machine": "m2"},
        "environment.cpu": "AMD EPYC",
        "environment.governor": "powersave",
    }
    got = said([record()], [record(changes=other)])
    assert got.status == 2
    assert got.err.splitlines()[1:] == [
        f"  cpu: Intel Xeon before, AMD EPYC now ({PLACE})",
        f"  governor: performance before, powersave now ({PLACE})",
    ]


def test_machines_that_differ_in_nothing_that_is_recorded_are_refused_by_their_hash() -> None:
    assert compared(record(), record(changes={"key": {"machine": "m2"}})).differences == (
        "machine: hash m1 before, hash m2 now",
    )


def test_a_machine_without_a_hash_is_known_by_a_few_facts() -> None:
    old = record(changes={"key": {}})
    assert compared(old, record(changes={"environment.governor": "powersave"})).differences == ()
    assert compared(old, record(changes={"environment.cores": 4})).differences == (
        "cores: 2 before, 4 now",
    )
    different = compared(old, record(changes={"environment": {}})).differences
    assert different == ("machine: not recorded in at least one of the runs",)


def test_anyway_compares_and_warns(said: Any) -> None:
    got = said(
        [record(times(1.0))],
        [record(times(1.2), {"key": {"machine": "m2"}, "environment.cores": 4})],
        "--anyway",
    )
    assert (got.status, got.err) == (1, "")
    assert f"warning: not comparable: cores: 2 before, 4 now ({PLACE})" in got.out.splitlines()
    assert "20.0 % slower" in got.out


def test_a_difference_in_all_pairs_is_said_once(said: Any) -> None:
    names = ("numpy", "numba-sgd", "numba-gd")
    old = [record(changes={"backend.name": name}) for name in names]
    new = [record(changes={"backend.name": name, "case.reg": 0.2}) for name in names]
    assert said(old, new).err.splitlines()[1:] == ["  reg: 0.1 before, 0.2 now (all 3 pairs)"]


def test_a_refusal_shows_the_first_differences(said: Any) -> None:
    params = {f"p{n}": n for n in range(7)}
    lines = said([record()], [record(changes={"backend.params": params})]).err.splitlines()
    assert len(lines) == 7
    assert lines[-1] == "  and 2 more"


def test_a_target_that_differs_by_rounding_is_the_same() -> None:
    rounded = record(changes={"target.mse": 0.8516 * (1 + 1e-12)})
    assert compared(record(), rounded).differences == ()


# ---- what may differ ----------------------------------------------------------------------------


def test_code_and_versions_may_differ_and_are_listed(said: Any) -> None:
    changes = {
        "key": {"machine": "m1", "code": "c2", "versions": "v2"},
        "environment.packages": {"numpy": "2.4.0", "numba": "0.61.0", "torch": "2.9"},
        "environment.git": "fedcba654321+changes",
    }
    got = said([record()], [record(changes=changes)])
    assert got.status == 0
    assert "run 2026-01-01T00-00-00Z, git abcdef123456 NEW " in got.flat
    assert (
        "Changed: git abcdef123456, now fedcba654321+changes; numpy 2.3.1, now 2.4.0; "
        "torch not recorded, now 2.9; "
        "source of the solvers or of the benchmark"
    ) in got.flat


def test_that_nothing_changed_is_reported(said: Any) -> None:
    assert (
        "Changed: neither code nor versions, as far as recorded" in said([record()], [record()]).out
    )


def test_a_backend_in_one_run_only_is_listed(said: Any) -> None:
    got = said(
        [record(), record(changes={"backend.name": "numpy", "backend.threads": 1})],
        [record(), record(changes={"backend.threads": 4})],
    )
    assert got.status == 0
    assert "only in OLD: ml-100k, 16 factors, seed 0, numpy on 1 thread" in got.out.splitlines()
    lines = got.out.splitlines()
    assert "only in NEW: ml-100k, 16 factors, seed 0, numba-sgd on 4 threads" in lines


def test_rooflines_are_shown_and_never_a_regression(said: Any) -> None:
    got = said([record(), roofline(30.0)], [record(), roofline(60.0)])
    assert got.status == 0
    assert "CPU time of an epoch per rating, for information only:" in got.out
    assert "ml-100k, seed 0 numba-sgd 2 16 30.0 60.0 +100.0 %" in got.flat


def test_rooflines_alone_are_shown_but_are_no_comparison(said: Any) -> None:
    got = said([roofline(30.0)], [roofline(60.0)])
    assert got.status == 2
    assert "+100.0 %" in got.out
    assert (
        "error: no case, backend and number of threads of a time to the MSE is in both " in got.err
    )


# ---- the command --------------------------------------------------------------------------------


def test_nothing_in_common_is_an_error(said: Any) -> None:
    got = said([record()], [record(changes={"case.name": "ml-1m"})])
    assert (got.status, got.out) == (2, "")
    assert got.err.startswith(
        "error: no case, backend and number of threads of a time to the MSE is in both "
    )


def test_what_cannot_be_read_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_record(tmp_path / "good", record())
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.json").write_text("{", "utf-8")
    for name, message in (
        ("nowhere", "error: there is no "),
        ("empty", "error: there are no records in "),
        ("bad", "is not a record of factorbench"),
    ):
        for pair in ([str(good), str(tmp_path / name)], [str(tmp_path / name), str(good)]):
            assert main(pair) == 2
            printed = capsys.readouterr()
            assert printed.out == ""
            assert message in printed.err
            assert str(tmp_path / name) in printed.err


@pytest.mark.parametrize("given", ["-1", "nan", "inf", "much"])
def test_a_threshold_is_a_percentage(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["old", "new", f"--threshold={given}"])
    assert ended.value.code == 2
    assert (
        f"argument --threshold: must be a percentage of at least 0, got '{given}'"
        in capsys.readouterr().err
    )


def test_help_says_why_there_is_a_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "the interval does not cover changes of the machine's speed between two runs" in text


def test_names_steer_no_terminal(said: Any) -> None:
    nasty = "<script>\x1b[31mred\x07\u202e\nnext"
    changes = {"case.name": nasty, "backend.name": nasty, "environment.git": nasty, "run": nasty}
    ended = {**CRASHED, "reason": nasty, **changes, "environment.packages": {nasty: nasty}}
    for got in (
        said([record(changes=changes)], [record(changes=ended)]),
        said(
            [record(changes=changes)], [record(changes={**ended, "backend.params": {nasty: nasty}})]
        ),
    ):
        text = got.out + got.err
        assert "<script>" in text
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "\nnext" not in text


def test_the_table_fits_a_terminal(said: Any) -> None:
    long = {
        "case.name": "goodbooks-10k, rank 128, seed 0, " + 3 * "by-time ",
        "backend.name": "numba-sgd" + 60 * "x",
    }
    old, new = record(times(12345.0), long), record(times(12345.0, seed=1), long)
    got = said([old, record(times(0.001))], [new, record(times(0.002))])
    table = got.out[got.out.index("\n\n") :]
    assert max(map(len, table.splitlines())) <= 120
    starts = [
        line.index("numba-sgd")
        for line in table.splitlines()
        if line.startswith(("goodbooks", "ml-100k"))
    ]
    assert len(set(starts)) == 1


@pytest.mark.process
def test_it_needs_no_backend_and_draws_nothing() -> None:
    heavy = "backends", "matplotlib", "torch"
    code = f"import sys, bench.compare.__main__; print([m for m in {heavy} if m in sys.modules])"
    assert in_fresh_process(code).strip() == "[]"


@pytest.mark.process
def test_it_runs_as_a_module(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    done = subprocess.run(
        [sys.executable, "-m", "bench.compare", str(path), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "ml-100k, 16 factors, seed 0" in done.stdout


def test_a_record_in_progress_is_no_regression(said: Any) -> None:
    """It is that of a run that was cut off."""
    halfway = {"backend.name": "numpy", "status": "in progress", "reason": "1 of 3 seeds measured"}
    got = said(
        [record(), record(changes={"backend.name": "numpy"})], [record(), record(changes=halfway)]
    )
    assert got.status == 0
    assert "1 record in progress in NEW ignored" in got.out.splitlines()
    assert not any("older record" in line for line in got.out.splitlines())
