"""Tuning: equal trials, on ratings apart from those that are reported, and what is said of it."""

import contextlib
import csv
import io
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_records import fake_record

from backends import get_backend
from bench import tune
from bench.cases.case import Case
from bench.cases.case_file import write_case
from bench.cases.inner import inner_case
from bench.measure.backend_facts import BackendRow, Contender, Limits, backend_rows
from bench.measure.session import Setting
from bench.measure.tuned import read_tuned
from bench.options import Selection
from bench.records import Tuning, read_records, read_state
from bench.report.figures import styles
from bench.report.outcome.cases import group_cases
from bench.report.tables.facts import case_facts
from bench.report.tables.measured import measured_tables
from bench.report.tables.ranking import ranking_table
from bench.text.wording import DASH
from bench.tune import Search, Trial, main, make_trials, outcome_rows, trials_csv

SPACE = {"reg": (0.01, 0.1), "learning_rate": (1.0, 100.0)}


def row(name: str) -> BackendRow:
    return backend_rows()[name]


def test_the_first_trial_is_with_the_defaults_and_the_rest_covers_the_space() -> None:
    trials = make_trials(SPACE, 65)
    assert [trial.number for trial in trials] == list(range(1, 66))
    assert trials[0].params == {}
    for name, (low, high) in SPACE.items():
        values = np.array([trial.params[name] for trial in trials[1:]])
        assert values.min() >= low and values.max() <= high
        # In eighths of the range, by logarithm, there are about as many values in each.
        shares = np.log(values / low) / math.log(high / low)
        counts = np.histogram(shares, bins=8, range=(0, 1))[0]
        assert counts.min() >= 6
    assert make_trials(SPACE, 3) == trials[:3]
    assert make_trials(SPACE, 1) == trials[:1]


def test_whole_numbers_stay_whole() -> None:
    values = [trial.params["n_blocks"] for trial in make_trials({"n_blocks": (2, 32)}, 33)[1:]]
    assert {type(value) for value in values} == {int}
    assert min(values) >= 2 and max(values) <= 32 and len(set(values)) > 10


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0), (1.0, math.inf)])
def test_a_space_that_cannot_be_searched_is_refused(limits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"search_space must have .* for learning_rate"):
        make_trials({"learning_rate": limits}, 3)


@pytest.mark.parametrize("name", ["numpy", "numpy-als", "numba-sgd", "numba-als", "torch-cpu"])
def test_defaults_lie_in_the_space_that_is_searched(name: str) -> None:
    pytest.importorskip(name.split("-")[0])
    solver = get_backend(name)
    for parameter, (low, high) in solver.search_space.items():
        assert low < getattr(solver, parameter) < high
        solver.set_params(**{parameter: high})
    solver.check_params()


def test_the_fastest_to_the_target_is_the_best_and_else_the_lowest_error() -> None:
    search = Search(row("numpy"), [Trial(1, {}, mse=0.9), Trial(2, {"reg": 0.1}, mse=0.8)])
    assert search.best.number == 2
    search.trials += [Trial(3, {}, [2.0], 0.95), Trial(4, {}, [1.0], 0.96), Trial(5, {}, [1.0])]
    assert search.best.number == 4
    failed = Search(row("numpy"), [Trial(1, {}, ended="crashed: x"), Trial(2, {"reg": 0.1})])
    assert failed.best.number == 1


def test_the_first_trial_is_kept_unless_another_is_clearly_faster() -> None:
    """The time by which a trial was picked does not count."""
    first, second = Trial(1, {}, [1.0, 1.1, 0.9]), Trial(2, {"reg": 0.1}, [0.1, 0.8, 0.95])
    search = Search(row("numpy"), [first, second, Trial(3, {"reg": 0.2}, [0.5])])
    assert (second.seconds, search.best) == (0.875, first)
    second.times = [0.9, 0.85, 0.89]
    assert search.best is second


def test_equal_trials_rarely_replace_the_first() -> None:
    """Of twenty equal ones with 10 % noise, one is the fastest by luck."""
    rng, kept = np.random.default_rng(0), 0
    for _ in range(200):
        trials = [Trial(n, {"reg": n} if n > 1 else {}, [rng.normal(1, 0.1)]) for n in range(1, 21)]
        search = Search(row("numpy"), trials)
        for trial in search.finalists:
            trial.times += rng.normal(1, 0.1, tune._MORE_TIMES).tolist()
        kept += search.best is trials[0]
    assert kept >= 180


def test_without_the_target_a_lower_error_replaces_the_first() -> None:
    first, second = Trial(1, {}, mse=1.0), Trial(2, {"reg": 0.1}, mse=1.0)
    search = Search(row("numpy"), [first, second])
    assert search.best is first
    second.mse = 0.999
    assert search.best is second


def test_the_best_few_and_the_first_are_timed_again() -> None:
    trials = [Trial(n, {}, [float(n % 5)] if n % 5 else []) for n in range(1, 10)]
    assert [t.number for t in Search(row("numpy"), trials).finalists] == [1, 6, 2]
    trials[0].times = [9.0]
    assert [t.number for t in Search(row("numpy"), trials).finalists] == [1, 6, 2, 7]


def test_a_trial_is_given_up_once_it_cannot_win(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    outcomes = iter([None, 4.0, 6.0, 3.0, None])

    def run_trial(trial: Trial, setting: Any) -> None:
        seen.append(setting.limits.max_seconds)
        reached = next(outcomes, 5.0)
        trial.times += [] if reached is None else [reached]

    monkeypatch.setattr(tune, "run_trial", run_trial)
    setting = Setting(*[None] * 4, Limits(max_seconds=10), Path(), lambda text: None)  # type: ignore[arg-type]
    tune.search(row("numpy"), setting, 5, lambda text: None)
    assert seen[:5] == [10, 10, 8, 8, 6]
    assert set(seen[5:]) == {10}  # the finalists, with no limit but that of all


def test_facts_hold_the_score_that_was_compared() -> None:
    trials = [Trial(1, {}, [2.0], 0.9), Trial(2, {"reg": 0.1}, [1.0], 0.8)]
    facts = Search(row("numpy"), trials, 7.0).facts(60)
    assert (facts["default"], facts["best"], facts["best_trial"]) == (2.0, 1.0, 2)
    assert (facts["trials"], facts["seconds"], facts["params"]) == (2, 7.0, {"reg": 0.1})
    assert facts["score"] == "seconds to the target"
    trials[0].times = []
    assert Search(row("numpy"), trials).facts(60)["default"] is None
    trials[1].times = []
    facts = Search(row("numpy"), trials).facts(60)
    assert (facts["default"], facts["best"]) == (0.9, 0.8)
    assert facts["score"] == "lowest validation MSE"
    failed = Search(row("numpy"), [Trial(1, {}, ended="crashed: x")]).facts(60)
    assert (failed["default"], failed["best"]) == (None, None)


def test_the_case_for_tuning_has_none_of_the_reported_ratings(case: Case) -> None:
    inner = inner_case(case, lambda text: None)
    whole = case.data.train

    def pairs(*parts: Any) -> set[tuple[int, int, float]]:
        return {
            triple
            for part in parts
            for triple in zip(
                part.users.tolist(), part.items.tolist(), part.ratings.tolist(), strict=True
            )
        }

    assert inner.data.test is None
    assert pairs(inner.data.train) <= pairs(whole)
    assert pairs(inner.data.validation) <= pairs(whole)
    assert len(inner.data.train) == len(whole) - len(whole) // 10
    assert not pairs(inner.data.train) & pairs(inner.data.validation)
    assert (inner.data.train.user_counts()[inner.data.validation.users] > 0).all()
    assert (inner.data.train.item_counts()[inner.data.validation.items] > 0).all()
    assert inner.objective == case.objective
    assert inner.data.hash != case.data.hash
    assert inner.target is not None
    assert inner.ladder == [inner.target]


@pytest.mark.load
@pytest.mark.process
def test_a_trial_that_fails_is_noted_and_the_others_go_on(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = inner_case(case, lambda text: None)
    trials = [Trial(1, {}), Trial(2, {"reg": -1.0}), Trial(3, {"reg": 1e3})]
    monkeypatch.setattr(tune, "make_trials", lambda space, n: trials[:n])
    assert inner.target is not None
    setting = Setting(
        inner,
        inner.target,
        write_case(tmp_path, inner),
        Contender(row("numpy-als"), 1),
        Limits(max_seconds=20, timeout=60, patience=5),
        tmp_path,
        lambda text: None,
    )
    found = tune.search(row("numpy-als"), setting, 3, lambda text: None)
    first, negative, strong = found.trials
    assert first.ended == "callback" and first.seconds is not None and math.isfinite(first.mse)
    assert "reg must be" in negative.ended
    assert strong.seconds is None and strong.mse > first.mse
    assert found.best is first
    assert found.seconds > first.seconds  # which is a part of it
    assert len(first.times) == 1  # nothing to compare it with
    table = list(csv.DictReader(io.StringIO(trials_csv([found]))))
    assert [line["trial"] for line in table] == ["1", "2", "3"]
    assert table[1]["ended"].startswith("crashed: ValueError: reg must be")
    assert table[2]["seconds"] == ""


def fake_tuning(**changes: Any) -> Tuning:
    facts: Any = {
        "trials": 20,
        "seconds": 90.0,
        "most_seconds": 60.0,
        "split": "90/10 of the training ratings",
        "score": "seconds to the target",
        "default": 2.0,
        "best": 1.0,
        "best_trial": 4,
        "params": {"reg": 0.02},
    }
    return Tuning(**(facts | changes))


def tuned_pair() -> list[Any]:
    tuned = fake_record("numpy (tuned)", seconds=[1.0], tuning=fake_tuning())
    tuned["backend"] |= {"params": {"reg": 0.02}, "threads": 1}
    return [fake_record("numpy", seconds=[2.0], tuning=fake_tuning()), tuned]


def test_the_page_says_who_was_tuned_how_long_and_what_it_gained() -> None:
    kept = fake_record("numba-gd", seconds=[1.0], tuning=fake_tuning(params={}, best_trial=1))
    (case,) = group_cases([*tuned_pair(), kept, fake_record("torch-cpu")])
    (text,) = [text for name, text in case_facts(case) if name == "Tuning"]
    assert text == (
        "numba-gd and numpy: 20 trials each, 180 s; times as fast as before: numpy 2.0; "
        "no trial was clearly better than the first for numba-gd"
    )
    (table,) = [t for t in measured_tables(case) if t.caption.startswith("Tuning")]
    assert sorted(table.rows) == [
        ["numba-gd", "20", "90", "2.00", "1.00", "the first trial"],
        ["numpy (tuned)", "20", "90", "2.00", "1.00", "reg 0.02"],
    ]
    (case,) = group_cases([fake_record("numpy")])
    (text,) = [text for name, text in case_facts(case) if name == "Tuning"]
    assert text.startswith("none; python -m bench.tune gives each backend")


def test_backends_with_threads_in_their_shown_names_are_told_apart() -> None:
    pairs = [tuned_pair(), tuned_pair()]
    for threads, pair in zip((1, 2), pairs, strict=True):
        for record in pair:
            record["backend"]["threads"] = threads
    (case,) = group_cases([record for pair in pairs for record in pair])
    (text,) = [text for name, text in case_facts(case) if name == "Tuning"]
    assert text.startswith("numpy: 20 trials each, 180 s; times as fast as before: numpy 2.0, num")


def test_a_backend_with_a_penalty_of_its_own_has_no_gap_in_the_objective() -> None:
    (case,) = group_cases(tuned_pair())
    table = ranking_table(case, styles({"numpy": "", "numpy (tuned)": ""}))
    gaps = {cells[0]: cells[table.header.index("Gap in J")] for cells in table.rows}
    assert gaps["numpy (tuned)"] == DASH
    assert gaps["numpy"] != DASH


def test_the_table_shows_default_and_tuned_beside_each_other() -> None:
    records = tuned_pair()
    search = Search(row("numpy"), [Trial(1, {}, [2.0]), Trial(2, {"reg": 0.02}, [1.0])], 90.4)
    ((name, trials, cost, chosen, first, best, default, tuned, gain, *errors),) = outcome_rows(
        [search], records
    )
    assert (name, trials, cost, chosen) == ("numpy", "2", "90", "reg=0.02")
    assert (first, best) == ("2.00 s", "1.00 s")
    assert (default, tuned, gain) == ("2.00", "1.00", "2.0")
    assert len(errors) == 2
    records[1]["status"] = "missed"
    ((*_, tuned, gain, _, _),) = outcome_rows([search], records)
    assert (tuned, gain) == ("missed", DASH)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", "0"], "--trials must be at least 1, got 0"),
        (["--seconds", "-1"], "--seconds must be a finite number above 0, got -1.0"),
        (["--seconds", "inf"], "--seconds must be a finite number above 0, got inf"),
        (["--backend", "numpyy"], "numpyy"),
        (["--rank", "0"], "--rank must be at least 1, got 0"),
    ],
)
def test_wrong_options_are_named(words: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_named_at_once(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SystemExit):
        main(["--quick", "--backend", "numpy", "--output", str(tmp_path / "file")])
    assert "--output must be a folder that can be written to" in capsys.readouterr().err


@pytest.mark.load
@pytest.mark.process
def test_after_a_ctrl_c_what_was_done_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)

    def interrupted(backend: BackendRow, *_: Any) -> Search:
        if backend.name == "numpy":
            return Search(backend, [Trial(1, {}, [1.0])])
        raise KeyboardInterrupt

    monkeypatch.setattr(tune, "search", interrupted)
    words = ["--quick", "--scale", "0.005", "--rounds", "1", "--output", "out"]
    assert main([*words, "--backend", "numpy", "--backend", "numpy-als"]) == 130
    assert "interrupted: the backends that were done (1) are in out/" in capsys.readouterr().err
    (table,) = (tmp_path / "out").glob("*-numpy-numpy-als.csv")
    assert [line.split(",")[0] for line in table.read_text("utf-8").splitlines()] == [
        "backend",
        "numpy",
    ]
    (folder,) = (tmp_path / "reports" / "runs").iterdir()
    assert [record["backend"]["name"] for record in read_records([folder])] == ["numpy"]
    state = read_state(folder)
    assert state is not None
    assert not state.done


@pytest.mark.load
@pytest.mark.process
@pytest.mark.slow
def test_backends_are_tuned_measured_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    words = ["--quick", "--scale", "0.005", "--trials", "3", "--rounds", "1"]
    assert main([*words, "--backend", "numpy-als", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "| numpy-als | 3 |" in out
    (folder,) = (tmp_path / "reports" / "runs").iterdir()
    records = read_records([folder])
    names = [record["backend"]["name"] for record in records]
    assert sorted(names) in (["numpy-als"], ["numpy-als", "numpy-als (tuned)"])
    for record in records:
        assert record["status"] in ("matched", "missed")
        assert record["kind"] == "time to MSE" and record["tuning"]["trials"] == 3
    made = sorted(path.suffix for path in (tmp_path / "reports" / "tuning").iterdir())
    assert made == [".csv", ".json", ".md"]


def test_a_trial_that_starts_again_begins_with_the_epochs_that_it_took(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []

    class Answers:
        """A session whose fits take 7 epochs."""

        def __init__(self, *_: Any) -> None:
            pass

        def calibrate(self, first_epochs: int) -> Any:
            asked.append(first_epochs)
            trace = [{"epoch": 7, "seconds": 9.0, "validation_mse": 0.8}]
            return SimpleNamespace(status="callback", calibration={"epochs": 7, "trace": trace})

    monkeypatch.setattr(tune, "Session", Answers)
    monkeypatch.setattr(Setting, "start", lambda *_: contextlib.nullcontext())
    contender = Contender(row("numpy"), 1)
    setting = Setting(*[None] * 3, contender, Limits(), tmp_path, lambda text: None)  # type: ignore[arg-type]
    found = tune.search(row("numpy"), setting, 2, lambda text: None)
    # Two trials, then both again: once, since they take long.
    assert asked == [1, 1, 7, 7]
    assert [trial.times for trial in found.trials] == [[9.0, 9.0], [9.0, 9.0]]


def test_only_trials_leave_the_case_unmeasured(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Search(row("numpy"), [Trial(1, {}, [2.0], 0.9), Trial(2, {"reg": 0.1}, [1.0], 0.8)])
    (cells,) = tune.outcome_rows([found], [])
    assert cells[:6] == ["numpy", "2", "0", "reg=0.1", "2.00 s", "1.00 s"]
    assert cells[6:] == [DASH] * 5
    tables = tune.Tables(tmp_path, "stem", "command", 90.0, "key")
    text = tables.write(case, [found], [])
    assert "given up after 90 s of training" in text
    assert "measured on the case itself" not in text and "as it was" not in text
    assert "| numpy | 2 | 0 | reg=0.1 | 2.00 s | 1.00 s |\n" in text
    chosen = read_tuned(tmp_path / "stem.json")
    assert chosen.case == case.facts["name"]
    assert chosen.backends["numpy"].tuning["params"] == {"reg": 0.1}
    assert chosen.backends["numpy"].tuning["most_seconds"] == 90.0


def test_the_same_command_goes_on_after_what_is_done(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = make_trials(get_backend("numpy").search_space, 2)
    trials[0].times, trials[0].mse, trials[0].ended = [2.0], 0.9, "callback"
    trials[1].ended = "crashed: x"
    found = Search(row("numpy"), trials, 7.0)
    tables = tune.Tables(tmp_path, "stem", "command", 90.0, "key")
    rows = [row("numpy"), row("numpy-als")]
    assert tables.stored(rows) == {}
    tables.write(case, [found], [])
    assert tables.stored(rows) == {"numpy": found}
    assert tune.Tables(tmp_path, "stem", "command", 90.0, "another key").stored(rows) == {}
    assert tables.stored(rows[1:]) == {}
    space = type(get_backend("numpy")).search_space
    with monkeypatch.context() as patched:
        patched.setitem(space, "reg", (0.01, 0.2))
        assert tables.stored(rows) == {}, "trials of another space"
    trials[0].ended = "unavailable: y"
    tables.write(case, [found], [])
    assert tables.stored(rows) == {}, "no trial could run"
    (tmp_path / "stem.json").write_text("{")
    assert tables.stored(rows) == {}


def test_only_what_is_not_done_is_searched_for(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = Search(row("numpy"), [Trial(1, {}, [2.0], 0.9)], 7.0)
    tables = tune.Tables(tmp_path, "stem", "command", 90.0, "key")
    tables.write(case, [done], [])
    searched: list[str] = []

    def search(backend: BackendRow, *_: Any) -> Search:
        searched.append(backend.name)
        return Search(backend, [Trial(1, {}, [1.0], 0.8)], 3.0)

    monkeypatch.setattr(tune, "search", search)
    inner = inner_case(case, lambda text: None)
    folder: Any = SimpleNamespace(work=tmp_path, path=tmp_path)
    text = tune.tune(
        case,
        inner,
        [row("numpy"), row("numpy-als")],
        Selection(),
        folder,
        tables,
        n_trials=1,
        most_seconds=90.0,
        only_trials=True,
    )
    assert searched == ["numpy-als"]
    assert "| numpy | 1 | 7 |" in text and "| numpy-als | 1 | 3 |" in text
    assert set(read_tuned(tmp_path / "stem.json").backends) == {"numpy", "numpy-als"}
