"""The duel: contenders, refused arguments, verdicts on records, and one real command line."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT

from backends import BackendUnavailable, UnknownBackend
from bench import duel
from bench.cases.case import Case
from bench.duel import contender, fight, main, verdicts
from bench.measure.run_folder import SameFile, open_run
from bench.measure.turns import CodeChanged
from bench.options import Selection
from bench.records import Record, read_records
from bench.stats import ratio, summary
from bench.text.wording import number
from tests.fake_records import fake_record

TINY = [
    "numpy-als",
    "numpy-als",
    "--scale",
    "0.01",
    "--rank",
    "4",
    "--reg",
    "0.14",
    "--rounds",
    "2",
    "--seeds",
    "2",
]
TINY += ["--threads", "1"]
INTERRUPTED = "interrupted: nothing was measured\n"
STABLE = [1.0, 1.01, 0.99, 1.005, 0.995, 1.0]


def record(name: str, seconds: list[float], **overrides: Any) -> Record:
    """A record of a duel with two seeds that took turns."""
    made = fake_record(
        "numpy-als", seconds=seconds, order="interleaved", **{"seeds": [0, 1], **overrides}
    )
    made["backend"]["name"] = name
    for row in made["rounds"]:
        row["seed"] = row["round"] % 2
    return made


def one_seed(name: str, seconds: list[float]) -> Record:
    """The same with one seed."""
    made = record(name, seconds)
    made["seeds"] = [0]
    for row in made["rounds"]:
        row["seed"] = 0
    return made


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a duel with these words says, as it ends with status 2."""
    with pytest.raises(SystemExit) as end:
        main(list(words))
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.partition("python -m bench.duel: error: ")[2].removesuffix("\n")


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fail where anything is loaded or measured; run in an empty folder."""

    def unexpected(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was loaded or measured")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Selection, "build_case", unexpected)
    monkeypatch.setattr(duel, "fight", unexpected)


@pytest.fixture
def fought(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Build no case, and record how a fight would be fought; run in an empty folder."""
    calls: list[Any] = []

    def pretended(
        case: Case, contenders: Any, selection: Selection, folder: Any, command: str
    ) -> list[Record]:
        calls.append((contenders, selection, command))
        return [record(contender.label, STABLE) for contender in contenders]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Selection, "build_case", lambda *_: None)
    monkeypatch.setattr(duel, "fight", pretended)
    return calls


# ---- contenders ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name", "params", "label"),
    [
        ("numba-sgd", "numba-sgd", {}, "numba-sgd"),
        ("numpy:", "numpy", {}, "numpy"),
        (
            "numba-sgd:learning_rate=0.1,n_jobs=1",
            "numba-sgd",
            {"learning_rate": 0.1, "n_jobs": 1},
            "numba-sgd:learning_rate=0.1,n_jobs=1",
        ),
        (
            "numpy: reg = .1 , init_scale=3,",
            "numpy",
            {"reg": 0.1, "init_scale": 3},
            "numpy:reg=0.1,init_scale=3",
        ),
        ("numpy:dtype=float64", "numpy", {"dtype": "float64"}, "numpy:dtype=float64"),
        ("numpy:dtype='float64'", "numpy", {"dtype": "float64"}, "numpy:dtype=float64"),
        (
            "numpy:bias=False,n_jobs=None",
            "numpy",
            {"bias": False, "n_jobs": None},
            "numpy:bias=False,n_jobs=None",
        ),
        ("numpy:reg=1e-3", "numpy", {"reg": 0.001}, "numpy:reg=0.001"),
        ("numpy:preset=article", "numpy", {"preset": "article"}, "numpy:preset=article"),
    ],
)
def test_a_contender_is_a_name_and_python_literals(
    text: str, name: str, params: dict[str, Any], label: str
) -> None:
    found = contender(text, 2)
    own = {key: value for key, value in params.items() if key not in ("dtype", "n_jobs")}
    assert (found.row.name, found.label) == (name, label)
    assert found.params == own
    assert [type(value) for value in found.params.values()] == [
        type(value) for value in own.values()
    ]
    assert (found.threads, found.dtype) == (
        params.get("n_jobs") or 2,
        params.get("dtype", "float32"),
    )
    assert found.row.available
    assert found.row.algorithm


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("numpi", "no backend is named 'numpi'; did you mean 'numpy'? Known: cmfrec-als, "),
        ("", "no backend is named ''. Known: cmfrec-als, "),
        (":reg=0.1", "no backend is named ''. Known: cmfrec-als, "),
        ("numpy-als:momentum=0.9", "NumpyALS has no parameter 'momentum'; it has rank, reg, "),
        ("numpy:=1", "NumpyGD has no parameter ''; it has rank, reg, "),
        ("numpy:reg", "a contender's hyper-parameters must be name=value, got 'reg' in 'numpy:"),
        (
            "numpy:rank=3,reg",
            "a contender's hyper-parameters must be name=value, got 'reg' in 'numpy:rank=3,reg'",
        ),
        (
            "numpy:reg=(1,2)",
            "a contender's hyper-parameters must be name=value, got '2)' in 'numpy:reg=(1,2)'",
        ),
        (
            "numpy:name=1",
            "a contender's backend must be named before the colon, got name= in 'numpy:name=1'",
        ),
        ("numpy:reg=much", "reg must be a finite number of at least 0, got 'much'"),
        ("numpy:reg=", "reg must be a finite number of at least 0, got ''"),
        # To Python this is a TypeError.
        ("numpy:reg={[]:1}", "reg must be a finite number of at least 0, got '{[]:1}'"),
        (
            "numpy:reg=__import__('os')",
            "reg must be a finite number of at least 0, got \"__import__('os')\"",
        ),
        ("numpy:n_jobs=0", "n_jobs must be None or an integer of at least 1, got 0"),
        ("numpy:n_jobs=1.5", "n_jobs must be None or an integer of at least 1, got 1.5"),
        ("numpy:preset=none", "backend 'numpy' has no preset 'none'; it has 'article'"),
        ("numpy:n_jobs=many", "n_jobs must be None or an integer of at least 1, got 'many'"),
        (
            "numpy:reg=1,reg=2",
            "a contender's hyper-parameters must be given once each, got reg= twice in 'numpy:reg",
        ),
        (
            "numpy:reg=1, reg =1",
            "a contender's hyper-parameters must be given once each, got reg= twice in 'numpy:reg",
        ),
    ],
)
@pytest.mark.usefixtures("never")
def test_what_is_not_a_contender_is_refused(
    capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    with pytest.raises(UnknownBackend if said.startswith("no backend") else ValueError) as error:
        contender(text, 1)
    assert str(error.value).startswith(said)
    assert refused(capsys, "numpy", text) == str(error.value)


@pytest.mark.usefixtures("never")
def test_a_contender_that_cannot_run_here_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    said = "backend 'numba-sgd' is not available here: NUMBA_DISABLE_JIT is set, "
    with pytest.raises(BackendUnavailable) as error:
        contender("numba-sgd", 1)
    assert str(error.value).startswith(said)
    assert refused(capsys, "numpy", "numba-sgd") == str(error.value)


def test_contenders_of_one_text_are_told_apart() -> None:
    texts = ("numpy", "numpy-als", "numpy", "numpy", "numpy:reg=.1", "numpy: reg=0.10")
    labels = [named.label for named in duel._numbered([contender(text, 1) for text in texts])]
    assert labels == [
        "numpy (1)",
        "numpy-als",
        "numpy (2)",
        "numpy (3)",
        "numpy:reg=0.1 (1)",
        "numpy:reg=0.1 (2)",
    ]


# ---- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--rounds", "0"], "--rounds must be at least 1, got 0"),
        (
            ["--threads", "100000"],
            f"--threads must be at most {Selection().budget}, the number of available cores; "
            "got 100000",
        ),
        (
            ["--scale", "0.5", "--dataset", "ml-100k"],
            "--scale is the size of the twin and cannot be used with other data",
        ),
        (["--rank", "two"], "argument --rank: invalid int value: 'two'"),
        (["--backend", "numpy"], "unrecognized arguments: --backend numpy"),
    ],
)
@pytest.mark.usefixtures("never")
def test_options_that_make_no_sense_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert refused(capsys, "numpy", "numpy", *words) == said
    assert list(Path().iterdir()) == []


@pytest.mark.usefixtures("never")
def test_contenders_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys) == "the following arguments are required: BACKEND"


def test_missing_data_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "numpy", "--ratings", "nothing.csv") == "there is no file nothing.csv"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("fought")
def test_a_folder_that_cannot_be_made_is_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "reports").write_text("in the way")
    said = refused(capsys, "numpy", "numpy")
    assert said.startswith(f"records cannot be written to {tmp_path / 'reports' / 'runs'} ([Errno ")


def test_a_duel_has_five_seeds_unless_asked_for_others(fought: list[Any]) -> None:
    for words in ([], ["--quick"], ["--seeds", "1"], ["--seed", "4", "--seeds", "2"]):
        assert main(["numpy", "numpy:reg=0.1", *words]) == 0
    assert [selection.fit_seeds for _, selection, _ in fought] == [
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
        [0],
        [4, 5],
    ]
    assert [contender.label for contender in fought[0][0]] == ["numpy", "numpy:reg=0.1"]


def test_the_command_that_is_kept_is_the_one_that_was_typed(
    fought: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["numpy", "numpy:reg=0.1", "--split", "by time"])
    assert fought[0][2] == "python -m bench.duel numpy numpy:reg=0.1 --split 'by time'"
    (run,) = Path("reports/runs").iterdir()
    state = json.loads((run / "run.state").read_text("utf-8"))
    assert (state["command"], state["done"]) == (fought[0][2], True)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Records: {run} (python -m bench.report --input {run})"


def test_the_status_is_1_if_any_contender_did_not_match(
    fought: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["numpy", "numpy"]) == 0
    pair = [record("a", STABLE), fake_record("numpy", status="diverged")]
    monkeypatch.setattr(duel, "fight", lambda *_: pair)
    assert main(["numpy", "numpy"]) == 1


@pytest.mark.usefixtures("fought")
def test_a_finished_duel_is_not_continued() -> None:
    main(["numpy", "numpy"])
    (first,) = Path("reports/runs").iterdir()
    before = (first / "run.state").stat().st_mtime_ns
    main(["numpy", "numpy"])
    assert len(list(Path("reports/runs").iterdir())) == 2
    assert (first / "run.state").stat().st_mtime_ns == before


@pytest.mark.usefixtures("fought")
@pytest.mark.parametrize(
    "error", [OSError("no room"), CodeChanged("code changed"), SameFile("two backends would")]
)
def test_a_duel_that_cannot_go_on_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def ends(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(duel, "fight", ends)
    assert main(["numpy", "numpy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: the duel is not done")
    assert str(error) in line


@pytest.mark.usefixtures("fought")
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_duel_that_is_cut_off_is_unfinished_and_frees_its_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[BaseException]
) -> None:
    def cut_off(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(duel, "fight", cut_off)
    if error is KeyboardInterrupt:
        assert main(["numpy", "numpy"]) == 130
        assert capsys.readouterr() == ("", INTERRUPTED)
    else:
        with pytest.raises(error):
            main(["numpy", "numpy"])
    folder = open_run("python -m bench.duel numpy numpy")
    assert folder.continued
    folder.close()


def test_a_duel_that_is_interrupted_while_its_case_is_built_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def build(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Selection, "build_case", build)
    assert main(["numpy", "numpy"]) == 130
    assert capsys.readouterr() == ("", INTERRUPTED)
    assert list(tmp_path.iterdir()) == []


# ---- verdicts -----------------------------------------------------------------------------------


def test_the_faster_is_named_with_its_factor_and_interval() -> None:
    slow, fast = record("slow", [2 * value for value in STABLE[::-1]]), record("fast", STABLE)
    low, high = ratio(slow["rounds"], fast["rounds"], paired=True).interval or (0, 0)
    for pair in ([slow, fast], [fast, slow]):
        assert verdicts(pair) == [
            "fast: 1.00 s to the matching MSE, median of 2 seeds, 6 rounds",
            "slow: 2.00 s to the matching MSE, median of 2 seeds, 6 rounds",
            f"fast is 2.00 times as fast as slow (95 %: {low:.2f} to {high:.2f})",
        ]
    assert 1 < low < 2 < high < 3  # two seeds are few


def test_no_difference_comes_with_the_seeds_that_would_tell() -> None:
    noisy = [1.0, 1.04, 0.96, 1.03, 0.98, 1.0]
    pair = [record("a", noisy), record("b", [1.001 * value for value in noisy[::-1]])]
    fast, slow = sorted(pair, key=lambda record: summary(record["rounds"]) or 0.0)
    found = ratio(slow["rounds"], fast["rounds"], paired=True)
    assert found.interval is not None
    low, high = found.interval
    names = [record["backend"]["name"] for record in (fast, slow)]
    assert verdicts(pair)[2] == (
        f"{names[0]} against {names[1]}: no difference can be detected at this noise "
        f"(ratio {found.value:.2f}, 95 %: {number(low)} to {number(high)}); "
        f"about {found.seeds_to_detect} seeds with 3 rounds each would detect a difference of 5 %"
    )
    assert found.seeds_to_detect is not None
    assert 2 < found.seeds_to_detect < 100


def test_what_slows_a_block_does_not_blur_the_verdict() -> None:
    """Every other block was slowed to half its speed, for both: only pairs tell them apart."""
    blocks = [1.0, 2.0, 2.0, 1.0, 1.0, 2.0]
    said = verdicts([record("a", blocks), record("b", [1.05 * value for value in blocks])])
    assert said[2] == "a is 1.05 times as fast as b (95 %: 1.05 to 1.05)"


@pytest.mark.parametrize("seconds", [[1.0], [1.0] * 20])
def test_one_seed_tells_nothing_however_many_its_rounds(seconds: list[float]) -> None:
    lines = verdicts([one_seed("a", seconds), one_seed("b", [3 * value for value in seconds])])
    count = "one round" if len(seconds) == 1 else "median of 20 rounds"
    assert lines[0] == f"a: 1.00 s to the matching MSE, {count}"
    assert lines[2] == (
        "a against b: ratio 3.00, but one seed is not enough to judge; "
        "use at least 2, better 5 (--seeds)"
    )


def test_few_rounds_are_a_warning() -> None:
    lines = verdicts([record("a", STABLE), record("b", STABLE[:3])])
    assert lines[-1] == "b: 3 rounds are too few to estimate the noise"


def test_three_contenders_are_compared_in_pairs_fastest_first() -> None:
    three = [
        record(name, [factor * value for value in STABLE])
        for name, factor in (("c", 4.0), ("a", 1.0), ("b", 2.0))
    ]
    assert [line.partition(" (")[0] for line in verdicts(three)[3:]] == [
        "a is 2.00 times as fast as b",
        "a is 4.00 times as fast as c",
        "b is 2.00 times as fast as c",
    ]


def test_contenders_that_did_not_match_are_named_but_not_compared() -> None:
    lost = record(
        "lost", STABLE, status="missed", reason="2 of 6 timed rounds missed; MSE up to 0.9000"
    )
    gone = record("gone", [], status="unavailable", reason="no such device")
    assert verdicts([lost, record("won", STABLE), gone]) == [
        "won: 1.00 s to the matching MSE, median of 2 seeds, 6 rounds",
        "lost: missed: 2 of 6 timed rounds missed; MSE up to 0.9000",
        "gone: unavailable: no such device",
    ]
    assert verdicts([]) == []


def test_instability_is_reported_last_for_each_that_matched() -> None:
    rough = record("rough", [1.0, 1.0, 1.0, 1.9, 1.0, 1.0], environment={"governor": "powersave"})
    lost = record("lost", [1.0, 9.0], status="missed", reason="it missed")
    assert verdicts([rough, lost]) == [
        "rough: 1.00 s to the matching MSE, median of 2 seeds, 6 rounds",
        "lost: missed: it missed",
        "rough: 1 of 6 rounds took over 1.5 times the median",
        "rough: the frequency governor is powersave, so the clock rate may change",
    ]


def test_seeds_are_counted() -> None:
    several = record("several", STABLE)
    for row in several["rounds"]:
        row["seed"] = row["round"] % 3
    (line,) = verdicts([several])
    assert line == "several: 1.00 s to the matching MSE, median of 3 seeds, 6 rounds"


def test_control_characters_do_no_harm_in_a_terminal() -> None:
    evil = record("a\x1b[2J\rb", STABLE)
    lost = record("c", [], status="crashed", reason="first\nsecond\x07\u202e")
    said = verdicts([evil, lost])
    assert said[0].startswith("a [2J b: 1.00 s")
    assert said[1] == "c: crashed: first second  "
    assert all(line.isprintable() for line in said)


# ---- fights -------------------------------------------------------------------------------------


@pytest.mark.process
def test_a_fight_measures_what_was_asked_for(case: Case, tmp_path: Path) -> None:
    """A contender's own threads and precision are recorded; one that names none gets the budget."""
    texts = ["numpy-als:n_jobs=None,dtype=float64", "numpy-als:reg=0.04", "numpy-als"]
    folder = open_run("typed", tmp_path)
    try:
        selection = Selection(seed=5, seeds=1, rounds=1, threads=1)
        records = fight(case, [contender(text, 1) for text in texts], selection, folder, "typed")
    finally:
        folder.close()
    assert [(record["backend"]["name"], record["backend"]["params"]) for record in records] == [
        ("numpy-als:n_jobs=None,dtype=float64", {}),
        ("numpy-als:reg=0.04", {"reg": 0.04}),
        ("numpy-als", {}),
    ]
    assert [record["backend"]["dtype"] for record in records] == ["float64", "float32", "float32"]
    assert [record["backend"]["threads"] for record in records] == [1, 1, 1]
    assert [record["status"] for record in records] == ["matched"] * 3
    assert {(record["order"], record["run"], record["command"]) for record in records} == {
        ("interleaved", folder.path.name, "typed")
    }
    assert [[(each["round"], each["seed"]) for each in record["rounds"]] for record in records] == [
        [(0, 5)]
    ] * 3
    objectives = [record["rounds"][0]["objective"] for record in records]
    assert len(set(objectives)) == 3  # each fitted with what it asked for
    stored = {record["backend"]["name"]: record for record in read_records([folder.path])}
    assert stored == {record["backend"]["name"]: record for record in records}


@pytest.mark.process
@pytest.mark.usefixtures("case")  # whose reference is in the cache
def test_a_duel_from_the_command_line(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}

    def typed(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", *words],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = typed("bench.duel", *TINY).splitlines()
    (run,) = (tmp_path / "reports" / "runs").iterdir()
    assert len(list(run.glob("*.json"))) == 2
    assert not (run / "work").exists()
    first, second = sorted(read_records([run]), key=lambda record: record["backend"]["name"])
    assert [record["backend"]["name"] for record in (first, second)] == [
        "numpy-als (1)",
        "numpy-als (2)",
    ]
    for record in (first, second):
        assert (record["status"], record["order"], record["kind"]) == (
            "matched",
            "interleaved",
            "time to MSE",
        )
        assert [(each["round"], each["seed"]) for each in record["rounds"]] == [
            (0, 0),
            (1, 0),
            (2, 1),
            (3, 1),
        ]
        assert (record["seeds"], record["backend"]["threads"], record["rungs"]) == ([0, 1], 1, [])
        assert record["cold"] == []
        assert record["command"] == " ".join(["python -m bench.duel", *TINY])
    # The same work in both: what differs is time alone.
    work = [[each["validation_mse"] for each in record["rounds"]] for record in (first, second)]
    assert work[0] == work[1]
    assert sum("to the matching MSE, median of 2 seeds, 4 rounds" in line for line in said) == 2
    assert any(" against " in line or " times as fast as " in line for line in said)
    folder = f"reports/runs/{run.name}"
    assert said[-1] == f"Records: {folder} (python -m bench.report --input {folder})"

    report = typed("bench.report", "--input", f"reports/runs/{run.name}", "--output", "told")
    assert "numpy-als (1)" in report
    assert "numpy-als (2)" in (tmp_path / "told" / "index.html").read_text("utf-8")


@pytest.mark.load
@pytest.mark.process
@pytest.mark.usefixtures("case")  # whose reference is in the cache
@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="looks into /proc for workers that stayed behind"
)
def test_a_duel_that_is_interrupted_leaves_nothing_behind(tmp_path: Path) -> None:
    # Rounds and seeds: enough time to interrupt it.
    words = [word if word != "2" else "40" for word in TINY]
    # A process in the background was told to ignore SIGINT.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from bench.duel import main; sys.exit(main())"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code, *words], cwd=tmp_path, env=env, **pipes)
    try:
        deadline = time.monotonic() + 300
        while (
            not (workers := children(process.pid))
            and process.poll() is None
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert workers
    assert (process.returncode, output, errors) == (130, "", INTERRUPTED)
    # A worker that had only begun to start ends by itself: its requests end.
    deadline = time.monotonic() + 300
    while (left := [pid for pid in workers if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == []
    (run,) = (tmp_path / "reports" / "runs").iterdir()
    assert {path.name for path in run.iterdir()} <= {"run.state", "run.lock"}
    again = open_run(
        shlex.join(["python", "-m", "bench.duel", *words]), tmp_path / "reports" / "runs"
    )
    assert (again.path, again.continued) == (run, True)
    again.close()


def alive(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid: int) -> list[str]:
    """Workers of a process; what else it starts is over in a moment."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    workers = []
    for child in found:
        with contextlib.suppress(OSError):
            if b"bench.measure.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                workers.append(child)
    return workers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "numpy:epochs=3",
            "a contender cannot have its own epochs=, got 'numpy:epochs=3': its calibration finds",
        ),
        (
            "numpy:rank=3",
            "a contender cannot have its own rank=, got 'numpy:rank=3': all contenders share",
        ),
        ("numpy:n_jobs=4096", "the number of cores; got 'numpy:n_jobs=4096'"),
    ],
)
def test_what_the_duel_itself_decides_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        contender(text, 1)
