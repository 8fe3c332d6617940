"""The search for the defaults: what is chosen by what, and what its command refuses."""

import csv
from pathlib import Path

import numpy as np
import pytest

from bench import defaults
from bench.defaults import Trial, best_over, draw, main, make_trials


def trial(number: int, **scores: float) -> Trial:
    return Trial(
        "numba-gd", number, {}, validation=dict(scores), test={name: 10.0 for name in scores}
    )


def test_best_over_sets_is_the_lowest_mean_logarithm_over_the_best() -> None:
    tried = [trial(1, a=1.0, b=4.0), trial(2, a=1.2, b=2.0), trial(3, a=9.0, b=1.9)]
    assert best_over(tried, ["a", "b"]).number == 2
    assert best_over(tried, ["a"]).number == 1
    assert best_over(tried, ["b"]).number == 3


def test_a_trial_that_diverged_is_never_the_best() -> None:
    assert best_over([trial(1, a=np.inf), trial(2, a=3.0)], ["a"]).number == 2


def test_draws_lie_in_their_ranges_and_do_not_depend_on_how_many_follow() -> None:
    space = defaults.SPACE | {"learning_rate": defaults.RATES["numba-sgd"]}
    rng = np.random.default_rng(0)
    for _ in range(200):
        params = draw("numba-sgd", rng)
        assert params.keys() == space.keys()
        assert all(
            0.99 * space[name][0] <= value <= 1.01 * space[name][1]
            for name, value in params.items()
        )
    assert [trial.params for trial in make_trials("numba-gd", 3)] == [
        trial.params for trial in make_trials("numba-gd", 9)[:3]
    ]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two small files of ratings in folders of their own."""
    paths = []
    for seed, name in enumerate(("first", "second")):
        rng = np.random.default_rng(seed)
        users, items = np.divmod(rng.permutation(40 * 30)[:700], 30)
        stars = np.clip(np.rint(3 + 0.5 * rng.normal(size=40)[users] + rng.normal(size=700)), 1, 5)
        path = tmp_path / name / "ratings.csv"
        path.parent.mkdir()
        lines = (f"{u},{i},{r:g}" for u, i, r in zip(users, items, stars, strict=True))
        path.write_text("user,item,rating\n" + "\n".join(lines) + "\n", "utf-8")
        paths.append(str(path))
    return paths


@pytest.mark.slow
def test_the_command_writes_every_trial_and_the_tables(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("torch")
    main(
        [*files, "--trials", "2", "--seeds", "1", "--rank", "2", "--output", str(tmp_path / "out")]
    )
    page = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert capsys.readouterr().out.strip() == page.strip()
    assert str(tmp_path) not in page
    assert "`python -m bench.defaults first second --trials 2 --seeds 1 --rank 2`" in page
    with (tmp_path / "out" / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["backend"], row["trial"], row["data"]) for row in rows] == [
        (backend, number, name)
        for backend in defaults.RATES
        for number in ("1", "2")
        for name in ("first", "second")
    ]
    assert all(0 < float(row["test_mse"]) < 10 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trials", "0"], "--trials must be at least 1, got 0"),
        (["--seeds", "-1"], "--seeds must be at least 1, got -1"),
        (["--rank", "0"], "--rank must be at least 1, got 0"),
        (["no-such-data"], "no data set is named 'no-such-data'"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    files: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([files[0], *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_two_files_of_one_folder_are_not_one_data_set(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(files[0]).with_name("more.csv")
    other.write_text(Path(files[0]).read_text("utf-8"), "utf-8")
    with pytest.raises(SystemExit):
        main([files[0], str(other)])
    message = "are both named 'first' in the tables: put them into different folders"
    assert message in capsys.readouterr().err
