"""References: where ALS converges, remembered by the content of the data."""

import warnings
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import random_ratings

from backends import BackendUnavailable, Factorizer, Objective, Ratings, get_backend
from bench.cases import reference
from bench.cases.case import Case
from bench.cases.targets import walk_downhill

pytestmark = pytest.mark.fits


def test_references_are_remembered_by_content(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path))
    calls: list[str] = []
    options = {"rank": 2, "reg": 0.2, "damping": 5.0, "key": case.data.hash}
    first = reference.find_reference(
        case.data.train, case.data.validation, case.data.test, notify=calls.append, **options
    )
    assert calls
    calls.clear()
    again = reference.find_reference(
        case.data.train, case.data.validation, case.data.test, notify=calls.append, **options
    )
    assert again == first
    assert first[0] == Objective(2, 0.2, damping=5.0)
    assert not calls


def test_a_reference_depends_on_the_whole_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = reference._entry("abc", 2, None, None, quick=False)
    assert entry.split()[0] == "abc"
    named = dict(part.split("=") for part in entry.split()[1:])
    facts = {name: str(value) for name, value in asdict(Objective(rank=2)).items()}
    assert named == facts | {"reg": "best", "damping": "best", "method": str(reference._METHOD)}
    assert "reg=0.2 " in reference._entry("abc", 2, 0.2, None, quick=False)
    assert " damping=5.0 " in reference._entry("abc", 2, None, 5.0, quick=False)
    for name, value in (("reg_unit", "rating"), ("user_bias_damping", 1.0), ("bias_reg", 0.5)):
        with monkeypatch.context() as patch:  # another default
            patch.setattr(reference, "Objective", partial(Objective, **{name: value}))
            assert reference._entry("abc", 2, None, None, quick=False) != entry
            assert reference._entry("abc", 2, 0.2, None, quick=False) != entry


def test_a_reference_is_where_als_converges(case: Case) -> None:
    data = case.data
    found = reference.compute_reference(
        data.train, data.validation, data.test, case.objective, lambda text: None
    )
    als = get_backend("numpy-als", **asdict(case.objective)).fit(
        data.train, epochs=80, evaluate=True
    )
    assert found["objective"] == pytest.approx(als.history_[-1].objective, rel=1e-3)


def test_the_best_objective_is_the_same_on_any_rating_scale() -> None:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.permutation(200 * 60)[:4000], 60)
    taste, kind = rng.normal(size=(200, 2)), rng.normal(size=(60, 2))
    values = 5 + np.einsum("nk,nk->n", taste[users], kind[items]) + 0.5 * rng.normal(size=4000)
    held_out = rng.random(4000) < 0.2

    def parts(scale: float) -> tuple[Ratings, Ratings]:
        ratings = Ratings(users, items, scale * values, 200, 60)
        return ratings.take(~held_out), ratings.take(held_out)

    def score(reg: float, damping: float) -> float:
        train, validation = parts(1.0)
        als = get_backend("numpy-als", rank=2, reg=reg, damping=damping).fit(train, epochs=60)
        return float(
            np.mean((als.predict(validation.users, validation.items) - validation.ratings) ** 2)
        )

    (best,) = {
        reference.best_objective(*parts(scale), 2, lambda text: None)
        for scale in (1.0, 0.01, 100.0)
    }
    # At 25 ratings a user the factors vanish under the default damping; the search must move on.
    assert best.damping < Objective.damping
    found, grids = score(best.reg, best.damping), (reference.REGS, reference.DAMPINGS)
    assert found < 0.5 * score(Objective.reg, Objective.damping)
    at = [grid.index(value) for grid, value in zip(grids, (best.reg, best.damping), strict=True)]
    for axis, step in ((0, -1), (0, 1), (1, -1), (1, 1)):
        there = list(at)
        there[axis] += step
        if 0 <= there[axis] < len(grids[axis]):
            assert found < 1.001 * score(grids[0][there[0]], grids[1][there[1]])


def test_no_step_of_the_last_stride_leads_to_a_better_point() -> None:
    """The first strides are longer, so that fewer points are tried than one step at a time."""
    surface = np.add.outer(np.square(np.arange(22) - 17.2), np.square(np.arange(6) - 1.1))
    tried: dict[tuple[int, ...], float] = {}

    def score(point: tuple[int, ...]) -> float:
        tried[point] = float(surface[point])
        return tried[point]

    point: tuple[int, ...] = (5, 4)
    for stride in reference._STRIDES:
        point = walk_downhill(score, point, surface.shape, stride)
    assert point == (17, 1)
    in_strides = len(tried)
    tried.clear()
    # The last points of a grid are tried too, though no whole step leads there.
    assert walk_downhill(score, (5, 4), surface.shape, 50)[0] in (0, 5, 21)
    assert {0, 21} <= {reg for reg, _ in tried}
    tried.clear()
    assert walk_downhill(score, (5, 4), surface.shape) == point
    assert in_strides < len(tried)


def test_a_search_recovers_from_vanished_factors() -> None:
    """Under a penalty that leaves no factors ALS ends at zero, and a fit started there stays."""
    train = random_ratings(n_users=90, n=2000)
    strong = Objective(2, 50.0)
    vanished = get_backend("numpy-als", **asdict(strong)).fit(train, epochs=40)
    assert reference._has_vanished(vanished.model_, train)
    fitted = get_backend("numpy-als", rank=2, reg=0.01, damping=0.0).fit(train, epochs=40)
    assert not reference._has_vanished(fitted.model_, train)


def test_numpy_finds_the_reference_that_numba_finds(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    data, used = case.data, []

    def without_numba(name: str, **params: Any) -> Factorizer:
        used.append(name)
        if name == "numba-als":
            raise BackendUnavailable(name)
        return get_backend(name, **params)

    arguments = data.train, data.validation, data.test, case.objective, lambda text: None
    found = reference.compute_reference(*arguments)
    monkeypatch.setattr(reference, "get_backend", without_numba)
    again = reference.compute_reference(*arguments)
    assert "numpy-als" in used
    for name in ("validation_mse", "test_mse", "objective", "spread"):
        assert again[name] == pytest.approx(found[name], rel=1e-8, abs=1e-11), name  # type: ignore[literal-required]


def test_the_edge_of_a_grid_is_reported(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def note(objective: Objective, **options: Any) -> str:
        monkeypatch.setattr(reference, "best_objective", lambda *_, **__: objective)
        keys = [f"{objective.reg:g}", *map(str, options), *map(str, options.values())]
        given = {"rank": 2, "reg": None, "key": " ".join(keys)} | options
        parts = case.data.train, case.data.validation, case.data.test
        return reference.find_reference(*parts, **given)[1]["note"]

    inside = Objective(2, reference.REGS[3], damping=reference.DAMPINGS[2])
    assert note(inside) == ""
    edge = Objective(2, reference.REGS[-1], damping=reference.DAMPINGS[0])
    assert note(edge) == "reg is the largest tried"  # there is no damping below 0
    edge = Objective(2, reference.REGS[0], damping=reference.DAMPINGS[-1])
    assert note(edge) == "reg is the smallest tried; damping is the largest tried"
    assert note(edge, reg=edge.reg) == "damping is the largest tried"
    assert note(edge, reg=edge.reg, damping=edge.damping) == ""
    quick = "reg and damping chosen by a quick search, with long steps and in 15 s at most"
    assert note(inside, quick=True) == quick
    assert note(inside, reg=0.1, damping=1.0, quick=True) == ""


def test_a_quick_reference_is_kept_apart_and_gives_way_to_a_full_one(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path))
    parts = case.data.train, case.data.validation, case.data.test
    options = {"rank": 2, "reg": 0.2, "damping": 5.0, "key": "some hash"}
    quick = reference.find_reference(*parts, quick=True, **options)[1]
    assert quick["seeds"] == 1
    full = reference.find_reference(*parts, **options)[1]
    assert full["seeds"] == len(reference.SEEDS)
    assert reference.find_reference(*parts, quick=True, **options)[1] == full


@pytest.mark.parametrize("way", ["folder/that/is/a/file", "file"])
def test_a_reference_that_cannot_be_stored_is_a_warning_even_where_those_are_errors(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    for name in ("folder", "file"):
        (tmp_path / name).touch()
    monkeypatch.setenv("FACTORBENCH_CACHE", str(tmp_path / way))
    parts = case.data.train, case.data.validation, case.data.test
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        found = reference.find_reference(
            *parts, rank=2, reg=0.2, damping=5.0, key="some hash", quick=True
        )
    assert found[0] == Objective(2, 0.2, damping=5.0)
    (warning,) = caught
    assert str(warning.message).startswith("the reference cannot be stored for the next run (")
    assert str(warning.message).endswith("set FACTORBENCH_CACHE to a folder that can be written to")


def test_what_is_given_is_not_searched_for() -> None:
    train, validation = replace(random_ratings(), encoder=None).split(0.2)
    tried: list[str] = []
    best = reference.best_objective(train, validation, 2, tried.append, reg=0.123)
    assert best.reg == 0.123
    assert all("reg 0.123," in text for text in tried)
    best = reference.best_objective(train, validation, 2, tried.append, reg=0.123, damping=7.0)
    assert best == Objective(2, 0.123, damping=7.0)


@pytest.mark.parametrize("value", [0.1, 3.0])
def test_equal_ratings_have_no_reference(value: float) -> None:
    ratings = Ratings([0, 0, 1], [0, 1, 0], np.full(3, value))
    with pytest.raises(
        ValueError, match="all training ratings are equal: there is nothing to factorise"
    ):
        reference.best_objective(ratings, ratings, 2, lambda text: None)


def test_the_kept_reference_of_the_quick_data_can_be_computed_again() -> None:
    import json

    from bench.cases.encode import encode
    from bench.cases.reference import _KEPT, _entry, compute_reference
    from bench.datasets import load_dataset

    data = encode(load_dataset("twin", scale=0.02))
    kept = json.loads(_KEPT.read_text("utf-8")).get(_entry(data.hash, 16, None, None, quick=False))
    if kept is None:
        pytest.skip(f"numpy {np.__version__} draws another twin than the kept references belong to")
    objective = Objective(16, kept["reg"], damping=kept["damping"])
    again = compute_reference(data.train, data.validation, data.test, objective, lambda text: None)
    for name in ("validation_mse", "test_mse", "objective"):
        assert again[name] == pytest.approx(kept["reference"][name], rel=1e-3), name  # type: ignore[literal-required]
