"""Options: what is refused and in which words, and what the defaults are."""

from pathlib import Path
from typing import Any

import pytest

from bench import options
from bench.datasets import FileOptions
from bench.measure.backend_facts import Limits
from bench.options import QUICK_RATINGS, QUICK_SCALE, SCALE, Selection


@pytest.fixture(autouse=True)
def _cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "available_cores", lambda: 6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rank": 0}, "--rank must be at least 1, got 0"),
        ({"rounds": 0}, "--rounds must be at least 1, got 0"),
        ({"threads": 0}, "--threads must be at least 1, got 0"),
        ({"seed": -1}, "--seed must be at least 0, got -1"),
        ({"seeds": 0}, "--seeds must be at least 1, got 0"),
        ({"threads": 7}, "--threads must be at most 6, the number of available cores; got 7"),
        ({"reg": -0.5}, "--reg must be a finite number of at least 0, got -0.5"),
        ({"reg": float("nan")}, "--reg must be a finite number of at least 0, got nan"),
        ({"reg": float("inf")}, "--reg must be a finite number of at least 0, got inf"),
        ({"damping": -1.0}, "--damping must be a finite number of at least 0, got -1.0"),
        ({"scale": 0.0}, "--scale must lie between 1/1000 and 100, got 0.0"),
        ({"scale": 0.0009}, "--scale must lie between 1/1000 and 100, got 0.0009"),
        ({"scale": 101.0}, "--scale must lie between 1/1000 and 100, got 101.0"),
        ({"scale": float("nan")}, "--scale must lie between 1/1000 and 100, got nan"),
        (
            {"ratings": Path("mine.csv"), "dataset": "ml-100k"},
            "--ratings and --dataset exclude each other: give one of them",
        ),
        (
            {"ratings": Path("mine.csv"), "dataset": ""},
            "--ratings and --dataset exclude each other: give one of them",
        ),
        (
            {"scale": 0.5, "dataset": "ml-100k"},
            "--scale is the size of the twin and cannot be used with other data",
        ),
        (
            {"scale": 0.5, "ratings": Path("mine.csv")},
            "--scale is the size of the twin and cannot be used with other data",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        Selection(**given).check()
    assert str(error.value) == said


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"rank": 1, "rounds": 1, "threads": 1, "seed": 0, "seeds": 1},
        {"threads": 6, "reg": 0.0},
        {"scale": 0.001},
        {"scale": 100.0, "dataset": "twin"},
        {"dataset": "ml-100k"},
        {"ratings": Path("mine.csv"), "quick": True},
    ],
)
def test_what_makes_sense_is_not(given: dict[str, Any]) -> None:
    Selection(**given).check()


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        ({}, [0, 1, 2]),
        ({"quick": True}, [0]),
        ({"seed": 7}, [7, 8, 9]),
        ({"seed": 7, "quick": True}, [7]),
        ({"seed": 7, "seeds": 2}, [7, 8]),
        ({"seeds": 5, "quick": True}, [0, 1, 2, 3, 4]),
    ],
)
def test_seeds_of_the_fits(given: dict[str, Any], seeds: list[int]) -> None:
    assert Selection(**given).fit_seeds == seeds


@pytest.mark.parametrize(
    ("given", "rounds"),
    [({}, None), ({"quick": True}, 3), ({"quick": True, "rounds": 7}, 7), ({"rounds": 2}, 2)],
)
def test_rounds_of_the_fits(given: dict[str, Any], rounds: int | None) -> None:
    assert Selection(**given).timed_rounds == rounds


def test_the_budget_is_all_cores_unless_given() -> None:
    assert (Selection().budget, Selection(threads=2).budget) == (6, 2)


def test_a_quick_look_gives_up_sooner() -> None:
    quick, full = vars(Selection(quick=True).limits), vars(Selection().limits)
    assert full == vars(Limits())
    assert {name for name in full if quick[name] != full[name]} == {"max_seconds", "timeout"}
    assert (quick["max_seconds"], quick["timeout"]) == (15, 60)
    assert full["max_seconds"] > 15
    assert full["timeout"] > 60


@pytest.mark.parametrize(
    ("given", "name", "how"),
    [
        ({}, "twin", {"scale": SCALE, "seed": 0, "split": None}),
        ({"quick": True}, "twin", {"scale": QUICK_SCALE, "seed": 0, "split": None}),
        (
            {"quick": True, "scale": 0.5, "seed": 3},
            "twin",
            {"scale": 0.5, "seed": 3, "split": None},
        ),
        (
            {"dataset": "ml-100k", "split": "u1"},
            "ml-100k",
            {"scale": SCALE, "seed": 0, "split": "u1"},
        ),
        (
            {"ratings": Path("mine.csv"), "seed": 3, "missing": -1.0, "duplicates": "mean"},
            Path("mine.csv"),
            {
                "options": FileOptions(missing_rating=-1.0),
                "duplicates": "mean",
                "seed": 3,
                "split": None,
            },
        ),
    ],
)
def test_which_data_is_loaded(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], name: str | Path, how: dict[str, Any]
) -> None:
    data: Any = object()
    case: Any = object()
    calls: list[Any] = []
    told: list[str] = []

    def load(which: str | Path, **options: Any) -> Any:
        calls.append((which, options))
        return data

    def build(loaded: Any, notify: Any, **options: Any) -> Any:
        assert loaded is data
        calls.append(options)
        return case

    monkeypatch.setattr(options, "load_file" if "ratings" in given else "load_dataset", load)
    monkeypatch.setattr(options, "build_case", build)
    assert Selection(**given, rank=5, reg=0.0, damping=7.0).build_case(told.append) is case
    assert Selection(**given).build_case(told.append) is case
    seed = given.get("seed", 0)
    always = {"seed": seed, "quick": given.get("quick", False)}
    first = {"rank": 5, "reg": 0.0, "damping": 7.0, **always}
    second = {"rank": 16, "reg": None, "damping": None, **always}
    assert calls == [(name, how), first, (name, how), second]
    assert told == [f"loading {name}"] * 2


@pytest.mark.parametrize("given", [{"dataset": "ml-100k"}, {"ratings": Path("mine.csv")}])
def test_a_quick_run_takes_some_users_of_large_data(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    loaded: Any = object()
    sampled: Any = object()
    measured: list[Any] = []

    def sample(dataset: Any, most: int, seed: int) -> Any:
        assert dataset is loaded
        assert (most, seed) == (QUICK_RATINGS, 3)
        return sampled

    for name in ("load_dataset", "load_file"):
        monkeypatch.setattr(options, name, lambda *_, **__: loaded)
    monkeypatch.setattr(options, "sample_users", sample)
    monkeypatch.setattr(options, "build_case", lambda data, **_: measured.append(data))
    for quick in (True, False):
        Selection(**given, quick=quick, seed=3).build_case(lambda text: None)
    assert measured == [sampled, loaded]
