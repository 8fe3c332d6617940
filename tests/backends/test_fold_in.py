"""New users, items and ratings for a fitted model: solved for exactly, without a fit."""

import pickle
from typing import Any

import numpy as np
import pytest

from backends import (
    Factorizer,
    FactorModel,
    NotFittedError,
    Objective,
    Ratings,
    RatingsError,
    UnknownIdError,
    _rows,
    get_backend,
)

RANK = 5


def ratings_of(n_users: int = 60, n_items: int = 40, seed: int = 0, **kind: Any) -> Ratings:
    """Ratings of low rank and noise, by every user and of every item."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((n_users, n_items)) < 0.4)
    p, q = rng.normal(size=(n_users, 2)), rng.normal(size=(n_items, 2))
    values = 3 + (p[users] * q[items]).sum(axis=1) + rng.normal(size=len(users)) / 3
    weights = rng.uniform(0.5, 2, len(users)) if kind.get("weighted") else None
    if kind.get("texts"):
        ids = [f"u{u}" for u in users], [f"i{i}" for i in items]
        return Ratings.from_arrays(*ids, values, weights=weights)
    return Ratings.from_arrays(users * 3 + 7, items * 5 + 1, values, weights=weights)


def parts(train: Ratings, is_new: Any) -> tuple[Ratings, Ratings]:
    """Return the ratings of what is not new, and of what is, each encoded anew."""
    assert train.encoder is not None
    new = is_new(train)
    made = []
    for chosen in (~new, new):
        part = train.take(chosen)
        assert part.encoder is not None
        made.append(
            Ratings.from_arrays(
                part.encoder.user_ids(part.users),
                part.encoder.item_ids(part.items),
                part.ratings,
                weights=part.weights,
            )
        )
    return made[0], made[1]


def of_new_users(train: Ratings) -> Any:
    return train.users % 6 == 5


def of_new_items(train: Ratings) -> Any:
    return train.items % 6 == 5


def solver(name: str = "numpy-als", **params: Any) -> Factorizer:
    settings = {"rank": RANK, "dtype": "float64", "damping": 3.0, "reg": 0.05} | params
    return get_backend(name, **settings)


def objective_at(model: FactorModel, train: Ratings, objective: Objective) -> float:
    """Return J with the mean and the unit of the model's fit."""
    x = model.parameters
    return objective.value(x, train)


@pytest.mark.parametrize("bias", [True, False, "fixed"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "reg_scaling": "per_entity",
            "damping": 0.0,
            "user_bias_damping": 0,
            "item_bias_damping": 0,
        },
        {"reg_unit": "rating"},
    ],
)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("side", ["user", "item"])
@pytest.mark.parametrize("few", [True, False])
def test_rows_are_those_of_a_half_epoch(
    bias: Any,
    options: dict[str, Any],
    weighted: bool,
    side: Any,
    few: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An epoch solves for the users with the items of the epoch before, and then for the items."""
    if not few:
        pytest.importorskip("numba")
        monkeypatch.setattr(_rows, "_FEW", 0)
    train = ratings_of(weighted=weighted)
    before, after = (solver(bias=bias, **options).fit(train, epochs=n).model_ for n in (3, 4))
    fixed = before if side == "user" else after
    x, other = fixed.parameters, "item" if side == "user" else "user"
    opposites = getattr(x, f"{other}_factors"), getattr(x, f"{other}_bias")
    found = fixed._problem(None).solve(side, train, opposites, 2)
    # The sweeps for biases alone end with the users, when little changes.
    tolerance = 1e-3 if (bias, side) == ("fixed", "item") else 1e-10
    for array, name in zip(found, ("factors", "bias"), strict=True):
        expected = getattr(after.parameters, f"{side}_{name}")
        np.testing.assert_allclose(array, expected, atol=tolerance)


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("side", ["user", "item"])
def test_new_rows_are_where_their_objective_is_least(side: Any, texts: bool) -> None:
    everything = ratings_of(texts=texts)
    train, new = parts(everything, of_new_users if side == "user" else of_new_items)
    model = solver().fit(train, epochs=30).model_
    folded = model.fold_in(new, side=side)
    assert folded.encoder is not None
    n_new = new.n_users if side == "user" else new.n_items
    before = (model.n_users, model.n_items)
    after = (folded.n_users, folded.n_items)
    grown = (n_new, 0) if side == "user" else (0, n_new)
    assert after == (before[0] + grown[0], before[1] + grown[1])
    # Rows that were there stay what they were, and their numbers too.
    for name, array in model.parameters.arrays().items():
        assert np.array_equal(getattr(folded.parameters, name)[: len(array)], array)
    # The gradient of J over all ratings vanishes in the new rows; J's N is that of training.
    together = train.extended(new)
    assert folded.encoder.same_rows(together.encoder)
    objective, x = solver().objective, folded.parameters
    rms, mean = model.fit["rms"], x.mean
    own, other = (
        (together.users, together.items) if side == "user" else (together.items, together.users)
    )
    errors = x.predict(together.users, together.items) - together.ratings
    factors = {s: getattr(x, f"{s}_factors") for s in ("user", "item")}
    biases = {s: getattr(x, f"{s}_bias") for s in ("user", "item")}
    opposite = "item" if side == "user" else "user"
    damping = objective.user_bias_damping if side == "user" else objective.item_bias_damping
    assert mean == pytest.approx(train.summary.mean)
    for row in range(before[side == "item"], after[side == "item"]):
        mine = own == row
        n = mine.sum()
        gradient = errors[mine] @ factors[opposite][other[mine]]
        gradient += objective.reg * rms * (n + objective.damping) * factors[side][row]
        of_bias = errors[mine].sum() + (objective.bias_reg * n + damping) * biases[side][row]
        np.testing.assert_allclose([*gradient, of_bias], 0, atol=1e-9)


def test_new_users_get_about_what_a_fit_with_them_gives_them() -> None:
    everything = ratings_of(300, 60)
    train, new = parts(everything, of_new_users)
    rng = np.random.default_rng(0)
    shown = rng.random(len(new)) < 0.7
    assert new.encoder is not None
    ids = new.encoder.user_ids(new.users), new.encoder.item_ids(new.items)
    seen = Ratings.from_arrays(*(column[shown] for column in (*ids, new.ratings)))
    hidden = ids[0][~shown], ids[1][~shown]
    model = solver(rank=2).fit(train, epochs=20).model_
    truth = new.ratings[~shown]
    folded = model.fold_in(seen)
    whole = solver(rank=2).fit(train.extended(seen), epochs=20).model_
    errors = [
        float(np.mean((found.predict(*hidden, unknown="mean") - truth) ** 2))
        for found in (folded, whole, model)
    ]
    assert errors[0] < 1.05 * errors[1]
    assert errors[0] < 0.5 * errors[2]


def test_a_model_of_new_users_alone_shares_what_it_can() -> None:
    train, new = parts(ratings_of(), of_new_users)
    model = solver().fit(train, epochs=5).model_
    known = train.encoder.users[0] if train.encoder else 0
    model.recommend(known)
    alone, whole = model.fold_in(new, alone=True), model.fold_in(new)
    assert alone.n_users == new.n_users
    assert alone.parameters.item_factors is model.parameters.item_factors
    assert len(alone._tables) == len(model._tables) == 1
    # Popularity is that of the model, and what they have rated is in nobody's list.
    assert (alone.item_counts() == model.item_counts()).all()
    assert new.encoder is not None
    for user in new.encoder.users.tolist():
        rated = new.encoder.items[new.items[new.users == new.encoder.user_rows(user)[0]]]
        for found in (alone, whole):
            listed = [one.item for one in found.recommend(user, 100)]
            assert not set(listed) & set(rated.tolist())
            assert len(listed) == model.n_items - len(rated)
    np.testing.assert_allclose(
        alone.predict(new.encoder.users, model.encoder.items[0] if model.encoder else 0),
        whole.predict(new.encoder.users, model.encoder.items[0] if model.encoder else 0),
    )
    with pytest.raises(UnknownIdError):
        alone.recommend(known)


def test_new_items_appear_in_lists_and_not_in_those_of_who_rated_them() -> None:
    train, new = parts(ratings_of(), of_new_items)
    folded = solver().fit(train, epochs=5).model_.fold_in(new, side="item")
    assert new.encoder is not None
    lists = folded.recommend(n=100)
    listed = set(lists.ids.compressed().tolist())
    assert listed & set(new.encoder.items.tolist())
    frame = lists.frame()
    ids = new.encoder.users[new.users].tolist(), new.encoder.items[new.items].tolist()
    rated = set(zip(*ids, strict=True))
    assert not rated & set(zip(frame["user"], frame["item"], strict=True))


def test_models_with_new_rows_are_saved_and_loaded(tmp_path: Any) -> None:
    train, new = parts(ratings_of(texts=True), of_new_users)
    for alone in (False, True):
        folded = solver().fit(train, epochs=5).model_.fold_in(new, alone=alone)
        folded.save(tmp_path / "model.npz")
        loaded = FactorModel.load(tmp_path / "model.npz")
        assert (loaded.recommend(n=5).rows == folded.recommend(n=5).rows).all()
        assert (loaded.item_counts() == folded.item_counts()).all()


def test_models_without_raw_ids_number_new_rows_by_them() -> None:
    train = Ratings([0, 0, 1, 1], [0, 1, 1, 2], [1.0, 2, 3, 4])
    model = solver(rank=2).fit(train, epochs=3).model_
    folded = model.fold_in(Ratings([5, 5], [0, 2], [4.0, 5.0]))
    assert folded.n_users == 3
    assert len(folded.predict([0, 1, 5], [0, 1, 2])) == 3
    with pytest.raises(UnknownIdError):
        folded.predict(2, 0)


# ---- what is refused ----------------------------------------------------------------------------


def test_known_users_are_refused() -> None:
    train = ratings_of()
    model = solver().fit(train, epochs=2).model_
    with pytest.raises(ValueError, match=r"60 of 60 users \(such as 7\) are in the model"):
        model.fold_in(ratings_of(seed=1))


def test_ratings_of_unknown_items_are_refused_or_left_out() -> None:
    model = solver().fit(ratings_of(), epochs=2).model_
    new = Ratings.from_arrays([-5, -5, -6], [1, -1, -2], [4.0, 2.0, 1.0])
    with pytest.raises(UnknownIdError, match=r"2 unknown item ids \(-1, -2\)"):
        model.fold_in(new)
    folded = model.fold_in(new, unknown="drop", alone=True)
    assert folded.encoder is not None
    assert folded.encoder.users.tolist() == [-5]
    only = model.fold_in(Ratings.from_arrays([-5], [1], [4.0]), alone=True)
    assert np.array_equal(only.parameters.user_factors, folded.parameters.user_factors)
    with pytest.raises(RatingsError, match="no rating is of an item that the model has"):
        model.fold_in(Ratings.from_arrays([-5], [-1], [4.0]), unknown="drop")


def test_ids_of_the_other_kind_are_refused() -> None:
    model = solver().fit(ratings_of(), epochs=2).model_
    with pytest.raises(RatingsError, match="items are text"):
        model.fold_in(Ratings.from_arrays([-5], ["a"], [4.0]))
    with pytest.raises(RatingsError, match="users are text"):
        model.fold_in(Ratings.from_arrays(["a"], [1], [4.0]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"side": "users"}, "side must be"),
        ({"unknown": "mean"}, "unknown must be"),
        ({"n_jobs": 0}, "n_jobs must be"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    model = solver().fit(ratings_of(), epochs=1).model_
    with pytest.raises(ValueError, match=message):
        model.fold_in(Ratings.from_arrays([-5], [1], [4.0]), **arguments)


def test_only_ratings_are_folded_in() -> None:
    model = solver().fit(ratings_of(), epochs=1).model_
    with pytest.raises(TypeError, match="ratings must be Ratings, got list"):
        model.fold_in([(1, 2, 3.0)])


def test_a_model_that_does_not_know_its_objective_has_to_be_given_one() -> None:
    train, new = parts(ratings_of(), of_new_users)
    model = solver().fit(train, epochs=5).model_
    expected = model.fold_in(new, alone=True).parameters.user_factors
    model.fit = {"solver": "SomebodyElse", "reg": 3.0}
    with pytest.raises(ValueError, match="objective must be given"):
        model.fold_in(new)
    found = model.fold_in(new, alone=True, objective=solver().objective)
    np.testing.assert_allclose(found.parameters.user_factors, expected, rtol=1e-6)


# ---- partial_fit --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["numpy-als", "numpy", "numba-sgd"])
def test_the_objective_does_not_rise(name: str) -> None:
    if name.startswith("numba"):
        pytest.importorskip("numba")
    everything = ratings_of(120, 50)
    order = np.random.default_rng(1).permutation(len(everything))
    first, rest = everything.take(order[:-200]), everything.take(order[-200:])
    fit = solver(name).fit(first, epochs=15)
    objective, before = fit.objective, fit.model_.parameters
    fit.partial_fit(rest)
    mean = before.mean
    # J of all ratings with the mean of the fit: solved rows are minima of it.
    together = fit._trained_on
    shifted = [objective.value(x, together) for x in (before, fit.model_.parameters)]
    assert fit.model_.parameters.mean == mean
    assert shifted[1] < shifted[0]
    more = solver(name).fit(first, epochs=15).partial_fit(rest, sweeps=4)
    assert objective.value(more.model_.parameters, together) <= shifted[1] * (1 + 1e-9)


def test_new_ratings_improve_predictions_of_their_kind() -> None:
    """New users, new items, known ones, in any order; day after day."""
    everything = ratings_of(300, 60, texts=True)
    rng = np.random.default_rng(3)
    order = rng.permutation(len(everything))
    assert everything.encoder is not None
    ids = everything.encoder.users[everything.users], everything.encoder.items[everything.items]
    columns = [column[order] for column in (*ids, everything.ratings)]
    n = len(order)
    days = [slice(0, n // 2), *(slice(n * k // 20, n * (k + 1) // 20) for k in range(10, 18))]
    test = [column[n * 9 // 10 :] for column in columns]
    of_days = [Ratings.from_arrays(*(column[day] for column in columns)) for day in days]
    fit = solver(rank=2).fit(of_days[0], epochs=20)

    def error(model: FactorModel) -> float:
        return float(np.mean((model.predict(*test[:2], unknown="mean") - test[2]) ** 2))

    before = error(fit.model_)
    for day in of_days[1:]:
        fit.partial_fit(day)
    together = of_days[0]
    for day in of_days[1:]:
        together = together.extended(day)
    again = solver(rank=2).fit(together, epochs=20)
    assert error(again.model_) < before
    assert error(fit.model_) < 1.03 * error(again.model_)
    assert fit.model_.encoder is not None
    assert fit.model_.encoder.same_rows(together.encoder)


def test_the_order_of_new_ratings_does_not_matter() -> None:
    train, new = parts(ratings_of(), of_new_users)
    found = []
    for order in (np.arange(len(new)), np.arange(len(new))[::-1]):
        fit = solver().fit(train, epochs=5).partial_fit(new.take(order))
        found.append(fit.predict(*(new.encoder.users[new.users], new.encoder.items[new.items])))
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_a_new_rating_of_a_pair_takes_the_place_of_the_old_one() -> None:
    train = Ratings.from_arrays([1, 1, 2, 2], [5, 6, 5, 7], [1.0, 2, 3, 4])
    fit = solver(rank=1).fit(train, epochs=2)
    fit.partial_fit(Ratings.from_arrays([2, 3], [5, 8], [5.0, 1.0]))
    together = fit._trained_on
    assert len(together) == 5
    ids = together.encoder.users[together.users], together.encoder.items[together.items]
    users, items = (column.tolist() for column in ids)
    pairs = {(u, i): r for u, i, r in zip(users, items, together.ratings.tolist(), strict=True)}
    assert pairs == {(1, 5): 1, (1, 6): 2, (2, 7): 4, (2, 5): 5, (3, 8): 1}


def test_the_first_call_is_a_fit() -> None:
    train = ratings_of()
    expected = solver().fit(train).model_.parameters.user_factors
    found = solver().partial_fit(train).model_.parameters.user_factors
    assert np.array_equal(found, expected)


def test_a_copy_of_a_solver_has_no_training_ratings_and_takes_them_again() -> None:
    train, new = parts(ratings_of(), of_new_users)
    fit = solver().fit(train, epochs=5)
    n_bytes = len(pickle.dumps(fit))
    copy = pickle.loads(pickle.dumps(fit))
    assert n_bytes < len(pickle.dumps(train))
    with pytest.raises(ValueError, match=r"partial_fit\(ratings, history=train\)"):
        copy.partial_fit(new)
    copy.partial_fit(new, history=train)
    fit.partial_fit(new)
    for name, array in fit.model_.parameters.arrays().items():
        assert np.array_equal(array, getattr(copy.model_.parameters, name))


def test_new_ratings_are_checked() -> None:
    fit = solver().fit(ratings_of(), epochs=1)
    with pytest.raises(TypeError, match="must be Ratings"):
        fit.partial_fit([1])
    with pytest.raises(ValueError, match="sweeps must be"):
        fit.partial_fit(ratings_of(), sweeps=0)
    with pytest.raises(RatingsError, match="weights"):
        fit.partial_fit(ratings_of(weighted=True))
    with pytest.raises(RatingsError, match="text"):
        fit.partial_fit(ratings_of(texts=True))
    with pytest.raises(NotFittedError):
        _ = solver()._minimised and solver().model_


def test_ratings_that_were_held_out_of_a_fit_are_learned_and_stay_seen() -> None:
    """A share that was split off for validation is not forgotten by the first new rating."""
    train = ratings_of()
    fit = solver().fit(train, validation=0.2, epochs=5)
    fit.partial_fit(Ratings.from_arrays([7], [1], [4.0]))
    assert fit.model_.item_counts().sum() in (len(train), len(train) + 1)
    seen = fit.model_._seen()
    pairs = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    known = np.repeat(np.arange(fit.model_.n_users), np.diff(seen.offsets)), seen.items
    assert pairs <= set(zip(*(column.tolist() for column in known), strict=True))


def test_a_history_in_another_order_is_the_same_history() -> None:
    train, new = parts(ratings_of(), of_new_users)
    found = []
    for history in (None, train.canonical(), train.take(np.arange(len(train))[::-1])):
        fit = solver().fit(train, epochs=5)
        found.append(fit.partial_fit(new, history=history).model_)
    assert train.encoder is not None
    ids = train.encoder.users[train.users], train.encoder.items[train.items]
    for model in found[1:]:
        np.testing.assert_allclose(model.predict(*ids), found[0].predict(*ids), rtol=1e-9)


def test_a_history_that_lacks_ratings_is_refused() -> None:
    train, new = parts(ratings_of(), of_new_users)
    fit = solver().fit(train, epochs=5)
    with pytest.raises(ValueError, match="history must hold all ratings that the model knows"):
        fit.partial_fit(new, history=train.take(np.arange(len(train) // 2)))


def test_users_who_were_folded_in_stay_in_the_model() -> None:
    train, new = parts(ratings_of(), of_new_users)
    fit = solver().fit(train, epochs=5)
    fit.model_ = fit.model_.fold_in(new)
    known = Ratings.from_arrays([7], [1], [4.0])
    with pytest.raises(ValueError, match=r"10 users \(such as 22\) have fewer there"):
        fit.partial_fit(known)
    before = fit.model_
    fit.partial_fit(known, history=train.extended(new))
    assert new.encoder is not None
    assert fit.model_.encoder.users.tolist() == before.encoder.users.tolist()
    ids = new.encoder.users[0], new.encoder.items[new.items[new.users == 0]]
    np.testing.assert_allclose(fit.predict(*ids), before.predict(*ids), atol=0.1)


def test_popularity_stays_when_more_users_are_folded_in() -> None:
    train, new = parts(ratings_of(), of_new_users)
    model = solver().fit(train, epochs=5).model_
    for alone in (True, False):
        one = model.fold_in(new, alone=alone)
        two = one.fold_in(Ratings.from_arrays([-1], [1], [5.0]), unknown="drop")
        assert two.item_counts().sum() == one.item_counts().sum() + 1


def test_the_last_of_several_new_ratings_of_a_pair_counts() -> None:
    train = Ratings.from_arrays([1, 1, 2, 2], [5, 6, 5, 7], [1.0, 2, 3, 4])
    assert train.encoder is not None
    twice = train.encoder.encode_new([2, 2, 1], [6, 6, 5], [1.0, 5.0, 2.0]).ratings
    together = train.extended(twice)
    assert len(together) == 5
    ids = together.encoder.users[together.users], together.encoder.items[together.items]
    found = {(u, i): r for u, i, r in zip(*ids, together.ratings.tolist(), strict=True)}
    assert found == {(1, 6): 2, (2, 5): 3, (2, 7): 4, (2, 6): 5, (1, 5): 2}


def test_the_hash_of_the_ratings_follows_them(tmp_path: Any) -> None:
    def hash_of(model: FactorModel) -> str:
        model.save(tmp_path / "model.npz")
        return FactorModel.load(tmp_path / "model.npz").data

    train, new = parts(ratings_of(), of_new_users)
    fit = solver().fit(train, epochs=2)
    first = hash_of(fit.model_)
    fit.recommend(n=2)
    assert hash_of(fit.model_) == first
    assert hash_of(fit.model_.fold_in(new)) == ""  # what it was made of is not there
    fit.partial_fit(new)
    assert hash_of(fit.model_) not in ("", first)
    ids = train.encoder.users[train.users] + 1, train.encoder.items[train.items]
    shifted = Ratings.from_arrays(*ids, train.ratings)
    assert hash_of(solver().fit(shifted, epochs=2).model_) != first


def test_an_objective_of_another_model_is_refused() -> None:
    train, new = parts(ratings_of(), of_new_users)
    model = solver().fit(train, epochs=1).model_
    with pytest.raises(ValueError, match="rank=5 and bias=True"):
        model.fold_in(new, objective=Objective(rank=3))
    with pytest.raises(TypeError, match="objective must be an Objective, got str"):
        model.fold_in(new, objective="mine")


def test_empty_ratings_are_refused() -> None:
    fit = solver().fit(ratings_of(), epochs=1)
    nothing = ratings_of().take(np.zeros(0, int))
    with pytest.raises(ValueError, match="ratings must hold at least one rating"):
        fit.partial_fit(nothing)
    with pytest.raises(RatingsError, match="ratings must hold at least one rating"):
        fit.model_.fold_in(nothing)
    with pytest.raises(TypeError, match="history must be Ratings, got list"):
        fit.partial_fit(ratings_of(), history=[1])
    with pytest.raises(ValueError, match="n_jobs must be"):
        fit.set_params(n_jobs=0).partial_fit(ratings_of())
