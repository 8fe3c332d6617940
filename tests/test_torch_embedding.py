"""The PyTorch backend: its model, its gradients, and Adam's batches, seed, defaults and units."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import random_ratings, relative_differences

from backends import Objective, Parameters, Ratings, get_backend, initial_model

torch = pytest.importorskip("torch")

from backends import _torch_products  # noqa: E402  # needs torch
from backends._threads import Threads  # noqa: E402
from backends.torch_embedding import EmbeddingModel, TorchEmbedding  # noqa: E402

ROUNDING = 1e-12


@pytest.fixture(scope="module")
def small() -> Ratings:
    return random_ratings()


def scaled(ratings: Ratings, factor: float) -> Ratings:
    return Ratings(ratings.users, ratings.items, ratings.ratings * factor, ratings.n_users, ratings.n_items)


def adam(**params: object) -> TorchEmbedding:
    return get_backend("torch-cpu", optimizer="adam", n_jobs=1, **{"rank": 3, "dtype": "float64", **params})


def random_start(solver: TorchEmbedding, train: Ratings) -> Parameters:
    rng = np.random.default_rng(0)
    start = initial_model(solver.objective, train, 0, init_scale=0.5)
    return replace(start, user_bias=rng.normal(size=train.n_users), item_bias=rng.normal(size=train.n_items))


def test_the_module_predicts_as_the_parameters_do(small: Ratings) -> None:
    start = random_start(adam(), small)
    model = EmbeddingModel(start, torch.device("cpu"), unit=4.0)
    predictions = model(torch.tensor(small.users), torch.tensor(small.items))
    assert predictions.requires_grad
    expected = start.predict(small.users, small.items)
    assert predictions.detach().numpy() == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("products", ["sparse", "gather"])
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_one_batch_has_the_gradient_of_the_objective(small: Ratings, products: str, scale: float) -> None:
    train = scaled(small, scale)
    solver = adam(products=products, batch_size=len(train), reg=0.3)
    start = random_start(solver, train)
    state = solver.prepare(train, start)
    assert state.model.unit == (1.0 if scale == 1.0 else 16.0)
    with torch.no_grad():
        state.gradient.measure(state.model.tables(), *state.batches)
    expected = solver.objective.gradient(start, train)
    unit, sides = state.model.unit, {}
    for side, table in state.gradient.of.items():  # of J over unit^2, by factors over root unit and biases over unit
        sides[f"{side}_factors"] = table.numpy()[:, :3] * unit**1.5
        sides[f"{side}_bias"] = table.numpy()[:, state.model.bias_column[side]] * unit
    differences = relative_differences(Parameters(0.0, **sides), expected)
    assert max(differences.values()) <= ROUNDING


@pytest.mark.parametrize("products", ["sparse", "gather"])
def test_the_mean_of_the_batches_gradients_is_that_of_the_whole(small: Ratings, products: str) -> None:
    whole, parts = (adam(products=products, batch_size=size).prepare for size in (len(small), 100))
    start = random_start(adam(), small)
    gradients = []
    for state in (whole(small, start), parts(small, start)):
        with torch.no_grad():
            sums = []
            for batch in state.batches:
                state.gradient.measure(state.model.tables(), batch)
                sums.append(state.gradient.of["user"][:, :4].clone())
        gradients.append(torch.stack(sums).mean(dim=0).numpy())
    assert len(sums) == 6
    assert gradients[1] == pytest.approx(gradients[0], rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("n", [600, 597])
def test_every_rating_is_in_one_batch(n: int) -> None:
    train = random_ratings(n=n)
    marked = Ratings(train.users, train.items, np.arange(float(n)), train.n_users, train.n_items)
    deal, rng = _torch_products.sparse_batches, np.random.default_rng(0)
    batches = deal(marked, marked.ratings, torch.device("cpu"), 7, rng, Threads(1))
    assert {batch.n for batch in batches} <= {n // 7, n // 7 + 1}
    assert sorted(np.concatenate([batch.targets.numpy() for batch in batches])) == list(range(n))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_products_agree_and_overwrite_what_a_divergence_left(
    small: Ratings, dtype: str, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_torch_products, "THREADED", 1)
    start = initial_model(Objective(3), small, 0).astype(dtype)
    left, right = torch.tensor(start.user_factors), torch.tensor(start.item_factors)
    targets, rng = small.ratings.astype(dtype), np.random.default_rng(0)
    results = []
    arguments, before = (small, targets, torch.device("cpu"), 1, rng), torch.get_num_threads()
    for (products,) in (
        _torch_products.sparse_batches(*arguments, Threads(n_threads)),
        _torch_products.gather_batches(*arguments),
    ):
        users, items = torch.full_like(left, torch.nan), torch.full_like(right, torch.nan)
        errors = products.sums(left, right, users, items, 0.5)
        results.append((users, items, _torch_products.squared_norm(errors, torch.float64)))
    assert torch.get_num_threads() == before
    for sparse, gathered in zip(*results, strict=True):
        assert sparse.numpy() == pytest.approx(gathered.numpy(), rel=1e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_more_threads_than_rows_change_nothing(optimizer: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch_products, "THREADED", 1)
    items = np.arange(50)
    train = Ratings(np.zeros(50, np.int32), items, np.sin(items), 1, 50)
    solver = get_backend("torch-cpu", rank=3, dtype=dtype, optimizer=optimizer)
    fits = [solver.set_params(n_jobs=n).fit(train, epochs=3).model_.parameters.item_factors for n in (1, 4)]
    assert np.array_equal(*fits)


def test_order_by_is_a_stable_argsort() -> None:
    rows = np.random.default_rng(0).integers(0, 50, 1000)
    assert np.array_equal(_torch_products.order_by(rows, 60), np.argsort(rows, kind="stable"))


def test_squared_norm_is_as_exact_as_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch_products, "WIDE_CHUNK", 1000)
    errors = np.random.default_rng(0).normal(size=12_345).astype(np.float32)
    exact = float(np.square(errors, dtype=np.float64).sum())
    assert float(_torch_products.squared_norm(torch.tensor(errors), torch.float64)) == pytest.approx(exact, rel=1e-14)


# ---- the seed -------------------------------------------------------------------------------------------------------


def test_adam_deals_its_batches_by_the_seed_of_fit(small: Ratings) -> None:
    start = initial_model(Objective(3), small, 0)
    fits = [adam(batch_size=64).fit(small, seed=seed, initial=start, epochs=3) for seed in (1, 1, 2)]
    first, again, other = (fit.model_.parameters.user_factors for fit in fits)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, rtol=1e-3)


def test_full_batch_descent_draws_nothing(small: Ratings) -> None:
    start = initial_model(Objective(3), small, 0)
    solver = get_backend("torch-cpu", rank=3, n_jobs=1)
    fits = [solver.fit(small, seed=seed, initial=start, epochs=3).model_.parameters.user_factors for seed in (1, 2)]
    assert np.array_equal(*fits)


def test_the_seed_of_fit_is_kept_and_is_no_parameter(small: Ratings) -> None:
    solver = adam()
    assert solver.seed_ == 0
    assert solver.fit(small, seed=np.int64(7), epochs=1).seed_ == 7
    assert "seed_" not in solver.get_params()
    assert replace(solver).seed_ == 0


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_a_fit_leaves_the_global_generator_of_torch_alone(small: Ratings, optimizer: str) -> None:
    before = torch.get_rng_state()
    get_backend("torch-cpu", rank=3, n_jobs=1, optimizer=optimizer).fit(small, epochs=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_adam_does_not_depend_on_the_order_of_the_rows(small: Ratings) -> None:
    order = np.random.default_rng(1).permutation(len(small))
    columns = (small.users[order], small.items[order], small.ratings[order])
    shuffled = Ratings(*columns, small.n_users, small.n_items)
    # multiples of 0.5, so that the mean is the same in any order
    fits = [adam(batch_size=64).fit(replace_halves(train), epochs=3) for train in (small, shuffled)]
    assert np.array_equal(*(fit.model_.parameters.item_factors for fit in fits))


def replace_halves(ratings: Ratings) -> Ratings:
    halves = np.round(2 * ratings.ratings) / 2
    return Ratings(ratings.users, ratings.items, halves, ratings.n_users, ratings.n_items)


# ---- defaults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "rate"), [("gd", 0.2), ("adam", 0.06)])
def test_the_learning_rate_is_the_optimizers_own_unless_given(small: Ratings, optimizer: str, rate: float) -> None:
    own = TorchEmbedding(optimizer=optimizer, rank=3, n_jobs=1)
    assert own.get_params()["learning_rate"] is None
    fits = [solver.fit(small, epochs=3) for solver in (own, replace(own, learning_rate=rate))]
    assert np.array_equal(*(fit.model_.parameters.item_factors for fit in fits))
    assert own.learning_rate is None
    other = replace(own, learning_rate=rate / 2).fit(small, epochs=3)
    assert not np.allclose(other.model_.parameters.item_factors, own.model_.parameters.item_factors, rtol=1e-3)


@pytest.mark.parametrize("value", [0, float("nan"), "fast"])
def test_a_wrong_learning_rate_of_adam_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"^learning_rate must be a positive number, got "):
        adam(learning_rate=value)


def test_other_parameters_are_checked_without_a_learning_rate() -> None:
    with pytest.raises(ValueError, match=r"^batch_size must be None or an integer of at least 1, got 0"):
        adam(batch_size=0)
    with pytest.raises(ValueError, match=r"^rank must be an integer of at least 1, got 0"):
        adam(rank=0)


def test_adam_takes_a_batch_of_four_times_the_rows_but_sixteen_batches(small: Ratings) -> None:
    def n_batches(train: Ratings) -> int:
        return len(adam().prepare(train, initial_model(Objective(3), train, 0)).batches)

    assert n_batches(small) == 16
    few_rows = Ratings(small.users % 4, small.items % 5, small.ratings, 4, 5)
    assert n_batches(few_rows) == 17  # of at most 36


def test_adam_ends_near_the_minimum_by_default(small: Ratings) -> None:
    exact = get_backend("numpy-als", rank=3, n_jobs=1).fit(small, epochs=200)
    solver = adam().fit(small, epochs=400)
    assert solver.history_[-1].objective <= 1.005 * exact.history_[-1].objective


def test_the_rate_of_adam_falls_with_the_root_of_the_epoch(small: Ratings) -> None:
    solver = adam(learning_rate=0.1)
    state = solver.prepare(small, initial_model(Objective(3), small, 0))
    rates = []
    for _ in range(4):
        solver.step(state, 1)
        rates.append(state.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.1 / 2**0.5, 0.1 / 3**0.5, 0.05])


@pytest.mark.parametrize("factor", [4.0**-5, 4.0**6])
def test_adam_takes_the_same_course_on_any_scale(small: Ratings, factor: float) -> None:
    # without biases J has a scale: factors grow with its root, reg with the scale itself
    fits = []
    for scale in (1.0, factor):
        solver = adam(bias=False, reg=0.1 * scale, init_scale=0.5)
        fits.append(solver.fit(scaled(small, scale), epochs=5).model_.parameters)
    assert fits[1].user_factors == pytest.approx(fits[0].user_factors * factor**0.5, rel=1e-9)


def test_adam_needs_no_tuning_for_a_scale_in_between(small: Ratings) -> None:
    for scale in (1e-3, 2.0, 100.0):
        train = scaled(small, scale)
        fit = adam(reg=0.05 * scale, bias=False, init_scale=0.5).fit(train, epochs=100)
        assert fit.history_[-1].train_mse <= 0.02 * np.mean(np.square(train.ratings))
