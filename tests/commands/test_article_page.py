"""``python -m bench.article``: the descent, the wrong pairs and the page."""

from __future__ import annotations

import ast
import html
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from fake_records import fake_score
from test_article import EXACT, ITEMS, RATINGS, TRAIN_MSE, USERS, start

from backends import BackendUnavailable, Objective, Parameters, Ratings, get_backend
from bench.article.__main__ import main
from bench.article.data import ArticleData, prepare
from bench.article.figure import draw
from bench.article.literal import literal_gradient
from bench.article.page import write_page
from bench.article.results import PUBLISHED
from bench.article.run import follow
from bench.article.tables import comparison, summary
from bench.cases.targets import DAMPINGS
from bench.datasets import DatasetError, RawRatings, anime_twin, permutation, read_ratings

NASTY = "<script>alert(1)<&{{ 7 * 7 }}$x$.csv"  # a file may have such a name
RAW = RawRatings(np.array(USERS), np.array(ITEMS), np.array(RATINGS, dtype=np.float64))


def worked_example() -> ArticleData:
    """All thirteen rows as training rows, in their own order, and as validation rows."""
    train = Ratings.from_arrays(USERS, ITEMS, RATINGS)
    rows = Ratings(train.users, train.items, train.ratings)
    return ArticleData(rows, rows, rows, prepare("worked example", RAW, 0).facts)


def small_file(folder: Path, name: str = "rating.csv", scale: float = 0.005) -> Path:
    """Write a file laid out as Kaggle's, with rows without a rating and a pair rated twice."""
    raw = anime_twin(scale, seed=1)
    table = pd.DataFrame(
        {"user_id": raw.users, "anime_id": raw.items, "rating": raw.ratings.astype(int)}
    )
    unrated = table[:30].assign(rating=-1)
    path = folder / name
    pd.concat([table, table[-1:], unrated]).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run on a file with a nasty name."""
    folder = tmp_path_factory.mktemp("article")
    source = small_file(folder, NASTY)
    assert (
        main(["--ratings", str(source), "--iterations", "110", "--output", str(folder / "out")])
        == 0
    )
    return folder / "out"


@pytest.fixture(scope="module")
def results(output: Path) -> Any:
    return json.loads((output / "results.json").read_text("utf-8"))


# ---- the descent --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy", "numba-gd", "torch-cpu-gd"])
def test_the_curve_is_the_worked_example_s(name: str) -> None:
    if name != "numpy":
        pytest.importorskip(name.split("-")[0])
    solver = get_backend(
        name, preset="article", reg=0.0, learning_rate=0.01, dtype="float64", n_jobs=1
    )
    told: list[Any] = []
    curve = follow(solver, worked_example(), 200, start(), on_point=told.append)
    assert told == curve
    assert [point["iteration"] for point in curve] == [0, 50, 100, 150, 200]
    found = {point["iteration"]: point["train_mse"] for point in curve[1:]}
    assert found == pytest.approx(TRAIN_MSE, abs=EXACT, rel=0)
    assert [point["validation_mse"] for point in curve] == [point["train_mse"] for point in curve]


def test_the_article_s_own_steps_give_the_worked_example() -> None:
    train, initial = worked_example().train, start()
    frame = pd.DataFrame({"user_id": train.users, "anime_id": train.items, "rating": train.ratings})
    p, q = initial.user_factors, initial.item_factors
    v_p, v_q = literal_gradient(frame, p, q, 0.0)
    for iteration in range(1, 201):
        g_p, g_q = literal_gradient(frame, p, q, 0.0)
        v_p, v_q = 0.9 * v_p + 0.1 * g_p, 0.9 * v_q + 0.1 * g_q
        p, q = p - 0.01 * v_p, q - 0.01 * v_q
        if iteration in TRAIN_MSE:
            residual = train.ratings - np.einsum("nk,nk->n", p[train.users], q[train.items])
            assert np.mean(residual**2) == pytest.approx(TRAIN_MSE[iteration], abs=EXACT, rel=0)


def test_the_article_s_gradient_is_that_of_the_objective() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.permutation(20 * 15)[:120]
    train = Ratings.from_arrays(pairs // 15, pairs % 15, rng.integers(1, 11, 120))
    at = Parameters(
        0.0,
        np.zeros(train.n_users),
        np.zeros(train.n_items),
        rng.random((train.n_users, 3)),
        rng.random((15, 3)),
    )
    frame = pd.DataFrame({"user_id": train.users, "anime_id": train.items, "rating": train.ratings})
    ours = get_backend("numpy", preset="article").objective.gradient(at, train)
    user_gradient, item_gradient = literal_gradient(frame, at.user_factors, at.item_factors, 2e-4)
    np.testing.assert_allclose(user_gradient, ours.user_factors, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(item_gradient, ours.item_factors, rtol=1e-12, atol=1e-15)


def test_the_curve_ends_at_the_last_iteration() -> None:
    solver = get_backend("numpy", preset="article", reg=0.0, learning_rate=0.01, n_jobs=1)
    assert [point["iteration"] for point in follow(solver, worked_example(), 53, start())] == [
        0,
        50,
        53,
    ]


def test_too_long_a_step_is_an_error_that_says_so() -> None:
    solver = get_backend("numpy", preset="article", learning_rate=100.0, n_jobs=1)
    message = (
        r"NumpyGD diverges on worked example \(13 training ratings\) in epoch \d+: "
        ".* give more ratings"
    )
    with pytest.raises(DatasetError, match=message):
        follow(solver, worked_example(), 50, start())


def test_an_interrupt_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.article.run.mean_squared_error", interrupted)
    assert main(["--scale", "0.001", "--iterations", "60", "--output", str(tmp_path)]) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_fit_is_not_shown_as_a_whole_one() -> None:
    def interrupt(point: Any) -> None:
        if point["iteration"] == 50:
            raise KeyboardInterrupt

    solver = get_backend("numpy", preset="article", reg=0.0, learning_rate=0.01, n_jobs=1)
    with pytest.raises(KeyboardInterrupt):
        follow(solver, worked_example(), 100, start(), on_point=interrupt)


# ---- the split and the two encodings ------------------------------------------------------------


def encode_column(column: pd.Series) -> tuple[dict[Any, int], list[int]]:
    """The notebooks' encoding, in plain Python: rows by first appearance."""
    rows = {key: row for row, key in enumerate(column.unique())}
    return rows, [rows[key] for key in column]


@pytest.mark.parametrize("seed", [0, 1])
def test_both_encodings_are_the_notebooks(seed: int) -> None:
    raw = anime_twin(0.002, seed=seed)
    table = pd.DataFrame({"user": raw.users, "item": raw.items, "rating": raw.ratings}).iloc[
        permutation(len(raw.ratings), seed)
    ]
    n_train = len(table) - round(0.2 * len(table))
    train, held_out = table[:n_train].copy(), table[n_train:]
    data, kept = prepare("twin", raw, seed), {}
    for times in (1, 2):
        maps = {}
        for name in ("user", "item"):
            maps[name], train[name] = encode_column(train[name])
        seen = held_out[
            held_out["user"].isin(maps["user"].keys()) & held_out["item"].isin(maps["item"].keys())
        ]
        kept[times] = np.array(
            [seen["user"].map(maps["user"]), seen["item"].map(maps["item"]), seen["rating"]]
        )
    np.testing.assert_array_equal(
        [data.train.users, data.train.items, data.train.ratings], train.to_numpy().T
    )
    for times, ours in ((1, data.validation), (2, data.twice)):
        np.testing.assert_array_equal([ours.users, ours.items, ours.ratings], kept[times])
    assert (
        data.facts["n_validation"] == len(kept[1].T) > data.facts["n_twice"] == len(kept[2].T) > 0
    )


def test_training_rows_get_their_numbers_in_random_order() -> None:
    raw = anime_twin(0.005, seed=0)
    data = prepare("twin", raw, seed=0)
    facts = data.facts
    assert facts["n_train"] + facts["n_held_out"] == facts["n_ratings"] == len(raw.ratings)
    assert facts["n_held_out"] == round(0.2 * facts["n_ratings"])
    assert facts["n_train"] == len(data.train)
    assert (
        0
        < facts["n_twice"]
        < 0.8 * facts["n_validation"]
        < facts["n_validation"]
        <= facts["n_held_out"]
    )
    first = np.unique(data.train.users, return_index=True)[1]
    assert (np.diff(first) > 0).all()  # row numbers by first appearance
    # In the order of the file, counts would rise with the raw id, and a wrong user would neighbour
    # the right one.
    counts = data.train.user_counts()
    assert counts[: len(counts) // 10].mean() > 2 * counts[-(len(counts) // 10) :].mean()


def test_the_example_on_the_page_is_a_pair_that_is_really_mistaken() -> None:
    raw = anime_twin(0.005, seed=0)
    example = prepare("twin", raw, seed=0).facts["mistaken"]
    assert example is not None
    pair = (raw.users == int(example["user"])) & (raw.items == int(example["item"]))
    assert pair.sum() == 1
    assert example["user"] != example["taken_user"]
    assert example["item"] != example["taken_item"]


@pytest.mark.draws
def test_ids_that_are_no_numbers_leave_no_wrong_pair(tmp_path: Path, capsys: Any) -> None:
    raw = anime_twin(0.002, seed=0)
    table = pd.DataFrame({"user": raw.users, "item": raw.items, "rating": raw.ratings})
    table["user"] = "u" + table["user"].astype(str)
    path = tmp_path / "named.csv"
    table.to_csv(path, index=False)
    out = tmp_path / "out"
    assert main(["--ratings", str(path), "--iterations", "1", "--output", str(out)]) == 0
    assert "0 of " in capsys.readouterr().out
    assert "No row is left" in (out / "index.html").read_text("utf-8")
    stored = json.loads((out / "results.json").read_text("utf-8"))
    assert stored["data"]["mistaken"] is None
    assert {point["twice_mse"] for point in stored["curve"]} == {None}


def test_no_validation_rating_left_is_an_error() -> None:
    lonely = RawRatings(np.arange(10), np.arange(10), np.ones(10))
    with pytest.raises(
        DatasetError,
        match="none of the 2 validation ratings has a user and an item of the 8 training",
    ):
        prepare("lonely", lonely, 0)


# ---- the command --------------------------------------------------------------------------------


@pytest.mark.draws
def test_writes_every_file_and_nothing_else(output: Path) -> None:
    assert {path.name for path in output.iterdir()} == {
        "index.html",
        "article.svg",
        "article.png",
        "results.json",
    }
    ElementTree.fromstring((output / "article.svg").read_bytes())
    assert (output / "article.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_rows_that_are_not_used_are_counted(results: Any) -> None:
    assert set(results["data"]["dropped"].values()) == {30, 1}
    assert results["data"]["n_ratings"] == len(anime_twin(0.005, seed=1).ratings)


def test_the_results_hold_what_the_page_claims(results: Any) -> None:
    assert [point["iteration"] for point in results["curve"]] == [0, 50, 100, 110]
    assert results["descent"]["epochs"] == 110
    assert results["minimum"]["objective"] < results["minimum"]["objective_of_descent"]
    assert results["ours"]["validation_mse"] < results["constant"]["validation_mse"]
    assert results["biases"]["validation_mse"] < results["constant"]["validation_mse"]
    assert {results["biases"]["user_damping"], results["biases"]["item_damping"]} < set(DAMPINGS)
    assert results["ours"]["solver"]["reg"] == Objective().reg  # the solver's default
    assert results["descent"]["reg"] == 2e-4
    assert results["curve"][-1]["twice_mse"] > 2 * results["curve"][-1]["validation_mse"]
    assert results["minimum"]["pull"] == pytest.approx(2e-4 * results["data"]["n_train"])
    assert results["environment"]["packages"]["numpy"] == np.__version__


@pytest.mark.draws
def test_what_cannot_be_read_of_a_machine_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Any
) -> None:
    """No wheel has a git checkout; a long run must not be lost for that."""
    figure = draw(results, PUBLISHED)  # it knows nothing of the machine: one does for all pages
    monkeypatch.setattr("bench.article.page.draw", lambda *_: figure)
    everything = write_page(results, tmp_path / "all", "command", 1.0).read_text("utf-8")
    assert results["environment"]["python"] in everything
    for name in (*results["environment"], "all of them"):
        facts = dict(results["environment"])
        facts |= dict.fromkeys(facts) if name == "all of them" else {name: None}
        page = write_page({**results, "environment": facts}, tmp_path / name, "command", 1.0)
        assert "None" not in page.read_text("utf-8").partition("<h3>Environment</h3>")[2], name


@pytest.mark.draws
def test_numpy_is_enough_where_nothing_else_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Any
) -> None:
    def only_numpy(name: str, **options: Any) -> Any:
        if not name.startswith("numpy"):
            raise BackendUnavailable(name)
        return get_backend(name, **options)

    monkeypatch.setattr("bench.article.run.get_backend", only_numpy)
    source = small_file(tmp_path)
    assert (
        main(["--ratings", str(source), "--iterations", "50", "--output", str(tmp_path / "out")])
        == 0
    )
    stored = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert stored["descent"]["backend"] == stored["ours"]["solver"]["backend"] == "numpy"
    assert stored["curve"][1]["train_mse"] == pytest.approx(
        results["curve"][1]["train_mse"], rel=1e-9
    )
    assert "get_backend(&#34;numpy&#34;, rank=16" in (tmp_path / "out" / "index.html").read_text(
        "utf-8"
    )


def test_the_comparison_is_at_the_published_iterations(results: Any) -> None:
    assert comparison(results) == results["comparison"]
    first, second = results["comparison"]
    assert (first["iteration"], first["published"], second["iteration"]) == (50, 16.0794, 100)
    assert first["absolute"] == pytest.approx(results["curve"][1]["train_mse"] - 16.0794)
    assert first["relative"] == pytest.approx(results["curve"][1]["train_mse"] / 16.0794 - 1)


def test_the_published_curve_is_whole() -> None:
    curve = PUBLISHED["train_mse"]
    assert [int(iteration) for iteration in curve] == list(range(50, 801, 50))
    errors = list(curve.values())
    assert errors == sorted(errors, reverse=True)
    assert "http" not in json.dumps(PUBLISHED)


@pytest.mark.draws
def test_prints_the_curve_and_the_scores(tmp_path: Path, capsys: Any) -> None:
    assert main(["--scale", "0.002", "--iterations", "50", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""  # no progress line where there is no terminal
    stored = json.loads((tmp_path / "results.json").read_text("utf-8"))
    at_50 = stored["curve"][-1]
    (line,) = re.findall(r"^ +50 .*$", printed.out, re.MULTILINE)
    there = f"{100 * (at_50['train_mse'] / 16.0794 - 1):+.1f} %"
    errors = [f"{at_50[name]:.4f}" for name in ("train_mse", "validation_mse", "twice_mse")]
    assert re.split(r"  +", line.strip()) == ["50", errors[0], "16.0794", there, *errors[1:]]
    for text in summary(stored):
        assert text in printed.out
    assert printed.out.splitlines()[-1].startswith(str(tmp_path / "index.html"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratings", "absent.csv"], "there is no file absent.csv"),
        (["--scale", "1000"], "scale"),
        (["--scale", "0.001", "--output", "taken"], "taken"),
    ],
)
def test_what_cannot_be_run_is_an_error(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("a file, no folder", "utf-8")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--iterations", "0"], "argument --iterations: must be at least 1, got 0"),
        (["--seed", "-1"], "argument --seed: must be at least 0, got -1"),
        (["--scale", "1", "--ratings", "x.csv"], "not allowed with argument"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], message: str, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err


# ---- the page -----------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Collects what a browser would fetch, the tags and the ids."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.refers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "data", "srcset"):
                self.loads.append(value or "")
            elif name == "id":
                self.ids.append(value or "")
            elif name == "aria-labelledby":
                self.refers.append(value or "")


def read(page: Path) -> tuple[str, Tags]:
    text, tags = page.read_text("utf-8"), Tags()
    tags.feed(text)
    return text, tags


def test_the_page_loads_nothing_and_runs_nothing(output: Path) -> None:
    text, tags = read(output / "index.html")
    assert [url for url in tags.loads if not url.startswith("#")] == []
    assert {"script", "link", "iframe", "img"}.isdisjoint(tags.tags)
    assert re.search(r"url\((?!#)|@import", text) is None


def test_the_page_is_well_formed_and_named(output: Path) -> None:
    _, tags = read(output / "index.html")
    assert len(tags.ids) == len(set(tags.ids))
    assert set(tags.refers) <= set(tags.ids)
    assert tags.tags.count("h1") == tags.tags.count("main") == tags.tags.count("svg") == 1


def test_what_comes_from_the_file_is_escaped(output: Path) -> None:
    text, _ = read(output / "index.html")
    assert "<script>alert" not in text
    assert html.escape(NASTY) in text.replace("&#39;", "&#x27;")


def test_the_page_says_the_numbers(output: Path, results: Any) -> None:
    text, _ = read(output / "index.html")
    for point in results["curve"]:
        for name in ("train_mse", "validation_mse", "twice_mse"):
            assert f"{point[name]:.4f}" in text
    assert "not expected to meet" in text  # a fraction of the article's ratings
    assert "can be reproduced" not in text


@pytest.mark.draws
@pytest.mark.parametrize("drift", [1.0, 1.2])
def test_only_a_curve_that_comes_close_is_called_reproduced(
    drift: float, results: Any, tmp_path: Path
) -> None:
    """With as many ratings as the article, and with its curve or a different one."""
    curve = [
        {
            "iteration": int(at),
            "train_mse": error * drift,
            "validation_mse": error,
            "twice_mse": 11.7,
        }
        for at, error in PUBLISHED["train_mse"].items()
    ]
    told = results | {"curve": curve, "data": results["data"] | {"n_ratings": PUBLISHED["ratings"]}}
    page = write_page(told, tmp_path, "command", 1.0).read_text("utf-8")
    assert ("can be reproduced" in page) == (drift == 1.0)
    assert "not expected to meet" not in page


@pytest.mark.draws
def test_ratings_without_variance_can_be_drawn(results: Any, tmp_path: Path) -> None:
    told = results | {"constant": fake_score(0.0)}
    assert write_page(told, tmp_path, "command", 1.0).is_file()


def test_the_code_on_the_page_runs(
    output: Path, results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    text, _ = read(output / "index.html")
    (code,) = [
        block
        for block in re.findall(r"<pre[^>]*><code>(.*?)</code>", text, re.DOTALL)
        if "import" in block
    ]
    source = html.unescape(code)
    ast.parse(source)
    small_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(source, {})
    scores, achieved, recommended = capsys.readouterr().out.splitlines()
    assert float(achieved.split()[0]) < ast.literal_eval(scores)["global mean"]["validation_mse"]
    # They come from another split.
    assert float(achieved.split()[0]) == pytest.approx(results["ours"]["validation_mse"], rel=0.1)
    assert recommended.count("Recommendation(") == 5


@pytest.mark.draws
def test_where_biases_are_better_the_page_advises_to_take_them(
    results: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    better = results["ours"]["validation_mse"] - 0.01
    told = results | {"biases": fake_score(better, user_damping=5.0, item_damping=2.0)}
    text = write_page(told, tmp_path, "command", 1.0).read_text("utf-8")
    assert "Factors do not help here" in text
    (code,) = re.findall(r"<code>(import pandas.*?)</code>", text, re.DOTALL)
    assert "damped_biases(train, user_damping=5, item_damping=2)" in html.unescape(code)
    small_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    exec(html.unescape(code), {})
    assert "[" in capsys.readouterr().out
    told = results | {"biases": fake_score(better + 0.02, user_damping=5.0, item_damping=2.0)}
    text = write_page(told, tmp_path, "command", 1.0).read_text("utf-8")
    assert "Factors do not help here" not in text
    assert "recommend(" in text


@pytest.mark.real_data
def test_real_ratings(tmp_path: Path) -> None:
    folder = os.environ.get("RATINGS_DATA")
    if not folder:
        pytest.skip("RATINGS_DATA names no folder; it must hold anime-slice/rating.csv")
    path = Path(folder) / "anime-slice" / "rating.csv"
    assert main(["--ratings", str(path), "--iterations", "50", "--output", str(tmp_path)]) == 0
    stored = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert stored["data"]["n_ratings"] == len(read_ratings(path, missing_rating=-1).ratings)
    # These users' ids all exceed the number of users, so encoding twice leaves none in the rows.
    assert stored["data"]["n_twice"] == 0
    assert stored["ours"]["validation_mse"] < stored["constant"]["validation_mse"]
