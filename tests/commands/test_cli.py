"""The command ``factorbench``: fit, predict, recommend, fold in, evaluate; and what it refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from backends import FactorModel
from bench.cli.__main__ import _MODULES, main

N_USERS, N_ITEMS = 80, 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ratings, pairs and titles, and a model that was fitted to the ratings."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.4)
    p, q = rng.normal(size=(N_USERS, 2)), rng.normal(size=(N_ITEMS, 2))
    ratings = np.clip(3 + (p[users] * q[items]).sum(axis=1), 1, 5).round(2)
    frame = pd.DataFrame({"user_id": users + 1, "anime_id": items * 10, "rating": ratings})
    frame.to_csv(folder / "ratings.csv", index=False)
    frame.assign(user_id="u" + frame["user_id"].astype(str)).to_csv(
        folder / "texts.csv", index=False
    )
    titles = [f"Title, {item}" for item in range(N_ITEMS)]
    pd.DataFrame({"anime_id": np.arange(N_ITEMS) * 10, "genre": "x", "name": titles}).to_csv(
        folder / "anime.csv", index=False
    )
    frame.head(5).drop(columns="rating").to_csv(folder / "pairs.csv", index=False)
    for name in ("ratings", "texts"):
        arguments = ["fit", str(folder / f"{name}.csv"), "-o", str(folder / f"{name}.npz")]
        assert (
            main([*arguments, "--backend", "numpy-als", "--rank", "2", "--set", "damping=2"]) == 0
        )
    return folder


def answered(capsys: pytest.CaptureFixture[str], *arguments: Any) -> Any:
    """Return what a command answers as JSON."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    """Return the error of a command, which is one line."""
    capsys.readouterr()
    assert main([str(each) for each in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    return err.removeprefix("error: ").strip()


def test_a_fit_says_what_predictions_are_worth_and_fits_all_ratings(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = answered(
        capsys,
        "fit",
        folder / "ratings.csv",
        "-o",
        tmp_path / "m.npz",
        "--backend",
        "numpy-als",
        "--rank",
        2,
        "--set",
        "damping=2",
    )
    n = len(pd.read_csv(folder / "ratings.csv"))
    assert facts["ratings"] == n
    assert facts["validation_rmse"] < 0.6 * facts["biases_rmse"]
    assert facts["epochs"] == facts["best_epoch"] > 0
    model = FactorModel.load(tmp_path / "m.npz")
    assert model.fit["validation"] is False
    assert model.item_counts().sum() == n
    assert model.fit["rank"] == 2
    assert model.fit["damping"] == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.npz"]


def test_auto_is_the_fastest_that_is_installed(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    from bench.cli import fitting

    find = importlib.util.find_spec
    monkeypatch.setattr(
        fitting.importlib.util, "find_spec", lambda name: None if name == "numba" else find(name)
    )
    facts = answered(capsys, "fit", folder / "ratings.csv", "-o", tmp_path / "m.npz")
    assert facts["backend"] == "numpy-als"


def test_without_held_out_ratings_there_is_one_fit(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = answered(
        capsys,
        "fit",
        folder / "ratings.csv",
        "-o",
        tmp_path / "m.npz",
        "--validation",
        0,
        "--backend",
        "numpy-als",
        "--epochs",
        3,
    )
    assert facts["epochs"] == 3
    assert "validation_rmse" not in facts


def test_a_fit_that_diverges_writes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("numba")
    told = refused(
        capsys,
        "fit",
        folder / "ratings.csv",
        "-o",
        tmp_path / "m.npz",
        "--backend",
        "numba-sgd",
        "--set",
        "learning_rate=1e6",
    )
    assert "diverged in epoch" in told and "learning_rate" in told
    assert list(tmp_path.iterdir()) == []


def test_pairs_are_predicted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = FactorModel.load(folder / "ratings.npz")
    pairs = pd.read_csv(folder / "pairs.csv")
    expected = model.predict(pairs["user_id"], pairs["anime_id"])
    rows = answered(capsys, "predict", folder / "ratings.npz", folder / "pairs.csv")
    assert [row["rating"] for row in rows] == pytest.approx(expected)
    for name in ("out.csv", "out.parquet"):
        path = tmp_path / name
        facts = answered(
            capsys, "predict", folder / "ratings.npz", folder / "pairs.csv", "-o", path
        )
        assert facts == {"predictions": 5, "file": str(path)}
        found = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path)
        assert found["rating"].tolist() == pytest.approx(expected)
        assert found["user"].tolist() == pairs["user_id"].tolist()
    one = answered(capsys, "predict", folder / "ratings.npz", "--user", 1, "--item", 20)
    assert one == {"user": 1, "item": 20, "rating": pytest.approx(model.predict(1, 20)[0])}
    main(["predict", str(folder / "ratings.npz"), str(folder / "pairs.csv")])
    assert capsys.readouterr().out.splitlines()[0] == "user,item,rating"


def test_lists_have_titles(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = FactorModel.load(folder / "ratings.npz")
    rows = answered(
        capsys,
        "recommend",
        folder / "ratings.npz",
        "--user",
        3,
        5,
        "-n",
        4,
        "--titles",
        folder / "anime.csv",
    )
    expected = [(user, one.item) for user in (3, 5) for one in model.recommend(user, 4)]
    assert [(row["user"], row["item"]) for row in rows] == expected
    assert all(row["title"] == f"Title, {row['item'] // 10}" for row in rows)
    main(
        [
            "recommend",
            str(folder / "ratings.npz"),
            "--user",
            "3",
            "--titles",
            str(folder / "anime.csv"),
            "--title-columns",
            "anime_id,genre",
        ]
    )
    assert " x" in capsys.readouterr().out


def test_lists_of_all_users_go_to_a_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lists.parquet"
    facts = answered(
        capsys, "recommend", folder / "texts.npz", "--all", "-o", path, "-n", 3, "--include-seen"
    )
    assert facts == {"users": N_USERS, "lines": 3 * N_USERS, "file": str(path)}
    model = FactorModel.load(folder / "texts.npz")
    expected = model.recommend(n=3, exclude_seen=False).frame()
    pd.testing.assert_frame_equal(pd.read_parquet(path), expected)


def test_what_is_similar_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = FactorModel.load(folder / "ratings.npz")
    rows = answered(
        capsys,
        "similar",
        folder / "ratings.npz",
        "--item",
        20,
        "-n",
        2,
        "--titles",
        folder / "anime.csv",
    )
    assert [row["similar_item"] for row in rows] == [one.id for one in model.similar_items(20, 2)]
    assert rows[0]["title"].startswith("Title, ")
    rows = answered(capsys, "similar", folder / "ratings.npz", "--user", 4)
    assert [row["similar_user"] for row in rows] == [one.id for one in model.similar_users(4)]


def test_new_users_are_folded_in(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.csv"
    new.write_text("user,item,rating\n1001,10,5\n1001,20,1\n1002,30,4\n")
    facts = answered(capsys, "fold-in", folder / "ratings.npz", new, "-o", tmp_path / "m.npz")
    assert facts["new"] == 2
    model = FactorModel.load(tmp_path / "m.npz")
    assert model.n_users == N_USERS + 2
    assert len(model.recommend(1001, 5)) == 5
    new.write_text("user,item,rating\n1,10,5\n")
    told = refused(capsys, "fold-in", folder / "ratings.npz", new, "-o", tmp_path / "m.npz")
    assert told == (
        f"{new} has users that the model has already; leave them out, or fit all ratings anew"
    )


def test_predictions_are_compared_with_ratings(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = FactorModel.load(folder / "ratings.npz")
    test = tmp_path / "test.csv"
    test.write_text("user,item,rating\n1,10,5\n1,20,1\n9999,20,4\n")
    facts = answered(capsys, "evaluate", folder / "ratings.npz", test)
    errors = model.predict([1, 1, 9999], [10, 20, 20], unknown="mean") - [5, 1, 4]
    assert (facts["ratings"], facts["known_ratings"]) == (3, 2)
    assert facts["all"]["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert facts["known"]["mae"] == pytest.approx(np.abs(errors[:2]).mean())


def test_a_model_says_what_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = answered(capsys, "info", folder / "ratings.npz")
    assert (facts["users"], facts["items"], facts["rank"]) == (N_USERS, N_ITEMS, 2)
    assert facts["fit"]["solver"] == "NumpyALS"
    main(["info", str(folder / "ratings.npz")])
    assert "80 users, 50 items, rank 2" in capsys.readouterr().out


def test_without_json_the_answers_are_lines(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(folder / "ratings.npz")
    main(
        [
            "fit",
            str(folder / "ratings.csv"),
            "-o",
            str(tmp_path / "m.npz"),
            "--backend",
            "numpy-als",
            "--rank",
            "2",
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("ratings of 50 items by 80 users")
    assert lines[1].startswith("held-out ratings: RMSE")
    assert lines[2].startswith(str(tmp_path / "m.npz"))
    main(["predict", model, "--user", "1", "--item", "20"])
    assert float(capsys.readouterr().out) > 0
    main(["recommend", model, "--user", "1", "-n", "2"])
    assert len(capsys.readouterr().out.splitlines()) == 3


# ---- what is refused ----------------------------------------------------------------------------


def test_wrong_calls_are_told_what_to_do(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, ratings, out = folder / "ratings.npz", folder / "ratings.csv", tmp_path / "m.npz"
    (tmp_path / "bad.npz").write_text("no model")
    cases = {
        ("fit", "missing.csv", "-o", out): "there is no file missing.csv",
        ("fit", "movielens", "-o", out): "no data set is named 'movielens'",
        ("fit", ratings, "-o", out, "--backend", "numba-sgdd"): "did you mean 'numba-sgd'?",
        ("fit", ratings, "-o", out, "--rank", 0): "rank must be an integer of at least 1, got 0",
        ("fit", ratings, "-o", out, "--set", "damping"): "--set takes NAME=VALUE",
        ("fit", ratings, "-o", out, "--set", "colour=3"): "has no parameter 'colour'",
        ("fit", ratings, "-o", out, "--validation", 1): "--validation must be a share",
        ("fit", ratings, "-o", out, "--epochs", 0): "epochs must be an integer of at least 1",
        ("fit", ratings, "-o", out, "--threads", 0): "--threads must be at least 1, got 0",
        ("fit", ratings, "-o", ""): "--output must name a file",
        ("evaluate", model, "nothere"): "factorbench data list shows all",
        ("predict", model, "--user", "+-5", "--item", 20): "user ids of this model are integers",
        ("recommend", model, "--all", "-o", "l.csv"): "--all writes Parquet",
        ("recommend", model, "--all", "-o", "l.parquet", "--titles", "a.csv"): "goes with --user",
        ("fit", ratings, "-o", tmp_path / "no" / "m.npz", "--backend", "numpy-als"): "No such file",
        ("predict", "missing.npz", "--user", 1, "--item", 2): "factorbench fit RATINGS -o",
        ("predict", tmp_path / "bad.npz", "--user", 1, "--item", 2): "is not a saved model",
        ("predict", model): "give a file of PAIRS, or --user and --item",
        ("predict", model, "--user", "ann", "--item", 2): "user ids of this model are integers",
        ("predict", model, "--user", 9999, "--item", 10): "1 unknown user id (9999)",
        (
            "predict",
            model,
            folder / "pairs.csv",
            "--pair-columns",
            "a,b",
        ): "--pair-columns user,item",
        ("recommend", model): "give --user ID, or --all",
        ("recommend", model, "--all"): "--output lists.parquet",
        ("recommend", model, "--user", 9999): "1 unknown user id (9999)",
        ("recommend", model, "--user", 1, "-n", 0): "n must be an integer of at least 1",
        ("recommend", model, "--user", 1, "--titles", "no.csv"): "there is no file no.csv",
        ("similar", model): "give --item ID, or --user ID",
        ("similar", model, "--item", 7): "1 unknown item id (7)",
        ("fold-in", model, folder / "texts.csv", "-o", out): "users",
    }
    for arguments, expected in cases.items():
        assert expected in refused(capsys, *arguments), arguments
    assert not out.exists()


def test_a_wrong_row_of_pairs_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user,item\n1,10\nann,20\n")
    told = refused(capsys, "predict", folder / "ratings.npz", pairs)
    assert told == f"{pairs}, row 2: user ids of this model are integers, got 'ann'"


# ---- the other commands -------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(_MODULES))
def test_commands_of_other_modules_are_found(name: str) -> None:
    import importlib.util

    module, _ = _MODULES[name]
    found = importlib.util.find_spec(module)
    assert found is not None
    package = (
        importlib.util.find_spec(f"{module}.__main__") if found.submodule_search_locations else 1
    )
    assert package is not None


@pytest.mark.process
def test_other_commands_run_as_their_modules_do(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.cli", "data", "info", "ml-100k"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert "100,000 ratings" in ran.stdout
    ran = subprocess.run(
        [sys.executable, "-m", "bench.cli", "report", "--input", "nothing"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert ran.returncode == 2
    assert "nothing" in ran.stderr and "Traceback" not in ran.stderr


def test_shells_can_complete_it(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    for shell in ("bash", "zsh"):
        assert main(["completion", shell]) == 0
        told = capsys.readouterr().out
        assert "fold-in" in told and "recommend" in told


def test_biases_alone_are_fitted_to_all_ratings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    pairs = rng.permutation(40 * 30)[:600]
    frame = pd.DataFrame(
        {"user": pairs // 30, "item": pairs % 30, "rating": rng.integers(1, 6, size=600)}
    )
    frame.to_csv(tmp_path / "noise.csv", index=False)
    facts = answered(
        capsys,
        "fit",
        tmp_path / "noise.csv",
        "-o",
        tmp_path / "m.npz",
        "--backend",
        "numpy-als",
        "--set",
        "damping=0",
        "--reg",
        0.001,
        "--epochs",
        3,
    )
    assert facts["best_epoch"] == facts["epochs"] == 0
    model = FactorModel.load(tmp_path / "m.npz")
    assert model.fit["weight"] == 600
    assert model.rating_mean == pytest.approx(frame["rating"].mean())
    assert not model.parameters.item_factors.any()


def test_ids_are_read_as_fit_reads_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = FactorModel.load(folder / "ratings.npz")
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user,item\n1.0,10\n2,20.0\n")
    rows = answered(capsys, "predict", folder / "ratings.npz", pairs)
    assert [row["rating"] for row in rows] == pytest.approx(model.predict([1, 2], [10, 20]))
    for user in ("1.5", "99999999999999999999999", "True", "+-5"):
        pairs.write_text(f"user,item\n1,10\n{user},20\n")
        told = refused(capsys, "predict", folder / "ratings.npz", pairs)
        assert told.endswith(f"row 2: user ids of this model are integers, got '{user}'")
    pd.DataFrame({"user": [1.0, 1.5], "item": [10, 20]}).to_parquet(tmp_path / "pairs.parquet")
    told = refused(capsys, "predict", folder / "ratings.npz", tmp_path / "pairs.parquet")
    assert told.endswith("row 2: user ids of this model are integers, got 1.5")


@pytest.mark.real_data
def test_a_data_set_with_official_splits_is_fitted_as_a_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path(os.environ.get("RATINGS_DATA", ""), "ml-100k", "u.data").is_file():
        pytest.skip("RATINGS_DATA names no folder; it must hold ml-100k/u.data")
    arguments = ("fit", "ml-100k", "-o", tmp_path / "m.npz", "--backend", "numpy-als")
    facts = answered(capsys, *arguments, "--epochs", 2, "--validation", 0)
    assert facts["ratings"] == 100_000
