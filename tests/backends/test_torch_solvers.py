"""The PyTorch solvers: their model and gradients, and Adam's batches, seed, defaults and units."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers import in_fresh_process, random_ratings, relative_differences, trajectory

from backends import (
    BackendUnavailable,
    Factorizer,
    Objective,
    Parameters,
    Ratings,
    get_backend,
    initial_model,
)

torch = pytest.importorskip("torch")

from backends._engine import torch_products, torch_ratings  # noqa: E402
from backends._engine.adam import adam_step  # noqa: E402
from backends._engine.embedding import EmbeddingModel, fit_threads  # noqa: E402
from backends._engine.threads import Threads  # noqa: E402
from backends._engine.torch_ratings import DeviceRatings  # noqa: E402
from backends._engine.torch_tables import Tables  # noqa: E402
from backends.torch_adam import TorchAdam  # noqa: E402
from backends.torch_embedding import TorchEmbedding  # noqa: E402
from backends.torch_gd import TorchGD  # noqa: E402

pytestmark = pytest.mark.fits

ROUNDING = 1e-12
NAMES = {"gd": "torch-cpu-gd", "adam": "torch-cpu"}
PENALTIES: dict[str, dict[str, Any]] = {
    "dampings": {
        "reg": 0.3,
        "damping": 7.5,
        "bias_reg": 0.2,
        "user_bias_damping": 3.5,
        "item_bias_damping": 11.0,
    },
    "undamped": {
        "reg": 0.3,
        "damping": 0.0,
        "bias_reg": 0.2,
        "user_bias_damping": 0.0,
        "item_bias_damping": 0.0,
    },
    "per_entity": {
        "reg": 2e-3,
        "reg_scaling": "per_entity",
        "reg_unit": "rating",
        "damping": 0.0,
        "bias_reg": 0.01,
        "user_bias_damping": 0.0,
        "item_bias_damping": 0.0,
    },
}


@pytest.fixture(scope="module")
def small() -> Ratings:
    return random_ratings()


@pytest.fixture(scope="module")
def weighted(small: Ratings) -> Ratings:
    """Ratings with weights, and a user and an item that have none."""
    weights = np.random.default_rng(3).uniform(0.1, 4.0, len(small))
    rows, shape = (small.users, small.items), (small.n_users + 1, small.n_items + 1)
    return Ratings(*rows, small.ratings, *shape, weights=weights)


def scaled(ratings: Ratings, factor: float) -> Ratings:
    rows, shape = (ratings.users, ratings.items), (ratings.n_users, ratings.n_items)
    return Ratings(*rows, ratings.ratings * factor, *shape, weights=ratings.weights)


def solver_of(optimizer: str, **params: object) -> Factorizer:
    own = {"rank": 3, "dtype": "float64", "n_jobs": 1, **params}
    return get_backend(NAMES[optimizer], **own)


def adam(**params: object) -> Factorizer:
    return solver_of("adam", **params)


def random_start(solver: Factorizer, train: Ratings) -> Parameters:
    rng = np.random.default_rng(0)
    start = initial_model(solver.objective, train, 0, init_scale=0.5)
    biases = (rng.normal(size=n_rows) for n_rows in (train.n_users, train.n_items))
    return replace(start, **dict(zip(("user_bias", "item_bias"), biases, strict=True)))


def test_the_module_predicts_as_the_parameters_do(small: Ratings) -> None:
    start = random_start(adam(), small)
    model = EmbeddingModel(start, torch.device("cpu"), unit=4.0)
    predictions = model(torch.tensor(small.users), torch.tensor(small.items))
    assert predictions.requires_grad
    expected = start.predict(small.users, small.items)
    assert predictions.detach().numpy() == pytest.approx(expected, rel=ROUNDING)


def batch_gradients(solver: Factorizer, train: Ratings, start: Parameters) -> list[Parameters]:
    """Return each batch's gradient by the parameters, in the units of the ratings."""
    state = solver.prepare(train, start, seed=0)
    unit, gradients, tables = state.model.unit, [], state.model.tables
    for batch, _ in state.batches:
        with torch.no_grad():
            state.objective.sums(tables, batch, state.gradient)
            state.objective.add_penalties(tables, state.gradient, slice(None))
        for constants in state.gradient.constants(has_biases=True):
            assert not constants.any()
        # of J / unit^2, by factors over root unit and biases over unit
        found = state.gradient.parameters(0.0)
        gradients.append(
            Parameters(
                0.0,
                found.user_bias * unit,
                found.item_bias * unit,
                found.user_factors * unit**1.5,
                found.item_factors * unit**1.5,
            )
        )
    return gradients


@pytest.mark.parametrize("penalties", PENALTIES)
@pytest.mark.parametrize("products", ["sparse", "gather"])
@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("batch_size", [600, 100, 64])
def test_the_mean_of_the_batches_gradients_is_that_of_the_objective(
    weighted: Ratings, small: Ratings, products: str, scale: float, batch_size: int, penalties: str
) -> None:
    for train in (scaled(weighted, scale), scaled(small, scale)):
        solver = adam(products=products, batch_size=batch_size, **PENALTIES[penalties])
        start = random_start(solver, train)
        gradients = batch_gradients(solver, train, start)
        assert len(gradients) == -(-600 // batch_size)
        names = start.arrays()
        mean = {name: np.mean([g.arrays()[name] for g in gradients], axis=0) for name in names}
        expected = solver.objective.gradient(start, train)
        differences = relative_differences(Parameters(0.0, **mean), expected)
        assert max(differences.values()) <= ROUNDING


def on_cpu(train: Ratings, dtype: str = "float64") -> DeviceRatings:
    return DeviceRatings.of(train, 0.0, 1.0, getattr(torch, dtype), torch.device("cpu"))


@pytest.mark.parametrize("n", [600, 597, 20])
def test_every_rating_is_in_one_batch_with_its_weight(n: int) -> None:
    train = random_ratings(n=n)
    marks, shape = np.arange(float(n)), (train.n_users, train.n_items)
    marked = on_cpu(Ratings(train.users, train.items, marks, *shape, weights=marks + 1))
    for ratings in (marked, marked.sorted_by_pair()):
        batches = ratings.dealt(7, seed=0)
        assert {len(batch) for batch in batches} <= {n // 7, n // 7 + 1}
        targets = np.concatenate([batch.targets.numpy() for batch in batches])
        weights = np.concatenate([batch.weights.numpy() for batch in batches])
        assert sorted(targets) == list(range(n))
        assert np.array_equal(weights, targets + 1)
        for batch in batches:  # in the order that they had
            order = {mark: place for place, mark in enumerate(ratings.targets.tolist())}
            places = [order[mark] for mark in batch.targets.tolist()]
            assert places == sorted(places)


def test_who_gets_a_rating_is_random_but_every_batch_gets_one_of_a_round() -> None:
    n, n_batches = 40_000, 8
    rows = np.arange(n, dtype=np.int32)
    ratings = Ratings(rows // 100, rows % 100, rows.astype(float), 400, 100)
    firsts = []
    for seed in (0, 1):
        batch_of = np.empty(n, int)
        for number, batch in enumerate(on_cpu(ratings).dealt(n_batches, seed)):
            batch_of[batch.targets.long().numpy()] = number
        rounds = batch_of.reshape(-1, n_batches)
        assert (np.sort(rounds) == np.arange(n_batches)).all()
        firsts.append(rounds[:, 0])
    # Neighbours, and two seeds, are independent.
    for first, second in ((firsts[0], firsts[1]), (firsts[0][1:], firsts[0][:-1])):
        counts = np.histogram2d(first, second, bins=n_batches)[0]
        expected = len(first) / n_batches**2
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert chi_square < 120  # 63 degrees of freedom: less than 1e-4 for random ones


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_products_agree_and_overwrite_what_a_divergence_left(
    weighted: Ratings, dtype: str, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_products, "THREADED", 1)
    monkeypatch.setattr(torch_products, "GATHER_CELLS", 1000)
    start = initial_model(Objective(3), weighted, 0).astype(dtype)
    tables = Tables.of_parameters(start, torch.device("cpu"))
    ratings, before = on_cpu(weighted, dtype), torch.get_num_threads()
    results = []
    for products in (
        torch_products.SparseProducts(ratings.sorted_by_pair(), Threads(n_threads)),
        torch_products.GatherProducts(ratings),
    ):
        out = tables.zeros()
        out.rows.fill_(torch.nan)
        squared_error = products.sums(tables, out, 0.5)
        results.append((out.rows, squared_error))
    assert torch.get_num_threads() == before
    for sparse, gathered in zip(*results, strict=True):
        rounding = 1e-4 if dtype == "float32" else 1e-10
        assert sparse.numpy() == pytest.approx(gathered.numpy(), rel=rounding, abs=rounding)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_more_threads_than_rows_change_nothing(
    optimizer: str,
    dtype: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_products, "THREADED", 1)
    items = np.arange(50)
    train = Ratings(np.zeros(50, np.int32), items, np.sin(items), 1, 50)
    solver = get_backend(NAMES[optimizer], rank=3, dtype=dtype)
    fits = [solver.set_params(n_jobs=n).fit(train, epochs=3).model_.parameters for n in (1, 4)]
    assert np.array_equal(*(fit.item_factors for fit in fits))


def test_order_by_is_a_stable_argsort() -> None:
    rows = np.random.default_rng(0).integers(0, 50, 1000)
    assert np.array_equal(torch_ratings.order_by(rows, 60), np.argsort(rows, kind="stable"))


def test_the_sum_of_squares_is_exact_however_many_they_are() -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal(size=1_234_567).astype(np.float32)
    weights = rng.uniform(0.1, 4.0, size=len(errors)).astype(np.float32)
    plain, weighted = torch.tensor(errors), torch.tensor(errors)
    squares = np.square(errors, dtype=np.float64)
    # far below the rise of J from which a step is discarded
    assert float(torch_products.weigh(plain, None)) == pytest.approx(squares.sum(), rel=2e-8)
    of_weighted = float(torch_products.weigh(weighted, torch.tensor(weights)))
    assert of_weighted == pytest.approx(squares @ weights.astype(np.float64), rel=2e-8)
    assert np.array_equal(plain.numpy(), errors)
    assert np.array_equal(weighted.numpy(), errors * weights)


# ---- the objective ------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ["scaled", "plain"])
@pytest.mark.parametrize("penalties", PENALTIES)
@pytest.mark.parametrize("products", ["sparse", "gather"])
def test_descent_follows_numpy_with_weights_and_dampings(
    weighted: Ratings, products: str, penalties: str, rows: str
) -> None:
    options = PENALTIES[penalties] | {"rank": 3, "dtype": "float64", "n_jobs": 1}
    options["init_scale"] = 1.0  # factors whose curvature is more than the unit
    if rows == "plain":
        options |= {"row_scaling": False, "learning_rate": 1.0}
    ours, theirs = (
        trajectory(get_backend(name, **own, **options), weighted, (1, 30))
        for name, own in (("torch-cpu-gd", {"products": products}), ("numpy", {}))
    )
    for point, other in zip(ours.points, theirs.points, strict=True):
        assert max(relative_differences(point, other).values()) <= 1e-9
    assert ours.learning_rates == theirs.learning_rates


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_what_a_step_sees_is_the_objective(
    weighted: Ratings,
    optimizer: str,
    scale: float,
    bias: bool,
) -> None:
    train = scaled(weighted, scale)
    whole = {"batch_size": 600} if optimizer == "adam" else {}
    solver = solver_of(optimizer, bias=bias, **whole, **PENALTIES["dampings"])
    start = random_start(solver, train) if bias else initial_model(solver.objective, train, 0)
    state = solver.prepare(train, start, seed=0)
    seen = solver.step(state, 1)  # gd measures it at the point it steps to, Adam where it starts
    at = start if optimizer == "adam" else solver.parameters(state)
    value, mse = solver.objective.value_and_mse(at, train)
    assert seen == pytest.approx(mse, rel=1e-9)
    if optimizer == "gd":
        assert float(state.course.objective) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("products", ["sparse", "gather"])
@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_a_rating_of_weight_two_is_that_rating_twice(
    small: Ratings,
    optimizer: str,
    products: str,
) -> None:
    twice = np.random.default_rng(1).random(len(small)) < 0.4
    rows, shape = (small.users, small.items, small.ratings), (small.n_users, small.n_items)
    weights = Ratings(*rows, *shape, weights=1.0 + twice)
    repeats = Ratings(*(np.concatenate([column, column[twice]]) for column in rows), *shape)
    one_batch = {"batch_size": 2 * len(small)} if optimizer == "adam" else {}
    options = one_batch | PENALTIES["dampings"]
    fits = [
        solver_of(optimizer, products=layout, **options).fit(train, epochs=20)
        for train, layout in ((weights, products), (repeats, "gather"))
    ]
    one, other = (fit.model_.parameters for fit in fits)
    assert max(relative_differences(one, other).values()) <= 1e-9
    assert one.mean == pytest.approx(other.mean, rel=ROUNDING)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_a_fit_knows_the_weights_of_the_rows(weighted: Ratings, optimizer: str) -> None:
    solver = solver_of(optimizer)
    state = solver.prepare(weighted, initial_model(solver.objective, weighted, 0), seed=0)
    expected = weighted.user_weights(), weighted.item_weights()
    for found, weights in zip(state.row_weights, expected, strict=True):
        assert np.array_equal(found, weights)
    assert not solver.fit(weighted, epochs=1).model_.parameters.user_factors[-1].any()


# ---- the seed -----------------------------------------------------------------------------------


def test_adam_deals_its_batches_by_the_seed_of_fit(small: Ratings) -> None:
    start = initial_model(Objective(3), small, 0)
    options = {"initial": start, "epochs": 3}
    fits = [adam(batch_size=64).fit(small, seed=seed, **options) for seed in (1, 1, 2)]
    first, again, other = (fit.model_.parameters.user_factors for fit in fits)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, rtol=1e-3)


def test_full_batch_descent_draws_nothing(small: Ratings) -> None:
    start = initial_model(Objective(3), small, 0)
    solver = get_backend("torch-cpu-gd", rank=3, n_jobs=1)
    options = {"initial": start, "epochs": 3}
    fits = [solver.fit(small, seed=seed, **options).model_.parameters for seed in (1, 2)]
    assert np.array_equal(*(fit.user_factors for fit in fits))


def test_adam_draws_by_the_seed_that_prepare_is_given(small: Ratings) -> None:
    def first_batch(seed: int) -> list[float]:
        solver = adam(batch_size=64)
        state = solver.prepare(small, solver.initial_parameters(small), seed=seed)
        return state.batches[0][0].targets.tolist()

    assert first_batch(1) == first_batch(1)
    assert first_batch(1) != first_batch(2)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_a_fit_leaves_the_global_generator_of_torch_alone(small: Ratings, optimizer: str) -> None:
    before = torch.get_rng_state()
    get_backend(NAMES[optimizer], rank=3, n_jobs=1).fit(small, epochs=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_adam_does_not_depend_on_the_order_of_the_rows(small: Ratings) -> None:
    # 512 multiples of 0.5, so that mean and unit are the same to the bit in any order
    rows, shape = slice(512), (small.n_users, small.n_items)
    columns = small.users[rows], small.items[rows], np.round(2 * small.ratings[rows]) / 2
    order = np.random.default_rng(1).permutation(512)
    plain, shuffled = Ratings(*columns, *shape), Ratings(*(c[order] for c in columns), *shape)
    fits = [adam(batch_size=64).fit(train, epochs=3) for train in (plain, shuffled)]
    assert np.array_equal(*(fit.model_.parameters.item_factors for fit in fits))


# ---- defaults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "rate"), [("gd", 0.8), ("adam", 0.06)])
def test_the_default_learning_rate_is_the_optimizers_own(
    small: Ratings,
    optimizer: str,
    rate: float,
) -> None:
    own = solver_of(optimizer)
    assert own.get_params()["learning_rate"] == rate
    solvers = own, replace(own, learning_rate=rate), replace(own, learning_rate=rate / 2)
    fits = [solver.fit(small, epochs=3).model_.parameters for solver in solvers]
    factors, same, less = (fit.item_factors for fit in fits)
    assert np.array_equal(factors, same)
    assert not np.allclose(factors, less, rtol=1e-3)


@pytest.mark.parametrize("value", [0, float("nan"), "fast", None])
def test_a_wrong_learning_rate_of_adam_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"^learning_rate must be a positive number, got "):
        adam(learning_rate=value)


def test_other_parameters_of_adam_are_checked() -> None:
    wanted = "an integer of at least 1, got 0"
    with pytest.raises(ValueError, match=f"^batch_size must be None or {wanted}"):
        adam(batch_size=0)
    with pytest.raises(ValueError, match=f"^rank must be {wanted}"):
        adam(rank=0)


def test_adam_takes_a_batch_of_four_times_the_rows_but_sixteen_batches(small: Ratings) -> None:
    def n_batches(train: Ratings) -> int:
        return len(adam().prepare(train, initial_model(Objective(3), train, 0), seed=0).batches)

    assert n_batches(small) == 16
    few_rows = Ratings(small.users % 4, small.items % 5, small.ratings, 4, 5)
    assert n_batches(few_rows) == 17  # of at most 36


def test_adam_ends_near_the_minimum_by_default(small: Ratings, weighted: Ratings) -> None:
    for train in (small, weighted):
        exact = get_backend("numpy-als", rank=3, n_jobs=1).fit(train, epochs=200)
        fits, value = (adam().fit(train, epochs=400), exact), exact.objective.value
        reached, least = (value(fit.model_.parameters, train) for fit in fits)
        assert reached <= 1.005 * least


def test_the_rate_of_adam_falls_with_the_root_of_the_epoch(small: Ratings) -> None:
    solver = adam(learning_rate=0.1)
    state = solver.prepare(small, initial_model(Objective(3), small, 0), seed=0)
    rates = []
    for _ in range(4):
        solver.step(state, 1)
        rates.append(float(state.learning_rate))
    assert rates == pytest.approx([0.1, 0.1 / 2**0.5, 0.1 / 3**0.5, 0.05])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("factor", [4.0**-5, 4.0**6, 0.013])
def test_adam_takes_the_same_course_on_any_scale(small: Ratings, factor: float, bias: bool) -> None:
    fits = []
    for scale in (1.0, factor):
        solver = adam(bias=bias, init_scale=0.5)
        fits.append(solver.fit(scaled(small, scale), epochs=5).model_.parameters)
    own, other = fits
    expected = Parameters(
        own.mean * factor,
        own.user_bias * factor,
        own.item_bias * factor,
        own.user_factors * factor**0.5,
        own.item_factors * factor**0.5,
    )
    # more than the rounding of the start, which is drawn in single precision
    assert max(relative_differences(other, expected).values()) <= 1e-5


# ---- one name, two solvers ----------------------------------------------------------------------


def test_the_name_picks_the_solver(small: Ratings) -> None:
    assert type(get_backend("torch-cpu")) is TorchAdam
    assert type(get_backend("torch-cpu-gd")) is TorchGD
    assert adam().fit(small, epochs=1).model_.fit["solver"] == "TorchAdam"


@pytest.mark.parametrize(("optimizer", "name"), [("gd", "batch_size"), ("adam", "momentum")])
def test_a_parameter_of_the_other_solver_is_refused(optimizer: str, name: str) -> None:
    with pytest.raises(ValueError) as caught:  # compared below
        get_backend(NAMES[optimizer], **{name: 64})
    solver = {"gd": TorchGD, "adam": TorchAdam}[optimizer]
    names = ", ".join(solver().get_params())
    assert str(caught.value) == f"{solver.__name__} has no parameter {name!r}; it has {names}"


def test_the_optimizer_is_no_parameter_of_a_solver() -> None:
    for solver in (TorchGD(), TorchAdam()):
        name = type(solver).__name__
        with pytest.raises(ValueError, match=f"{name} has no parameter 'optimizer'"):
            solver.set_params(optimizer="adam")


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_the_earlier_name_gives_the_same_solver(optimizer: str) -> None:
    new = solver_of(optimizer, rank=3)
    with pytest.warns(DeprecationWarning, match=f'get_backend\\("{NAMES[optimizer]}"'):
        old = TorchEmbedding(optimizer=optimizer, rank=3)
    assert type(old) is type(new)
    assert old.set_params(dtype="float64", n_jobs=1).get_params() == new.get_params()
    with pytest.warns(DeprecationWarning):
        unset = TorchEmbedding(optimizer=optimizer, learning_rate=None, batch_size=None)
    assert unset.get_params() == type(new)().get_params()


def test_the_earlier_name_is_gradient_descent_by_default() -> None:
    with pytest.warns(DeprecationWarning, match=r"use backends\.torch_gd\.TorchGD"):
        assert type(TorchEmbedding()) is TorchGD


def test_the_earlier_name_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match=r'^optimizer must be "gd" or "adam", got \'sgd\'$'):
        TorchEmbedding(optimizer="sgd")
    refused = pytest.raises(ValueError, match="TorchAdam has no parameter 'momentum'")
    with refused, pytest.warns(DeprecationWarning):
        TorchEmbedding(optimizer="adam", momentum=0.5)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_the_model_says_which_products_ran(small: Ratings, optimizer: str) -> None:
    twice = small.take(np.append(np.arange(len(small)), 0))
    for products, train, ran in (
        ("auto", small, "sparse"),
        ("gather", small, "gather"),
        ("auto", twice, "gather"),
    ):
        fit = solver_of(optimizer, products=products).fit(train, epochs=1).model_.fit
        assert fit["products"] == ran


def test_no_memory_is_not_taken_for_no_sparse_products(
    small: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(torch.sparse, "sampled_addmm", fails)
    with pytest.raises(torch.OutOfMemoryError):
        solver_of("gd").fit(small, epochs=1)


def test_without_sparse_products_rows_are_gathered(
    small: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise NotImplementedError("no sampled product on this device")

    monkeypatch.setattr(torch.sparse, "sampled_addmm", fails)
    assert solver_of("gd").fit(small, epochs=1).model_.fit["products"] == "gather"


def test_adam_is_that_of_torch_with_and_without_its_fused_step(
    small: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, shape = np.random.default_rng(0), (50, 8)
    start, gradients = rng.normal(size=shape), rng.normal(size=(5, *shape))
    ends, rate = [], torch.tensor(0.1, dtype=torch.float64)
    for fused in (True, False):
        tables = [torch.tensor(start)] + [torch.zeros(shape, dtype=torch.float64) for _ in "123"]
        for number, gradient in enumerate(gradients, start=1):
            tables[1] = torch.tensor(gradient)
            adam_step(tables, torch.tensor(float(number)), rate, fused=fused)
        ends.append(tables[0].numpy())
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.Adam([theirs], lr=0.1)
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
    for end in ends:
        assert end == pytest.approx(theirs.detach().numpy(), rel=1e-9, abs=1e-9)


def test_a_fit_imports_no_optimizers_of_torch() -> None:
    code = """
import sys
from backends import get_backend
from tests.helpers import random_ratings
get_backend("torch-cpu", rank=3, n_jobs=1).fit(random_ratings(), epochs=2)
print("torch._dynamo" in sys.modules)
"""
    assert in_fresh_process(code).strip() == "False"


def test_a_step_asks_the_device_for_one_number(
    small: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the host would wait each time, so however many epochs: one."""
    asked: list[str] = []
    for name in ("__float__", "__int__", "__bool__", "item", "tolist", "numpy"):
        real = getattr(torch.Tensor, name)

        def asks(self: Any, *arguments: Any, real: Any = real, name: str = name) -> Any:
            asked.append(name)
            return real(self, *arguments)

        monkeypatch.setattr(torch.Tensor, name, asks)
    for optimizer in ("gd", "adam"):
        solver = solver_of(optimizer)
        state = solver.prepare(small, initial_model(solver.objective, small, 0), seed=0)
        asked.clear()
        solver.step(state, 7)
        assert asked == ["__float__"]


# ---- what surrounds a fit -----------------------------------------------------------------------


def large_enough_for_threads() -> Ratings:
    rng = np.random.default_rng(0)
    pairs = np.unique(rng.integers(0, 6000 * 3000, 40_000))
    shape = 6000, 3000
    return Ratings(pairs // 3000, pairs % 3000, rng.normal(3, 1, len(pairs)), *shape)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_a_fit_in_inference_mode_or_with_a_default_device_is_the_same(optimizer: str) -> None:
    train, found = large_enough_for_threads(), []
    before = torch.get_default_device()
    for surroundings in (nullcontext, torch.inference_mode, partial(torch.device, "meta")):
        with surroundings():
            found.append(get_backend(NAMES[optimizer], rank=7, n_jobs=2).fit(train, epochs=2))
    plain, *others = (fit.model_ for fit in found)
    for other in others:
        assert other.fit["products"] == "sparse"
        assert np.array_equal(other.parameters.item_factors, plain.parameters.item_factors)
    assert torch.get_default_device() == before


def test_fits_that_overlap_leave_torch_its_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        first, second = fit_threads(), fit_threads()
        first.__enter__()
        second.__enter__()
        assert torch.get_num_threads() == 1
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("weighted_ones", [True, False])
def test_a_device_without_float64_gets_targets_that_the_host_computed(
    small: Ratings, weighted: Ratings, weighted_ones: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = weighted if weighted_ones else small
    expected = on_cpu(scaled(train, 1.7), "float32")
    monkeypatch.setattr(torch_ratings, "widest", lambda device: torch.float32)
    found = on_cpu(scaled(train, 1.7), "float32")
    assert torch.equal(found.targets, expected.targets)
    assert (found.weights is None) == (not weighted_ones)


@pytest.mark.parametrize("name", ["reg", "bias_reg"])
def test_adam_under_a_penalty_beyond_all_measure_is_as_under_a_strong_one(
    small: Ratings, name: str
) -> None:
    fits = [
        get_backend("torch-cpu", rank=3, n_jobs=1, **{name: reg}).fit(small, epochs=60)
        for reg in (1e12, 1e30)
    ]
    one, other = (fit.model_.parameters for fit in fits)
    kinds = ("user_factors", "item_factors") if name == "reg" else ("user_bias", "item_bias")
    for kind in kinds:
        assert np.abs(one.arrays()[kind]).max() < 0.03
        assert np.abs(other.arrays()[kind]).max() < 0.03


def test_fused_products_without_triton_say_how_to_get_it(
    small: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends._engine.embedding.find_spec", lambda name: None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'factorbench\[triton\]'"):
        solver_of("gd", products="fused").fit(small)
