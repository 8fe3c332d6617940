"""What a case is about in words, and the code to copy, which fits what was measured."""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_records import fake_record, fake_score

from backends import Factorizer, Ratings, get_backend
from backends.objective import Objective
from bench.datasets import RawRatings
from bench.records import Record
from bench.report.outcome import description
from bench.report.outcome.cases import Case, group_cases
from bench.report.outcome.description import (
    about,
    data_in_words,
    machine_in_words,
    snippet,
    target_in_words,
)
from bench.report.page.contents import gather
from bench.report.page.markdown import render_markdown

OBJECTIVE = [field.name for field in dataclasses.fields(Objective)]


def case_of(*records: Record) -> Case:
    (case,) = group_cases(list(records))
    return case


# ---- data, target and machine -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "99,956 ratings by 943 users of 1,682 movies (ml-100k)"),
        (
            {"dataset": "mine.csv", "n_train": 1_000_000, "n_validation": 0, "n_test": 273_400},
            "1.27 million ratings by 943 users of 1,682 items (mine.csv)",
        ),
        (
            {"dataset": "anime twin x0.2", "n_users": 13771, "n_items": 4333},
            "99,956 ratings by 13,771 users of 4,333 anime, synthetic (anime twin x0.2)",
        ),
        ({"dataset": "anime"}, "99,956 ratings by 943 users of 1,682 anime (anime)"),
        ({"dataset": "Jester-1"}, "99,956 ratings by 943 users of 1,682 jokes (Jester-1)"),
        ({"dataset": "goodbooks"}, "99,956 ratings by 943 users of 1,682 books (goodbooks)"),
        (
            {"n_train": 999_997, "n_validation": 1, "n_test": 1},
            "999,999 ratings by 943 users of 1,682 movies (ml-100k)",
        ),
        (
            {"n_train": 100_000_000, "n_validation": 0, "n_test": 480_507},
            "100 million ratings by 943 users of 1,682 movies (ml-100k)",
        ),
        ({"dataset": "a\nb\x1b[1m"}, "99,956 ratings by 943 users of 1,682 items (a b[1m)"),
    ],
)
def test_the_data_are_told_in_words(facts: dict[str, Any], text: str) -> None:
    assert data_in_words(fake_record(case=facts)["case"]) == text


def test_the_target_is_told_beside_what_is_reached_without_factors() -> None:
    said = (
        "a mean squared error (MSE) of 0.8516 on ratings held out for validation, 1 % above "
        "where exact least squares with factors ends (0.8432)"
    )
    assert target_in_words(case_of(fake_record())) == (
        f"{said}; biases: 0.8893; the mean rating: 1.2663"
    )
    assert target_in_words(case_of(fake_record(baselines={}))) == said
    baselines = {"global mean": fake_score(0.9), "biases": fake_score(0.95)}
    assert target_in_words(case_of(fake_record(baselines=baselines))).endswith(
        "; the mean rating: 0.9000; biases: 0.9500"  # the best first
    )
    target = {"factor": 1.0005, "mse": 0.8436, "dropped": ""}
    assert ", 0.05 % above where" in target_in_words(case_of(fake_record(target=target)))


def test_without_a_target_it_is_left_out() -> None:
    case = case_of(fake_record(target=None))
    assert target_in_words(case) == ""
    assert [name for name, _ in about(case)] == ["Data", "Machine"]
    assert snippet(case) == ""


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({}, ""),
        ({"cpu": "X"}, "X"),
        ({"cpu": "X", "cores": 1}, "X, 1 core"),
        ({"cpu": "X", "cores": 8, "gpus": "a GPU"}, "X, 8 cores, a GPU"),
        ({"cores": 8}, "8 cores"),
    ],
)
def test_of_the_machine_what_is_known_is_told(environment: dict[str, Any], text: str) -> None:
    case = case_of(fake_record(environment=environment))
    assert machine_in_words(case) == text
    assert ("Machine" in dict(about(case))) == bool(text)


# ---- the code to copy ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    columns = {"user": rng.integers(0, 12, 90), "item": rng.integers(0, 9, 90)}
    table = pd.DataFrame({**columns, "rating": rng.integers(1, 6, 90).astype(float)})
    return table.drop_duplicates(["user", "item"])


def run(code: str, frame: pd.DataFrame) -> list[Factorizer]:
    """Run the code of a page; return the solvers that it makes, in their order."""
    made: list[Factorizer] = []

    class Names(dict[str, Any]):
        def __setitem__(self, name: str, value: Any) -> None:
            super().__setitem__(name, value)
            if name == "solver":
                made.append(value)

    exec(compile(code, "snippet", "exec"), {"frame": frame}, Names())
    return made


def winner(name: str, seconds: float, params: dict[str, Any], **facts: Any) -> Record:
    record = fake_record(name, seconds=seconds, case=facts)
    record["backend"] |= {"params": params, "threads": 2}
    return record


@pytest.mark.parametrize(
    "facts",
    [
        {"rank": 3},
        {"rank": 2, "reg": 0.05, "damping": 0.0, "bias_reg": 0.5, "item_bias_damping": 0.25},
        {
            **{"rank": 2, "bias": False, "reg_scaling": "per_entity", "reg_unit": "rating"},
            **{"damping": 0.0, "user_bias_damping": 0.0, "item_bias_damping": 0.0},
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_code_fits_with_the_hyper_parameters_that_were_measured(
    facts: dict[str, Any], dtype: str, frame: pd.DataFrame
) -> None:
    record = winner("numpy", 1.0, {"learning_rate": 0.3, "momentum": 0.5}, **facts)
    record["backend"]["dtype"] = dtype
    (epochs,) = [each["epochs"] for each in record["calibrations"]]
    (solver,) = run(snippet(case_of(record)), frame)
    case: dict[str, Any] = dict(record["case"])
    assert {name: getattr(solver, name) for name in OBJECTIVE} == {
        name: case[name] for name in OBJECTIVE
    }
    assert (solver.dtype, solver.n_jobs, solver.n_epochs_) == (dtype, 2, epochs)
    expected = get_backend(
        "numpy",
        **{name: case[name] for name in OBJECTIVE},
        dtype=dtype,
        n_jobs=2,
        learning_rate=0.3,
        momentum=0.5,
    )
    train = Ratings.from_frame(frame, user="user", item="item", rating="rating")
    expected.fit(train, epochs=epochs)
    pd.testing.assert_series_equal(
        pd.Series(solver.model_.predict(train.users, train.items)),
        pd.Series(expected.model_.predict(train.users, train.items)),
    )


def test_each_backend_to_take_has_its_line_with_its_own_settings(frame: pd.DataFrame) -> None:
    compiled = winner("numpy", 0.1, {"learning_rate": 0.3}, rank=2)
    plain = winner("numpy-als", 0.2, {}, rank=2)
    compiled["cold"][0]["total_seconds"] = 99.0
    code = snippet(case_of(compiled, plain, winner("numba-gd", 9.0, {}, rank=2)))
    assert [type(solver).__name__ for solver in run(code, frame)] == ["NumpyGD", "NumpyALS"]
    assert "# new process and in a loop: " in code and "# first fit: " in code
    assert "numba-gd" not in code
    (settings,) = [line for line in code.splitlines() if line.startswith("settings")]
    assert "rank=2" in settings and "learning_rate" not in settings
    assert 'get_backend("numpy", **settings, learning_rate=0.3).fit(train, epochs=' in code


@pytest.mark.parametrize("name", ["numpy (tuned)", "numpy (1)", "numpy:learning_rate=0.3"])
def test_the_code_names_the_backend_that_a_contender_is_of(name: str) -> None:
    assert 'get_backend("numpy", **settings).fit(' in snippet(case_of(winner(name, 1.0, {})))


def test_the_epochs_are_those_that_suffice_for_every_seed() -> None:
    record = winner("numpy", 1.0, {})
    (first,) = record["calibrations"]
    record["seeds"] = [0, 1, 2]
    record["calibrations"] = [
        {**first, "seed": seed, "epochs": epochs} for seed, epochs in enumerate((4, 6, 5))
    ]
    assert snippet(case_of(record)).endswith(").fit(train, epochs=6)")


def test_what_the_code_leaves_out_are_the_defaults_of_the_solvers() -> None:
    defaults = Objective()
    for name, value in description.DEFAULTS.items():
        assert getattr(defaults, name) == value, name
    solver = get_backend("numpy")
    assert {name: getattr(solver, name) for name in description.DEFAULTS} == description.DEFAULTS
    assert set(description._SETTINGS) == set(OBJECTIVE)


HOSTILE = [
    '"); print("pwned',
    "'); print('pwned",
    "x\n\nprint('pwned')",
    "x\rprint('pwned')",
    "x\u2028print('pwned')",
    "\\",
    '"""',
    "x # y",
    "**{}",
    "\u202eevil",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_values_stay_literals(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = winner(f"n{text}", 1.0, {"momentum": text, "nested": {text: [text]}})
    record["backend"]["dtype"] = text
    other = winner(f"m{text}", 2.0, {"momentum": text})
    record["case"]["reg_unit"] = other["case"]["reg_unit"] = text  # type: ignore[typeddict-item]
    code = snippet(case_of(record, other))
    tree = ast.parse(code)
    calls = {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }
    assert calls == {"from_frame", "dict", "get_backend", "fit"}
    assert len([node for node in ast.walk(tree) if isinstance(node, ast.Call)]) == 4
    keywords = {
        word.arg: word.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for word in node.keywords
    }
    assert ast.literal_eval(keywords["momentum"]) == text
    assert ast.literal_eval(keywords["nested"]) == {text: [text]}
    assert all(character.isprintable() for character in code.replace("\n", ""))


@pytest.mark.parametrize("name", ["x=1, y", "a b", "1", "", "class", "lambda", "x\n"])
def test_without_names_that_are_names_there_is_no_code(name: str) -> None:
    case = case_of(winner("numpy", 1.0, {name: 1}))
    assert snippet(case) == ""
    page = render_markdown(gather(case.records))
    assert "```python" not in page


@pytest.mark.parametrize("ticks", ["```", "`````"])
def test_the_code_cannot_end_its_block_of_markdown(ticks: str) -> None:
    record = winner(f"n{ticks}\n{ticks}", 1.0, {"momentum": ticks})
    page = render_markdown(gather([record]))
    fence = "`" * (len(ticks) + 1)
    assert page.count(f"\n{fence}python\n") == 1
    _, block, *_ = page.split(f"\n{fence}python\n")[1].partition(f"\n{fence}\n")
    assert block == f"\n{fence}\n"


@pytest.mark.parametrize("policy", ["last", "mean"])
def test_the_code_treats_pairs_that_are_rated_twice_as_the_benchmark_did(
    frame: pd.DataFrame, policy: Any
) -> None:
    twice = pd.concat([frame, frame.head(3).assign(rating=1.5)])
    columns = (twice[name].to_numpy() for name in ("user", "item", "rating"))
    (why,) = RawRatings(*columns).without_duplicates(policy).dropped
    code = snippet(case_of(winner("numpy", 1.0, {}, rank=2, dropped=f"3 rows: {why}")))
    assert f'duplicates="{policy}")' in code
    (solver,) = run(code, twice)
    assert solver.model_ is not None
    assert "duplicates" not in snippet(case_of(winner("numpy", 1.0, {}, rank=2)))


def test_the_code_states_the_precision_that_was_measured(frame: pd.DataFrame) -> None:
    """The default of numpy-als is another one than that of all others, and than the benchmark's."""
    (solver,) = run(snippet(case_of(winner("numpy-als", 1.0, {}, rank=2))), frame)
    assert solver.dtype == "float32" != get_backend("numpy-als").dtype
